"""The streaming Responses API client: a request goes out, events come in and add up, transient failures are retried."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import deque
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from codex_nb.errors import BackendOverloaded, CodexError, ModelUnavailable, RateLimited, StreamInterrupted
from codex_nb.http import CONNECT_TIMEOUT_S, REQUEST_ERRORS, backoff, httpx
from codex_nb.parse import JsonObject, parse_object, parse_objects, parse_text
from codex_nb.responses import events as ev
from codex_nb.responses.errors import event_error, transport_error
from codex_nb.responses.events import RateLimits, parse_limits_event, parse_usage, request_id_of
from codex_nb.responses.models import get_json
from codex_nb.responses.request import TURN_STATE_HEADER, request_body, request_headers
from codex_nb.responses.stream import ResponseBudget, ResponseReader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

    from codex_nb.http import Route
    from codex_nb.responses.models import ModelCatalog
    from codex_nb.responses.request import Backend, ResponsesRequest
    from codex_nb.responses.websocket import WebSocketTransport


def _message_text(item: JsonObject) -> str:
    """Return the text of an assistant's message; a refusal is text as well, for it is what the model answered."""
    parts = parse_objects(item.get("content")) if item.get("type") == "message" else []
    text = "".join(parse_text(part.get("text")) for part in parts if part.get("type") == "output_text")
    return text or "".join(parse_text(part.get("refusal")) for part in parts if part.get("type") == "refusal")


def _merge_items(final: Sequence[JsonObject], done: Sequence[JsonObject]) -> list[JsonObject]:
    """Merge the terminal response's items (``final``) with those that were done before, each item once.

    Of two equal copies the done one is kept, which was seen already and may hold the encrypted reasoning; of two that
    differ, the final one. An item that the terminal response lacks keeps its place among the done ones.
    """
    matches = _match_items(final, done)
    chosen = [
        item if at not in matches or _is_same_item(item, final[matches[at]]) else final[matches[at]]
        for at, item in enumerate(done)
    ]
    by_place = {n: chosen[at] for at, n in matches.items()}
    if len(matches) < len(done):
        return [*chosen, *(item for n, item in enumerate(final) if n not in by_place)]
    return [by_place.get(n, item) for n, item in enumerate(final)]


def _match_items(final: Sequence[JsonObject], done: Sequence[JsonObject]) -> dict[int, int]:
    """Match indexes of ``done`` to indexes of ``final``: by id, by call id, last by type and order."""
    matches: dict[int, int] = {}
    taken: set[int] = set()
    for key in ("id", "call_id", "type"):
        places: dict[str, deque[int]] = {}
        for n, item in enumerate(final):
            if n not in taken and (value := parse_text(item.get(key))):
                places.setdefault(value, deque()).append(n)
        for at, item in enumerate(done):
            if at not in matches and (free := places.get(parse_text(item.get(key)))):
                matches[at] = free.popleft()
                taken.add(matches[at])
    return matches


_IGNORED_KEYS = {"id", "status", "encrypted_content"}


def _is_same_item(one: JsonObject, other: JsonObject) -> bool:
    return all(one.get(key) == other.get(key) for key in (one.keys() | other.keys()) - _IGNORED_KEYS)


def _unfinished_message(
    begun: JsonObject, texts: Mapping[tuple[str, int], Sequence[str]]
) -> JsonObject | None:
    """Build the message that an interrupted item has got so far; None for other items.

    A partial call must not run, and partial reasoning is of no use to the model.
    """
    parts: list[JsonObject] = []
    for kind, number in sorted(texts, key=lambda part: part[1]):
        text = "".join(texts[kind, number])
        if kind == "response.output_text.delta":
            parts.append({"type": "output_text", "text": text, "annotations": []})
        elif kind == "response.refusal.delta":
            parts.append({"type": "refusal", "refusal": text})
    item = {"type": "message", "role": "assistant", **begun}
    if item["type"] != "message" or not parts:
        return None
    return {**item, "status": "incomplete", "content": parts}


