"""Turns of ours in the real Codex CLI: its app-server, our login, our approvals, our tools."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import SecretStr

from codex_nb.auth.sources import ExternalTokens, TokenRequest
from codex_nb.config.settings import ApprovalPolicy, load_settings
from codex_nb.errors import AgentFailed
from codex_nb.profile import Profile, make_profile
from codex_nb.session.events import ApprovalRequested, TextDelta, ToolOutputDelta, TurnEvent, TurnFinished
from codex_nb.session.prompt import TurnRequest
from codex_nb.simulator import GRACE, Call, End, Reply, Say, Scenario, Simulator
from codex_nb.tools.approval import ApprovalRequest, Decision, DecisionKind, DenyAll
from codex_nb.tools.base import Ports, ToolSet
from codex_nb.tools.builtin import run_python
from tests.patience import PATIENCE_S
from tests.session.scripted import ProcessKernel, SameThread

pytestmark = pytest.mark.anyio

SHOP = Path(__file__).parent / "mcp_shop.py"


def shop_table(noted: Path) -> str:
    """Return the table of an MCP server that notes in a folder what it does."""
    arguments = json.dumps([str(SHOP), str(noted)])
    return f"[mcp_servers.shop]\ncommand = {json.dumps(sys.executable)}\nargs = {arguments}\n"


APPROVE, REJECT, STOP = (
    Decision(kind) for kind in (DecisionKind.APPROVE, DecisionKind.REJECT, DecisionKind.STOP)
)


class Asking:
    """Answers each request with one decision, and notes what was asked and what ``look`` saw at that moment."""

    def __init__(self, decision: Decision, look: Callable[[], Any] = lambda: None) -> None:
        self.asked: list[ApprovalRequest] = []
        self.saw: list[Any] = []
        self._decision = decision
        self._look = look

    def decide(self, request: ApprovalRequest) -> Awaitable[Decision]:
        self.asked.append(request)
        self.saw.append(self._look())
        return self._decided()

    async def _decided(self) -> Decision:
        return self._decision


@dataclass
class Place:
    """A CODEX_HOME with a login, a folder to work in, and the CLI that the agent runs in."""

    program: Path
    sim: Simulator
    home: Path
    work: Path
    profile: str | None = None  # whose own folder in CODEX_HOME the home is
    kernel: ProcessKernel = field(default_factory=ProcessKernel)

    @property
    def environ(self) -> dict[str, str]:
        home = self.home if self.profile is None else self.home.parent.parent
        own = {"PATH": os.environ["PATH"], "HOME": str(home.parent), "CODEX_HOME": str(home)}
        return own | self.sim.environ() | {"CODEX_NB_CODEX": str(self.program)}

    def configure(self, more: str) -> None:
        """Write config.toml."""
        (self.home / "config.toml").write_text(f"{self.sim.config_toml()}\n{more}")

    def shop(self, more: str = "") -> str:
        """Return the table of the MCP server that notes what it does in the folder ``noted``."""
        noted = self.home.parent / "noted"
        noted.mkdir()
        return shop_table(noted) + more

    @property
    def noted(self) -> set[str]:
        """What the MCP server has done: ``started``, and the names of the tools that were called."""
        return {each.name for each in (self.home.parent / "noted").iterdir()}

    @asynccontextmanager
    async def opened(self, *, own: bool = False, **more: str) -> AsyncIterator[Profile]:
        """Open the profile as a kernel does that has just started; ``own`` gives the CLI the user's configuration."""
        environ = self.environ | more
        overrides = {"agent_config": "own" if own else "private"}
        settings = load_settings(environ, profile=self.profile, overrides=overrides)
        profile = make_profile(settings, environ)
        try:
            yield profile
        finally:
            await profile.close()

    @property
    def ports(self) -> Ports:
        return Ports(SameThread(), self.kernel, folder=self.work)

    @property
    def files(self) -> dict[str, str]:
        """The files in the folder, with their texts."""
        return {each.name: each.read_text() for each in self.work.iterdir()}

    async def ask(
        self,
        profile: Profile,
        prompt: str,
        *,
        policy: ApprovalPolicy = ApprovalPolicy.ASK,
        approver: Any = None,
        **more: Any,
    ) -> tuple[list[TurnEvent], TurnFinished]:
        request = TurnRequest(
            prompt,
            thread=more.pop("thread", "t"),
            tools=more.pop("tools", ToolSet((run_python,))),
            approval=policy,
            folder=self.work,
            agent=True,
            model="simulator-classic",
            **more,
        )
        turn = profile.assistant.turn(request, ports=self.ports, approver=approver or DenyAll())
        events = [event async for event in turn]
        last = events[-1]
        assert isinstance(last, TurnFinished)
        return events, last

    def calls(self, *calls: Call) -> None:
        """Let the model call these, one after the other, and say that it has."""
        streams = [*((call, End()) for call in calls), (Say("It is done."), End())]
        self.sim.play(Scenario(tuple(Reply(stream=stream) for stream in streams)))

    def sent(self) -> list[dict[str, Any]]:
        return [each.body for each in self.sim.requests.to("/responses", "POST")]


