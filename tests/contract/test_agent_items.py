"""What the real Codex CLI does in a turn, each kind of it: in a terminal, and saved in the notebook."""

from __future__ import annotations

import json
from typing import Any

import pytest

from codex_nb import errors
from codex_nb.config.settings import ApprovalPolicy
from codex_nb.rendering.answer_output import to_mimebundle
from codex_nb.session.events import Notice, RetryScheduled, TurnEvent, TurnState, reduce
from codex_nb.simulator import Call, Cut, End, Reply, Say, Scenario, Search, Think
from codex_nb.simulator.scenario import Step
from codex_nb.tools.approval import Decision, DecisionKind
from codex_nb.tools.base import ToolSet
from codex_nb.ui.text_view import turn_document
from tests.agent.test_events import in_a_terminal
from tests.contract.test_agent import APPROVE, PATCH, REJECT, Asking, Place, place

__all__ = ["place"]

pytestmark = pytest.mark.anyio

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
MADE = Reply(path="/images/generations", body={"created": 1, "data": [{"b64_json": PIXEL}]})
CAT = Call("imagegen", {"prompt": "a grey cat"}, "call_1", namespace="image_gen")
STEPS = [{"step": "Look", "status": "completed"}, {"step": "Fix", "status": "in_progress"}]
QUESTION = {
    "id": "colour",
    "header": "Colour",
    "question": "Which colour?",
    "options": [{"label": "Blue", "description": ""}, {"label": "Red", "description": ""}],
}
FULL = {"input_tokens": 300_000, "output_tokens": 5, "total_tokens": 300_005}
FULL |= {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}


def reply(*steps: Step) -> Reply:
    return Reply(stream=(*steps, End()))


def command(text: str) -> Reply:
    return reply(Call("exec_command", {"cmd": text}, "call_1"))


DONE = reply(Say("It is done."))
# The replies of the service, the user's decision, and what the transcript shows of it.
ITEMS: dict[str, tuple[tuple[Reply, ...], Decision | None, tuple[str, ...]]] = {
    "text": ((DONE,), None, ()),
    "reasoning": ((reply(Think(("I look first.",)), Say("It is done.")),), None, ("I look first.",)),
    "a command": ((command("echo built"), DONE), APPROVE, ("Shell command (done)", "echo built", "built")),
    "a command that failed": (
        (command("echo no rule; exit 2"), DONE),
        APPROVE,
        ("Shell command (failed)", "no rule", "[exit code 2]"),
    ),
    "a command that was declined": (
        (command("echo built"), DONE),
        REJECT,
        ("Shell command (rejected)", "echo built"),
    ),
    "a patch": (
        (command(PATCH), DONE),
        APPROVE,
        ("Change files (done)", "-before", "+after", "+made", "Changed: "),
    ),
    "a web search": (
        (
            reply(
                Search(("weather oslo", "oslo rain")), Search(url="https://example.org/x"), Say("It is done.")
            ),
        ),
        None,
        ("Searched the web: weather oslo; oslo rain", "Opened https://example.org/x"),
    ),
    "an image": ((MADE, reply(CAT), DONE), None, ("Image (done)", "a grey cat", "Saved as ")),
    "an image that failed": ((reply(CAT), DONE), None, ("Image (failed)", "a grey cat")),
    "a request for input": (
        (reply(Call("request_user_input", {"questions": [QUESTION]}, "call_1")), DONE),
        Decision(DecisionKind.APPROVE, code='{"answers": {"colour": "Green"}}'),
        ("Questions to you (", '"colour": "Green"', "Answered."),
    ),
    "compaction": (
        (Reply(stream=(Call("exec_command", {"cmd": "true"}, "call_1"), End(usage=FULL))),),
        None,
        ("Codex compacted the thread.",),
    ),
    "another model": (
        (Reply(headers={"openai-model": "gpt-b"}, stream=(Say("It is done."), End())),),
        None,
        ("gpt-b answered instead of simulator-classic.", "The Codex CLI says: "),
    ),
    "a retry": (
        (Reply(stream=(Say("The beginning."), Cut())), DONE),
        None,
        ("The beginning.",),
    ),
}


def saved(events: list[TurnEvent]) -> str:
    state = TurnState()
    for event in events:
        state = reduce(state, event)
    return str(to_mimebundle(turn_document(state, state.parts))["text/plain"])


