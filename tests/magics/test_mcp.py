"""MCP servers in a notebook: the list of tools, switching, and what costs nothing without them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from codex_nb.simulator import Simulator
from tests.magics.conftest import Notebook, running
from tests.session.test_mcp import children, earlier, hostile, listed  # noqa: F401 -- a fixture among them

FIRST_QUESTION = """
import sys
from IPython.core.interactiveshell import InteractiveShell
from codex_nb.simulator import Simulator
import os, tempfile, pathlib

home = pathlib.Path(tempfile.mkdtemp())
with Simulator() as simulator:
    (home / "config.toml").write_text(simulator.config_toml())
    simulator.write_login(home)
    os.environ.update(simulator.environ() | {"CODEX_HOME": str(home)})
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "codex_nb")
    assert shell.run_cell("%%codex\\nhello").success
    print(sorted(name for name in sys.modules if "mcp" in name))
    shell.run_line_magic("unload_ext", "codex_nb")
"""


@pytest.fixture
def with_servers(codex_home: Path) -> None:
    """Configure a server with two tools, and one that fails."""
    config = codex_home / "config.toml"
    tables = hostile("demo", tools=[listed("a"), listed("b"), listed("a")]) + hostile("bad", "start=die")
    config.write_text(f"mcp_optional_startup_grace_ms = 60000\n{config.read_text()}\n{tables}")


def offered(sim: Simulator) -> set[str]:
    """Return the tools of servers that the last request offers."""
    body = sim.requests.to("/responses", "POST")[-1].body
    return {tool["name"] for tool in body.get("tools", []) if tool["name"].startswith("mcp__")}


def rows(text: str) -> dict[str, str]:
    """Return the last cell of each row of a table by its first."""
    cells = [[each.strip(" `") for each in line.strip("| ").split(" | ")] for line in text.splitlines()]
    return {each[0]: each[-1] for each in cells if len(each) > 2}


@pytest.mark.usefixtures("with_servers")
def test_the_tools_of_servers_are_listed_with_their_state_and_switched_for_the_notebook(
    codex_home: Path, tmp_path: Path, sim: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    del codex_home
    with running(tmp_path, capsys) as notebook:
        out = notebook.run("%codex tools").out
        shown = rows(out)
        assert [shown.get(name) for name in ("mcp__demo__a", "mcp__demo__b", "demo", "bad")] == [
            *("asks first", "asks first"),
            *("2", "0"),
        ]
        assert "Boom: no database" in out
        assert "the server lists it twice" in out
        seen = []
        for line in ("off mcp__demo__b", "off demo", "on demo", "on mcp__demo__b"):
            assert notebook.run(f"%codex tools {line}").succeeded
            assert notebook.run("%%codex --fresh\nhello").succeeded
            seen.append(offered(sim))
        assert rows(notebook.run("%codex tools").out)["demo"] == "2"
        for options in ("--no-mcp", "--no-tools", "--approval read-only"):
            assert notebook.run(f"%%codex --fresh {options}\nhello").succeeded
            seen.append(offered(sim))
        assert notebook.run("%codex approvals").succeeded
        assert [
            notebook.run(f"%codex tools {line}").succeeded for line in ("off nothing", "off", "away demo")
        ] == [*(False, False, False)]
    both = {"mcp__demo__a", "mcp__demo__b"}
    assert seen == [{"mcp__demo__a"}, set(), {"mcp__demo__a"}, both, set(), set(), set()]
    assert children() == []


def test_a_question_without_servers_imports_nothing_of_them() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST_QUESTION], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_tool_of_the_notebook_is_switched_off_and_on(notebook: Notebook, sim: Simulator) -> None:
    def names() -> set[str]:
        assert notebook.run("%%codex --fresh\nhello").succeeded
        return {tool["name"] for tool in sim.requests.to("/responses", "POST")[-1].body["tools"]}

    before = names()
    assert notebook.run("%codex tools off run_python").succeeded
    assert rows(notebook.run("%codex tools").out)["run_python"] == "switched off"
    assert names() == before - {"run_python"}
    assert notebook.run("%codex tools on run_python").succeeded
    assert names() == before


@pytest.mark.usefixtures("with_servers")
def test_without_the_library_the_list_says_once_how_to_get_it(
    notebook: Notebook, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)  # as if it was not installed
    assert notebook.run("%codex tools").out.count("pip install") == 1
    answered = notebook.run("%codex hello")
    assert (answered.succeeded, "pip install" in answered.out, offered(sim)) == (True, False, set())
