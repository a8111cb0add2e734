"""What is sent, and how fast: the backend, one request as its exact JSON body and headers, and the pace of a batch.

A batch has one budget of requests and tokens for all its questions. The service tells what is left of its limits with
each reply (``x-ratelimit-remaining-requests``, ``-tokens`` and their ``-reset-``, of the API). Where it tells nothing,
the pace is learned from its refusals: it begins gently, a refusal shows what the service sustains, and the pace rises
again, slowly near the last refusal and faster beyond.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import random
import re
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NewType

from codex_nb.config.settings import API_BASE_URL, account_url
from codex_nb.errors import ConfigError
from codex_nb.http import backoff
from codex_nb.parse import parse_number

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from codex_nb.config.settings import Settings


# The release of the Codex CLI whose wire contract is spoken; the ChatGPT backend offers models by it.
CONTRACT_VERSION = "0.171.0"


@dataclass(frozen=True)
class Backend:
    """One API's address and ways; URLs carry no trailing slash.

    ``is_chatgpt``: the ChatGPT backend itself, with routing and usage limits. ``is_codex``: that or something that
    stands for it: understands ``client_metadata``, the lite form of requests, and lists models by the CLI's release.
    ``can_compress``: takes zstd bodies. ``lists_models``: has a model list worth asking for. Retries are None where the
    configuration says nothing of them.
    """

    base_url: str
    provider_id: str = "openai"
    name: str = "OpenAI"
    is_chatgpt: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    can_compress: bool = False
    lists_models: bool = False
    is_codex: bool = False
    is_built_in: bool = True
    idle_timeout_s: float = 300.0
    request_max_retries: int | None = None
    stream_max_retries: int | None = None
    account_base_url: str | None = None
    key_hint: str | None = None

    @property
    def responses_url(self) -> str:
        """Where a response is asked for."""
        return f"{self.base_url}/responses"

    @property
    def models_url(self) -> str:
        """Where the models are listed."""
        return f"{self.base_url}/models"

    @property
    def usage_url(self) -> str | None:
        """Where the plan's usage is told, None where there is no plan."""
        if self.account_base_url is None:
            return None
        return account_url(self.account_base_url, "usage")


def choose_backend(settings: Settings, *, is_chatgpt_auth: bool) -> Backend:
    """Find the API for these settings and this kind of login."""
    provider = settings.provider
    if provider.is_built_in and is_chatgpt_auth:
        return Backend(
            base_url=provider.base_url or f"{settings.chatgpt_base_url}/codex",
            headers=provider.http_headers,
            is_chatgpt=True,
            can_compress=True,
            lists_models=True,
            is_codex=True,
            idle_timeout_s=provider.stream_idle_timeout_s,
            account_base_url=settings.chatgpt_base_url,
        )
    if provider.is_built_in:
        return Backend(
            base_url=provider.base_url or API_BASE_URL,
            headers=provider.http_headers,
            idle_timeout_s=provider.stream_idle_timeout_s,
        )
    if provider.base_url is None:
        key = f"model_providers.{provider.id}.base_url"
        raise ConfigError(
            f"{key} is missing: expected the base URL of the API.", key=key, hint="Add it to config.toml."
        )
    speaks_codex = provider.requires_openai_auth and is_chatgpt_auth
    return Backend(
        base_url=provider.base_url,
        provider_id=provider.id,
        name=provider.name,
        headers=provider.http_headers,
        query=provider.query_params,
        lists_models=True,
        is_codex=speaks_codex,
        is_built_in=False,
        idle_timeout_s=provider.stream_idle_timeout_s,
        request_max_retries=provider.request_max_retries,
        stream_max_retries=provider.stream_max_retries,
        account_base_url=settings.chatgpt_base_url if speaks_codex else None,
        key_hint=_key_hint(provider.env_key, provider.env_key_instructions),
    )


def _key_hint(variable: str | None, instructions: str | None) -> str | None:
    if variable is None:
        return None
    return instructions or f"Check the API key in the environment variable {variable}."


# An item of the model's input that may leave this machine: it is redacted and bounded, and text from elsewhere in it
# is marked as untrusted. Only session/outbound makes one (tests/architecture).
Outbound = NewType("Outbound", dict[str, Any])

TURN_STATE_HEADER = "x-codex-turn-state"
LITE_HEADER = "x-openai-internal-codex-responses-lite"
ENCRYPTED_REASONING = "reasoning.encrypted_content"


