"""Interrupts of the kernel: deferred where our own code runs, delivered at once in the user's and the model's code."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, ClassVar, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

T = TypeVar("T")


class Interrupted(KeyboardInterrupt):
    """The user interrupted the kernel; IPython shows this as one line instead of a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"KeyboardInterrupt: {self}"]


class Interrupts:
    """The interrupts of the kernel in a block of :func:`deferring_interrupts`.

    ``pending`` is whether there was one that has not been raised yet; ``wake`` is called when one arrives.
    """

    active: ClassVar[Interrupts | None] = None  # of the main thread, where Python delivers signals

    def __init__(self) -> None:
        self.pending = False
        self.wake: Callable[[], None] = lambda: None

    def take(self) -> bool:
        """Whether an interrupt is pending; it is not any more afterwards."""
        pending, self.pending = self.pending, False
        return pending

    def raise_pending(self) -> None:
        """Raise an interrupt that is pending."""
        if self.take():
            raise Interrupted("Interrupted.")

    def handle(self, _signal: int, frame: FrameType | None) -> None:
        """Raise in code that may be interrupted, and at the second interrupt; else note it."""
        if self.pending or _is_interruptible(frame):
            self.pending = False
            raise KeyboardInterrupt
        self.pending = True
        self.wake()


@contextlib.contextmanager
def deferring_interrupts(wake: Callable[[], None] | None = None) -> Iterator[Interrupts]:
    """Keep an interrupt from breaking the block in the middle: it is noted, and raised at the end of the block.

    ``interruptible`` code inside the block is broken at once. A second interrupt raises KeyboardInterrupt anywhere. An
    inner block shares the interrupts of the outer one. On other threads than the main one nothing is deferred.
    """
    handler = signal.getsignal(signal.SIGINT) if _on_main_thread() else None
    if handler is None:  # installed by C code and not restorable, or on another thread
        yield Interrupts()
        return
    outer = Interrupts.active
    is_shared = outer is not None and not _is_interruptible(sys._getframe())  # noqa: SLF001 - the only way to the stack
    interrupts = outer if outer is not None and is_shared else Interrupts()
    before, interrupts.wake = interrupts.wake, wake or interrupts.wake
    try:
        if not is_shared:
            Interrupts.active = interrupts
            signal.signal(signal.SIGINT, interrupts.handle)
        yield interrupts
    finally:
        interrupts.wake = before
        if not is_shared:
            Interrupts.active = outer
            signal.signal(signal.SIGINT, handler)
    if not is_shared:
        interrupts.raise_pending()


def interruptible(function: Callable[[], T]) -> T:
    """Call ``function``, which an interrupt may break anywhere: user code runs, or the user types."""
    if _on_main_thread() and Interrupts.active is not None:
        Interrupts.active.raise_pending()
    return function()


def uninterruptible(function: Callable[[], T]) -> T:
    """Call ``function`` inside interruptible code; an interrupt is deferred meanwhile."""
    return function()


def interrupt_user_code() -> None:
    """Break the interruptible code that runs on the main thread, if any; for other threads."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001 - as above
    if Interrupts.active is not None and not _on_main_thread() and _is_interruptible(frame):
        _thread.interrupt_main()


def is_interrupted() -> bool:
    """Whether an interrupt of the running cell is pending."""
    return _on_main_thread() and Interrupts.active is not None and Interrupts.active.pending


def _is_interruptible(frame: FrameType | None) -> bool:
    """Whether a frame belongs to interruptible code: the stack tells it at any instant."""
    while frame is not None and frame.f_code not in {interruptible.__code__, uninterruptible.__code__}:
        frame = frame.f_back
    return frame is not None and frame.f_code is interruptible.__code__


def _on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def ending_forked_children() -> Iterator[None]:
    """End a child that the code inside the block forks where the code ends: what follows belongs to the parent."""
    process = os.getpid()
    try:
        yield
    finally:
        if os.getpid() != process:
            os._exit(0 if sys.exc_info()[0] is None else 1)
