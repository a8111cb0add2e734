"""The accounts that can sign in, and what each has: models, rate limits, usage."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Person:
    """One account: who it is, what plan pays, where its workspace lives.

    ``backend_origin`` and ``routing_override`` are what ``accounts/check`` says of the workspace.
    """

    email: str = "ada@example.com"
    name: str = "Ada Lovelace"
    account_id: str = "5f0c9a52-3b1e-4a55-9c50-1d6f7a2b9e01"
    user_id: str = "user-SimulatedAda000000000001"
    plan: str = "plus"
    is_fedramp: bool = False
    backend_origin: str = "NO_CONSTRAINT"
    routing_override: str = "NO_CONSTRAINT"


ADA = Person()
GRACE = Person(
    email="grace@example.org",
    name="Grace Hopper",
    account_id="8d2f6b10-77aa-4c0e-8a3d-2b9c4e5f6a02",
    user_id="user-SimulatedGrace0000000002",
    plan="team",
)


CLASSIC = "simulator-classic"
LITE = "simulator-lite"

_EFFORTS = (
    ("low", "Answers at once"),
    ("medium", "Looks first, then answers"),
    ("high", "Looks closely"),
)


def model_entry(slug: str, name: str, priority: int, *, is_lite: bool) -> dict[str, Any]:
    """One entry of ``/models``, with every field that the Codex CLI demands."""
    return {
        "slug": slug,
        "display_name": name,
        "description": "No model at all: the codex_nb simulator's own answers.",
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
    """The list of ``/models`` and the slugs that are answered although they are not on it.

    A Codex CLI in API-key mode never asks for the list and sends a model of its own catalog.
    """

    entries: list[dict[str, Any]] = field(default_factory=_default_entries)
    also_answered: frozenset[str] = frozenset({"gpt-6.1-sol", "gpt-5.5", "codex-auto-review"})
    etag: str = 'W/"simulator-1"'

    def offers(self, slug: object) -> bool:
        """Whether a request for this model is answered."""
        return slug in self.also_answered or any(entry["slug"] == slug for entry in self.entries)

    def is_lite(self, slug: object) -> bool:
        """Whether the model takes its tools as an input item."""
        return any(entry["slug"] == slug and entry.get("use_responses_lite") for entry in self.entries)

    def api_list(self) -> dict[str, Any]:
        """The list as ``/v1/models`` gives it."""
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


CHARACTERS_PER_TOKEN = 4
_KEPT_INPUTS = 64


def tokens_in(value: object) -> int:
    """About how many tokens the JSON of a value is."""
    return len(json.dumps(value, ensure_ascii=False)) // CHARACTERS_PER_TOKEN


@dataclass
class PromptCache:
    """Remembers inputs by ``prompt_cache_key``: an input that begins with an earlier one is cached up to there."""

    _inputs: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)

    def cached_tokens(self, key: str | None, items: Sequence[object]) -> int:
        """How many tokens of this input are cached; the input is remembered for the next one."""
        if key is None:
            return 0
        texts = tuple(json.dumps(item, ensure_ascii=False) for item in items)
        known = self._inputs.setdefault(key, [])
        best = max((len(old) for old in known if texts[: len(old)] == old), default=0)
        known.append(texts)
        del known[:-_KEPT_INPUTS]
        return sum(len(text) for text in texts[:best]) // CHARACTERS_PER_TOKEN


def usage_of(
    request: Mapping[str, Any], output: Sequence[Mapping[str, Any]], cached_tokens: int
) -> dict[str, Any]:
    """The ``usage`` object of a response."""
    input_tokens = tokens_in(request.get("input")) + tokens_in(request.get("tools") or [])
    reasoning = sum(tokens_in(item.get("summary")) for item in output if item.get("type") == "reasoning")
    visible = sum(tokens_in(item) for item in output if item.get("type") != "reasoning")
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": min(cached_tokens, input_tokens)},
        "output_tokens": visible + reasoning,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": input_tokens + visible + reasoning,
    }
