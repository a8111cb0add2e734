"""When a failed request is sent again, and when it is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from codex_nb.errors import BackendOverloaded, CodexError, RateLimited, StreamInterrupted

if TYPE_CHECKING:
    from codex_nb.responses.backend import Backend


@dataclass(frozen=True)
class RetryPolicy:
    """Bounds and waits; seconds.

    ``max_requests`` bounds the requests of one call of the client, those that renew a login included. A failure before
    any event counts against ``request_retries``, one after it against ``stream_retries``. A server that asks for more
    than ``longest_wait`` is not waited for.
    """

    max_requests: int = 6
    request_retries: int = 5
    stream_retries: int = 5
    first_delay: float = 0.2
    longest_delay: float = 5.0
    longest_wait: float = 60.0
    jitter: float = 0.1

    @classmethod
    def for_backend(cls, backend: Backend) -> RetryPolicy:
        """Take the backend's own bounds where the configuration has them."""
        default = cls()
        request_retries = _chosen(backend.request_max_retries, default.request_retries)
        stream_retries = _chosen(backend.stream_max_retries, default.stream_retries)
        most = 1 + max(request_retries, stream_retries)
        is_configured = (backend.request_max_retries, backend.stream_max_retries) != (None, None)
        return cls(
            max_requests=most if is_configured else default.max_requests,
            request_retries=request_retries,
            stream_retries=stream_retries,
        )

    def delay(self, failures: int, wanted: float | None, chance: float) -> float:
        """Give the wait after that many failures: what the server wants, or doubling, blurred by ``chance`` in 0..1."""
        if wanted is not None:
            return wanted
        doubled = min(self.longest_delay, self.first_delay * 2.0 ** (failures - 1))
        return doubled * (1.0 + self.jitter * (2.0 * chance - 1.0))


class Attempts:
    """Counts the requests of one call and decides about the next one.

    In a batch (``is_patient``) a rate limit is waited out however long it lasts, and a model at capacity, too.
    """

    def __init__(self, policy: RetryPolicy, *, is_patient: bool = False) -> None:
        self.policy = policy
        self._is_patient = is_patient
        self.requests = 0
        self.failures = 0
        self._before_events = 0
        self._after_events = 0

    def wait_after(self, error: CodexError, *, events_seen: int, chance: float) -> float | None:
        """Give the seconds to wait before the request is repeated; None when it is not to be repeated."""
        policy = self.policy
        self.failures += 1
        if events_seen:
            self._after_events += 1
        else:
            self._before_events += 1
        is_waited_out = self._is_patient and holds_everyone(error)
        if not (is_waited_out or can_be_repeated(error)) or self.requests >= policy.max_requests:
            return None
        if self._before_events > policy.request_retries or self._after_events > policy.stream_retries:
            return None
        wanted = wanted_wait(error)
        if wanted is not None and wanted > policy.longest_wait and not is_waited_out:
            return None
        return policy.delay(self.failures, wanted, chance)


def can_be_repeated(error: CodexError) -> bool:
    """Tell whether the same request may succeed a moment later; a model at capacity needs more than a moment."""
    if isinstance(error, BackendOverloaded):
        return not _is_at_capacity(error)
    return isinstance(error, RateLimited | StreamInterrupted) and error.retryable


def holds_everyone(error: CodexError) -> bool:
    """Tell whether no other request would fare better now."""
    return isinstance(error, RateLimited) or (isinstance(error, BackendOverloaded) and _is_at_capacity(error))


def _is_at_capacity(error: BackendOverloaded) -> bool:
    return error.code == "server_is_overloaded" and error.status is None


def wanted_wait(error: CodexError) -> float | None:
    """Give the wait that the server asked for, in seconds."""
    return error.retry_after if isinstance(error, RateLimited | BackendOverloaded) else None


def _chosen(value: int | None, default: int) -> int:
    return default if value is None else value
