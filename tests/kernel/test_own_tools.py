"""Outputs of user-defined tools in the saved cell."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from codex_nb.simulator import Call, End, Reply, Say, Simulator
from tests.kernel.front_ends import APPROVE, Page, left_of
from tests.kernel.kernel_client import RunningKernel, running
from tests.kernel.provision import VERSIONS

TOOLS = """
import codex_nb
from IPython.display import clear_output
@codex_nb.tool
def shout(word: str) -> str:
    "Say a word loudly."
    print(word.upper())
    return "it was heard"
@codex_nb.tool
def whisper(word: str) -> str:
    "Say a word to nobody."
    return "nobody heard it"
@codex_nb.tool
def wipe(word: str) -> str:
    "Show something in the place of something else."
    print("first")
    clear_output()
    print(word)
    return "wiped"
"""


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module", params=[VERSIONS[0], VERSIONS[-1]], ids=lambda version: version.name)
def kernel(
    sim: Simulator, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[RunningKernel]:
    """Start a kernel with tools of the user's own, signed in to the simulator."""
    home = tmp_path_factory.mktemp("codex-home")
    (home / "config.toml").write_text(sim.config_toml())
    sim.write_login(home)
    environ = {**os.environ, **sim.environ(), "CODEX_HOME": str(home)}
    with running(request.param, environ) as kernel:
        for code in ("%load_ext codex_nb", "%%codex --no-context\nHello", TOOLS):
            assert kernel.run(code)["status"] == "ok"
        yield kernel


def ask(kernel: RunningKernel, sim: Simulator, *names: str) -> list[str]:
    """Let the model call tools, one in each step; return what stays in the cell."""
    for name in names:
        sim.add_replies(Reply(stream=(Call(name, {"word": "word"}), End())))
    sim.add_replies(Reply(stream=(Say("That was it."), End())))
    cell = "%%codex --fresh --no-context --approval ask\nDo it."
    assert Page().run(kernel, cell, lambda _: APPROVE).status == "ok"
    return left_of(kernel)


def test_what_a_tool_shows_stands_below_its_call_and_above_what_follows(
    kernel: RunningKernel, sim: Simulator
) -> None:
    called, shown, again, shown_again, answer = ask(kernel, sim, "shout", "shout")
    assert (shown, shown_again) == ("WORD\n", "WORD\n")
    assert ["[shout (done)]" in text and "it was heard" in text for text in (called, again)] == [True, True]
    assert answer.startswith("That was it.")


def test_what_code_showed_until_it_was_broken_off_stands_above_the_end(
    kernel: RunningKernel, sim: Simulator
) -> None:
    code = "print('begun')\nraise KeyboardInterrupt"
    sim.add_replies(Reply(stream=(Call("run_python", {"code": code}), End())))
    cell = "%%codex --fresh --no-context --approval ask\nDo it."
    assert Page().run(kernel, cell, lambda _: APPROVE).status == "error"
    called, shown, *_, ended, _interrupt = left_of(kernel)
    assert called.startswith("[Python (stopped while running)]")
    assert (shown, ended.splitlines()[0]) == ("begun\n", "[Stopped. The partial answer is kept.]")


def test_a_tool_that_shows_nothing_leaves_the_answer_in_one_piece(
    kernel: RunningKernel, sim: Simulator
) -> None:
    (answer,) = ask(kernel, sim, "whisper", "whisper")
    assert answer.count("nobody heard it") == 2
    assert "That was it." in answer


def test_a_tool_that_clears_its_outputs_clears_nothing_of_the_answer(
    kernel: RunningKernel, sim: Simulator
) -> None:
    called, shown, answer = ask(kernel, sim, "wipe")
    assert ("[wipe (done)]" in called, shown.endswith("word\n")) == (True, True)
    assert answer.startswith("That was it.")
