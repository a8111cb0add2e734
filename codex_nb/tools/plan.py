"""``update_plan``: the model shows the steps that it is about to take, and their status; nothing runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from codex_nb.errors import InvalidArguments
from codex_nb.tools.approval import Approved, Effect
from codex_nb.tools.base import Arguments, NotBlank, Ports, Tool, ToolResult

UPDATE_PLAN = "update_plan"
SHOWN = "Plan updated"  # the tool's whole result, as in the Codex CLI
MAX_STEPS = 50
MAX_STEP_LENGTH = 300  # characters

StepStatus = Literal["pending", "in_progress", "completed"]

_DESCRIPTION = """\
Shows the user a checklist of the steps you are about to take; call it again with all steps when one has been begun or \
completed, and the checklist is updated in place. It runs nothing and changes nothing. Use it only for questions that \
need several steps. At most one step is in_progress at a time."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step, in one line."""

    text: str
    status: StepStatus


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps in order, and why they changed."""

    steps: tuple[Step, ...]
    explanation: str = ""

    @property
    def current(self) -> int | None:
        """The index of the step that is in progress; None when none is."""
        places = (place for place, step in enumerate(self.steps) if step.status == "in_progress")
        return next(places, None)


class PlannedStep(Arguments):
    """A step as the model sends it."""

    step: NotBlank = Field(description="The step, in one short line of plain text.")
    status: StepStatus


class UpdatePlan(Arguments):
    """A plan as the model sends it."""

    explanation: str | None = Field(
        default=None, description="Why the plan is as it is, where that needs a word."
    )
    plan: list[PlannedStep] = Field(min_length=1, max_length=MAX_STEPS, description="All steps, in order.")

    def to_plan(self) -> Plan:
        """Return the plan in lines of bounded length."""
        steps = tuple(Step(_line(each.step), each.status) for each in self.plan)
        return Plan(steps, _line(self.explanation or ""))


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_STEP_LENGTH else line[: MAX_STEP_LENGTH - 1] + "…"


def plan_in(text: str) -> Plan | None:
    """Return the plan in the JSON text of a call's arguments, None when it holds none."""
    try:
        return update_plan.parse(text).to_plan()
    except InvalidArguments:
        return None


async def _update_plan(call: Approved[UpdatePlan], ports: Ports) -> ToolResult:
    del call, ports  # the views read the plan off the call itself
    return ToolResult(SHOWN)


update_plan = Tool(
    name=UPDATE_PLAN,
    description=_DESCRIPTION,
    arguments=UpdatePlan,
    effect=Effect.NONE,
    call=_update_plan,
    title="Plan",
    summary="Shows a plan. Changes nothing.",
    requires="kernel",
)
