"""What the simulator was asked: every request, recorded for assertions and for the curious."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, overload

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
