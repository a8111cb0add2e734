"""A Codex CLI that dies, hangs, floods, lies or says what nobody knows."""

from __future__ import annotations

import asyncio
import gc
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from codex_nb.agent.app_server import AppServer, AppServerEnded, CodexBinary
from codex_nb.agent.engine import AgentEngine
from codex_nb.config.settings import ApprovalPolicy, load_settings
from codex_nb.errors import AgentFailed, ConfigError
from codex_nb.session.events import (
    ApprovalRequested,
    Notice,
    RetryScheduled,
    TextDelta,
    ToolFinished,
    TurnEvent,
)
from codex_nb.tools.approval import PendingApprovals
from tests.agent.conftest import Stage, ask, completed, notify, said, started
from tests.patience import PATIENCE_S
from tests.session.scripted import cancel_at

pytestmark = pytest.mark.anyio

DIES: dict[str, Any] = {"exit": 3, "says": "thread 'main' panicked at nothing"}


async def test_a_process_that_ends_is_started_again_once_and_the_thread_resumed(stage: Stage) -> None:
    async with stage.opened([*said("Half an")[:1], DIES], said("A whole answer.")) as profile:
        events, last = await stage.ask(profile)
    assert (last.answer.status, last.answer.text) == ("completed", "A whole answer.")
    assert sum(isinstance(event, RetryScheduled) for event in events) == 1
    assert stage.methods().count("thread/start") == 1
    assert stage.methods().count("thread/resume") == 1
    inputs = [
        each["params"]["input"][-1]["text"] for each in stage.seen if each.get("method") == "turn/start"
    ]
    assert inputs == ["hello", "hello"]


async def test_a_process_that_ends_again_fails_the_turn_with_its_last_line(stage: Stage) -> None:
    async with stage.opened([*said("Half an")[:1], DIES], [DIES], said("Never asked for.")) as profile:
        _, last = await stage.ask(profile)
    assert last.answer.status == "failed"
    assert isinstance(last.failure, AgentFailed)
    assert "thread 'main' panicked at nothing" in (last.error or "")
    assert len({each["pid"] for each in stage.seen}) == 2


async def test_what_ran_before_the_end_is_not_asked_for_again_blindly(stage: Stage) -> None:
    command = {"command": "make", "cwd": "/lab", "status": "inProgress"}
    request = ask("item/commandExecution/requestApproval", itemId="item-1", command="make", cwd="/lab")
    plays = [[started("commandExecution", **command), request, DIES], said("Done.")]
    async with stage.opened(*plays) as profile:
        events, last = await stage.ask(profile)
    assert last.answer.status == "completed"
    assert [event.ok for event in events if isinstance(event, ToolFinished)] == [False]
    first, second = [each["params"]["input"] for each in stage.seen if each.get("method") == "turn/start"]
    assert (len(first), len(second)) == (1, 2)
    assert "ended while" in second[0]["text"]


async def test_a_process_that_does_not_obey_an_interrupt_is_ended(stage: Stage) -> None:
    async with stage.opened([*said("Wait.")[:1], {"hang": True}]) as profile:
        begun = asyncio.Event()

        def on_event(event: TurnEvent) -> None:
            if isinstance(event, TextDelta):
                begun.set()

        task = asyncio.ensure_future(stage.ask(profile, on_event=on_event))
        await begun.wait()
        task.cancel()
        _, last = await task
        assert last.answer.status == "cancelled"
        pids = {each["pid"] for each in stage.seen}
        assert [pid for pid in pids if psutil.pid_exists(pid)] == []


DEAF = f"""#!{sys.executable}
import os, sys, time
sys.stdin.readline()
os.write(1, b'{{"id": 1, "result": {{}}}}\\n')
sys.stdin.readline()
time.sleep(0.2)
os.close(1), os.close(2)
time.sleep(600)
"""


async def test_a_request_ends_once_when_the_process_closes_its_output_while_it_is_sent(
    tmp_path: Path,
) -> None:
    async def refuse(method: str, params: dict[str, Any]) -> None:
        """Answer nothing."""

    binary = tmp_path / "codex"
    binary.write_text(DEAF)
    binary.chmod(0o700)
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    server = await AppServer.start(CodexBinary(binary, "PATH"), os.environ, tmp_path, refuse)
    with pytest.raises(AppServerEnded):
        async with asyncio.timeout(PATIENCE_S):
            await server.request("turn/start", {"text": "long " * 1_000_000})
    await server.close()
    gc.collect()
    assert complaints == []
    assert not psutil.pid_exists(server.pid)


async def test_lines_that_are_no_messages_and_notifications_that_nobody_knows_change_nothing(
    stage: Stage,
) -> None:
    odd = [
        {"raw": "warning: not JSON"},
        {"raw": "[1, 2]"},
        {"raw": '{"id": 77, "result": {}}'},
        {"raw": '{"method": 5}'},
        {"raw": "{" * 5000},
        notify("item/somethingNew", itemId="x", delta=7),
        notify("item/started", item="no object"),
        notify("item/completed", item={"type": "commandExecution"}, itemId=None),
        notify("thread/tokenUsage/updated", tokenUsage={"last": {"inputTokens": "many"}}),
        notify("turn/plan/updated", plan=[{"step": 1, "status": "unheard"}, "no step"]),
        notify("error", error=None, willRetry=True),
        notify("account/rateLimits/updated", rateLimits={"primary": "soon"}),
    ]
    async with stage.opened([*odd, *said("It goes on.")]) as profile:
        _, last = await stage.ask(profile)
    assert (last.answer.status, last.answer.text) == ("completed", "It goes on.")