@pytest.fixture
def place(codex_program: Path, sim: Simulator, tmp_path: Path) -> Place:
    """Give a signed-in home that leads to the simulator."""
    found = Place(codex_program, sim, tmp_path / "home" / "codex-home", tmp_path / "work")
    found.home.mkdir(parents=True)
    found.work.mkdir()
    (found.home / "config.toml").write_text(sim.config_toml())
    sim.write_login(found.home)
    return found


def texts_on_disk(folder: Path) -> dict[Path, bytes]:
    return {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def texts_of(items: list[dict[str, Any]], role: str) -> list[str]:
    messages = [item for item in items if item.get("role") == role]
    return [part["text"] for item in messages for part in item["content"] if "text" in part]


def processes_with(text: str) -> list[psutil.Process]:
    found = psutil.process_iter(["cmdline"])
    return [each for each in found if text in " ".join(each.info["cmdline"] or ())]


def do_not_end(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those that go on, after some patience with processes that are ending."""
    return psutil.wait_procs(processes, timeout=PATIENCE_S)[1]


def codex_processes() -> list[int]:
    children = psutil.Process().children(recursive=True)
    return [each.pid for each in processes_with("app-server") if each in children]


async def test_a_thread_goes_on_in_a_new_process_with_a_new_token_and_leaves_no_login_on_disk(
    place: Place,
) -> None:
    place.home /= "profiles/work"
    place.home.mkdir(parents=True)
    place.profile = "work"
    place.configure("")
    place.sim.write_login(place.home)
    (place.home.parent.parent / "auth.json").unlink()  # the only login is that of the profile
    first_token = json.loads((place.home / "auth.json").read_text())["tokens"]["access_token"]
    async with place.opened() as profile:
        events, first = await place.ask(profile, "Remember MARKER-ONE.")
        assert any(isinstance(event, TextDelta) for event in events)
        assert len(codex_processes()) >= 1
        homes = list((place.home / "codex_nb" / "agent").glob("home-*"))
        assert [(each.stat().st_mode & 0o777, (each / "auth.json").exists()) for each in homes] == [
            (0o700, False)
        ]
        agent = profile.agent.open()
        limits, direct = await agent.usage(), await profile.backend.usage()
        assert limits is not None
        assert direct is not None
        assert [each.used_percent for each in limits.windows] == [
            each.used_percent for each in direct.windows
        ]
        assert "a…@example.com" in await agent.described()
        assert "simulator-classic" in {slug for slug, _, _ in await agent.models()}
    assert codex_processes() == []
    place.sim.write_login(place.home)
    async with place.opened() as profile:
        _, second = await place.ask(profile, "What was it? MARKER-TWO")
    assert [first.answer.status, second.answer.status] == ["completed", "completed"]
    assert ("MARKER-ONE" in first.answer.text, "MARKER-TWO" in second.answer.text) == (True, True)
    assert first.answer.usage.output_tokens > 0
    sent = place.sent()[-1]["input"]
    questions = [text for text in texts_of(sent, "user") if "MARKER" in text]
    assert questions == ["Remember MARKER-ONE.", "What was it? MARKER-TWO"]
    assert texts_of(sent, "assistant") == [first.answer.text]
    assert not list((place.home / "codex_nb" / "agent").glob("home-*"))
    tokens = json.loads((place.home / "auth.json").read_text())["tokens"]
    secrets = [first_token, *(tokens[name] for name in ("access_token", "refresh_token", "id_token"))]
    texts = texts_on_disk(place.home.parents[3])
    holding = [path for path, text in texts.items() if any(each.encode() in text for each in secrets)]
    assert holding == [place.home / "auth.json"]


@pytest.mark.parametrize("decision", [APPROVE, REJECT, STOP])
async def test_a_command_runs_only_when_it_is_approved(place: Place, decision: Decision) -> None:
    place.calls(Call("exec_command", {"cmd": "echo it > ran.txt"}, "call_1"))
    asking = Asking(decision, lambda: place.files)
    async with place.opened() as profile:
        events, last = await place.ask(profile, "run it", approver=asking)
    assert [request.code for request in asking.asked] == ["/bin/bash -lc 'echo it > ran.txt'"]
    assert asking.saw == [{}]
    assert place.files == ({"ran.txt": "it\n"} if decision.approved else {})
    assert last.answer.status == ("cancelled" if decision is STOP else "completed")
    assert [call.name for call in last.answer.tool_calls] == ["shell"]
    assert sum(isinstance(event, ApprovalRequested) for event in events) == 1


PATCH = """apply_patch <<'EOF'
*** Begin Patch
*** Update File: old.txt
@@
-before
+after
*** Add File: new.txt
+made
*** End Patch
EOF
"""


@pytest.mark.parametrize("decision", [APPROVE, REJECT])
async def test_a_patch_is_shown_as_a_diff_and_made_only_when_it_is_approved(
    place: Place, decision: Decision
) -> None:
    (place.work / "old.txt").write_text("before\n")
    place.calls(Call("exec_command", {"cmd": PATCH}, "call_1"))
    asking = Asking(decision, lambda: place.files)
    async with place.opened() as profile:
        _, last = await place.ask(profile, "change it", approver=asking)
    (request,) = asking.asked
    assert (request.tool, request.language) == ("apply_patch", "diff")
    lines = request.code.splitlines()
    assert [line for line in lines if not line.startswith("@@")] == [
        "--- /dev/null",
        f"+++ {place.work / 'new.txt'}",
        "+made",
        f"--- {place.work / 'old.txt'}",
        f"+++ {place.work / 'old.txt'}",
        "-before",
        "+after",
    ]
    assert asking.saw == [{"old.txt": "before\n"}]
    changed = {"old.txt": "after\n", "new.txt": "made\n"}
    assert place.files == (changed if decision.approved else {"old.txt": "before\n"})
    assert last.answer.status == "completed"


@pytest.mark.parametrize("policy", [ApprovalPolicy.ASK, ApprovalPolicy.AUTO])
async def test_reading_by_a_command_is_asked_about_too(place: Place, policy: ApprovalPolicy) -> None:
    commands = ["cat a.txt", "ls", "git status", "sed -n 1p a.txt", "rg x", "pwd", "head a.txt", "find ."]
    place.calls(*(Call("exec_command", {"cmd": each}, f"call_{n}") for n, each in enumerate(commands)))
    asking = Asking(REJECT)
    async with place.opened() as profile:
        await place.ask(profile, "look", policy=policy, approver=asking)
    assert len(asking.asked) == len(commands)


async def test_the_policy_all_runs_commands_unasked_in_the_sandbox_and_shows_them(place: Place) -> None:
    place.calls(Call("exec_command", {"cmd": "echo it > ran.txt"}, "call_1"))
    async with place.opened() as profile:
        events, last = await place.ask(profile, "run it", policy=ApprovalPolicy.ALL)
    assert place.files == {"ran.txt": "it\n"}
    assert not any(isinstance(event, ApprovalRequested) for event in events)
    assert (last.answer.status, last.answer.tool_calls[0].ok) == ("completed", True)


async def test_the_policy_read_only_offers_no_shell(place: Place) -> None:
    place.calls(Call("exec_command", {"cmd": "echo it > ran.txt"}, "call_1"))
    asking = Asking(APPROVE)
    async with place.opened() as profile:
        await place.ask(profile, "run it", policy=ApprovalPolicy.READ_ONLY, approver=asking)
    names = {tool.get("name") for tool in place.sent()[0]["tools"]}
    assert names.isdisjoint({"exec_command", "shell", "apply_patch", "run_python", "view_image"})
    assert (asking.asked, place.files) == ([], {})


@pytest.mark.parametrize("decision", [APPROVE, REJECT])
async def test_our_tools_run_in_the_kernel_behind_the_same_approval(place: Place, decision: Decision) -> None:
    place.calls(Call("run_python", {"code": "found = 6 * 7; print(found)"}, "call_1"))
    asking = Asking(decision)
    async with place.opened() as profile:
        _, last = await place.ask(profile, "compute", approver=asking)
    assert [request.code for request in asking.asked] == ["found = 6 * 7; print(found)"]
    assert place.kernel.variables.get("found") == (42 if decision.approved else None)
    assert [call.name for call in last.answer.tool_calls] == ["run_python"]
    output = place.sent()[-1]["input"][-1]["output"]
    assert ("42" in json.dumps(output)) is decision.approved


NOTEBOOK = f"""
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in (
    "%load_ext codex_nb",
    "import codex_nb",
    "orders = [31, 11]",
    "service_key = '{"sk-" + "proj-" + "q7Zk2" * 8}'",
    "@codex_nb.tool\\ndef total(days: int) -> int:\\n    'Adds up orders.'\\n    return sum(orders[:days])",
    "%%codex --agent --approval all -m simulator-classic\\nhow many?",
):
    shell.run_cell(cell, store_history=True)
print("found", shell.user_ns["found"])
"""


async def test_the_notebook_and_its_tools_go_along_without_its_secrets(place: Place) -> None:
    calls = {
        "inspect": {"names": ["orders"]},
        "total": {"days": 2},
        "run_python": {"code": "found = total(1); print('ran')"},
    }
    place.calls(*(Call(name, arguments, f"call_{name}") for name, arguments in calls.items()))
    environ = {**os.environ, **place.environ, "IPYTHONDIR": str(place.home.parent)}
    kernel = [sys.executable, "-c", NOTEBOOK]
    done = await asyncio.to_thread(
        subprocess.run, kernel, env=environ, cwd=place.work, stdout=subprocess.PIPE, timeout=PATIENCE_S
    )
    assert done.stdout.splitlines()[-1] == b"found 31"
    first, *_, last = (each["input"] for each in place.sent())
    context = "\n".join(texts_of(first, "user") + texts_of(first, "developer"))
    assert [text for text in ("orders = [31, 11]", "how many?", "service_key") if text not in context] == []
    assert "q7Zk2q7Zk2" not in json.dumps(place.sent())
    outputs = {
        item["call_id"]: json.dumps(item["output"]) for item in last if item["type"] == "function_call_output"
    }
    wanted = {"call_inspect": "31", "call_total": "42", "call_run_python": "ran"}
    assert {name: wanted[name] in text for name, text in outputs.items()} == dict.fromkeys(wanted, True)


async def test_a_question_of_the_agent_is_answered_by_the_user_whatever_the_policy(place: Place) -> None:
    options = [{"label": "Blue", "description": ""}, {"label": "Red", "description": ""}]
    question = {"id": "colour", "header": "Colour", "question": "Which colour?", "options": options}
    place.calls(Call("request_user_input", {"questions": [question]}, "call_1"))
    asking = Asking(Decision(DecisionKind.APPROVE, code='{"answers": {"colour": "Green"}}'))
    async with place.opened() as profile:
        await place.ask(profile, "ask me", policy=ApprovalPolicy.ALL, approver=asking)
    (request,) = asking.asked
    assert "Which colour? (Blue / Red)" in request.summary
    assert json.loads(place.sent()[-1]["input"][-1]["output"]) == {
        "answers": {"colour": {"answers": ["Green"]}}
    }


async def test_a_terminal_that_could_be_typed_into_unasked_is_not_opened(place: Place) -> None:
    place.calls(Call("exec_command", {"cmd": "bash", "tty": True, "yield_time_ms": 500}, "call_1"))
    async with place.opened() as profile:
        await place.ask(profile, "open it", approver=Asking(APPROVE))
    assert "session ID" not in json.dumps(place.sent()[-1]["input"][-1]["output"])


async def test_commands_see_no_key_of_the_login(place: Place) -> None:
    (place.home / "config.toml").write_text(place.sim.config_toml("api"))
    key = place.sim.write_api_key(place.home)
    place.calls(Call("exec_command", {"cmd": "env"}, "call_1"))
    async with place.opened(MY_SERVICE_TOKEN="abcdefgh12345") as profile:
        _, last = await place.ask(profile, "look", approver=Asking(APPROVE))
    assert place.sim.requests.to("/responses", "POST")[-1].headers["authorization"] == f"Bearer {key}"
    (call,) = last.answer.tool_calls
    assert "PATH=" in (call.output or "")
    assert [secret for secret in (key, "abcdefgh12345") if secret in (call.output or "")] == []
    texts = texts_on_disk(place.home / "codex_nb")
    assert [path for path, text in texts.items() if key.encode() in text] == []


async def test_a_personal_access_token_signs_the_agents_requests(place: Place) -> None:
    (place.home / "auth.json").unlink()
    token = place.sim.new_personal_token()
    async with place.opened(CODEX_ACCESS_TOKEN=token) as profile:
        _, last = await place.ask(profile, "hello")
    assert (last.answer.status, last.error) == ("completed", None)
    assert place.sim.requests.to("/responses", "POST")[-1].headers["authorization"] == f"Bearer {token}"


def refused_once() -> Scenario:
    """The service takes no token of the first request."""
    return Scenario((Reply(status=401, body={"error": {"code": "token_expired", "message": "expired"}}),))


def bearers(place: Place) -> list[str]:
    requests = place.sim.requests.to("/responses", "POST")
    return [each.headers["authorization"].removeprefix("Bearer ") for each in requests]


async def test_a_refused_token_is_refreshed_by_our_manager_and_the_request_repeated(place: Place) -> None:
    place.sim.play(refused_once())
    async with place.opened() as profile:
        _, last = await place.ask(profile, "hello")
    assert last.answer.status == "completed"
    first, second = bearers(place)
    tokens = json.loads((place.home / "auth.json").read_text())["tokens"]
    assert (first != second, second == tokens["access_token"], place.sim.refreshes) == (True, True, 1)


async def test_a_login_that_cannot_be_refreshed_ends_the_turn_with_its_reason(place: Place) -> None:
    place.sim.play(refused_once())
    place.sim.expire_refresh_tokens()
    async with place.opened() as profile:
        place.sim.play(Scenario((Reply(status=401, times=None, body={}),)))
        _, last = await place.ask(profile, "hello")
    assert (last.answer.status, type(last.failure).__name__) == ("failed", "RefreshFailed")
    assert len(set(bearers(place))) == 1


async def test_the_token_of_another_account_is_never_handed_in(place: Place) -> None:
    mine, theirs = place.sim.sign_in(), place.sim.sign_in(GRACE)
    given = iter(
        ExternalTokens(SecretStr(each.access_token), each.account.account_id, "plus")
        for each in (mine, theirs)
    )
    place.sim.play(Scenario((Reply(status=401, times=None, body={}),)))
    environ = place.environ
    profile = make_profile(load_settings(environ), environ, external=lambda _request: next(given))
    try:
        _, last = await place.ask(profile, "hello")
    finally:
        await profile.close()
    assert (last.answer.status, type(last.failure).__name__) == ("failed", "AccountChanged")
    assert set(bearers(place)) == {mine.access_token}


async def test_a_host_program_that_gives_no_token_in_time_ends_the_turn(place: Place) -> None:
    mine = place.sim.sign_in()

    async def provide(request: TokenRequest) -> ExternalTokens:
        if request.reason == "unauthorized":
            await asyncio.Event().wait()
        return ExternalTokens(SecretStr(mine.access_token), mine.account.account_id, "plus")

    place.sim.play(Scenario((Reply(status=401, times=None, body={}),)))
    environ = place.environ
    profile = make_profile(load_settings(environ), environ, external=provide)
    try:
        _, last = await place.ask(profile, "hello")
    finally:
        await profile.close()
    assert last.answer.status == "failed"
    assert set(bearers(place)) == {mine.access_token}


async def test_both_engines_take_turns_in_one_thread(place: Place) -> None:
    async with place.opened() as profile:
        direct = TurnRequest("MARKER-ONE", thread="t", model="simulator-classic")
        await profile.assistant.answer(direct, ports=place.ports, approver=DenyAll())
        await place.ask(profile, "MARKER-TWO")
        await profile.assistant.answer(
            TurnRequest("MARKER-THREE", thread="t", model="simulator-classic"),
            ports=place.ports,
            approver=DenyAll(),
        )
        await place.ask(profile, "MARKER-FOUR")
    words = ["MARKER-ONE", "MARKER-TWO", "MARKER-THREE", "MARKER-FOUR"]
    for number, body in enumerate(place.sent(), 1):
        questions = [text for text in texts_of(body["input"], "user") if text.startswith("MARKER")]
        assert questions == words[:number]


async def test_a_deleted_thread_leaves_nothing_of_it_at_the_cli(place: Place) -> None:
    async with place.opened() as profile:
        await place.ask(profile, "MARKER-ONE", thread="one")
        await place.ask(profile, "MARKER-TWO", thread="two")
        await profile.assistant.forget("one")
    texts = b"".join(texts_on_disk(place.home / "codex_nb").values())
    assert (b"MARKER-ONE" in texts, b"MARKER-TWO" in texts) == (False, True)


async def test_a_stopped_turn_ends_its_command_and_the_thread_goes_on(place: Place) -> None:
    place.calls(
        Call(
            "exec_command",
            {"cmd": "for i in $(seq 6000); do echo begun; sleep 0.1; done; touch ended"},
            "call_1",
        )
    )
    begun = asyncio.Event()

    async def follow(profile: Profile) -> TurnEvent:
        request = TurnRequest(
            "wait",
            thread="t",
            approval=ApprovalPolicy.ALL,
            folder=place.work,
            agent=True,
            model="simulator-classic",
        )
        async for event in profile.assistant.turn(request, ports=place.ports, approver=DenyAll()):
            if isinstance(event, ToolOutputDelta) and "begun" in event.text:
                begun.set()
        return event

    async with place.opened() as profile:
        task = asyncio.ensure_future(follow(profile))
        await begun.wait()
        task.cancel()
        last = await task
        assert isinstance(last, TurnFinished)
        assert last.answer.status == "cancelled"
        assert do_not_end(processes_with("seq 6000")) == []
        place.sim.play(Scenario())
        _, last = await place.ask(profile, "go on")
        assert last.answer.status == "completed"
    assert not (place.work / "ended").exists()


def kill_codex() -> None:
    for pid in reversed(
        codex_processes()
    ):  # the program before the script that started it, which would tell it
        with suppress(psutil.NoSuchProcess):
            psutil.Process(pid).kill()


async def test_the_process_is_started_again_when_it_is_killed_and_the_thread_goes_on(place: Place) -> None:
    async with place.opened() as profile:
        await place.ask(profile, "MARKER-ONE")
        kill_codex()
        _, last = await place.ask(profile, "MARKER-TWO")
        assert last.answer.status == "completed"
    questions = [text for text in texts_of(place.sent()[-1]["input"], "user") if "MARKER" in text]
    assert questions == ["MARKER-ONE", "MARKER-TWO"]
    assert codex_processes() == []


async def test_a_process_that_is_killed_in_a_turn_is_started_once_more_and_then_given_up(
    place: Place,
) -> None:
    one, two, three = (
        Reply(stream=(Say("Half an answer.", gate=gate), End())) for gate in ("one", "two", "three")
    )
    whole = Reply(stream=(Say("A whole answer."), End()))
    place.sim.play(Scenario((one, whole, two, three)))
    async with place.opened() as profile:

        async def killed_at(*gates: str) -> TurnFinished:
            turn = asyncio.ensure_future(place.ask(profile, "go on"))
            for gate in gates:
                assert await asyncio.to_thread(place.sim.wait_held, gate)
                kill_codex()
            return (await turn)[1]

        first, second = await killed_at("one"), await killed_at("two", "three")
    assert (first.answer.status, first.answer.text) == ("completed", "A whole answer.")
    assert (second.answer.status, type(second.failure)) == ("failed", AgentFailed)
    assert len(place.sent()) == 4
    assert codex_processes() == []


@pytest.mark.parametrize("policy", [ApprovalPolicy.ASK, ApprovalPolicy.ALL])
async def test_a_command_that_was_left_running_ends_with_the_kernel(
    place: Place, policy: ApprovalPolicy
) -> None:
    command = "touch begun; for i in $(seq 7000); do sleep 0.1; done"
    place.calls(Call("exec_command", {"cmd": command, "yield_time_ms": 500}, "call_1"))
    async with place.opened() as profile:
        _, last = await place.ask(profile, "serve", policy=policy, approver=Asking(APPROVE))
        assert last.answer.status == "completed"
        assert processes_with("seq 7000")
    assert do_not_end(processes_with("seq 7000")) == []


KILLED = """
import json, os, psutil, signal
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "codex_nb")
shell.run_cell("%%codex --agent --approval all -m simulator-classic\\nserve")
print(json.dumps([each.pid for each in psutil.Process().children(recursive=True)]), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


async def test_nothing_of_the_agent_outlives_a_kernel_that_is_killed(place: Place) -> None:
    command = "for i in $(seq 8000); do sleep 0.1; done"
    place.calls(Call("exec_command", {"cmd": command, "yield_time_ms": 500}, "call_1"))
    environ = {**os.environ, **place.environ, "IPYTHONDIR": str(place.home.parent)}
    kernel = [sys.executable, "-c", KILLED]
    done = await asyncio.to_thread(
        subprocess.run, kernel, env=environ, cwd=place.work, stdout=subprocess.PIPE, timeout=PATIENCE_S
    )
    started = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, len(started) > 1) == (-signal.SIGKILL, True)  # the CLI, and its command
    left = [each for each in psutil.process_iter() if each.pid in started]
    assert do_not_end(left + processes_with("seq 8000")) == []


@pytest.mark.parametrize("tool", ["look", "wipe"])
@pytest.mark.parametrize("decision", [APPROVE, REJECT])
async def test_the_users_own_mcp_servers_are_asked_about_whatever_they_claim(
    place: Place, tool: str, decision: Decision
) -> None:
    place.configure(place.shop())
    (place.home / "AGENTS.md").write_text("MARKER-AGENTS\n")
    place.calls(Call(tool, {}, "call_1", namespace="mcp__shop"))
    asking = Asking(decision, lambda: place.noted)
    async with place.opened(own=True) as profile:
        _, last = await place.ask(profile, "use it", approver=asking, uses_servers=True)
    assert [request.summary for request in asking.asked] == [f"Calls the tool {tool} of the MCP server shop."]
    assert asking.saw == [{"started"}]
    assert place.noted == ({"started", tool} if decision.approved else {"started"})
    assert [each.name for each in last.answer.tool_calls] == [f"mcp__shop__{tool}"]
    assert json.dumps(place.sent()[0]["input"]).count("MARKER-AGENTS") == 1


async def test_the_users_own_configuration_is_left_out_unless_it_is_chosen(place: Place) -> None:
    place.configure('[mcp_servers.shop]\ncommand = "/nowhere"\nrequired = true\n')
    (place.home / "AGENTS.md").write_text("MARKER-AGENTS\n")
    async with place.opened() as profile:
        _, last = await place.ask(profile, "hello")
    assert last.answer.status == "completed"
    assert json.dumps(place.sent()[0]["input"]).count("MARKER-AGENTS") == 1


async def test_a_value_and_an_image_go_through_the_agent(place: Place) -> None:
    answers = ('{"value": "red"}', '{"value": 7}')
    place.sim.play(Scenario(tuple(Reply(stream=(Say(text), End())) for text in answers)))
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    async with place.opened() as profile:
        _, last = await place.ask(
            profile, "how many?", schema=int, images=(f"data:image/png;base64,{pixel}",)
        )
    assert (last.answer.status, last.answer.parsed) == ("completed", 7)
    first, second = place.sent()
    assert json.dumps(first["input"]).count(pixel) == 1
    assert first["text"]["format"]["type"] == "json_schema"
    assert "valid integer" in json.dumps(second["input"][-1])


@pytest.mark.parametrize(("searches", "is_offered"), [(True, True), (False, False)])
async def test_the_web_is_searched_only_where_that_is_chosen(
    place: Place, searches: bool, is_offered: bool
) -> None:
    async with place.opened() as profile:
        await place.ask(profile, "hello", searches=searches)
    kinds = [tool["type"] for tool in place.sent()[-1]["tools"]]
    assert ("web_search" in kinds) is is_offered


@pytest.mark.parametrize("is_signed_in", [True, False])
async def test_a_provider_of_the_users_own_is_asked_with_its_own_key_or_the_login(
    codex_program: Path, tmp_path: Path, is_signed_in: bool
) -> None:
    with Simulator() as sim:
        place = Place(codex_program, sim, tmp_path / "home" / "codex-home", tmp_path / "work")
        place.home.mkdir(parents=True)
        place.work.mkdir()
        config = sim.config_toml("custom")
        if not is_signed_in:
            config = config.replace("requires_openai_auth = true", 'env_key = "LAB_KEY"')
            config = config.replace("/backend-api/codex", "/v1")
        (place.home / "config.toml").write_text(config + 'http_headers = { x-lab = "blue" }\n')
        key = sim.new_api_key()
        bearer = sim.write_login(place.home).access_token if is_signed_in else key
        async with place.opened(LAB_KEY=key) as profile:
            _, last = await place.ask(profile, "hello")
        request = sim.requests.to("/responses", "POST")[-1]
    assert (last.answer.status, last.error) == ("completed", None)
    assert (request.headers["authorization"], request.headers["x-lab"]) == (f"Bearer {bearer}", "blue")


async def test_what_the_direct_engine_ran_is_known_to_the_agent(place: Place) -> None:
    place.calls(Call("run_python", {"code": "print(6 * 7)"}, "call_1"))
    async with place.opened() as profile:
        direct = TurnRequest(
            "compute",
            thread="t",
            tools=ToolSet((run_python,)),
            approval=ApprovalPolicy.ALL,
            model="simulator-classic",
        )
        await profile.assistant.answer(direct, ports=place.ports, approver=DenyAll())
        _, last = await place.ask(profile, "and now?")
    assert last.answer.status == "completed"
    kinds = [item["type"] for item in place.sent()[-1]["input"] if item["type"].startswith("function")]
    assert kinds == ["function_call", "function_call_output"]
