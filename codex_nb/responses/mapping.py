"""Foreign failures made ours, in one place: replies, error events, transport exceptions -> the error tree.

The class of an error is the user's next action. Texts of servers are shown shortened, on one line and without
anything that looks like a secret; exceptions of the HTTP library are never chained, for they hold the signed request.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codex_nb.responses.backend import Backend

_TRY_AGAIN_IN = re.compile(r"(?i)try again in\s*(\d+(?:\.\d+)?)\s*(ms|s|seconds?|m|minutes?)\b")
_MODEL_REFUSED = re.compile(
    r"(?i)\bmodel\b.*\b(not supported|does not exist|not found|no access|not have access)\b"
)
_SECRETS = re.compile(
    r"(?i)\b(sk-|at-|rt_|eyJ)[A-Za-z0-9._*-]{6,}|\b(bearer|api[-_ ]?key[=:]?|token[=:])\s+[^\s\"',;]{6,}"
)
_MARKUP = re.compile(r"(?is)<(script|style)\b.*?</\1>|<[^>]*>")
_MAX_TEXT = 300

_CONTEXT_CODES = {"context_length_exceeded", "string_above_max_length"}
_MODEL_CODES = {"model_not_found", "model_not_supported", "unsupported_model"}
_POLICY_CODES = {"invalid_prompt", "bio_policy", "cyber_policy", "content_policy_violation"}
_OVERLOAD_CODES = {"server_is_overloaded", "slow_down", "overloaded_error"}


class Problem:
    """What a server says is wrong, wherever in the body it says it."""

    def __init__(self, told: Any) -> None:
        table = told if isinstance(told, dict) else {}
        inner = table.get("error")
        fields = inner if isinstance(inner, dict) else table
        self.fields: dict[str, Any] = fields
        self.code = _first_text(fields.get("code"), fields.get("type") if fields is inner else None)
        self.kind = _first_text(fields.get("type") if fields is inner else None, fields.get("code"))
        detail = table.get("detail")
        if isinstance(detail, dict):
            detail = _first_text(detail.get("message"), detail.get("code"))
        elif detail is not None and not isinstance(detail, str):
            detail = json.dumps(detail)
        text = _first_text(fields.get("message"), inner, detail, table.get("message"))
        self.text = readable(text or "")

    @property
    def names(self) -> set[str]:
        """Everything that could be the machine-readable cause."""
        return {name for name in (self.code, self.kind) if name}


def readable(text: str) -> str:
    """Make a server's text one short line: no markup, no control characters, nothing like a secret."""
    plain = _MARKUP.sub(" ", text)
    plain = "".join(char if char.isprintable() else " " for char in plain)
    plain = _SECRETS.sub("[hidden]", " ".join(plain.split()))
    return plain if len(plain) <= _MAX_TEXT else f"{plain[: _MAX_TEXT - 1]}…"


def reply_error(
    status: int, headers: Mapping[str, str], body: bytes, *, backend: Backend, now: datetime | None = None
) -> CodexError:
    """Give the error for a reply that is not a stream of events."""
    problem = _problem_of(headers, body)
    request_id = request_id_of(headers)
    about = {"status": status, "code": problem.code, "request_id": request_id}
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return _too_many_requests(problem, headers, about, now or datetime.now(UTC))
    named = _error_by_name(problem, about)
    if named is not None and status < httpx.codes.INTERNAL_SERVER_ERROR:
        return named
    said = f" The server says: {problem.text}" if problem.text else ""
    who = backend.name
    match status:
        case 401:
            return _unauthorized(backend, said)
        case 402:
            return QuotaExceeded(f"{who} asks for payment (402).{said}", **about)
        case 403:
            message = f"{who} refuses this account or address (403).{said}"
            return ApiError(message, hint="Check the account's rights, the region and the proxy.", **about)
        case 404 | 405 | 501:
            message = f"There is no Responses API at {backend.responses_url} ({status}).{said}"
            return ApiError(message, hint="Check base_url in config.toml.", **about)
        case 407:
            message = "The proxy asks for a login (407)."
            return ApiError(
                message, hint="Write it in the proxy's address: http://name:password@host:port.", **about
            )
        case 408 | 409 | 425:
            return BackendOverloaded(f"{who} is busy ({status}).{said}", **about)
        case 413:
            return ContextWindowExceeded(f"The request is too large for {who} (413).{said}", **about)
        case _ if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            failing = BackendOverloaded(f"{who} fails at the moment ({status}).{said}", **about)
            failing.retry_after = retry_after(headers, problem.text)
            return failing
        case _ if status < httpx.codes.BAD_REQUEST:
            return _not_an_answer(status, headers, about, who)
        case _:
            return BadRequest(problem.text or f"{who} refused the request ({status}).", **about)


