"""Error responses, error events and transport exceptions, mapped to the error tree."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

from codex_nb.errors import (
    ApiError,
    BackendOverloaded,
    BadRequest,
    CodexError,
    ConfigError,
    ContextWindowExceeded,
    ModelUnavailable,
    QuotaExceeded,
    RateLimited,
    SignInRequired,
    StreamInterrupted,
    UsageLimitReached,
)
from codex_nb.http import UnacceptableResponse, host_of, httpx, media_type
from codex_nb.labels import date_time, plan_name, time_span
from codex_nb.parse import loads, parse_number, parse_object, parse_text, parse_time
from codex_nb.rendering.sanitize import sanitize_server_text
from codex_nb.responses.events import parse_headers, request_id_of
from codex_nb.responses.request import CONTRACT_VERSION, add_amounts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codex_nb.responses.events import Window
    from codex_nb.responses.request import Backend

ErrorT = TypeVar("ErrorT", bound=ApiError)

_LAST_STATUS = 599
_TRY_AGAIN_IN = re.compile(r"(?i)try again (?:in|after)\s*")
_LONG_WAIT_S = 60
_LONGEST_TOLD_S = 365 * 86_400.0
_MODEL_REFUSED = re.compile(
    r"(?i)\bmodel\b.*\b(not supported|does not exist|not found|no access|not have access)\b"
)
_CONTEXT_CODES = {"context_length_exceeded", "string_above_max_length"}
_MODEL_CODES = {"model_not_found", "model_not_supported", "unsupported_model"}
_QUOTA_CODES = {
    "insufficient_quota",
    "insufficient_user_quota",
    "pre_consume_token_quota_failed",
    "insufficient_balance",
    "billing_hard_limit_reached",
    "billing_not_active",
}
_TOO_OLD = re.compile(
    r"(?i)\b(newer version of codex|upgrade to the latest (app|cli|version)|codex.{0,40}is outdated)\b"
)
_REQUESTED = re.compile(r"(?i)\blimit:?\s*([\d,]{1,15})\b.{0,40}\brequested:?\s*([\d,]{1,15})\b")
_POLICY_CODES = {"invalid_prompt", "bio_policy", "cyber_policy", "content_policy_violation"}
_OVERLOAD_CODES = {"server_is_overloaded", "slow_down", "overloaded_error"}
_CHECK_ROUTE = "Check base_url, the proxy, and whether the network asks you to sign in on a web page."
_THE_BACKEND = "the backend"


@dataclass(frozen=True)
class ErrorPayload:
    """A server's error: ``names`` are its machine-readable causes, ``text`` is one readable line."""

    text: str = ""
    code: str | None = None
    names: frozenset[str] = frozenset()
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, value: Any) -> ErrorPayload:
        """Read a body or an event: ``{"error": {…}}``, ``{"error": "…"}``, ``{"detail": …}``, or flat."""
        table = parse_object(value)
        inner = table.get("error", table.get("detail"))
        # A flat error event has the type "error", which names nothing.
        fields, kind = (inner, inner.get("type")) if isinstance(inner, dict) else (table, None)
        names = [
            sanitize_server_text(name)
            for name in (fields.get("code"), kind)
            if isinstance(name, str) and name
        ]
        text = _first_text(fields.get("message"), inner, _detail(table.get("detail")), table.get("message"))
        return cls(sanitize_server_text(text), names[0] if names else None, frozenset(names), fields)

    @classmethod
    def from_response(cls, headers: Mapping[str, str], body: bytes) -> ErrorPayload:
        """Read a response: its body, else the header that repeats it, else whatever text there is."""
        text = body.decode("utf-8", "replace")
        value = _json_or_none(text)
        payload = cls.parse(value)
        if payload.text or payload.names:
            return payload
        try:
            header = base64.b64decode(headers.get("x-error-json", "")).decode("utf-8", "replace")
        except ValueError:
            header = ""
        payload = cls.parse(_json_or_none(header))
        return payload if payload.text or payload.names or value == {} else cls(sanitize_server_text(text))


