"""The streaming Responses API client: a request goes out, events come in, transient failures are retried."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from codex_nb.errors import BackendOverloaded, CodexError, ModelUnavailable, RateLimited, StreamInterrupted
from codex_nb.http import REQUEST_ERRORS, backoff, httpx
from codex_nb.responses import events as ev
from codex_nb.responses.accumulator import ResponseAccumulator
from codex_nb.responses.errors import event_error, request_id_of, transport_error
from codex_nb.responses.limits import RateLimits, parse_usage
from codex_nb.responses.limits import parse_event as parse_limits_event
from codex_nb.responses.models import get_json
from codex_nb.responses.request import request_body, request_headers
from codex_nb.responses.stream import ResponseBudget, ResponseReader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from codex_nb.http import Route
    from codex_nb.responses.models import ModelCatalog
    from codex_nb.responses.request import Backend, ResponsesRequest


LEVEL = 3


@cache
def zstd_compressor() -> Callable[[bytes], bytes] | None:
    """Return the compressing function, None without the optional package ``zstandard``."""
    if find_spec("zstandard") is None:
        return None
    compress: Callable[[bytes], bytes] = import_module("zstandard").ZstdCompressor(level=LEVEL).compress
    return compress


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
        """Return the wait after that many failures: what the server asks for, else the back-off."""
        if wanted is not None:
            return wanted
        return backoff(
            failures,
            first_s=self.first_delay,
            longest_s=self.longest_delay,
            jitter=self.jitter,
            chance=chance,
        )


RESTARTS_OF_PATIENT = 2  # a request that is refused whatever comes of the others must end


class Attempts:
    """Counts the requests of one call and decides about the next one.

    In a batch (``is_patient``) a rate limit is waited out however long it lasts, and a model at capacity, too; while
    other requests of the batch get through, a request may be refused more often.
    """

    def __init__(self, policy: RetryPolicy, *, is_patient: bool = False) -> None:
        self.policy = policy
        self._is_patient = is_patient
        self.requests = 0
        self.failures = 0
        self._before_events = 0
        self._after_events = 0
        self._progress = 0
        self._restarts = RESTARTS_OF_PATIENT

    def note_progress(self, accepted: int) -> None:
        """Begin a used-up count again when the batch has had replies since it began; only a few times."""
        is_used_up = (
            self.requests >= self.policy.max_requests or self._before_events >= self.policy.request_retries
        )
        if is_used_up and self._restarts and accepted > self._progress:
            self._restarts -= 1
            self.requests, self._before_events = 1, 0
        if self.requests <= 1:
            self._progress = accepted

    def wait_after(self, error: CodexError, *, events_seen: int, chance: float) -> float | None:
        """Return the seconds to wait before the request is repeated; None when it is not to be repeated."""
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
    """Return whether the same request may succeed a moment later; a model at capacity needs more than a moment."""
    if isinstance(error, BackendOverloaded):
        return not _is_at_capacity(error)
    return isinstance(error, RateLimited | StreamInterrupted) and error.retryable


def holds_everyone(error: CodexError) -> bool:
    """Return whether no other request would fare better now."""
    return isinstance(error, RateLimited) or (isinstance(error, BackendOverloaded) and _is_at_capacity(error))


def _is_at_capacity(error: BackendOverloaded) -> bool:
    return error.code == "server_is_overloaded" and error.status is None


def wanted_wait(error: CodexError) -> float | None:
    """Return the wait that the server asked for, in seconds."""
    return error.retry_after if isinstance(error, RateLimited | BackendOverloaded) else None


def _chosen(value: int | None, default: int) -> int:
    return default if value is None else value


CONNECT_TIMEOUT_S = 15.0
WRITE_TIMEOUT_S = 60.0
TURN_STATE_HEADER = "x-codex-turn-state"


class ResponsesClient:
    """Streams responses from one backend.

    ``route`` is asked before every request to the ChatGPT backend; ``catalog`` names the nearest models when one is
    refused; ``retry`` replaces the backend's own bounds, ``budget`` how much of an answer is read. ``sleep`` and
    ``chance`` (uniform in 0..1) are replaced in tests.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        backend: Backend,
        auth: httpx.Auth | None,
        *,
        retry: RetryPolicy | None = None,
        budget: ResponseBudget | None = None,
        route: Callable[[], Awaitable[Route]] | None = None,
        catalog: ModelCatalog | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.backend = backend
        self._http = http
        self._auth = auth
        self._budget = budget or ResponseBudget()
        self._policy = retry or RetryPolicy.for_backend(backend)
        self._route = route
        self._catalog = catalog
        self._sleep = sleep
        self._chance = chance

    async def stream(self, request: ResponsesRequest) -> AsyncGenerator[ev.ResponseEvent, None]:
        """Yield the events of one response; the last one is ResponseFinished.

        A failure that may pass is announced by Retrying and the request is sent again, with the items that were
        complete, which are not yielded again. When a cut leaves complete calls, the response counts as finished, for
        their outputs are what must be sent next. All other failures raise a CodexError. Close the generator to cancel.
        """
        throttle = request.throttle
        attempts = Attempts(self._policy, is_patient=throttle is not None)
        accumulator = ResponseAccumulator(request.received, turn_state=request.turn_state)
        budget = replace(self._budget)
        while True:
            limit = None
            accumulator = accumulator.next_attempt()
            async with nullcontext() if throttle is None else throttle.sending() as slot:
                try:
                    async with aclosing(await self._send(request, accumulator, attempts, budget)) as reader:
                        if slot is not None:
                            slot.begin_reply(reader.headers, accepted=reader.is_success)
                        if reader.limits is not None:
                            yield ev.LimitsSeen(reader.limits)
                        while events := await reader.read():
                            for event in events:
                                if (shown := self._apply(event, accumulator)) is not None:
                                    yield shown
                        finished = accumulator.finished()
                        if throttle is not None:
                            throttle.note_tokens(finished.usage.total_tokens)
                        yield finished
                        await reader.drain()
                        return
                except CodexError as error:
                    failure = error
                if throttle is not None and slot is not None and holds_everyone(failure):
                    limit = throttle.limited(slot, wanted_wait(failure))
                    attempts.note_progress(throttle.accepted)
            if accumulator.owes_outputs and failure.retryable:
                yield accumulator.finished()
                return
            if isinstance(failure, ModelUnavailable) and self._catalog is not None:
                failure = await self._catalog.explained(failure, request.model)
            wait = attempts.wait_after(failure, events_seen=accumulator.events_seen, chance=self._chance())
            if wait is None:
                raise failure
            number, most = attempts.requests + 1, self._policy.max_requests
            yield ev.Retrying(number, most, limit or wait, str(failure), accumulator.unfinished_keys)
            if limit is None:  # else the throttle waits, for all requests together
                await self._sleep(wait)

    async def _send(
        self,
        request: ResponsesRequest,
        accumulator: ResponseAccumulator,
        attempts: Attempts,
        budget: ResponseBudget,
    ) -> ResponseReader:
        """Send the request with what earlier attempts have completed; note in the accumulator what the head tells."""
        attempts.requests += 1
        response = await self._open(
            replace(request, received=accumulator.carried, turn_state=accumulator.turn_state)
        )
        attempts.requests += len(
            response.history
        )  # credentials that were refreshed on the way cost requests too
        accumulator.request_id = request_id_of(response.headers)
        accumulator.turn_state = response.headers.get(TURN_STATE_HEADER) or accumulator.turn_state
        return ResponseReader(response, self.backend, budget)

    def _apply(
        self, event: ev.ServerEvent | ev.UnknownEvent, accumulator: ResponseAccumulator
    ) -> ev.ResponseEvent | None:
        """Return what the caller is shown of an event; one that tells of a failure raises it."""
        match event:
            case ev.ResponseFailed(response=failed):
                raise event_error(failed, backend=self.backend, request_id=accumulator.request_id)
            case ev.ErrorEvent():
                raise event_error(event.raw, backend=self.backend, request_id=accumulator.request_id)
            case ev.LimitsEvent():
                limits = parse_limits_event(event.raw)
                return None if limits is None else ev.LimitsSeen(limits)
            case _:
                return accumulator.apply(event)

    async def _open(self, request: ResponsesRequest) -> httpx.Response:
        """Send one request and give its reply, unread; CodexError when there is none."""
        url = self.backend.responses_url
        headers = request_headers(request, self.backend)
        if self._route is not None:
            route = await self._route()
            url = route.url(url)
            if route.override is not None:
                headers["x-openai-account-routing-override"] = route.override
        try:
            message = self._message(request, url, headers)
            async with asyncio.timeout(self.backend.idle_timeout_s):
                return await self._http.send(message, auth=self._auth, stream=True, follow_redirects=False)
        except REQUEST_ERRORS as error:
            failure = transport_error(error, url=url)
        raise failure

    def _message(self, request: ResponsesRequest, url: str, headers: dict[str, str]) -> httpx.Request:
        body = request_body(request, self.backend)
        compress = zstd_compressor() if self.backend.can_compress else None
        if compress is not None:
            body = compress(body)
            headers = {**headers, "content-encoding": "zstd"}
        # The time until the head of the reply is bounded by the idle time; httpx bounds the rest of the way.
        timeout = httpx.Timeout(None, connect=CONNECT_TIMEOUT_S, write=WRITE_TIMEOUT_S)
        query = dict(self.backend.query) or None
        return self._http.build_request(
            "POST", url, params=query, headers=headers, content=body, timeout=timeout
        )


async def fetch_usage(
    http: httpx.AsyncClient, backend: Backend, auth: httpx.Auth | None
) -> RateLimits | None:
    """Ask the usage endpoint; None where there is no plan to ask about. Failures are CodexErrors."""
    if backend.usage_url is None:
        return None
    body = await get_json(http, backend.usage_url, backend=backend, auth=auth)
    return parse_usage(body) if isinstance(body, dict) else RateLimits()
