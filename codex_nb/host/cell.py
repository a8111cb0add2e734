"""How a turn is run: blocking its cell, awaited on the user's own loop, or in the background.

The cell's thread draws, runs calls, pumps messages and handles interrupts.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

from codex_nb.host.engine import MainThreadCall, TurnRunner
from codex_nb.host.interrupts import Interrupted, Interrupts, deferring_interrupts, interrupt_user_code
from codex_nb.host.shell_channel import IdlePump, get_shell_channel
from codex_nb.session.events import (
    Answer,
    ReasoningPart,
    TextPart,
    ToolCall,
    ToolPart,
    TurnEvent,
    TurnFinished,
    TurnFold,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable

    from codex_nb.host.engine import Engine, Mailbox
    from codex_nb.session.events import TurnState


FRAME_S = 0.05  # at most 20 flushes a second
LONGEST_FRAME_S = 0.12  # at least 8 while there is something to show
DRAWING_SHARE = 0.02  # of the kernel's time, as long as that leaves 8 flushes a second
GRACE_S = 0.2  # for a cancelled turn to end before the cell continues without it
_IDLE_S = 0.1  # Windows notices an interrupt only between two waits


class TurnView(Protocol):
    """A view of a turn; all three methods are called on the cell's thread."""

    def apply(self, event: TurnEvent) -> None:
        """Add one event."""

    def flush(self) -> float | None:
        """Draw the events added since the last flush; return the seconds to wait if it is too soon."""

    def close(self) -> None:
        """Replace the live view by the final output."""


class TurnInterrupted(Interrupted):
    """The user interrupted the kernel during a turn; ``answer`` is the partial answer, marked as cancelled."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("Interrupted. The partial answer is kept.")
        self.answer = answer


class BlockingTurn:
    """Runs one turn on the engine and shows it on the calling thread.

    ``wait`` serves messages for at most the given seconds; ``while_waiting`` is called now and then until the turn has
    begun, for what it may be waiting for.
    """

    def __init__(
        self,
        engine: Engine,
        view: TurnView,
        mailbox: Mailbox,
        wait: Callable[[float], None],
        *,
        run_call: Callable[[MainThreadCall], None] = MainThreadCall.run,
        while_waiting: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._view = view
        self._mailbox = mailbox
        self._wait = wait
        self._run_call = run_call
        self._while_waiting = while_waiting
        self._clock = clock
        self._interrupts = Interrupts()
        self._was_interrupted = False
        self._fold = TurnFold()
        self._needs_flush = False
        self._next_frame = 0.0
        self._runner: TurnRunner | None = None
        self._deadline: float | None = None

    def run(self, events: AsyncIterator[TurnEvent]) -> Answer:
        """Start the turn, show it until its :class:`TurnFinished` and return that event's answer.

        A stop request ends the turn and returns the partial answer, so the cell ends as usual. An interrupt of the
        kernel ends it too and raises :class:`TurnInterrupted`, a KeyboardInterrupt; one before it starts nothing. What
        the turn itself raises is raised here. The view is closed in any case; the caller closes mailbox and pump.
        """
        with deferring_interrupts(self._mailbox.wake) as self._interrupts:
            try:
                if not (self._interrupts.pending or self._mailbox.stop_requested):
                    self._runner = TurnRunner(self._engine, events, self._mailbox)
                    self._mailbox.on_stop(self._stop)
                    while not self._is_over():
                        self._step()
                    if self._was_interrupted:
                        self._wait(0.0)  # a click on Stop interrupts the model's code, and may wait behind it
                    self._process(self._mailbox.drain())
                answer = self._finish()
            finally:
                self._mailbox.on_stop(None)
                if self._runner is not None:
                    self._runner.abandon()
                self._view.close()
            if (self._interrupts.take() or self._was_interrupted) and not self._mailbox.stop_requested:
                raise TurnInterrupted(answer)
        return answer

    def _is_over(self) -> bool:
        if self._runner is not None and self._runner.ended:
            return True
        return self._deadline is not None and self._clock() >= self._deadline

    def _step(self) -> None:
        if self._fold.state.started is None:
            self._while_waiting()
        self._mailbox.set_wait_mode(wake_on_event=not self._needs_flush)
        self._wait(min(_IDLE_S, max(0.0, self._next_frame - self._clock())) if self._needs_flush else _IDLE_S)
        self._process(self._mailbox.drain())
        if self._needs_flush and self._clock() >= self._next_frame:
            self._flush()
        self._was_interrupted = self._interrupts.take() or self._was_interrupted
        if self._was_interrupted or self._mailbox.stop_requested:
            self._cancel()

    def _process(self, items: Iterable[TurnEvent | MainThreadCall]) -> None:
        for item in items:
            if isinstance(item, MainThreadCall):
                self._run_main_thread_call(item)
            else:
                self._apply(item)

    def _apply(self, event: TurnEvent) -> None:
        self._fold.apply(event)
        self._needs_flush = True
        try:
            self._view.apply(event)  # it may wait for input
        except KeyboardInterrupt:
            self._was_interrupted = True

    def _run_main_thread_call(self, call: MainThreadCall) -> None:
        if self._needs_flush:
            self._flush()
        try:
            self._run_call(call)
        except KeyboardInterrupt as interrupt:
            self._was_interrupted = True
            self._cancel()
            call.abort(interrupt)

    def _flush(self) -> None:
        began = self._clock()
        retry_in_s = self._view.flush()
        self._needs_flush = retry_in_s is not None
        now = self._clock()
        self._next_frame = now + max(frame_length(now - began), retry_in_s or 0.0)

    def _stop(self) -> None:
        """Handle a stop request, on any thread."""
        self._cancel()
        interrupt_user_code()

    def _cancel(self) -> None:
        if self._deadline is None and self._runner is not None:
            self._deadline = self._clock() + GRACE_S
            self._runner.cancel()

    def _finish(self) -> Answer:
        """Return the turn's answer, built from the events so far if the turn ended before its last event."""
        if (finished := self._fold.state.finished) is None:
            is_cancelled = self._runner is None or self._deadline is not None
            if not is_cancelled:
                raise (self._runner and self._runner.error) or RuntimeError(
                    "The turn ended without its last event."
                )
            finished = TurnFinished(partial_answer(self._fold.state), "Stopped by the user.")
            self._view.apply(finished)
        self._flush()
        return finished.answer


