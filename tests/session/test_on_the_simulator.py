"""The assistant against a backend that was written without knowing it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from codex_nb.config.settings import ApprovalPolicy, load_settings
from codex_nb.profile import Profile, make_profile
from codex_nb.responses.request import ResponsesRequest
from codex_nb.session.prompt import TurnRequest
from codex_nb.session.thread import Compactor
from codex_nb.simulator import Simulator
from codex_nb.tools.approval import DenyAll
from codex_nb.tools.base import Ports, ToolSet
from codex_nb.tools.builtin import run_python
from tests.session.scripted import ProcessKernel, SameThread

pytestmark = pytest.mark.anyio


def make(simulator: Simulator, codex_home: Path) -> Profile:
    codex_home.mkdir(exist_ok=True)
    (codex_home / "config.toml").write_text(simulator.config_toml())
    simulator.write_login(codex_home)
    environ = {**os.environ, **simulator.environ(), "CODEX_HOME": str(codex_home)}
    return make_profile(load_settings(environ), environ)


@asynccontextmanager
async def opened(simulator: Simulator, codex_home: Path) -> AsyncIterator[Profile]:
    home = make(simulator, codex_home)
    try:
        yield home
    finally:
        await home.close()


async def test_a_long_thread_is_sealed_by_the_backend_which_still_knows_of_it(tmp_path: Path) -> None:
    with Simulator() as simulator:
        async with opened(simulator, tmp_path / "home") as home:
            assistant, ports = home.assistant, Ports(SameThread())
            await assistant.answer(TurnRequest("hello " * 200, thread="t"), ports=ports, approver=DenyAll())
            thread = assistant.threads.open("t")
            model = await home.backend.choose()
            template = ResponsesRequest(model.slug, (), thread_id=thread.thread_id)
            await Compactor(home.backend.stream).compact(thread, template)
            assert [item["type"] for item in thread.items] == ["message", "compaction"]
            request = TurnRequest("What did I say?", thread="t")
            answer = await assistant.answer(request, ports=ports, approver=DenyAll())
    assert "a summary of earlier turns" in answer.text


async def test_a_turn_with_a_tool_goes_there_and_back_and_shares_its_beginning(tmp_path: Path) -> None:
    kernel = ProcessKernel()
    with Simulator() as simulator:
        async with opened(simulator, tmp_path / "home") as home:
            request = TurnRequest(
                "df: pandas.DataFrame, 3 rows by 1 columns. What is in df?",
                thread="t",
                tools=ToolSet((run_python,)),
                approval=ApprovalPolicy.ALL,
            )
            answer = await home.assistant.answer(
                request, ports=Ports(SameThread(), kernel), approver=DenyAll()
            )
        first, second = (r.body["input"] for r in simulator.requests if r.path.endswith("/responses"))
    assert [call.name for call in answer.tool_calls] == ["run_python"]
    assert len(kernel.ran) == 1
    assert second[: len(first)] == first
    assert answer.billing == "chatgpt"
    assert answer.usage.total_tokens > 0
