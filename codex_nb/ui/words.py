"""Every word of the transcript that a person reads, in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from codex_nb.session.answer import Answer, Usage
    from codex_nb.session.events import RetryScheduled, TurnStarted
    from codex_nb.tools.plan import Plan, StepStatus

Phase = Literal[
    "writing", "ready", "asking", "running", "done", "failed", "rejected", "unanswered", "abandoned"
]

# What the front-end half shows; it knows no word of its own.
LABELS = {
    "answer": "Answer of Codex",
    "approve": "Approve",
    "approveCode": "Always this code",
    "approveCodeHelp": "Approve this, and exactly this code whenever it comes again in this session",
    "approveSession": "Approve for session",
    "approveSessionHelp": "Approve this, and every later call of this tool in this session",
    "cancelReject": "Back",
    "code": "Code that the model wants to run",
    "continue": "Continue",
    "copied": "Copied",
    "copy": "Copy",
    "copyFailed": "Could not copy",
    "edit": "Edit",
    "editHelp": "Change the code before it runs",
    "inserted": "Inserted below",
    "insert": "Insert below",
    "insertFailed": "Could not insert",
    "keepEdit": "Done editing",
    "output": "Output",
    "reject": "Reject",
    "rejectHelp": "Tell the model why, or what to do instead (optional)",
    "rejectSend": "Send rejection",
    "retry": "Retry",
    "stop": "Stop",
    "stopHelp": "Stop this turn; what has arrived is kept",
    "undoEdit": "Undo changes",
}

WORKING = "Codex is working"
THINKING = "Thinking"
WRITING = "Writing"
WAITING = "Waiting for your word"
STOPPING = "Stopping"
FINISHED = "Finished"
WIDGET_PLACEHOLDER = "Codex is answering; the answer replaces this line."
REASONING = "Reasoning"

_PHASES: dict[Phase, str] = {
    "writing": "being written",
    "ready": "waiting its turn",
    "asking": "waits for your approval",
    "running": "running",
    "done": "done",
    "failed": "failed",
    "rejected": "rejected",
    "unanswered": "refused, nobody was there to approve it",
    "abandoned": "did not run",
}
_TOOLS = {
    "run_python": "Python",
    "inspect": "Look at variables",
    "read_file": "Read a file",
    "list_files": "List files",
    "insert_cells": "Insert cells",
    "update_plan": "Plan",
}
PLAN = "Plan"
STEP_STATES: dict[StepStatus, str] = {"pending": "to do", "in_progress": "in progress", "completed": "done"}
SHOWN_AS_OUTPUTS = frozenset({"run_python"})  # tools whose outputs the notebook shows as a cell's own
_BILLING = {"chatgpt": "ChatGPT plan", "api_key": "API key, billed by use"}
_PLANS = {
    "free": "ChatGPT Free",
    "go": "ChatGPT Go",
    "plus": "ChatGPT Plus",
    "pro": "ChatGPT Pro",
    "team": "ChatGPT Business",
    "business": "ChatGPT Business",
    "enterprise": "ChatGPT Enterprise",
    "edu": "ChatGPT Edu",
}


def tool_title(name: str) -> str:
    """Return what a tool is called for the user."""
    return _TOOLS.get(name, name or "Tool")


def phase(which: Phase, *, edited: bool = False) -> str:
    """Return how far a tool call has come."""
    return _PHASES[which] + (", edited by you" if edited else "")


def call_title(name: str, which: Phase, *, edited: bool = False) -> str:
    """Return the line that stands above a tool call."""
    return f"{tool_title(name)} ({phase(which, edited=edited)})"


def call_status(name: str, *, running: bool) -> str:
    """Return what is going on while a call is written or carried out."""
    return f"Running: {tool_title(name)}" if running else f"Preparing: {tool_title(name)}"


def working_on(plan: Plan | None) -> str:
    """Return what is going on between calls: the step of the plan that is in progress, where there is one."""
    if plan is None or (place := plan.current) is None:
        return WORKING
    return f"Step {place + 1} of {len(plan.steps)}: {plan.steps[place].text}"


def asks(name: str) -> str:
    """Return what a screen reader hears when the user's word is needed."""
    return f"Codex asks for your approval: {tool_title(name)}"


def retrying(event: RetryScheduled) -> str:
    """Return the line that tells of a request that is tried again."""
    wait = f" in {event.delay:.0f} s" if event.delay >= 1 else ""
    return f"{event.reason} Trying again{wait} (attempt {event.attempt} of {event.max_attempts})."


def ending(answer: Answer, error: str | None) -> str:
    """Return the line that says why a turn did not end as usual, nothing when it did."""
    if answer.status == "completed":
        return ""
    if answer.status == "cancelled":
        return "Stopped. What had arrived is kept."
    if error:
        return error
    return (
        "The answer is incomplete." if answer.status == "incomplete" else "The turn failed without a reason."
    )


def footer(started: TurnStarted | None, answer: Answer) -> tuple[str, ...]:
    """Return the entries of the quiet line below an answer: model, tokens, and who paid."""
    entries = [_model(started, answer), tokens(answer.usage), *_payer(started, answer)]
    return tuple(entry for entry in entries if entry)


def tokens(usage: Usage) -> str:
    """Return the tokens of a turn, nothing when none were counted."""
    if not usage.total_tokens and not usage.input_tokens and not usage.output_tokens:
        return ""
    cached = f" ({usage.cached_input_tokens:,} cached)" if usage.cached_input_tokens else ""
    reasoning = f" ({usage.reasoning_output_tokens:,} reasoning)" if usage.reasoning_output_tokens else ""
    return f"{usage.input_tokens:,} tokens in{cached}, {usage.output_tokens:,} out{reasoning}"


def plan_name(plan: str) -> str:
    """Return a plan's name for the user; a plan that is not known is named as the service names it."""
    return _PLANS.get(plan, f"ChatGPT {plan}" if plan and plan != "unknown" else "ChatGPT plan")


def payment(billing: str, plan: str) -> str:
    """Return what pays."""
    if billing == "chatgpt":
        return plan_name(plan)
    return _BILLING.get(billing, billing)


def _model(started: TurnStarted | None, answer: Answer) -> str:
    model = answer.model or (started.model if started else "")
    effort = started.effort if started else None
    return f"{model}, {effort} effort" if model and effort else model


def _payer(started: TurnStarted | None, answer: Answer) -> list[str]:
    if started is None:
        return [payment(answer.billing, "")] if answer.billing else []
    return [started.account, payment(started.billing, started.plan)]


def elapsed(seconds: float) -> str:
    """Return a duration to read."""
    if seconds < 60:  # noqa: PLR2004 -- a minute
        return f"{seconds:.0f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"
