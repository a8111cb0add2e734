"""Code from the model runs as a nested cell: shown, captured, and not part of the history."""

from __future__ import annotations

from typing import Any

from tests.kernel.kernel_client import RunningKernel
from tests.patience import PATIENCE_S


def run(kernel: RunningKernel, *codes: str) -> tuple[str, list[dict[str, Any]]]:
    """Run code through a turn; return the cell and what the turn was told."""
    cell = kernel.start(f"show(running_code(*{codes!r}));")
    assert kernel.finish(cell)["status"] == "ok"
    told = kernel.value("[{'outputs': each.outputs, 'error': each.error} for each in results]")
    return cell, told


def test_streams_displays_and_the_last_expression_are_shown_and_captured(kernel: RunningKernel) -> None:
    code = (
        "import sys\nprint('out')\nprint('err', file=sys.stderr)\n"
        "display({'text/plain': 'shown'}, raw=True)\n6 * 7"
    )
    cell, [told] = run(kernel, code)
    count = told["outputs"][-1]["execution_count"]
    assert told == {
        "outputs": (
            {"output_type": "stream", "name": "stdout", "text": "out\n"},
            {"output_type": "stream", "name": "stderr", "text": "err\n"},
            {"output_type": "display_data", "data": {"text/plain": "shown"}, "metadata": {}},
            {
                "output_type": "execute_result",
                "data": {"text/plain": "42"},
                "metadata": {},
                "execution_count": count,
            },
        ),
        "error": None,
    }
    assert kernel.outputs(cell) == [
        ("stream", "out\n"),
        ("stream", "err\n"),
        ("display_data", {"text/plain": "shown"}),
        ("execute_result", {"text/plain": "42"}),
        ("stream", "<completed>\n"),
    ]


def test_a_semicolon_silences_its_own_expression_and_no_other(kernel: RunningKernel) -> None:
    _, told = run(kernel, "'silent';", "'spoken'")
    assert [[output.get("data") for output in each["outputs"]] for each in told] == [
        [],
        [{"text/plain": "'spoken'"}],
    ]


def test_an_exception_is_a_result_with_a_traceback_of_the_users_lines_only(kernel: RunningKernel) -> None:
    cell, [told] = run(kernel, "def divide(a, b):\n    return a / b\n\ndivide(1, 0)")
    [error] = told["outputs"]
    assert (told["error"], error["ename"]) == ("ZeroDivisionError: division by zero", "ZeroDivisionError")
    assert "codex_nb" not in "".join(error["traceback"])
    assert ("error", "ZeroDivisionError") in kernel.outputs(cell)


def test_code_that_is_no_python_is_a_result_too(kernel: RunningKernel) -> None:
    _, [told] = run(kernel, "1 +")
    assert told["error"].startswith("SyntaxError")


def test_top_level_await_uses_the_users_own_loop(kernel: RunningKernel) -> None:
    kernel.run(
        "import asyncio\nloop = asyncio.get_running_loop()\nqueue = asyncio.Queue()\nqueue.put_nowait('mine')"
    )
    _, told = run(
        kernel,
        "import asyncio\n(await queue.get(), asyncio.get_running_loop() is loop)",
        "await asyncio.sleep(0)\nraise LookupError('awaited')",
        "print('and on')",
    )
    assert [each["error"] for each in told] == [None, "LookupError: awaited", None]
    assert told[0]["outputs"][0]["data"] == {"text/plain": "('mine', True)"}
    assert (
        kernel.run("await asyncio.sleep(0)\nprint(await asyncio.wait_for(asyncio.sleep(0, 'fine'), 10))")[
            "status"
        ]
        == "ok"
    )


def test_a_coroutine_is_completed_on_the_users_own_loop(kernel: RunningKernel) -> None:
    kernel.run(
        "import asyncio\nloop = asyncio.get_running_loop()\ninbox = asyncio.Queue()\ninbox.put_nowait('mine')"
    )
    kernel.run("async def mine():\n    return await inbox.get(), asyncio.get_running_loop() is loop")
    assert kernel.run("completed = kernel.complete(mine())")["status"] == "ok"
    assert kernel.value("completed") == ("mine", True)


def test_figures_are_flushed_into_the_cell_and_captured(kernel: RunningKernel) -> None:
    code = "import matplotlib.pyplot as plt\nfigure, axes = plt.subplots(figsize=(1, 1))\naxes.plot([1, 2])\nNone"
    cell, [told] = run(kernel, code)
    assert [sorted(output["data"]) for output in told["outputs"]] == [["image/png", "text/plain"]]
    assert [kind for kind, _ in kernel.outputs(cell)] == ["display_data", "stream"]


def test_what_it_defines_stays_and_the_users_history_does_not_change(kernel: RunningKernel) -> None:
    kernel.run("'the user was here'")
    before = kernel.value("(_, len(In), sorted(Out), shell.execution_count)")
    cell, _ = run(kernel, "planted = 'stays'", "'only shown'")
    after = kernel.value("(_, len(In), sorted(Out), shell.execution_count)")
    cells_between = 3
    assert (after[0], after[2]) == (before[0], before[2])
    assert (after[1], after[3]) == (before[1] + cells_between, before[3] + cells_between)
    assert kernel.value("planted") == "stays"
    assert ("execute_result", {"text/plain": "'only shown'"}) in kernel.outputs(cell)


def test_clear_output_cannot_clear_the_cell_that_asked(kernel: RunningKernel) -> None:
    code = "from IPython.display import clear_output\nprint('before')\nclear_output()\nprint('after')"
    cell, [told] = run(kernel, code)
    assert told["outputs"] == ({"output_type": "stream", "name": "stdout", "text": "after\n"},)
    assert "clear_output" not in {message["msg_type"] for message in kernel.published}
    assert kernel.text(cell) == "before\nafter\n<completed>\n"


def test_input_asks_the_person_at_the_front_end(kernel: RunningKernel) -> None:
    cell = kernel.start("show(running_code('name = input(\"who? \")'))", allow_stdin=True)
    asked = kernel.client.get_stdin_msg(timeout=PATIENCE_S)
    assert asked["content"]["prompt"] == "who? "
    kernel.client.input("Ada")
    assert kernel.finish(cell)["status"] == "ok"
    assert kernel.value("name") == "Ada"


def test_a_display_error_of_the_models_code_does_not_fail_the_cell(kernel: RunningKernel) -> None:
    code = "class Bad:\n    def __repr__(self): raise RuntimeError('no repr')\nBad()"
    run(kernel, code)


def test_the_kernel_gets_its_own_methods_back(kernel: RunningKernel) -> None:
    kernel.run(
        "def methods(): return [vars(each).get(name) for each, name in ["
        "(shell.kernel.session, 'send'), (shell.display_pub, 'clear_output'), (shell, '_showtraceback')]]\n"
        "before = methods()"
    )
    run(kernel, "1/0", "import asyncio\nawait asyncio.sleep(0)")
    assert kernel.value("[before == methods(), before[:2]]") == [True, [None, None]]
