"""One rate limit for the requests of a batch: waited out once, and the first request after it goes alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from codex_nb.errors import BackendOverloaded, RateLimited
from codex_nb.http import Throttle, httpx, open_http
from codex_nb.responses.client import ResponsesClient
from codex_nb.responses.events import Retrying
from tests.responses.conversations import answer, failed
from tests.responses.fakes import CHATGPT, REQUEST, SETTINGS, stream_of

pytestmark = pytest.mark.anyio


@dataclass
class Clock:
    """A clock that jumps to the moment of the first sleeper when nothing else can be done."""

    now: float = 100.0
    sleepers: list[tuple[float, asyncio.Event]] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self.sleepers.append((self.now + seconds, woken))
        await woken.wait()

    async def run(self, *work: Any) -> list[Any]:
        tasks = [asyncio.ensure_future(each) for each in work]
        while not all(task.done() for task in tasks):
            for _ in range(50):
                await asyncio.sleep(0)
            if self.sleepers:
                self.now = max(self.now, min(at for at, _ in self.sleepers))
            for at, woken in [sleeper for sleeper in self.sleepers if sleeper[0] <= self.now]:
                self.sleepers.remove((at, woken))
                woken.set()
        return [task.exception() or task.result() for task in tasks]


@dataclass
class Server:
    """Answers after a second by what ``reply`` gives for the number of the request; notes when each came."""

    clock: Clock
    reply: Callable[[int], httpx.Response]
    came: list[float] = field(default_factory=list)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.came.append(self.clock.now)
        reply = self.reply(len(self.came))
        await self.clock.sleep(1.0)
        return reply


def limited(after: float | None = None) -> httpx.Response:
    headers = {} if after is None else {"retry-after": f"{after:g}"}
    return httpx.Response(429, headers=headers, json={"error": {"message": "Slow down."}})


def good() -> httpx.Response:
    return stream_of(*answer("Hello."))


async def batch(
    count: int, reply: Callable[[int], httpx.Response], *, throttled: bool = True
) -> tuple[Server, list[Any]]:
    """Send that many requests at once over one throttle; give the server, and each text or error."""
    clock = Clock()
    server = Server(clock, reply)
    throttle = Throttle(8, clock=clock, sleep=clock.sleep, chance=lambda: 0.5)
    request = replace(REQUEST, throttle=throttle if throttled else None)
    async with open_http(SETTINGS, {}, transport=httpx.MockTransport(server)) as http:
        client = ResponsesClient(http, CHATGPT, None, sleep=clock.sleep, chance=lambda: 0.5)

        async def ask() -> Any:
            told = [event async for event in client.stream(request)]
            return [getattr(event, "text", None) for event in told][-1]

        return server, await clock.run(*(ask() for _ in range(count)))


async def test_a_limit_that_all_meet_is_waited_out_once() -> None:
    server, ends = await batch(8, lambda number: limited(30) if number <= 8 else good())
    assert server.came == [100.0] * 8 + [131.0] + [132.0] * 2 + [133.0] * 4 + [134.0]
    assert ends == ["Hello."] * 8


async def test_the_first_request_after_a_limit_goes_alone() -> None:
    server, ends = await batch(8, lambda number: limited(30) if number in {*range(1, 9), 9, 10} else good())
    assert server.came == [100.0] * 8 + [131.0, 162.0, 193.0] + [194.0] * 2 + [195.0] * 4 + [196.0]
    assert ends == ["Hello."] * 8


async def test_a_slow_account_costs_waits_and_no_answers() -> None:
    """Only every third request is let through: six tries each must do for all of forty."""
    _server, ends = await batch(40, lambda number: good() if number % 3 == 0 else limited(20))
    assert ends == ["Hello."] * 40


async def test_a_limit_without_a_length_is_waited_out_for_longer_and_longer() -> None:
    server, ends = await batch(1, lambda number: limited())
    assert server.came == [100.0, 102.0, 105.0, 110.0, 119.0, 136.0]
    assert isinstance(ends[0], RateLimited)


async def test_a_batch_waits_for_as_long_as_the_server_asks() -> None:
    server, ends = await batch(2, lambda number: limited(900) if number <= 2 else good())
    assert (server.came, ends) == ([100.0] * 2 + [1001.0, 1002.0], ["Hello."] * 2)
    server, ends = await batch(1, lambda number: limited(900), throttled=False)
    assert (server.came, isinstance(ends[0], RateLimited)) == ([100.0], True)


async def test_a_model_at_capacity_holds_everyone_up() -> None:
    full = {"code": "server_is_overloaded", "message": "full"}
    server, ends = await batch(2, lambda number: stream_of(failed(full)) if number <= 2 else good())
    assert (server.came, ends) == ([100.0] * 2 + [102.0, 103.0], ["Hello."] * 2)
    server, ends = await batch(1, lambda number: stream_of(failed(full)), throttled=False)
    assert (server.came, isinstance(ends[0], BackendOverloaded)) == ([100.0], True)


async def test_a_failing_request_holds_up_nobody_else() -> None:
    broken = httpx.Response(500, json={"error": {"message": "oops"}})
    server, ends = await batch(8, lambda number: broken if number == 1 else good())
    assert server.came == [100.0] * 8 + [pytest.approx(101.2)]
    assert ends == ["Hello."] * 8


async def test_a_request_that_is_cancelled_frees_its_place() -> None:
    clock, gone = Clock(), asyncio.Event()
    throttle = Throttle(1, clock=clock, sleep=clock.sleep)

    async def hang() -> None:
        async with throttle.sending():
            await asyncio.Event().wait()

    async def follow() -> None:
        async with throttle.sending():
            gone.set()

    first = asyncio.ensure_future(hang())
    await asyncio.sleep(0)
    second = asyncio.ensure_future(follow())
    await asyncio.sleep(0)
    assert not gone.is_set()
    first.cancel()
    await asyncio.wait_for(second, 5)
    assert gone.is_set()


async def test_the_wait_is_told_to_whoever_follows_the_stream() -> None:
    clock = Clock()
    server = Server(clock, lambda number: limited(7) if number == 1 else good())
    throttle = Throttle(8, clock=clock, sleep=clock.sleep)
    told: list[Any] = []

    async def follow() -> None:
        async with open_http(SETTINGS, {}, transport=httpx.MockTransport(server)) as http:
            client = ResponsesClient(http, CHATGPT, None, sleep=clock.sleep)
            async for event in client.stream(replace(REQUEST, throttle=throttle)):
                match event:
                    case Retrying(attempt, most, delay):
                        told.append((attempt, most, delay, throttle.waiting_s))

    await clock.run(follow())
    assert told == [(2, 6, 7.0, 7.0)]
