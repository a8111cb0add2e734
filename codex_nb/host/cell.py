"""A turn that blocks its cell: the cell's thread draws, runs calls, pumps messages and listens for interrupts."""

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
    """Takes SIGINT for the length of a turn, so that it never lands in the middle of our own bookkeeping.

    Inside :meth:`raising` (user code runs, a person types) an interrupt is an ordinary KeyboardInterrupt. Elsewhere the
    first one is remembered in ``requested`` and wakes the loop; the second is raised wherever it lands. Away from the
    main thread nothing is taken, since Python delivers signals only there.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._previous: Any = None
        self._raising = False
        self.requested = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.getsignal(signal.SIGINT)
            if self._previous is not None:  # None: installed by C code, which could not be put back
                signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    @contextlib.contextmanager
    def raising(self) -> Iterator[None]:
        """Let an interrupt be a KeyboardInterrupt for the length of the block."""
        before, self._raising = self._raising, True
        try:
            yield
        finally:
            self._raising = before

    def break_user_code(self) -> None:
        """End the user code that runs on the main thread now, if any, by a KeyboardInterrupt; for other threads."""
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
GRACE_S = 0.2  # how long a cancelled turn may take to end before the cell goes on without it
_IDLE_S = 0.1  # Windows notices an interrupt only between two waits


class Screen(Protocol):
    """Where a turn is shown; all three methods are called on the cell's thread."""

    def apply(self, event: TurnEvent) -> None:
        """Take in one event."""

    def flush(self) -> float | None:
        """Show what was taken in since the last flush; return in how many seconds to ask again if it was too soon."""

    def close(self) -> None:
        """Leave behind what is to stay."""


class TurnInterrupted(KeyboardInterrupt):
    """The user interrupted the kernel during a turn; ``answer`` holds what had come, marked as cancelled."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("Interrupted. The partial answer is kept.")
        self.answer = answer

    def _render_traceback_(self) -> list[str]:
        """Be one line in a cell: IPython asks for this, and the way here is nobody's mistake."""
        return [f"KeyboardInterrupt: {self}"]


def run_turn_in_cell(
    engine: Engine, events: AsyncIterator[TurnEvent], screen: Screen, mailbox: Mailbox, pump: Pump
) -> Answer:
    """Run a turn on the engine and show it, until its :class:`TurnFinished`; return that event's answer.

    A stop request ends the turn and returns the partial answer, so the cell ends as usual. An interrupt of the kernel
    ends it too and raises :class:`TurnInterrupted`, a KeyboardInterrupt. What the turn itself raises is raised here.
    The screen is closed in any case; mailbox and pump stay the caller's.
    """
    return BlockingTurn(engine, screen, mailbox, pump.once).run(events)


class BlockingTurn:
    """One turn and the thread that shows it; ``wait`` serves and waits for at most the seconds it is given."""

    def __init__(
        self,
        engine: Engine,
        screen: Screen,
        mailbox: Mailbox,
        wait: Callable[[float], None],
        *,
        run_call: Callable[[MainThreadCall], None] = MainThreadCall.run,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._screen = screen
        self._mailbox = mailbox
        self._wait = wait
        self._run_call = run_call
        self._clock = clock
        self._interrupts = Interrupts(mailbox.wake)
        self._seen: list[TurnEvent] = []
        self._dirty = False
        self._next_frame = 0.0
        self._turn: TurnRunner | None = None
        self._deadline: float | None = None

    def run(self, events: AsyncIterator[TurnEvent]) -> Answer:
        """Start the turn, show it to its end and return the answer."""
        self._turn = TurnRunner(self._engine, events, self._mailbox)
        self._mailbox.on_stop(self._stop)
        try:
            with self._interrupts:
                while not self._is_over():
                    self._step()
                self._take(self._mailbox.drain())
                answer = self._conclude()
        finally:
            self._mailbox.on_stop(None)
            self._turn.cancel()
            self._screen.close()
        if self._interrupts.requested and not self._mailbox.stop_requested:
            raise TurnInterrupted(answer)
        return answer

    def _is_over(self) -> bool:
        if self._turn is not None and self._turn.ended:
            return True
        return self._deadline is not None and self._clock() >= self._deadline

    def _step(self) -> None:
        self._mailbox.set_wait_mode(wake_on_event=not self._dirty)
        self._wait(min(_IDLE_S, max(0.0, self._next_frame - self._clock())) if self._dirty else _IDLE_S)
        self._take(self._mailbox.drain())
        if self._dirty and self._clock() >= self._next_frame:
            self._flush()
        if self._interrupts.requested or self._mailbox.stop_requested:
            self._cancel()

    def _take(self, items: Iterable[TurnEvent | MainThreadCall]) -> None:
        for item in items:
            if isinstance(item, MainThreadCall):
                self._call(item)
            else:
                self._apply(item)

    def _apply(self, event: TurnEvent) -> None:
        self._seen.append(event)
        self._dirty = True
        if not isinstance(event, ApprovalRequested):
            self._screen.apply(event)
            return
        try:
            with self._interrupts.raising():  # the screen may wait for a person to type
                self._screen.apply(event)
        except KeyboardInterrupt:
            self._interrupts.requested = True

    def _call(self, call: MainThreadCall) -> None:
        if self._dirty:
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
        too_soon = self._screen.flush()
        self._dirty = too_soon is not None
        now = self._clock()
        self._next_frame = now + max(frame_length(now - began), too_soon or 0.0)

    def _stop(self) -> None:
        """Take a stop request, on whatever thread it comes from."""
        self._cancel()
        self._interrupts.break_user_code()

    def _cancel(self) -> None:
        if self._deadline is None and self._turn is not None:
            self._deadline = self._clock() + GRACE_S
            self._turn.cancel()

    def _conclude(self) -> Answer:
        """Return the turn's answer, made from what was seen if the turn was cut off before its last event."""
        for event in reversed(self._seen):
            if isinstance(event, TurnFinished):
                self._flush()
                return event.answer
        if self._deadline is None:
            raise (self._turn and self._turn.error) or RuntimeError("The turn ended without its last event.")
        finished = TurnFinished(partial_answer(self._seen), "Stopped by the user.")
        self._screen.apply(finished)
        self._flush()
        return finished.answer


def frame_length(cost: float) -> float:
    """Return the seconds from one flush to the next when a flush costs so many: what is slow is drawn less often."""
    return min(max(FRAME_S, cost / DRAWING_SHARE), LONGEST_FRAME_S)


def partial_answer(events: Iterable[TurnEvent]) -> Answer:
    """Return what a cancelled turn had said, as an answer."""
    state = functools.reduce(reduce, events, TurnState())
    started = state.started
    parts: tuple[Any, ...] = state.parts
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
