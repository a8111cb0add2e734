"""What the agent asks for, under each policy: nothing is accepted that the policy asks about and nobody approved."""

from __future__ import annotations

import io
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from rich.console import Console

from codex_nb.config.settings import ApprovalPolicy
from codex_nb.session.events import ApprovalRequested, Notice, ToolFinished, ToolPart, TurnEvent, TurnFold
from codex_nb.tools.approval import (
    NOBODY_THERE,
    ApprovalRequest,
    Decision,
    DecisionKind,
    DenyAll,
    PendingApprovals,
)
from codex_nb.ui.layout import Action, Decide
from codex_nb.ui.part_views import CallView
from codex_nb.ui.text_view import PlainTextView, RichView
from tests.agent.conftest import Stage, Step, ask, completed, said, started

pytestmark = pytest.mark.anyio

ASK, AUTO, ALL, READ_ONLY = (
    ApprovalPolicy.ASK,
    ApprovalPolicy.AUTO,
    ApprovalPolicy.ALL,
    ApprovalPolicy.READ_ONLY,
)
CHANGE = {"path": "/lab/a.py", "kind": {"type": "update", "move_path": None}, "diff": "@@ -1 +1 @@\n-1\n+2"}
NETWORK = {"network": {"enabled": True}, "fileSystem": None}
MCP = {"codex_approval_kind": "mcp_tool_call", "tool_name": "wipe", "tool_params": {"table": "orders"}}
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}, "count": {"type": "integer"}}}
QUESTION = {"id": "q", "header": "", "question": "Which?", "isSecret": False, "options": [{"label": "A"}]}

# The steps of each kind of request, what the approval shows, and the answers that accept and decline it.
KINDS: dict[str, tuple[list[Step], str, Any, Any]] = {
    "command": (
        [
            started("commandExecution", command="make", cwd="/lab"),
            ask("item/commandExecution/requestApproval", itemId="item-1", command="make", cwd="/lab"),
        ],
        "make",
        {"decision": "accept"},
        {"decision": "decline"},
    ),
    "file change": (
        [
            started("fileChange", changes=[CHANGE]),
            ask("item/fileChange/requestApproval", itemId="item-1"),
        ],
        "--- /lab/a.py\n+++ /lab/a.py\n@@ -1 +1 @@\n-1\n+2",
        {"decision": "accept"},
        {"decision": "decline"},
    ),
    "permissions": (
        [ask("item/permissions/requestApproval", itemId="item-1", cwd="/lab", permissions=NETWORK)],
        '"network"',
        {"permissions": {"network": {"enabled": True}}, "scope": "turn"},
        {"permissions": {}, "scope": "turn"},
    ),
    "MCP call": (
        [
            started("mcpToolCall", server="shop", tool="wipe", arguments={"table": "orders"}),
            ask("mcpServer/elicitation/request", serverName="shop", mode="form", _meta=MCP, message="?"),
        ],
        '"orders"',
        {"action": "accept", "content": {}, "_meta": None},
        {"action": "decline", "content": None, "_meta": None},
    ),
}
# The same for what only a person can answer.
QUESTIONS: dict[str, tuple[list[Step], str, Any, Any]] = {
    "form": (
        [
            ask(
                "mcpServer/elicitation/request",
                serverName="shop",
                mode="form",
                message="Who?",
                requestedSchema=SCHEMA,
            )
        ],
        '"name"',
        {"action": "accept", "content": {"name": "", "count": 0}, "_meta": None},
        {"action": "decline", "content": None, "_meta": None},
    ),
    "page": (
        [
            ask(
                "mcpServer/elicitation/request",
                serverName="shop",
                mode="url",
                message="Pay",
                url="https://a.test",
            )
        ],
        "{}",
        {"action": "accept", "content": None, "_meta": None},
        {"action": "decline", "content": None, "_meta": None},
    ),
    "question": (
        [ask("item/tool/requestUserInput", itemId="item-1", questions=[QUESTION])],
        '"A"',
        {"answers": {"q": {"answers": ["A"]}}},
        {"answers": {}},
    ),
}
# What looks like a request and cannot be shown as what it does.
UNCLEAR: dict[str, list[Step]] = {
    "a change of files that were never named": [ask("item/fileChange/requestApproval", itemId="item-9")],
    "a change with a folder to be allowed": [
        started("fileChange", changes=[CHANGE]),
        ask("item/fileChange/requestApproval", itemId="item-1", grantRoot="/"),
    ],
    "a command without text": [ask("item/commandExecution/requestApproval", itemId="item-1")],
    "input for a terminal": [
        ask("item/commandExecution/requestApproval", itemId="i", kind="writeStdin", command="rm x")
    ],
    "permissions of no kind": [ask("item/permissions/requestApproval", itemId="i", permissions="all")],
    "an MCP call that is not named": [
        ask(
            "mcpServer/elicitation/request",
            serverName="shop",
            mode="form",
            _meta={"codex_approval_kind": "mcp_tool_call"},
            message="?",
        )
    ],
    "a form of no shape": [ask("mcpServer/elicitation/request", serverName="s", mode="form", message="?")],
    "a question for a secret": [
        ask("item/tool/requestUserInput", itemId="i", questions=[QUESTION | {"isSecret": True}])
    ],
    "an older kind of approval": [ask("execCommandApproval", command=["rm", "x"], cwd="/")],
    "an unknown kind": [ask("item/newKind/requestApproval", itemId="i", command="rm x")],
}


