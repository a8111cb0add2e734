"""The simulated accounts, the models that they may use, and their rate limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Account:
    """A ChatGPT account; ``backend_origin`` and ``routing_override`` are returned by ``accounts/check``."""

    email: str = "ada@example.com"
    name: str = "Ada Lovelace"
    account_id: str = "5f0c9a52-3b1e-4a55-9c50-1d6f7a2b9e01"
    user_id: str = "user-SimulatedAda000000000001"
    plan: str = "plus"
    is_fedramp: bool = False
    backend_origin: str = "NO_CONSTRAINT"
    routing_override: str = "NO_CONSTRAINT"


ADA = Account()
GRACE = Account(
    email="grace@example.org",
    name="Grace Hopper",
    account_id="8d2f6b10-77aa-4c0e-8a3d-2b9c4e5f6a02",
    user_id="user-SimulatedGrace0000000002",
    plan="team",
)

CLASSIC = "simulator-classic"
LITE = "simulator-lite"

_EFFORTS = (
    ("low", "Answers immediately"),
    ("medium", "Inspects the data first"),
    ("high", "Inspects the data in detail"),
)


def model_entry(slug: str, name: str, priority: int, *, is_lite: bool) -> dict[str, Any]:
    """One entry of ``/models``, with every field that the Codex CLI requires."""
    return {
        "slug": slug,
        "display_name": name,
        "description": "Canned answers from the codex_nb simulator; no model is used.",
        "default_reasoning_level": "medium",
        "supported_reasoning_levels": [
            {"effort": effort, "description": description} for effort, description in _EFFORTS
        ],
        "shell_type": "default",
        "visibility": "list",
        "supported_in_api": True,
        "priority": priority,
        "upgrade": None,
        "base_instructions": "You are the codex_nb simulator.",
        "supports_reasoning_summaries": True,
        "support_verbosity": True,
        "default_verbosity": "low",
        "apply_patch_tool_type": None,
        "truncation_policy": {"mode": "bytes", "limit": 10_000},
        "supports_parallel_tool_calls": not is_lite,
        "context_window": 272_000,
        "experimental_supported_tools": [],
        "input_modalities": ["text", "image"],
        "use_responses_lite": is_lite,
    }


def _default_entries() -> list[dict[str, Any]]:
    return [
        model_entry(CLASSIC, "Simulator", 1, is_lite=False),
        model_entry(LITE, "Simulator (lite)", 2, is_lite=True),
    ]


@dataclass
class Catalog:
    """The entries of ``/models``, and slugs that are accepted without being listed.

    A Codex CLI in API-key mode never requests the list and sends a model of its own catalog.
    """

    entries: list[dict[str, Any]] = field(default_factory=_default_entries)
    unlisted: frozenset[str] = frozenset({"gpt-6.2-sol", "gpt-6.1-sol", "gpt-5.5", "codex-auto-review"})
    etag: str = 'W/"simulator-1"'

    def accepts(self, slug: object) -> bool:
        """Whether requests for this model are answered."""
        return slug in self.unlisted or any(entry["slug"] == slug for entry in self.entries)

    def api_list(self) -> dict[str, Any]:
        """The list in the format of ``/v1/models``."""
        data = [
            {
                "id": entry["slug"],
                "object": "model",
                "created": 1_767_225_600,
                "owned_by": "codex-nb-simulator",
            }
            for entry in self.entries
        ]
        return {"object": "list", "data": data}

    def api_model(self, slug: str) -> dict[str, Any] | None:
        """One model in the format of ``/v1/models/{id}``, None when it is not listed."""
        return next((model for model in self.api_list()["data"] if model["id"] == slug), None)


_FULL = 100.0


@dataclass(frozen=True)
class LimitWindow:
    """A rate-limit window: its used share, its length, and the seconds until it resets."""

    used_percent: float
    window_minutes: int
    resets_in_s: int

    def usage(self, now: float) -> dict[str, int]:
        """The window in the format of ``/wham/usage``, whose percentages are whole numbers."""
        return {
            "used_percent": int(self.used_percent),
            "limit_window_seconds": self.window_minutes * 60,
            "reset_after_seconds": self.resets_in_s,
            "reset_at": int(now) + self.resets_in_s,
        }


@dataclass(frozen=True)
class Limits:
    """The rate-limit windows and credits of an account; a window that is None is not reported."""

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

    def event(self, plan: str, now: float) -> dict[str, Any]:
        """The event that tells the limits on a websocket."""
        windows = {
            name: window
            and {
                "used_percent": window.used_percent,
                "window_minutes": window.window_minutes,
                "reset_at": int(now) + window.resets_in_s,
            }
            for name, window in (("primary", self.primary), ("secondary", self.secondary))
        }
        usage = self.usage(now)
        reached = usage["rate_limit"]["limit_reached"]
        return {
            "type": "codex.rate_limits",
            "plan_type": plan,
            "rate_limits": {"allowed": not reached, "limit_reached": reached, **windows},
            "credits": usage["credits"],
        }

    def usage(self, now: float) -> dict[str, Any]:
        """The fields of ``/wham/usage`` that describe limits and credits."""
        primary, secondary = self.primary, self.secondary
        reached = any(window.used_percent >= _FULL for window in (primary, secondary) if window)
        return {
            "rate_limit": {
                "allowed": not reached,
                "limit_reached": reached,
                "primary_window": primary and primary.usage(now),
                "secondary_window": secondary and secondary.usage(now),
            },
            "credits": {
                "has_credits": self.has_credits,
                "unlimited": self.unlimited,
                "balance": self.balance,
            },
        }
