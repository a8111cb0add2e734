"""The simulator's state: what was issued, what is scripted, and every request it was sent."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, overload

from codex_nb.simulator.accounts import ADA, GRACE, Catalog, Limits, Person, PromptCache
from codex_nb.simulator.agents import AgentOffice
from codex_nb.simulator.scenario import Scenario, Script
from codex_nb.simulator.tokens import DeviceDesk, TokenOffice

Outcome = Literal["open", "answered", "cut", "client_closed"]


@dataclass
class RecordedRequest:
    """One request as it arrived.

    ``headers`` have lower-case names; ``raw_body`` is what was on the wire, ``body`` what it decodes to (JSON object,
    form as dict, or text). ``outcome`` is "open" until the reply has ended, "client_closed" when the client went away
    first. ``status`` is the reply's status, None before it is known.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    raw_body: bytes = field(repr=False, default=b"")
    body: Any = None
    status: int | None = None
    outcome: Outcome = "open"
    answered_by: str = ""


class RequestLog(Sequence[RecordedRequest]):
    """The requests in the order of their arrival; safe to read from any thread."""

    def __init__(self) -> None:
        self._requests: list[RecordedRequest] = []
        self._changed = threading.Condition()

    @overload
    def __getitem__(self, index: int) -> RecordedRequest: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[RecordedRequest]: ...
    def __getitem__(self, index: int | slice) -> RecordedRequest | Sequence[RecordedRequest]:
        with self._changed:
            return self._requests[index]

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[RecordedRequest]:
        with self._changed:
            return iter(tuple(self._requests))

    def to(self, path: str, method: str | None = None) -> list[RecordedRequest]:
        """The requests whose path ends so."""
        return [
            request
            for request in self
            if request.path.endswith(path) and (method is None or request.method == method)
        ]

    def count(self, path: Any, method: str | None = None) -> int:
        """How many requests went to this end of a path."""
        return len(self.to(str(path), method))

    @property
    def counts(self) -> Counter[str]:
        """Requests by ``"METHOD path"``."""
        return Counter(f"{request.method} {request.path}" for request in self)

    def wait(self, happened: Callable[[RequestLog], bool], timeout_s: float = 10.0) -> bool:
        """Block until the log satisfies ``happened``; False when the time is over before."""
        with self._changed:
            return self._changed.wait_for(lambda: happened(self), timeout_s)

    def clear(self) -> None:
        """Forget all requests."""
        with self._changed:
            self._requests.clear()

    def add(self, request: RecordedRequest) -> None:
        """Record a request."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()

    def update(self, request: RecordedRequest, outcome: Outcome, status: int | None = None) -> None:
        """Record how a request goes on; the first end counts."""
        with self._changed:
            if request.outcome == "open":
                request.outcome = outcome
            if status is not None:
                request.status = status
            self._changed.notify_all()


@dataclass
class Gates:
    """Places where a stream stands still until somebody lets it go on."""

    _open: dict[str, asyncio.Event] = field(default_factory=dict)
    _reached: set[str] = field(default_factory=set)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def note_reached(self, name: str) -> None:
        """Record that a stream stands still at the gate."""
        with self._changed:
            self._reached.add(name)
            self._changed.notify_all()

    def wait_reached(self, name: str, timeout_s: float) -> bool:
        """Block another thread until a stream has come to the gate; False when none has in time."""
        with self._changed:
            return self._changed.wait_for(lambda: name in self._reached, timeout_s)

    def gate(self, name: str) -> asyncio.Event:
        """The gate of that name, closed at first."""
        return self._open.setdefault(name, asyncio.Event())


@dataclass
class World:
    """Everything the handlers share; ``pace_s`` is the time between two deltas of the persona."""

    clock: Callable[[], float] = time.time
    pace_s: float = 0.0
    poll_interval_s: int = 1
    people: list[Person] = field(default_factory=lambda: [ADA, GRACE])
    limits: Limits = field(default_factory=Limits)
    catalog: Catalog = field(default_factory=Catalog)
    log: RequestLog = field(default_factory=RequestLog)
    script: Script = field(default_factory=lambda: Script(Scenario()))
    gates: Gates = field(default_factory=Gates)
    cache: PromptCache = field(default_factory=PromptCache)
    reasoning_of_call: dict[str, str] = field(default_factory=dict)
    tokens: TokenOffice = field(init=False)
    devices: DeviceDesk = field(init=False)
    agents: AgentOffice = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = TokenOffice("", self.clock)
        self.devices = DeviceDesk(self.tokens, self.clock)
        self.agents = AgentOffice(self.clock)

    @property
    def issuer(self) -> str:
        """The issuer's address."""
        return self.tokens.issuer

    def person(self, email: str | None = None) -> Person:
        """The person with that address, the first one without."""
        return next((person for person in self.people if email in {None, person.email}), self.people[0])
