"""``%%codex --agent`` in a shell: what is typed, and what it costs where it is not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.agent.conftest import ask, install_fake, said, started
from tests.magics.conftest import Notebook, codex_home, notebook, sim
from tests.patience import PATIENCE_S

__all__ = ["codex_home", "notebook", "sim"]

COMMAND = {"command": "make", "cwd": "/lab"}


def test_the_agent_answers_a_cell_and_declines_where_nobody_is_asked(
    notebook: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ask("item/commandExecution/requestApproval", itemId="item-1", **COMMAND)
    plays = [[started("commandExecution", **COMMAND), request, *said("It is answered.")], said("Again.")]
    monkeypatch.setenv("CODEX_NB_CODEX", str(install_fake(tmp_path / "bin", *plays)))
    cell = notebook.run("%%codex --agent\nbuild it")
    assert cell.succeeded
    assert "It is answered." in cell.out
    assert "through Codex CLI 0.171.0" in cell.out
    assert notebook.namespace["_codex"].text == "It is answered."
    seen = [json.loads(line) for line in (tmp_path / "bin" / "seen.jsonl").read_text().splitlines()]
    assert [each["result"] for each in seen if "method" not in each] == [{"decision": "decline"}]
    notebook.run('%config CodexMagics.engine = "agent"')
    assert "Again." in notebook.run("%codex once more").out


def test_no_tools_means_none_of_the_agents_own_either(
    notebook: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("", "--no-tools", "--approval all", "--approval all --no-tools")
    program = install_fake(tmp_path / "bin", *(said("Hi.") for _ in options))
    monkeypatch.setenv("CODEX_NB_CODEX", str(program))
    for each in options:
        assert notebook.run(f"%%codex --agent --fresh -t new{len(each)} {each}\nhello").succeeded
    seen = [json.loads(line) for line in (tmp_path / "bin" / "seen.jsonl").read_text().splitlines()]
    opened = [each["params"] for each in seen if each.get("method") == "thread/start"]
    offered = [
        (
            each["config"]["features.shell_tool"],
            each["config"]["features.image_generation"],
            "run_python" in {tool["name"] for tool in each["dynamicTools"]},
        )
        for each in opened
    ]
    assert offered == [(True, False, True), (False, False, False), (True, True, True), (False, False, False)]


def test_a_missing_cli_is_one_line_that_says_how_to_install_it(
    notebook: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEX_NB_CODEX", str(tmp_path / "nowhere"))
    cell = notebook.run("%%codex --agent\nhello")
    assert "which is not there" in cell.out


def test_status_models_and_usage_go_through_the_same_program_and_say_so(
    notebook: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEX_NB_CODEX", str(install_fake(tmp_path / "bin")))
    notebook.run('%config CodexMagics.engine = "agent"')
    shown = {name: notebook.run(f"%codex {name}").out for name in ("status", "models", "usage")}
    assert "through Codex CLI 0.171.0" in shown["status"]
    assert "c…@example.org" in shown["status"]
    assert "gpt-cli" in shown["models"]
    assert "12 %" in shown["usage"]
    assert all("Read through the Codex CLI" in shown[name] for name in ("models", "usage"))


def test_nothing_of_the_agent_is_loaded_without_it(codex_home: Path) -> None:
    program = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "import sys\n"
        "shell = InteractiveShell.instance()\n"
        "shell.run_line_magic('load_ext', 'codex_nb')\n"
        "shell.run_cell('%%codex\\nhello')\n"
        "print([name for name in sys.modules if name.startswith('codex_nb.agent')])\n"
    )
    environ = {**os.environ, "CODEX_HOME": str(codex_home)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def ask_in_a_kernel(end: str, codex_home: Path, fake: Path) -> subprocess.Popen[str]:
    """Start a Python that asks the agent once, says so, waits for a line and ends as is written."""
    program = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "shell.run_line_magic('load_ext', 'codex_nb')\n"
        "shell.run_cell('%%codex --agent\\nhello')\n"
        "print('answered', flush=True)\n"
        f"input()\n{end}\n"
    )
    environ = {**os.environ, "CODEX_HOME": str(codex_home), "CODEX_NB_CODEX": str(fake)}
    return subprocess.Popen(
        [sys.executable, "-c", program], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("is_killed", [True, False])
def test_the_process_ends_with_its_kernel_and_its_home_is_removed(
    codex_home: Path, tmp_path: Path, is_killed: bool
) -> None:
    fake = install_fake(tmp_path / "bin", said("Hi."), said("Hi."))
    homes = codex_home / "codex_nb" / "agent"
    with ask_in_a_kernel("pass", codex_home, fake) as kernel:
        assert kernel.stdout is not None
        assert any(line.strip() == "answered" for line in kernel.stdout)
        seen = [json.loads(line) for line in (tmp_path / "bin" / "seen.jsonl").read_text().splitlines()]
        (pid,) = {each["pid"] for each in seen}
        agent = psutil.Process(pid)
        assert len(list(homes.glob("home-*"))) == 1
        if is_killed:
            kernel.send_signal(signal.SIGKILL)
        else:
            kernel.communicate("\n")
    with suppress(psutil.NoSuchProcess):
        agent.wait(PATIENCE_S)
    assert not psutil.pid_exists(pid)
    if is_killed:  # the next one removes what was left
        with ask_in_a_kernel("pass", codex_home, fake) as kernel:
            kernel.communicate("\n")
    assert list(homes.glob("home-*")) == []