class Asking:
    """Decides every request alike, and notes what it was asked."""

    def __init__(self, decision: Decision) -> None:
        self.asked: list[ApprovalRequest] = []
        self._decision = decision

    def decide(self, request: ApprovalRequest) -> Awaitable[Decision]:
        self.asked.append(request)
        return self._decided()

    async def _decided(self) -> Decision:
        return self._decision


APPROVE, REJECT = Decision(DecisionKind.APPROVE), Decision(DecisionKind.REJECT)


def told_apart(*groups: list[Step]) -> list[Step]:
    """Return the steps of all groups, each with items of its own."""
    text = [json.dumps(group).replace("item-1", f"item-{number}") for number, group in enumerate(groups, 1)]
    return [step for group in text for step in json.loads(group)]


@pytest.mark.parametrize("policy", [ASK, AUTO, ALL, READ_ONLY])
@pytest.mark.parametrize("decision", [APPROVE, REJECT])
async def test_a_request_is_accepted_only_by_the_policy_or_the_user(
    stage: Stage, policy: ApprovalPolicy, decision: Decision
) -> None:
    asking, kinds = Asking(decision), list(KINDS.values())
    async with stage.opened([*told_apart(*(kind[0] for kind in kinds)), *said("Done.")]) as profile:
        _, last = await stage.ask(profile, policy=policy, approver=asking)
    assert last.answer.status == "completed"
    is_asked = policy in {ASK, AUTO}
    shown = zip(asking.asked, (kind[1] for kind in kinds), strict=is_asked)
    assert [text in request.code for request, text in shown] == ([True] * len(kinds) if is_asked else [])
    is_accepted = policy is ALL or (is_asked and decision.approved)
    results = [accepted if is_accepted else declined for _, _, accepted, declined in kinds]
    assert stage.answers == [{"result": result} for result in results]


@pytest.mark.parametrize("policy", [ASK, AUTO, ALL, READ_ONLY])
@pytest.mark.parametrize("decision", [APPROVE, REJECT])
async def test_a_question_is_put_to_the_user_under_every_policy(
    stage: Stage, policy: ApprovalPolicy, decision: Decision
) -> None:
    asking, kinds = Asking(decision), list(QUESTIONS.values())
    async with stage.opened([*told_apart(*(kind[0] for kind in kinds)), *said("Done.")]) as profile:
        await stage.ask(profile, policy=policy, approver=asking)
    shown = zip(asking.asked, (kind[1] for kind in kinds), strict=True)
    assert [text in request.code for request, text in shown] == [True] * len(kinds)
    results = [accepted if decision.approved else declined for _, _, accepted, declined in kinds]
    assert stage.answers == [{"result": result} for result in results]


