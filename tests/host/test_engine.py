"""The engine: one loop on one thread, started when needed, ended when told, alive in a forked child."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import os
import sys
import threading
import traceback
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest

import codex_nb.host.engine
from codex_nb.host.engine import Engine
from codex_nb.host.engine import engine as shared_engine
from tests.patience import PATIENCE_S

wanted: contextvars.ContextVar[str] = contextvars.ContextVar("wanted", default="nothing")


async def thread_name() -> str:
    return threading.current_thread().name


async def wait_forever(notes: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        notes.append("cleaned up")


def test_no_thread_starts_before_there_is_something_to_run() -> None:
    before = threading.active_count()
    engine = Engine()
    engine.close()
    assert threading.active_count() == before


def test_everything_runs_on_one_thread_of_its_own(engine: Engine) -> None:
    assert {engine.run(thread_name()) for _ in range(3)} == {"test engine"}


def test_the_callers_context_goes_with_the_coroutine(engine: Engine) -> None:
    async def look() -> str:
        return wanted.get()

    token = wanted.set("this")
    try:
        assert (engine.run(look()), engine.submit(look()).result()) == ("this", "this")
    finally:
        wanted.reset(token)


def test_an_exception_reaches_the_caller(engine: Engine) -> None:
    async def fail() -> None:
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        engine.run(fail())


def test_cancelling_the_future_cancels_the_coroutine(engine: Engine) -> None:
    notes: list[str] = []
    ended = threading.Event()

    async def run() -> None:
        try:
            await wait_forever(notes)
        finally:
            ended.set()

    future = engine.submit(run())
    engine.run(asyncio.sleep(0))
    future.cancel()
    assert ended.wait(10)
    assert notes == ["cleaned up"]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_task_that_wants_to_end_the_program_ends_only_itself(
    engine: Engine, error: type[BaseException]
) -> None:
    async def leave() -> None:
        raise error

    with pytest.raises(error):
        engine.run(leave())
    assert engine.run(thread_name()) == "test engine"


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # interrupted before it was begun
def test_an_interrupt_at_any_line_of_the_wait_leaves_the_engine_working(engine: Engine) -> None:
    """The lines of the standard library are among them: its locks must not stay taken."""
    files = {threading.__file__, concurrent.futures._base.__file__, codex_nb.host.engine.__file__}
    lines: dict[tuple[str, int], None] = {}

    def run(interrupted_at: tuple[str, int] | None) -> None:
        def of_line(frame: FrameType, event: str, _argument: object) -> Any:
            line = frame.f_code.co_filename, frame.f_lineno
            if event == "line" and interrupted_at is None:
                lines.setdefault(line)
            elif event == "line" and line == interrupted_at:
                sys.settrace(None)
                raise KeyboardInterrupt
            return of_line

        before = sys.gettrace()
        sys.settrace(lambda frame, *_: of_line if frame.f_code.co_filename in files else None)
        try:
            engine.run(asyncio.sleep(0))
        finally:
            sys.settrace(before)

    run(None)
    for line in lines:
        with suppress(KeyboardInterrupt):
            run(line)
        assert engine.submit(thread_name()).result(PATIENCE_S / 10) == "test engine"


def test_closing_lets_what_runs_clean_up_and_ends_the_thread(engine: Engine) -> None:
    notes: list[str] = []
    engine.submit(wait_forever(notes))
    thread = engine.run(_current_thread())
    engine.close()
    assert (notes, thread.is_alive()) == (["cleaned up"], False)


async def _current_thread() -> threading.Thread:
    return threading.current_thread()


def test_a_closed_engine_starts_again_when_needed(engine: Engine) -> None:
    first = engine.run(_current_thread())
    engine.close()
    engine.close()
    second = engine.run(_current_thread())
    assert (first is second, second.name) == (False, "test engine")


def test_waiting_on_the_engines_own_thread_is_refused(engine: Engine) -> None:
    async def wait_for_itself() -> str:
        return engine.run(thread_name())

    with pytest.raises(RuntimeError, match="await the coroutine instead"):
        engine.run(wait_for_itself())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only POSIX forks")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_gets_a_loop_of_its_own(engine: Engine) -> None:
    assert shared_engine().run(thread_name()) == "codex_nb engine"
    child = os.fork()
    if child == 0:
        outcome = 1
        try:
            outcome = int(shared_engine().run(thread_name()) != "codex_nb engine")
            with pytest.raises(RuntimeError, match="belongs to the parent process"):
                engine.run(thread_name())
            engine.close()
        except BaseException:  # noqa: BLE001 - a child of pytest must not go on as pytest
            traceback.print_exc()
        finally:
            os._exit(outcome)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert shared_engine().run(thread_name()) == "codex_nb engine"


def test_a_process_has_one_engine() -> None:
    assert shared_engine() is shared_engine()
