"""What is going on in a turn, put into words: its calls, its plan, its retries, its early end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from codex_nb.rendering.visible import escape_invisible
from codex_nb.words import transcript as words
from codex_nb.words.conversation import INCOMPLETE

if TYPE_CHECKING:
    from codex_nb.session.answer import Answer
    from codex_nb.session.events import RetryScheduled
    from codex_nb.tools.plan import Plan

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
    return words.TOOLS.get(name) or escape_invisible(name) or words.TOOL


def phase(which: Phase, *, edited: bool = False) -> str:
    """Return how far a tool call has come."""
    text = words.PHASES[which]
    return words.edited_by_you(text) if edited else text


def call_title(name: str, which: Phase, *, edited: bool = False) -> str:
    """Return the line that stands above a tool call."""
    return words.call_title(tool_title(name), phase(which, edited=edited))


def call_status(name: str, *, running: bool) -> str:
    """Return what is going on while a call is written or carried out."""
    title = tool_title(name)
    return words.running(title) if running else words.preparing(title)


def working_on(plan: Plan | None) -> str:
    """Return what is going on between calls: the step of the plan that is in progress, where there is one."""
    if plan is None or (place := plan.current) is None:
        return words.WORKING
    return words.step(str(place + 1), str(len(plan.steps)), plan.steps[place].text)


def retrying(event: RetryScheduled) -> str:
    """Return the line that tells of a request that is tried again."""
    attempt, attempts = str(event.attempt), str(event.max_attempts)
    if event.delay < 1:
        return words.trying_again(event.reason, attempt, attempts)
    return words.trying_again_later(event.reason, f"{event.delay:.0f}", attempt, attempts)


def ending(answer: Answer, error: str | None) -> str:
    """Return the line that says why a turn did not end as usual, nothing when it did."""
    if answer.status == "completed":
        return ""
    if answer.status == "cancelled":
        return words.STOPPED
    if error:
        return error
    return INCOMPLETE if answer.status == "incomplete" else words.FAILED_WITHOUT_A_REASON


def elapsed(seconds: float) -> str:
    """Return a duration to read."""
    if seconds < 60:  # noqa: PLR2004 -- a minute
        return words.seconds(f"{seconds:.0f}")
    return words.minutes(str(int(seconds // 60)), str(int(seconds % 60)))
