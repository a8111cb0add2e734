"""The loop of the cell's thread: it draws, runs calls, listens for stop requests and interrupts."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import itertools
import os
import signal
import threading
from collections.abc import AsyncGenerator, Callable

import pytest

from codex_nb.host.cell import BlockingTurn, TurnInterrupted, frame_length
from codex_nb.host.engine import Engine, Mailbox
from codex_nb.host.interrupts import deferring_interrupts, interruptible
from codex_nb.host.shell_channel import IdlePump
from codex_nb.session.events import (
    Answer,
    ApprovalRequested,
    TextDelta,
    TextDone,
    ToolFinished,
    TurnEvent,
    TurnFinished,
)
from codex_nb.tools.approval import ApprovalRequest
from tests.host.scripted import FINISHED, STARTED, EndlessTurn, RecordingView, delta, scripted
from tests.patience import PATIENCE_S

STOPPED = TurnFinished(Answer("half an answer", status="cancelled"), "Stopped.")


def run(
    engine: Engine, mailbox: Mailbox, view: RecordingView, events: AsyncGenerator[TurnEvent, None]
) -> Answer:
    with IdlePump(mailbox) as pump:
        return BlockingTurn(engine, view, mailbox, pump.once).run(events)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def on(event: TurnEvent, act: Callable[[], None]) -> Callable[[TurnEvent], None]:
    return lambda seen: act() if seen == event else None


def test_a_turn_is_shown_in_order_and_its_answer_returned(engine: Engine, mailbox: Mailbox) -> None:
    view = RecordingView()
    events = (STARTED, delta("a"), delta("b"), TextDone("message", "ab"), FINISHED)
    assert run(engine, mailbox, view, scripted(*events)) == Answer("done")
    assert (view.events, view.flushes[-1], view.closed) == (list(events), len(events), 1)


def test_however_fast_events_come_a_frame_holds_all_of_its_time(engine: Engine, mailbox: Mailbox) -> None:
    view = RecordingView()
    now = iter(range(1_000_000))
    with IdlePump(mailbox) as pump:
        turn = BlockingTurn(engine, view, mailbox, pump.once, clock=lambda: next(now) / 1_000_000)
        turn.run(scripted(STARTED, *[delta("x")] * 5_000, FINISHED))
    assert len(view.events) == 5_002
    assert len(view.flushes) <= 3


def test_events_that_came_too_soon_are_shown_without_a_later_event(engine: Engine, mailbox: Mailbox) -> None:
    view = RecordingView(too_soon=[0.01, 0.01])
    turn = EndlessTurn(before=(STARTED,))

    def stop_after_the_third(_seconds: float) -> None:
        if len(view.flushes) == 3:
            mailbox.request_stop()

    BlockingTurn(engine, view, mailbox, stop_after_the_third).run(turn.events())
    assert view.flushes[:3] == [1, 1, 1]


@pytest.mark.parametrize(
    ("cost", "length"), [(0.0, 0.05), (0.001, 0.05), (0.002, 0.1), (0.01, 0.12), (3.0, 0.12)]
)
def test_what_is_slow_to_draw_is_drawn_less_often_but_eight_times_a_second(
    cost: float, length: float
) -> None:
    assert frame_length(cost) == pytest.approx(length)


def test_a_call_runs_on_the_cells_thread_and_its_result_goes_back(engine: Engine, mailbox: Mailbox) -> None:
    async def events() -> AsyncGenerator[TurnEvent, None]:
        name = await mailbox.call(lambda: threading.current_thread().name)
        yield ToolFinished(1, name, ok=True)
        yield FINISHED

    view = RecordingView()
    run(engine, mailbox, view, events())
    assert view.events[0] == ToolFinished(1, threading.current_thread().name, ok=True)


def test_events_before_a_call_is_shown_before_it_runs(engine: Engine, mailbox: Mailbox) -> None:
    view = RecordingView()
    seen: list[int] = []

    async def events() -> AsyncGenerator[TurnEvent, None]:
        yield STARTED
        yield delta("I will look.")
        await mailbox.call(lambda: seen.append(view.flushes[-1]))
        yield FINISHED

    run(engine, mailbox, view, events())
    assert seen == [2]


def test_an_exception_of_a_call_is_raised_where_it_was_called(engine: Engine, mailbox: Mailbox) -> None:
    def fail() -> None:
        raise ZeroDivisionError("by nothing")

    async def events() -> AsyncGenerator[TurnEvent, None]:
        try:
            await mailbox.call(fail)
        except ZeroDivisionError as error:
            yield ToolFinished(1, str(error), ok=False)
        yield FINISHED

    view = RecordingView()
    run(engine, mailbox, view, events())
    assert view.events[0] == ToolFinished(1, "by nothing", ok=False)


def test_what_the_turn_raises_is_raised_in_the_cell(engine: Engine, mailbox: Mailbox) -> None:
    async def events() -> AsyncGenerator[TurnEvent, None]:
        yield STARTED
        raise LookupError("a mistake of ours")

    view = RecordingView()
    with pytest.raises(LookupError, match="a mistake of ours"):
        run(engine, mailbox, view, events())
    assert (view.events, view.closed) == ([STARTED], 1)


def test_the_events_of_a_turn_are_let_go_once_they_are_shown(engine: Engine, mailbox: Mailbox) -> None:
    class CountingView(RecordingView):
        def apply(self, event: TurnEvent) -> None:
            if event == last:
                alive.append(sum(type(each) is TextDelta for each in gc.get_objects()))

    last, alive = TextDone("message", "x"), list[int]()
    before = sum(type(each) is TextDelta for each in gc.get_objects())

    async def events() -> AsyncGenerator[TurnEvent, None]:
        yield STARTED
        for number in range(5_000):
            yield delta(f"{number} ")
            if not number % 50:
                await mailbox.call(lambda: None)  # what came before has been shown
        yield last
        yield FINISHED

    run(engine, mailbox, CountingView(), events())
    assert alive[0] - before <= 100


def test_an_interrupt_before_the_turn_begins_asks_nothing(engine: Engine, mailbox: Mailbox) -> None:
    begun: list[str] = []

    async def events() -> AsyncGenerator[TurnEvent, None]:
        begun.append("begun")
        yield STARTED

    def cell() -> None:
        with deferring_interrupts():
            interrupt()
            run(engine, mailbox, view, events())

    view = RecordingView()
    with pytest.raises(TurnInterrupted) as caught:
        cell()
    assert (caught.value.answer, begun, view.closed) == (Answer("", status="cancelled"), [], 1)


def test_a_stop_request_ends_the_turn_and_the_cell_goes_on_as_usual(engine: Engine, mailbox: Mailbox) -> None:
    turn = EndlessTurn()
    view = RecordingView(on(delta("answer"), mailbox.request_stop))
    assert run(engine, mailbox, view, turn.events()) == STOPPED.answer
    assert (view.events, turn.closed.is_set(), view.closed) == ([*turn.before, STOPPED], True, 1)


def test_a_stop_request_from_another_thread_is_heard(engine: Engine, mailbox: Mailbox) -> None:
    def stop_from_elsewhere() -> None:
        other = threading.Thread(target=mailbox.request_stop)
        other.start()
        other.join()

    view = RecordingView(on(delta("answer"), stop_from_elsewhere))
    assert run(engine, mailbox, view, EndlessTurn().events()) == STOPPED.answer


def test_a_stop_request_that_is_read_after_its_interrupt_ends_the_cell_as_usual(
    engine: Engine, mailbox: Mailbox
) -> None:
    interrupted = threading.Event()
    times = itertools.count(0, 1000)  # the turn has been cancelled for long before anything else is read

    def code() -> None:
        interrupted.set()
        raise KeyboardInterrupt

    async def events() -> AsyncGenerator[TurnEvent, None]:
        yield STARTED
        await mailbox.call(code)

    with IdlePump(mailbox) as pump:

        def wait(seconds: float) -> None:
            if interrupted.is_set():
                mailbox.request_stop()
            else:
                pump.once(seconds)

        turn = BlockingTurn(engine, RecordingView(), mailbox, wait, clock=lambda: next(times))
        assert turn.run(events()).status == "cancelled"


def test_an_interrupt_is_a_keyboard_interrupt_that_carries_the_partial_answer(
    engine: Engine, mailbox: Mailbox
) -> None:
    turn = EndlessTurn()
    view = RecordingView(on(delta("answer"), interrupt))
    with pytest.raises(TurnInterrupted) as caught:
        run(engine, mailbox, view, turn.events())
    assert caught.value.answer == STOPPED.answer
    assert (view.events, turn.closed.is_set(), view.closed) == ([*turn.before, STOPPED], True, 1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_turn_that_does_not_end_when_cancelled_is_abandoned(engine: Engine, mailbox: Mailbox) -> None:
    released = threading.Event()

    async def events() -> AsyncGenerator[TurnEvent, None]:
        yield STARTED
        yield delta("half an ")
        yield delta("answer")
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.to_thread(released.wait, 30)

    view = RecordingView(on(delta("answer"), mailbox.request_stop))
    answer = run(engine, mailbox, view, events())
    released.set()
    expected = Answer("half an answer", status="cancelled", model="model", thread="thread", billing="chatgpt")
    assert (answer, view.events[-1]) == (expected, TurnFinished(expected, "Stopped by the user."))


def test_a_turn_that_overlooks_its_cancellation_ends_with_its_cell(engine: Engine, mailbox: Mailbox) -> None:
    ended = threading.Event()

    async def events() -> AsyncGenerator[TurnEvent, None]:
        yield STARTED
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        yield FINISHED

    run(engine, mailbox, RecordingView(on(STARTED, mailbox.request_stop)), events())
    assert ended.wait(PATIENCE_S)


def test_a_cancelled_turn_without_a_last_event_keeps_the_partial_answer(
    engine: Engine, mailbox: Mailbox
) -> None:
    view = RecordingView(on(delta("answer"), mailbox.request_stop))
    answer = run(engine, mailbox, view, EndlessTurn(end=None).events())
    assert (answer.text, answer.status) == ("half an answer", "cancelled")


def test_an_interrupt_of_user_code_breaks_it_and_ends_the_turn(engine: Engine, mailbox: Mailbox) -> None:
    notes: list[str] = []

    def user_code() -> None:
        try:
            interrupt()
            threading.Event().wait(30)
        except KeyboardInterrupt:
            notes.append("broken off")
            raise

    async def events() -> AsyncGenerator[TurnEvent, None]:
        yield STARTED
        try:
            await mailbox.call(user_code)
        except asyncio.CancelledError:
            notes.append("cancelled")
            yield STOPPED

    with pytest.raises(TurnInterrupted) as caught:
        run(engine, mailbox, RecordingView(), events())
    assert (notes, caught.value.answer) == (["broken off", "cancelled"], STOPPED.answer)


def test_a_stop_request_from_another_thread_breaks_user_code_too(engine: Engine, mailbox: Mailbox) -> None:
    def user_code() -> None:
        other = threading.Thread(target=mailbox.request_stop)
        other.start()
        while True:
            threading.Event().wait(0.01)

    async def events() -> AsyncGenerator[TurnEvent, None]:
        yield STARTED
        try:
            await mailbox.call(user_code)
        except asyncio.CancelledError:
            yield STOPPED

    assert run(engine, mailbox, RecordingView(), events()) == STOPPED.answer


def test_an_interrupt_while_the_view_asks_the_user_ends_the_prompt(engine: Engine, mailbox: Mailbox) -> None:
    asked = ApprovalRequested(ApprovalRequest(1, "run_python", "1", "python", "runs code"))

    def type_nothing() -> None:
        interrupt()
        threading.Event().wait(30)

    view = RecordingView(on(asked, lambda: interruptible(type_nothing)))
    with pytest.raises(TurnInterrupted):
        run(engine, mailbox, view, EndlessTurn(before=(STARTED, asked)).events())
    assert view.events == [STARTED, asked, STOPPED]


def test_a_call_that_was_cancelled_before_it_began_never_runs(engine: Engine, mailbox: Mailbox) -> None:
    notes: list[str] = []

    async def call_and_give_up() -> None:
        call = asyncio.ensure_future(mailbox.call(lambda: notes.append("ran")))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.sleep(0)

    engine.run(call_and_give_up())
    for item in mailbox.drain():
        item.run()
    assert notes == []


def test_a_call_after_the_end_of_the_cell_is_cancelled(engine: Engine) -> None:
    with Mailbox() as mailbox:
        pass
    future = engine.submit(mailbox.call(lambda: "too late"))
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(30)


def test_without_a_kernel_a_signal_on_another_thread_is_not_handled(engine: Engine, mailbox: Mailbox) -> None:
    answers: list[Answer] = []
    view = RecordingView()
    thread = threading.Thread(
        target=lambda: answers.append(run(engine, mailbox, view, scripted(STARTED, FINISHED)))
    )
    thread.start()
    thread.join(30)
    assert (answers, view.closed) == ([Answer("done")], 1)
