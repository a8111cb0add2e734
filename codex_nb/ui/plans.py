"""The plan of steps: a section that is redrawn in place, a checklist that stays, and lines for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from codex_nb.rendering.bundle import plain_item
from codex_nb.rendering.document import Checklist, Item
from codex_nb.rendering.visible import visible
from codex_nb.words import transcript as words

if TYPE_CHECKING:
    from codex_nb.session.state import PlanPart, TurnState
    from codex_nb.tools.plan import Plan

StepState = Literal["pending", "in_progress", "completed", "unfinished"]
MARKS: dict[StepState, tuple[str, str]] = {
    "pending": ("○", "[ ]"),
    "in_progress": ("→", "[>]"),
    "completed": ("✓", "[x]"),
    "unfinished": ("◐", "[-]"),  # in progress when the turn ended
}


class PlanSection:
    """The checklist on a live page."""

    def __init__(self, key: int) -> None:
        self._key = key
        self._part: PlanPart | None = None

    def update(self, part: PlanPart) -> list[dict[str, Any]]:
        """Show another state of the plan in the place of the one before."""
        last, self._part = self._part, part
        if part == last:
            return []
        return self.whole() if last is None else [self._steps(part)]

    def whole(self) -> list[dict[str, Any]]:
        """Begin the section with all its steps."""
        if self._part is None:
            return []
        begin = {"op": "section", "key": self._key, "kind": "plan", "title": words.PLAN}
        return [begin, self._steps(self._part)]

    def _steps(self, part: PlanPart) -> dict[str, Any]:
        steps = [
            {
                "text": visible(text),
                "status": state,
                "mark": MARKS[state][0],
                "state": words.STEP_STATES[state],
            }
            for text, state in _steps(part)
        ]
        return {"op": "plan", "key": self._key, "steps": steps, "remark": visible(part.plan.explanation)}


def checklist(part: PlanPart) -> Checklist:
    """Return what stays of a plan."""
    return Checklist(words.PLAN, tuple(_items(part)), part.plan.explanation)


def plan_of(state: TurnState) -> Plan | None:
    """Return the plan that a turn has shown."""
    return None if state.plan is None else state.plan.plan


def plan_news(before: TurnState, after: TurnState) -> list[str]:
    """Return the lines that tell a terminal of a plan: the whole plan first, then only the steps that changed."""
    earlier, part = before.plan, after.plan
    known = _items(earlier) if earlier is not None else []
    news = [item for item in _items(part) if item not in known] if part is not None else []
    if part is None or not (news or earlier is None or part.plan != earlier.plan):
        return []
    remark = f" {visible(part.plan.explanation)}" if part.plan.explanation and not part.is_over else ""
    return [f"[{words.PLAN}]{remark}", *(f"  {plain_item(item)}" for item in news)]


def _steps(part: PlanPart) -> list[tuple[str, StepState]]:
    return [
        (step.text, "unfinished" if part.is_over and step.status == "in_progress" else step.status)
        for step in part.plan.steps
    ]


def _items(part: PlanPart) -> list[Item]:
    return [Item(text, words.STEP_STATES[state], MARKS[state]) for text, state in _steps(part)]
