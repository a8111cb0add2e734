"""Reading a response: event stream decoding (WHATWG HTML 9.2.6), idle time-outs, coalescing of small chunks."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from codex_nb.errors import CodexError, StreamInterrupted
from codex_nb.http import MAX_STREAM_BYTES, UnacceptableResponse, format_size, httpx
from codex_nb.parse import fits, loads, memory_of
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
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Iterator, Sequence
    from types import TracebackType

    from codex_nb.responses.events import ResponseFinished, ServerEvent
    from codex_nb.responses.request import Backend

    OnFinished = Callable[[ResponseFinished, int], None]

MEGABYTE = 1024 * 1024
MAX_EVENT_BYTES = 4 * MEGABYTE
MAX_FIELD_BYTES = 1024  # of an event's name or id
BYTES_OF_A_LINE = 64  # what keeping a line costs, besides its bytes
BYTES_OF_A_DELTA = 32
BYTES_OF_A_PART = 1024  # what the first delta of a part of an item costs beside its text
LINES_OF_AN_EVENT = 10  # what another event than a delta costs: there are few of them in an answer
MOST_DIGITS = 15
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

    def parsed(self, raw: bytes) -> ServerEvent | UnknownEvent | None:
        """Parse an event's data if there is room for it, and take away what is kept of it."""
        if not fits(raw, self.memory):
            raise EventTooLargeError("there is too much text, or there are too many items in it")
        event = parse_event(raw)
        if isinstance(event, Delta):
            width = 1 if event.delta.isascii() else 4
            self.memory -= width * len(event.delta) + BYTES_OF_A_DELTA
            if (part := (event.item_id, event.output_index, event.part)) not in self._parts:
                self._parts.add(part)
                self.memory -= BYTES_OF_A_PART
            return event
        self.lines -= LINES_OF_AN_EVENT
        if not isinstance(event, UnknownEvent):
            self.memory -= memory_of(raw)
        return event


class ServerSentEvent(NamedTuple):
    """One dispatched event as received; ``raw`` is its data, lines joined by a newline."""

    raw: bytes
    raw_event: bytes = b"message"
    raw_id: bytes = b""

    @property
    def event(self) -> str:
        """The event's name; what is not UTF-8 becomes U+FFFD, here and in the rest."""
        return self.raw_event.decode("utf-8", "replace")

    @property
    def data(self) -> str:
        """The data as text."""
        return self.raw.decode("utf-8", "replace")

    @property
    def id(self) -> str:
        """The last id that the stream gave."""
        return self.raw_id.decode("utf-8", "replace")