async def test_every_choice_of_a_form_and_of_a_question_is_offered(stage: Stage) -> None:
    titled = {"oneOf": [{"const": "r", "title": "Red"}, {"const": "b", "title": "Blue"}]}
    fields = {
        "size": {"type": "string", "enum": ["S", "L"]},
        "colour": {"type": "string", **titled},
        "extras": {"type": "array", "items": {"anyOf": titled["oneOf"]}},
        "tags": {"type": "array", "items": {"type": "string", "enum": ["x", "y"]}, "default": ["y"]},
        "count": {"type": "integer"},
    }
    schema = {"type": "object", "properties": fields}
    about = {"serverName": "shop", "mode": "form", "message": "?", "requestedSchema": schema}
    labels = [{"label": "A"}, {"label": "B"}]
    question = ask("item/tool/requestUserInput", itemId="i", questions=[QUESTION | {"options": labels}])
    answers = '{"answers": {"q": ["A", "B"]}}'
    asking = Asking(Decision(DecisionKind.APPROVE, code=answers))
    async with stage.opened(
        [ask("mcpServer/elicitation/request", **about), question, *said("Done.")]
    ) as profile:
        await stage.ask(profile, approver=asking)
    form, agents = asking.asked
    assert json.loads(form.code)["answers"] == {
        "size": "S",
        "colour": "r",
        "extras": [],
        "tags": ["y"],
        "count": 0,
    }
    assert dict(form.choices) == {
        "size": ("S", "L"),
        "colour": ("r", "b"),
        "extras": ("r", "b"),
        "tags": ("x", "y"),
    }
    assert dict(agents.choices) == {"q": ("A", "B")}
    assert stage.answers[1] == {"result": {"answers": {"q": {"answers": ["A", "B"]}}}}


@pytest.mark.parametrize("policy", [ASK, ALL])
async def test_what_is_not_understood_is_declined_under_every_policy(
    stage: Stage, policy: ApprovalPolicy
) -> None:
    asking = Asking(APPROVE)
    async with stage.opened([*told_apart(*UNCLEAR.values()), *said("Done.")]) as profile:
        events, last = await stage.ask(profile, policy=policy, approver=asking)
    assert last.answer.status == "completed"
    assert asking.asked == []
    assert ["error" in answer for answer in stage.answers] == [True] * len(UNCLEAR)
    said_once = [
        event.text for event in events if isinstance(event, Notice) and "it was declined" in event.text
    ]
    methods = {step["ask"] for steps in UNCLEAR.values() for step in steps if "ask" in step}
    assert [any(method in text for text in said_once) for method in methods] == [True] * len(said_once)


async def test_where_nobody_can_answer_everything_is_declined(stage: Stage) -> None:
    kinds = [*KINDS.values(), *QUESTIONS.values()]
    async with stage.opened([*told_apart(*(kind[0] for kind in kinds)), *said("Done.")]) as profile:
        await stage.ask(profile, approver=DenyAll())
    assert stage.answers == [{"result": kind[3]} for kind in kinds]


async def test_each_request_has_a_number_of_its_own_so_that_a_late_click_answers_no_other(
    stage: Stage,
) -> None:
    def command(text: str) -> Step:
        return ask("item/commandExecution/requestApproval", itemId="item-1", command=text, cwd="/lab")

    def call(code: str) -> Step:
        return ask("item/tool/call", tool="run_python", callId="item-2", arguments={"code": code})

    steps = [
        started("commandExecution", command="make", cwd="/lab"),
        *(command("make"), command("rm -r /")),
        started("dynamicToolCall", "item-2", tool="run_python", arguments={"code": "1"}),
        *(call("1"), call("evil()")),
    ]
    asking = Asking(APPROVE)
    async with stage.opened([*steps, *said("Done.")]) as profile:
        await stage.ask(profile, approver=asking)
    assert [request.code for request in asking.asked] == ["make", "rm -r /", "1", "evil()"]
    assert len({request.call_number for request in asking.asked}) == len(asking.asked)


