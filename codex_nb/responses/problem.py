"""What a server says is wrong, read from wherever it says it, and made fit to be shown."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

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