KeyedT = TypeVar("KeyedT", bound=ev.KeyedEvent)


class ResponseAccumulator:
    """Adds up the events of one attempt.

    ``carried`` are the items that earlier attempts completed. ``turn_state`` is what the next request of the turn
    echoes; it and ``request_id`` come from the head of the response.
    """

    def __init__(self, carried: tuple[JsonObject, ...] = (), *, turn_state: str | None = None) -> None:
        self.carried = carried
        self.turn_state = turn_state
        self.request_id: str | None = None
        self.events_seen = 0
        self._terminal: ev.ResponseCompleted | ev.ResponseIncomplete | None = None
        self._envelope: dict[str, str] = {}
        self._texts: dict[str, dict[tuple[str, int], list[str]]] = {}
        self._done: list[tuple[int | None, JsonObject]] = []
        self._unfinished: dict[str, JsonObject] = {}  # as they began, by their keys
        self._key_at: dict[int, str] = {}
        self._current = ""
        self._own_keys = itertools.count(1)

    def next_attempt(self) -> ResponseAccumulator:
        """Return the accumulator of the next attempt, which carries what is complete by now."""
        return ResponseAccumulator(self.completed_items, turn_state=self.turn_state)

    def apply(self, event: ev.ReceivedEvent) -> ev.ReceivedEvent:
        """Take one event; return it with its ``item_id`` resolved to the item's one key."""
        self.events_seen += 1
        match event:
            case ev.OutputItemAdded(item=item):
                key = self._current = self._new_key(parse_text(item.get("id")), event.output_index, item)
                return event.model_copy(update={"item_id": key})
            case ev.OutputItemDone():
                return self._end_item(event)
            case ev.Delta():
                event = self._keyed(event)
                self._texts[event.item_id].setdefault(event.part, []).append(event.delta)
            case ev.OutputTextDone():
                event = self._keyed(event)
                self._texts[event.item_id]["response.output_text.delta", event.content_index] = [event.text]
            case ev.KeyedEvent():
                return self._keyed(event)
            case ev.ResponseCreated():
                self._note_envelope(event.response)
            case ev.ResponseCompleted() | ev.ResponseIncomplete():
                self._note_envelope(event.response)
                self._terminal = event
            case _:
                pass
        return event

    @property
    def completed_items(self) -> tuple[JsonObject, ...]:
        """All items that are complete: those carried, then this attempt's in output order."""
        return (*self.carried, *_in_order(self._done))

    @property
    def owes_outputs(self) -> bool:
        """Whether a call is complete that the client must answer before anything can follow."""
        calls = (item for _, item in self._done if item.get("type") in {"function_call", "custom_tool_call"})
        return any(isinstance(item.get("call_id"), str) for item in calls)

    def finished(self) -> ev.ResponseFinished:
        """Return the answer: after a terminal event, or after a cut that left calls to be answered."""
        response = {} if self._terminal is None else self._terminal.response
        is_short = isinstance(self._terminal, ev.ResponseIncomplete) or response.get("status") == "incomplete"
        items = (*self.carried, *self._final_items(response))
        end_turn = response.get("end_turn")
        return ev.ResponseFinished(
            response_id=self._envelope.get("id", ""),
            status="incomplete" if is_short else "completed",
            incomplete_reason=parse_text(parse_object(response.get("incomplete_details")).get("reason"))
            or None,
            items=items,
            text="".join(map(_message_text, items)),
            usage=ev.Usage.parse(response.get("usage")),
            model=self._envelope.get("model", ""),
            request_id=self.request_id,
            end_turn=end_turn if isinstance(end_turn, bool) else None,
            turn_state=self.turn_state,
        )

    def _final_items(self, response: JsonObject) -> list[JsonObject]:
        final = [item for item in parse_objects(response.get("output")) if ev.is_item(item)]
        done = _in_order(self._done)
        if final or self._terminal is None:
            return _merge_items(final, done)
        left = [_unfinished_message(begun, self._texts[key]) for key, begun in self._unfinished.items()]
        return [*done, *(item for item in left if item is not None)]

    def _keyed(self, event: KeyedT) -> KeyedT:
        """Resolve the event's item by its id, by its place, or as the item that is being written."""
        key = event.item_id
        if key not in self._texts:
            index = event.output_index
            if index is not None and index in self._key_at:
                key = self._key_at[index]
            elif not key and self._current:
                key = self._current
            else:
                key = self._new_key(key, index)
        self._current = key
        return event if key == event.item_id else event.model_copy(update={"item_id": key})

    def _new_key(self, item_id: str, index: int | None, begun: JsonObject | None = None) -> str:
        key = item_id
        while not key or key in self._texts:
            key = f"item_{next(self._own_keys)}"
        self._texts[key] = {}
        self._unfinished[key] = begun or {}
        if index is not None:
            self._key_at[index] = key
        return key

    def _end_item(self, event: ev.OutputItemDone) -> ev.OutputItemDone:
        item_id, index = parse_text(event.item.get("id")), event.output_index
        unfinished = self._unfinished
        if item_id in unfinished:
            key = item_id
        elif index is not None and self._key_at.get(index) in unfinished:
            key = self._key_at[index]
        elif index is None and len(unfinished) == 1:
            (key,) = unfinished
        else:
            key = self._new_key(item_id, index)
        del unfinished[key]
        self._done.append((index, event.item))
        self._current = ""
        return event.model_copy(update={"item_id": key})

    def _note_envelope(self, response: JsonObject) -> None:
        for name in ("id", "model"):
            if text := parse_text(response.get(name)):
                self._envelope[name] = text


