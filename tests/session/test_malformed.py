"""A response that contradicts itself about its calls is refused as a whole: nothing of it runs, nothing is kept."""

from __future__ import annotations

import pytest

from codex_nb.config.settings import ApprovalPolicy
from codex_nb.errors import MalformedResponse
from codex_nb.session.events import ApprovalRequested, ToolCallReady, ToolCallStarted, ToolFinished
from codex_nb.session.outbound import Item
from codex_nb.session.thread import Thread
from codex_nb.tools.approval import DecisionKind
from tests.session.scripted import (
    ProcessKernel,
    ScriptedApprover,
    Step,
    added,
    called,
    done,
    finished,
    make_turn,
    outputs,
    play,
    reply,
    said,
)

pytestmark = pytest.mark.anyio

SHOWN = called("run_python", {"code": "a = 1"})
OTHER_CODE = called("run_python", {"code": "b = 1"})
TWIN = OTHER_CODE | {"id": "fc_twin"}
CUSTOM = {
    "type": "custom_tool_call",
    "id": "fc_call_1",
    "call_id": "call_1",
    "name": "run_python",
    "input": "b = 1",
}


def streamed(*items: Item) -> list:
    return [event for item in items for event in (added(item), done(item))]


CONTRADICTIONS: dict[str, Step] = {
    "other code at the end": [*streamed(SHOWN), finished(OTHER_CODE)],
    "another tool at the end": [*streamed(SHOWN), finished(SHOWN | {"name": "inspect"})],
    "another kind of call at the end": [*streamed(SHOWN), finished(CUSTOM)],
    "another id at the end": [*streamed(SHOWN), finished(SHOWN | {"call_id": "call_2"})],
    "no call at the end": [*streamed(SHOWN), finished(said("Nothing to run."))],
    "one id for two calls": [*streamed(SHOWN, TWIN), finished(SHOWN, TWIN)],
    "one id for two equal calls": [*streamed(SHOWN, SHOWN), finished(SHOWN, SHOWN)],
    "one id for two calls of which one is shown": [*streamed(SHOWN), finished(SHOWN, TWIN)],
    "one id for two calls of which none is shown": [finished(SHOWN, TWIN)],
    "one id for two calls, told once at the end": [*streamed(SHOWN, TWIN), finished(SHOWN)],
}


@pytest.mark.parametrize("policy", [ApprovalPolicy.ASK, ApprovalPolicy.ALL])
@pytest.mark.parametrize("name", CONTRADICTIONS)
async def test_a_contradiction_ends_the_turn_and_runs_nothing(name: str, policy: ApprovalPolicy) -> None:
    kernel, person, thread = ProcessKernel(), ScriptedApprover(), Thread("default")
    turn = make_turn(thread=thread, kernel=kernel, policy=policy, approver=person)
    _, last, client = await play(turn, CONTRADICTIONS[name])
    assert (type(last.failure), last.answer.status) == (MalformedResponse, "failed")
    assert (kernel.ran, person.asked, len(client.requests)) == ([], [], 1)
    assert thread.items == ()
    assert client.closed == 1


@pytest.mark.parametrize("second", [reply(TWIN), [finished(TWIN)]], ids=["streamed", "at the end alone"])
async def test_the_id_of_an_answered_call_names_no_other_call_of_the_turn(second: Step) -> None:
    kernel, person, thread = ProcessKernel(), ScriptedApprover(DecisionKind.APPROVE), Thread("default")
    turn = make_turn(thread=thread, kernel=kernel, policy=ApprovalPolicy.ASK, approver=person)
    _, last, _ = await play(turn, reply(SHOWN), second)
    assert isinstance(last.failure, MalformedResponse)
    assert (kernel.ran, [request.code for request in person.asked]) == (["a = 1"], ["a = 1"])
    assert [call_id for call_id, _ in outputs(thread.items)] == ["call_1"]
    assert [item.get("call_id") for item in thread.items if item["type"] == "function_call"] == ["call_1"]


async def test_the_id_of_a_call_that_an_earlier_turn_of_the_thread_answered_names_no_other_call() -> None:
    kernel, thread = ProcessKernel(), Thread("default")
    statuses = []
    for code, call_id in (("a = 1", "call_1"), ("b = 1", "call_1"), ("c = 1", "call_2")):
        call = called("run_python", {"code": code}, call_id)
        _, last, _ = await play(
            make_turn(thread=thread, kernel=kernel), reply(call), reply(said("Done.", f"msg_{code}"))
        )
        statuses.append((last.answer.status, type(last.failure)))
    assert statuses == [("completed", type(None)), ("failed", MalformedResponse), ("completed", type(None))]
    assert kernel.ran == ["a = 1", "c = 1"]


async def test_each_call_of_a_turn_has_a_number_of_its_own_whatever_ids_the_server_gives() -> None:
    calls = [called("run_python", {"code": f"x = {n}"}, f"call_{n}") for n in range(3)]
    late = finished(*calls[:2])
    turn = make_turn(policy=ApprovalPolicy.ASK, approver=ScriptedApprover(*[DecisionKind.APPROVE] * 3))
    events, _, _ = await play(turn, [*streamed(calls[0]), late], reply(calls[2]), reply(said("Done.")))
    assert [event.call_number for event in events if isinstance(event, ToolCallStarted)] == [1, 3]
    assert [event.call_number for event in events if isinstance(event, ToolCallReady)] == [1, 2, 3]
    asked = [event.request for event in events if isinstance(event, ApprovalRequested)]
    assert [(request.call_number, request.code) for request in asked] == [
        (1, "x = 0"),
        (2, "x = 1"),
        (3, "x = 2"),
    ]
    assert [event.call_number for event in events if isinstance(event, ToolFinished)] == [1, 2, 3]
