"""Without a kernel, the model's code runs in the user's namespace, is shown by the terminal and captured."""

from __future__ import annotations

import pytest
from IPython.core.interactiveshell import InteractiveShell

from codex_nb.host.shell import InteractiveKernel
from codex_nb.tools.describe import RunResult
from tests.host.shells import run


def test_what_the_terminal_shows_is_captured(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    result = InteractiveKernel(shell).run("import sys\nprint('out')\nprint('err', file=sys.stderr)\n6 * 7")
    out, err = capsys.readouterr()
    assert (out.split(), err) == (["out", "Out[0]:", "42"], "err\n")
    streams = [(each["name"], each["text"].split()) for each in result.outputs]
    assert streams == [("stdout", ["out"]), ("stderr", ["err"]), ("stdout", ["Out[0]:", "42"])]


def test_an_exception_is_shown_and_captured_once(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    result = InteractiveKernel(shell).run("1/0")
    [error] = result.outputs
    assert (result.error, error["output_type"], error["ename"]) == (
        "ZeroDivisionError: division by zero",
        "error",
        "ZeroDivisionError",
    )
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_a_rich_display_keeps_all_its_mime_types(shell: InteractiveShell) -> None:
    data = {"text/plain": "plain", "text/html": "<b>rich</b>"}
    result = InteractiveKernel(shell).run(f"display({data!r}, raw=True)")
    assert result == RunResult(({"output_type": "display_data", "data": data, "metadata": {}},))


def test_top_level_await_needs_no_patched_loop_where_none_runs(shell: InteractiveShell) -> None:
    result = InteractiveKernel(shell).run("import asyncio\nvalue = await asyncio.sleep(0, 'awaited')")
    assert (result, shell.user_ns["value"]) == (RunResult(), "awaited")


def test_an_interrupt_is_not_a_result(shell: InteractiveShell) -> None:
    with pytest.raises(KeyboardInterrupt):
        InteractiveKernel(shell).run("raise KeyboardInterrupt")


def test_the_users_history_is_left_alone(shell: InteractiveShell) -> None:
    kernel = InteractiveKernel(shell)
    run(shell, "'theirs'")
    kernel.run("planted = 'ours'")
    kernel.run("'shown'")
    assert (shell.user_ns["_"], shell.user_ns["Out"], len(shell.user_ns["In"])) == (
        "theirs",
        {1: "theirs"},
        2,
    )
    assert kernel.namespace()["planted"] == "ours"


def test_a_coroutine_of_the_users_is_completed_on_their_loop(shell: InteractiveShell) -> None:
    async def soon() -> str:
        return "done"

    assert InteractiveKernel(shell).complete(soon()) == "done"
