"""The plan of steps: a section that is redrawn in place, a checklist that stays, and lines for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codex_nb.rendering.bundle import plain_item
from codex_nb.rendering.document import Checklist, Item
from codex_nb.rendering.highlight import visible
from codex_nb.session.state import PlanPart, TurnState
from codex_nb.words import transcript as words

if TYPE_CHECKING:
    from codex_nb.tools.plan import Plan, Step, StepStatus

MARKS: dict[StepStatus, tuple[str, str]] = {
    "pending": ("○", "[ ]"),
    "in_progress": ("→", "[>]"),
    "completed": ("✓", "[x]"),
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
                "text": visible(step.text),
                "status": step.status,
                "mark": MARKS[step.status][0],
                "state": words.STEP_STATES[step.status],
            }
            for step in part.plan.steps
        ]
        return {"op": "plan", "key": self._key, "steps": steps, "remark": visible(part.plan.explanation)}


def checklist(plan: Plan) -> Checklist:
    """Return what stays of a plan."""
    return Checklist(words.PLAN, tuple(map(_item, plan.steps)), plan.explanation)


def plan_of(state: TurnState) -> Plan | None:
    """Return the plan that a turn has shown."""
    return next((part.plan for part in state.parts if isinstance(part, PlanPart)), None)


def plan_news(before: TurnState, after: TurnState) -> list[str]:
    """Return the lines that tell a terminal of a plan: the whole plan first, then only the steps that changed."""
    earlier, plan = plan_of(before), plan_of(after)
    if plan is None or plan == earlier:
        return []
    known = earlier.steps if earlier is not None else ()
    lines = [f"  {plain_item(_item(step))}" for step in plan.steps if step not in known]
    remark = f" {visible(plan.explanation)}" if plan.explanation else ""
    return [f"[{words.PLAN}]{remark}", *lines]


def _item(step: Step) -> Item:
    return Item(step.text, words.STEP_STATES[step.status], MARKS[step.status])
