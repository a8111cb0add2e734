"""One rate limit for many requests: while it lasts none is sent, and the first one after it goes alone.

Lives on one event loop; only :attr:`Throttle.waiting_s` may be read from another thread.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from codex_nb.http import backoff

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

FIRST_WAIT_S = 1.0
LONGEST_BACKOFF_S = 60.0


class Throttle:
    """Lets requests out, at most ``limit`` of them waiting for their reply to begin at once.

    After a rate limit there is one at a time; each reply that is no refusal allows one more, up to ``limit`` again. A
    limit whose length the server did not tell is waited out for longer and longer, until a request gets through.
    """

    def __init__(
        self,
        limit: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._limit = limit
        self._allowed = limit
        self._sending = 0
        self._resume_at = clock()
        self._limits_in_a_row = 0
        self._changed = asyncio.Event()
        self._clock = clock
        self._sleep = sleep
        self._chance = chance

    @property
    def waiting_s(self) -> float:
        """How long the rate limit still lasts."""
        return max(0.0, self._resume_at - self._clock())

    @asynccontextmanager
    async def sending(self) -> AsyncGenerator[Slot, None]:
        """Wait until a request may be sent, and send it in this block."""
        while (left := self.waiting_s) or self._sending >= self._allowed:
            await (self._sleep(left) if left else self._changed.wait())
        self._sending += 1
        slot = Slot(self)
        try:
            yield slot
        finally:
            slot.release()

    def released(self, *, accepted: bool) -> None:
        """Note that a request waits for its reply no more, and whether that is because the server answers it."""
        self._sending -= 1
        if accepted and not self.waiting_s:  # else it was sent before the limit
            self._limits_in_a_row = 0
            self._allowed = min(self._limit, self._allowed + 1)
        self._changed.set()
        self._changed = asyncio.Event()

    def limited(self, retry_after: float | None) -> float:
        """Note that the server refuses requests for ``retry_after`` seconds, None: not told; return the wait."""
        if not self.waiting_s:  # else it was sent before the limit as well
            self._limits_in_a_row += 1
        self._allowed = 1
        if retry_after is None:
            retry_after = backoff(
                self._limits_in_a_row,
                first_s=FIRST_WAIT_S,
                longest_s=LONGEST_BACKOFF_S,
                jitter=0.5,
                chance=self._chance(),
            )
        self._resume_at = max(self._resume_at, self._clock() + retry_after)
        return self.waiting_s


class Slot:
    """The place of one request that waits for its reply."""

    def __init__(self, throttle: Throttle) -> None:
        self._throttle: Throttle | None = throttle

    def release(self, *, accepted: bool = False) -> None:
        """Give the place to another request; ``accepted``: the reply has begun. A second call does nothing."""
        throttle, self._throttle = self._throttle, None
        if throttle is not None:
            throttle.released(accepted=accepted)
