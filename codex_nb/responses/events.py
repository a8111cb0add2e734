"""The events of a streamed response, the server's and the client's own, and the rate limits that come with them.

The server's are read tolerantly: an event that is not known, or that is known but malformed, passes through as
:class:`UnknownEvent`, and fields that are not named here are kept (but for deltas). ``item_id`` is one key per visible
item for as long as an attempt lasts, whatever ids the server gives in the item itself: some change them on the way.
Rate limits have one shape, from response headers, from events and from the usage endpoint.
"""

from __future__ import annotations

import operator
import re
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from codex_nb.parse import (
    loads,
    needs_care,
    parse_boolean,
    parse_integer,
    parse_number,
    parse_object,
    parse_objects,
    parse_text,
    parse_time,
)
from codex_nb.rendering.sanitize import sanitize_server_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


MINUTES_OF_AN_HOUR = 60
MINUTES_OF_A_DAY = 24 * MINUTES_OF_AN_HOUR
NEARLY = 0.05
_FAMILY = re.compile(r"(x-.+)-(?:primary|secondary)-used-percent")


@dataclass(frozen=True)
class Window:
    """One window of a limit; ``resets_at`` is aware UTC. ``limit`` names the limit that the window belongs to."""

    used_percent: float | None = None
    window_minutes: int | None = None
    resets_at: datetime | None = None
    limit: str = "codex"

    @property
    def label(self) -> str:
        """The window's name by its length, "5 h", "week" or "90 min", with the tolerance that its rounding needs.

        It is "limit" when the length is unknown.
        """
        minutes = self.window_minutes
        if minutes is None or minutes <= 0:
            return "limit"
        for days, name in ((7, "week"), (30, "month"), (1, "day")):
            length = days * MINUTES_OF_A_DAY
            if abs(minutes - length) <= length * NEARLY:
                return name
        if minutes >= 2 * MINUTES_OF_A_DAY:
            return f"{round(minutes / MINUTES_OF_A_DAY)} days"
        if minutes < MINUTES_OF_AN_HOUR:
            return f"{minutes} min"
        hours = minutes / MINUTES_OF_AN_HOUR
        return f"{round(hours)} h" if abs(hours - round(hours)) < NEARLY else f"{hours:.1f} h"


@dataclass(frozen=True)
class Credits:
    """What can be used beyond the windows; ``balance`` is the backend's own text."""

    has_credits: bool | None = None
    unlimited: bool | None = None
    balance: str | None = None


@dataclass(frozen=True)
class RateLimits:
    """All that one reply says about limits; ``reached`` is the kind of limit that was hit."""

    windows: tuple[Window, ...] = ()
    plan: str | None = None
    credits: Credits | None = None
    reached: str | None = None
    promo: str | None = None


def parse_headers(headers: Mapping[str, str]) -> RateLimits | None:
    """Read the ``x-codex-*`` headers of a reply; None when it has none of them."""
    lowered = {name.lower(): value for name, value in headers.items()}
    families = {match[1] for name in lowered if (match := _FAMILY.fullmatch(name))}
    windows: list[Window] = []
    for family in sorted(families, key=lambda name: (name != "x-codex", name)):
        default = family.removeprefix("x-").replace("-", "_")
        table = {part: _fields_of(lowered, f"{family}-{part}-") for part in ("primary", "secondary")}
        windows += _windows(table, lowered.get(f"{family}-limit-name") or default)
    found = RateLimits(
        windows=tuple(windows),
        credits=_credits(_fields_of(lowered, "x-codex-credits-")),
        reached=lowered.get("x-codex-rate-limit-reached-type"),
        promo=lowered.get("x-codex-promo-message"),
    )
    return None if found == RateLimits() else found


