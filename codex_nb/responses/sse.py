"""Event stream decoding by the WHATWG rules (HTML standard, 9.2.6): bytes in any chunking, events out.

The decoder is pure: no I/O, no clock. Work is linear in the bytes whatever the chunking, and memory is bounded by
``max_event_bytes``.
"""

from __future__ import annotations

from typing import NamedTuple

from codex_nb.words import api_errors as words

MAX_EVENT_BYTES = 64 * 1024 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventTooLargeError(ValueError):
    """One event, or one line, exceeds the bound."""


class ServerSentEvent(NamedTuple):
    """One dispatched event; ``raw`` is its data as received, lines joined by a newline."""

    raw: bytes
    event: str = "message"
    id: str = ""

    @property
    def data(self) -> str:
        """The data as text; what is not UTF-8 becomes U+FFFD."""
        return self.raw.decode("utf-8", "replace")


class EventStreamDecoder:
    """Feeds on chunks and gives the events that they complete.

    ``retry`` is the reconnection time in milliseconds that the stream asked for last. Both methods raise
    EventTooLargeError as soon as an event exceeds the bound, before it is complete.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.retry: int | None = None
        self._max_event_bytes = max_event_bytes
        self._line_pieces: list[bytes] = []
        self._data: list[bytes] = []
        self._size = 0
        self._event = ""
        self._last_id = ""
        self._skip_newline = False
        self._start: bytes | None = b""

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take the next bytes; give the events that became complete."""
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
        """Give the event that the stream ended in, without its blank line; the standard discards it.

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
            raise EventTooLargeError(words.event_too_large(str(self._max_event_bytes)))

    def _take(self, lines: list[bytes]) -> list[ServerSentEvent]:
        events: list[ServerSentEvent] = []
        data = self._data
        for line in lines:
            if not line:
                if data:
                    raw = data[0] if len(data) == 1 else b"\n".join(data)
                    events.append(ServerSentEvent(raw, self._event or "message", self._last_id))
                    data.clear()
                self._event = ""
                self._size = 0
            elif line[:5] == b"data:":
                self._grow(len(line))
                data.append(line[6:] if line[5:6] == b" " else line[5:])
            else:
                self._field(line)
        return events

    def _field(self, line: bytes) -> None:
        """Take any line but a ``data:`` one; what the standard does not name, comments too, is passed over."""
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"event":
                self._event = value.decode("utf-8", "replace")
            case b"data":
                self._data.append(b"")
            case b"id" if b"\0" not in value:
                self._last_id = value.decode("utf-8", "replace")
            case b"retry" if value.isdigit():
                self.retry = int(value)