def _in_order(done: Sequence[tuple[int | None, JsonObject]]) -> list[JsonObject]:
    """Sort by output index where all have one, else keep the order of arrival."""
    if all(index is not None for index, _ in done):
        done = sorted(done, key=lambda entry: entry[0] or 0)
    return [item for _, item in done]


@cache
def _zstd_compressor() -> Callable[[bytes], bytes] | None:
    """Return the compressing function, None without the optional package ``zstandard``."""
    try:
        compress: Callable[[bytes], bytes] = import_module("zstandard").ZstdCompressor().compress
    except ImportError:
        return None
    return compress


FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 5.0
LONGEST_WAIT_S = 60.0  # a server that asks for more is not waited for
JITTER = 0.1


@dataclass(frozen=True)
class RetryPolicy:
    """How often one call of the client may fail.

    ``max_requests`` bounds its requests, those that renew a login included. A failure before any event counts against
    ``request_retries``, one after it against ``stream_retries``.
    """

    max_requests: int = 6
    request_retries: int = 5
    stream_retries: int = 5

    @classmethod
    def for_backend(cls, backend: Backend) -> RetryPolicy:
        """Take the backend's own bounds where the configuration has them."""
        before, after = backend.request_max_retries, backend.stream_max_retries
        before = cls.request_retries if before is None else before
        after = cls.stream_retries if after is None else after
        return cls(1 + max(before, after), before, after)


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
        if wanted is None:
            return backoff(
                self.failures,
                first_s=FIRST_DELAY_S,
                longest_s=LONGEST_DELAY_S,
                jitter=JITTER,
                chance=chance,
            )
        return wanted if wanted <= LONGEST_WAIT_S or is_waited_out else None


def can_be_repeated(error: CodexError) -> bool:
    """Return whether the same request may succeed a moment later; a model at capacity needs more than a moment."""
    is_passing = isinstance(error, BackendOverloaded | RateLimited | StreamInterrupted) and error.retryable
    return is_passing and not _is_at_capacity(error)


def holds_everyone(error: CodexError) -> bool:
    """Return whether no other request would fare better now."""
    return isinstance(error, RateLimited) or _is_at_capacity(error)


def _is_at_capacity(error: CodexError) -> bool:
    at_capacity = ("server_is_overloaded", None)
    return isinstance(error, BackendOverloaded) and (error.code, error.status) == at_capacity


