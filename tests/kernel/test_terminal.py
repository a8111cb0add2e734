"""Terminal IPython with a real pty: the same calls without a kernel."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from codex_nb.simulator import Simulator, model_entry
from tests.kernel.provision import ROOT
from tests.patience import PATIENCE_S


@pytest.fixture(params=[["--simple-prompt"], []], ids=["simple prompt", "full prompt"])
def terminal(request: pytest.FixtureRequest) -> Iterator[pexpect.spawn]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    arguments = ["-m", "IPython", "--no-banner", "--no-confirm-exit", "--colors=NoColor", *request.param]
    child = pexpect.spawn(
        sys.executable,
        arguments,
        env=environ,
        cwd=str(ROOT),
        encoding="utf-8",
        timeout=PATIENCE_S,
        dimensions=(50, 200),
    )
    child.expect(r"In \[1\]:")
    type_line(child, "from tests.kernel.in_terminal import *")
    child.expect(r"In \[2\]:")
    yield child
    child.close(force=True)


def type_line(child: pexpect.spawn, line: str) -> None:
    """Type a line as a user does; the full prompt takes carriage return for the Enter key."""
    child.send(line + "\r")


def test_code_runs_shows_and_is_captured(terminal: pexpect.spawn) -> None:
    type_line(terminal, 'show(\'print("o" + "ut"); 6 * 7\');')
    for text in ("IdlePump", "out", "42", "<completed>", "closed"):
        terminal.expect_exact(text)
    terminal.expect(r"In \[3\]:")
    type_line(terminal, "len(results[0].outputs), results[0].error")
    terminal.expect_exact("(1, None)")


def test_top_level_await_works(terminal: pexpect.spawn) -> None:
    type_line(terminal, "show('import asyncio; value = await asyncio.sleep(0.01, 40 + 2)');")
    terminal.expect_exact("<completed>")
    terminal.expect(r"In \[3\]:")
    type_line(terminal, "-value")
    terminal.expect_exact("-42")
    type_line(terminal, "import sys; 'nest_asyncio2' in sys.modules")
    terminal.expect_exact("False")


def test_control_c_ends_the_turn_with_one_keyboard_interrupt(terminal: pexpect.spawn) -> None:
    type_line(terminal, "show();")
    terminal.expect_exact("started\r\n")
    terminal.sendintr()
    for text in ("<cancelled>", "closed", "KeyboardInterrupt: Interrupted. The partial answer is kept."):
        terminal.expect_exact(text)
    terminal.expect(r"In \[3\]:")
    type_line(terminal, "show('7 * 6');")
    terminal.expect_exact("42")
    terminal.expect_exact("<completed>")


def test_input_of_the_models_code_is_the_terminals_own(terminal: pexpect.spawn) -> None:
    type_line(terminal, 'show(\'name = input("wh" + "o? ")\');')
    terminal.expect_exact("who? ")
    type_line(terminal, "Ada")
    terminal.expect_exact("<completed>")
    terminal.expect(r"In \[3\]:")
    type_line(terminal, "name * 2")
    terminal.expect_exact("AdaAda")


def test_the_names_that_a_server_gives_its_models_do_not_act_on_the_terminal(tmp_path: Path) -> None:
    with Simulator() as sim:
        (tmp_path / "config.toml").write_text(sim.config_toml())
        sim.write_login(tmp_path)
        title = "\x1b]0;pwned\x07\x1b]52;c;ZXZpbA==\x07\x9b2J\u202e"
        sim.state.catalog.entries.insert(0, model_entry("evil", f"Evil {title}", 0, is_lite=False))
        environ = {**os.environ, **sim.environ(), "CODEX_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
        own = {"IPYTHONDIR": str(tmp_path / "ipython"), "TERM": "xterm"}
        arguments = ["-m", "IPython", "--simple-prompt", "--no-banner", "--no-confirm-exit"]
        screen = io.StringIO()
        child = pexpect.spawn(
            sys.executable, arguments, env=environ | own, encoding="utf-8", timeout=PATIENCE_S
        )
        child.logfile_read = screen
        child.expect(r"In \[1\]:")
        type_line(child, "%load_ext codex_nb")
        child.expect(r"In \[2\]:")
        type_line(child, "%codex models")
        child.expect_exact("Evil")
        child.expect(r"In \[3\]:")
        child.close(force=True)
    shown = screen.getvalue()
    acting = ("\x1b]0;pwned", "\x1b]52;", "\x9b", "\u202e")  # IPython sets a title of its own
    assert [sign for sign in acting if sign in shown] == []
