"""From the state of a turn to its activity line and its saved output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codex_nb.rendering.answer_output import Call, Document, Prose, Remark, Thinking
from codex_nb.session.state import NoticePart, PlanPart, ReasoningPart, TextPart, ToolPart, TurnState
from codex_nb.ui.labels import call_status, call_title, ending, footer, retrying, working_on
from codex_nb.ui.layout import SHOWN_AS_OUTPUTS
from codex_nb.ui.part_views import checklist, phase_of, plan_of, shown_code
from codex_nb.words import transcript as words

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from codex_nb.rendering import answer_output as document
    from codex_nb.session.state import Part


def status_of(state: TurnState) -> tuple[str, bool]:
    """Return what is going on, and whether it still goes on."""
    if state.finished is not None:
        return words.FINISHED, False
    if state.retry is not None:
        return retrying(state.retry), True
    calls = [part for part in state.parts if isinstance(part, ToolPart) and (part.waiting or part.running)]
    doing = _doing(next(iter(calls), state.parts[-1] if state.parts else None))
    return doing or working_on(plan_of(state)), True


def _doing(part: Part | None) -> str | None:
    match part:
        case TextPart(done=False):
            return words.WRITING
        case ReasoningPart(done=False):
            return words.THINKING
        case ToolPart(output=None):
            return words.WAITING if part.waiting else call_status(part.name, running=part.running)
        case _:
            return None


NEVER_RAN = {"rejected", "unanswered", "abandoned"}  # a call that runs is none of them


def document_of(
    state: TurnState, parts: Iterable[Part], *, shown_below: Collection[int] = (), is_last: bool = True
) -> Document:
    """Return what stays of these parts.

    ``shown_below`` names the calls whose outputs the notebook shows itself. The last document of a turn ends with the
    reason of an early end and the footer.
    """
    written = [_part(part, state, shown_below) for part in parts]
    entries: tuple[str, ...] = ()
    if is_last and state.finished is not None:
        answer = state.finished.answer
        if reason := ending(answer, state.finished.error):
            kind = "notice" if answer.status == "cancelled" else "error"
            written.append(Remark(reason, "notice" if kind == "notice" else "error"))
        entries = footer(state.started, answer)
    return Document(tuple(part for part in written if part is not None), entries)


def _part(part: Part, state: TurnState, shown_below: Collection[int]) -> document.Part | None:
    match part:
        case TextPart():
            return Prose(part.text) if part.text.strip() else None
        case ReasoningPart():
            return Thinking(part.text, words.REASONING) if part.text.strip() else None
        case NoticePart():
            return Remark(part.notice.text)
        case PlanPart():
            return checklist(part)
        case ToolPart():
            return _call(part, state, below=part.call_number in shown_below)


def _call(part: ToolPart, state: TurnState, *, below: bool) -> Call:
    code, language = shown_code(part)
    which = phase_of(part)
    if part.output is None and state.finished is not None:
        which = "stopped" if part.running else "abandoned"
    edited = part.decision is not None and part.decision.code is not None
    output = "" if below else part.output or ""
    is_open = part.name in SHOWN_AS_OUTPUTS and which not in NEVER_RAN
    return Call(call_title(part.name, which, edited=edited), code, language, output, is_open)
