"""HTTP replies, error events and transport exceptions, mapped to the error tree."""

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
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import urlsplit

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
from codex_nb.http import httpx
from codex_nb.responses.limits import parse_headers
from codex_nb.words import api_errors as words
from codex_nb.words import network, next_steps, settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codex_nb.responses.request import Backend
    from codex_nb.words.message import Message


MAX_TEXT = 300
MAX_READ = 8000
_TRY_AGAIN_IN = re.compile(r"(?i)try again in\s*(\d+(?:\.\d+)?)\s*(ms|seconds?|s|minutes?|m)\b")
_SECRETS = re.compile(
    r"(?i)\b(?:sk-|at-|rt_|ac_|eyJ|deviceauth_)[A-Za-z0-9._*-]{6,}"
    r"|\b(?:bearer|(?:api[-_ ]?key|token)\s*[=:])\s*[^\s\"',;]{6,}"
)
_MARKUP = re.compile(r"(?is)<(script|style)\b.*?</\1>|<[^>]*>")


@dataclass(frozen=True)
class Problem:
    """A server's complaint: ``names`` are its machine-readable causes, ``text`` is one readable line."""

    text: str = ""
    code: str | None = None
    names: frozenset[str] = frozenset()
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, told: Any) -> Problem:
        """Read a body or an event: ``{"error": {…}}``, ``{"error": "…"}``, ``{"detail": …}``, or flat."""
        table = told if isinstance(told, dict) else {}
        inner = table.get("error")
        # A flat error event has the type "error", which names nothing.
        fields, kind = (inner, inner.get("type")) if isinstance(inner, dict) else (table, None)
        names = [readable(name) for name in (fields.get("code"), kind) if isinstance(name, str) and name]
        text = _first_text(fields.get("message"), inner, _detail(table.get("detail")), table.get("message"))
        return cls(readable(text), names[0] if names else None, frozenset(names), fields)


def problem_of(headers: Mapping[str, str], body: bytes) -> Problem:
    """Read a reply's complaint: from its body, else from the header that repeats it, else whatever text there is."""
    text = body.decode("utf-8", "replace")
    told = _json_or_none(text)
    problem = Problem.of(told)
    if problem.text or problem.names:
        return problem
    try:
        hidden = base64.b64decode(headers.get("x-error-json", "")).decode("utf-8", "replace")
    except ValueError:
        hidden = ""
    problem = Problem.of(_json_or_none(hidden))
    return problem if problem.text or problem.names or told == {} else Problem(readable(text))


def readable(text: str) -> str:
    """Make a server's text one short line: no markup, no control characters, nothing like a secret."""
    plain = _MARKUP.sub(" ", text[:MAX_READ])
    plain = "".join(char if char.isprintable() else " " for char in plain)
    plain = _SECRETS.sub("[hidden]", " ".join(plain.split()))
    return plain if len(plain) <= MAX_TEXT else f"{plain[: MAX_TEXT - 1]}…"


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """Find the id that support asks for."""
    names = ("x-request-id", "x-oai-request-id", "cf-ray")
    return next((readable(headers[name]) for name in names if headers.get(name)), None)


def retry_after(headers: Mapping[str, str], text: str, now: datetime) -> float | None:
    """Find how many seconds the server wants us to wait, in its headers or in its words."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    named = headers.get("retry-after")
    seconds = _number(named)
    if seconds is None and named:
        seconds = _seconds_until(named, now)
    return seconds if seconds is not None else _spoken_wait(text)


def reset_moment(fields: Mapping[str, Any], now: datetime) -> datetime | None:
    """Find when a usage limit resets, aware UTC."""
    at, after = _number(fields.get("resets_at")), _number(fields.get("resets_in_seconds"))
    try:
        if at is not None:
            return datetime.fromtimestamp(at, UTC)
        return None if after is None else now + timedelta(seconds=after)
    except (OverflowError, ValueError, OSError):
        return None


def _seconds_until(date: str, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())


def _spoken_wait(text: str) -> float | None:
    found = _TRY_AGAIN_IN.search(text)
    if found is None:
        return None
    amount, unit = float(found[1]), found[2].lower()
    if unit == "ms":
        return amount / 1000
    return amount * 60 if unit.startswith("m") else amount


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 <= number < float("inf") else None


def _detail(detail: Any) -> str | None:
    if isinstance(detail, dict):
        return _first_text(detail.get("message"), detail.get("code"))
    return detail if detail is None or isinstance(detail, str) else json.dumps(detail)


def _json_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _first_text(*values: Any) -> str:
    return next((value for value in values if isinstance(value, str) and value), "")


_MODEL_REFUSED = re.compile(
    r"(?i)\bmodel\b.*\b(not supported|does not exist|not found|no access|not have access)\b"
)
_CONTEXT_CODES = {"context_length_exceeded", "string_above_max_length"}
_MODEL_CODES = {"model_not_found", "model_not_supported", "unsupported_model"}
_POLICY_CODES = {"invalid_prompt", "bio_policy", "cyber_policy", "content_policy_violation"}
_OVERLOAD_CODES = {"server_is_overloaded", "slow_down", "overloaded_error"}


class _About(TypedDict):
    status: int | None
    code: str | None
    request_id: str | None


def response_error(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    backend: Backend,
    url: str | None = None,
    now: datetime | None = None,
) -> CodexError:
    """Give the error for a reply that is not a stream of events; ``url`` when it was not the responses' own."""
    now = now or datetime.now(UTC)
    problem = problem_of(headers, body)
    about = _About(status=status, code=problem.code, request_id=request_id_of(headers))
    if status < httpx.codes.INTERNAL_SERVER_ERROR:
        named = _error_by_name(problem, headers, about, now)
        if named is not None:
            return named
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return _rate_limited(problem, headers, about, now)
    if status < httpx.codes.BAD_REQUEST:
        return _not_an_answer(status, headers, about, backend.name)
    if status >= httpx.codes.INTERNAL_SERVER_ERROR and status != httpx.codes.NOT_IMPLEMENTED:
        message = words.failing(backend.name, str(status)).followed_by(_said(problem))
        failing = BackendOverloaded(message, **about)
        failing.retry_after = retry_after(headers, problem.text, now)
        return failing
    return _refusal(problem, about, backend, url or backend.responses_url)


