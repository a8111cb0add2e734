"""Forked processes ask for themselves, and a question that waits for another one lets that one run its code."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from codex_nb.simulator import Call, End, Reply, Say, Scenario, Simulator
from tests.kernel.front_ends import APPROVE, Page
from tests.kernel.kernel_client import RunningKernel, running
from tests.kernel.provision import ROOT, VERSIONS, KernelVersion
from tests.kernel.test_every_place import nobody, outputs_left
from tests.patience import PATIENCE_S

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="only POSIX forks")

IN_CHILD = f"""
import codex_nb, os, select, signal, warnings
warnings.simplefilter("ignore", DeprecationWarning)

def in_child(function):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        said = "nothing"
        try:
            said = str(function())
        except BaseException as error:
            said = str(error)
        finally:
            os.write(writer, said.encode())
            os._exit(0)
    os.close(writer)
    if not select.select([reader], [], [], {PATIENCE_S})[0]:
        os.kill(child, signal.SIGKILL)
    said = os.read(reader, 10_000).decode() or "hangs"
    os.waitpid(child, 0)
    return said

def ask():
    return codex_nb.ask("What?", context=True).status
"""
POOL = """
import multiprocessing
with multiprocessing.get_context("fork").Pool(2) as pool:
    print([answer.status for answer in pool.map(codex_nb.ask, ["one", "two"])])
"""
FORKS = "import os\nchild = os.fork()\nprint('child' if not child else os.waitpid(child, 0)[1])"


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """Run a simulator with its usual behaviour."""
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(params=(VERSIONS[0], VERSIONS[-1]), ids=lambda version: version.name)
def kernel(request: pytest.FixtureRequest, sim: Simulator, tmp_path: Path) -> Iterator[RunningKernel]:
    """Start a kernel that has asked before."""
    version: KernelVersion = request.param
    home = tmp_path / "codex-home"
    home.mkdir(mode=0o700)
    sim.write_home(home)
    environ = {**os.environ, **sim.environ(), "CODEX_HOME": str(home), "PYTHONPATH": str(ROOT)}
    with running(version, environ | {"IPYTHONDIR": str(tmp_path / "ipython")}) as kernel:
        assert kernel.run("%load_ext codex_nb")["status"] == "ok"
        assert kernel.run(IN_CHILD + "\nassert ask() == 'completed'")["status"] == "ok"
        yield kernel


@forks
def test_children_ask_and_the_kernel_goes_on(kernel: RunningKernel, sim: Simulator) -> None:
    own = sim.requests[-1].connection
    assert kernel.value("(in_child(ask), ask())") == ("completed", "completed")
    pool = kernel.start(POOL)
    assert kernel.finish(pool)["status"] == "ok"
    assert "['completed', 'completed']" in kernel.text(pool)
    magic = "get_ipython().run_cell_magic('codex', '', 'What?')"
    refused = kernel.value(f"in_child(lambda: {magic})")
    assert refused == "%codex does not run in a forked process. Call codex_nb.ask there."
    asked = [request.connection for request in sim.requests.to("/responses")]
    assert [connection == own for connection in asked] == [True, False, True, False, False]
    assert Page().run(kernel, "%%codex\nWhat?", nobody).status == "ok"


@forks
def test_a_child_of_the_models_code_ends_where_the_code_ends(kernel: RunningKernel, sim: Simulator) -> None:
    sim.add_replies(
        Reply(stream=(Call("run_python", {"code": FORKS}), End())), Reply(stream=(Say("It has run."), End()))
    )
    ran = Page().run(kernel, "%%codex --approval all\nFork.", nobody)
    assert (ran.status, kernel.value("_codex.text")) == ("ok", "It has run.")
    assert "0\n" in ran.text
    assert len(sim.requests.to("/responses")) == 3


def test_a_cell_below_a_background_question_runs_the_code_that_it_waits_for(
    kernel: RunningKernel, sim: Simulator
) -> None:
    sim.add_replies(
        Reply(stream=(Call("run_python", {"code": "made = 6 * 7\nprint('ran')"}), End())),
        Reply(stream=(Say("Made."), End())),
        Reply(stream=(Say("It is 42."), End())),
    )
    first = kernel.start("%%codex --background --approval all\nMake it.", cell_id="first")
    second = kernel.start("%%codex --no-context\nHow many?", cell_id="second")
    assert [kernel.finish(each)["status"] for each in (first, second)] == ["ok", "ok"]
    assert kernel.value("(made, _codex.text)") == (42, "It is 42.")
    assert kernel.text(first) == "ran\n"


class InterruptingPage(Page):
    """A page whose user interrupts the kernel when a certain message comes, before answering it."""

    def __init__(self, moment: str) -> None:
        super().__init__()
        self._moment = moment
        self.was_reached = False

    def _take(self, kernel: RunningKernel, message: Mapping[str, Any], on_ask: Any) -> None:
        content = message["content"]
        told = content.get("data", {}).get("content", {}) if message["msg_type"] == "comm_msg" else {}
        operations = {each["op"] for each in told.get("ops", ())}
        moments = {
            message["msg_type"],
            told.get("operation"),
            content.get("text"),
            told.get("kind"),
            *operations,
        }
        if self._moment in moments and not self.was_reached:
            self.was_reached = True
            kernel.manager.interrupt_kernel()
        super()._take(kernel, message, on_ask)


def never_ended(messages: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the widgets that were shown and neither told of their end nor closed."""
    opened, ended = set(), set()
    for message in messages:
        kind, content = message["msg_type"], message["content"]
        if kind == "comm_open" and "_esm" in content["data"].get("state", {}):
            opened.add(content["comm_id"])
        if kind == "comm_close" or content.get("data", {}).get("content", {}).get("kind") == "ended":
            ended.add(content["comm_id"])
    return opened - ended


MOMENTS = ("comm_open", "display_data", "read_document", "section", "ask", "ran\n", "ended")
# An interrupt behind the end of a cell, whatever the cell, would cost ipykernel the reply; IPython prints it here.
REST = "import time\nget_ipython().events.register('post_run_cell', lambda *_: time.sleep(0.3))"


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_interrupt_of_a_real_kernel_leaves_no_widget_and_the_next_cell_works(
    kernel: RunningKernel, sim: Simulator, moment: str
) -> None:
    code = "print('ran', flush=True)\nimport time\nfor _ in range(30): time.sleep(0.01)"
    sim.add_replies(
        Reply(stream=(Say("I look."), Call("run_python", {"code": code}), End())),
        Reply(stream=(Say("It has run."), End())),
    )
    assert kernel.run(REST)["status"] == "ok"
    page = InterruptingPage(moment)
    ran = page.run(kernel, "%%codex --fresh\nRun it.", lambda _code: APPROVE)
    shown, messages = str(outputs_left(kernel)), list(kernel.published)
    assert [each for each in ("widget-view", "is working", "is answering") if each in shown] == []
    assert ran.status == "error" or moment == "ended"
    assert sim.requests.wait(lambda log: all(each.outcome != "open" for each in log), PATIENCE_S)
    sim.play(Scenario())
    assert Page().run(kernel, "%%codex --fresh\nAnd now?", nobody).status == "ok"
    assert (page.was_reached, never_ended([*messages, *kernel.published])) == (True, set())
