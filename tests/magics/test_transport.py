"""The transport of questions: how it is chosen, and that an answer is the same over each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from codex_nb.simulator import FRAME, WEBSOCKET, Call, End, Reply, Say, Scenario, Simulator, Think
from tests.magics.conftest import Kernels, Notebook


def ways(sim: Simulator) -> dict[str, int]:
    return {name: sim.requests.count("/responses", name) for name in (WEBSOCKET, FRAME, "POST")}


HTTP = {WEBSOCKET: 0, FRAME: 0, "POST": 1}
SOCKET = {WEBSOCKET: 1, FRAME: 1, "POST": 0}


@pytest.mark.parametrize(
    ("variable", "setting", "expected"),
    [
        (None, None, HTTP),
        ("http", None, HTTP),
        ("websocket", None, SOCKET),
        ("websocket", "http", HTTP),
        ("http", "websocket", SOCKET),
        (None, "auto", HTTP),  # the simulator's provider does not say that it takes websockets
    ],
)
def test_the_setting_wins_over_the_variable_and_http_is_the_default(
    notebook: Notebook,
    codex_home: Path,
    sim: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    variable: str | None,
    setting: str | None,
    expected: dict[str, int],
) -> None:
    if variable is not None:
        monkeypatch.setenv("CODEX_NB_TRANSPORT", variable)
    if setting is not None:
        notebook.run(f"%config CodexMagics.transport = {setting!r}")
    assert "simulator" in notebook.run("%%codex\nsay hi").out
    assert ways(sim) == expected
    shown = notebook.run("%codex config").out
    assert (setting or variable or "http") in next(line for line in shown.splitlines() if "transport" in line)
    assert codex_home.exists()


@pytest.mark.parametrize("supports", [True, False])
def test_auto_is_a_websocket_where_the_provider_says_so(
    notebook: Notebook, codex_home: Path, sim: Simulator, *, supports: bool
) -> None:
    config = codex_home / "config.toml"
    config.write_text(f"{sim.config_toml('custom')}supports_websockets = {str(supports).lower()}\n")
    notebook.run("%config CodexMagics.transport = 'auto'")
    assert "simulator" in notebook.run("%%codex\nsay hi").out
    assert ways(sim) == (SOCKET if supports else HTTP)


def test_auto_is_a_websocket_to_openais_own_service(
    notebook: Notebook, codex_home: Path, sim: Simulator
) -> None:
    (codex_home / "config.toml").write_text(sim.config_toml("api"))
    sim.write_api_key(codex_home)
    notebook.run("%config CodexMagics.transport = 'auto'")
    assert "simulator" in notebook.run("%%codex\nsay hi").out
    assert ways(sim) == SOCKET


def test_an_unknown_transport_is_refused(
    notebook: Notebook, codex_home: Path, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEX_NB_TRANSPORT", "pigeon")
    refused = notebook.run("%%codex\nsay hi")
    assert "CODEX_NB_TRANSPORT" in refused.shown
    assert "http, websocket, auto" in refused.shown
    assert (codex_home.exists(), sim.requests.count("/responses")) == (True, 0)
    monkeypatch.delenv("CODEX_NB_TRANSPORT")
    notebook.run("%config CodexMagics.transport = 'pigeon'")
    assert "simulator" in notebook.run("%%codex\nsay hi").out
    assert ways(sim) == HTTP


def test_a_turn_with_a_tool_and_the_next_one_send_only_what_is_new(
    notebook: Notebook, codex_home: Path, sim: Simulator
) -> None:
    call = Call("run_python", {"code": "6 * 7"}, "call_1")
    answer = Reply(stream=(Say("It is 42."), End()))
    sim.play(Scenario((Reply(stream=(Think(("I compute.",)), call, End())), answer, answer)))
    notebook.run("%config CodexMagics.transport = 'websocket'")
    notebook.run("%config CodexMagics.approval = 'all'")
    assert "It is 42." in notebook.run("%%codex\ncompute").out
    notebook.run("x = 1")
    assert "It is 42." in notebook.run("%%codex\nand again").out
    assert ways(sim) == {WEBSOCKET: 1, FRAME: 3, "POST": 0}
    first, tool, second = (each.body for each in sim.requests.to("/responses", FRAME))
    assert "previous_response_id" not in first
    assert [item["type"] for item in tool["input"]] == ["function_call_output"]
    assert "42" in str(tool["input"][0]["output"])
    assert {item["type"] for item in second["input"]} == {"message"}
    assert "and again" in str(second["input"][-1])
    assert codex_home.exists()


def test_answers_are_the_same_over_both(notebook: Notebook, codex_home: Path, sim: Simulator) -> None:
    notebook.run("%%codex\nsay hi")
    sim.requests.clear()

    def conversation(transport: str) -> list[Any]:
        notebook.run(f"%config CodexMagics.transport = {transport!r}")
        notebook.run("%codex new")
        shown = [notebook.run(f"%%codex --no-context\n{prompt}").out for prompt in ("say hi", "and again")]
        items = notebook.namespace["_codex"].items
        return [shown, [{**item, "id": "", "encrypted_content": ""} for item in items]]

    assert conversation("websocket") == conversation("http")
    assert codex_home.exists()
    assert ways(sim) == {WEBSOCKET: 1, FRAME: 2, "POST": 2}


def test_a_saved_answer_opens_no_connection(
    kernels: Kernels, codex_home: Path, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEX_NB_TRANSPORT", "websocket")
    for expected in (SOCKET, {WEBSOCKET: 0, FRAME: 0, "POST": 0}):
        sim.requests.clear()
        with kernels() as notebook:
            assert "simulator" in notebook.run("%%codex\nsay hi", cell_id="cell-1").out
        assert ways(sim) == expected
    assert codex_home.exists()


def test_a_notebook_without_the_package_is_told_what_to_install(
    notebook: Notebook, codex_home: Path, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "websockets", None)
    notebook.run("%config CodexMagics.transport = 'websocket'")
    refused = notebook.run("%%codex\nsay hi")
    assert "codex-nb[websocket]" in refused.shown
    notebook.run("%config CodexMagics.transport = 'auto'")
    (codex_home / "config.toml").write_text(sim.config_toml("custom") + "supports_websockets = true\n")
    assert "simulator" in notebook.run("%%codex\nsay hi").out
    assert ways(sim) == HTTP
