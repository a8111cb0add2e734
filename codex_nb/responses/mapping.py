"""Foreign failures made ours, in one place: replies, error events, transport exceptions -> the error tree.

The class of an error is the user's next action. Texts of servers are shown shortened, on one line and without
anything that looks like a secret; exceptions of the HTTP library are never chained, for they hold the signed request.
"""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
from datetime import UTC, datetime
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
from codex_nb.responses.problem import Problem, problem_of, readable, request_id_of, reset_moment, retry_after
from codex_nb.words import api_errors as words
from codex_nb.words import network, next_steps, settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codex_nb.responses.backend import Backend
    from codex_nb.words.message import Message

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


def reply_error(
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
        return reply_error(status, named, json.dumps(table).encode(), backend=backend)
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


def unreadable_reply(status: int, content_type: str, body: bytes, *, backend: Backend) -> ApiError:
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