@dataclass(frozen=True)
class ResponsesRequest:
    """One request of a turn.

    ``input`` is the whole history, a developer message first (there is no ``instructions`` field); items are sent as
    they are, in their own key order. ``received`` are items that an interrupted response to this request has completed;
    they follow the input. ``tools`` are tool specifications. ``text_format`` is a ``json_schema`` format.
    ``turn_state`` is the last reply's, within one turn only. ``is_lite`` is the model's wish for the lite form,
    ``is_reasoning`` whether it may be told how to reason. ``throttle`` is shared by the requests of a batch; it is not
    sent.
    """

    model: str
    input: tuple[Outbound, ...]
    tools: tuple[dict[str, Any], ...] = ()
    parallel_tool_calls: bool = True
    effort: str | None = None
    summary: str | None = None
    verbosity: str | None = None
    service_tier: str | None = None
    text_format: dict[str, Any] | None = None
    prompt_cache_key: str | None = None
    thread_id: str | None = None
    turn_id: str | None = None
    turn_state: str | None = None
    is_lite: bool = False
    is_reasoning: bool = True
    received: tuple[dict[str, Any], ...] = ()
    throttle: Throttle | None = field(default=None, repr=False, compare=False)


def request_body(request: ResponsesRequest, backend: Backend, *, stream: bool = True) -> bytes:
    """Write the JSON body; ``stream`` asks for an event stream, which a batch job cannot have.

    Text that is not valid Unicode (half surrogate pairs) becomes question marks.
    """
    return dump_json(request_fields(request, backend, stream=stream))


def request_fields(request: ResponsesRequest, backend: Backend, *, stream: bool = True) -> dict[str, Any]:
    """Return the fields of the body."""
    lite, tools = request.is_lite, list(request.tools)
    body: dict[str, Any] = {
        "model": request.model,
        "stream": stream,
        "input": [*request.input, *request.received],
    }
    if tools and lite:
        body["input"].insert(0, _additional_tools(tools))
    elif tools:
        body["tools"] = tools
    if tools:
        body["tool_choice"] = "auto"
        body["parallel_tool_calls"] = request.parallel_tool_calls and not lite
    context = "all_turns" if lite else None
    reasoning = _given(effort=request.effort, summary=request.summary, context=context)
    is_reasoning = bool(reasoning) or request.is_reasoning
    if is_reasoning:
        body["reasoning"] = reasoning
    body["store"] = False
    if is_reasoning:
        body["include"] = [ENCRYPTED_REASONING]
    body |= _given(service_tier=request.service_tier, prompt_cache_key=request.prompt_cache_key)
    if text := _given(verbosity=request.verbosity, format=request.text_format):
        body["text"] = text
    thread_id = request.thread_id
    metadata = _given(thread_id=thread_id, session_id=thread_id, turn_id=request.turn_id)
    if metadata and backend.is_codex:
        body["client_metadata"] = metadata
    return body


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def request_headers(request: ResponsesRequest, backend: Backend) -> dict[str, str]:
    """Return the headers of a request, without authorization."""
    headers = {
        "accept": "text/event-stream",
        "accept-encoding": "identity",
        "content-type": "application/json",
    }
    if request.thread_id is not None:
        headers.update(dict.fromkeys(("x-client-request-id", "session-id", "thread-id"), request.thread_id))
    if request.turn_state is not None:
        headers[TURN_STATE_HEADER] = request.turn_state
    if backend.is_chatgpt:
        headers["x-codex-routing-hint"] = f"model={request.model}"
    if request.is_lite:
        headers[LITE_HEADER] = "true"
    return headers | dict(backend.headers)


def dump_json(value: Any) -> bytes:
    """Write compact JSON in the order of the keys, as UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _additional_tools(tools: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the tools as an input item, as lite models take them; its id follows from the tools and so is stable."""
    digest = hashlib.sha256(dump_json(tools)).hexdigest()[:32]
    namespace = {"type": "namespace", "name": "functions", "description": "", "tools": tools}
    return {"type": "additional_tools", "id": f"at_{digest}", "role": "developer", "tools": [namespace]}