async def test_a_flood_is_read_to_its_end(stage: Stage) -> None:
    deltas = [notify("item/agentMessage/delta", itemId="msg-1", delta=f"{n} ") for n in range(20_000)]
    async with stage.opened(deltas) as profile:
        _, last = await stage.ask(profile)
    assert last.answer.status == "completed"


@pytest.mark.parametrize("method", ["item/agentMessage/delta", "item/commandExecution/outputDelta"])
async def test_a_flood_without_end_stops_the_turn(stage: Stage, method: str) -> None:
    flood = [notify(method, itemId="item-1", delta="x" * 1_000_000)] * 30
    async with stage.opened([*flood, ask("currentTime/read")]) as profile:
        _, last = await stage.ask(profile)
    assert (last.answer.status, type(last.failure)) == ("failed", AgentFailed)
    assert "more than any answer has" in (last.error or "")


async def test_a_request_that_nobody_knows_is_declined_and_said(stage: Stage) -> None:
    plays = [
        ask("item/somethingNew/requestApproval", itemId="x"),
        ask("attestation/generate"),
        *said("Fine."),
    ]
    async with stage.opened(plays) as profile:
        events, last = await stage.ask(profile)
    assert last.answer.status == "completed"
    assert ["error" in answer for answer in stage.answers] == [True, True]
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert sum("item/somethingNew/requestApproval" in text for text in notices) == 1


@pytest.mark.parametrize(
    "action",
    [
        [completed("commandExecution", command="rm -r x", cwd="/", status="completed", exitCode=0)],
        [
            completed(
                "fileChange",
                changes=[{"path": "/a", "kind": {"type": "add"}, "diff": "x"}],
                status="completed",
            )
        ],
        [notify("item/commandExecution/terminalInteraction", itemId="item-1", stdin="rm -r x\n")],
    ],
    ids=["a command", "a file change", "typing into a command"],
)
async def test_what_the_cli_does_without_asking_stops_the_turn(stage: Stage, action: list[Any]) -> None:
    async with stage.opened([*action, ask("currentTime/read")]) as profile:
        _, last = await stage.ask(profile)
    assert (last.answer.status, type(last.failure)) == ("failed", AgentFailed)
    assert "without asking" in (last.error or "")
    assert "turn/interrupt" in stage.methods()


async def test_a_program_that_is_too_old_or_does_not_start_is_one_line(stage: Stage) -> None:
    async with stage.opened() as profile:
        (stage.folder / "version").write_text("0.159.9")
        _, last = await stage.ask(profile)
    assert isinstance(last.failure, ConfigError)
    assert "0.159.9" in (last.error or "")
    (stage.folder / "version").write_text("0.171.0")
    async with stage.opened() as profile:
        (stage.folder / "codex").write_text(
            "#!/bin/sh\ncase $1 in --version) echo codex 0.171.0;; *) echo no >&2; exit 1;; esac\n"
        )
        _, last = await stage.ask(profile)
    assert isinstance(last.failure, AgentFailed)
    assert "no" in (last.error or "")


async def test_no_process_and_no_home_is_left_when_the_profile_is_closed(stage: Stage) -> None:
    async with stage.opened(said("Hi."), said("Hi again.")) as profile:
        await stage.ask(profile)
        await stage.ask(profile)
        pids = {each["pid"] for each in stage.seen}
        assert len(pids) == 1
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []
    assert list((stage.home / "codex_nb" / "agent").glob("home-*")) == []


async def test_a_turn_that_is_cancelled_between_any_two_callbacks_ends_and_the_next_is_answered(
    tmp_path: Path, stage: Stage
) -> None:
    call = ask("item/tool/call", tool="run_python", callId="call-1", arguments={"code": "1"})
    play = [*said("Half an")[:1], call, *said("A whole answer.")]

    async def cancelled_at(place: float) -> int:
        folder, asked = tmp_path / str(place), asyncio.Event()
        here = Stage(folder / "bin", stage.sim, folder)

        def on_event(event: TurnEvent) -> None:
            if isinstance(event, ApprovalRequested):
                asked.set()

        async with here.opened(play, play) as profile:
            asking = here.ask(profile, approver=PendingApprovals(), on_event=on_event)
            count, ended = await cancel_at(place, asking, asked)
            assert ended is None or ended[1].answer.status == "cancelled"
            _, last = await here.ask(profile, policy=ApprovalPolicy.ALL)
            assert (last.answer.status, last.answer.text) == ("completed", "A whole answer.")
        return count

    count = await cancelled_at(math.inf)
    assert count > 20
    for place in range(1, count, count // 20):
        await cancelled_at(place)


@pytest.mark.parametrize(
    "named", ["*", "?*", "[a-z0-9]*", "..", ".", "", "../../threads", "/", 7, None, ["*"]]
)
async def test_a_name_that_the_cli_gives_a_thread_deletes_nothing_else(tmp_path: Path, named: object) -> None:
    environ = {"CODEX_HOME": str(tmp_path), "HOME": str(tmp_path)}
    engine = AgentEngine(load_settings(environ), environ, credentials=Any)
    folder = tmp_path / "codex_nb" / "agent"
    others = [
        folder / "sessions" / "2026" / "rollout-1-0199abcd-other.jsonl",
        folder / "generated_images" / "0199abcd-other" / "cat.png",
        tmp_path / "codex_nb" / "threads" / "other.jsonl",
        tmp_path / "auth.json",
    ]
    record = folder / "threads" / "one.json"
    for file in (*others, record):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    fields = {"name": "one", "thread": named, "count": 1, "digest": "", "offers": "", "makes_images": True}
    record.write_text(json.dumps(fields))
    engine.forget("one")
    assert [file for file in others if not file.exists()] == []
    assert not record.exists()