def event_error(told: Any, *, backend: Backend, request_id: str | None = None) -> CodexError:
    """Give the error for ``response.failed`` (its ``error``) or an ``error`` event, whole."""
    table = told if isinstance(told, dict) else {}
    status = table.get("status")
    if isinstance(status, int) and status >= httpx.codes.BAD_REQUEST:
        headers = table.get("headers")
        named = {str(key): str(value) for key, value in headers.items()} if isinstance(headers, dict) else {}
        return reply_error(status, named, json.dumps(table).encode(), backend=backend)
    problem = Problem(table)
    about = {"status": None, "code": problem.code, "request_id": request_id}
    if "rate_limit_exceeded" in problem.names:
        return _rate_limited(problem, {}, about)
    named_error = _error_by_name(problem, about)
    if named_error is not None:
        return named_error
    said = f": {problem.text}" if problem.text else "."
    return BackendOverloaded(f"{backend.name} failed while answering{said}", **about)


def transport_error(error: Exception, *, url: str, events_seen: int = 0) -> CodexError:
    """Give the error for an exception of the HTTP library or the idle timeout; raise it outside of the handler."""
    host = httpx.URL(url).host
    cause = _root_cause(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        mapped: CodexError = ConfigError(
            f"The certificate of {host} is not trusted: {readable(cause.verify_message)}.",
            path="environment",
            key="CODEX_CA_CERTIFICATE",
            hint="Name your organisation's CA file in CODEX_CA_CERTIFICATE or SSL_CERT_FILE.",
        )
    elif isinstance(error, httpx.ProxyError):
        mapped = _proxy_error(error)
    elif isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL | httpx.LocalProtocolError):
        mapped = BadRequest(
            f"The request to {host} cannot be sent: {readable(str(error))}.", hint="Check config.toml."
        )
    elif isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        said = (
            "no answer in time" if isinstance(error, httpx.ConnectTimeout) else _connect_reason(cause, error)
        )
        mapped = StreamInterrupted(
            f"No connection to {host}: {said}.",
            hint="Check the network, the proxy and base_url, then run again.",
        )
    elif isinstance(error, httpx.DecodingError):
        mapped = StreamInterrupted("The reply's compression is broken.", events_seen=events_seen)
    elif isinstance(error, TimeoutError | httpx.TimeoutException):
        mapped = StreamInterrupted(f"{host} went silent.", events_seen=events_seen)
    else:
        mapped = StreamInterrupted(f"The connection to {host} broke off.", events_seen=events_seen)
    mapped.__cause__ = cause if isinstance(cause, OSError) else None
    return mapped


def unreadable_reply(status: int, content_type: str, body: bytes, *, backend: Backend) -> ApiError:
    """Give the error for a successful reply that is no stream of events: a web page, other JSON, nothing."""
    kind = content_type.partition(";")[0].strip() or "unknown"
    said = readable(body[:2000].decode("utf-8", "replace"))
    if status == httpx.codes.NO_CONTENT or not body:
        message = f"{backend.name} answered with nothing ({status})."
    else:
        message = f"{backend.name} answered with {kind} instead of a stream of events: {said}"
    return ApiError(message, status=status, hint="Check base_url, the proxy, or a sign-in page in between.")


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """Find the id that support asks for."""
    names = ("x-request-id", "x-oai-request-id", "cf-ray")
    return next((headers[name] for name in names if headers.get(name)), None)


