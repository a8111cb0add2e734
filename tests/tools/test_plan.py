from __future__ import annotations

import json
from typing import Any

import pytest

from codex_nb.errors import InvalidArguments
from codex_nb.tools.base import Ports, ToolResult
from codex_nb.tools.builtin import MAX_STEP_LENGTH, MAX_STEPS, PLAN_UPDATED, Plan, Step, plan_in, update_plan
from tests.session.scripted import SameThread, call_tool


def plan_of(arguments: dict[str, Any]) -> Plan:
    plan = plan_in(json.dumps(arguments))
    assert plan is not None
    return plan


STEP = {"step": "Look", "status": "pending"}


def test_a_plan_is_read_in_lines_of_bounded_length() -> None:
    steps = [
        {"step": "  Load\nthe data\t", "status": "in_progress"},
        {"step": "x" * 999, "status": "pending"},
    ]
    plan = plan_of({"plan": steps, "explanation": "Two\nsteps."})
    long = "x" * (MAX_STEP_LENGTH - 1) + "…"
    assert plan == Plan((Step("Load the data", "in_progress"), Step(long, "pending")), "Two steps.")
    assert (plan.current, plan_of({"plan": [STEP]}).current) == (0, None)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"plan": []},
        {"plan": "Look"},
        {"plan": ["Look"]},
        {"plan": [{"step": "Look"}]},
        {"plan": [{"step": "Look", "status": "done"}]},
        {"plan": [{"step": "Look", "status": []}]},
        {"plan": [{"step": " \n", "status": "pending"}]},
        {"plan": [{"step": 1, "status": "pending"}]},
        {"plan": [STEP] * (MAX_STEPS + 1)},
        {"plan": [STEP], "explanation": 1},
    ],
)
def test_what_is_no_plan_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidArguments):
        update_plan.parse(json.dumps(arguments))
    assert plan_in(json.dumps(arguments)) is None


@pytest.mark.anyio
async def test_a_plan_does_nothing_but_say_that_it_was_shown() -> None:
    assert await call_tool(update_plan, {"plan": [STEP]}, Ports(SameThread())) == ToolResult(PLAN_UPDATED)