async def test_a_declined_command_says_why(stage: Stage) -> None:
    steps, *_ = KINDS["command"]
    ended = completed("commandExecution", command="make", cwd="/lab", status="declined")
    async with stage.opened([*steps, ended, *said("Done.")]) as profile:
        events, _ = await stage.ask(profile, approver=DenyAll())
    assert [event.output for event in events if isinstance(event, ToolFinished)] == [NOBODY_THERE]


async def test_what_is_always_allowed_is_not_asked_about_again_and_nothing_else_is_allowed(
    stage: Stage,
) -> None:
    def command(text: str, number: int) -> list[Step]:
        about = {"command": text, "cwd": "/lab"}
        return [
            started("commandExecution", f"item-{number}", **about),
            ask("item/commandExecution/requestApproval", itemId=f"item-{number}", **about),
            completed("commandExecution", f"item-{number}", status="completed", exitCode=0, **about),
        ]

    asking = Asking(Decision(DecisionKind.APPROVE_CODE))
    steps = [*command("make", 1), *command("make", 2), *command("make clean", 3)]
    async with stage.opened([*steps, *said("Done.")]) as profile:
        events, _ = await stage.ask(profile, approver=asking)
    assert [request.code for request in asking.asked] == ["make", "make clean"]
    assert (
        stage.answers == [{"result": {"decision": "accept"}}] * 3
    )  # for the session by us, never by the CLI
    assert sum(isinstance(event, ApprovalRequested) for event in events) == 2


async def test_what_the_user_says_to_a_rejection_reaches_the_model(stage: Stage) -> None:
    steps, *_ = KINDS["command"]
    decision = Decision(DecisionKind.REJECT, message="Use ninja instead.")
    async with stage.opened([*steps, ask("currentTime/read"), *said("Done.")]) as profile:
        await stage.ask(profile, approver=Asking(decision))
    steered = [each["params"] for each in stage.seen if each.get("method") == "turn/steer"]
    assert [each["input"][0]["text"] for each in steered] == ["Use ninja instead."]


async def test_what_the_user_types_reaches_the_model_without_secrets(stage: Stage) -> None:
    key = f"sk-proj-{'Zq7' * 12}"
    typed = {
        "command": Decision(DecisionKind.REJECT, message=f"Use {key}."),
        "question": Decision(DecisionKind.APPROVE, code=json.dumps({"answers": {"q": key}})),
    }
    plays = [[*(KINDS | QUESTIONS)[kind][0], ask("currentTime/read"), *said("Done.")] for kind in typed]
    async with stage.opened(*plays) as profile:
        for decision in typed.values():
            await stage.ask(profile, approver=Asking(decision))
    sent = json.dumps(stage.seen)
    assert (key in sent, sent.count("[redacted: an OpenAI key]")) == (False, 2)


async def test_a_stop_ends_the_turn(stage: Stage) -> None:
    steps, *_ = KINDS["command"]
    async with stage.opened([*steps, ask("currentTime/read"), *said("Never said.")]) as profile:
        _, last = await stage.ask(profile, approver=Asking(Decision(DecisionKind.STOP)))
    assert last.answer.status == "cancelled"
    assert stage.answers[0] == {"result": {"decision": "cancel"}}
    assert "Never said." not in json.dumps(last.answer.text)


class Widget:
    """Stands for the page: shows what it is asked to show, and clicks."""

    def __init__(self, on_action: Callable[[Action], None], answer: Decision, seen: list[str]) -> None:
        self._fold, self._views = TurnFold(), dict[int, CallView]()
        self._on_action, self._answer, self._seen = on_action, answer, seen

    def apply(self, event: TurnEvent) -> None:
        self._fold.apply(event)
        for part in self._fold.state.parts:
            if isinstance(part, ToolPart):
                view = self._views.setdefault(part.call_number, CallView(part.call_number))
                for operation in view.update(part):
                    if operation["op"] == "ask":
                        self._seen.append(operation["request"]["code"])
                        self._on_action(Decide(part.call_number, self._answer))


