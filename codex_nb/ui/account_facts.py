"""What is known of an account, put into words: its plan, what pays, its limits, moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codex_nb.words import account as words
from codex_nb.words.transcript import model_and_effort

if TYPE_CHECKING:
    from datetime import datetime


def plan_name(plan: str) -> str:
    """Return a plan's name; a plan that is not known is named as the service names it."""
    if plan in words.PLANS:
        return words.PLANS[plan]
    return words.another_plan(plan) if plan and plan != "unknown" else words.SOME_PLAN


def paid_by(billing: str | None, plan: str) -> str:
    """Return what pays."""
    if billing == "chatgpt":
        return words.paid_by_plan(plan_name(plan))
    return words.BY_USE if billing == "api_key" else words.UNKNOWN


def plan_of(billing: str | None, plan: str) -> str:
    """Return the plan of an account, as far as it has one."""
    if billing == "api_key":
        return words.NO_PLAN
    return plan_name(plan) if plan != "unknown" else words.UNKNOWN


def limit_name(window: str, name: str) -> str:
    """Return what a limit is called: by the length of its window, and by its own name when it is not the main one."""
    return window if name in {"", "codex"} else words.limit_of(window, name)


def when(moment: datetime | None, now: datetime) -> str:
    """Return a moment in the zone of ``now``: the time alone when it is today."""
    if moment is None:
        return words.UNKNOWN
    local = moment.astimezone(now.tzinfo)
    if local.date() == now.date():
        return words.today(f"{local:%H:%M}")
    return f"{local:%a} {local.day} {local:%b %H:%M}" if local.year == now.year else f"{local:%Y-%m-%d %H:%M}"


def model_in_use(name: str | None, effort: str | None) -> str:
    """Return the model in use and its effort."""
    model = name or words.DEFAULT_MODEL
    return model_and_effort(model, effort) if effort else model
