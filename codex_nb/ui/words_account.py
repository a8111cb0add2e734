"""Every word about the account that a person reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codex_nb.ui.words import plan_name

if TYPE_CHECKING:
    from datetime import datetime

TITLE = "Codex account"
UNKNOWN = "unknown"
ABSENCES = {
    "nobody": "Nobody is signed in",
    "changed": "Another account than the one of this session",
    "unusable": "The login cannot be used",
}
PLACEHOLDER = "The Codex account."

ACCOUNT = "Account"
PLAN = "Plan"
WORKSPACE = "Workspace or account id"
PAID = "Paid by"
LOGIN = "Login kept in"
VALID = "Login valid until"
PROFILE = "Profile"
MODEL = "Model"
LIMITS = "Limit"
USED = "Used"
RESETS = "Resets"
CREDITS = "Credits"

NO_LIMITS = "Limits: unknown until a question has been answered or they are asked for."
NO_LIMITS_FOR_KEYS = "Limits: an API key is billed by use; the OpenAI platform shows its limits."
RENEWED = "renewed by itself"

COMMANDS = {
    "refresh": ("Refresh", "Ask for the limits again"),
    "switch_profile": ("Switch profile", "Use another login"),
    "sign_in": ("Sign in", "Sign in, or sign in to another account"),
    "sign_out": ("Sign out", "Revoke and delete the login"),
}


def paid_by(billing: str | None, plan: str) -> str:
    """Return what pays, in words."""
    if billing == "chatgpt":
        return f"{plan_name(plan)}, nothing extra per question"
    return "API key, billed by use" if billing == "api_key" else UNKNOWN


def plan(billing: str | None, name: str) -> str:
    """Return the plan's name."""
    if billing == "api_key":
        return "none (API key)"
    return plan_name(name) if name != "unknown" else UNKNOWN


def limit(label: str, name: str) -> str:
    """Return what a limit is called: by the length of its window, and by its own name when it is not the main one."""
    return label if name in {"", "codex"} else f"{label} ({name})"


def when(moment: datetime | None, now: datetime) -> str:
    """Return a moment in the zone of ``now``: the time alone when it is today."""
    if moment is None:
        return UNKNOWN
    local = moment.astimezone(now.tzinfo)
    if local.date() == now.date():
        return f"today {local:%H:%M}"
    return f"{local:%a} {local.day} {local:%b %H:%M}" if local.year == now.year else f"{local:%Y-%m-%d %H:%M}"


def model(name: str | None, effort: str | None) -> str:
    """Return the model in use and its effort."""
    return f"{name or 'the default of the account'}{f', {effort} effort' if effort else ''}"
