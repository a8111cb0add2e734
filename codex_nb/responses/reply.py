"""Reading a reply: a stream of events in idle-bounded steps, or whatever came instead of one."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

from codex_nb.errors import CodexError, StreamInterrupted
from codex_nb.http import httpx
from codex_nb.responses.events import TERMINAL_TYPES, ResponseCompleted, ResponseIncomplete, parse_event
from codex_nb.responses.gulps import Gulps
from codex_nb.responses.idle import IdleLimit
from codex_nb.responses.mapping import event_error, reply_error, transport_error, unreadable_reply
from codex_nb.responses.merging import merged
from codex_nb.responses.sse import EventStreamDecoder, EventTooLargeError
from codex_nb.words import api_errors as words

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from codex_nb.responses.backend import Backend
    from codex_nb.responses.events import ServerEvent, UnknownEvent
    from codex_nb.responses.sse import ServerSentEvent

MAX_BODY_BYTES = 64 * 1024 * 1024
MAX_ERROR_BYTES = 256 * 1024
SAMPLE_BYTES = 4096
DRAIN_BYTES = 64 * 1024
DRAIN_S = 0.05


class Reply:
    """One HTTP reply to a request for a response; ``events_seen`` counts what was read of it."""

    def __init__(self, response: httpx.Response, backend: Backend, *, idle_timeout_s: float) -> None:
        self._response = response
        self._backend = backend
        self._idle_timeout_s = idle_timeout_s
        self._chunks = response.aiter_bytes()
        self._gulps = Gulps(self._chunks)  # of a stream of events; any other body is read at once
        self._sample = b""
        self.events_seen = 0

    async def events(self) -> AsyncGenerator[ServerEvent | UnknownEvent, None]:
        """Yield the events up to the terminal one; a reply that is none, or breaks off, is a CodexError."""
        response = self._response
        if response.status_code != httpx.codes.OK:
            raise await self._refusal()
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            yield self._whole(await self._body(MAX_BODY_BYTES))
            return
        if kind in {"text/html", "application/xhtml+xml"}:
            raise self._unreadable(await self._body(MAX_ERROR_BYTES))
        decoder = EventStreamDecoder()
        with closing(IdleLimit(self._idle_timeout_s)) as limit:
            while (chunk := await self._next_chunk_of_events(decoder, limit)) is not None:
                for event in merged(self._parsed(chunk)):
                    yield event
                    if event.type in TERMINAL_TYPES:
                        return
        last = decoder.unfinished()
        for event in self._parsed([last] if last else []):
            if event.type in TERMINAL_TYPES:
                yield event
                return
        raise self._cut()

    async def _refusal(self) -> CodexError:
        body = await self._body(MAX_ERROR_BYTES)
        return reply_error(self._response.status_code, self._response.headers, body, backend=self._backend)

    async def drain(self) -> None:
        """Read what may follow the terminal event, for a moment only: then the connection can be used again."""
        room = DRAIN_BYTES
        try:
            async with asyncio.timeout(DRAIN_S):
                async for gulp in self._gulps:
                    room -= len(gulp)
                    if room < 0:
                        return
        except (httpx.HTTPError, httpx.StreamError, OSError):
            return

    async def aclose(self) -> None:
        """Stop reading and close the reply."""
        await self._gulps.aclose()
        await self._response.aclose()

    def _parsed(self, chunk: list[ServerSentEvent]) -> list[ServerEvent | UnknownEvent]:
        events = [event for sent in chunk if (event := parse_event(sent.raw)) is not None]
        self.events_seen += len(events)
        return events

    async def _next_chunk_of_events(
        self, decoder: EventStreamDecoder, limit: IdleLimit
    ) -> list[ServerSentEvent] | None:
        """Read until at least one event is complete; None at the end. Bytes that complete nothing do not count."""
        failure: CodexError
        try:
            with limit:
                async for gulp in self._gulps:
                    if not self.events_seen and len(self._sample) < SAMPLE_BYTES:
                        self._sample += gulp[:SAMPLE_BYTES]
                    events = decoder.feed(gulp)
                    if events:
                        return events
                return None
        except EventTooLargeError as error:
            message = words.too_much_at_once(self._backend.name, str(error))
            failure = StreamInterrupted(message, events_seen=self.events_seen)
            failure.retryable = False
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            failure = self._transport_error(error)
        raise failure

    async def _body(self, limit: int) -> bytes:
        """Read a body that is no stream: up to ``limit`` bytes and not longer than the idle time."""
        parts: list[bytes] = []
        size = 0
        failure: CodexError | None = None
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                async for chunk in self._chunks:
                    parts.append(chunk)
                    size += len(chunk)
                    if size > limit:
                        break
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            failure = self._transport_error(error)
        # What there is of an error's body says more than the end of it.
        if failure is not None and self._response.status_code == httpx.codes.OK:
            raise failure
        return b"".join(parts)[:limit]

    def _whole(self, body: bytes) -> ServerEvent:
        """Take a reply that was not streamed: a whole response, or an error with a friendly status."""
        try:
            told: Any = json.loads(body)
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, dict):
            raise self._unreadable(body)
        if isinstance(told.get("error"), dict):
            raise event_error(told, backend=self._backend)
        if not isinstance(told.get("output"), list):
            raise self._unreadable(body)
        self.events_seen += 1
        if told.get("status") == "incomplete":
            return ResponseIncomplete(type="response.incomplete", response=told)
        return ResponseCompleted(type="response.completed", response=told)

    def _cut(self) -> CodexError:
        if self.events_seen:
            return StreamInterrupted(words.BROKEN_OFF, events_seen=self.events_seen)
        kind = self._response.headers.get("content-type", "")
        if not kind.startswith("text/event-stream") or self._sample.strip():
            return self._unreadable(self._sample)
        return StreamInterrupted(words.closed_early(self._backend.name))

    def _unreadable(self, body: bytes) -> CodexError:
        kind = self._response.headers.get("content-type", "")
        return unreadable_reply(self._response.status_code, kind, body, backend=self._backend)

    def _transport_error(self, error: Exception) -> CodexError:
        return transport_error(error, url=str(self._response.request.url), events_seen=self.events_seen)