@pytest.mark.parametrize("item", list(ITEMS))
async def test_an_item_of_the_real_cli_is_shown_in_a_terminal_and_saved(place: Place, item: str) -> None:
    replies, decision, shown = ITEMS[item]
    (place.work / "old.txt").write_text("before\n")
    place.sim.play(Scenario(replies))
    asking = Asking(decision or APPROVE, lambda: place.files)
    policy = ApprovalPolicy.ALL if decision is None else ApprovalPolicy.ASK
    async with place.opened() as profile:
        events, last = await place.ask(profile, "do it", policy=policy, approver=asking, searches=True)
    assert (last.answer.status, last.error) == ("completed", None)
    assert [len(asking.asked), *asking.saw] == ([0] if decision is None else [1, {"old.txt": "before\n"}])
    wanted = (*shown, "through Codex CLI", *(() if item == "compaction" else ("It is done.",)))
    assert [words for words in wanted if words not in saved(events)] == []
    hidden = {"I look first."}  # a terminal shows no reasoning
    assert [words for words in wanted if words not in in_a_terminal(events) and words not in hidden] == []


async def test_an_image_stands_in_the_cell_and_on_disk_after_the_process_has_ended(place: Place) -> None:
    place.sim.play(Scenario((MADE, reply(CAT), DONE)))
    async with place.opened() as profile:
        events, _ = await place.ask(profile, "draw", policy=ApprovalPolicy.ALL)
    image = {"image/png": PIXEL, "text/plain": "[image]"}
    assert place.kernel.shown == [{"output_type": "display_data", "data": image, "metadata": {}}]
    (file,) = (place.home / "codex_nb" / "agent" / "generated_images").rglob("*.png")
    assert str(file) in saved(events)
    async with place.opened() as profile:
        await profile.assistant.forget("t")
    assert not file.exists()