def _refusal(problem: Problem, about: _About, backend: Backend, url: str) -> CodexError:
    """Give the error for a 4xx without a name that says more."""
    who, status, said = backend.name, about["status"], _said(problem)
    match status:
        case 401:
            return SignInRequired(words.login_refused(who).followed_by(said), hint=backend.key_hint)
        case 402:
            return QuotaExceeded(words.wants_payment(who).followed_by(said), **about)
        case 403:
            return ApiError(words.not_allowed(who).followed_by(said), **about)
        case 404 | 405 | 501:
            return ApiError(words.not_served(url, str(status)).followed_by(said), **about)
        case 407:
            return ApiError(words.PROXY_WANTS_LOGIN, **about)
        case 408 | 409 | 425:
            return BackendOverloaded(words.busy(who, str(status)).followed_by(said), **about)
        case 413:
            return ContextWindowExceeded(words.too_large(who).followed_by(said), **about)
        case _:
            # Words of the server stand for themselves; a piece of JSON needs a sentence around it.
            has_words = problem.text and not problem.text.startswith(("{", "["))
            message = words.refused(who, str(status)).followed_by(said)
            return BadRequest(problem.text if has_words else message, **about)


def _said(problem: Problem) -> str:
    return words.it_says(problem.text) if problem.text else ""


def event_error(told: Any, *, backend: Backend, request_id: str | None = None) -> CodexError:
    """Give the error for a failed response or an ``error`` event, whole."""
    table = told if isinstance(told, dict) else {}
    status = table.get("status")
    if isinstance(status, int) and status >= httpx.codes.BAD_REQUEST:
        headers = table.get("headers")
        named = {str(key): str(value) for key, value in headers.items()} if isinstance(headers, dict) else {}
        return response_error(status, named, json.dumps(table).encode(), backend=backend)
    now = datetime.now(UTC)
    problem = Problem.of(table)
    about = _About(status=None, code=problem.code, request_id=request_id)
    if "rate_limit_exceeded" in problem.names:
        return _rate_limited(problem, {}, about, now)
    named_error = _error_by_name(problem, {}, about, now)
    if named_error is not None:
        return named_error
    message = words.failed_while_answering(backend.name).followed_by(_said(problem))
    return BackendOverloaded(message, **about)


def transport_error(error: Exception, *, url: str, events_seen: int = 0) -> CodexError:
    """Give the error for an exception of the HTTP library or the idle timeout.

    Raise it outside of the handler: the library's exception holds the signed request and must not become its context.
    """
    host = _host_of(url)
    cause = _root_cause(error)
    mapped = _unsendable(error, cause, host) or _unconnected(error, cause, host)
    if mapped is None:
        if isinstance(error, httpx.DecodingError):
            message = words.BROKEN_COMPRESSION
        elif isinstance(error, TimeoutError | httpx.TimeoutException):
            message = words.silent(host)
        else:
            message = words.connection_lost(host)
        hint = None if events_seen else next_steps.RUN_AGAIN
        mapped = StreamInterrupted(message, events_seen=events_seen, hint=hint)
    mapped.__cause__ = cause if isinstance(cause, OSError) else None
    return mapped


def _unsendable(error: Exception, cause: BaseException, host: str) -> CodexError | None:
    """Give the error for what no second try can mend."""
    if isinstance(cause, ssl.SSLCertVerificationError):
        message = words.certificate_untrusted(host, readable(cause.verify_message))
        return ConfigError(message, path=settings.ENVIRONMENT, key="CODEX_CA_CERTIFICATE")
    if isinstance(error, httpx.ProxyError):
        return _proxy_error(error)
    if isinstance(
        error, httpx.UnsupportedProtocol | httpx.InvalidURL | httpx.LocalProtocolError | UnicodeError
    ):
        said = words.NOT_ASCII if isinstance(error, UnicodeError) else readable(str(error))
        return BadRequest(words.unsendable(host, said))
    return None


