"""Terminal IPython, under a real pty: the same calls without a kernel."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pexpect
import pytest

from tests.kernel.provision import ROOT

TIMEOUT_S = 30


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
        timeout=TIMEOUT_S,
        dimensions=(50, 200),
    )
    child.expect(r"In \[1\]:")
    type_line(child, "from tests.kernel.in_terminal import *")
    child.expect(r"In \[2\]:")
    yield child
    child.close(force=True)


def type_line(child: pexpect.spawn, line: str) -> None:
    """Type a line as a person does; the full prompt takes carriage return for the Enter key."""
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
    for text in ("<cancelled>", "closed", "KeyboardInterrupt: the turn was interrupted"):
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
