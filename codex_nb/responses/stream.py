"""Reading a response: event stream decoding (WHATWG HTML 9.2.6), idle time-outs, coalescing of small chunks."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Self

from codex_nb.errors import CodexError, StreamInterrupted
from codex_nb.http import MAX_STREAM_BYTES, UnacceptableResponse, format_size, httpx, media_type
from codex_nb.parse import fits, loads_object, memory_of
from codex_nb.responses.errors import event_error, response_error, transport_error, unreadable_response
from codex_nb.responses.events import (
    TERMINAL_TYPES,
    Delta,
    ResponseCompleted,
    ResponseIncomplete,
    UnknownEvent,
    parse_event,
    parse_headers,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Iterator

    from codex_nb.responses.events import ReceivedEvent, ResponseFinished, ServerEvent
    from codex_nb.responses.request import Backend

    OnFinished = Callable[[ResponseFinished, int], None]

MEGABYTE = 1024 * 1024
MAX_EVENT_BYTES = 4 * MEGABYTE
BYTES_OF_A_LINE = 64  # what keeping a line costs, besides its bytes
BYTES_OF_A_DELTA = 32
BYTES_OF_A_PART = 1024  # what the first delta of a part of an item costs beside its text
LINES_OF_AN_EVENT = 10  # what another event than a delta costs: there are few of them in an answer
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventTooLargeError(ValueError):
    """One event, or the whole response, exceeds its bound."""


@dataclass
class ResponseBudget:
    """How much of one answer, its repeated requests included, is read and kept before it is given up.

    A long answer of today's models, 128,000 tokens in as many events, takes about a third of it. ``lines`` count all
    that the server sends, ``memory`` estimates what the kept texts and items take, ``seconds`` begin with the request.
    """

    lines: int = 1_500_000
    stream_bytes: int = MAX_STREAM_BYTES
    memory: int = 24 * MEGABYTE
    event_bytes: int = MAX_EVENT_BYTES
    seconds: float = 3600.0
    _parts: set[Hashable] = field(default_factory=set, init=False)

    def arrived(self, chunk: bytes) -> None:
        """Take away what has arrived. Raises EventTooLargeError when that was too much."""
        self.stream_bytes -= len(chunk)
        self.lines -= chunk.count(b"\n") + chunk.count(b"\r")
        if self.stream_bytes < 0 or self.lines < 0:
            raise EventTooLargeError("it does not come to an end")

    def parsed(self, raw: bytes) -> ReceivedEvent | None:
        """Parse an event's data if there is room for it, and take away what is kept of it."""
        if not fits(raw, self.memory):
            raise EventTooLargeError("there is too much text, or there are too many items in it")
        event = parse_event(raw)
        if isinstance(event, Delta):
            width = 1 if event.delta.isascii() else 4
            self.memory -= width * len(event.delta) + BYTES_OF_A_DELTA
            return event
        self.lines -= LINES_OF_AN_EVENT
        if not isinstance(event, UnknownEvent):
            self.memory -= memory_of(raw)
        return event

    def coalesced(self, events: Iterable[ReceivedEvent]) -> list[ReceivedEvent]:
        """Return parsed events in their order; deltas of one part that follow each other become one delta."""
        coalesced: list[ReceivedEvent] = []
        for part, group in groupby(events, key=_part_of):
            first = next(group)
            if isinstance(first, Delta):
                if part not in self._parts:
                    self._parts.add(part)
                    self.memory -= BYTES_OF_A_PART
                # of the others only the text is kept
                if more := [event.delta for event in group if isinstance(event, Delta)]:
                    first = first.model_copy(update={"delta": first.delta + "".join(more)})
            coalesced.append(first)
        return coalesced


def _part_of(event: ReceivedEvent) -> Hashable:
    """Return what deltas of one part share; any other event stands alone."""
    return (event.item_id, event.output_index, event.part) if isinstance(event, Delta) else id(event)