def frame_length(cost: float) -> float:
    """Return the seconds between two flushes that take ``cost`` seconds each: slow drawing is done less often."""
    return min(max(FRAME_S, cost / DRAWING_SHARE), LONGEST_FRAME_S)


def partial_answer(state: TurnState) -> Answer:
    """Return the answer of a cancelled turn, as far as it has come."""
    started = state.started
    parts = state.parts
    return Answer(
        text="\n\n".join(part.text for part in parts if isinstance(part, TextPart)),
        reasoning="\n\n".join(part.text for part in parts if isinstance(part, ReasoningPart)),
        tool_calls=tuple(
            ToolCall(part.name, part.call_id, part.arguments, part.output)
            for part in parts
            if isinstance(part, ToolPart)
        ),
        status="cancelled",
        model=started.model if started else "",
        thread=started.thread if started else "",
        billing=started.billing if started else "",
    )


async def run_async(
    engine: Engine, events: AsyncIterator[TurnEvent], mailbox: Mailbox
) -> AsyncGenerator[TurnEvent, None]:
    """Run a turn on the engine and yield its events on the caller's loop, where its calls run as well.

    Closing the generator, or cancelling the task that reads it, cancels the turn. What the turn raises is raised here.
    The caller closes the mailbox.
    """
    loop = asyncio.get_running_loop()
    awake = asyncio.Event()
    mailbox.notify(lambda: loop.call_soon_threadsafe(awake.set))
    turn = TurnRunner(engine, events, mailbox)
    mailbox.on_stop(turn.cancel)
    try:
        is_last = False
        while not is_last:
            is_last = turn.ended
            for item in mailbox.drain():
                if not isinstance(item, MainThreadCall):
                    yield item
                    continue
                try:
                    item.run()
                except KeyboardInterrupt as interrupt:
                    turn.cancel()
                    item.abort(interrupt)
                    raise
            if not turn.ended:  # an end between the two checks has no wake-up of its own
                await awake.wait()
                awake.clear()
    finally:
        mailbox.on_stop(None)
        turn.cancel()
    if turn.error is not None:
        raise turn.error


def run_in_background(
    engine: Engine, events: AsyncIterator[TurnEvent], view: TurnView, mailbox: Mailbox, shell: Any
) -> Future[Answer]:
    """Start a turn that outlives its cell and return the future of its answer at once.

    The view is drawn from a thread of its own, with the cell's context. Calls for the main thread wait until no cell
    runs there; their outputs appear in the cell that asked. ``mailbox.request_stop`` ends the turn; the mailbox is
    closed when it has ended. Called on the main thread, inside the cell.
    """
    answer: Future[Answer] = Future()
    run_call = _main_thread_caller(shell, mailbox)

    def show() -> None:
        try:
            with mailbox, IdlePump(mailbox) as pump:
                result = BlockingTurn(engine, view, mailbox, pump.once, run_call=run_call).run(events)
        except BaseException as error:  # noqa: BLE001 - the future carries it
            answer.set_exception(error)
        else:
            answer.set_result(result)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(show,), name="codex_nb background", daemon=True).start()
    return answer


_waiting: deque[Callable[[], None]] = deque()  # calls of background turns, for the main thread


def run_background_calls(shell: Any) -> None:
    """Run the calls of background turns, in a cell that may be waiting for one of these turns to end."""
    channel = get_shell_channel(shell)
    if _waiting:
        _run_waiting()
        if channel is not None:
            channel.publish_status("busy", channel.parent()[1])


def _run_waiting(*_: object) -> None:
    while _waiting:
        with contextlib.suppress(KeyboardInterrupt), deferring_interrupts():
            _waiting.popleft()()


def _main_thread_caller(shell: Any, mailbox: Mailbox) -> Callable[[MainThreadCall], None]:
    """Return a function that schedules a call on the main thread without waiting for it."""
    channel = get_shell_channel(shell)
    cell = None if channel is None else channel.parent()

    def call_on_main_thread(call: MainThreadCall) -> None:
        def run() -> None:
            try:
                call.run()
            except KeyboardInterrupt as interrupt:
                mailbox.request_stop()
                call.abort(interrupt)

        if channel is None or cell is None:
            _waiting.append(run)
            _run_between_cells(shell.events)
        else:
            _waiting.append(functools.partial(channel.run_for, cell, run))
            channel.run_when_idle(_run_waiting)

    return call_on_main_thread


def _run_between_cells(events: Any) -> None:
    """Run the waiting calls when the next cell begins or ends: for shells without a kernel's loop."""

    def run(*_: object) -> None:
        for name in ("pre_run_cell", "post_run_cell"):
            events.unregister(name, run)
        _run_waiting()

    for name in ("pre_run_cell", "post_run_cell"):
        events.register(name, run)