class EventStreamDecoder:
    """Takes chunks and returns the events that they complete.

    ``retry`` is the reconnection time in milliseconds that the stream asked for last. Both methods raise
    EventTooLargeError as soon as an event exceeds the bound, before it is complete.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.retry: int | None = None
        self._max_event_bytes = max_event_bytes
        self._line_pieces: list[bytes] = []
        self._data: list[bytes] = []
        self._size = 0
        self._event = self._last_id = b""
        self._skip_newline = False
        self._start: bytes | None = b""

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take the next bytes; return the events that became complete."""
        if self._start is not None:
            chunk = self._without_byte_order_mark(chunk)
        if self._skip_newline and chunk:
            # The chunk before ended in a carriage return, which ended its line at once.
            self._skip_newline = False
            if chunk[:1] == b"\n":
                chunk = chunk[1:]
        if not chunk:
            return []
        if b"\n" not in chunk and b"\r" not in chunk:
            self._keep(chunk)
            return []
        self._skip_newline = chunk[-1:] == b"\r"
        lines = chunk.splitlines()
        tail = b"" if chunk[-1:] in {b"\n", b"\r"} else lines.pop()
        if self._line_pieces:
            self._size -= sum(map(len, self._line_pieces))
            lines[0] = b"".join((*self._line_pieces, lines[0]))
            self._line_pieces.clear()
        events = self._take(lines)
        if tail:
            self._keep(tail)
        return events

    def unfinished(self) -> ServerSentEvent | None:
        """Return the event that the stream ended in, without its blank line; the standard discards it.

        Codex's own recordings end so, so the caller may look at it: complete JSON can be told from a cut.
        """
        pending = [self._start or b"", *self._line_pieces]
        self._start = None
        self._line_pieces = []
        events = self._take([b"".join(pending), b""])
        return events[0] if events else None

    def _without_byte_order_mark(self, chunk: bytes) -> bytes:
        start = (self._start or b"") + chunk
        if len(start) < len(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK.startswith(start):
            self._start = start
            return b""
        self._start = None
        return start.removeprefix(_BYTE_ORDER_MARK)

    def _keep(self, piece: bytes) -> None:
        self._line_pieces.append(piece)
        self._grow(len(piece))

    def _grow(self, count: int) -> None:
        self._size += count
        if self._size > self._max_event_bytes:
            raise EventTooLargeError(f"one of its events exceeds {format_size(self._max_event_bytes)}")

    def _take(self, lines: list[bytes]) -> list[ServerSentEvent]:
        events: list[ServerSentEvent] = []
        data = self._data
        for line in lines:
            if not line:
                if data:
                    raw = data[0] if len(data) == 1 else b"\n".join(data)
                    events.append(ServerSentEvent(raw, self._event or b"message", self._last_id))
                    data.clear()
                self._event = b""
                self._size = 0
            elif line[:5] == b"data:":
                self._grow(len(line) + BYTES_OF_A_LINE * bool(data))
                data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif line[:7] == b"event: " and len(line) <= MAX_FIELD_BYTES:  # every other line of a response
                self._event = line[7:]
            else:
                self._field(line)
        return events

    def _field(self, line: bytes) -> None:
        """Take any line but a ``data:`` one; what the standard does not name, comments too, is passed over."""
        name, _, value = line.partition(b":") if len(line) <= MAX_FIELD_BYTES else (b"", b"", b"")
        value = value.removeprefix(b" ")
        match name:
            case b"event":
                self._event = value
            case b"data":
                self._grow(BYTES_OF_A_LINE)
                self._data.append(b"")
            case b"id" if b"\0" not in value:
                self._last_id = value
            case b"retry" if value.isdigit() and len(value) <= MOST_DIGITS:
                self.retry = int(value)


def coalesce_deltas(events: Sequence[ServerEvent | UnknownEvent]) -> Iterator[ServerEvent | UnknownEvent]:
    """Yield the events in their order; deltas of one part that follow each other become one delta."""
    for _, group in groupby(events, key=_delta_key):
        first, *more = group
        if more:
            text = "".join(event.delta for event in (first, *more) if isinstance(event, Delta))
            first = first.model_copy(update={"delta": text})
        yield first


def _delta_key(event: ServerEvent | UnknownEvent) -> Hashable:
    """Return what deltas of one part share; any other event stands alone."""
    return (event.item_id, event.output_index, event.part) if isinstance(event, Delta) else id(event)


class IdleTimeout:
    """``with limit:`` around a wait raises TimeoutError when it lasts longer than ``seconds``.

    It does what ``asyncio.timeout`` does, which makes and takes back a timer at every entry: for one word of a stream
    that costs more than to read it. Here a timer that finds the wait younger than itself just goes on for the rest.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None  # the one that waits
        self._began = 0.0
        self._cancelling = 0
        self._has_expired = False

    def close(self) -> None:
        """Let go of the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __enter__(self) -> None:
        """Begin a wait."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("An idle timeout needs a running task.")
        self._task, self._cancelling, self._began = task, task.cancelling(), self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._look)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """End the wait; a cancellation of our own becomes a TimeoutError."""
        task, self._task = self._task, None
        if task is None or not self._has_expired:
            return
        self._has_expired = False
        if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _look(self) -> None:
        self._timer = None
        if self._task is None:
            return
        left = self._began + self._seconds - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._has_expired = True
            self._task.cancel()


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
                self._hand_on_later(1.25 * rest)
                await self._sleep(rest)
            else:
                self._hand_on()
            if self._size > MAX_BUFFERED:
                self._room = asyncio.get_running_loop().create_future()
                await self._room

    def _take(self) -> bytes:
        batch = b"".join(self._arrived)
        self._pieces = len(self._arrived)
        self._arrived.clear()
        self._taken, self._taken_at, self._size = self._size, self._clock(), 0
        self._is_due = self._is_over
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        return batch

    def _hand_on(self) -> None:
        self._is_due = True
        if self._taker is not None and not self._taker.done():
            self._taker.set_result(None)

    def _hand_on_later(self, seconds: float) -> None:
        # The next read follows upon the rest and hands this piece on with its own; the alarm is for when nothing comes.
        if self._alarm is None:
            self._alarm = asyncio.get_running_loop().call_later(seconds, self._hand_on)


MAX_ERROR_BYTES = 256 * 1024
ERROR_BODY_S = 30.0
SAMPLE_BYTES = 4096
DRAIN_BYTES = 64 * 1024
DRAIN_S = 0.05
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
        self._idle_timeout = IdleTimeout(backend.idle_timeout_s)
        self._sample = b""
        self._events_seen = 0
        self._is_over = False
        self._on_finished: OnFinished | None = response.extensions.get("codex_nb.finished")
        kind: str = response.headers.get("content-type", "")
        self._content_type = kind.partition(";")[0].strip().lower()
        # A type that nobody knows is tried as an event stream.
        is_other = self._content_type in {"application/json", *_HTML_TYPES}
        self._is_event_stream = response.status_code == httpx.codes.OK and not is_other

    async def read(self) -> list[ServerEvent | UnknownEvent]:
        """Return the events that have arrived, or the next one; nothing after the terminal one.

        A response that is no event stream, or that breaks off, raises a CodexError.
        """
        if self._is_over:
            return []
        if not self._is_event_stream:
            self._is_over = True
            return await self._read_whole()
        try:
            while (sent := await self._next_sent()) is not None:
                if events := self._parse(sent):
                    return self._up_to_terminal(coalesce_deltas(events))
            last = self._decoder.unfinished()
            ends = [event for event in self._parse([last] if last else []) if event.type in TERMINAL_TYPES]
        except EventTooLargeError as error:
            failure: CodexError = self._too_large(error)
        except UnacceptableResponse as error:
            failure = self._transport_error(error)
        else:
            if ends:
                return self._up_to_terminal(ends)
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
        except (httpx.HTTPError, httpx.StreamError, OSError):
            return

    async def aclose(self) -> None:
        """Stop reading and close the response."""
        self._idle_timeout.close()
        await self._coalesced.aclose()
        await self._response.aclose()

    def _parse(self, sent: list[ServerSentEvent]) -> list[ServerEvent | UnknownEvent]:
        events = [event for each in sent if (event := self._budget.parsed(each.raw)) is not None]
        if self._on_finished is not None and len(events) < len(
            sent
        ):  # a frame is an event, or it is none of ours
            raise UnacceptableResponse("a frame is no event")
        self._events_seen += len(events)
        return events

    def _up_to_terminal(
        self, events: Iterable[ServerEvent | UnknownEvent]
    ) -> list[ServerEvent | UnknownEvent]:
        taken = []
        for event in events:
            taken.append(event)
            if event.type in TERMINAL_TYPES:
                self._is_over = True
                break
        return taken

    async def _next_sent(self) -> list[ServerSentEvent] | None:
        """Read until at least one event is complete; None at the end. Bytes that complete nothing do not count."""
        failure: CodexError
        try:
            with self._idle_timeout:
                async for chunk in self._coalesced:
                    self._budget.arrived(chunk)
                    if asyncio.get_running_loop().time() > self._ends_at:
                        raise EventTooLargeError("it does not come to an end")
                    if not self._events_seen and len(self._sample) < SAMPLE_BYTES:
                        self._sample += chunk[:SAMPLE_BYTES]
                    if sent := self._decoder.feed(chunk):
                        return sent
                return None
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            failure = self._transport_error(error)
        raise failure

    async def _read_whole(self) -> list[ServerEvent | UnknownEvent]:
        """Read a response that is no event stream: a whole answer is its terminal event, anything else an error.

        An event stream that is labelled as JSON is read, but not as it arrives.
        """
        response, backend = self._response, self._backend
        if response.status_code != httpx.codes.OK:
            body = await self._body(MAX_ERROR_BYTES)
            raise response_error(response.status_code, response.headers, body, backend=backend)
        if self._content_type in _HTML_TYPES:
            raise self._unreadable(await self._body(MAX_ERROR_BYTES))
        body = await self._body(self._budget.event_bytes)
        if body.lstrip().startswith((b"event:", b"data:", b":")):
            return self._mislabelled(body)
        return [self._unstreamed(body)]

    def _mislabelled(self, body: bytes) -> list[ServerEvent | UnknownEvent]:
        last = (sent := self._decoder.feed(body)) and self._decoder.unfinished()
        events = self._up_to_terminal(coalesce_deltas(self._parse([*sent, *([last] if last else [])])))
        if not events or events[-1].type not in TERMINAL_TYPES:
            self._sample = body[:SAMPLE_BYTES]
            raise self._cut_error()
        return events

    async def _body(self, limit: int) -> bytes:
        """Read a body that is no stream: up to ``limit`` bytes and not longer than the idle time."""
        parts: list[bytes] = []
        size = 0
        failure: CodexError | None = None
        try:
            is_answer = self._response.status_code == httpx.codes.OK
            seconds = self._backend.idle_timeout_s
            async with asyncio.timeout(seconds if is_answer else min(seconds, ERROR_BODY_S)):
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

    def _unstreamed(self, body: bytes) -> ServerEvent:
        """Take a reply that was not streamed: a whole response, or an error with a friendly status."""
        try:
            told: Any = loads(body) if fits(body, self._budget.memory) else None
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise self._unreadable(body)
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
        kind = self._response.headers.get("content-type", "")
        if not kind.startswith("text/event-stream") or self._sample.strip():
            return self._unreadable(self._sample)
        return StreamInterrupted(
            f"{self._backend.name} closed the stream before the first event.", hint="Run the cell again."
        )

    def _unreadable(self, body: bytes) -> CodexError:
        kind = self._response.headers.get("content-type", "")
        return unreadable_response(self._response.status_code, kind, body, backend=self._backend)

    def _transport_error(self, error: Exception) -> CodexError:
        return transport_error(error, url=str(self._response.request.url), events_seen=self._events_seen)