@pytest.mark.parametrize("front_end", ["page", "console", "terminal"])
@pytest.mark.parametrize("word", ["y", "n"])
async def test_each_front_end_shows_what_will_be_done_before_it_is_decided(
    stage: Stage, front_end: str, word: str
) -> None:
    kinds, seen, approvals = list(KINDS.values()), list[str](), PendingApprovals()

    def on_action(action: Action) -> None:
        assert isinstance(action, Decide)
        approvals.resolve(action.call_number, action.decision)

    def typed(prompt: str) -> str:
        seen.append(prompt)
        return word

    view: Any = Widget(on_action, APPROVE if word == "y" else REJECT, seen)
    if front_end == "console":
        view = PlainTextView(io.StringIO(), on_action=on_action, ask=typed)
    elif front_end == "terminal":
        view = RichView(Console(file=io.StringIO()), on_action=on_action, ask=typed)
    async with stage.opened([*told_apart(*(kind[0] for kind in kinds)), *said("Done.")]) as profile:
        await stage.ask(profile, approver=approvals, on_event=view.apply)
    found = zip(seen, (kind[1] for kind in kinds), strict=True)
    lines = [all(line in shown for line in text.splitlines()) for shown, text in found]
    assert lines == [True] * len(kinds)
    results = [accepted if word == "y" else declined for _, _, accepted, declined in kinds]
    assert stage.answers == [{"result": result} for result in results]


@pytest.mark.parametrize(
    "chosen",
    [
        {"uses_servers": False},
        {"without": frozenset({"shop"})},
        {"without": frozenset({"mcp__shop__orders"})},
    ],
    ids=["--no-mcp", "the server off", "the tool off"],
)
async def test_a_call_of_a_server_that_is_switched_off_is_declined_whatever_the_policy(
    stage: Stage, chosen: dict[str, Any]
) -> None:
    about = {"codex_approval_kind": "mcp_tool_call", "tool_name": "orders", "tool_params": {}}
    request = ask("mcpServer/elicitation/request", serverName="shop", mode="form", _meta=about, message="?")
    async with stage.opened([request, *said("Done.")]) as profile:
        await stage.ask(profile, policy=ApprovalPolicy.ALL, **chosen)
    assert [each["result"]["action"] for each in stage.answers] == ["decline"]


@pytest.mark.parametrize("is_one", [True, False])
async def test_an_mcp_call_that_its_request_does_not_name_is_the_one_that_is_open(
    stage: Stage, is_one: bool
) -> None:
    call = {"server": "shop", "tool": "wipe", "arguments": {"table": "orders"}}
    others = [] if is_one else [started("mcpToolCall", "item-2", **call)]
    request = ask(
        "mcpServer/elicitation/request",
        serverName="shop",
        mode="form",
        _meta={"codex_approval_kind": "mcp_tool_call"},
        message="?",
    )
    asking = Asking(APPROVE)
    async with stage.opened([started("mcpToolCall", **call), *others, request, *said("Done.")]) as profile:
        await stage.ask(profile, approver=asking)
    asked = [(each.summary, each.code) for each in asking.asked]
    if not is_one:
        assert (asked, "error" in stage.answers[0]) == ([], True)
        return
    ((summary, code),) = asked
    assert summary == "Calls the tool wipe of the MCP server shop."
    assert '"orders"' in code
    assert stage.answers[0]["result"]["action"] == "accept"


RUNS = {"command": "rm -r x", "cwd": "/", "status": "completed", "exitCode": 0}
COMMAND = "item/commandExecution/requestApproval"


@pytest.mark.parametrize(
    "plays",
    [
        [*QUESTIONS["form"][0], completed("commandExecution", "", **RUNS)],
        [*QUESTIONS["question"][0], completed("commandExecution", "item-1", **RUNS)],
        [ask(COMMAND, command="make", cwd="/"), completed("commandExecution", "", **RUNS)],
    ],
    ids=["a form", "a question of the same item", "a command without an id"],
)
async def test_a_yes_to_something_else_allows_no_command(stage: Stage, plays: list[Step]) -> None:
    asking = Asking(APPROVE)
    async with stage.opened([*plays, ask("currentTime/read")]) as profile:
        _, last = await stage.ask(profile, approver=asking)
    assert len(asking.asked) == 1
    assert last.answer.status == "failed"
    assert "without asking" in (last.error or "")