def _fields_of(headers: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Return the headers that begin so, named as the fields of an event."""
    return {
        name.removeprefix(prefix).replace("-", "_"): value
        for name, value in headers.items()
        if name.startswith(prefix)
    }


def parse_limits_event(event: Mapping[str, Any]) -> RateLimits | None:
    """Read a ``codex.rate_limits`` event; None for one that says nothing."""
    found = _rate_limits(event, _windows(event.get("rate_limits"), "codex"))
    return None if found == RateLimits() else found


def parse_usage(body: Mapping[str, Any]) -> RateLimits:
    """Read the usage endpoint's reply; a window that lacks a number is kept with what it has."""
    windows = _windows(body.get("rate_limit"), "codex")
    for entry in parse_objects(body.get("additional_rate_limits")):
        name = entry.get("limit_name") or entry.get("metered_feature") or "other"
        windows += _windows(entry.get("rate_limit"), str(name))
    return _rate_limits(body, windows)


def _rate_limits(body: Mapping[str, Any], windows: list[Window]) -> RateLimits:
    return RateLimits(
        windows=tuple(windows),
        plan=parse_text(body.get("plan_type")) or None,
        credits=_credits(body.get("credits")),
    )


def _windows(table: Any, limit: str) -> list[Window]:
    """Read a limit's windows, as an event or the usage endpoint names them; one that says nothing is left out."""
    names = ("primary", "secondary", "primary_window", "secondary_window")
    windows = [_window(parse_object(parse_object(table).get(name)), limit) for name in names]
    return [each for each in windows if each.used_percent or each.window_minutes or each.resets_at]


def _window(table: Mapping[str, Any], limit: str) -> Window:
    seconds = parse_integer(table.get("limit_window_seconds"))
    minutes = parse_integer(table.get("window_minutes")) if seconds is None else seconds // 60
    return Window(parse_number(table.get("used_percent")), minutes, parse_time(table.get("reset_at")), limit)


def _credits(value: Any) -> Credits | None:
    table = parse_object(value)
    balance = table.get("balance")
    found = Credits(
        has_credits=parse_boolean(table.get("has_credits")),
        unlimited=parse_boolean(table.get("unlimited")),
        balance=None if balance is None else str(balance) or None,
    )
    return None if found == Credits() else found


# A terminal event ends the response whatever its table looks like: a failure must not pass for an odd success.
_Table = Annotated[dict[str, Any], BeforeValidator(parse_object)]
_MOST_TOKENS = 10**12


def is_item(table: dict[str, Any]) -> bool:
    """Whether an object is an output item: its type, if it has one, is text."""
    return isinstance(table.get("type", ""), str)


def _checked(item: dict[str, Any]) -> dict[str, Any]:
    if not is_item(item):
        raise ValueError("the type of the item is not text")
    return item


_Item = Annotated[dict[str, Any], AfterValidator(_checked)]


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)

    type: str

    @property
    def raw(self) -> dict[str, Any]:
        """The event as the server sent it, fields that are not named here included."""
        return {name: getattr(self, name) for name in self.model_fields_set} | (self.model_extra or {})


class ResponseCreated(_Event):
    """The response exists; its envelope, without output."""

    type: Literal["response.created"]
    response: dict[str, Any] = {}


class KeyedEvent(_Event):
    """An event of one output item; ``item_id`` is the item's key, ``output_index`` its place when known."""

    item_id: str = ""
    output_index: int | None = None


class OutputItemAdded(KeyedEvent):
    """An output item begins."""

    type: Literal["response.output_item.added"]
    item: _Item


class OutputItemDone(KeyedEvent):
    """An output item is complete, exactly as the server sent it; it wins over its deltas."""

    type: Literal["response.output_item.done"]
    item: _Item


class Delta(KeyedEvent):
    """More of one part of an item; padding and counters, which come with every one of many, are left out."""

    model_config = ConfigDict(extra="ignore")

    delta: str
    content_index: int = 0
    summary_index: int = 0

    @property
    def part(self) -> tuple[str, int]:
        """Which part of the item grows: its kind and its number, under the name that its kind has for it."""
        return self.type, self.content_index or self.summary_index


class OutputTextDelta(Delta):
    """More of a message's text."""

    type: Literal["response.output_text.delta"]


class RefusalDelta(Delta):
    """More of a refusal."""

    type: Literal["response.refusal.delta"]


class ReasoningTextDelta(Delta):
    """More of the raw reasoning that open models show."""

    type: Literal["response.reasoning_text.delta"]


class ReasoningSummaryTextDelta(Delta):
    """More of part ``summary_index`` of a reasoning summary."""

    type: Literal["response.reasoning_summary_text.delta"]


class FunctionCallArgumentsDelta(Delta):
    """More of the JSON text of a function call's arguments."""

    type: Literal["response.function_call_arguments.delta"]


class CustomToolCallInputDelta(Delta):
    """More of the free text that a custom tool is called with."""

    type: Literal["response.custom_tool_call_input.delta"]


class ReasoningSummaryPartAdded(KeyedEvent):
    """A new part of a reasoning summary begins."""

    type: Literal["response.reasoning_summary_part.added"]
    summary_index: int = 0


class OutputTextDone(KeyedEvent):
    """The final text of one content part; it wins over the deltas, and the item wins over it."""

    type: Literal["response.output_text.done"]
    text: str
    content_index: int = 0


class ResponseCompleted(_Event):
    """The response is complete. Realtime-like servers say ``response.done``."""

    type: Literal["response.completed", "response.done"]
    response: _Table = {}


class ResponseIncomplete(_Event):
    """The response ended early; ``response.incomplete_details.reason`` says why."""

    type: Literal["response.incomplete"]
    response: _Table = {}


