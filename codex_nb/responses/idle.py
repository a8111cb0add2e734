"""A bound on each of many short waits, with one timer for all of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from codex_nb.words import kernel as words

if TYPE_CHECKING:
    from types import TracebackType


class IdleLimit:
    """``with limit:`` around a wait raises TimeoutError when it lasts longer than ``seconds``.

    It does what ``asyncio.timeout`` does, which makes and takes back a timer at every entry: for one word of a stream
    that costs more than to read it. Here a timer that finds the wait younger than itself just goes on for the rest.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None  # the one that waits
        self._began = 0.0
        self._cancelling = 0
        self._has_expired = False

    def close(self) -> None:
        """Let go of the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __enter__(self) -> None:
        """Begin a wait."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError(words.OUTSIDE_A_TASK)
        self._task, self._cancelling, self._began = task, task.cancelling(), self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._look)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """End the wait; a cancellation of our own becomes a TimeoutError."""
        task, self._task = self._task, None
        if task is None or not self._has_expired:
            return
        self._has_expired = False
        if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _look(self) -> None:
        self._timer = None
        if self._task is None:
            return
        left = self._began + self._seconds - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._has_expired = True
            self._task.cancel()
