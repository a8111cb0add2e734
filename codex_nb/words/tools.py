"""Tools: what a call does, why it was refused, and why a function cannot be one."""

from __future__ import annotations

NOBODY_THERE = (
    "Nobody is here to approve this call, so it was refused. "
    "A person can run the cell, without --background, or the run can be started with --approval all."
)

NEVER_ASKED_FOR = "A function runs code, so its effect cannot be 'shows': that is never asked for."


def shows(tool: str) -> str:
    """Say what a call does that only shows."""
    return f"{tool} shows something and changes nothing."


def looks(tool: str) -> str:
    """Say what a call does that only looks."""
    return f"{tool} looks at something and changes nothing."


def changes(tool: str) -> str:
    """Say what a call does that changes the notebook."""
    return f"{tool} changes the notebook."


def runs_code(tool: str) -> str:
    """Say what a call does that runs code."""
    return f"{tool} runs code in this kernel."


def never_runs(tool: str) -> str:
    """Say that the approval policy refuses a call."""
    return f"{tool} is not available: the approval policy is 'never'."


def for_the_model_alone(tool: str) -> str:
    """Say that a tool without a function cannot be called from Python."""
    return f"{tool} is for the model alone."


def not_a_name(name: str) -> str:
    """Say what a tool may be called."""
    return f"{name!r} is no name for a tool: letters, digits, '_' and '-' only, at most 64."


def argument_without_a_name(tool: str, argument: str) -> str:
    """Say that the model can give an argument by its name only."""
    return f"{tool}: {argument} cannot be described to a model; give every argument a name."


def annotations_unusable(tool: str, problem: str) -> str:
    """Say why annotations have no JSON schema."""
    return f"{tool}: its annotations cannot be described to a model: {problem}"


def annotation_undefined(tool: str, problem: str) -> str:
    """Say that an annotation names something unknown."""
    return f"{tool}: an annotation names something that is not defined: {problem}"
