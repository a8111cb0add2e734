"""The one line that says what is going on right now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codex_nb.session.state import ReasoningPart, TextPart, ToolPart, TurnState
from codex_nb.ui.phrasing import call_status, retrying, working_on
from codex_nb.ui.plans import plan_of
from codex_nb.words import transcript as words

if TYPE_CHECKING:
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