@pytest.mark.parametrize("policy", [ApprovalPolicy.ASK, ApprovalPolicy.AUTO, ApprovalPolicy.READ_ONLY])
async def test_no_image_of_the_disk_is_sent_to_be_edited_unasked(
    place: Place, policy: ApprovalPolicy
) -> None:
    edit = {"prompt": "brighter", "referenced_image_paths": [str(place.work / "private.png")]}
    place.sim.play(Scenario((reply(Call("imagegen", edit, "call_1", namespace="image_gen")), DONE)))
    (place.work / "private.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    async with place.opened() as profile:
        await place.ask(profile, "draw", policy=policy, approver=Asking(REJECT))
    assert "image_gen" not in {tool.get("name") for tool in place.sent()[0]["tools"]}
    assert place.sim.requests.to("/images/edits", "POST") == []


async def test_the_agent_begins_no_turn_by_itself_after_the_answer(place: Place) -> None:
    goal = {"objective": "count to ten"}
    place.sim.play(Scenario((reply(Call("create_goal", goal, "call_1")), DONE)))
    async with place.opened() as profile:
        await place.ask(profile, "go on for ever", policy=ApprovalPolicy.ALL)
        await place.ask(profile, "hello", policy=ApprovalPolicy.ALL)
    assert len(place.sent()) == 3
    assert "create_goal" not in {tool.get("name") for tool in place.sent()[0]["tools"]}


async def test_nothing_is_reported_to_the_analytics_of_the_cli(place: Place) -> None:
    async with place.opened() as profile:
        await place.ask(profile, "hello")
    assert place.sim.requests.to("/analytics-events/events", "POST") == []


async def own_turn(place: Place, table: str, *replies: Reply) -> list[TurnEvent]:
    """Return the events of a turn under the user's own configuration."""
    place.configure(table)
    place.sim.play(Scenario(replies))
    async with place.opened(own=True) as profile:
        events, last = await place.ask(profile, "use it", approver=Asking(APPROVE), uses_servers=True)
    assert (last.answer.status, last.error) == ("completed", None)
    return events


ORDERS = Call("orders", {"day": 3}, "call_1", namespace="mcp__shop")


async def test_a_call_of_the_clis_own_mcp_server_is_shown_and_saved(place: Place) -> None:
    events = await own_turn(place, place.shop(), reply(ORDERS), DONE)
    for text in (saved(events), in_a_terminal(events)):
        wanted = ("mcp__shop__orders (done)", '"day": 3', "seven orders", "It is done.")
        assert [words for words in wanted if words not in text] == []


async def test_the_clis_own_plan_is_shown_as_a_checklist(place: Place) -> None:
    call = Call("update_plan", {"explanation": "Two steps.", "plan": STEPS}, "call_1")
    events = await own_turn(place, "[tools.update_plan]\nenabled = true\n", reply(call), DONE)
    for text in (saved(events), in_a_terminal(events)):
        assert [words for words in ("Plan", "Look", "Fix", "Two steps.") if words not in text] == []


async def test_an_attempt_of_the_cli_has_its_number_and_its_reason(place: Place) -> None:
    place.sim.play(Scenario((Reply(stream=(Say("The beginning."), Cut())), DONE)))
    async with place.opened() as profile:
        events, _ = await place.ask(profile, "do it")
    (retry,) = [event for event in events if isinstance(event, RetryScheduled)]
    assert (retry.attempt, retry.max_attempts) == (1, 5)
    assert retry.reason.startswith("stream disconnected")


def refused(status: int, **error: Any) -> Reply:
    return Reply(status=status, body={"error": error}, times=None)


def failed(code: str, message: str = "It says so.") -> Reply:
    return Reply(stream=(End("failed", error={"code": code, "message": message}),), times=None)


# How the service refuses or fails, the class of the error, and what is said.
ERRORS: dict[str, tuple[Reply, type[errors.CodexError], str]] = {
    "usage limit": (
        refused(429, type="usage_limit_reached", plan_type="plus", resets_in_seconds=60),
        errors.UsageLimitReached,
        "usage limit",
    ),
    "no Codex in the plan": (failed("usage_not_included"), errors.UsageLimitReached, "upgrade to Plus"),
    "no quota left": (failed("insufficient_quota"), errors.UsageLimitReached, "Quota exceeded"),
    "rate limit": (failed("rate_limit_exceeded"), errors.RateLimited, "rate limit exceeded"),
    "too many requests": (refused(429, message="Slow down."), errors.RateLimited, "429 Too Many Requests"),
    "context window": (failed("context_length_exceeded"), errors.ContextWindowExceeded, "context window"),
    "overloaded": (refused(503, code="server_is_overloaded"), errors.BackendOverloaded, "at capacity"),
    "no flex capacity": (failed("flex_unavailable"), errors.BackendOverloaded, "Flex capacity"),
    "no restricted capacity": (
        failed("policy_capacity_unavailable"),
        errors.BackendOverloaded,
        "Policy-restricted capacity",
    ),
    "internal error": (refused(500, message="boom"), errors.BackendOverloaded, "high demand"),
    "bad gateway": (refused(502, message="boom"), errors.BackendOverloaded, "502 Bad Gateway"),
    "no such model": (failed("model_not_found"), errors.ModelUnavailable, "It says so."),
    "bad request": (
        refused(400, type="invalid_request_error", message="No such thing"),
        errors.BadRequest,
        "No such thing.",
    ),
    "cyber policy": (failed("cyber_policy"), errors.BadRequest, "It says so."),
    "bio policy": (failed("bio_policy"), errors.BadRequest, "It says so."),
    "alignment policy": (failed("misalignment_policy_violation"), errors.BadRequest, "It says so."),
    "denied": (refused(403, message="Not from here."), errors.ApiError, "403 Forbidden: Not from here."),
    "cut": (
        Reply(stream=(Say("It."), Cut()), times=None),
        errors.StreamInterrupted,
        "stream disconnected",
    ),
    "failed while answering": (failed("server_error"), errors.StreamInterrupted, "It says so."),
    "another reason": (
        Reply(stream=(Say("It."), End("incomplete", reason="max_output_tokens")), times=None),
        errors.AgentFailed,
        "max_output_tokens",
    ),
}


async def test_an_error_of_the_real_cli_has_the_class_of_what_to_do_next(place: Place) -> None:
    retries = "request_max_retries = 0\nstream_max_retries = 0\n"
    (place.home / "config.toml").write_text(place.sim.config_toml("custom") + retries)
    found = {}
    async with place.opened() as profile:
        for kind, (answer, _, words) in ERRORS.items():
            place.sim.play(Scenario((answer,)))
            events, last = await place.ask(profile, "do it", thread=kind)
            texts = (last.error or "", saved(events), in_a_terminal(events))
            braces = any(isinstance(event, Notice) and "{" in event.text for event in events)
            is_told = all(words in text for text in texts) and not braces
            found[kind] = (last.answer.status, type(last.failure), is_told)
    assert found == {kind: ("failed", error, True) for kind, (_, error, _) in ERRORS.items()}


async def test_a_turn_that_got_no_response_has_used_no_tokens(place: Place) -> None:
    """The CLI tells the counts of an earlier response again when a request is refused, also after a new start."""
    used = []
    refuses = (ERRORS["usage limit"][0],)
    for turns in ((DONE,), refuses, (command("true"), DONE)), (refuses, (DONE,), refuses):
        async with place.opened() as profile:
            for replies in turns:
                place.sim.play(Scenario(replies))
                _, last = await place.ask(profile, "do it", policy=ApprovalPolicy.ALL)
                used.append((last.answer.status, last.answer.usage.total_tokens > 0))
    completed, failed = ("completed", True), ("failed", False)
    assert used == [completed, failed, completed, failed, completed, failed]


@pytest.mark.parametrize(
    ("first", "second", "goes_on"),
    [(ApprovalPolicy.ASK, ApprovalPolicy.ALL, True), (ApprovalPolicy.ALL, ApprovalPolicy.ASK, False)],
)
async def test_a_thread_that_may_make_images_does_not_go_on_where_that_is_not_allowed(
    place: Place, first: ApprovalPolicy, second: ApprovalPolicy, goes_on: bool
) -> None:
    place.sim.play(Scenario((command("echo MARKER"), DONE)))
    async with place.opened() as profile:
        await place.ask(profile, "run it", policy=first, approver=Asking(APPROVE))
        await place.ask(profile, "and now?", policy=second)
    last = place.sent()[-1]
    assert "image_gen" not in {tool.get("name") for tool in last["tools"]}
    kinds = {item["type"] for item in last["input"]}
    assert ("function_call_output" in kinds, "It is done." in json.dumps(last["input"])) == (goes_on, True)


@pytest.mark.parametrize(
    ("chosen", "is_offered"),
    [
        ({"uses_servers": True}, True),
        ({"uses_servers": False}, False),
        ({"uses_servers": True, "without": frozenset({"shop"})}, False),
        ({"uses_servers": True, "without": frozenset({"mcp__shop__orders"})}, False),
    ],
    ids=["on", "--no-mcp", "the server off", "the tool off"],
)
async def test_what_is_switched_off_is_not_there_for_the_cli_either(
    place: Place, chosen: dict[str, Any], is_offered: bool
) -> None:
    place.configure(place.shop())
    place.sim.play(Scenario((reply(ORDERS), DONE)))
    asking = Asking(APPROVE)
    async with place.opened(own=True) as profile:
        _, last = await place.ask(profile, "use it", approver=asking, **chosen)
    assert last.answer.status == "completed"
    assert (len(asking.asked), len(last.answer.tool_calls)) == ((1, 1) if is_offered else (0, 0))
    has_started = chosen["uses_servers"] and "shop" not in chosen.get("without", ())
    assert ("started" in place.noted) is has_started


async def test_without_tools_the_agent_has_no_shell(place: Place) -> None:
    place.sim.play(Scenario((command("echo it > ran.txt"), DONE)))
    async with place.opened() as profile:
        await place.ask(profile, "run it", policy=ApprovalPolicy.ALL, tools=ToolSet(), uses_tools=False)
    names = {tool.get("name") for tool in place.sent()[0]["tools"]}
    assert names.isdisjoint({"exec_command", "write_stdin", "apply_patch", "image_gen"})
    assert place.files == {}


NETWORK = {"reason": "To fetch.", "permissions": {"network": {"enabled": True}}}
CALLS = (
    Call("exec_command", {"cmd": "echo it > command.txt"}, "call_1"),
    Call("exec_command", {"cmd": PATCH}, "call_2"),
    Call("ask", {}, "call_3", namespace="mcp__shop"),
    Call("request_user_input", {"questions": [QUESTION]}, "call_4"),
    Call("request_permissions", NETWORK, "call_5"),
    Call("exec_command", {"cmd": "echo it > allowed.txt"}, "call_6"),
)
# What is asked in turn, with the files that are there before its decision; and those that are there at the end.
Consent = tuple[list[tuple[str, str]], str]
REJECTED: Consent = (
    [(tool, "") for tool in ("shell", "apply_patch", "mcp", "questions", "permissions", "shell")],
    "",
)
APPROVED: Consent = (
    [
        ("shell", ""),
        ("apply_patch", "command"),
        ("mcp", "command new"),
        ("questions", "command new"),  # the server's
        ("questions", "ask command new"),  # the agent's
        ("permissions", "ask command new"),
        ("shell", "ask command new"),
    ],
    "allowed ask command new",
)
UNASKED: Consent = ([("questions", "ask command new")], "allowed ask command new")
NOT_OFFERED: Consent = ([("questions", "")], "")
MATRIX = {
    ApprovalPolicy.ASK: (REJECTED, APPROVED),
    ApprovalPolicy.AUTO: (REJECTED, APPROVED),
    ApprovalPolicy.ALL: (UNASKED, UNASKED),
    ApprovalPolicy.READ_ONLY: (NOT_OFFERED, NOT_OFFERED),
}


@pytest.mark.parametrize("policy", list(MATRIX))
async def test_nothing_that_the_real_cli_asks_for_is_done_before_it_is_decided(
    place: Place, policy: ApprovalPolicy
) -> None:
    old = place.work / "old.txt"
    place.configure(f"[features]\nrequest_permissions_tool = true\n{place.shop()}")

    def made() -> str:
        asked_of_the_server = place.noted - {"started"}
        return " ".join(
            sorted({each.stem for each in place.work.iterdir() if each != old} | asked_of_the_server)
        )

    found: list[Consent] = []
    async with place.opened(own=True) as profile:
        for decision in (REJECT, APPROVE):
            for each in (*place.work.iterdir(), *(place.home.parent / "noted").iterdir()):
                each.unlink()
            old.write_text("before\n")
            place.sim.play(Scenario((*map(reply, CALLS), DONE)))
            asking = Asking(decision, made)
            more = {"uses_servers": True, "thread": decision.kind.value}
            events, last = await place.ask(profile, "go", policy=policy, approver=asking, **more)
            assert (last.answer.status, last.error) == ("completed", None)
            tools = [request.tool for request in asking.asked]
            found.append((list(zip(tools, asking.saw, strict=True)), made()))
            assert (old.read_text() == "after\n") is ("new" in found[-1][1])
    assert tuple(found) == MATRIX[policy]
    if policy is ApprovalPolicy.ASK:
        wanted = (
            "Questions to you (done)",
            "More permissions (done)",
            '"name": ""',
            "# additionalPermissions: ",
        )
        assert [words for words in wanted if words not in saved(events)] == []
        assert [words for words in wanted if words not in in_a_terminal(events)] == []


POLICIES = {
    (ApprovalPolicy.ASK, ""): (1, True),
    (ApprovalPolicy.AUTO, ""): (1, True),
    (ApprovalPolicy.ALL, ""): (0, True),
    (ApprovalPolicy.READ_ONLY, ""): (0, False),
    (ApprovalPolicy.ASK, "approve"): (0, True),
    (ApprovalPolicy.ALL, "prompt"): (0, True),
    (ApprovalPolicy.READ_ONLY, "approve"): (0, False),
}


@pytest.mark.parametrize(("policy", "mode"), list(POLICIES))
async def test_a_call_of_the_clis_own_server_is_asked_about_by_policy_and_configuration(
    place: Place, policy: ApprovalPolicy, mode: str
) -> None:
    asks, runs = POLICIES[policy, mode]
    chosen = f'approval_mode = "{mode}"\n' if mode else ""
    place.configure(
        place.shop(f"default_tools_{chosen}[mcp_servers.shop.tools.orders]\n{chosen}" if mode else "")
    )
    place.sim.play(Scenario((reply(ORDERS), DONE)))
    asking = Asking(APPROVE)
    async with place.opened(own=True) as profile:
        events, last = await place.ask(profile, "go", policy=policy, approver=asking, uses_servers=True)
    outputs = [call.output for call in last.answer.tool_calls]
    assert (len(asking.asked), outputs) == (asks, ["seven orders"] if runs else [])
    says_so = "tools ran without asking (approval all)" in in_a_terminal(events)
    assert says_so is (policy is ApprovalPolicy.ALL)