class EventStreamDecoder:
    """Takes chunks and returns the data of the events that they complete, an event's lines joined by a newline.

    Names, ids and reconnection times are passed over: the data of this API's events tell all. A blank line at the end
    gives the event that the stream broke off in. Raises EventTooLargeError as soon as an event exceeds the bound,
    before it is complete.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._line_pieces: list[bytes] = []
        self._data: list[bytes] = []
        self._size = 0
        self._is_first_line = True
        self._after_return = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes; return the data of the events that became complete."""
        if self._after_return and chunk:
            # The chunk before ended in a carriage return, which ended its line at once.
            self._after_return = False
            chunk = chunk.removeprefix(b"\n")
        lines = chunk.splitlines()
        tail = b"" if chunk.endswith((b"\n", b"\r")) or not lines else lines.pop()
        events: list[bytes] = []
        if lines:
            self._after_return = chunk.endswith(b"\r")
            self._size -= sum(map(len, self._line_pieces))
            lines[0] = b"".join((*self._line_pieces, lines[0]))
            self._line_pieces.clear()
            events = self._take(lines)
        if tail:
            self._line_pieces.append(tail)
            self._grow(len(tail))
        return events

    def _take(self, lines: list[bytes]) -> list[bytes]:
        if self._is_first_line:
            self._is_first_line = False
            lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
        events: list[bytes] = []
        for line in lines:
            if not line:
                if self._data:
                    events.append(b"\n".join(self._data))
                    self._data.clear()
                self._size = 0
            elif line[:5] == b"data:" or line == b"data":
                self._grow(len(line) + BYTES_OF_A_LINE * bool(self._data))
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        return events

    def _grow(self, count: int) -> None:
        self._size += count
        if self._size > self._max_event_bytes:
            raise EventTooLargeError(f"one of its events exceeds {format_size(self._max_event_bytes)}")


COALESCE_S = 0.045  # under three frames at 60 Hz, so the delay is not visible
LONG_COALESCE_S = 0.12  # for a very fast stream, which is shown eight times a second
FAST_RATE = 350  # pieces a second
EAGER_BATCHES = 2  # so many in a row, each within COALESCE_S of the one before, show a fast stream
MAX_CHUNK = 32 * 1024  # bytes in one batch; more is bulk data, which is not delayed
MAX_BUFFERED = 256 * 1024  # bytes that may wait to be taken


