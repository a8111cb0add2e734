"""Scenarios: what the simulator answers instead of its default behaviour, as data, in Python or from JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pathlib import Path


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


_STEPS: dict[str, type[Any]] = {
    "think": Think,
    "say": Say,
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
    """The scenario in a JSON file; ValueError says what is wrong with it."""
    return scenario_from_json(json.loads(path.read_text(encoding="utf-8")))


def scenario_from_json(value: Mapping[str, Any]) -> Scenario:
    """The scenario that a JSON object describes; ValueError says what is wrong with it."""
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
        message = f"a step is an object with one of {', '.join(_STEPS)}, not {sorted(value)}"
        raise ValueError(message)
    parts = dict(parts)
    if kind == "raw":
        parts["data"] = _bytes(parts.get("data", ""))
    if kind == "think":
        parts["summary"] = tuple(parts.get("summary", ()))
    step: Step = _build(_STEPS[kind], parts)
    return step


def _bytes(value: str | Mapping[str, str]) -> bytes:
    return value.encode() if isinstance(value, str) else base64.b64decode(value["base64"])


def _build(kind: type[Any], parts: Mapping[str, Any]) -> Any:
    known = {each.name for each in fields(kind)}
    unknown = sorted(set(parts) - known)
    if unknown:
        message = f"{kind.__name__} has no {unknown[0]!r}; it has {', '.join(sorted(known))}"
        raise ValueError(message)
    return kind(**parts)


_ACCESS_TOKEN_WORDS = {
    "expired": ("token_expired", "Provided authentication token is expired. Please try signing in again."),
    "revoked": (
        "token_invalidated",
        "Your authentication token has been invalidated. Please try signing in again.",
    ),
    "unknown": ("token_invalid", "Could not parse your authentication token. Please try signing in again."),
}

_REFRESH_TOKEN_WORDS = {
    "refresh_token_reused": (
        "Your refresh token has already been used to generate a new access token. Please try signing in again."
    ),
    "refresh_token_expired": "Your refresh token has expired. Please try signing in again.",
    "refresh_token_invalidated": "Your refresh token has been revoked. Please try signing in again.",
}


def error_body(message: str, code: str | None, kind: str | None = "invalid_request_error") -> dict[str, Any]:
    """The common error object."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def unauthorized(why: str = "expired", *, times: int | None = 1, path: str = "/responses") -> Reply:
    """401 of the ChatGPT backend: ``why`` is "expired", "revoked", "unknown" or "missing"."""
    if why == "missing":
        return Reply(path, times=times, status=401, body={"detail": "Unauthorized"})
    code, message = _ACCESS_TOKEN_WORDS[why]
    body = {**error_body(message, code, None), "status": 401}
    headers = {"x-openai-authorization-error": code}
    return Reply(path, times=times, status=401, headers=headers, body=body)


def incorrect_api_key(key: str) -> Reply:
    """401 of the API; the key is shown by its ends only."""
    shown = f"{key[:3]}{'*' * 8}{key[-4:]}"
    message = f"Incorrect API key provided: {shown}."
    return Reply(status=401, body=error_body(message, "invalid_api_key"))


def refresh_refused(code: str, *, times: int | None = 1) -> Reply:
    """401 of the token endpoint with one of its three codes."""
    body = error_body(_REFRESH_TOKEN_WORDS[code], code)
    return Reply("/oauth/token", times=times, status=401, body=body)


def usage_limit_reached(plan: str = "plus", resets_at: int | None = None, *, times: int | None = 1) -> Reply:
    """429: the plan's allowance is used up."""
    error: dict[str, Any] = {
        "type": "usage_limit_reached",
        "message": "The usage limit has been reached",
        "plan_type": plan,
        "resets_at": resets_at,
    }
    return Reply(times=times, status=429, body={"error": error})


def usage_not_included(*, times: int | None = 1) -> Reply:
    """429: the plan has no Codex."""
    body = {"error": {"type": "usage_not_included", "message": "Codex is not included in your plan"}}
    return Reply(times=times, status=429, body=body)


def rate_limited(retry_after_s: float | None = None, *, times: int | None = 1) -> Reply:
    """429: too many requests in a short time."""
    headers = {} if retry_after_s is None else {"retry-after": f"{retry_after_s:g}"}
    body = error_body("Rate limit reached for requests", "rate_limit_exceeded", "requests")
    return Reply(times=times, status=429, headers=headers, body=body)


def server_error(status: int = 500, *, times: int | None = 1, path: str = "/responses") -> Reply:
    """A server error with the API's body."""
    message = "The server had an error while processing your request. Sorry about that!"
    return Reply(path, times=times, status=status, body=error_body(message, None, "server_error"))


def overloaded(*, times: int | None = 1) -> Reply:
    """503: the model is at capacity."""
    body = error_body("The engine is currently overloaded, please try again later", "server_is_overloaded")
    return Reply(times=times, status=503, body=body)


def context_length_exceeded(*, times: int | None = 1) -> Reply:
    """400: the input does not fit the model."""
    message = "Your input exceeds the context window of this model. Please adjust your input and try again."
    return Reply(times=times, status=400, body=error_body(message, "context_length_exceeded"))


def unsupported_model(model: object, *, is_chatgpt: bool) -> Reply:
    """The refusal of a model that the account does not have."""
    if is_chatgpt:
        text = f"The '{model}' model is not supported when using Codex with a ChatGPT account."
        return Reply(status=400, body={"detail": text})
    message = f"The model `{model}` does not exist or you do not have access to it."
    return Reply(status=404, body=error_body(message, "model_not_found"))


def bad_request(message: str, code: str | None = None) -> Reply:
    """400 with the common error object."""
    return Reply(status=400, body=error_body(message, code))


def detail(status: int, text: str) -> Reply:
    """The ChatGPT backend's short form."""
    return Reply(status=status, body={"detail": text})


def failed(code: str, message: str, *before: Step, times: int | None = 1) -> Reply:
    """A stream that ends with ``response.failed`` after the steps ``before``."""
    error: Mapping[str, Any] = {"code": code, "message": message}
    return Reply(times=times, stream=(*before, End("failed", error=error)))


def cut(*before: Step, times: int | None = 1) -> Reply:
    """A stream that breaks off after the steps ``before``."""
    return Reply(times=times, stream=(*before, Cut()))
