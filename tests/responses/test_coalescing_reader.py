"""A stream read in batches: fewer reads and fewer pieces, the same bytes, and a sender that is never held up."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from codex_nb.responses.stream import (
    COALESCE_S,
    EAGER_BATCHES,
    LONG_COALESCE_S,
    MAX_BUFFERED,
    CoalescingReader,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio


@dataclass
class Connection:
    """A sender of one byte every ``pace_s``; time passes only by waiting.

    What has come since the last look at the connection is read as pieces of one byte, as HTTP gives each chunk; a look
    lets the loop turn, as a socket does.
    """

    count: int
    pace_s: float
    now: float = 0.0
    looks: int = 0
    sent: int = 0
    rests: list[float] = field(default_factory=list)

    def clock(self) -> float:
        """Return the time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.rests.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield what the sender has sent since the last look, waiting for it when it is nothing."""
        while self.sent < self.count:
            self.looks += 1
            for _ in range(5):
                await asyncio.sleep(0)
            self.now = max(self.now, (self.sent + 1) * self.pace_s)
            here = min(self.count, round(self.now / self.pace_s))
            while self.sent < here:
                self.sent += 1
                yield b"x"


async def read(connection: Connection) -> list[bytes]:
    async with aclosing(
        CoalescingReader(connection.chunks(), clock=connection.clock, sleep=connection.sleep)
    ) as batches:
        return [batch async for batch in batches]


@pytest.mark.parametrize(("pace_s", "rest_s"), [(0.01, COALESCE_S), (0.002, LONG_COALESCE_S)])
async def test_a_stream_of_words_costs_two_looks_and_one_piece_a_rest(pace_s: float, rest_s: float) -> None:
    connection = Connection(count=1_000, pace_s=pace_s)

    batches = await read(connection)

    rests = 1_000 * pace_s / rest_s
    assert b"".join(batches) == b"x" * 1_000
    assert len(batches) <= rests + EAGER_BATCHES + 3
    assert connection.looks <= 2 * rests + EAGER_BATCHES + 3
    assert set(connection.rests[1:]) == {rest_s}


async def test_the_first_words_wait_for_nothing() -> None:
    connection = Connection(count=EAGER_BATCHES, pace_s=0.01)

    assert await read(connection) == [b"x"] * EAGER_BATCHES
    assert connection.rests == []


async def test_a_slow_stream_is_handed_on_piece_by_piece_and_never_rests() -> None:
    connection = Connection(count=10, pace_s=1.0)

    assert await read(connection) == [b"x"] * 10
    assert connection.rests == []


async def test_what_lies_there_already_is_taken_whole_and_without_a_rest() -> None:
    connection = Connection(count=1_000, pace_s=0.000_001, now=1.0)

    assert await read(connection) == [b"x" * 1_000]
    assert connection.rests == []


async def test_the_last_word_comes_although_nothing_follows() -> None:
    """The sender says a few words quickly and then nothing more, without ending."""
    heard: list[bytes] = []
    words = Connection(count=EAGER_BATCHES + 2, pace_s=0.01)

    async def chunks() -> AsyncIterator[bytes]:
        async for chunk in words.chunks():
            yield chunk
        await asyncio.Event().wait()

    async with aclosing(CoalescingReader(chunks(), clock=words.clock, sleep=words.sleep)) as batches:
        async with asyncio.timeout(60):
            while sum(map(len, heard)) < words.count:
                heard.append(await anext(batches))
    assert (b"".join(heard), words.rests) == (b"x" * words.count, [COALESCE_S])


async def test_what_came_before_a_failure_is_told_before_it() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"
        raise ConnectionResetError

    async with aclosing(CoalescingReader(chunks())) as batches:
        assert await anext(batches) == b"one two"
        for _ in range(2):
            with pytest.raises(ConnectionResetError):
                await anext(batches)


async def test_nothing_is_read_ahead_beyond_a_bound_and_nothing_after_the_end() -> None:
    size, given = MAX_BUFFERED // 2, 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1
            yield b"x" * size

    others = asyncio.all_tasks()
    async with aclosing(CoalescingReader(chunks())) as batches:
        assert len(await anext(batches)) == 3 * size
        await asyncio.sleep(0)
        assert (given, len(asyncio.all_tasks() - others)) == (6, 1)
    await asyncio.sleep(0)
    assert (given, asyncio.all_tasks() - others) == (6, set())
