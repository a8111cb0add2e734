"""A stream read in gulps: what comes in many small pieces is left to gather for a moment, and is taken as one.

Every read of a connection has a price, whatever it brings, and so has every step on the way from there to the screen. A
reader that waits for each piece pays it for every word of an answer; one that lets them gather for a part of a frame
pays it a few dozen times a second.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

REST_S = 0.045  # less than a frame: nothing is seen later for it
LONG_REST_S = 0.12  # for a rush, which nobody can follow word by word: it is shown eight times a second
A_RUSH = 350  # pieces a second
EAGER_GULPS = 2  # so many, each within a rest of the one before, show that words are coming fast
A_FLOOD = 32 * 1024  # bytes in one gulp: that is no writing any more, and not to be held up
MOST_AHEAD = 256 * 1024  # bytes that may lie here untaken


class Gulps:
    """What has arrived of a stream, in one piece for each look.

    A task of its own reads ahead. Once words come fast, it rests after the first piece that follows a gulp, and hands
    that one on with all that have come meanwhile, or alone a little later. The first words of a stream, and of what
    follows a pause, are handed on as they come. Close it: the task ends then.
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
        self._reader: asyncio.Task[None] | None = None
        self._arrived: list[bytes] = []
        self._size = 0
        self._pieces = self._taken = 0  # of the last gulp: its pieces, its bytes
        self._taken_at = -math.inf
        self._is_due = False  # what has arrived is to be taken, or the end has come
        self._is_over = False
        self._failure: BaseException | None = None
        self._taker: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None

    def __aiter__(self) -> Self:
        """Return the reader itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return all that has arrived, or what comes next; raise what broke the stream off once all is taken."""
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
        if not self._is_due:
            self._taker = asyncio.get_running_loop().create_future()
            await self._taker
        if self._arrived:
            return self._take()
        if self._failure is not None:
            raise self._failure
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the reading, wherever it is."""
        if self._alarm is not None:
            self._alarm.cancel()
        if self._reader is not None and not self._reader.done():
            self._reader.cancel()
            await asyncio.wait([self._reader])

    async def _read(self) -> None:
        try:
            await self._read_on()
        except BaseException as error:  # noqa: BLE001 - raised again where the stream is taken
            self._failure = error
        finally:
            self._is_over = True
            self._hand_on()

    async def _read_on(self) -> None:
        quick, has_rested, rest = 0, False, REST_S
        async for chunk in self._chunks:
            begins_a_gulp = not self._arrived  # all before is taken, so this reader has had to wait
            self._arrived.append(chunk)
            self._size += len(chunk)
            if begins_a_gulp and not has_rested:
                quick = quick + 1 if self._clock() - self._taken_at < REST_S else 0
            has_rested = begins_a_gulp and not has_rested and quick > EAGER_GULPS and self._taken < A_FLOOD
            if has_rested:
                rest = LONG_REST_S if self._pieces > A_RUSH * rest else REST_S
                self._hand_on_later(1.25 * rest)
                await self._sleep(rest)
            else:
                self._hand_on()
            if self._size > MOST_AHEAD:
                self._room = asyncio.get_running_loop().create_future()
                await self._room

    def _take(self) -> bytes:
        gulp = b"".join(self._arrived)
        self._pieces = len(self._arrived)
        self._arrived.clear()
        self._taken, self._taken_at, self._size = self._size, self._clock(), 0
        self._is_due = self._is_over
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        return gulp

    def _hand_on(self) -> None:
        self._is_due = True
        if self._taker is not None and not self._taker.done():
            self._taker.set_result(None)

    def _hand_on_later(self, seconds: float) -> None:
        # The next read follows upon the rest and hands this piece on with its own; the alarm is for when nothing comes.
        if self._alarm is None:
            self._alarm = asyncio.get_running_loop().call_later(seconds, self._hand_on)