def _unconnected(error: Exception, cause: BaseException, host: str) -> CodexError | None:
    if not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return None
    said = words.NO_ANSWER if isinstance(error, httpx.ConnectTimeout) else _connect_reason(cause, error)
    return StreamInterrupted(words.unconnected(host, said))


def unreadable_response(status: int, content_type: str, body: bytes, *, backend: Backend) -> ApiError:
    """Give the error for a successful reply that is no stream of events: a web page, other JSON, nothing."""
    kind = content_type.partition(";")[0].strip() or words.UNNAMED_TYPE
    if status == httpx.codes.NO_CONTENT or not body:
        message = words.answered_with_nothing(backend.name, str(status))
    else:
        said = readable(body[:4000].decode("utf-8", "replace"))
        message = words.another_type(backend.name, kind, said)
    return ApiError(message, status=status)


def _error_by_name(
    problem: Problem, headers: Mapping[str, str], about: _About, now: datetime
) -> CodexError | None:
    """Give the error that the machine-readable cause names, whatever the status."""
    names, text = problem.names, problem.text
    if names & _CONTEXT_CODES:
        return ContextWindowExceeded(words.CONTEXT_FULL, **about)
    if "insufficient_quota" in names:
        return QuotaExceeded(words.QUOTA_USED_UP, **about)
    if "usage_limit_reached" in names:
        return _usage_limit(problem, headers, about, now)
    if "usage_not_included" in names:
        return UsageLimitReached(words.NOT_IN_PLAN, **about)
    if names & _MODEL_CODES or (about["status"] in {None, 400, 404} and _MODEL_REFUSED.search(text)):
        return ModelUnavailable(text or words.MODEL_UNAVAILABLE, **about)
    if names & _OVERLOAD_CODES:
        overloaded = BackendOverloaded(words.MODEL_FULL, **about)
        overloaded.retry_after = retry_after(headers, text, now)
        return overloaded
    if names & _POLICY_CODES:
        return BadRequest(text or words.REFUSED_BY_POLICY, **about)
    if "invalid_encrypted_content" in names:
        return BadRequest(words.SEALED_FOR_ANOTHER, **about)
    return None


def _rate_limited(problem: Problem, headers: Mapping[str, str], about: _About, now: datetime) -> RateLimited:
    error = RateLimited(words.TOO_MANY_REQUESTS.followed_by(_said(problem)), **about)
    error.retry_after = retry_after(headers, problem.text, now)
    return error


def _usage_limit(
    problem: Problem, headers: Mapping[str, str], about: _About, now: datetime
) -> UsageLimitReached:
    """Say which window is full, of which plan, and when it resets, as far as the reply tells."""
    limits = parse_headers(headers)
    windows = limits.windows if limits is not None else ()
    full = max(windows, key=lambda window: window.used_percent or 0.0, default=None)
    resets_at = reset_moment(problem.fields, now) or (full.resets_at if full else None)
    plan = problem.fields.get("plan_type")
    plan = plan if isinstance(plan, str) else None
    if limits is not None and "credits_depleted" in (limits.reached or ""):
        message = words.NO_CREDITS
    else:
        message = _full(full.label if full is not None and full.window_minutes else "", plan or "")
    if resets_at is not None:
        message = message.followed_by(words.resets_at(f"{resets_at.astimezone():%H:%M on %d %b %Y}"))
    error = UsageLimitReached(message, **about)
    error.resets_at, error.plan = resets_at, plan
    if limits is not None and limits.promo:
        error.hint = f"{readable(limits.promo)} {error.hint}"
    return error


def _full(window: str, plan: str) -> Message:
    """Say as much of the limit as is known."""
    if window and plan:
        return words.usage_limit(window, plan)
    if plan:
        return words.usage_limit_of_plan(plan)
    return words.usage_limit_of_window(window) if window else words.USAGE_LIMIT


def _not_an_answer(status: int, headers: Mapping[str, str], about: _About, who: str) -> ApiError:
    target = headers.get("location")
    if target:
        message = words.redirected(who, readable(target), str(status))
    elif status == httpx.codes.NO_CONTENT:
        message = words.answered_with_nothing(who, str(status))
    else:
        message = words.no_stream(who, str(status))
    return ApiError(message, **about)


def _proxy_error(error: Exception) -> ApiError:
    said = readable(str(error))
    if "407" in said:
        return ApiError(words.PROXY_WANTS_LOGIN, status=407)
    return ApiError(words.proxy_refuses(said))


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or words.THE_BACKEND
    except ValueError:
        return words.THE_BACKEND


def _root_cause(error: BaseException) -> BaseException:
    seen: list[BaseException] = [error]
    while (below := seen[-1].__cause__ or seen[-1].__context__) is not None and below not in seen:
        seen.append(below)
    return seen[-1]


def _connect_reason(cause: BaseException, error: Exception) -> str:
    if isinstance(cause, socket.gaierror):
        return words.UNKNOWN_NAME
    if isinstance(cause, OSError) and cause.errno and not isinstance(cause, ssl.SSLError):
        return os.strerror(cause.errno).lower()
    return readable(str(error).lower()) or network.FAILED
