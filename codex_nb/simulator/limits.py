"""Rate limits as the backend tells them: response headers and the usage endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_ALL = 100.0


@dataclass(frozen=True)
class LimitWindow:
    """One window: how much of it is used, how long it is, in how many seconds it resets."""

    used_percent: float
    window_minutes: int
    resets_in_s: int


@dataclass(frozen=True)
class Limits:
    """An account's windows and credits; a window that is None is not told."""

    primary: LimitWindow | None = LimitWindow(12.5, 300, 9_000)
    secondary: LimitWindow | None = LimitWindow(31.0, 10_080, 250_000)
    has_credits: bool = False
    unlimited: bool = False
    balance: str = "0"

    def headers(self, now: float) -> dict[str, str]:
        """The ``x-codex-*`` headers of a response."""
        headers = {
            "x-codex-credits-has-credits": str(self.has_credits),
            "x-codex-credits-unlimited": str(self.unlimited),
            "x-codex-credits-balance": self.balance,
        }
        for name, window in (("primary", self.primary), ("secondary", self.secondary)):
            if window is not None:
                headers[f"x-codex-{name}-used-percent"] = str(window.used_percent)
                headers[f"x-codex-{name}-window-minutes"] = str(window.window_minutes)
                headers[f"x-codex-{name}-reset-at"] = str(int(now) + window.resets_in_s)
        return headers

    def usage(self, now: float) -> dict[str, Any]:
        """The parts of ``/wham/usage`` that speak of limits; its percentages are whole numbers."""
        windows = [window for window in (self.primary, self.secondary) if window is not None]
        reached = any(window.used_percent >= _ALL for window in windows)
        return {
            "rate_limit": {
                "allowed": not reached,
                "limit_reached": reached,
                "primary_window": _usage_window(self.primary, now),
                "secondary_window": _usage_window(self.secondary, now),
            },
            "credits": {
                "has_credits": self.has_credits,
                "unlimited": self.unlimited,
                "balance": self.balance,
            },
        }


def _usage_window(window: LimitWindow | None, now: float) -> dict[str, int] | None:
    if window is None:
        return None
    return {
        "used_percent": int(window.used_percent),
        "limit_window_seconds": window.window_minutes * 60,
        "reset_after_seconds": window.resets_in_s,
        "reset_at": int(now) + window.resets_in_s,
    }
