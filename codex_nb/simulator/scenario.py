"""Scenarios: what the simulator shall answer instead of its own behaviour, as data.

A scenario is a list of replies. A request takes the first reply that fits it and is not used up; where none fits, the
simulator behaves as the backend it stands for. Every part can be written as JSON (:mod:`codex_nb.simulator.loading`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

JsonObject = Mapping[str, Any]

WEBSOCKET = "WEBSOCKET"
"""The method under which a websocket handshake is looked up and recorded."""


@dataclass(frozen=True)
class Think:
    """A reasoning item: its summary parts, streamed as deltas, and an encrypted content."""

    summary: tuple[str, ...]
    delay_s: float = 0.0
    item_id: str | None = None


@dataclass(frozen=True)
class Say:
    """An assistant message, streamed in pieces of ``delta_chars`` characters, ``delay_s`` apart.

    With ``gate`` the stream stands still in the middle of the text until the gate is released.
    """

    text: str
    delta_chars: int = 12
    delay_s: float = 0.0
    gate: str | None = None
    phase: str | None = None
    item_id: str | None = None


@dataclass(frozen=True)
class Call:
    """A function call; ``arguments`` that are not a string are written as JSON."""

    name: str
    arguments: JsonObject | str
    call_id: str | None = None
    delay_s: float = 0.0
    namespace: str | None = None
    item_id: str | None = None


@dataclass(frozen=True)
class CustomCall:
    """A custom tool call with free text as its input."""

    name: str
    input: str
    call_id: str | None = None
    delay_s: float = 0.0
    item_id: str | None = None


@dataclass(frozen=True)
class Item:
    """Any output item, announced and done as it stands."""

    item: JsonObject


@dataclass(frozen=True)
class Event:
    """One event exactly as given; ``name`` is the ``event:`` line (None: the data's type, "": no line)."""

    data: JsonObject
    name: str | None = None


@dataclass(frozen=True)
class End:
    """The terminal event, built from everything streamed before it.

    ``usage`` None means one is estimated. ``error`` belongs to "failed", ``reason`` to "incomplete".
    """

    status: Literal["completed", "incomplete", "failed"] = "completed"
    usage: JsonObject | None = None
    error: JsonObject | None = None
    reason: str | None = None
    end_turn: bool | None = None


@dataclass(frozen=True)
class Hold:
    """The stream stands still until the gate is released."""

    gate: str = "gate"


@dataclass(frozen=True)
class Pause:
    """The stream stands still for a while."""

    seconds: float


@dataclass(frozen=True)
class Raw:
    """Bytes of the body exactly as given."""

    data: bytes


@dataclass(frozen=True)
class Cut:
    """The connection ends here.

    ``close`` ends it without the last chunk, ``reset`` with a TCP reset, ``truncate`` in the middle of a chunk.
    """

    how: Literal["close", "reset", "truncate"] = "close"


Step = Think | Say | Call | CustomCall | Item | Event | End | Hold | Pause | Raw | Cut


@dataclass(frozen=True)
class Wire:
    """A reply below HTTP: bytes written to the socket, status line and headers included.

    ``pause_s`` lies between two chunks. Without ``close`` the socket then stays open and silent.
    """

    chunks: tuple[bytes, ...] = ()
    pause_s: float = 0.0
    close: bool = True
    reset: bool = False


@dataclass(frozen=True)
class Reply:
    """One prepared answer.

    ``path`` is compared with the end of the request's path (``*`` and ``?`` as in file names), ``method`` with its
    method when given; a websocket handshake has the method WEBSOCKET, for which a reply must be given expressly.
    ``times`` is how many requests it answers, None for all. ``skip`` lets that many fitting requests pass to the next
    reply (or the usual behaviour) first. ``authenticated`` replies are given only to requests whose credentials the
    backend accepts; the others get their 401.

    The body is ``wire``, else ``stream`` (as an event stream), else ``body`` (a string as it stands, anything else as
    JSON). With ``then`` "usual" only the holds and pauses of ``stream`` take place, and after them the usual behaviour;
    with "lost" that behaviour has its effects, but the connection ends without its answer.
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

    def fits(self, method: str, path: str) -> bool:
        """Whether the reply is meant for such a request."""
        if self.method is None and method == WEBSOCKET:
            return False
        return self.method in {None, method} and fnmatchcase(path, "*" + self.path)


@dataclass(frozen=True)
class Scenario:
    """Replies in order; ``name`` is for people."""

    replies: tuple[Reply, ...] = ()
    name: str = ""


class Script:
    """A scenario being played: knows what each reply has left."""

    def __init__(self, scenario: Scenario) -> None:
        self._replies = list(scenario.replies)
        self._left: list[int | None] = [reply.times for reply in self._replies]
        self._skips = [reply.skip for reply in self._replies]

    def add(self, *replies: Reply) -> None:
        """Append replies to the ones not used up."""
        self._replies.extend(replies)
        self._left.extend(reply.times for reply in replies)
        self._skips.extend(reply.skip for reply in replies)

    def take(self, method: str, path: str, accepted: Callable[[], bool]) -> Reply | None:
        """The reply for this request, counted as used; None when the usual behaviour applies.

        ``accepted`` tells whether the request's credentials are good.
        """
        for index, reply in enumerate(self._replies):
            left = self._left[index]
            if left == 0 or not reply.fits(method, path) or (reply.authenticated and not accepted()):
                continue
            if self._skips[index]:
                self._skips[index] -= 1
                continue
            if left is not None:
                self._left[index] = left - 1
            return reply
        return None

    @property
    def unused(self) -> tuple[Reply, ...]:
        """The replies that still wait for a request."""
        return tuple(
            reply for reply, left in zip(self._replies, self._left, strict=True) if left not in {None, 0}
        )
