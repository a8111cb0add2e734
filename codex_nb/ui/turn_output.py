"""From the state of a turn to its activity line, its saved output and the footer below it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from codex_nb.labels import BILLED_PER_TOKEN, INCOMPLETE, NO_REASON, REASONING, STOPPED, Phase, plan_name
from codex_nb.rendering.answer_output import (
    AnswerOutput,
    NoticeOutput,
    ReasoningOutput,
    TextOutput,
    ToolOutput,
)
from codex_nb.session.state import NoticePart, PlanPart, ReasoningPart, TextPart, ToolPart, TurnState
from codex_nb.ui.layout import shows_outputs
from codex_nb.ui.part_views import checklist, phase_label, phase_of, shown_code, tool_title

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from codex_nb.rendering import answer_output as document
    from codex_nb.responses.events import Usage
    from codex_nb.session.events import Answer, RetryScheduled, TurnStarted
    from codex_nb.session.state import Part

NEVER_RAN: frozenset[Phase] = frozenset({"rejected", "unanswered", "abandoned"})


class Activity(NamedTuple):
    """What a turn is doing now, and whether it still runs."""

    text: str
    busy: bool = True


WORKING = Activity("Codex is working")


def activity_of(state: TurnState) -> Activity:
    """Return the activity line of a turn."""
    if state.finished is not None:
        return Activity("Finished", busy=False)
    if state.retry is not None:
        return Activity(retry_line(state.retry))
    calls = [part for part in state.parts if isinstance(part, ToolPart) and (part.waiting or part.running)]
    match next(iter(calls), state.parts[-1] if state.parts else None):
        case TextPart(done=False):
            return Activity("Writing")
        case ReasoningPart(done=False):
            return Activity("Thinking")
        case ToolPart(output=None) as call:
            return Activity(_call_activity(call))
    if state.plan is None or (place := state.plan.plan.current) is None:
        return WORKING
    steps = state.plan.plan.steps
    return Activity(f"Step {place + 1} of {len(steps)}: {steps[place].text}")


def _call_activity(call: ToolPart) -> str:
    if call.waiting:
        return "Waiting for your approval"
    return f"{'Running' if call.running else 'Preparing'}: {tool_title(call.name)}"


def retry_line(event: RetryScheduled) -> str:
    """Return the line that announces a retry."""
    after = f" in {event.delay:.0f} s" if event.delay >= 1 else ""
    return f"{event.reason} Trying again{after} (attempt {event.attempt} of {event.max_attempts})."


def call_title(name: str, phase: Phase, *, edited: bool = False) -> str:
    """Return the line above a tool call."""
    return f"{tool_title(name)} ({phase_label(phase, edited=edited)})"


def ending(answer: Answer, error: str | None) -> str:
    """Return why a turn ended early, nothing when it completed."""
    match answer.status:
        case "completed":
            return ""
        case "cancelled":
            return STOPPED
        case "incomplete":
            return error or INCOMPLETE
        case "failed":
            return error or NO_REASON


def turn_document(
    state: TurnState, parts: Iterable[Part], *, shown_below: Collection[int] = (), is_last: bool = True
) -> AnswerOutput:
    """Return the saved output of these parts.

    ``shown_below`` names the calls whose outputs the notebook shows itself. The last document of a turn ends with the
    reason of an early end and the footer.
    """
    written = [_document_part(part, state, shown_below) for part in parts]
    entries: tuple[str, ...] = ()
    if is_last and state.finished is not None:
        answer = state.finished.answer
        if reason := ending(answer, state.finished.error):
            written.append(NoticeOutput(reason, "notice" if answer.status == "cancelled" else "error"))
        entries = footer(state.started, answer)
    return AnswerOutput(tuple(part for part in written if part is not None), entries)


def _document_part(part: Part, state: TurnState, shown_below: Collection[int]) -> document.OutputPart | None:
    match part:
        case TextPart():
            return TextOutput(part.text) if part.text.strip() else None
        case ReasoningPart():
            return ReasoningOutput(part.text, REASONING) if part.text.strip() else None
        case NoticePart():
            return NoticeOutput(part.notice.text)
        case PlanPart():
            return checklist(part)
        case ToolPart():
            return _call(part, state, shown_below)


def _call(part: ToolPart, state: TurnState, shown_below: Collection[int]) -> ToolOutput:
    code, language = shown_code(part)
    phase = phase_of(part)
    if part.output is None and state.finished is not None:
        phase = "stopped" if part.running else "abandoned"
    edited = part.decision is not None and part.decision.code is not None
    output = "" if part.call_number in shown_below else part.output or ""
    is_open = shows_outputs(part.name) and phase not in NEVER_RAN
    return ToolOutput(call_title(part.name, phase, edited=edited), code, language, output, is_open)


def footer(started: TurnStarted | None, answer: Answer) -> tuple[str, ...]:
    """Return the known entries of the line below an answer: model, tokens, account, billing."""
    model = answer.model or (started.model if started else "")
    if model and started and started.effort:
        model = f"{model}, {started.effort} effort"
    entries = (model, _tokens(answer.usage), *_payer(started, answer))
    return tuple(entry for entry in entries if entry)


def _tokens(usage: Usage) -> str:
    if not usage.total_tokens and not usage.input_tokens and not usage.output_tokens:
        return ""
    cached = f" ({usage.cached_input_tokens:,} cached)" if usage.cached_input_tokens else ""
    reasoning = f" ({usage.reasoning_output_tokens:,} reasoning)" if usage.reasoning_output_tokens else ""
    return f"{usage.input_tokens:,} tokens in{cached}, {usage.output_tokens:,} out{reasoning}"


def _payer(started: TurnStarted | None, answer: Answer) -> tuple[str, ...]:
    if started is None:
        return (_billing(answer.billing, ""),)
    if started.account and started.billing == "api_key":
        return (started.account, BILLED_PER_TOKEN)  # the account's label names the key
    return (started.account, _billing(started.billing, started.plan))


def _billing(billing: str, plan: str) -> str:
    if billing == "chatgpt":
        return plan_name(plan)
    return f"API key, {BILLED_PER_TOKEN}" if billing == "api_key" else billing
