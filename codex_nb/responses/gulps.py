"""A stream read in gulps: what comes in many small pieces is left to gather for a moment.

Every read of a connection has a price, whatever it brings. A reader that waits for each piece pays it for every word of
an answer; one that lets the socket gather for a part of a frame pays it a few dozen times a second.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

REST_S = 0.04  # less than a frame: nothing is seen later for it
AT_ONCE_S = 0.001  # a read that takes longer has had to wait for the sender


class Gulps:
    """The chunks of a stream; after one that had to be waited for, the next read is put off by ``REST_S``.

    What lies there already is taken without a rest, so the sender is never held up.
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._chunks = chunks
        self._clock = clock
        self._sleep = sleep
        self._has_caught_up = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return the reader itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next chunk."""
        if self._has_caught_up:
            await self._sleep(REST_S)
        began = self._clock()
        chunk = await anext(self._chunks)
        self._has_caught_up = self._clock() - began > AT_ONCE_S
        return chunk
