"""Each item of the CLI in the transcript: in a terminal, live, and saved in the notebook."""

from __future__ import annotations

import io
from typing import Any

import pytest

from codex_nb import errors
from codex_nb.config.settings import ApprovalPolicy
from codex_nb.rendering.answer_output import to_mimebundle
from codex_nb.session.events import ToolPart, TurnEvent, TurnState, reduce
from codex_nb.ui.part_views import CallView
from codex_nb.ui.text_view import PlainTextView, turn_document
from tests.agent.conftest import Stage, Step, completed, notify, said, started

pytestmark = pytest.mark.anyio

COMMAND = {"command": "make", "cwd": "/lab"}
MCP = {"server": "shop", "tool": "orders", "arguments": {"day": 3}}
CHANGE = {"path": "/lab/new.py", "kind": {"type": "add"}, "diff": "x = 1\n"}

# The steps of an item, and what the saved transcript shows of it.
ITEMS: dict[str, tuple[list[Step], tuple[str, ...]]] = {
    "reasoning": (
        [
            notify("item/reasoning/summaryTextDelta", itemId="r", summaryIndex=0, delta="I look"),
            completed("reasoning", "r", summary=["I look first."], content=[]),
        ],
        ("I look first.",),
    ),
    "a command that went well": (
        [
            started("commandExecution", **COMMAND),
            completed(
                "commandExecution", **COMMAND, status="completed", exitCode=0, aggregatedOutput="built\n"
            ),
        ],
        ("Shell command (done)", "make", "built"),
    ),
    "a command that failed": (
        [
            started("commandExecution", **COMMAND),
            completed(
                "commandExecution", **COMMAND, status="failed", exitCode=2, aggregatedOutput="no rule\n"
            ),
        ],
        ("Shell command (failed)", "no rule", "[exit code 2]"),
    ),
    "a file change": (
        [
            started("fileChange", changes=[CHANGE]),
            completed("fileChange", changes=[CHANGE], status="completed"),
        ],
        ("Change files (done)", "+++ /lab/new.py", "+x = 1", "Changed: /lab/new.py"),
    ),
    "a call of an MCP server": (
        [
            started("mcpToolCall", **MCP),
            completed(
                "mcpToolCall", **MCP, status="completed", result={"content": [{"type": "text", "text": "7"}]}
            ),
        ],
        ("mcp__shop__orders (done)", '"day": 3', "7"),
    ),
    "a call of an MCP server that failed": (
        [
            started("mcpToolCall", **MCP),
            completed("mcpToolCall", **MCP, status="failed", error={"message": "no such day"}),
        ],
        ("mcp__shop__orders (failed)", "no such day"),
    ),
    "a web search": (
        [
            started("webSearch", query=""),
            completed("webSearch", query="weather", action={"type": "search", "queries": ["weather oslo"]}),
        ],
        ("Searched the web: weather oslo",),
    ),
    "an image": (
        [
            started("imageGeneration", status="inProgress"),
            completed("imageGeneration", status="completed", revisedPrompt="a cat", savedPath="/lab/cat.png"),
        ],
        ("Image (done)", "/lab/cat.png"),
    ),
    "a plan": (
        [
            notify(
                "turn/plan/updated",
                explanation="Two steps.",
                plan=[{"step": "Look", "status": "completed"}, {"step": "Fix", "status": "inProgress"}],
            )
        ],
        ("Plan", "Look", "Fix", "Two steps."),
    ),
    "compaction": ([completed("contextCompaction")], ("Codex compacted the thread.",)),
    "another model": (
        [notify("model/rerouted", fromModel="gpt-a", toModel="gpt-b", reason="capacity")],
        ("gpt-b answered instead of gpt-a.",),
    ),
    "a warning": ([notify("warning", message="slow disk")], ("The Codex CLI says: slow disk",)),
    "an item that is unknown": ([completed("holodeck")], ("cannot show: holodeck",)),
}


def in_a_terminal(events: list[TurnEvent]) -> str:
    stream = io.StringIO()
    view = PlainTextView(stream, on_action=lambda _action: None)
    for event in events:
        view.apply(event)
    view.close()
    return stream.getvalue()


@pytest.mark.parametrize("item", list(ITEMS))
async def test_an_item_is_shown_in_a_terminal_and_saved_in_the_notebook(stage: Stage, item: str) -> None:
    steps, shown = ITEMS[item]
    async with stage.opened([*steps, *said("Done.")]) as profile:
        events, last = await stage.ask(profile, policy=ApprovalPolicy.ALL)
    assert last.answer.status == "completed"
    state = TurnState()
    for event in events:
        state = reduce(state, event)
    saved = str(to_mimebundle(turn_document(state, state.parts))["text/plain"])
    wanted = (*shown, "Done.", "through Codex CLI 0.171.0")
    assert [words for words in wanted if words not in saved] == []
    hidden = {"I look first."}  # a terminal shows no reasoning
    assert [words for words in wanted if words not in in_a_terminal(events) and words not in hidden] == []


