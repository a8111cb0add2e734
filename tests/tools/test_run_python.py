from __future__ import annotations

import json

import pytest

from codex_nb.tools.base import Ports, ToolResult, tool
from codex_nb.tools.builtin import OUTPUT_LIMIT, RunPython, run_python, run_result
from codex_nb.tools.describe import RunResult, output_text
from codex_nb.tools.nbmodel import truncate
from tests.session.scripted import ProcessKernel, SameThread, call_tool

pytestmark = pytest.mark.anyio


def stream(text: str) -> dict:
    return {"output_type": "stream", "name": "stdout", "text": text}


def figure(size: int = 8) -> dict:
    return {"output_type": "display_data", "data": {"image/png": "A" * size + "\n", "text/plain": "<Figure>"}}


async def test_code_runs_in_the_users_namespace_and_stays_there() -> None:
    kernel = ProcessKernel({"x": 1})
    result = await call_tool(run_python, {"code": "y = x + 1\nprint(y)"}, Ports(SameThread(), kernel))
    assert (result, kernel.variables["y"]) == (ToolResult("2", changes="new y"), 2)


async def test_without_a_kernel_the_tool_is_not_available_and_says_so() -> None:
    ports = Ports(SameThread())
    assert not run_python.is_available(ports)
    assert await call_tool(run_python, {"code": "1"}, ports) == ToolResult(
        "There is no IPython kernel here to run code in.", ok=False
    )


def test_the_request_shows_the_code_alone() -> None:
    request = run_python.request(1, RunPython(code="print(1)"))
    assert (request.code, request.language, request.tool) == ("print(1)", "python", "run_python")


def test_the_request_of_a_tool_that_takes_more_than_code_shows_all_that_it_takes() -> None:
    @tool
    def deploy(code: str, target: str) -> None: ...

    arguments = {"code": "print(1)", "target": "production"}
    request = deploy.request(1, deploy.parse(json.dumps(arguments)))
    assert (json.loads(request.code), request.language) == (arguments, "json")


def test_text_figures_and_errors_come_back_in_their_order() -> None:
    error = {
        "output_type": "error",
        "ename": "ValueError",
        "evalue": "no",
        "traceback": ["\x1b[31mValueError\x1b[0m: no"],
    }
    result = run_result(RunResult((stream("a\n"), figure(), error), "ValueError: no"))
    assert result == ToolResult(
        "a\n<Figure>\nValueError: no\n[1 figure shown in the notebook]",
        ("data:image/png;base64,AAAAAAAA",),
        ok=False,
    )


def test_large_results_are_capped_and_say_so() -> None:
    result = run_result(
        RunResult((stream("x" * 1_000_000), *[figure() for _ in range(6)], figure(3_000_000)))
    )
    assert len(result.text) < OUTPUT_LIMIT + 200
    assert "characters left out" in result.text
    assert len(result.images) == 4
    assert "[7 figures shown in the notebook, 3 not sent (too large or too many)]" in result.text


def test_code_without_output_says_that_it_ran() -> None:
    assert run_result(RunResult()) == ToolResult("(ran without any output)")


def test_a_progress_bar_leaves_its_last_line() -> None:
    assert output_text(stream("10%\r50%\r100%\ndone\r\n"), 100) == "100%\ndone"


def test_a_long_traceback_keeps_its_inner_frames() -> None:
    frames = [f"frame {n}" for n in range(9)]
    text = output_text({"output_type": "error", "ename": "E", "evalue": "why", "traceback": frames}, 1000)
    assert text == "… [5 outer frames left out]\nframe 5\nframe 6\nframe 7\nframe 8\nE: why"


def test_a_shortened_text_keeps_both_ends() -> None:
    assert truncate("a" * 60 + "b" * 60, 30) == "a" * 20 + "\n… [90 characters left out] …\n" + "b" * 10


def test_what_was_left_out_before_is_counted_when_a_text_is_shortened_again() -> None:
    once = truncate("a" * 6_000 + "b" * 3_000, 900)
    assert truncate(once, 30) == "a" * 20 + "\n… [8,970 characters left out] …\n" + "b" * 10