class ResponseFailed(_Event):
    """The response failed; ``response.error`` says why."""

    type: Literal["response.failed", "response.cancelled"]
    response: _Table = {}


class ErrorEvent(_Event):
    """The stream failed: the error lies in ``error``, or in the event itself."""

    type: Literal["error"]


class LimitsEvent(_Event):
    """Rate limits, as the ChatGPT backend sends them on some transports."""

    type: Literal["codex.rate_limits"]


class UnknownEvent(_Event):
    """An event that needs no action here; ``raw`` is all of it."""


ServerEvent = (
    ResponseCreated
    | OutputItemAdded
    | OutputItemDone
    | OutputTextDelta
    | RefusalDelta
    | ReasoningSummaryPartAdded
    | ReasoningSummaryTextDelta
    | ReasoningTextDelta
    | FunctionCallArgumentsDelta
    | CustomToolCallInputDelta
    | OutputTextDone
    | ResponseCompleted
    | ResponseIncomplete
    | ResponseFailed
    | ErrorEvent
    | LimitsEvent
)
ReceivedEvent = ServerEvent | UnknownEvent

# Built when the first event arrives, not before the first request leaves.
_KNOWN: TypeAdapter[ServerEvent] = TypeAdapter(
    Annotated[ServerEvent, Field(discriminator="type")], config=ConfigDict(defer_build=True)
)

TERMINAL_TYPES = frozenset(
    name
    for kind in (ResponseCompleted, ResponseIncomplete, ResponseFailed, ErrorEvent)
    for name in get_args(kind.model_fields["type"].annotation)
)


def parse_event(raw: bytes) -> ReceivedEvent | None:
    """Parse one event's data; None for what is not an event: ``[DONE]``, text, JSON without a type or too deep."""
    try:
        event = _KNOWN.validator.validate_json(raw)
    except ValidationError:
        return _parse_leniently(raw)
    return event if isinstance(event, Delta) or not needs_care(raw) else _parse_leniently(raw)


def _parse_leniently(raw: bytes) -> ReceivedEvent | None:
    """Parse what the strict parser rejects: bytes that are not UTF-8, lone surrogates, unknown or odd events."""
    try:
        value = loads(raw.decode("utf-8", "replace"))
    except ValueError:
        return None
    with suppress(ValidationError):
        return _KNOWN.validate_python(value)
    with suppress(ValidationError):
        return UnknownEvent.model_validate(value)
    return None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the API counted them."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_output_tokens: int = 0
    total_tokens: int = 0

    @classmethod
    def parse(cls, value: Any) -> Usage:
        """Read the API's ``usage``; what is missing or no whole number counts as zero."""
        return cls(
            _count(value, "input_tokens"),
            _count(value, "input_tokens_details", "cached_tokens"),
            _count(value, "output_tokens"),
            _count(value, "output_tokens_details", "reasoning_tokens"),
            _count(value, "total_tokens"),
        )

    def __add__(self, other: Usage) -> Usage:
        return Usage(*map(operator.add, astuple(self), astuple(other)))


def _count(value: Any, *path: str) -> int:
    for key in path:
        value = parse_object(value).get(key)
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS
    return value if is_count else 0


@dataclass(frozen=True, slots=True)
class RetryScheduled:
    """A request failed and is sent again after ``delay`` seconds; ``reason`` is one readable sentence.

    Items that were shown in part and are not complete come again, under another id.
    """

    attempt: int
    max_attempts: int
    delay: float
    reason: str


@dataclass(frozen=True, slots=True)
class LimitsSeen:
    """The response says how much of the plan is used."""

    limits: RateLimits


@dataclass(frozen=True, slots=True)
class ResponseFinished:
    """The end of a stream, with the whole answer.

    ``items`` are the output items as the server sent them, those of interrupted attempts first; ``text`` is that of
    their messages. ``end_turn`` False asks for another request with these items in the history; ``turn_state`` goes
    into the next request of the same turn. ``usage`` is zero when the server reports none.
    """

    response_id: str
    status: Literal["completed", "incomplete"]
    incomplete_reason: str | None = None
    items: tuple[dict[str, Any], ...] = ()
    text: str = ""
    usage: Usage = Usage()
    model: str = ""
    request_id: str | None = None
    end_turn: bool | None = None
    turn_state: str | None = field(default=None, repr=False)


ResponseEvent = ReceivedEvent | RetryScheduled | LimitsSeen | ResponseFinished


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """Find the id that support asks for."""
    names = ("x-request-id", "x-oai-request-id", "cf-ray")
    return next((sanitize_server_text(headers[name]) for name in names if headers.get(name)), None)
