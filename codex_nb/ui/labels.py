"""Labels: plans, limits and moments of an account, the phases of a call, the footer below an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from codex_nb.rendering.visible import escape_invisible
from codex_nb.words import account as account_words
from codex_nb.words import account as words
from codex_nb.words import transcript as transcript_words
from codex_nb.words.conversation import INCOMPLETE
from codex_nb.words.transcript import model_and_effort

if TYPE_CHECKING:
    from datetime import datetime

    from codex_nb.session.events import Answer, RetryScheduled, TurnStarted, Usage
    from codex_nb.tools.plan import Plan


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


def account_plan(billing: str | None, plan: str) -> str:
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


def tool_title(name: str) -> str:
    """Return what a tool is called for the user."""
    return transcript_words.TOOLS.get(name) or escape_invisible(name) or transcript_words.TOOL


def phase(which: Phase, *, edited: bool = False) -> str:
    """Return how far a tool call has come."""
    text = transcript_words.PHASES[which]
    return transcript_words.edited_by_you(text) if edited else text


def call_title(name: str, which: Phase, *, edited: bool = False) -> str:
    """Return the line that stands above a tool call."""
    return transcript_words.call_title(tool_title(name), phase(which, edited=edited))


def call_status(name: str, *, running: bool) -> str:
    """Return what is going on while a call is written or carried out."""
    title = tool_title(name)
    return transcript_words.running(title) if running else transcript_words.preparing(title)


def working_on(plan: Plan | None) -> str:
    """Return what is going on between calls: the step of the plan that is in progress, where there is one."""
    if plan is None or (place := plan.current) is None:
        return transcript_words.WORKING
    return transcript_words.step(str(place + 1), str(len(plan.steps)), plan.steps[place].text)


def retrying(event: RetryScheduled) -> str:
    """Return the line that tells of a request that is tried again."""
    attempt, attempts = str(event.attempt), str(event.max_attempts)
    if event.delay < 1:
        return transcript_words.trying_again(event.reason, attempt, attempts)
    return transcript_words.trying_again_later(event.reason, f"{event.delay:.0f}", attempt, attempts)


def ending(answer: Answer, error: str | None) -> str:
    """Return the line that says why a turn did not end as usual, nothing when it did."""
    if answer.status == "completed":
        return ""
    if answer.status == "cancelled":
        return transcript_words.STOPPED
    if error:
        return error
    return INCOMPLETE if answer.status == "incomplete" else transcript_words.FAILED_WITHOUT_A_REASON


def elapsed(seconds: float) -> str:
    """Return a duration to read."""
    if seconds < 60:  # noqa: PLR2004 -- a minute
        return transcript_words.seconds(f"{seconds:.0f}")
    return transcript_words.minutes(str(int(seconds // 60)), str(int(seconds % 60)))


def footer(started: TurnStarted | None, answer: Answer) -> tuple[str, ...]:
    """Return the entries of the line, those that are known."""
    entries = [_model(started, answer), _tokens(answer.usage), *_payer(started, answer)]
    return tuple(entry for entry in entries if entry)


def _model(started: TurnStarted | None, answer: Answer) -> str:
    model = answer.model or (started.model if started else "")
    effort = started.effort if started else None
    return transcript_words.model_and_effort(model, effort) if model and effort else model


def _tokens(usage: Usage) -> str:
    """Return the tokens of a turn, nothing when none were counted."""
    if not usage.total_tokens and not usage.input_tokens and not usage.output_tokens:
        return ""
    sent, received = f"{usage.input_tokens:,}", f"{usage.output_tokens:,}"
    if usage.cached_input_tokens:
        told = transcript_words.tokens_in_cached(sent, f"{usage.cached_input_tokens:,}")
    else:
        told = transcript_words.tokens_in(sent)
    if usage.reasoning_output_tokens:
        return (
            f"{told}, {transcript_words.tokens_out_reasoning(received, f'{usage.reasoning_output_tokens:,}')}"
        )
    return f"{told}, {transcript_words.tokens_out(received)}"


def _payer(started: TurnStarted | None, answer: Answer) -> list[str]:
    if started is None:
        return [_payment(answer.billing, "")] if answer.billing else []
    if started.account and started.billing == "api_key":
        return [started.account, account_words.BILLED_BY_USE]  # its label says already that it is a key
    return [started.account, _payment(started.billing, started.plan)]


def _payment(billing: str, plan: str) -> str:
    if billing == "chatgpt":
        return plan_name(plan)
    return account_words.BY_USE if billing == "api_key" else billing
