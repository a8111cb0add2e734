"""One rate limit for the requests of a batch: waited out once, and the first request after it goes alone."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_nb.errors import BackendOverloaded, RateLimited
from codex_nb.http import httpx, open_http
from codex_nb.responses.client import ResponsesClient
from codex_nb.responses.events import RetryScheduled
from codex_nb.responses.request import Throttle
from tests.responses.conversations import USAGE, answer, failed
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
    server, ends = await batch(8, lambda number: limited(30) if number <= 5 else good())
    # the replies take a second, and as long as there is none the requests are 0.2 s apart
    assert server.came[:5] == pytest.approx([100.0, 100.2, 100.4, 100.6, 100.8])
    assert server.came[5] == pytest.approx(101.8 + 30)
    assert (len(server.came), ends) == (8 + 5, ["Hello."] * 8)


async def test_the_first_request_after_a_limit_goes_alone() -> None:
    server, ends = await batch(8, lambda number: limited(30) if number in {*range(1, 6), 6, 7} else good())
    assert server.came[5:8] == pytest.approx([131.8, 162.8, 193.8])
    assert server.came[8] >= 194.8
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
    assert server.came == pytest.approx([100.0, 100.2, 1001.2, 1002.2])
    assert ends == ["Hello."] * 2
    server, ends = await batch(1, lambda number: limited(900), throttled=False)
    assert (server.came, isinstance(ends[0], RateLimited)) == ([100.0], True)


async def test_a_model_at_capacity_holds_everyone_up() -> None:
    full = {"code": "server_is_overloaded", "message": "full"}
    server, ends = await batch(2, lambda number: stream_of(failed(full)) if number <= 2 else good())
    assert server.came == pytest.approx([100.0, 100.2, 102.0, 103.0])
    assert ends == ["Hello."] * 2
    server, ends = await batch(1, lambda number: stream_of(failed(full)), throttled=False)
    assert (server.came, isinstance(ends[0], BackendOverloaded)) == ([100.0], True)


async def test_a_failing_request_holds_up_nobody_else() -> None:
    broken = httpx.Response(500, json={"error": {"message": "oops"}})
    server, ends = await batch(8, lambda number: broken if number == 1 else good())
    assert (len(server.came), ends) == (9, ["Hello."] * 8)
    assert server.came[-1] < 103.0


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
    clock.now += 1.0
    second = asyncio.ensure_future(follow())
    await asyncio.sleep(0)
    assert not gone.is_set()
    first.cancel()
    async with asyncio.timeout(5):
        await second
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
                    case RetryScheduled(attempt, most, delay):
                        told.append((attempt, most, delay, throttle.waiting_s))

    await clock.run(follow())
    assert told == [(2, 6, 7.0, 7.0)]


class SlidingWindow:
    """Takes ``most`` requests in any ``seconds``."""

    def __init__(self, most: int, seconds: float) -> None:
        self.most, self.seconds = most, seconds
        self._taken: deque[float] = deque()

    def take(self, now: float) -> float:
        """Take a request, and return 0; else the seconds until one will be taken."""
        while self._taken and self._taken[0] <= now - self.seconds:
            self._taken.popleft()
        if len(self._taken) >= self.most:
            return self._taken[0] + self.seconds - now
        self._taken.append(now)
        return 0.0

    def left(self, now: float) -> tuple[int, float]:
        """Return how many more would be taken now, and the seconds until the limit is full again."""
        return self.most - len(self._taken), max(0.0, self._taken[-1] + self.seconds - now)


class FixedWindow(SlidingWindow):
    """Takes ``most`` requests between two full ``seconds``."""

    _window, _count = -1, 0

    def take(self, now: float) -> float:
        if int(now / self.seconds) != self._window:
            self._window, self._count = int(now / self.seconds), 0
        if self._count >= self.most:
            return (self._window + 1) * self.seconds - now
        self._count += 1
        return 0.0

    def left(self, now: float) -> tuple[int, float]:
        return self.most - self._count, (self._window + 1) * self.seconds - now


class TokenBucket(SlidingWindow):
    """Takes ``most`` requests at once, and is filled evenly again within ``seconds``."""

    _left, _at = math.inf, 0.0

    def take(self, now: float) -> float:
        rate = self.most / self.seconds
        self._left, self._at = min(self.most, self._left + (now - self._at) * rate), now
        if self._left < 1:
            return (1 - self._left) / rate
        self._left -= 1
        return 0.0

    def left(self, now: float) -> tuple[int, float]:
        return int(self._left), (self.most - self._left) * self.seconds / self.most


@dataclass
class LimitedServer:
    """A server with a limit, which it tells in its own way; notes who was answered, in order."""

    clock: Clock
    limit: SlidingWindow
    tells: str
    came: int = 0
    answered: list[str] = field(default_factory=list)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.came += 1
        wait = self.limit.take(self.clock.now)
        headers = self._headers(wait)
        await self.clock.sleep(0.01)
        if wait:
            return httpx.Response(429, headers=headers, json={"error": {"message": "Slow down."}})
        self.answered.append(request.headers["thread-id"])
        return stream_of(*answer("Hello."), **headers)

    def _headers(self, wait: float) -> dict[str, str]:
        match self.tells:
            case "the wait" if wait:
                return {"retry-after": f"{wait:.3f}"}
            case "full seconds" if wait:
                return {"retry-after": f"{math.ceil(wait)}"}
            case "requests left":
                return self._quota("requests", 1)
            case "tokens left":
                return self._quota("tokens", USAGE["total_tokens"])
        return {}

    def _quota(self, kind: str, cost: int) -> dict[str, str]:
        left, reset = self.limit.left(self.clock.now)
        told = {"limit": self.limit.most * cost, "remaining": left * cost, "reset": f"{reset * 1000:.0f}ms"}
        return {f"x-ratelimit-{name}-{kind}": str(value) for name, value in told.items()}


@pytest.mark.parametrize("tells", ["nothing", "the wait", "full seconds", "requests left", "tokens left"])
@pytest.mark.parametrize("limit", [SlidingWindow, FixedWindow, TokenBucket])
async def test_a_service_of_three_requests_a_second_refuses_few_of_a_batch(
    limit: type[SlidingWindow], tells: str
) -> None:
    clock = Clock()
    server = LimitedServer(clock, limit(3, 1.0), tells)
    throttle = Throttle(8, clock=clock, sleep=clock.sleep, chance=lambda: 0.5)
    at_once = asyncio.Semaphore(8)
    prompts = [f"prompt {number}" for number in range(120)]
    async with open_http(SETTINGS, {}, transport=httpx.MockTransport(server)) as http:
        client = ResponsesClient(http, CHATGPT, None, sleep=clock.sleep)

        async def ask(prompt: str) -> Any:
            request = replace(REQUEST, thread_id=prompt, throttle=throttle)
            async with at_once:
                return [event async for event in client.stream(request)][-1]

        ends = await clock.run(*map(ask, prompts))
    assert [getattr(end, "text", end) for end in ends] == ["Hello."] * len(prompts)
    assert sorted(server.answered) == sorted(prompts)
    assert server.came <= len(prompts) * 1.05
    # of a limit that is told, a third at least is used
    assert "left" not in tells or clock.now - 100.0 < len(prompts)


QUOTA_HEADERS = [f"{part}-{of}" for part in ("limit", "remaining", "reset") for of in ("requests", "tokens")]


@given(
    st.dictionaries(
        st.sampled_from(
            [
                f"x-ratelimit-{part}-{of}"
                for part in ("limit", "remaining", "reset")
                for of in ("requests", "tokens")
            ]
        ),
        st.sampled_from(
            ["0", "-1", "nan", "inf", "1e999", "", "soon", "6m0s", "20ms", "1d", "2026-11-29T10:00:00Z"]
        ),
    )
)
def test_whatever_a_server_tells_of_its_limits_a_batch_goes_on(headers: dict[str, str]) -> None:
    async def follow() -> list[float]:
        clock, sent = Clock(), list[float]()
        throttle = Throttle(8, clock=clock, sleep=clock.sleep)

        async def send() -> None:
            async with throttle.sending() as slot:
                sent.append(clock.now)
                throttle.note_headers(headers)
                throttle.note_tokens(100)
                slot.release(accepted=True)

        await clock.run(*(send() for _ in range(4)))
        return sent

    assert len(asyncio.run(follow())) == 4
