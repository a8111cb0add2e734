"""The idle time bounds each wait for an event, and nobody else's cancellation is taken for its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import pytest

from codex_nb.errors import StreamInterrupted
from codex_nb.http import httpx, open_http
from codex_nb.responses.client import ResponsesClient, RetryPolicy
from codex_nb.responses.events import OutputTextDelta
from tests.responses.fakes import CHATGPT, EVENT_STREAM, REQUEST, SETTINGS, Outcome, outcome_of, sse

pytestmark = pytest.mark.anyio

SHORT_S, PAUSE_S, LONG_S = 0.05, 0.3, 1.0
FOREVER_S = 3600.0
ONCE = RetryPolicy(max_requests=1)
WORD = sse({"type": "response.output_text.delta", "item_id": "one", "output_index": 0, "delta": "word "})
COMPLETED = sse({"type": "response.completed", "response": {"id": "resp_1"}})


class Pauses(httpx.AsyncByteStream):
    """A body that arrives in pieces, with pauses in seconds between them."""

    def __init__(self, *pieces: bytes | float) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, float):
                await asyncio.sleep(piece)
            else:
                yield piece


def reply(*pieces: bytes | float) -> httpx.Response:
    return httpx.Response(200, headers=EVENT_STREAM, stream=Pauses(*pieces))


async def read(idle_s: float, *pieces: bytes | float) -> Outcome:
    return await outcome_of([reply(*pieces)], backend=replace(CHATGPT, idle_timeout_s=idle_s), retry=ONCE)


@pytest.mark.parametrize("before", [0, 1, 3])
async def test_a_wait_that_lasts_too_long_is_a_timeout_also_after_others(before: int) -> None:
    outcome = await read(SHORT_S, *[WORD, 0.0] * before, FOREVER_S)

    assert isinstance(outcome.error, StreamInterrupted)
    assert "stopped responding" in str(outcome.error)
    assert "".join(event.delta for event in outcome.events if isinstance(event, OutputTextDelta)) == (
        "word " * before
    )
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.parametrize("piece", [WORD, b"data: not an event\n\n"], ids=["event", "other data"])
async def test_each_event_begins_the_wait_anew(piece: bytes) -> None:
    outcome = await read(LONG_S, *[piece, PAUSE_S] * 5, COMPLETED)

    assert outcome.finished.status == "completed"


async def test_bytes_that_complete_nothing_do_not_count() -> None:
    outcome = await read(LONG_S, WORD, *[b": ping\n", PAUSE_S] * 20, COMPLETED)

    assert isinstance(outcome.error, StreamInterrupted)


async def test_time_between_two_waits_does_not_count() -> None:
    transport = httpx.MockTransport(lambda _: reply(WORD, 0.0, WORD, 0.0, COMPLETED))
    async with open_http(SETTINGS, {}, transport=transport) as http:
        backend = replace(CHATGPT, idle_timeout_s=2 * SHORT_S)
        client = ResponsesClient(http, backend, None, retry=ONCE)
        async with aclosing(client.stream(REQUEST)) as events:
            async for _ in events:
                await asyncio.sleep(4 * SHORT_S)


async def test_a_cancellation_from_outside_stays_one() -> None:
    task = asyncio.create_task(read(60.0, WORD, FOREVER_S))
    await asyncio.sleep(SHORT_S)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
