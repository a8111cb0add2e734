"""A turn that blocks its cell: the cell's thread draws, runs calls, pumps messages and handles interrupts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from codex_nb.host.mailbox import (
    Interrupted,
    Interrupts,
    MainThreadCall,
    TurnRunner,
    deferring_interrupts,
    interrupt_user_code,
)
from codex_nb.session.events import Answer, ToolCall, TurnEvent, TurnFinished
from codex_nb.session.state import ReasoningPart, TextPart, ToolPart, TurnFold

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from codex_nb.host.engine import Engine
    from codex_nb.host.mailbox import Mailbox
    from codex_nb.host.shell_channel import Pump
    from codex_nb.session.state import TurnState


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


def run_turn_in_cell(
    engine: Engine,
    events: AsyncIterator[TurnEvent],
    view: TurnView,
    mailbox: Mailbox,
    pump: Pump,
    while_waiting: Callable[[], None] = lambda: None,
) -> Answer:
    """Run a turn on the engine and show it, until its :class:`TurnFinished`; return that event's answer.

    A stop request ends the turn and returns the partial answer, so the cell ends as usual. An interrupt of the kernel
    ends it too and raises :class:`TurnInterrupted`, a KeyboardInterrupt. What the turn itself raises is raised here.
    The view is closed in any case; the caller closes mailbox and pump.
    """
    return BlockingTurn(engine, view, mailbox, pump.once, while_waiting=while_waiting).run(events)


class BlockingTurn:
    """Runs one turn and shows it on the calling thread.

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
        """Start the turn, show it to its end and return the answer; an interrupt before it starts nothing."""
        with deferring_interrupts(self._mailbox.wake) as self._interrupts:
            try:
                if not (self._interrupts.pending or self._mailbox.stop_requested):
                    self._runner = TurnRunner(self._engine, events, self._mailbox)
                    self._mailbox.on_stop(self._stop)
                    while not self._is_over():
                        self._step()
                    self._process(self._mailbox.drain())
                answer = self._finish()
            finally:
                self._mailbox.on_stop(None)
                if self._runner is not None:
                    self._runner.cancel()
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