def _detail(detail: Any) -> str | None:
    if isinstance(detail, dict):
        return _first_text(detail.get("message"), detail.get("code"))
    return detail if detail is None or isinstance(detail, str) else json.dumps(detail)


def _json_or_none(text: str) -> Any:
    try:
        return loads(text)
    except ValueError:
        return None


def _first_text(*values: Any) -> str:
    return next((value for value in values if isinstance(value, str) and value), "")


def retry_after(headers: Mapping[str, str], text: str, now: datetime) -> float | None:
    """Find how many seconds the server asks us to wait, a year at most, in its headers or in its text."""
    milliseconds = _duration(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return min(milliseconds / 1000, _LONGEST_TOLD_S)
    header = headers.get("retry-after")
    seconds = _duration(header)
    if seconds is None and header:
        seconds = _seconds_until(header, now)
    if seconds is None and (found := _TRY_AGAIN_IN.search(text)) is not None:
        seconds, _ = add_amounts(text, found.end())
    return None if seconds is None else min(seconds, _LONGEST_TOLD_S)


def _duration(value: Any) -> float | None:
    number = parse_number(value)
    return number if number is not None and number >= 0 else None


def _seconds_until(date: str, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())


_ENDS = (".", "!", "?", "…", "。")


@dataclass(frozen=True)
class _Failure:
    """All that is known of a failed request that the server answered."""

    backend: Backend
    payload: ErrorPayload
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    request_id: str | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def error(self, kind: type[ErrorT], message: str, *, hint: str | None = None) -> ErrorT:
        sentence = message if message.endswith(_ENDS) else f"{message}."  # a hint follows
        return kind(
            sentence, status=self.status, code=self.payload.code, request_id=self.request_id, hint=hint
        )

    def retryable(self, kind: type[RateLimited | BackendOverloaded], message: str) -> ApiError:
        """Return an error that says how long the server asks us to wait."""
        wait = retry_after(self.headers, self.payload.text, self.now)
        is_long = wait is not None and wait > _LONG_WAIT_S
        hint = f"Run the cell again in {time_span(timedelta(seconds=wait))}." if wait and is_long else None
        error = self.error(kind, message, hint=hint)
        error.retry_after = wait
        return error

    @property
    def billing_hint(self) -> str:
        """Say where the account that pays is looked after."""
        if self.backend.is_chatgpt:
            return "Check your ChatGPT plan, or ask whoever manages your workspace."
        if self.backend.is_built_in:
            return "Check the plan and billing details of your API account."
        return f"Check your balance with {self.backend.name}."

    def quote(self, message: str) -> str:
        """Close the sentence with the server's own text, when there is one."""
        return f'{message}: "{self.payload.text}".' if self.payload.text else f"{message}."


def response_error(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    backend: Backend,
    url: str | None = None,
    now: datetime | None = None,
) -> CodexError:
    """Return the error for a response that is no event stream; ``url`` when it was not ``responses_url``."""
    payload = ErrorPayload.from_response(headers, body)
    request_id = request_id_of(headers)
    failure = _Failure(backend, payload, status, headers, request_id, now or datetime.now(UTC))
    is_server_error = status >= httpx.codes.INTERNAL_SERVER_ERROR
    if not is_server_error and (named := _error_by_name(failure)) is not None:
        return named
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return _rate_limited(failure)
    if status < httpx.codes.BAD_REQUEST:
        return _unexpected_status(failure)
    if is_server_error and status != httpx.codes.NOT_IMPLEMENTED:
        return failure.retryable(
            BackendOverloaded, failure.quote(f"{backend.name} returned a server error ({status})")
        )
    return _error_by_status(failure, url or backend.responses_url)


# What a status means that nothing explains better: the error, its message and its hint.
_BY_STATUS: dict[int | None, tuple[type[ApiError], str, str | None]] = {
    403: (
        ApiError,
        "{who} denied access ({status})",
        "Check the account's permissions, your region and the proxy.",
    ),
    **dict.fromkeys(
        (404, 405, 501),
        (ApiError, "The server does not support {url} ({status})", "Check base_url in config.toml."),
    ),
    **dict.fromkeys((408, 409, 425), (BackendOverloaded, "{who} is busy ({status})", None)),
    413: (ContextWindowExceeded, "The request is too large for {who} ({status})", None),
    432: (
        ApiError,
        "{who} cannot route requests to your workspace now ({status})",
        "Try again shortly; if it persists, ask whoever manages your workspace.",
    ),
}


def _error_by_status(failure: _Failure, url: str) -> CodexError:
    """Return the error for a 4xx without a name that says more."""
    who, status, payload = failure.backend.name, failure.status, failure.payload
    match status:
        case 401:
            message = failure.quote(f"{who} rejected your login (401)")
            return SignInRequired(message, hint=failure.backend.key_hint)
        case 402:
            return _unpaid(failure)
        case 407:
            return _proxy_login_error()
    if status in _BY_STATUS:
        kind, message, hint = _BY_STATUS[status]
        return failure.error(kind, failure.quote(message.format(who=who, url=url, status=status)), hint=hint)
    # The server's sentence stands for itself; a piece of JSON needs a sentence around it.
    is_sentence = payload.text and not payload.text.startswith(("{", "["))
    message = failure.quote(f"{who} rejected the request ({status})")
    hint = _SETTING_HINTS.get(str(payload.fields.get("param")))
    return failure.error(BadRequest, payload.text if is_sentence else message, hint=hint)


# What helps when a server does not take a setting, by the parameter that it names.
_SETTING_HINTS = {
    "reasoning.summary": 'Set model_reasoning_summary = "none" in config.toml, or verify your organization.',
    "reasoning.effort": "Choose another effort with -e, or another model with -m.",
    "text.verbosity": "Remove model_verbosity from config.toml, or choose another model with -m.",
    "service_tier": "Remove service_tier from config.toml.",
}


def _unpaid(failure: _Failure) -> ApiError:
    if "deactivated_workspace" in failure.payload.names:
        return failure.error(
            QuotaExceeded,
            "Your ChatGPT workspace is deactivated (402).",
            hint="Choose another workspace with %codex login, or ask whoever manages this one.",
        )
    message = failure.quote(f"{failure.backend.name} requires payment (402)")
    return failure.error(QuotaExceeded, message, hint=failure.billing_hint)


def event_error(value: Any, *, backend: Backend, request_id: str | None = None) -> CodexError:
    """Return the error for a failed response or an ``error`` event, whole."""
    table = parse_object(value)
    places = (table, parse_object(table.get("error")))
    told = (place.get(key) for place in places for key in ("status", "status_code"))
    status = next((each for each in told if type(each) is int), 0)
    if httpx.codes.BAD_REQUEST <= status <= _LAST_STATUS:
        headers = next((each for place in places if isinstance(each := place.get("headers"), dict)), {})
        named = {str(key): str(value) for key, value in headers.items()}
        return response_error(status, named, json.dumps(table).encode(), backend=backend)
    failure = _Failure(backend, ErrorPayload.parse(table), request_id=request_id)
    if "rate_limit_exceeded" in failure.payload.names:
        return _rate_limited(failure)
    named_error = _error_by_name(failure)
    if named_error is not None:
        return named_error
    return failure.error(BackendOverloaded, failure.quote(f"{backend.name} failed while answering"))


def _error_by_name(failure: _Failure) -> CodexError | None:
    """Return the error that the machine-readable cause names, whatever the status."""
    names, text = failure.payload.names, failure.payload.text
    if names & _CONTEXT_CODES:
        message = "The conversation no longer fits the model's context window."
        return failure.error(ContextWindowExceeded, message)
    if names & _QUOTA_CODES:
        message = "The account's API quota is used up."
        return failure.error(QuotaExceeded, message, hint=failure.billing_hint)
    if _TOO_OLD.search(text):
        return failure.error(
            ModelUnavailable,
            text,
            hint=f"codex_nb is what is too old (it speaks as Codex {CONTRACT_VERSION} does), not your Codex CLI: "
            "run pip install --upgrade codex-nb, or choose another model with -m.",
        )
    if "usage_limit_reached" in names:
        return _usage_limit(failure)
    if "usage_not_included" in names:
        return failure.error(
            UsageLimitReached,
            "Your ChatGPT plan does not include Codex.",
            hint="Upgrade at https://chatgpt.com/explore/plus.",
        )
    if names & _MODEL_CODES or (failure.status in {None, 400, 404} and _MODEL_REFUSED.search(text)):
        return failure.error(ModelUnavailable, text or "The model is not available.")
    if names & _OVERLOAD_CODES:
        return failure.retryable(BackendOverloaded, "The model is at capacity.")
    if names & _POLICY_CODES:
        message = text or "The request was declined under the service's usage policy."
        return failure.error(BadRequest, message, hint=None if text else "Rephrase the request.")
    if "invalid_encrypted_content" in names:
        message = "This thread's encrypted reasoning belongs to another account or model."
        return failure.error(BadRequest, message, hint="Start a new thread with %codex new.")
    return None


def _rate_limited(failure: _Failure) -> ApiError:
    text = failure.payload.text
    found = _REQUESTED.search(text)
    limit, requested = (int(each.replace(",", "") or 0) for each in found.groups()) if found else (0, 0)
    if requested > limit or re.search(r"(?i)\brequest too large\b", text):
        message = failure.quote("This request alone is larger than the account's limit for a minute")
        hint = "Send less with --no-context, start a new thread with %codex new, or ask for a higher limit."
        return failure.error(ContextWindowExceeded, message, hint=hint)
    return failure.retryable(RateLimited, failure.quote("Too many requests in a short time"))


def _usage_limit(failure: _Failure) -> UsageLimitReached:
    """Say which window is full, of which plan, and when it resets, as far as the response tells."""
    limits = parse_headers(failure.headers)
    windows = limits.windows if limits is not None else ()
    full = max(windows, key=lambda window: window.used_percent or 0.0, default=None)
    resets_at = _reset_time(failure.payload.fields, failure.now) or (full.resets_at if full else None)
    plan = parse_text(failure.payload.fields.get("plan_type")) or None
    if limits is not None and "credits_depleted" in (limits.reached or ""):
        message = "The workspace is out of credits."
    else:
        of_plan = f" of {plan_name(sanitize_server_text(plan))}" if plan else ""
        message = f"You've reached the {_limit_name(full)} limit{of_plan}."
    if resets_at is not None:
        wait = time_span(resets_at - failure.now)
        message += f" It resets {date_time(resets_at)} (in {wait})."
    error = failure.error(UsageLimitReached, message)
    error.resets_at, error.plan = resets_at, plan
    if limits is not None and limits.promo:
        error.hint = f"{sanitize_server_text(limits.promo)} {error.hint}"
    return error


def _limit_name(window: Window | None) -> str:
    """Name a limit by the length of its window, as an adjective: "5-hour", "weekly"."""
    if window is None or not window.window_minutes:
        return "usage"
    count, _, unit = window.label.partition(" ")
    units = {"h": "hour", "min": "minute", "days": "day"}
    spans = {"day": "daily", "week": "weekly", "month": "monthly"}
    return f"{count}-{units[unit]}" if unit else spans.get(count, "usage")


def _reset_time(fields: Mapping[str, Any], now: datetime) -> datetime | None:
    """Find when a usage limit resets, aware UTC."""
    if (at := parse_time(fields.get("resets_at"))) is not None:
        return at
    after = _duration(fields.get("resets_in_seconds"))
    return None if after is None else parse_time(now.timestamp() + after)


def _unexpected_status(failure: _Failure) -> ApiError:
    who, status, target = failure.backend.name, failure.status, failure.headers.get("location")
    if target:
        message = (
            f"{who} redirects to {sanitize_server_text(target)} ({status}); credentials are never sent there."
        )
    elif status == httpx.codes.NO_CONTENT:
        message = _empty(who, status)
    else:
        message = f"{who} returned status {status} instead of an event stream."
    return failure.error(ApiError, message, hint=_CHECK_ROUTE)


def _empty(who: str, status: int | None) -> str:
    return f"{who} returned an empty response ({status})."


def unreadable_response(
    status: int, headers: Mapping[str, str], body: bytes, *, backend: Backend
) -> ApiError:
    """Return the error for a successful response that is no event stream: a web page, other JSON, nothing."""
    kind = media_type(headers) or "an unnamed content type"
    if status == httpx.codes.NO_CONTENT or not body:
        message = _empty(backend.name, status)
    else:
        text = sanitize_server_text(body[:4000].decode("utf-8", "replace"))
        what = (
            "events that cannot be read"
            if kind == "text/event-stream"
            else f"{kind} instead of an event stream"
        )
        if '"chat.completion' in text:
            what = "events of the Chat Completions API, not of the Responses API"
        message = f'{backend.name} returned {what}: "{text}".'
    return ApiError(message, status=status, hint=_CHECK_ROUTE)


def transport_error(error: Exception, *, url: str, events_seen: int = 0) -> CodexError:
    """Return the error for an exception of the HTTP library or the idle timeout.

    Raise it outside of the handler: the library's exception holds the signed request and must not become its context.
    """
    host = host_of(url) or _THE_BACKEND
    cause = _root_cause(error)
    mapped = _unsendable(error, cause, host) or _unconnected(error, cause, host)
    if mapped is None:
        if isinstance(error, httpx.DecodingError):
            message = "The response could not be decompressed."
        elif isinstance(error, TimeoutError | httpx.TimeoutException):
            message = f"{host} stopped responding."
        else:
            message = f"The connection to {host} was lost."
        mapped = StreamInterrupted(
            message, events_seen=events_seen, hint=None if events_seen else "Run the cell again."
        )
    mapped.__cause__ = cause if isinstance(cause, OSError) else None
    return mapped


def _unsendable(error: Exception, cause: BaseException, host: str) -> CodexError | None:
    """Return the error for what no second try can fix."""
    if isinstance(error, UnacceptableResponse):
        return ApiError(f"The response of {host} cannot be used: {error}.", hint=_CHECK_ROUTE)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return ConfigError(
            f"The certificate of {host} is not trusted: {sanitize_server_text(cause.verify_message)}.",
            path="environment",
            key="CODEX_CA_CERTIFICATE",
            hint="Set CODEX_CA_CERTIFICATE or SSL_CERT_FILE to your organization's CA file.",
        )
    if isinstance(error, httpx.ProxyError):
        text = sanitize_server_text(str(error))
        if "407" in text:
            return _proxy_login_error()
        return ApiError(f"The proxy refused the connection: {text}.", hint="Check HTTPS_PROXY and NO_PROXY.")
    if isinstance(
        error, httpx.UnsupportedProtocol | httpx.InvalidURL | httpx.LocalProtocolError | UnicodeError
    ):
        is_text = isinstance(error, UnicodeError)
        reason = "a header is not plain ASCII" if is_text else sanitize_server_text(str(error))
        return BadRequest(
            f"The request to {host} cannot be sent: {reason}.",
            hint="Check the addresses and headers in config.toml.",
        )
    return None


def _proxy_login_error() -> ApiError:
    return ApiError(
        "The proxy requires a login (407).",
        status=httpx.codes.PROXY_AUTHENTICATION_REQUIRED,
        hint="Put the login in the proxy's address: http://name:password@host:port.",
    )


def _unconnected(error: Exception, cause: BaseException, host: str) -> CodexError | None:
    if not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return None
    is_timeout = isinstance(error, httpx.ConnectTimeout)
    reason = "the connection timed out" if is_timeout else _connect_reason(cause, error)
    return StreamInterrupted(
        f"Could not connect to {host}: {reason}.",
        hint="Check the network, the proxy and base_url, then run the cell again.",
    )


def _connect_reason(cause: BaseException, error: Exception) -> str:
    if isinstance(cause, socket.gaierror):
        return "the host name could not be resolved"
    if isinstance(cause, OSError) and cause.errno and not isinstance(cause, ssl.SSLError):
        return os.strerror(cause.errno).lower()
    return sanitize_server_text(str(error).lower()) or "the connection failed"


def _root_cause(error: BaseException) -> BaseException:
    seen: list[BaseException] = [error]
    while (below := seen[-1].__cause__ or seen[-1].__context__) is not None and below not in seen:
        seen.append(below)
    return seen[-1]