FIRST_WAIT_S = 1.0
LONGEST_BACKOFF_S = 60.0
LONGEST_WINDOW_S = 60.0  # limits are told by the second or the minute: a longer wait says nothing of the pace
FIRST_RATE = 5.0  # requests a second, as long as nothing is known
FIRST_GROWTH = 4 / 3  # with each reply; so a batch of any size loses less than a second
MOST_GROWTHS = 40
# After a refusal the pace follows the curve that CUBIC TCP (RFC 9438) follows, by replies instead of seconds: it falls
# by DECREASE, and is what it was after as many replies as there were before the refusal, within these bounds.
DECREASE = 0.15
FASTEST_RECOVERY, SLOWEST_RECOVERY = 20, 60
SMOOTHING = 0.1


class Throttle:
    """Lets the requests of a batch out, at most ``limit`` of them waiting for their reply to begin at once.

    A refusal is waited out once, by all; the first request after it goes alone, and each reply that is no refusal
    allows one more at once. A wait whose length the server did not tell grows until a request gets through.
    ``accepted`` counts the requests that were not refused.
    """

    def __init__(
        self,
        limit: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.accepted = 0
        self._limit = limit
        self._allowed = limit
        self._sending = 0
        self._limited_at = self._resume_at = -math.inf
        self._sent_at = -math.inf
        self._limits_in_a_row = 0
        self._begun_at = math.inf  # the first request, or the end of the last wait
        self._accepted = 0  # since then
        self._recovery = FASTEST_RECOVERY
        self._sustained: float | None = None  # requests a second
        self._requests, self._tokens = Quota("requests", cost=1.0), Quota("tokens")
        self._quotas = (self._requests, self._tokens)
        self._queue = asyncio.Lock()
        self._changed = asyncio.Event()
        self._clock = clock
        self._sleep = sleep
        self._chance = chance

    @property
    def waiting_s(self) -> float:
        """How long the service still takes no request."""
        now = self._clock()
        exhausted = max(quota.exhausted_until(now) for quota in self._quotas)
        return max(0.0, self._resume_at - now, exhausted - now)

    @asynccontextmanager
    async def sending(self) -> AsyncGenerator[Slot, None]:
        """Wait until a request may be sent, the first that came before the others, and send it in this block."""
        async with self._queue:
            while (left := self._next_in()) > 0 or self._sending >= self._allowed:
                await (self._sleep(left) if left > 0 else self._changed.wait())
            self._sending += 1
            now = self._sent_at = self._clock()
            self._begun_at = min(self._begun_at, now)
            for quota in self._quotas:
                quota.spend(now)
        slot = Slot(self._sent_at)
        try:
            yield slot
        finally:
            self._release(slot, accepted=False)

    def _next_in(self) -> float:
        now = self._clock()
        next_at = max(quota.next_at(self._sent_at, now) for quota in self._quotas)
        return max(self.waiting_s, next_at - now, self._sent_at + 1.0 / self._learned_rate() - now)

    def _learned_rate(self) -> float:
        if self._sustained is not None:
            distance = self._accepted / self._recovery - 1.0
            return self._sustained * (1.0 + DECREASE * distance**3)
        if self._requests.is_known:
            return math.inf
        return FIRST_RATE * FIRST_GROWTH ** min(self._accepted, MOST_GROWTHS)

    def begin_reply(self, slot: Slot, headers: Mapping[str, str], *, accepted: bool) -> None:
        """Take in the head of a reply; the place of a request that is ``accepted`` goes to another one."""
        now = self._clock()
        on_their_way = max(0, self._sending - 1)  # which this reply does not count yet
        for quota in self._quotas:
            quota.update(headers, on_their_way, now)
        if accepted:
            self._release(slot, accepted=True)

    def note_tokens(self, tokens: int) -> None:
        """Take in what a question has used."""
        known = self._tokens.cost
        self._tokens.cost = known + SMOOTHING * (tokens - known) if known else float(tokens)

    def _release(self, slot: Slot, *, accepted: bool) -> None:
        """Note that a request waits for its reply no more, and whether that is because the server answers it."""
        if not slot.is_waiting:
            return
        slot.is_waiting, slot.was_accepted = False, accepted
        self._sending -= 1
        if accepted and slot.sent_at > self._limited_at:
            self._limits_in_a_row = 0
            self._accepted += 1
            self.accepted += 1
            self._allowed = min(self._limit, self._allowed + 1)
        self._changed.set()
        self._changed = asyncio.Event()

    def limited(self, slot: Slot, retry_after: float | None) -> float:
        """Note that a request was refused for ``retry_after`` seconds, None: not told; return the wait."""
        now = self._clock()
        told = retry_after if retry_after is not None and retry_after > 0 else None
        is_new = slot.sent_at > self._limited_at  # else it was on its way when the limit became known
        self._limits_in_a_row += is_new
        if is_new and slot.was_accepted:  # the refusal came after the reply had begun
            self._accepted -= 1
            self.accepted -= 1
        wait = told or backoff(
            self._limits_in_a_row,
            first_s=FIRST_WAIT_S,
            longest_s=LONGEST_BACKOFF_S,
            jitter=0.5,
            chance=self._chance(),
        )
        if is_new:
            self._slow_down(now, min(wait, LONGEST_WINDOW_S), is_told=told is not None)
            self._limited_at = now
            self._accepted = 0
            self._allowed = 1
        if is_new or told:
            self._resume_at = self._begun_at = max(self._resume_at, now + wait)
        return self.waiting_s

    def _slow_down(self, now: float, wait: float, *, is_told: bool) -> None:
        """Set the pace to the requests a second that the service has shown to sustain, up to the end of the wait."""
        if self._accepted:
            self._sustained = self._accepted / (max(0.0, now - self._begun_at) + wait)
        elif self._sustained is not None and not is_told:
            self._sustained /= 2.0
        self._recovery = min(SLOWEST_RECOVERY, max(FASTEST_RECOVERY, self._accepted))


@dataclass
class Slot:
    """The place of one request that waits for its reply to begin."""

    sent_at: float
    is_waiting: bool = True
    was_accepted: bool = False


@dataclass
class Quota:
    """What is left of one limit of the service until it is full again; unknown until a reply tells it.

    ``cost`` is what a request takes of it, 0 while that is unknown.
    """

    kind: str
    cost: float = 0.0
    limit: float | None = None
    left: float = math.inf
    resets_at: float = -math.inf
    period_s: float = 0.0

    @property
    def is_known(self) -> bool:
        """Whether a reply has told anything."""
        return self.left < math.inf

    def update(self, headers: Mapping[str, str], on_their_way: int, now: float) -> None:
        """Read a reply's headers; those that are missing or make no sense change nothing."""
        left = parse_number(headers.get(f"x-ratelimit-remaining-{self.kind}"))
        reset_s = _parse_duration(headers.get(f"x-ratelimit-reset-{self.kind}", ""))
        if left is None or reset_s is None:
            return
        limit = parse_number(headers.get(f"x-ratelimit-limit-{self.kind}"))
        self.limit = limit if limit is not None and limit > 0 else self.limit
        self.left = left - on_their_way * self.cost
        self.resets_at = now + reset_s
        self.period_s = max(self.period_s, reset_s)

    def exhausted_until(self, now: float) -> float:
        """Return when there is something left again; a moment that has passed when there is."""
        return self.resets_at if self.left < 1.0 and self.resets_at > now else -math.inf

    def next_at(self, sent_at: float, now: float) -> float:
        """Return when the next request may follow that of ``sent_at``, so that what is left lasts until the reset."""
        if not (self.is_known and self.cost) or self.resets_at <= now:
            return -math.inf
        return sent_at + (self.resets_at - sent_at) * self.cost / max(self.left, self.cost)

    def spend(self, now: float) -> None:
        """Take the cost of a request; what the next reply tells replaces this account of it."""
        if self.is_known and self.resets_at <= now:
            self.left = max(self.limit or 1.0, 1.0)
            self.resets_at = now + self.period_s
        self.left -= self.cost


_AMOUNT = re.compile(
    r"(?i)(\d++(?:\.\d++)?)\s*+(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)(?![a-z])"
    r"[\s,]*+(?:and\s+)?"
)
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def add_amounts(text: str, place: int = 0) -> tuple[float | None, int]:
    """Read "1.5s", "350ms", "7m12s" or "1 hour and 5 minutes" at a place; return the seconds and where they end."""
    seconds = None
    while (amount := _AMOUNT.match(text, place)) is not None:
        unit = amount[2].lower()
        is_milli = unit.startswith(("ms", "milli"))
        value = float(amount[1]) / 1000 if is_milli else float(amount[1]) * _UNITS_S[unit[0]]
        place, seconds = amount.end(), (seconds or 0.0) + value
    return seconds, place


def _parse_duration(value: str) -> float | None:
    """Read a duration as the API writes it, ``6m0s`` or ``20ms``, or plain seconds; None for anything else."""
    seconds, end = add_amounts(value.strip())
    if seconds is not None and end == len(value.strip()):
        return seconds
    seconds = parse_number(value)
    return seconds if seconds is not None and 0 <= seconds < _UNITS_S["d"] else None
