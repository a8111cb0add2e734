"""A turn that blocks its cell: the cell's thread draws, runs calls, pumps messages and handles interrupts."""

from __future__ import annotations

import _thread
import contextlib
import functools
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from codex_nb.host.mailbox import MainThreadCall, TurnRunner
from codex_nb.session.events import Answer, ApprovalRequested, ToolCall, TurnEvent, TurnFinished
from codex_nb.session.state import ReasoningPart, TextPart, ToolPart, TurnState, reduce

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from typing import Self

    from codex_nb.host.engine import Engine
    from codex_nb.host.mailbox import Mailbox
    from codex_nb.host.shell_channel import Pump


class Interrupts:
    """Handles SIGINT during a turn, so that no KeyboardInterrupt is raised while state is being updated.

    Inside :meth:`raising` (user code runs, the user types) an interrupt raises KeyboardInterrupt. Elsewhere the first
    one sets ``requested`` and wakes the loop, and the second raises. On other threads than the main one nothing is
    installed, since Python delivers signals only there.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._previous: Any = None
        self._raising = False
        self.requested = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.getsignal(signal.SIGINT)
            if self._previous is not None:  # None: installed by C code and not restorable
                signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    @contextlib.contextmanager
    def raising(self) -> Iterator[None]:
        """Let an interrupt raise KeyboardInterrupt inside the block."""
        before, self._raising = self._raising, True
        try:
            yield
        finally:
            self._raising = before

    def break_user_code(self) -> None:
        """Raise KeyboardInterrupt in the user code on the main thread, if any runs; for calls from other threads."""
        if self._raising and self._previous is not None and not _on_main_thread():
            _thread.interrupt_main()

    def _handle(self, _signal: int, _frame: object) -> None:
        if self._raising or self.requested:
            self.requested = True
            raise KeyboardInterrupt
        self.requested = True
        self._wake()


def _on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


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


class TurnInterrupted(KeyboardInterrupt):
    """The user interrupted the kernel during a turn; ``answer`` is the partial answer, marked as cancelled."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("Interrupted. The partial answer is kept.")
        self.answer = answer

    def _render_traceback_(self) -> list[str]:
        """Return the one line that IPython shows instead of a traceback."""
        return [f"KeyboardInterrupt: {self}"]


def run_turn_in_cell(
    engine: Engine, events: AsyncIterator[TurnEvent], view: TurnView, mailbox: Mailbox, pump: Pump
) -> Answer:
    """Run a turn on the engine and show it, until its :class:`TurnFinished`; return that event's answer.

    A stop request ends the turn and returns the partial answer, so the cell ends as usual. An interrupt of the kernel
    ends it too and raises :class:`TurnInterrupted`, a KeyboardInterrupt. What the turn itself raises is raised here.
    The view is closed in any case; the caller closes mailbox and pump.
    """
    return BlockingTurn(engine, view, mailbox, pump.once).run(events)


class BlockingTurn:
    """Runs one turn and shows it on the calling thread; ``wait`` serves messages for at most the given seconds."""

    def __init__(
        self,
        engine: Engine,
        view: TurnView,
        mailbox: Mailbox,
        wait: Callable[[float], None],
        *,
        run_call: Callable[[MainThreadCall], None] = MainThreadCall.run,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._view = view
        self._mailbox = mailbox
        self._wait = wait
        self._run_call = run_call
        self._clock = clock
        self._interrupts = Interrupts(mailbox.wake)
        self._events: list[TurnEvent] = []
        self._needs_flush = False
        self._next_frame = 0.0
        self._runner: TurnRunner | None = None
        self._deadline: float | None = None

    def run(self, events: AsyncIterator[TurnEvent]) -> Answer:
        """Start the turn, show it to its end and return the answer."""
        self._runner = TurnRunner(self._engine, events, self._mailbox)
        self._mailbox.on_stop(self._stop)
        try:
            with self._interrupts:
                while not self._is_over():
                    self._step()
                self._process(self._mailbox.drain())
                answer = self._finish()
        finally:
            self._mailbox.on_stop(None)
            self._runner.cancel()
            self._view.close()
        if self._interrupts.requested and not self._mailbox.stop_requested:
            raise TurnInterrupted(answer)
        return answer

    def _is_over(self) -> bool:
        if self._runner is not None and self._runner.ended:
            return True
        return self._deadline is not None and self._clock() >= self._deadline

    def _step(self) -> None:
        self._mailbox.set_wait_mode(wake_on_event=not self._needs_flush)
        self._wait(min(_IDLE_S, max(0.0, self._next_frame - self._clock())) if self._needs_flush else _IDLE_S)
        self._process(self._mailbox.drain())
        if self._needs_flush and self._clock() >= self._next_frame:
            self._flush()
        if self._interrupts.requested or self._mailbox.stop_requested:
            self._cancel()

    def _process(self, items: Iterable[TurnEvent | MainThreadCall]) -> None:
        for item in items:
            if isinstance(item, MainThreadCall):
                self._run_main_thread_call(item)
            else:
                self._apply(item)

    def _apply(self, event: TurnEvent) -> None:
        self._events.append(event)
        self._needs_flush = True
        if not isinstance(event, ApprovalRequested):
            self._view.apply(event)
            return
        try:
            with self._interrupts.raising():  # the view may wait for input
                self._view.apply(event)
        except KeyboardInterrupt:
            self._interrupts.requested = True

    def _run_main_thread_call(self, call: MainThreadCall) -> None:
        if self._needs_flush:
            self._flush()
        try:
            with self._interrupts.raising():
                self._run_call(call)
        except KeyboardInterrupt as interrupt:
            self._interrupts.requested = True
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
        self._interrupts.break_user_code()

    def _cancel(self) -> None:
        if self._deadline is None and self._runner is not None:
            self._deadline = self._clock() + GRACE_S
            self._runner.cancel()

    def _finish(self) -> Answer:
        """Return the turn's answer, built from the events so far if the turn ended before its last event."""
        for event in reversed(self._events):
            if isinstance(event, TurnFinished):
                self._flush()
                return event.answer
        if self._deadline is None:
            raise (self._runner and self._runner.error) or RuntimeError(
                "The turn ended without its last event."
            )
        finished = TurnFinished(partial_answer(self._events), "Stopped by the user.")
        self._view.apply(finished)
        self._flush()
        return finished.answer


def frame_length(cost: float) -> float:
    """Return the seconds between two flushes that take ``cost`` seconds each: slow drawing is done less often."""
    return min(max(FRAME_S, cost / DRAWING_SHARE), LONGEST_FRAME_S)


def partial_answer(events: Iterable[TurnEvent]) -> Answer:
    """Return the answer of a cancelled turn, built from its events."""
    state = functools.reduce(reduce, events, TurnState())
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
