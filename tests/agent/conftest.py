"""A profile whose agent runs in a program that plays what a test wrote down."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from codex_nb.config.settings import ApprovalPolicy, load_settings
from codex_nb.profile import Profile, make_profile
from codex_nb.session.events import TurnEvent, TurnFinished
from codex_nb.session.prompt import TurnRequest
from codex_nb.simulator import Simulator
from codex_nb.simulator.accounts import ADA, Account
from codex_nb.tools.approval import DenyAll
from codex_nb.tools.base import Ports, ToolSet
from codex_nb.tools.builtin import run_python
from tests.agent import fake_codex
from tests.session.scripted import ProcessKernel, SameThread

Step = dict[str, Any]


def install_fake(folder: Path, *plays: list[Step]) -> Path:
    """Put the program into a folder of its own, with what it plays; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "codex"
    shutil.copy(fake_codex.__file__, folder / "fake_codex.py")
    program.write_text(f"#!{sys.executable} -S\n" + (folder / "fake_codex.py").read_text())
    program.chmod(0o755)
    (folder / "plays.json").write_text(json.dumps(plays))
    return program


@dataclass
class Stage:
    """The program's folder, a CODEX_HOME that leads to a simulator, and a kernel."""

    folder: Path
    sim: Simulator
    home: Path

    def __post_init__(self) -> None:
        self.kernel = ProcessKernel()

    @property
    def seen(self) -> list[dict[str, Any]]:
        """What the client has sent to all processes."""
        return [json.loads(line) for line in (self.folder / "seen.jsonl").read_text().splitlines()]

    @property
    def answers(self) -> list[dict[str, Any]]:
        """The client's answers to requests, without their numbers."""
        found = [each for each in self.seen if "method" not in each]
        return [{key: value for key, value in each.items() if key not in {"pid", "id"}} for each in found]

    def methods(self) -> list[str]:
        return [each["method"] for each in self.seen if "method" in each]

    @asynccontextmanager
    async def opened(
        self, *plays: list[Step], account: Account = ADA, config: str = ""
    ) -> AsyncIterator[Profile]:
        program = install_fake(self.folder, *plays)
        self.home.mkdir(exist_ok=True)
        (self.home / "config.toml").write_text(config + self.sim.config_toml())
        self.sim.write_login(self.home, account)
        environ = {"CODEX_HOME": str(self.home), "HOME": str(self.home), "CODEX_NB_CODEX": str(program)}
        environ |= self.sim.environ()
        profile = make_profile(load_settings(environ), environ)
        try:
            yield profile
        finally:
            await profile.close()

    async def ask(
        self,
        profile: Profile,
        *,
        policy: ApprovalPolicy = ApprovalPolicy.ASK,
        approver: Any = None,
        prompt: str = "hello",
        on_event: Callable[[TurnEvent], None] = lambda _event: None,
        **more: Any,
    ) -> tuple[list[TurnEvent], TurnFinished]:
        more = {"agent": True, "uses_servers": True, "tools": ToolSet((run_python,))} | more
        request = TurnRequest(prompt, thread="t", approval=policy, **more)
        ports = Ports(SameThread(), self.kernel, folder=self.folder)
        turn = profile.assistant.turn(request, ports=ports, approver=approver or DenyAll())
        events = list[TurnEvent]()
        async for event in turn:
            events.append(event)
            on_event(event)
        last = events[-1]
        assert isinstance(last, TurnFinished)
        return events, last


@pytest.fixture
def stage(tmp_path: Path) -> Any:
    """Give a stage on which a test lets the program play."""
    with Simulator() as simulator:
        yield Stage(tmp_path / "bin", simulator, tmp_path / "home")


def notify(method: str, **params: Any) -> Step:
    return {"notify": method, "params": params}


def ask(method: str, **params: Any) -> Step:
    return {"ask": method, "params": params}


def started(kind: str, item_id: str = "item-1", **item: Any) -> Step:
    return notify("item/started", item={"type": kind, "id": item_id, **item})


def completed(kind: str, item_id: str = "item-1", **item: Any) -> Step:
    return notify("item/completed", item={"type": kind, "id": item_id, **item})


def said(text: str, item_id: str = "msg-1") -> list[Step]:
    return [
        notify("item/agentMessage/delta", itemId=item_id, delta=text),
        completed("agentMessage", item_id, text=text),
    ]