class CoalescingReader:
    """Reads a stream ahead and returns what has arrived in batches.

    A task of its own reads. Once chunks arrive fast, it sleeps after the first chunk of a batch, and hands that one on
    with all that arrive meanwhile, or alone a little later. The first chunks of a stream, and those after a pause, are
    handed on as they arrive. ``aclose`` ends the task.
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
        self._pieces = self._taken = 0  # of the last batch: its chunks, its bytes
        self._taken_at = -math.inf
        self._due = asyncio.Event()  # what has arrived is to be taken, or the end has come
        self._room = asyncio.Event()
        self._end: BaseException | None = None
        self._alarm: asyncio.TimerHandle | None = None

    def __aiter__(self) -> Self:
        """Return the reader itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return all that has arrived, or what comes next; raise what broke the stream off once all is taken."""
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
        await self._due.wait()
        if self._end is not None and not self._arrived:
            raise self._end
        return self._take()

    async def aclose(self) -> None:
        """End the reading, wherever it is."""
        if self._alarm is not None:
            self._alarm.cancel()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])

    async def _read(self) -> None:
        try:
            await self._read_on()
            self._end = StopAsyncIteration()
        except BaseException as error:  # noqa: BLE001 - raised again where the stream is taken
            self._end = error
        self._due.set()

    async def _read_on(self) -> None:
        quick, has_rested, rest = 0, False, COALESCE_S
        async for chunk in self._chunks:
            begins_a_batch = not self._arrived  # all before is taken, so this reader has had to wait
            self._arrived.append(chunk)
            self._size += len(chunk)
            if begins_a_batch and not has_rested:
                quick = quick + 1 if self._clock() - self._taken_at < COALESCE_S else 0
            has_rested = (
                begins_a_batch and not has_rested and quick > EAGER_BATCHES and self._taken < MAX_CHUNK
            )
            if has_rested:
                rest = LONG_COALESCE_S if self._pieces > FAST_RATE * rest else COALESCE_S
                if self._alarm is None:
                    # The next read follows upon the rest and hands this piece on with its own, if anything comes.
                    self._alarm = asyncio.get_running_loop().call_later(1.25 * rest, self._due.set)
                await self._sleep(rest)
            else:
                self._due.set()
            if self._size > MAX_BUFFERED:
                self._room.clear()
                await self._room.wait()

    def _take(self) -> bytes:
        batch = b"".join(self._arrived)
        self._pieces = len(self._arrived)
        self._arrived.clear()
        self._taken, self._taken_at, self._size = self._size, self._clock(), 0
        if self._end is None:
            self._due.clear()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._room.set()
        return batch


MAX_ERROR_BYTES = 256 * 1024
ERROR_BODY_S = 30.0
SAMPLE_BYTES = 4096
DRAIN_BYTES = 64 * 1024
DRAIN_S = 0.05
TRANSPORT_ERRORS = (httpx.HTTPError, httpx.StreamError, OSError)
_HTML_TYPES = {"text/html", "application/xhtml+xml"}


class ResponseReader:
    """Reads one HTTP response to its end; ``limits`` are what its headers tell of the plan's limits."""

    def __init__(self, response: httpx.Response, backend: Backend, budget: ResponseBudget) -> None:
        self._budget = budget
        self._ends_at = asyncio.get_running_loop().time() + budget.seconds
        self.headers = response.headers
        self.limits = parse_headers(response.headers)
        self.is_success = response.is_success
        self._response = response
        self._backend = backend
        self._chunks = response.aiter_bytes()
        self._coalesced = CoalescingReader(self._chunks)  # of an event stream; any other body is read at once
        self._decoder = EventStreamDecoder(max_event_bytes=budget.event_bytes)
        self._sample = b""
        self._events_seen = 0
        self._is_over = False
        self._on_finished: OnFinished | None = response.extensions.get("codex_nb.finished")
        self._media_type = media_type(response.headers)
        # A type that nobody knows is tried as an event stream.
        is_other = self._media_type in {"application/json", *_HTML_TYPES}
        self._is_event_stream = response.status_code == httpx.codes.OK and not is_other

    async def read(self) -> list[ReceivedEvent]:
        """Return the events that have arrived, or the next one; nothing after the terminal one.

        A response that is no event stream, or that breaks off, raises a CodexError.
        """
        if self._is_over:
            return []
        failure: CodexError
        try:
            read = self._next_events if self._is_event_stream else self._read_whole
            if events := await read() or self._last_events():
                return self._up_to_terminal(events)
        except EventTooLargeError as error:
            failure = self._too_large(error)
        except TRANSPORT_ERRORS as error:
            failure = transport_error(
                error, url=str(self._response.request.url), events_seen=self._events_seen
            )
        else:
            failure = self._cut_error()
        raise failure

    def finished(self, finished: ResponseFinished, carried: int) -> None:
        """Tell the transport what the response came to; ``carried`` of its items were in its request."""
        if self._on_finished is not None:
            self._on_finished(finished, carried)

    async def drain(self) -> None:
        """Read what may follow the terminal event, for a moment only: then the connection can be used again."""
        room = DRAIN_BYTES
        try:
            async with asyncio.timeout(DRAIN_S):
                async for chunk in self._coalesced:
                    room -= len(chunk)
                    if room < 0:
                        return
        except TRANSPORT_ERRORS:
            return

    async def aclose(self) -> None:
        """Stop reading and close the response."""
        await self._coalesced.aclose()
        await self._response.aclose()

    async def _next_events(self) -> list[ReceivedEvent]:
        """Read until at least one event is complete; none at the end. Bytes that complete nothing do not count."""
        loop, idle_s = asyncio.get_running_loop(), self._backend.idle_timeout_s
        async with asyncio.timeout(idle_s) as limit:
            async for chunk in self._coalesced:
                self._budget.arrived(chunk)
                if loop.time() > self._ends_at:
                    raise EventTooLargeError("it does not come to an end")
                if not self._events_seen and len(self._sample) < SAMPLE_BYTES:
                    self._sample += chunk[:SAMPLE_BYTES]
                if sent := self._decoder.feed(chunk):
                    if events := self._budget.coalesced(self._parse(sent)):
                        return events
                    limit.reschedule(loop.time() + idle_s)
        return []

    def _last_events(self) -> list[ReceivedEvent]:
        """Return the terminal event that the stream ended in without its blank line, which the standard discards.

        Codex's own recordings end so, and complete JSON can be told from a cut.
        """
        return [event for event in self._parse(self._decoder.feed(b"\n\n")) if event.type in TERMINAL_TYPES]

    def _parse(self, sent: list[bytes]) -> Iterator[ReceivedEvent]:
        for data in sent:
            event = self._budget.parsed(data)
            if event is not None:
                self._events_seen += 1
                yield event
            elif self._on_finished is not None:  # a frame is an event, or it is none of ours
                raise UnacceptableResponse("a frame is no event")

    def _up_to_terminal(self, events: list[ReceivedEvent]) -> list[ReceivedEvent]:
        for place, event in enumerate(events, start=1):
            if event.type in TERMINAL_TYPES:
                self._is_over = True
                return events[:place]
        return events

    async def _read_whole(self) -> list[ReceivedEvent]:
        """Read a response that is no event stream: a whole answer is its terminal event, anything else an error.

        An event stream that is labelled as JSON is read, but not as it arrives.
        """
        response, backend, body = self._response, self._backend, bytearray()
        if response.status_code != httpx.codes.OK:
            with suppress(*TRANSPORT_ERRORS):  # what there is of the body says more than the end of it
                await self._read_body(body, MAX_ERROR_BYTES, min(backend.idle_timeout_s, ERROR_BODY_S))
            raise response_error(response.status_code, response.headers, bytes(body), backend=backend)
        is_page = self._media_type in _HTML_TYPES
        limit = MAX_ERROR_BYTES if is_page else self._budget.event_bytes
        await self._read_body(body, limit, backend.idle_timeout_s)
        if is_page:
            raise self._unreadable(bytes(body))
        if body.lstrip().startswith((b"event:", b"data:", b":")):
            self._is_event_stream = True
            self._coalesced = CoalescingReader(aiter(httpx.ByteStream(bytes(body))))
            return await self._next_events()
        return [self._unstreamed(bytes(body))]

    async def _read_body(self, body: bytearray, limit: int, seconds: float) -> None:
        """Read a body that is no stream: up to ``limit`` bytes and not longer than ``seconds``."""
        async with asyncio.timeout(seconds):
            async for chunk in self._chunks:
                body += chunk[: limit - len(body)]
                if len(body) == limit:
                    return

    def _unstreamed(self, body: bytes) -> ServerEvent:
        """Take a reply that was not streamed: a whole response, or an error with a friendly status."""
        told = loads_object(body) if fits(body, self._budget.memory) else {}
        if isinstance(told.get("error"), dict):
            raise event_error(told, backend=self._backend)
        if not isinstance(told.get("output"), list):
            raise self._unreadable(body)
        self._events_seen += 1
        if told.get("status") == "incomplete":
            return ResponseIncomplete(type="response.incomplete", response=told)
        return ResponseCompleted(type="response.completed", response=told)

    def _too_large(self, error: EventTooLargeError) -> StreamInterrupted:
        failure = StreamInterrupted(
            f"The response of {self._backend.name} is too large: {error}.",
            events_seen=self._events_seen,
            hint="Ask for a smaller answer.",
        )
        failure.retryable = False
        return failure

    def _cut_error(self) -> CodexError:
        if self._events_seen:
            return StreamInterrupted(
                "The stream ended before the answer was complete.", events_seen=self._events_seen
            )
        if self._media_type != "text/event-stream" or self._sample.strip():
            return self._unreadable(self._sample)
        return StreamInterrupted(
            f"{self._backend.name} closed the stream before the first event.", hint="Run the cell again."
        )

    def _unreadable(self, body: bytes) -> CodexError:
        response = self._response
        return unreadable_response(response.status_code, response.headers, body, backend=self._backend)
