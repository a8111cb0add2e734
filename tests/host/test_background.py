"""Without a kernel, a turn in the background has its calls run when the next cell begins or ends."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator

import pytest
from IPython.core.interactiveshell import InteractiveShell

from codex_nb.host.cell import run_in_background
from codex_nb.host.engine import Engine, Mailbox
from codex_nb.session.events import Answer, ToolFinished, TurnEvent
from tests.host.scripted import FINISHED, STARTED, EndlessTurn, RecordingView
from tests.host.shells import run


def test_a_call_runs_with_the_next_cell(engine: Engine, shell: InteractiveShell) -> None:
    mailbox, view, posted = Mailbox(), RecordingView(), threading.Event()

    async def events() -> AsyncGenerator[TurnEvent, None]:
        yield STARTED
        posted.set()
        yield ToolFinished(1, await mailbox.call(lambda: threading.current_thread().name), ok=True)
        yield FINISHED

    answer = run_in_background(engine, events(), view, mailbox, shell)
    assert posted.wait(30)
    while not answer.done():
        run(shell, "'another cell'")
    assert (answer.result(), view.closed) == (Answer("done"), 1)
    assert view.events == [
        STARTED,
        ToolFinished(1, threading.current_thread().name, ok=True),
        FINISHED,
    ]


def test_a_stop_request_ends_it(engine: Engine, shell: InteractiveShell) -> None:
    mailbox, turn = Mailbox(), EndlessTurn()
    answer = run_in_background(engine, turn.events(), RecordingView(), mailbox, shell)
    mailbox.request_stop()
    assert answer.result(30).status == "cancelled"


def test_what_the_turn_raises_is_in_its_future(engine: Engine, shell: InteractiveShell) -> None:
    async def events() -> AsyncGenerator[TurnEvent, None]:
        yield STARTED
        raise LookupError("a mistake of ours")

    answer = run_in_background(engine, events(), RecordingView(), Mailbox(), shell)
    with pytest.raises(LookupError, match="a mistake of ours"):
        answer.result(30)
