"""Rate limits and plan usage: from response headers, from events, from the usage endpoint, in one shape."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codex_nb.parse import parse_boolean, parse_integer, parse_number, parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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
        """The window's name by its length: "5 h", "week", "month", "90 min"; "limit" when the length is unknown."""
        return window_label(self.window_minutes)


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
    allowed: bool | None = None
    promo: str | None = None


def window_label(minutes: int | None) -> str:
    """Name a window by its length, with the tolerance that the backend's own rounding needs."""
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


def parse_headers(headers: Mapping[str, str]) -> RateLimits | None:
    """Read the ``x-codex-*`` headers of a reply; None when it has none of them."""
    lowered = {name.lower(): value for name, value in headers.items()}
    families = {match[1] for name in lowered if (match := _FAMILY.fullmatch(name))}
    windows = [
        window
        for family in sorted(families, key=lambda name: (name != "x-codex", name))
        for part in ("primary", "secondary")
        if (window := _header_window(lowered, family, part)) is not None
    ]
    found = RateLimits(
        windows=tuple(windows),
        credits=_header_credits(lowered),
        reached=lowered.get("x-codex-rate-limit-reached-type"),
        promo=lowered.get("x-codex-promo-message"),
    )
    return None if found == RateLimits() else found


def _header_window(headers: Mapping[str, str], family: str, part: str) -> Window | None:
    prefix = f"{family}-{part}"
    used = parse_number(headers.get(f"{prefix}-used-percent"))
    if used is None:
        return None
    default = family.removeprefix("x-").replace("-", "_")
    return Window(
        used_percent=used,
        window_minutes=parse_integer(headers.get(f"{prefix}-window-minutes")),
        resets_at=parse_time(headers.get(f"{prefix}-reset-at")),
        limit=headers.get(f"{family}-limit-name") or default,
    )


def _header_credits(headers: Mapping[str, str]) -> Credits | None:
    found = Credits(
        has_credits=parse_boolean(headers.get("x-codex-credits-has-credits")),
        unlimited=parse_boolean(headers.get("x-codex-credits-unlimited")),
        balance=headers.get("x-codex-credits-balance") or None,
    )
    return None if found == Credits() else found


def parse_event(event: Mapping[str, Any]) -> RateLimits | None:
    """Read a ``codex.rate_limits`` event."""
    limits = event.get("rate_limits")
    table = limits if isinstance(limits, dict) else {}
    windows = [_table_window(table.get(part), "codex") for part in ("primary", "secondary")]
    return _found(event, table, windows)


def parse_usage(body: Mapping[str, Any]) -> RateLimits:
    """Read the usage endpoint's reply; a window that lacks a number is kept with what it has."""
    table = body.get("rate_limit")
    windows = _usage_windows(table, "codex")
    extra = body.get("additional_rate_limits")
    for entry in extra if isinstance(extra, list) else []:
        if isinstance(entry, dict):
            name = entry.get("limit_name") or entry.get("metered_feature") or "other"
            windows += _usage_windows(entry.get("rate_limit"), str(name))
    return _found(body, table if isinstance(table, dict) else {}, windows) or RateLimits()


def _found(
    body: Mapping[str, Any], table: Mapping[str, Any], windows: Sequence[Window | None]
) -> RateLimits | None:
    plan = body.get("plan_type")
    allowed = table.get("allowed")
    found = RateLimits(
        windows=tuple(window for window in windows if window is not None),
        plan=plan if isinstance(plan, str) else None,
        credits=_table_credits(body.get("credits")),
        reached="rate_limit_reached" if table.get("limit_reached") is True else None,
        allowed=allowed if isinstance(allowed, bool) else None,
    )
    return None if found == RateLimits() else found


def _usage_windows(table: Any, limit: str) -> list[Window]:
    if not isinstance(table, dict):
        return []
    windows = [_table_window(table.get(part), limit) for part in ("primary_window", "secondary_window")]
    return [window for window in windows if window is not None]


def _table_window(table: Any, limit: str) -> Window | None:
    if not isinstance(table, dict):
        return None
    seconds = parse_integer(table.get("limit_window_seconds"))
    minutes = parse_integer(table.get("window_minutes")) if seconds is None else seconds // 60
    window = Window(
        parse_number(table.get("used_percent")), minutes, parse_time(table.get("reset_at")), limit
    )
    return None if window == Window(limit=limit) else window


def _table_credits(table: Any) -> Credits | None:
    if not isinstance(table, dict):
        return None
    balance = table.get("balance")
    return Credits(
        has_credits=parse_boolean(table.get("has_credits")),
        unlimited=parse_boolean(table.get("unlimited")),
        balance=None if balance is None else str(balance),
    )
