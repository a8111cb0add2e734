"""Every policy, every tool, every way to answer: what runs, proven by what it leaves behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from codex_nb.config.settings import ApprovalPolicy
from codex_nb.responses.events import ResponseEvent
from codex_nb.session.events import ApprovalRequested, ApprovalResolved
from codex_nb.tools.approval import (
    ApprovalMemory,
    Approver,
    Decision,
    DecisionKind,
    DenyAll,
    PendingApprovals,
)
from codex_nb.tools.base import ToolSet, builtin_tools, found_tools, tool
from codex_nb.tools.nbmodel import Cell
from tests.session.scripted import (
    PaperDocument,
    ProcessKernel,
    ScriptedApprover,
    ScriptedClient,
    called,
    make_turn,
    play,
    reply,
    said,
)

pytestmark = pytest.mark.anyio

CALLS = {
    "run_python": {"code": "from pathlib import Path; Path(target).write_text('ran'); ran = True"},
    "inspect": {"names": ["target"]},
    "read_file": {"path": "notes.txt"},
    "list_files": {},
    "insert_cells": {"cells": [{"kind": "code", "source": "x"}]},
    "update_plan": {"plan": [{"step": "Write to the target", "status": "in_progress"}]},
    "mine": {},
}
RUN = {"run_python", "mine"}
CHANGE = {"insert_cells"}
UNASKED = {"update_plan", "inspect"}


def outcome(policy: ApprovalPolicy, name: str, way: str) -> str:
    """Say what the table of the documentation says."""
    reads = name not in RUN | CHANGE
    match policy:
        case _ if name in UNASKED:
            return "runs"
        case ApprovalPolicy.ALL:
            return "runs"
        case ApprovalPolicy.READ_ONLY if not reads:
            return "unknown"
        case ApprovalPolicy.AUTO if reads:
            return "runs"
        case _:
            return "refused" if way == "headless" else "asked"


@pytest.mark.parametrize("way", ["buttons", "stdin", "headless"])
@pytest.mark.parametrize("name", sorted(CALLS))
@pytest.mark.parametrize("policy", list(ApprovalPolicy))
@pytest.mark.parametrize("approves", [True, False])
async def test_what_runs_is_what_the_table_says(
    tmp_path: Path, policy: ApprovalPolicy, name: str, way: str, approves: bool
) -> None:
    target = tmp_path / "effect.txt"
    (tmp_path / "notes.txt").write_text("notes")
    kernel, document = ProcessKernel({"target": str(target)}), PaperDocument()
    mine_ran: list[bool] = []

    @tool
    def mine() -> None:
        mine_ran.append(True)

    def effects() -> tuple[bool, bool, int, int]:
        return target.exists(), "ran" in kernel.variables, document.changes, len(mine_ran)

    decision = Decision(DecisionKind.APPROVE if approves else DecisionKind.REJECT)
    buttons = PendingApprovals()
    approvers: dict[str, Approver] = {
        "buttons": buttons,
        "stdin": ScriptedApprover(decision),
        "headless": DenyAll(),
    }
    turn = make_turn(
        tools=builtin_tools().with_tools([mine]),
        policy=policy,
        approver=approvers[way],
        kernel=kernel,
        document=document,
        folder=tmp_path,
    )
    client = ScriptedClient([reply(called(name, CALLS[name])), reply(said("done"))])
    asked = False
    async for event in turn.events(client):
        if isinstance(event, ApprovalRequested):
            asked = True
            assert effects() == (False, False, 0, 0)
            if way == "buttons":
                assert buttons.resolve(1, decision)
    output = client.requests[1].input[-1]["output"]
    expected = outcome(policy, name, way)
    assert asked is (expected in {"asked", "refused"})
    runs = expected == "runs" or (expected == "asked" and approves)
    ran = (
        runs and name == "run_python",
        runs and name == "run_python",
        int(runs and name in CHANGE),
        int(runs and name == "mine"),
    )
    assert effects() == ran
    assert ("rejected this call" in output) is (expected == "asked" and not approves)
    assert ("--approval all" in output) is (expected == "refused")
    assert (output == f"unsupported call: {name}") is (expected == "unknown")
    offered = {spec["name"] for spec in client.requests[0].tools}
    assert (name in offered) is (expected != "unknown")


@pytest.mark.parametrize("policy", [ApprovalPolicy.ASK, ApprovalPolicy.AUTO])
async def test_a_tool_found_in_the_notebook_that_says_it_reads_is_asked_about_once_and_an_equal_name_anew(
    policy: ApprovalPolicy,
) -> None:
    ran: list[str] = []

    @tool(effect="read")
    def stock(item: str) -> str:
        ran.append(item)
        return "3"

    @tool(name="stock", effect="read")
    def another(item: str) -> str:
        ran.append(f"another {item}")
        return "4"

    memory, asked = ApprovalMemory(), []
    for found, item in ((stock, "chair"), (stock, "table"), (another, "chair")):
        person = ScriptedApprover(DecisionKind.APPROVE)
        tools = builtin_tools().with_tools(found_tools({"any_name": found, "ran": ran}))
        turn = make_turn(tools=tools, policy=policy, approver=person, memory=memory)
        await play(turn, reply(called("stock", {"item": item})), reply(said("done")))
        asked.append(len(person.asked))
    assert asked == ([1, 0, 1] if policy is ApprovalPolicy.AUTO else [1, 1, 1])
    assert ran == ["chair", "table", "another chair"]


async def test_a_tool_that_the_user_named_in_the_call_is_believed_that_it_reads() -> None:
    @tool(effect="read")
    def stock(item: str) -> str:
        return f"3 of {item}"

    turn = make_turn(tools=ToolSet((stock,)), policy=ApprovalPolicy.AUTO, approver=DenyAll())
    _, _, client = await play(turn, reply(called("stock", {"item": "chair"})), reply(said("done")))
    assert "3 of chair" in client.requests[1].input[-1]["output"]


async def test_edits_are_allowed_for_the_rest_of_one_answer() -> None:
    cells = [Cell("code", f"{name} = 1", name) for name in "ab"] + [Cell("code", "%%codex\nGo.", "asking")]
    document, memory = PaperDocument(cells), ApprovalMemory()

    def edit(name: str, old: int) -> list[ResponseEvent]:
        edits = [{"old": str(old), "new": str(old + 1)}]
        return reply(called("edit_cell", {"cell_id": name, "edits": edits}, f"{name}{old}"))

    read = reply(called("read_cells", {"cell_ids": ["a", "b"]}, "read"))
    insert = reply(called("insert_cells", CALLS["insert_cells"], "insert"))
    asked = []
    for old, decision in ((1, DecisionKind.APPROVE_ANSWER), (2, DecisionKind.REJECT)):
        approver = ScriptedApprover(decision, DecisionKind.REJECT, DecisionKind.REJECT)
        turn = make_turn(
            tools=builtin_tools(),
            policy=ApprovalPolicy.ASK,
            approver=approver,
            document=document,
            memory=memory,
        )
        events, _, _ = await play(turn, read, edit("a", old), edit("b", old), insert, reply(said("Done.")))
        asked.append([(request.tool, request.before) for request in approver.asked])
        unasked = [event.request for event in events if isinstance(event, ApprovalResolved) and event.request]
        if old == 1:
            assert [(request.before, request.code) for request in unasked] == [("b = 1", "b = 2")]
    assert asked == [
        [("edit_cell", "a = 1"), ("insert_cells", None)],
        [("edit_cell", "a = 2"), ("edit_cell", "b = 2"), ("insert_cells", None)],
    ]
    assert document.sources == {"a": "a = 2", "b": "b = 2", "asking": "%%codex\nGo."}
