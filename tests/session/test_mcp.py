"""MCP servers of config.toml as tools of the model: real servers, made with the SDK and without."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from codex_nb.config.settings import ApprovalPolicy, Environment, load_settings
from codex_nb.profile import Profile, make_profile
from codex_nb.session.events import Answer, ApprovalRequested, Notice, TurnEvent, TurnFinished
from codex_nb.session.mcp import ServerState
from codex_nb.session.prompt import TurnRequest
from codex_nb.simulator import Call, End, Reply, Say, Scenario, Simulator
from codex_nb.tools.approval import ApprovalRequest, Decision, DecisionKind, DenyAll
from codex_nb.tools.base import Ports
from tests.patience import PATIENCE_S
from tests.pictures import PIXEL, PIXEL_URL
from tests.session.scripted import SameThread

pytestmark = pytest.mark.anyio

HERE = Path(__file__).parent
GRACE = f"mcp_optional_startup_grace_ms = {int(PATIENCE_S * 1000)}\n"
ENVIRON = {
    "PATH": "/usr/bin:/bin",
    "OPENAI_API_KEY": "sk-of-the-user-000000",
    "MCP_TOKEN": "right",
    "LANG": "C",
}


def program(name: str, file: str, *arguments: str, more: str = "") -> str:
    """Return the table of a server that a program of this folder is."""
    words = json.dumps([str(HERE / file), *arguments])
    patience = "" if "startup_timeout_sec" in more else f"startup_timeout_sec = {PATIENCE_S}\n"
    return f"[mcp_servers.{name}]\ncommand = {json.dumps(sys.executable)}\nargs = {words}\n{patience}{more}\n"


def hostile(name: str, *deeds: str, more: str = "", **replies: Any) -> str:
    """Return the table of the server without the SDK, with what it lists (``tools``) or replies (``content``)."""
    words = [f"{key}={json.dumps(value)}" for key, value in replies.items()]
    return program(name, "mcp_hostile.py", *deeds, *words, more=more)


def listed(name: Any, **more: Any) -> dict[str, Any]:
    """Return a tool as a server lists it."""
    return {"name": name, "description": "x", "inputSchema": {"type": "object", "properties": {}}, **more}


@asynccontextmanager
async def opened(
    simulator: Simulator,
    home: Path,
    config: str,
    environ: Mapping[str, str] = ENVIRON,
    *,
    before: str = "",
    grace: str = GRACE,
) -> AsyncIterator[Profile]:
    (home / "config.toml").write_text(f"{grace}{before}{simulator.config_toml()}\n{config}")
    simulator.write_login(home)
    environ = {**ENVIRON, **simulator.environ(), "CODEX_HOME": str(home)}
    profile = make_profile(load_settings(environ), Environment(environ))
    try:
        yield profile
    finally:
        await profile.close()


class Asked:
    """Approves what it is asked, and remembers it."""

    def __init__(self, kind: DecisionKind = DecisionKind.APPROVE) -> None:
        self.requests: list[ApprovalRequest] = []
        self._kind = kind

    async def decide(self, request: ApprovalRequest) -> Decision:
        self.requests.append(request)
        return Decision(self._kind)


def calls(*wanted: tuple[str, Any]) -> Scenario:
    """Return a model that calls these tools one after the other, and is done."""
    replies = [Reply(stream=(Call(name, arguments), End())) for name, arguments in wanted]
    return Scenario((*replies, Reply(stream=(Say("Done."), End()))))


async def ask(profile: Profile, approver: Any = None, **more: Any) -> tuple[Answer, list[TurnEvent]]:
    request = TurnRequest("Use the tools.", **{"uses_servers": True, **more})
    turn = profile.assistant.turn(request, ports=Ports(SameThread()), approver=approver or DenyAll())
    events = [event async for event in turn]
    assert isinstance(events[-1], TurnFinished), events
    return events[-1].answer, events


async def states(profile: Profile, *without: str) -> dict[str, ServerState]:
    return {each.name: each for each in await profile.assistant.servers().start(without)}


EARLIER: set[psutil.Process] = set()


@pytest.fixture(autouse=True)
def earlier() -> None:
    """Note what other tests have left running."""
    EARLIER.clear()
    EARLIER.update(children())


def children() -> list[psutil.Process]:
    """Return the programs that this test has started, and theirs."""
    found = []
    for each in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found += [each] if each.status() != psutil.STATUS_ZOMBIE else []
    return [each for each in found if each not in EARLIER]


async def all_have_ended() -> bool:
    """Whether no program is left; the one that watches ends by itself, a moment later."""
    for _ in range(int(PATIENCE_S * 100)):
        if not children():
            return True
        await asyncio.sleep(0.01)
    return False


@contextmanager
def http_server() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Serve the demo over HTTP; yields its address, and the heads of the requests once the block has ended."""
    heads: list[dict[str, str]] = []
    command = [sys.executable, str(HERE / "mcp_demo.py"), "--http"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    folder = HERE.parent.parent
    with subprocess.Popen(
        command, text=True, cwd=folder, env={"PYTHONPATH": str(folder)}, **pipes
    ) as running:
        assert running.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(running.stdout.readline())}/mcp", heads
        finally:
            _, errors = running.communicate(timeout=PATIENCE_S)
            heads += [json.loads(line) for line in errors.splitlines() if line.startswith("{")]