def wanted_wait(error: CodexError) -> float | None:
    """Return the wait that the server asked for, in seconds."""
    return error.retry_after if isinstance(error, RateLimited | BackendOverloaded) else None


WRITE_TIMEOUT_S = 60.0


class ResponsesClient:
    """Streams responses from one backend.

    ``route`` is asked before every request to the ChatGPT backend; ``catalog`` names the nearest models when one is
    refused; ``retry`` replaces the backend's own bounds, ``budget`` how much of an answer is read. With ``sockets``,
    requests travel over websockets where these work. ``sleep`` and ``chance`` (uniform in 0..1) are replaced in tests.
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
        sockets: WebSocketTransport | None = None,
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
        self._sockets = sockets
        self._sleep = sleep
        self._chance = chance

    async def stream(self, request: ResponsesRequest) -> AsyncGenerator[ev.ResponseEvent, None]:
        """Yield the events of one response; the last one is ResponseFinished.

        A failure that may pass is announced by RetryScheduled and the request is sent again, with the items that were
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
                        if throttle is not None and slot is not None:
                            throttle.begin_reply(slot, reader.headers, accepted=reader.is_success)
                        if reader.limits is not None:
                            yield ev.LimitsSeen(reader.limits)
                        while events := await reader.read():
                            for event in events:
                                if (shown := self._apply(event, accumulator)) is not None:
                                    yield shown
                        finished = accumulator.finished()
                        reader.finished(finished, len(accumulator.carried))
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
            yield ev.RetryScheduled(number, most, limit or wait, str(failure))
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
        sent = replace(request, received=accumulator.carried, turn_state=accumulator.turn_state)
        response = await self._open(sent)
        attempts.requests += len(response.history)  # a login that was refreshed on the way costs requests
        accumulator.request_id = request_id_of(response.headers)
        accumulator.turn_state = response.headers.get(TURN_STATE_HEADER) or accumulator.turn_state
        return ResponseReader(response, self.backend, budget)

    def _apply(self, event: ev.ReceivedEvent, accumulator: ResponseAccumulator) -> ev.ResponseEvent | None:
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
        url, headers = await self._address(request)
        try:
            if self._sockets is not None:
                response = await self._sockets.open(request, self._handshake(url, headers))
                if response is not None:
                    return response
            message = self._message(request, url, headers)
            async with asyncio.timeout(self.backend.idle_timeout_s):
                return await self._http.send(message, auth=self._auth, stream=True, follow_redirects=False)
        except REQUEST_ERRORS as error:
            failure = transport_error(error, url=url)
        raise failure

    async def _address(self, request: ResponsesRequest) -> tuple[str, dict[str, str]]:
        """Return where the request goes for this account, and its headers, unsigned."""
        url = self.backend.responses_url
        headers = request_headers(request, self.backend)
        if self._route is not None:
            route = await self._route()
            url = route.url(url)
            if route.override is not None:
                headers["x-openai-account-routing-override"] = route.override
        return url, headers

    def _handshake(self, url: str, headers: dict[str, str]) -> httpx.Request:
        return self._http.build_request("GET", url, params=dict(self.backend.query) or None, headers=headers)

    async def warm_up(self, request: ResponsesRequest) -> None:
        """Open the connection for a request that is still being put together, where one is kept; CodexError."""
        if self._sockets is not None:
            url, headers = await self._address(request)
            await self._sockets.warm_up(request, self._handshake(url, headers))

    async def close(self) -> None:
        """Close what was kept open for further requests."""
        if self._sockets is not None:
            await self._sockets.close()

    def _message(self, request: ResponsesRequest, url: str, headers: dict[str, str]) -> httpx.Request:
        body = request_body(request, self.backend)
        compress = _zstd_compressor() if self.backend.can_compress else None
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
    return parse_usage(parse_object(await get_json(http, backend.usage_url, backend=backend, auth=auth)))
