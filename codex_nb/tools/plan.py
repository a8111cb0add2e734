"""``update_plan``: the model shows the steps it is about to take, and how far it has come; nothing runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from codex_nb.errors import InvalidArguments
from codex_nb.tools.approval import Effect
from codex_nb.tools.base import Arguments, Ports, Tool, ToolResult

if TYPE_CHECKING:
    from typing import TypeGuard

UPDATE_PLAN = "update_plan"
SHOWN = "Plan updated"  # the tool's whole answer, in the words of the Codex CLI
MOST_STEPS = 50
LONGEST_STEP = 300  # characters

StepStatus = Literal["pending", "in_progress", "completed"]
STATUSES: tuple[StepStatus, ...] = get_args(StepStatus)

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
        """The place of the step that is in progress, from 0; None when none is."""
        places = (place for place, step in enumerate(self.steps) if step.status == "in_progress")
        return next(places, None)


def read_plan(arguments: Arguments) -> Plan:
    """Read the plan that a call's arguments hold; raises InvalidArguments."""
    steps, explanation = arguments.get("plan"), arguments.get("explanation") or ""
    if not isinstance(steps, list) or not steps:
        raise InvalidArguments(f'{UPDATE_PLAN} takes "plan": a list of one or more steps')
    if len(steps) > MOST_STEPS:
        raise InvalidArguments(f"a plan has at most {MOST_STEPS} steps, not {len(steps)}")
    if not isinstance(explanation, str):
        raise InvalidArguments('"explanation" must be a string')
    return Plan(tuple(map(_step, steps)), _line(explanation))


def plan_in(text: str) -> Plan | None:
    """Return the plan in the JSON text of a call's arguments, None when it holds none."""
    try:
        return read_plan(update_plan.parse(text))
    except InvalidArguments:
        return None


def _step(told: object) -> Step:
    if not isinstance(told, dict):
        raise InvalidArguments('every step must be an object with "step" and "status"')
    text, status = told.get("step"), told.get("status")
    if not isinstance(text, str) or not (line := _line(text)):
        raise InvalidArguments('every step needs its text in "step"')
    if not _is_status(status):
        raise InvalidArguments(f'the "status" of a step is one of {", ".join(STATUSES)}')
    return Step(line, status)


def _is_status(told: object) -> TypeGuard[StepStatus]:
    return told in STATUSES


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_STEP else line[: LONGEST_STEP - 1] + "…"


def _check(arguments: Arguments) -> Arguments:
    read_plan(arguments)
    return arguments


async def _call(arguments: Arguments, ports: Ports) -> ToolResult:
    del arguments, ports  # the views read the plan off the call itself
    return ToolResult(SHOWN)


_STEP: dict[str, Any] = {
    "type": "object",
    "properties": {
        "step": {"type": "string", "description": "The step, in one short line of plain text."},
        "status": {"type": "string", "enum": list(STATUSES)},
    },
    "required": ["step", "status"],
    "additionalProperties": False,
}

update_plan = Tool(
    name=UPDATE_PLAN,
    description=_DESCRIPTION,
    parameters={
        "type": "object",
        "properties": {
            "explanation": {
                "type": "string",
                "description": "Why the plan is as it is, where that needs a word.",
            },
            "plan": {"type": "array", "items": _STEP, "description": "All steps, in order."},
        },
        "required": ["plan"],
        "additionalProperties": False,
    },
    effect=Effect.NONE,
    call=_call,
    check=_check,
    available=lambda ports: ports.kernel is not None,
)
