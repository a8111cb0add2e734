"""The outer edge, faked: a transport that replies from a script, a sleep that only takes notes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codex_nb.config.settings import Settings
from codex_nb.errors import CodexError
from codex_nb.http import httpx, open_http
from codex_nb.responses.client import ResponsesClient
from codex_nb.responses.events import Delta, ResponseEvent, ResponseFinished, RetryScheduled
from codex_nb.responses.request import Backend, ResponsesRequest, choose_backend

SETTINGS = Settings(codex_home=Path("nowhere"))
CHATGPT = choose_backend(SETTINGS, is_chatgpt_auth=True)
API = choose_backend(SETTINGS, is_chatgpt_auth=False)
LOCAL = Backend(base_url="http://127.0.0.1:9/v1", provider_id="local", name="Local", is_built_in=False)
QUESTION = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
REQUEST = ResponsesRequest(
    model="gpt-5.5", input=(QUESTION,), thread_id="thread-1", prompt_cache_key="thread-1"
)
EVENT_STREAM = {"content-type": "text/event-stream; charset=utf-8"}


class Chunks(httpx.AsyncByteStream):
    """A body that arrives in the given pieces, and breaks off where a piece is an exception."""

    def __init__(self, pieces: Iterable[bytes | Exception]) -> None:
        self._pieces = list(pieces)
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def aclose(self) -> None:
        self.is_closed = True


class Drops(Chunks):
    """The same, each piece when the one before has gone all the way."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in super().__aiter__():
            yield piece
            for _ in range(10):
                await asyncio.sleep(0)


@dataclass
class Script:
    """Replies in order, the last one for ever; keeps the requests."""

    replies: Sequence[httpx.Response | Exception]
    requests: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        reply = self.replies[min(len(self.requests), len(self.replies) - 1)]
        self.requests.append(request)
        if isinstance(reply, Exception):
            raise reply
        return httpx.Response(reply.status_code, headers=reply.headers, stream=reply.stream)


@dataclass
class Outcome:
    """What a caller saw of one stream: its events, and the error that ended it."""

    events: list[ResponseEvent] = field(default_factory=list)
    error: CodexError | None = None
    sleeps: list[float] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)

    @property
    def finished(self) -> ResponseFinished:
        assert self.error is None, self.error
        last = self.events[-1]
        assert isinstance(last, ResponseFinished)
        return last

    @property
    def retries(self) -> list[RetryScheduled]:
        return [event for event in self.events if isinstance(event, RetryScheduled)]


def told(events: Iterable[ResponseEvent]) -> list[Any]:
    """Give the events, what is said in one place without a break as one ``(place, text)``."""
    said: list[Any] = []
    for event in events:
        if not isinstance(event, Delta):
            said.append(event)
            continue
        place, before = (type(event), event.item_id, event.output_index, event.part), said[-1:]
        if before and isinstance(before[0], tuple) and before[0][0] == place:
            said[-1] = (place, before[0][1] + event.delta)
        else:
            said.append((place, event.delta))
    return said


def stream_of(*events: bytes | Exception | dict[str, Any], **headers: str) -> httpx.Response:
    """Give a reply that streams the events; bytes go out as they are, and an exception breaks it off."""
    return httpx.Response(
        200,
        headers={**EVENT_STREAM, **{name.replace("_", "-"): value for name, value in headers.items()}},
        stream=Chunks(sse(piece) if isinstance(piece, dict) else piece for piece in events),
    )


def sse(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


async def outcome_of(
    replies: Sequence[httpx.Response | Exception],
    *,
    backend: Backend = CHATGPT,
    request: ResponsesRequest = REQUEST,
    **options: Any,
) -> Outcome:
    """Run one stream over scripted replies to its end."""
    script = Script(replies)
    outcome = Outcome(requests=script.requests)

    async def note_sleep(seconds: float) -> None:
        outcome.sleeps.append(seconds)

    async with open_http(SETTINGS, {}, transport=httpx.MockTransport(script)) as http:
        options.setdefault("auth", None)
        client = ResponsesClient(http, backend, sleep=note_sleep, chance=lambda: 0.5, **options)
        try:
            async for event in client.stream(request):
                outcome.events.append(event)
        except CodexError as error:
            outcome.error = error
    return outcome
