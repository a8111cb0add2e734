"""From bytes to events: what one event costs, beside httpx-sse and openai-python over the same bytes, same run."""

from __future__ import annotations

import asyncio
import importlib
import json
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from codex_nb.config.settings import Settings
from codex_nb.http import httpx, open_http
from codex_nb.responses.client import ResponsesClient
from codex_nb.responses.events import Delta, ResponseEvent
from codex_nb.responses.request import Backend, ResponsesRequest
from tests.benchmarks.fresh import median_of
from tests.benchmarks.table import Reference, Row, Topic

CHUNK = 16 * 1024
MANY = 20_000
GROWTH = (1_000, 10_000, 100_000)
ITEM_ID = "msg_0d2c9f4b7e6a81530068a1b2c3d4e5f60718293a4b5c6d7e8f"
HEADERS = {"content-type": "text/event-stream"}
BASE_URL = "http://backend.invalid/v1"
WORD = " word"

Reader = Callable[[list[bytes]], Awaitable[int]]


def events(count: int) -> list[bytes]:
    """Return a response's events as the API writes them, deltas of a word each."""
    message: dict[str, Any] = {"id": ITEM_ID, "type": "message", "role": "assistant", "content": []}
    response = {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-5.5", "output": []}
    more = {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True}
    body: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**response, **more, "status": "in_progress"}},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**message, "status": "in_progress"},
        },
    ]
    place = {"item_id": ITEM_ID, "output_index": 0, "content_index": 0}
    body += [
        {
            "type": "response.output_text.delta",
            **place,
            "delta": WORD,
            "logprobs": [],
            "obfuscation": "kLx0s9Qp2zRtY",
        }
        for _ in range(count - 3)
    ]
    part = {"type": "output_text", "text": WORD * (count - 3), "annotations": []}
    done = {**message, "status": "completed", "content": [part]}
    body.append(
        {
            "type": "response.completed",
            "response": {**response, **more, "status": "completed", "output": [done]},
        }
    )
    return [
        f"event: {event['type']}\ndata: {json.dumps({**event, 'sequence_number': number})}\n\n".encode()
        for number, event in enumerate(body)
    ]


def in_chunks(pieces: list[bytes]) -> list[bytes]:
    whole = b"".join(pieces)
    return [whole[at : at + CHUNK] for at in range(0, len(whole), CHUNK)]


def transport_of(library: Any, chunks: list[bytes]) -> Any:
    """Return a transport of httpx, or of its successor, that streams the chunks."""

    class Body(library.AsyncByteStream):  # type: ignore[misc] # the library is chosen at run time
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk

    return library.MockTransport(lambda _: library.Response(200, headers=HEADERS, stream=Body()))


async def ours(chunks: list[bytes]) -> int:
    """Read with this project's client: decoded, parsed, folded, delivered."""
    settings = Settings(codex_home=Path("nowhere"))
    backend = Backend(base_url=BASE_URL, is_built_in=False)
    async with open_http(settings, {}, transport=transport_of(httpx, chunks)) as http:
        client = ResponsesClient(http, backend, None)
        return sum([_told(event) async for event in client.stream(ResponsesRequest("m", ()))]) - 1


def _told(event: ResponseEvent) -> int:
    """Return how many of the server's events stand behind one of the client's: it joins what arrived together."""
    return len(event.delta) // len(WORD) if isinstance(event, Delta) else 1


async def theirs(chunks: list[bytes]) -> int:
    """Read with openai-python's client: decoded, parsed, delivered."""
    openai = importlib.import_module("openai")
    library = importlib.import_module(openai.DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0])
    http = openai.DefaultAsyncHttpxClient(transport=transport_of(library, chunks))
    async with openai.AsyncOpenAI(api_key="sk-fabricated", base_url=BASE_URL, http_client=http) as client:
        stream = await client.responses.create(model="m", input="hi", stream=True)
        return len([None async for _ in stream])


async def decoder_only(chunks: list[bytes]) -> int:
    """Read with httpx-sse and the standard JSON parser: decoded, no events made of it."""
    library = importlib.import_module("httpx_sse")
    http = httpx.AsyncClient(transport=transport_of(httpx, chunks))
    async with http, library.aconnect_sse(http, "POST", BASE_URL) as source:
        return len([event.json() async for event in source.aiter_sse()])


def microseconds(reader: Reader, chunks: list[bytes], count: int, *, times: int = 3) -> float:
    """Return the CPU time of one event."""

    def once() -> float:
        begin = time.process_time()
        seen = asyncio.run(reader(chunks))
        spent = time.process_time() - begin
        assert seen == count, (reader.__name__, seen)
        return spent / count * 1e6

    return median_of(once, times=times)


def growth() -> float:
    """Return what an event of a long answer costs, as a multiple of one of a short answer."""
    short, *_, long = (microseconds(ours, in_chunks(events(count)), count) for count in GROWTH)
    return long / short


def memory() -> float:
    """Return the peak of what Python holds while an answer of 100,000 events is read, in MB."""
    chunks = in_chunks(events(GROWTH[-1]))
    tracemalloc.start()
    try:
        asyncio.run(drained(chunks))
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


async def drained(chunks: list[bytes]) -> None:
    settings = Settings(codex_home=Path("nowhere"))
    async with open_http(settings, {}, transport=transport_of(httpx, chunks)) as http:
        client = ResponsesClient(http, Backend(base_url=BASE_URL, is_built_in=False), None)
        async for _ in client.stream(ResponsesRequest("m", ())):
            pass


def rows() -> list[Row]:
    """Return the rows of decoding."""
    pieces = events(MANY)
    chunks = in_chunks(pieces)
    alone = microseconds(decoder_only, pieces, MANY)
    return [
        Row(
            Topic.DECODE,
            "decode and fold, per event, 16 KiB chunks",
            microseconds(ours, chunks, MANY),
            "µs CPU",
            Reference("openai-python", microseconds(theirs, chunks, MANY)),
            10 / 75,
            f"httpx-sse, no events made: {microseconds(decoder_only, chunks, MANY):.1f}",
        ),
        Row(
            Topic.DECODE,
            "the same, each event a chunk of its own",
            microseconds(ours, pieces, MANY),
            "µs CPU",
            Reference("openai-python", microseconds(theirs, pieces, MANY)),
            0.5,
            f"httpx-sse, no events made: {alone:.1f}",
        ),
        Row(
            Topic.DECODE,
            f"an event of an answer of {GROWTH[-1]:,}, beside one of {GROWTH[0]:,}",
            growth(),
            "times",
            Reference("linear", 1),
            1.25,
        ),
        Row(
            Topic.DECODE,
            "memory for an answer of 100,000 events",
            memory(),
            "MB",
            Reference("the text itself", GROWTH[-1] * len(WORD) / 1e6),
            None,
        ),
    ]
