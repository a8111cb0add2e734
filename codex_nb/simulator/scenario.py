"""Scenarios: what the simulator answers instead of its default behaviour, as data, in Python or from JSON.

A scenario is a list of replies. A request takes the first reply that matches it and is not used up; where none
matches, the simulator behaves like the real backend. In JSON::

    {"name": "a retry", "replies": [
      {"status": 503, "body": {"error": {"code": "server_is_overloaded"}}},
      {"stream": [{"think": {"summary": ["Hm."]}},
                  {"say": {"text": "Hello", "gate": "middle"}},
                  {"call": {"name": "run_python", "arguments": {"code": "1 + 1"}}},
                  {"end": {}}]},
      {"wire": {"chunks": ["HTTP/1.1 2"], "close": true}}
    ]}

A step is an object with one key, the kind of step in snake case. Bytes are written as text, or as
``{"base64": "…"}``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


JsonObject = Mapping[str, Any]

WEBSOCKET = "WEBSOCKET"
"""The method under which a websocket handshake is recorded and matched."""

FRAME = "FRAME"
"""The method under which a request in a frame of a websocket is recorded and matched."""


@dataclass(frozen=True)
class Think:
    """A reasoning item with these summary parts and an encrypted content."""

    summary: tuple[str, ...]
    delay_s: float = 0.0
    item_id: str | None = None


@dataclass(frozen=True)
class Say:
    """An assistant message, streamed in deltas of about ``delta_chars`` characters, ``delay_s`` apart.

    With ``gate`` the stream stops in the middle of the text until the gate is released. ``cites`` maps passages of the
    text to the addresses of the pages that they come from.
    """

    text: str
    delta_chars: int = 12
    delay_s: float = 0.0
    gate: str | None = None
    phase: str | None = None
    item_id: str | None = None
    cites: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Search:
    """A web search of the backend's own; with ``url`` a page is opened instead."""

    queries: tuple[str, ...] = ()
    url: str | None = None
    item_id: str | None = None


@dataclass(frozen=True)
class Call:
    """A function call; ``arguments`` that are not a string are sent as JSON."""

    name: str
    arguments: JsonObject | str
    call_id: str | None = None
    delay_s: float = 0.0
    namespace: str | None = None
    item_id: str | None = None


@dataclass(frozen=True)
class CustomCall:
    """A custom tool call, whose input is free text."""

    name: str
    input: str
    call_id: str | None = None
    delay_s: float = 0.0
    item_id: str | None = None


@dataclass(frozen=True)
class Item:
    """An output item, sent as given in ``output_item.added`` and ``output_item.done``."""

    item: JsonObject


@dataclass(frozen=True)
class Event:
    """An event, sent as given; ``name`` is its ``event:`` line (None: the type in the data, "": no such line)."""

    data: JsonObject
    name: str | None = None


@dataclass(frozen=True)
class End:
    """The terminal event, with all items streamed before it.

    The usage is estimated where it is None. ``error`` belongs to "failed", ``reason`` to "incomplete".
    """

    status: Literal["completed", "incomplete", "failed"] = "completed"
    usage: JsonObject | None = None
    error: JsonObject | None = None
    reason: str | None = None
    end_turn: bool | None = None


@dataclass(frozen=True)
class Hold:
    """The stream stops until the gate is released."""

    gate: str = "gate"


@dataclass(frozen=True)
class Pause:
    """The stream stops for some seconds."""

    seconds: float


@dataclass(frozen=True)
class Raw:
    """Bytes of the body, sent as given."""

    data: bytes


@dataclass(frozen=True)
class Cut:
    """The connection breaks: closed before the last chunk, by a TCP reset, or in the middle of a chunk."""

    how: Literal["close", "reset", "truncate"] = "close"


Step = Think | Say | Search | Call | CustomCall | Item | Event | End | Hold | Pause | Raw | Cut


@dataclass(frozen=True)
class Wire:
    """A reply below HTTP: bytes written to the socket, status line and headers included.

    ``pause_s`` is the time between two chunks. Without ``close`` the connection then stays open until the client
    closes it.
    """

    chunks: tuple[bytes, ...] = ()
    pause_s: float = 0.0
    close: bool = True
    reset: bool = False


