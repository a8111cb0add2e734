"""The tools that every notebook has: run code, look at variables, keep a plan."""

from __future__ import annotations

import types
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from codex_nb.errors import InvalidArguments
from codex_nb.tools.approval import Approved, Effect
from codex_nb.tools.base import Arguments, NotBlank, Ports, Tool, ToolResult, required
from codex_nb.tools.describe import Detail, describe, output_images, output_text
from codex_nb.tools.hiding import source_of
from codex_nb.tools.introspection import is_user_variable, snapshot
from codex_nb.tools.nbmodel import shorten, truncate

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from codex_nb.tools.describe import RunResult
    from codex_nb.tools.hiding import Hidden


OUTPUT_LIMIT = 16_000
IMAGE_LIMIT = 4
IMAGE_SIZE_LIMIT = 2_000_000

_RUN_DESCRIPTION = """\
Runs Python in the user's live IPython kernel, in the user's own namespace: every variable, import and function of the \
notebook is there, and what the code defines stays there. Top-level await works. Outputs, figures and errors appear in \
the notebook and come back as the result. The user sees the code and may be asked before it runs, so keep it short \
and to the point; print only what you need to know."""


class RunPython(Arguments, extra="forbid"):
    """Code to run."""

    code: NotBlank = Field(description="Python source, as one notebook cell.")

    def to_code(self) -> str:
        """Return the code."""
        return self.code

    def with_code(self, code: str) -> RunPython:
        """Return the arguments with other code."""
        return RunPython(code=code)


async def _run(call: Approved[RunPython], ports: Ports) -> ToolResult:
    kernel = required(ports.kernel, "There is no IPython kernel here to run code in.")

    def run() -> tuple[RunResult, str]:
        from codex_nb.tools.content_hash import Variables

        before = Variables(ports.hidden().visible(kernel.namespace()))
        result, hidden = kernel.run(call.arguments.code), ports.hidden()
        changes = before.changes(Variables(hidden.visible(kernel.namespace())))
        return replace(result, outputs=hidden.outputs(result.outputs)), changes

    result, changes = await ports.main_thread.call(run)
    return replace(run_result(result), changes=changes)


def run_result(result: RunResult) -> ToolResult:
    """Return the text and the images of what running code gave, truncated."""
    texts = [text for output in result.outputs if (text := output_text(output, OUTPUT_LIMIT))]
    shown = output_images(result.outputs)
    images = tuple(image for image in shown if len(image) <= IMAGE_SIZE_LIMIT)[:IMAGE_LIMIT]
    if result.error and not any(output.get("output_type") == "error" for output in result.outputs):
        texts.append(result.error)
    if shown:
        unsent = len(shown) - len(images)
        note = f", {unsent} not sent (too large or too many)" if unsent else ""
        texts.append(f"[{len(shown)} figure{'s' * (len(shown) > 1)} shown in the notebook{note}]")
    text = truncate("\n".join(texts), OUTPUT_LIMIT) if texts else "(ran without any output)"
    return ToolResult(text, images=images, ok=result.error is None, outputs=result.outputs)


run_python = Tool(
    name="run_python",
    description=_RUN_DESCRIPTION,
    arguments=RunPython,
    effect=Effect.EXECUTE,
    call=_run,
    title="Python",
    summary="Runs Python in this notebook's kernel.",
    shows_outputs=True,
    requires="kernel",
)


MAX_NAMES = 20
SOURCE_LIMIT = 8_000
NO_VARIABLE = "there is no such variable"
NOT_SHOWN = "the user keeps this out (codex-skip) unless their question mentions it with @"
_LISTED = 200

_INSPECT_DESCRIPTION = """\
Looks at variables of the user's kernel without running any code: type, size, columns and first rows of frames, values \
of simple objects, attributes of others, the source of functions defined in the notebook. Without names it lists all \
variables."""


class InspectVariables(Arguments, extra="forbid"):
    """Names to look up."""

    names: list[str] = Field(default=[], description="Names of variables; empty for a list of all.")


async def _inspect(call: Approved[InspectVariables], ports: Ports) -> ToolResult:
    kernel = required(ports.kernel, "There is no kernel here to look into.")
    names = call.arguments.names
    return await ports.main_thread.call(lambda: inspect_variables(kernel.namespace(), names, ports.hidden()))


def inspect_variables(namespace: Mapping[str, Any], names: list[str], hidden: Hidden) -> ToolResult:
    """Describe the variables of these names, or list all of them, except those that the user keeps out."""
    namespace = snapshot(namespace)
    shown = hidden.visible(namespace)
    if not names:
        known = [name for name, value in shown.items() if is_user_variable(name, value)]
        lines = [describe(name, shown[name], Detail.LINE).text for name in known[:_LISTED]]
        if len(known) > _LISTED:
            lines.append(f"… {len(known)} variables in all")
        return ToolResult("\n".join(lines) or "(no variables)")
    missing = [name for name in names[:MAX_NAMES] if name not in shown]
    texts = [_description(name, shown[name], hidden) for name in names[:MAX_NAMES] if name in shown]
    texts += [f"{name}: {NOT_SHOWN if name in namespace else NO_VARIABLE}" for name in missing]
    if len(names) > MAX_NAMES:
        texts.append(f"… only the first {MAX_NAMES} names were looked at")
    return ToolResult("\n\n".join(texts), ok=len(missing) < len(names))


def _description(name: str, value: object, hidden: Hidden) -> str:
    text = describe(name, value, Detail.FULL).text
    source = source_of(value) if type(value) is types.FunctionType else None
    if source is None:
        return text
    shown = source if name in hidden.mentioned else hidden.text(source)
    return f"{text}\n{truncate(shown, SOURCE_LIMIT)}"


inspect = Tool(
    name="inspect",
    description=_INSPECT_DESCRIPTION,
    arguments=InspectVariables,
    effect=Effect.INSPECT,
    call=_inspect,
    title="Inspect variables",
    summary="Reads variables. Changes nothing.",
    requires="kernel",
)


UPDATE_PLAN = "update_plan"
PLAN_UPDATED = "Plan updated"  # the tool's whole result, as in the Codex CLI
MAX_STEPS = 50
MAX_STEP_LENGTH = 300  # characters

StepStatus = Literal["pending", "in_progress", "completed"]

_PLAN_DESCRIPTION = """\
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


def _line(text: str) -> str:
    return shorten(" ".join(text.split()), MAX_STEP_LENGTH)


def plan_in(text: str) -> Plan | None:
    """Return the plan in the JSON text of a call's arguments, in lines of bounded length; None when it holds none."""
    try:
        sent = update_plan.parse(text)
    except InvalidArguments:
        return None
    steps = tuple(Step(_line(each.step), each.status) for each in sent.plan)
    return Plan(steps, _line(sent.explanation or ""))


async def _update_plan(call: Approved[UpdatePlan], ports: Ports) -> ToolResult:
    del call, ports  # the views read the plan off the call itself
    return ToolResult(PLAN_UPDATED)


update_plan = Tool(
    name=UPDATE_PLAN,
    description=_PLAN_DESCRIPTION,
    arguments=UpdatePlan,
    effect=Effect.NONE,
    call=_update_plan,
    title="Plan",
    summary="Shows a plan. Changes nothing.",
    requires="kernel",
)
