"""Labels that several screens share: login methods, plans, the end of a turn, tool calls and their approval."""

from __future__ import annotations

import math
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

LoginMethod = Literal["device", "browser", "api_key", "access_token"]


class LoginMethodLabels(NamedTuple):
    """How a login method is offered: its button, and what it needs."""

    button: str
    help: str


# Every login method, in the order in which they are offered; auth.login runs them.
LOGIN_METHODS: Mapping[LoginMethod, LoginMethodLabels] = MappingProxyType(
    {
        "device": LoginMethodLabels("Use a device code", "Sign in to ChatGPT on any device"),
        "browser": LoginMethodLabels(
            "Sign in with this browser", "Sign in to ChatGPT in a browser on this computer"
        ),
        "api_key": LoginMethodLabels(
            "Use an API key", "Pay as you go with a key from the OpenAI platform (billed per token)"
        ),
        "access_token": LoginMethodLabels("Use an access token", "Sign in with a personal access token"),
    }
)


def short_account(label: str) -> str:
    """Return an account's label as a notebook may save it.

    Of an e-mail address these are the first letter and the host, of an id the last four characters.
    """
    if " " in label:
        return label
    name, at, host = label.rpartition("@")
    return f"{name[:1]}…@{host}" if at else short_id(label)


def short_id(identifier: str) -> str:
    """Return enough of an id to tell it from another, and too little to use it."""
    return f"…{identifier[-4:]}" if len(identifier) > 4 else identifier  # noqa: PLR2004


TRANSPORTS = ("http", "websocket", "auto")
AGENT_CONFIGS = ("private", "own")
SIMILAR = 0.75  # of 1: a word this close to a known name is a typo of it

# How a turn ended.
STOPPED = "Stopped. The partial answer is kept."
INCOMPLETE = "The answer is incomplete."
NO_REASON = "The turn failed and no reason was given. Ask again."

Phase = Literal[
    "writing",
    "ready",
    "asking",
    "running",
    "done",
    "failed",
    "rejected",
    "unanswered",
    "abandoned",
    "stopped",
]
PHASES: Mapping[Phase, str] = MappingProxyType(
    {
        "writing": "being written",
        "ready": "queued",
        "asking": "needs your approval",
        "running": "running",
        "done": "done",
        "failed": "failed",
        "rejected": "rejected",
        "unanswered": "declined, nobody could approve it",
        "abandoned": "did not run",
        "stopped": "stopped while running",
    }
)


# What Codex's own agent does, by the names of its calls.
AGENT_TOOLS: Mapping[str, str] = MappingProxyType(
    {
        "shell": "Shell command",
        "apply_patch": "Change files",
        "permissions": "More permissions",
        "mcp": "MCP tool",
        "questions": "Questions to you",
        "view_image": "View image",
        "image_generation": "Image",
    }
)


def date_time(moment: datetime) -> str:
    """Return a moment in this machine's zone, as "29 Nov 2026 00:38": also in what is saved and read much later."""
    local = moment.astimezone()
    return f"{local.day} {local:%b %Y %H:%M}"


def time_span(span: timedelta) -> str:
    """Return a time span in its two largest units, as "2 days 3 h" or "1 h 30 min"."""
    minutes = max(0, math.ceil(span.total_seconds() / 60))
    days, hours = divmod(minutes // 60, 24)
    parts = [(days, "day" if days == 1 else "days"), (hours, "h"), (minutes % 60, "min")]
    shown = [f"{count} {unit}" for count, unit in parts if count]
    return " ".join(shown[:2]) or "0 min"


BILLED_PER_TOKEN = "billed per token"  # noqa: S105 -- no password


def limit_name(window: str, name: str) -> str:
    """Return a limit's name: the length of its window, and its own name when it is not Codex's main limit."""
    return window if name in {"", "codex"} else f"{window} ({name})"


# Reasoning efforts, from least to most. ULTRA is the CLI's own: the API knows it by the model's highest effort.
ULTRA = "ultra"
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max", ULTRA)


class ApprovalPolicy(StrEnum):
    """When a tool call needs the user's approval."""

    ASK = "ask"
    AUTO = "auto"
    ALL = "all"
    READ_ONLY = "read-only"


APPROVAL_HELP: Mapping[ApprovalPolicy, str] = MappingProxyType(
    {
        ApprovalPolicy.ASK: "asks before files are read, code runs or the notebook changes",
        ApprovalPolicy.AUTO: "asks before code runs or the notebook changes",
        ApprovalPolicy.ALL: "runs everything without asking",
        ApprovalPolicy.READ_ONLY: "runs no code and changes nothing",
    }
)


ERROR_HELP = "%codex explain explains this error, %codex fix corrects the cell."


PLANS = MappingProxyType(
    {
        "prolite": "Pro Lite",
        "team": "Business",
        "hc": "Enterprise",
        "education": "Edu",
        "k12": "K-12",
        "self_serve_business_usage_based": "Business (usage-based)",
        "enterprise_cbp_usage_based": "Enterprise (usage-based)",
        "free_workspace": "Free (workspace)",
        "unknown": "plan",
        "": "plan",
    }
)


@lru_cache
def plan_name(plan: str) -> str:
    """Return a plan's product name: ChatGPT, and the service's own name for it as it is read."""
    return f"ChatGPT {PLANS.get(plan) or plan.replace('_', ' ').title()}"
