"""The state of a simulator: accounts, issued credentials, prepared replies, and every request that it received.

The state belongs to the server's event loop; :class:`codex_nb.simulator.server.Simulator` gives access to it from other
threads. Only :class:`RequestLog` and :meth:`Gates.wait_reached` may be used from any thread.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, overload

from codex_nb.simulator.accounts import ADA, GRACE, Account, Catalog, Limits
from codex_nb.simulator.credentials import AgentRegistry, DeviceCodeStore, TokenStore
from codex_nb.simulator.responses import PromptCache
from codex_nb.simulator.scenario import ReplyQueue, Scenario

RequestStatus = Literal["open", "answered", "cut", "client_closed"]


@dataclass
class RecordedRequest:
    """A request as it arrived.

    ``headers`` have lower-case names; ``raw_body`` is what was on the wire, ``body`` its decoded value (JSON, a form as
    a dict, or text). ``status`` is None until the response has one. ``outcome`` is "open" until the response has ended:
    "cut" when the simulator closed the connection, "client_closed" when the client did. ``answered_by`` is "scenario",
    "answerer", "validation", or empty for the other endpoints. ``connection`` is the client's port.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    raw_body: bytes = field(repr=False, default=b"")
    body: Any = None
    status: int | None = None
    outcome: RequestStatus = "open"
    answered_by: str = ""
    size: int = 0
    connection: int = 0


MAX_LOGGED_BYTES = 64 * 1024 * 1024


class RequestLog(Sequence[RecordedRequest]):
    """The requests in the order of their arrival; of old ones the bodies go first where they take too much room."""

    def __init__(self, *, max_bytes: int = MAX_LOGGED_BYTES) -> None:
        self._requests: list[RecordedRequest] = []
        self._max_bytes = max_bytes
        self._bytes = 0
        self._emptied = 0  # how many of the oldest have no body any more
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
        """The requests whose path ends with ``path``."""
        return [
            request
            for request in self
            if request.path.endswith(path) and (method is None or request.method == method)
        ]

    def count(self, path: Any, method: str | None = None) -> int:
        """The number of requests whose path ends with ``path``."""
        return len(self.to(str(path), method))

    @property
    def counts(self) -> Counter[str]:
        """The number of requests by ``"METHOD path"``."""
        return Counter(f"{request.method} {request.path}" for request in self)

    def wait(self, condition: Callable[[RequestLog], bool], timeout_s: float = 10.0) -> bool:
        """Block until the log satisfies the condition; False when the time is over first."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self), timeout_s)

    def clear(self) -> None:
        """Remove all requests."""
        with self._changed:
            self._requests.clear()
            self._bytes = self._emptied = 0

    def add(self, request: RecordedRequest) -> None:
        """Add a request."""
        with self._changed:
            self._requests.append(request)
            self._bytes += len(request.raw_body) + request.size
            while self._bytes > self._max_bytes and self._emptied < len(self._requests) - 1:
                oldest = self._requests[self._emptied]
                self._bytes -= len(oldest.raw_body) + oldest.size
                oldest.raw_body, oldest.body, oldest.size = b"", None, 0
                self._emptied += 1
            self._changed.notify_all()

    def update(self, request: RecordedRequest, outcome: RequestStatus, status: int | None = None) -> None:
        """Record the outcome and status of a request; only its first outcome counts."""
        with self._changed:
            if request.outcome == "open":
                request.outcome = outcome
            if status is not None:
                request.status = status
            self._changed.notify_all()


@dataclass
class Gates:
    """Named points at which streams stop until they are released."""

    _open: dict[str, asyncio.Event] = field(default_factory=dict)
    _reached: set[str] = field(default_factory=set)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def gate(self, name: str) -> asyncio.Event:
        """The event that opens the gate; it is not set at first."""
        return self._open.setdefault(name, asyncio.Event())

    def mark_reached(self, name: str) -> None:
        """Record that a stream has stopped at the gate."""
        with self._changed:
            self._reached.add(name)
            self._changed.notify_all()

    def wait_reached(self, name: str, timeout_s: float) -> bool:
        """Block the calling thread until a stream has stopped at the gate; False when the time is over first."""
        with self._changed:
            return self._changed.wait_for(lambda: name in self._reached, timeout_s)


MAX_KEPT_BYTES = 64 * 1024 * 1024
MOST_KEPT = 256


@dataclass
class ResponseStore:
    """The input and output items of responses that later requests may name; the oldest go where they take too much."""

    _kept: dict[str, tuple[Sequence[Any], int]] = field(default_factory=dict)
    _bytes: int = 0

    def keep(self, response_id: str, items: Sequence[Any], size: int) -> None:
        """Keep a response; ``size`` is about its bytes."""
        self._kept[response_id] = (items, size)
        self._bytes += size
        while len(self._kept) > MOST_KEPT or (self._bytes > MAX_KEPT_BYTES and len(self._kept) > 1):
            _, dropped = self._kept.pop(next(iter(self._kept)))
            self._bytes -= dropped

    def find(self, response_id: object) -> Sequence[Any] | None:
        """The items of a response, None when it is not here."""
        kept = self._kept.get(response_id) if isinstance(response_id, str) else None
        return None if kept is None else kept[0]


@dataclass
class BatchStore:
    """Uploaded files and batches.

    ``polls`` is how often a batch is asked about before it is done; with ``answers`` it expires after so many lines.
    """

    polls: int = 0
    answers: int | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)

    def add_file(self, content: bytes) -> str:
        """Keep a file; return its id."""
        name = "file-sim" + secrets.token_hex(8)
        self.files[name] = content
        return name


@dataclass
class State:
    """What all handlers share.

    ``pace_s`` is the time between two deltas of a canned answer. Without ``websockets`` a handshake gets a 426, with
    which clients go on over HTTP.
    """

    clock: Callable[[], float] = time.time
    pace_s: float = 0.0
    poll_interval_s: int = 1
    websockets: bool = True
    accounts: list[Account] = field(default_factory=lambda: [ADA, GRACE])
    limits: Limits = field(default_factory=Limits)
    catalog: Catalog = field(default_factory=Catalog)
    log: RequestLog = field(default_factory=RequestLog)
    replies: ReplyQueue = field(default_factory=lambda: ReplyQueue(Scenario()))
    gates: Gates = field(default_factory=Gates)
    cache: PromptCache = field(default_factory=PromptCache)
    batches: BatchStore = field(default_factory=BatchStore)
    responses: ResponseStore = field(default_factory=ResponseStore)
    reasoning_of_call: dict[str, str] = field(default_factory=dict)
    tokens: TokenStore = field(init=False)
    devices: DeviceCodeStore = field(init=False)
    agents: AgentRegistry = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = TokenStore("", self.clock)
        self.devices = DeviceCodeStore(self.tokens, self.clock)
        self.agents = AgentRegistry(self.clock)

    @property
    def issuer(self) -> str:
        """The issuer's URL."""
        return self.tokens.issuer

    def account(self, email: str | None = None) -> Account:
        """The account with this address; the first account where there is none."""
        return next(
            (account for account in self.accounts if email in {None, account.email}), self.accounts[0]
        )
