"""Labels that several screens share: plans and billing, phases of a tool call, help of options and subcommands."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

UNKNOWN = "unknown"
REASONING = "Reasoning"

# How a turn ended.
STOPPED = "Stopped. The partial answer is kept."
INCOMPLETE = "The answer is incomplete."
NO_REASON = "The turn failed and no reason was given. Ask again."

# Approval by typing.
APPROVE_PROMPT = (
    "Run it? [y]es, [c] always allow this code, [a] allow this tool for this session, [n]o, [s]top: "
)
APPROVE_AGAIN = "Please answer y, c, a, n (optionally followed by what to do instead) or s. "

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

PLANS = MappingProxyType(
    {
        "free": "ChatGPT Free",
        "go": "ChatGPT Go",
        "plus": "ChatGPT Plus",
        "pro": "ChatGPT Pro",
        "team": "ChatGPT Business",
        "business": "ChatGPT Business",
        "enterprise": "ChatGPT Enterprise",
        "edu": "ChatGPT Edu",
    }
)
BILLED_PER_TOKEN = "billed per token"  # noqa: S105 -- no password


def plan_name(plan: str) -> str:
    """Return a plan's product name; a plan that is not known here keeps the service's name for it."""
    if plan in PLANS:
        return PLANS[plan]
    return f"ChatGPT {plan}" if plan and plan != "unknown" else "ChatGPT plan"


def billing_label(billing: str | None, plan: str) -> str:
    """Return what pays for a question."""
    if billing == "chatgpt":
        return f"included in {plan_name(plan)}"
    return f"API key, pay as you go ({BILLED_PER_TOKEN})" if billing == "api_key" else UNKNOWN


def limit_name(window: str, name: str) -> str:
    """Return a limit's name: the length of its window, and its own name when it is not Codex's main limit."""
    return window if name in {"", "codex"} else f"{window} ({name})"


SUBCOMMAND_HELP = MappingProxyType(
    {
        "status": "show who is signed in, the plan, the limits and where the credentials are stored",
        "login": "sign in by device code; or `login browser`, `login api_key`, `login access_token`",
        "logout": "sign out: revoke and delete the stored login",
        "models": "list the models available to this account",
        "model": "show the current model, or set one for this session",
        "effort": "show the current reasoning effort, or set one for this session",
        "usage": "show the plan's limits and when they reset",
        "context": "show exactly what the next question would send from this notebook",
        "thread": "show the current thread, or switch to another one",
        "threads": "list saved threads",
        "new": "start a new thread",
        "last": "show the last answer again",
        "fix": "explain the last error and propose a corrected cell",
        "explain": "explain the last cell, or the code that follows",
        "config": "show the current settings",
        "help": "show this help",
    }
)

OPTION_HELP = MappingProxyType(
    {
        "--model": "model to use; see %codex models",
        "--effort": "reasoning effort: low, medium, high …",
        "--thread": "thread to continue, or a name for a new one",
        "--output": "also bind the answer to this name",
        "--schema": "type of the answer's value, such as City, list[City] or City | None, or a JSON schema",
        "--image": "figure (by variable name) or image file to send",
        "--no-context": "send nothing from the notebook",
        "--no-tools": "offer the model no tools",
        "--approval": "when to ask before a tool runs: ask, auto, all, never",
        "--profile": "use another login or config profile",
        "--fresh": "bypass the saved answer and ask again",
        "--background": "run in the background",
    }
)
