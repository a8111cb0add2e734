"""Interrupts while a turn runs: Ctrl-C, the kernel's interrupt, the Stop button from another thread."""

from __future__ import annotations

import _thread
import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self


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