async def test_the_output_of_a_running_command_is_shown_as_it_comes(stage: Stage) -> None:
    steps = [
        started("commandExecution", **COMMAND),
        notify("item/commandExecution/outputDelta", itemId="item-1", delta="one\n"),
        notify("item/commandExecution/outputDelta", itemId="item-1", delta="two\n"),
        completed(
            "commandExecution", **COMMAND, status="completed", exitCode=0, aggregatedOutput="one\ntwo\n"
        ),
    ]
    state, view, shown = TurnState(), CallView(1), list[tuple[str, bool]]()
    async with stage.opened([*steps, *said("Done.")]) as profile:
        events, _ = await stage.ask(profile, policy=ApprovalPolicy.ALL)
    for event in events:
        state = reduce(state, event)
        for part in state.parts:
            if isinstance(part, ToolPart):
                operations = [each for each in view.update(part) if each["op"] == "output"]
                shown += [(each["text"], each.get("is_live", False)) for each in operations]
    assert shown == [("one\n", True), ("one\ntwo\n", True), ("one\ntwo", False)]


async def test_tokens_are_added_up_over_the_requests_of_a_turn(stage: Stage) -> None:
    usage = [
        notify(
            "thread/tokenUsage/updated",
            tokenUsage={"last": {"inputTokens": n, "outputTokens": 1, "totalTokens": n + 1}},
        )
        for n in (10, 20)
    ]
    async with stage.opened([*usage, *said("Done.")]) as profile:
        _, last = await stage.ask(profile)
    assert (last.answer.usage.input_tokens, last.answer.usage.output_tokens) == (30, 2)


SEARCHES: dict[tuple[str, bool | None], str] = {
    ("", None): "disabled",
    ("", True): "live",
    ("cached", None): "cached",
    ("indexed", None): "indexed",
    ("indexed", True): "live",
    ("live", False): "disabled",
}


@pytest.mark.parametrize(("mode", "option"), SEARCHES)
async def test_the_agent_searches_as_the_configuration_and_the_option_say(
    stage: Stage, mode: str, option: bool | None
) -> None:
    config = f'web_search = "{mode}"\n' if mode else ""
    async with stage.opened(said("Hi."), config=config) as profile:
        await stage.ask(profile, searches=option)
    (begun,) = (each["params"] for each in stage.seen if each.get("method") == "thread/start")
    assert begun["config"]["web_search"] == SEARCHES[mode, option]


async def test_limits_reach_the_usage_of_the_profile(stage: Stage) -> None:
    limits = {"limitId": "codex", "primary": {"usedPercent": 95, "windowDurationMins": 300, "resetsAt": None}}
    async with stage.opened(
        [notify("account/rateLimits/updated", rateLimits=limits), *said("Done.")]
    ) as profile:
        events, _ = await stage.ask(profile)
        found = profile.assistant.limits
    assert found is not None
    assert [(window.used_percent, window.label) for window in found.windows] == [(95.0, "5 h")]
    assert any("95 % of the 5 h limit" in getattr(event, "text", "") for event in events)


# Those that the real CLI does not send here; it sends the others in tests/contract/test_agent_items.py.
@pytest.mark.parametrize(
    ("info", "kind"),
    [
        ("unauthorized", errors.RefreshFailed),
        ("inferenceHookDenied", errors.BadRequest),
        ("sessionBudgetExceeded", errors.AgentFailed),
        ("tooManyDenials", errors.AgentFailed),
        ("sandboxError", errors.AgentFailed),
        ({"activeTurnNotSteerable": {"turnKind": "review"}}, errors.AgentFailed),
        ({"responseStreamConnectionFailed": {"httpStatusCode": None}}, errors.StreamInterrupted),
        ({"responseStreamDisconnected": {"httpStatusCode": 502}}, errors.BackendOverloaded),
        ({"httpConnectionFailed": {"httpStatusCode": "many"}}, errors.StreamInterrupted),
        ({"httpConnectionFailed": 7}, errors.StreamInterrupted),
        ({}, errors.AgentFailed),
        ("neverHeardOf", errors.AgentFailed),
        (None, errors.AgentFailed),
    ],
)
async def test_an_error_has_the_class_of_what_to_do_next(stage: Stage, info: Any, kind: type) -> None:
    error = {"message": "It cannot be done", "codexErrorInfo": info, "additionalDetails": None}
    ended = notify("turn/completed", turn={"id": "turn-1", "status": "failed", "error": error})
    async with stage.opened([notify("error", error=error, willRetry=False), ended]) as profile:
        _, last = await stage.ask(profile)
    assert (last.answer.status, type(last.failure)) == ("failed", kind)
    assert "It cannot be done." in (last.error or "")
