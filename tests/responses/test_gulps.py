"""A stream read in gulps: fewer reads, the same bytes, and a sender that is never held up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from codex_nb.responses.gulps import REST_S, Gulps

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio


@dataclass
class Connection:
    """A sender of one byte every ``pace_s`` whose reader gets what has come, or waits; time passes only by waiting."""

    count: int
    pace_s: float
    at_most: int = 65_536
    now: float = 0.0
    taken: int = 0
    rests: list[float] = field(default_factory=list)

    def clock(self) -> float:
        """Return the time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.rests.append(seconds)
        self.now += seconds

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield what the sender has sent since the last read."""
        while self.taken < self.count:
            self.now = max(self.now, (self.taken + 1) * self.pace_s)
            sent = min(self.count, round(self.now / self.pace_s), self.taken + self.at_most)
            self.taken, size = sent, sent - self.taken
            yield b"x" * size


async def read(connection: Connection) -> list[bytes]:
    gulps = Gulps(connection.chunks(), clock=connection.clock, sleep=connection.sleep)
    return [chunk async for chunk in gulps]


async def test_a_stream_of_words_costs_two_reads_a_rest() -> None:
    connection = Connection(count=1_000, pace_s=0.002)

    chunks = await read(connection)

    assert b"".join(chunks) == b"x" * 1_000
    assert len(chunks) <= 2 * (2.0 / REST_S) + 2
    assert set(connection.rests) == {REST_S}


async def test_a_slow_stream_is_never_more_than_one_rest_behind() -> None:
    connection = Connection(count=10, pace_s=1.0)

    assert await read(connection) == [b"x"] * 10
    assert connection.now <= 10.0 + REST_S


async def test_what_lies_there_already_is_taken_without_a_rest() -> None:
    connection = Connection(count=1_000, pace_s=0.000_001, at_most=1, now=1.0)

    assert await read(connection) == [b"x"] * 1_000
    assert connection.rests == []