async def test_a_tool_of_a_server_is_offered_asked_for_and_its_result_is_data(tmp_path: Path) -> None:
    with Simulator() as simulator:
        simulator.play(calls(("mcp__demo__echo", {"text": "sk-of-the-user-000000 and more"})))
        async with opened(simulator, tmp_path, program("demo", "mcp_demo.py")) as profile:
            answer, _ = await ask(profile, approver := Asked())
        first, second = (each.body for each in simulator.requests.to("/responses", "POST"))
    assert [request.summary for request in approver.requests] == ["Calls echo of the MCP server demo."]
    assert json.loads(approver.requests[0].code) == {"text": "sk-of-the-user-000000 and more"}
    offered = [tool["name"] for tool in tools_of(first)]
    assert offered == ["mcp__demo__add", "mcp__demo__echo", "mcp__demo__variables"]
    sent = second["input"][-1]["output"]
    assert 'of="mcp__demo__echo">' in sent  # an untrusted block
    assert "and more" in sent
    assert "sk-of-the-user-000000" not in sent
    assert [(call.name, call.ok) for call in answer.tool_calls] == [("mcp__demo__echo", True)]
    assert await all_have_ended()


def tools_of(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the function tools of a request, of both forms."""
    lite = [each for item in body["input"] if item["type"] == "additional_tools" for each in item["tools"]]
    return body.get("tools") or [tool for namespace in lite for tool in namespace["tools"]]


async def test_a_program_gets_its_own_variables_and_no_key(tmp_path: Path) -> None:
    table = program("demo", "mcp_demo.py", more='env = {OWN = "1"}\nenv_vars = ["MCP_TOKEN"]')
    with Simulator() as simulator:
        simulator.play(calls(("mcp__demo__variables", {})))
        async with opened(simulator, tmp_path, table) as profile:
            answer, _ = await ask(profile, Asked())
    names = json.loads(answer.tool_calls[0].output or "")["result"]
    assert set(names) - {"LC_CTYPE"} == {"LANG", "MCP_TOKEN", "OWN", "PATH"}  # Python sets LC_CTYPE itself


HINTS = {
    "plain": ({}, ""),
    "looks": ({"readOnlyHint": True}, " The server says that it only reads."),
    "wipes": ({"destructiveHint": True}, " The server says that it may destroy something."),
}


MODES = (None, "auto", "prompt", "writes", "approve")


@pytest.mark.parametrize("policy", [ApprovalPolicy.ASK, ApprovalPolicy.AUTO, ApprovalPolicy.ALL])
async def test_each_call_is_asked_for_unless_the_configuration_or_the_policy_allows_it(
    tmp_path: Path, policy: ApprovalPolicy
) -> None:
    tools = [listed(name, annotations=hints) for name, (hints, _) in HINTS.items()]
    tables = "".join(
        hostile(f"m_{mode}", tools=tools, more=f'default_tools_approval_mode = "{mode}"' if mode else "")
        for mode in MODES
    )
    with Simulator() as simulator:
        simulator.play(calls(*((f"mcp__m_{mode}__{tool}", {}) for mode in MODES for tool in HINTS)))
        async with opened(simulator, tmp_path, tables) as profile:
            answer, _ = await ask(profile, approver := Asked(), approval=policy)
    words = [
        f"Calls {tool} of the MCP server m_{mode}.{said}"
        for mode in MODES
        for tool, (_, said) in HINTS.items()
        if mode != "approve" and policy is not ApprovalPolicy.ALL
    ]
    assert [request.summary for request in approver.requests] == words
    assert [call.ok for call in answer.tool_calls] == [True] * 15


@pytest.mark.parametrize(("mode", "own"), [("approve", "prompt"), ("prompt", "approve"), (None, "approve")])
async def test_the_mode_of_one_tool_wins_over_that_of_the_server(
    tmp_path: Path, mode: str | None, own: str
) -> None:
    more = f'default_tools_approval_mode = "{mode}"\n' if mode else ""
    more += f'[mcp_servers.demo.tools.one]\napproval_mode = "{own}"'
    with Simulator() as simulator:
        simulator.play(calls(("mcp__demo__one", {}), ("mcp__demo__two", {})))
        tools = [listed("one"), listed("two")]
        async with opened(simulator, tmp_path, hostile("demo", tools=tools, more=more)) as profile:
            await ask(profile, approver := Asked())
    asked = [request.tool for request in approver.requests]
    assert asked == [
        f"mcp__demo__{name}" for name, each in (("one", own), ("two", mode)) if each != "approve"
    ]


async def test_nothing_of_a_server_is_offered_under_the_policy_that_only_reads(tmp_path: Path) -> None:
    more = 'default_tools_approval_mode = "approve"'
    with Simulator() as simulator:
        async with opened(simulator, tmp_path, program("demo", "mcp_demo.py", more=more)) as profile:
            await ask(profile, approval=ApprovalPolicy.READ_ONLY)
        (request,) = simulator.requests.to("/responses", "POST")
    assert tools_of(request.body) == []


async def test_the_configuration_chooses_among_the_tools(tmp_path: Path) -> None:
    tools = [listed("a"), listed("b")]
    tables = hostile("some", tools=tools, more='enabled_tools = ["a", "b"]\ndisabled_tools = ["b"]')
    tables += hostile("none", more="enabled = false")
    with Simulator() as simulator:
        async with opened(simulator, tmp_path, tables) as profile:
            found = await states(profile)
    assert {name: (state.status, [tool.name for tool in state.tools]) for name, state in found.items()} == {
        "some": ("ready", ["mcp__some__a"]),
        "none": ("not used", []),
    }


async def test_what_is_switched_off_is_not_offered_and_not_started(tmp_path: Path) -> None:
    tables = hostile("one") + hostile("two")
    with Simulator() as simulator:
        async with opened(simulator, tmp_path, tables) as profile:
            await ask(profile, without=frozenset({"one"}))
            await ask(profile, without=frozenset({"one", "mcp__two__ping"}))
            await ask(profile, uses_servers=False)
            assert len(children()) == 2  # the program of the other one, and what watches it
        offered = [
            [tool["name"] for tool in tools_of(r.body)] for r in simulator.requests.to("/responses", "POST")
        ]
    assert offered == [["mcp__two__ping"], [], []]


async def test_a_server_over_http_gets_its_headers_and_is_told_of_the_end(tmp_path: Path) -> None:
    with Simulator() as simulator, http_server() as (url, heads):
        table = (
            f'[mcp_servers.far]\nurl = "{url}"\nbearer_token_env_var = "MCP_TOKEN"\n'
            'http_headers = {"X-One" = "1"}\nenv_http_headers = {"X-Two" = "LANG"}\n'
        )
        simulator.play(calls(("mcp__far__add", {"a": 2, "b": 3})))
        async with opened(simulator, tmp_path, table) as profile:
            answer, _ = await ask(profile, Asked())
    assert [json.loads(call.output or "") for call in answer.tool_calls] == [{"result": 5}]
    assert {(each["x-one"], each["x-two"], each["authorization"]) for each in heads} == {
        ("1", "C", "Bearer right")
    }
    assert [each["method"] for each in heads if each["method"] != "GET"] == ["POST"] * 4 + ["DELETE"]


@pytest.mark.parametrize(
    ("table", "problem"),
    {
        'url = "http://example.invalid/mcp"\nhttp_headers = {A = "b"}': "use https",
        'url = "http://127.0.0.1:9/mcp"\nbearer_token_env_var = "NOT_SET"': "the variable NOT_SET",
        'url = "http://127.0.0.1:9/mcp"\nhttp_headers_helper = "x"': "http_headers_helper is not supported",
        'url = "http://127.0.0.1:9/mcp"\nhttp_headers = {A = "\\u0001"}': "not printable",
        'url = "http://127.0.0.1:9/mcp"': "connect",
        'url = "no address"': "",
        'command = "/nowhere/at/all"': "No such file or directory",
        'command = "sh"\nenvironment_id = "far"': "environment_id",
        'command = "sh"\nenabled = false': "disabled in config.toml",
    }.items(),
)
async def test_a_server_that_cannot_be_used_says_why(tmp_path: Path, table: str, problem: str) -> None:
    with Simulator() as simulator:
        async with opened(simulator, tmp_path, f"[mcp_servers.x]\n{table}\n") as profile:
            state = (await states(profile))["x"]
            answer, _ = await ask(profile)
    assert (state.status in {"failed", "not used"}, problem in state.problem) == (True, True), state
    assert answer.status == "completed"


async def test_a_server_that_wants_a_sign_in_is_told_how(tmp_path: Path) -> None:
    with Simulator() as simulator, http_server() as (url, _):
        async with opened(simulator, tmp_path, f'[mcp_servers.far]\nurl = "{url}"\n') as profile:
            _, events = await ask(profile)
    notices = [event.text for event in events if isinstance(event, Notice) and "MCP" in event.text]
    assert len(notices) == 1
    assert "The MCP server far cannot be used: sign in with: codex mcp login far" in notices[0]


STAGES = [
    f"{stage}={deed}"
    for stage in ("start", "initialize", "list")
    for deed in ("hang", "die", "flood", "line")
]
REFUSALS = [f"{stage}={deed}" for stage in ("initialize", "list") for deed in ("error", "wrong")]


async def test_servers_that_cannot_be_used_keep_no_other_from_its_work(tmp_path: Path) -> None:
    deeds = [*STAGES, *REFUSALS]
    late = {deed: "startup_timeout_sec = 2" if "hang" in deed else "" for deed in deeds}
    tables = hostile("good") + "".join(
        hostile(deed.replace("=", "_"), deed, *["stubborn"] * bool(more), more=more)
        for deed, more in late.items()
    )
    with Simulator() as simulator:
        simulator.play(calls(("mcp__good__ping", {})))
        async with opened(simulator, tmp_path, tables) as profile:
            answer, events = await ask(profile, Asked())
            good, *bad = profile.assistant.servers().states()
    assert [(call.name, call.output) for call in answer.tool_calls] == [("mcp__good__ping", "pong")]
    assert (good.status, [state.status for state in bad]) == ("ready", ["failed"] * len(deeds))
    told = [event.text for event in events if isinstance(event, Notice) and "MCP" in event.text]
    assert told == [f"The MCP server {state.name} cannot be used: {state.problem}." for state in bad]
    assert not set("\u202e<") & set("".join(told))
    died = [state.problem for state in bad if state.name.endswith("_die")]
    assert died == ["Boom: no database"] * 3
    assert await all_have_ended()


async def test_calls_that_go_wrong_are_results_and_the_turn_goes_on(tmp_path: Path) -> None:
    deeds = ["hang", "die", "flood", "line", "values", "error", "wrong"]
    tables = "".join(hostile(deed, f"call={deed}", more="tool_timeout_sec = 1") for deed in deeds)
    with Simulator() as simulator:
        simulator.play(calls(*((f"mcp__{name}__ping", {}) for name in (*deeds, "good"))))
        async with opened(simulator, tmp_path, tables + hostile("good")) as profile:
            answer, _ = await ask(profile, Asked())
            again = await states(profile)  # what has ended starts anew
    assert [call.ok for call in answer.tool_calls] == [*[False] * len(deeds), True]
    assert all(call.output for call in answer.tool_calls)
    assert {state.status for state in again.values()} == {"ready"}
    assert await all_have_ended()


async def test_a_turn_that_is_stopped_during_a_call_ends_at_once_and_leaves_the_others(
    tmp_path: Path,
) -> None:
    with Simulator() as simulator:
        simulator.play(calls(("mcp__slow__ping", {})))
        async with opened(simulator, tmp_path, hostile("slow", "call=hang") + hostile("good")) as profile:
            approved = asyncio.Event()

            class Noting(Asked):
                async def decide(self, request: ApprovalRequest) -> Decision:
                    approved.set()
                    return await super().decide(request)

            turn = asyncio.create_task(ask(profile, Noting()))
            await approved.wait()
            await asyncio.sleep(0)
            turn.cancel()
            answer, _ = await turn
            simulator.play(calls(("mcp__good__ping", {})))
            after, _ = await ask(profile, Asked())
    assert answer.status == "cancelled"
    assert [(call.name, call.output) for call in after.tool_calls] == [("mcp__good__ping", "pong")]
    assert await all_have_ended()


async def test_text_that_is_no_message_is_skipped(tmp_path: Path) -> None:
    tables = hostile("chatty", "list=junk", "call=junk", "start=junk")
    with Simulator() as simulator:
        simulator.play(calls(("mcp__chatty__ping", {})))
        async with opened(simulator, tmp_path, tables) as profile:
            answer, _ = await ask(profile, Asked())
    assert [call.output for call in answer.tool_calls] == ["pong"]


async def test_half_a_surrogate_pair_in_a_result_costs_no_more_than_itself(tmp_path: Path) -> None:
    table = hostile("odd", content=[{"type": "text", "text": "a \ud800 b"}])
    with Simulator() as simulator:
        simulator.play(calls(("mcp__odd__ping", {})))
        async with opened(simulator, tmp_path, table) as profile:
            answer, _ = await ask(profile, Asked())
    assert [call.output for call in answer.tool_calls] == ["a ? b"]


async def test_nothing_hides_in_what_a_server_says_of_a_tool_and_its_arguments(tmp_path: Path) -> None:
    hidden = "Look.\U000e0041\u200b\u202e\U000e0100"
    argument = {"type": "string", "title": hidden, "description": hidden, "enum": [hidden], "default": hidden}
    schema = {"type": "object", "description": hidden, "properties": {hidden: {"anyOf": [argument]}}}
    table = hostile("odd", tools=[listed("ping", description=hidden, inputSchema=schema)])
    with Simulator() as simulator:
        simulator.play(calls(("mcp__odd__ping", {})))
        async with opened(simulator, tmp_path, table) as profile:
            await ask(profile, Asked())
        [tool] = [each for each in simulator.requests[-1].body["tools"] if "ping" in each.get("name", "")]
    shown = "Look.⟦U+E0041⟧⟦U+200B⟧⟦U+202E⟧⟦U+E0100⟧"
    assert tool["description"].endswith(shown)
    assert tool["parameters"]["description"] == shown
    [told] = tool["parameters"]["properties"][hidden]["anyOf"]
    assert told == argument | {"title": shown, "description": shown}


LIES = {
    "no list": 5,
    "not a tool": [7, None, "x", {}],
    "no name": [listed(""), listed(None), listed(["a"])],
    "no schema": [{"name": "a"}, listed("b", inputSchema=None), listed("c", inputSchema=[])],
    "a schema of no object": [listed("a", inputSchema={"type": "string"}), listed("b", inputSchema={})],
    "a schema that is too large": [listed("a", inputSchema={"type": "object", "title": "x" * 20_000})],
    "a name twice": [listed("ping"), listed("ping", description="another")],
    "a name of another server": [listed("good__ping"), listed("mcp__good__ping")],
    "a name that is none": [listed("a b\u202e\n<script>"), listed("x" * 250), listed("a b c")],
    "odd hints": [listed("a", annotations={"readOnlyHint": "yes"}), listed("b", annotations=3)],
    "too many": [listed(f"tool_{number}") for number in range(300)],
    "too much": [listed(f"tool_{number}", description="x" * 5_000) for number in range(100)],
}


@pytest.mark.parametrize("lie", LIES)
async def test_what_a_server_says_of_its_tools_is_bounded_and_hides_no_other(
    tmp_path: Path, lie: str
) -> None:
    tables = hostile("good") + hostile("bad", tools=LIES[lie])
    with Simulator() as simulator:
        simulator.play(calls(("mcp__good__ping", {})))
        async with opened(simulator, tmp_path, tables) as profile:
            answer, _ = await ask(profile, Asked())
            bad = profile.assistant.servers().states()[1]
        offered = tools_of(simulator.requests.to("/responses", "POST")[0].body)
    assert [call.output for call in answer.tool_calls] == ["pong"]
    names = [tool["name"] for tool in offered]
    assert len(names) == len(set(names)) <= 128
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in names)
    assert len(json.dumps(offered)) < 100_000
    assert not {*"\u202e\n<"} & {*"".join(tool.title + tool.summary for tool in bad.tools)} - {"<"}
    assert (
        bad.left_out or bad.status == "failed" or lie in {"a name of another server", "a name that is none"}
    )


@pytest.mark.parametrize(
    "odd", [7, None, True, "x", [], [[]], {}, {"name": "a"}, {"name": 7, "inputSchema": 7}]
)
async def test_what_is_no_tool_hides_no_other_of_its_server(tmp_path: Path, odd: Any) -> None:
    with Simulator() as simulator:
        simulator.play(calls(("mcp__demo__ping", {})))
        async with opened(simulator, tmp_path, hostile("demo", tools=[odd, listed("ping")])) as profile:
            answer, _ = await ask(profile, Asked())
            [demo] = profile.assistant.servers().states()
    assert [call.output for call in answer.tool_calls] == ["pong"]
    assert (demo.status, len(demo.tools), len(demo.left_out)) == ("ready", 1, 1)


async def test_an_approval_for_the_session_ends_when_the_tool_becomes_another(tmp_path: Path) -> None:
    with Simulator() as simulator:
        simulator.play(calls(*[("mcp__demo__a", {})] * 2))
        async with opened(simulator, tmp_path, hostile("demo", tools=[listed("a")])) as profile:
            await ask(profile, first := Asked(DecisionKind.APPROVE_TOOL))
            before = (await states(profile))["demo"].tools[0]
        async with opened(
            simulator, tmp_path, hostile("demo", tools=[listed("a", description="y")])
        ) as profile:
            after = (await states(profile))["demo"].tools[0]
    assert len(first.requests) == 1
    assert before.identity != after.identity


async def test_images_reach_the_model_as_images(tmp_path: Path) -> None:
    content = [
        {"type": "image", "data": PIXEL, "mimeType": "image/png"},
        {"type": "image", "data": "not base64!", "mimeType": "image/png"},
        {"type": "image", "data": base64.b64encode(b"no image").decode(), "mimeType": "image/png"},
        {"type": "image", "data": PIXEL, "mimeType": "image/svg+xml"},
        {"type": "audio", "data": PIXEL, "mimeType": "audio/wav"},
        {"type": "resource", "resource": {"uri": "file:///x", "text": "inside"}},
    ]
    with Simulator() as simulator:
        simulator.play(calls(("mcp__demo__ping", {})))
        async with opened(simulator, tmp_path, hostile("demo", content=content)) as profile:
            await ask(profile, Asked())
        output = simulator.requests.to("/responses", "POST")[1].body["input"][-1]["output"]
    assert [part["image_url"] for part in output if part["type"] == "input_image"] == [PIXEL_URL]
    assert "[audio: audio/wav]\ninside\n[some images not sent" in output[0]["text"]


async def test_a_required_server_that_fails_refuses_the_question(tmp_path: Path) -> None:
    table = hostile("must", "start=die", more="required = true")
    with Simulator() as simulator:
        async with opened(simulator, tmp_path, table) as profile:
            answer, events = await ask(profile)
        assert simulator.requests.count("/responses") == 0
    assert answer.status == "failed"
    assert isinstance(events[-1], TurnFinished)
    assert "must is required, and cannot be used: Boom: no database" in (events[-1].error or "")


async def test_a_question_waits_for_a_slow_server_no_longer_than_is_configured(tmp_path: Path) -> None:
    with Simulator() as simulator:
        grace = "mcp_optional_startup_grace_ms = 0\n"
        async with opened(simulator, tmp_path, hostile("slow", "list=hang"), grace=grace) as profile:
            _, events = await ask(profile)
    notices = [event.text for event in events if isinstance(event, Notice) and "MCP" in event.text]
    assert notices == ["The MCP server slow is still starting; ask again to use its tools."]
    assert await all_have_ended()


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from codex_nb.config.config_toml import McpServer
from codex_nb.config.settings import Settings
from codex_nb.session.mcp import McpServers

async def main():
    server = McpServer("x", sys.executable, (sys.argv[1], "stubborn"))
    servers = McpServers(Settings(Path(), mcp_servers=(server,), mcp_grace_s=60), {})
    print([state.status for state in await servers.start()], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_no_program_outlives_a_process_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    server = str(HERE / "mcp_hostile.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        server,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(HERE.parent.parent)},
    )
    out, _ = await process.communicate()
    assert out.decode().split() == ["['ready']"]

    def left() -> list[str]:
        return [
            str(each.pid)
            for each in psutil.process_iter(["cmdline"])
            if server in (each.info["cmdline"] or ())
        ]

    for _ in range(int(PATIENCE_S * 20)):
        if not left():
            break
        await asyncio.sleep(0.05)
    assert left() == []


class Answering:
    """Approves each call, answers each question with one decision, and remembers both."""

    def __init__(self, decision: Decision) -> None:
        self.questions: list[ApprovalRequest] = []
        self._decision = decision

    async def decide(self, request: ApprovalRequest) -> Decision:
        if not request.is_question:
            return Decision(DecisionKind.APPROVE)
        self.questions.append(request)
        return self._decision


async def asked_by(
    tool: str, approver: Any, tmp_path: Path, policy: ApprovalPolicy = ApprovalPolicy.ASK, more: str = ""
) -> tuple[Answer, list[TurnEvent]]:
    """Let the model call a tool that asks the user."""
    with Simulator() as simulator:
        simulator.play(calls((f"mcp__asking__{tool}", {})))
        table = program("asking", "mcp_asking.py", more=more)
        async with opened(simulator, tmp_path, table) as profile:
            return await ask(profile, approver, approval=policy)


def results(answer: Answer) -> list[Any]:
    """Return what the calls of an answer gave, as far as that is a result of the SDK's."""
    return [json.loads(call.output or "")["result"] for call in answer.tool_calls]


EDITED = '{"answers": {"size": "large", "count": 3, "gift": true}}'
ANSWERS: dict[str, tuple[str, Decision, str]] = {
    "as it stands": (
        "order",
        Decision(DecisionKind.APPROVE),
        'accept {"size":"small","count":2,"gift":false}',
    ),
    "edited": (
        "order",
        Decision(DecisionKind.APPROVE, code=EDITED),
        'accept {"size":"large","count":3,"gift":true}',
    ),
    "not JSON": ("order", Decision(DecisionKind.APPROVE, code="large"), "decline"),
    "declined": ("order", Decision(DecisionKind.REJECT), "decline"),
    "a page": ("visit", Decision(DecisionKind.APPROVE), "accept"),
    "a page that is not opened": ("visit", Decision(DecisionKind.REJECT), "decline"),
}


@pytest.mark.parametrize("kind", list(ANSWERS))
async def test_what_a_server_asks_is_answered_by_the_user_whatever_the_policy(
    tmp_path: Path, kind: str
) -> None:
    tool, decision, told = ANSWERS[kind]
    answer, events = await asked_by(tool, approver := Answering(decision), tmp_path, ApprovalPolicy.ALL)
    assert (answer.status, results(answer)) == ("completed", [told])
    (question,) = approver.questions
    said = "The MCP server asking asks: "
    assert question.summary.startswith(said)
    if tool == "order":
        assert question.summary == f"{said}What shall it be? (size: How large?; small / large)"
        assert json.loads(question.code) == {"answers": {"size": "small", "count": 2, "gift": False}}
    else:
        assert "https://example.org/sign" in question.summary
    numbers = [event.request.call_number for event in events if isinstance(event, ApprovalRequested)]
    assert len(set(numbers)) == len(numbers)


async def test_a_question_is_declined_where_nobody_is_there_and_where_it_wants_a_secret(
    tmp_path: Path,
) -> None:
    more = 'default_tools_approval_mode = "approve"\n'
    answer, _ = await asked_by("order", DenyAll(), tmp_path, more=more)
    assert results(answer) == ["decline"]
    answer, _ = await asked_by(
        "log_in", approver := Answering(Decision(DecisionKind.APPROVE)), tmp_path, more=more
    )
    assert (results(answer), approver.questions) == (["decline"], [])


async def test_a_server_that_asks_without_end_is_declined(tmp_path: Path) -> None:
    answer, _ = await asked_by("insist", approver := Answering(Decision(DecisionKind.APPROVE)), tmp_path)
    assert results(answer)[0].split() == ["accept"] * 10 + ["decline"] * 20
    assert len(approver.questions) == 10


async def test_people_may_think_longer_about_a_question_than_a_call_may_take(tmp_path: Path) -> None:
    class Slow(Answering):
        async def decide(self, request: ApprovalRequest) -> Decision:
            decision = await super().decide(request)
            if request.is_question:
                await asyncio.sleep(2.2)
            return decision

    answer, _ = await asked_by(
        "visit", Slow(Decision(DecisionKind.APPROVE)), tmp_path, more="tool_timeout_sec = 2.0\n"
    )
    assert results(answer) == ["accept"]


@pytest.mark.parametrize("is_stopped", [True, False], ids=["by a decision", "by a cancellation"])
async def test_a_question_ends_with_its_turn(tmp_path: Path, is_stopped: bool) -> None:
    class Waiting(Answering):
        is_asked = asyncio.Event()

        async def decide(self, request: ApprovalRequest) -> Decision:
            decision = await super().decide(request)
            if request.is_question and not is_stopped:
                self.is_asked.set()
                await asyncio.Event().wait()
            return decision

    approver = Waiting(Decision(DecisionKind.STOP))
    asking = asyncio.ensure_future(asked_by("order", approver, tmp_path))
    if not is_stopped:
        await approver.is_asked.wait()
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
    else:
        answer, _ = await asking
        assert answer.status == "cancelled"
    assert await all_have_ended()