def retry_after(headers: Mapping[str, str], text: str = "") -> float | None:
    """Find how many seconds the server wants us to wait, in its headers or in its words."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    found = _TRY_AGAIN_IN.search(text)
    if found is None:
        return None
    unit = found[2].lower()
    return float(found[1]) * (0.001 if unit == "ms" else 60.0 if unit.startswith("m") else 1.0)


def _problem_of(headers: Mapping[str, str], body: bytes) -> Problem:
    text = body.decode("utf-8", "replace")
    problem = Problem(_json_or_none(text))
    if not problem.text and not problem.names:
        hidden = headers.get("x-error-json")
        try:
            problem = Problem(
                _json_or_none(base64.b64decode(hidden).decode("utf-8", "replace")) if hidden else None
            )
        except ValueError:
            problem = Problem(None)
    if not problem.text:
        problem.text = readable("" if problem.names else text[:4000])
    return problem


def _json_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _error_by_name(problem: Problem, about: dict[str, Any]) -> CodexError | None:
    names, text = problem.names, problem.text
    if names & _CONTEXT_CODES:
        return ContextWindowExceeded("The conversation no longer fits the model's context window.", **about)
    if "insufficient_quota" in names:
        return QuotaExceeded("The account's quota is used up.", **about)
    if "usage_limit_reached" in names:
        return _usage_limit(problem, {}, about, datetime.now(UTC))
    if "usage_not_included" in names:
        return UsageLimitReached(
            "Codex is not part of this ChatGPT plan.",
            hint="Upgrade: https://chatgpt.com/explore/plus",
            **about,
        )
    if names & _MODEL_CODES or (about["status"] in {None, 400, 404} and _MODEL_REFUSED.search(text)):
        return ModelUnavailable(text or "The model is not available.", **about)
    if names & _OVERLOAD_CODES:
        overloaded = BackendOverloaded("The model is at capacity.", **about)
        overloaded.retry_after = retry_after({}, text)
        return overloaded
    if names & _POLICY_CODES:
        return BadRequest(text or "The request was refused by policy.", **about)
    if "invalid_encrypted_content" in names:
        return BadRequest(
            "The thread's sealed reasoning belongs to another account or model.",
            hint="Start a new thread with %codex new.",
            **about,
        )
    return None


def _too_many_requests(
    problem: Problem, headers: Mapping[str, str], about: dict[str, Any], now: datetime
) -> CodexError:
    if "usage_limit_reached" in problem.names:
        return _usage_limit(problem, headers, about, now)
    named = _error_by_name(problem, about)
    if named is not None:
        return named
    return _rate_limited(problem, headers, about)


def _rate_limited(problem: Problem, headers: Mapping[str, str], about: dict[str, Any]) -> RateLimited:
    said = f" {problem.text}" if problem.text else ""
    error = RateLimited(f"Too many requests in a short time.{said}", **about)
    error.retry_after = retry_after(headers, problem.text)
    return error


def _usage_limit(
    problem: Problem, headers: Mapping[str, str], about: dict[str, Any], now: datetime
) -> UsageLimitReached:
    limits = parse_headers(headers)
    full = max(limits.windows if limits else (), key=lambda window: window.used_percent or 0.0, default=None)
    resets_at = _reset_moment(problem.fields, now) or (full.resets_at if full else None)
    plan = problem.fields.get("plan_type")
    reached = (limits.reached if limits else None) or ""
    if "credits_depleted" in reached:
        sentence = "The workspace is out of credits."
    else:
        window = f"{full.label} " if full is not None and full.window_minutes else ""
        of_plan = f" of the {plan} plan" if isinstance(plan, str) else ""
        sentence = f"The {window}usage limit{of_plan} is reached."
    if resets_at is not None:
        sentence += f" It resets at {resets_at.astimezone():%H:%M on %d %b %Y}."
    error = UsageLimitReached(sentence, **about)
    error.resets_at = resets_at
    error.plan = plan if isinstance(plan, str) else None
    if limits is not None and limits.promo:
        error.hint = f"{readable(limits.promo)} {error.hint}"
    return error


def _reset_moment(fields: Mapping[str, Any], now: datetime) -> datetime | None:
    try:
        if fields.get("resets_at") is not None:
            return datetime.fromtimestamp(float(fields["resets_at"]), UTC)
        if fields.get("resets_in_seconds") is not None:
            return now + timedelta(seconds=float(fields["resets_in_seconds"]))
    except (TypeError, ValueError, OverflowError, OSError):
        pass
    return None


def _unauthorized(backend: Backend, said: str) -> CodexError:
    if backend.key_hint is not None:
        return SignInRequired(f"{backend.name} does not accept the key (401).{said}", hint=backend.key_hint)
    if backend.is_chatgpt:
        return SignInRequired(f"The login is no longer accepted (401).{said}")
    return SignInRequired(f"{backend.name} does not accept the login (401).{said}")


def _not_an_answer(status: int, headers: Mapping[str, str], about: dict[str, Any], who: str) -> ApiError:
    target = headers.get("location")
    if target:
        message = f"{who} redirects to {readable(target)} ({status}); a login is never sent after a redirect."
    else:
        message = f"{who} answered with status {status} instead of a stream of events."
    return ApiError(message, hint="Check base_url, the proxy, or a sign-in page in between.", **about)


def _proxy_error(error: Exception) -> ApiError:
    said = readable(str(error))
    if "407" in said:
        return ApiError(
            "The proxy asks for a login (407).",
            status=407,
            hint="Write it in the proxy's address: http://name:password@host:port.",
        )
    return ApiError(f"The proxy refuses the connection: {said}.", hint="Check HTTPS_PROXY and NO_PROXY.")


def _root_cause(error: BaseException) -> BaseException:
    seen: list[BaseException] = [error]
    while (below := seen[-1].__cause__ or seen[-1].__context__) is not None and below not in seen:
        seen.append(below)
    return seen[-1]


def _connect_reason(cause: BaseException, error: Exception) -> str:
    if isinstance(cause, OSError) and cause.strerror:
        return readable(cause.strerror.lower())
    return readable(str(error).lower()) or "the connection failed"


def _first_text(*values: Any) -> str | None:
    return next((value for value in values if isinstance(value, str) and value), None)
