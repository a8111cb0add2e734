"""The extension is loaded anew or unloaded at any moment, shells share a process, and nothing piles up in it."""

from __future__ import annotations

import gc
import time
from pathlib import Path

import httpx
import pytest
from IPython.core.interactiveshell import InteractiveShell

from codex_nb.magics.session import OPEN_PROFILES
from codex_nb.session.events import Answer
from codex_nb.simulator import Call, End, Hold, Reply, Say, Simulator
from tests.magics.conftest import Notebook
from tests.patience import PATIENCE_S

COMMANDS = ("%unload_ext codex_nb", "%reload_ext codex_nb", "%unload_ext codex_nb\n%load_ext codex_nb")


@pytest.mark.parametrize("command", COMMANDS)
def test_code_of_a_turn_that_unloads_the_extension_gets_its_answer(
    notebook: Notebook, sim: Simulator, command: str
) -> None:
    sim.add_replies(
        Reply(stream=(Call("run_python", {"code": command}), End())),
        Reply(stream=(Say("It is done."), End())),
    )
    assert notebook.run("%%codex --approval all -o answer\nUnload it.").succeeded
    assert notebook.namespace["answer"].text == "It is done."
    notebook.run("%load_ext codex_nb")
    assert notebook.run("%%codex --fresh\nAnd now?").succeeded


@pytest.mark.parametrize("command", COMMANDS)
def test_unloading_the_extension_ends_the_answers_in_the_background(
    notebook: Notebook, sim: Simulator, command: str
) -> None:
    sim.add_replies(Reply(stream=(Say("half"), Hold(), Say("whole"), End())))
    assert notebook.run("%%codex --background\nSlowly.").succeeded
    assert sim.wait_held(timeout_s=PATIENCE_S)
    assert notebook.run(command).succeeded
    assert sim.requests.wait(lambda log: all(each.outcome != "open" for each in log), PATIENCE_S)
    notebook.run("%load_ext codex_nb")
    assert notebook.run("%%codex --fresh\nAnd now?").succeeded


def test_two_shells_in_one_process_ask_and_end_on_their_own(
    notebook: Notebook, sim: Simulator, tmp_path: Path
) -> None:
    inner = InteractiveShell(config=notebook.shell.config, ipython_dir=str(tmp_path / "inner"))
    notebook.namespace["inner"] = inner
    inner.run_line_magic("load_ext", "codex_nb")
    for shell in (notebook.shell, inner):
        assert shell.run_cell("%%codex -o answer\nWho are you?").error_in_exec is None
    assert notebook.run("inner.run_cell('%%codex -o below\\nAnd inside a cell?')").succeeded
    inner.run_line_magic("unload_ext", "codex_nb")
    assert notebook.run("%%codex --fresh -o last\nAnd now?").succeeded
    assert [isinstance(inner.user_ns[name], Answer) for name in ("answer", "below")] == [True, True]
    assert notebook.namespace["answer"] is not inner.user_ns["answer"]


def clients() -> list[httpx.AsyncClient]:
    """List the HTTP clients of this process, those of other tests as well."""
    gc.collect()
    return [each for each in gc.get_objects() if issubclass(type(each), httpx.AsyncClient)]


def test_a_process_that_has_used_many_homes_keeps_a_few_clients(
    notebook: Notebook, sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = clients()
    for number in range(3 * OPEN_PROFILES):
        home = tmp_path / f"home {number}"
        home.mkdir(mode=0o700)
        sim.write_home(home)
        monkeypatch.setenv("CODEX_HOME", str(home))
        assert notebook.run("%%codex --no-context\nWho are you?").succeeded
    opened = [each for each in clients() if not any(each is one for one in earlier)]
    assert sum(not each.is_closed for each in opened) <= OPEN_PROFILES


def answers_alive(word: str) -> list[str]:
    gc.collect()
    return [each.text for each in gc.get_objects() if type(each) is Answer and word in each.text]


def test_a_session_keeps_nothing_of_answers_that_have_ended(notebook: Notebook, sim: Simulator) -> None:
    for number in range(10):
        assert notebook.run(f"%%codex --background -o answer\nNumber {number}?").succeeded
        assert sim.requests.wait(
            lambda log, count=number: (
                len(log.to("/responses")) > count  # type: ignore[misc]  # bound at once
                and all(each.outcome != "open" for each in log)
            ),
            PATIENCE_S,
        )
    deadline = time.monotonic() + PATIENCE_S
    while len(alive := answers_alive("Number")) > 2 and time.monotonic() < deadline:
        time.sleep(0.05)  # the last turn is just ending
    assert len(alive) <= 2  # _codex and answer