@dataclass(frozen=True)
class Reply:
    """A prepared reply to matching requests.

    ``path`` is matched with the end of the request's path (``*`` and ``?`` as in file names), ``method`` with its
    method when given; a websocket handshake has the method WEBSOCKET, which must be given explicitly, and a request in
    one of its frames the method FRAME.
    ``times`` is the number of requests that it answers, None for all. ``skip`` is the number of matching requests that
    are left to the next reply (or the default behaviour) first. ``authenticated`` replies are sent only to requests
    with valid credentials; the others get their 401.

    The body is ``wire``, else ``stream`` (as an event stream), else ``body`` (a string as given, anything else as
    JSON). With ``then`` "usual" only the holds and pauses of ``stream`` take place, followed by the default behaviour;
    with "lost" that behaviour has its effects, but the connection is closed without a response.
    """

    path: str = "/responses"
    method: str | None = None
    times: int | None = 1
    skip: int = 0
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    stream: tuple[Step, ...] | None = None
    wire: Wire | None = None
    authenticated: bool = False
    then: Literal["reply", "usual", "lost"] = "reply"

    def matches(self, method: str, path: str) -> bool:
        """Whether the reply is for such a request."""
        if self.method is None and method == WEBSOCKET:
            return False
        return self.method in {None, method} and fnmatchcase(path, "*" + self.path)


@dataclass(frozen=True)
class Scenario:
    """Replies in order; ``name`` is only informative."""

    replies: tuple[Reply, ...] = ()
    name: str = ""


@dataclass
class _QueuedReply:
    """A reply with the requests that it has left to answer and to skip."""

    reply: Reply
    left: int | None
    skip: int


class ReplyQueue:
    """The replies of a scenario that are not used up."""

    def __init__(self, scenario: Scenario) -> None:
        self._queue: list[_QueuedReply] = []
        self.add(*scenario.replies)

    def add(self, *replies: Reply) -> None:
        """Append replies."""
        self._queue.extend(_QueuedReply(reply, reply.times, reply.skip) for reply in replies)

    def take(self, method: str, path: str, is_authenticated: Callable[[], bool]) -> Reply | None:
        """The reply to a request, counted as used; None when the default behaviour applies."""
        for queued in self._queue:
            reply = queued.reply
            if queued.left == 0 or not reply.matches(method, path):
                continue
            if reply.authenticated and not is_authenticated():
                continue
            if queued.skip:
                queued.skip -= 1
                continue
            if queued.left is not None:
                queued.left -= 1
            return reply
        return None

    @property
    def unused(self) -> tuple[Reply, ...]:
        """The replies that have not answered as many requests as they should."""
        return tuple(queued.reply for queued in self._queue if queued.left not in {None, 0})


_STEPS: dict[str, type[Any]] = {
    "think": Think,
    "say": Say,
    "search": Search,
    "call": Call,
    "custom_call": CustomCall,
    "item": Item,
    "event": Event,
    "end": End,
    "hold": Hold,
    "pause": Pause,
    "raw": Raw,
    "cut": Cut,
}


def load_scenario(path: Path) -> Scenario:
    """The scenario in a JSON file; ValueError when it is not valid."""
    return scenario_from_json(json.loads(path.read_text(encoding="utf-8")))


def scenario_from_json(value: Mapping[str, Any]) -> Scenario:
    """The scenario in a JSON object; ValueError when it is not valid."""
    replies = tuple(_reply(each) for each in value.get("replies", ()))
    return Scenario(replies, str(value.get("name", "")))


def _reply(value: Mapping[str, Any]) -> Reply:
    parts = dict(value)
    if parts.get("stream") is not None:
        parts["stream"] = tuple(_step(each) for each in parts["stream"])
    if parts.get("wire") is not None:
        wire = dict(parts["wire"])
        wire["chunks"] = tuple(_bytes(each) for each in wire.get("chunks", ()))
        parts["wire"] = _build(Wire, wire)
    reply: Reply = _build(Reply, parts)
    return reply


def _step(value: Mapping[str, Any]) -> Step:
    kind, parts = next(iter(value.items())) if len(value) == 1 else ("", {})
    if kind not in _STEPS:
        raise ValueError(f"a step must have exactly one of the keys {', '.join(_STEPS)}; got {sorted(value)}")
    parts = dict(parts)
    if kind == "raw":
        parts["data"] = _bytes(parts.get("data", ""))
    if kind == "think":
        parts["summary"] = tuple(parts.get("summary", ()))
    if kind == "search":
        parts["queries"] = tuple(parts.get("queries", ()))
    step: Step = _build(_STEPS[kind], parts)
    return step


def _bytes(value: str | Mapping[str, str]) -> bytes:
    return value.encode() if isinstance(value, str) else base64.b64decode(value["base64"])


def _build(kind: type[Any], parts: Mapping[str, Any]) -> Any:
    known = {each.name for each in fields(kind)}
    unknown = sorted(set(parts) - known)
    if unknown:
        raise ValueError(f"{kind.__name__} has no field {unknown[0]!r}; fields: {', '.join(sorted(known))}")
    return kind(**parts)
