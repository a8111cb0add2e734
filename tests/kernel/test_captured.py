"""Cells whose outputs are captured or redirected."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from codex_nb.simulator import Call, End, Reply, Say, Simulator
from tests.kernel.front_ends import Page
from tests.kernel.kernel_client import RunningKernel, running
from tests.kernel.provision import ROOT, VERSIONS
from tests.kernel.test_every_place import PLAIN, nobody, outputs_left, widgets_left

REPLACED = {
    "everything is captured": "capture_output()",
    "only displays are captured": "capture_output(stdout=False, stderr=False)",
    "a publisher that knows no requests": "patch.object(shell, 'display_pub', Own())",
    "a hook that knows no requests": "patch.object(shell, 'displayhook', SimpleNamespace(is_active=False))",
    "a publisher that fails": "patch.object(shell, 'display_pub', FailingOwn())",
    "a stream that knows no requests": "patch.object(sys, 'stdout', Deaf())",
    "a stream that fails": "patch.object(sys, 'stderr', Failing())",
    "no stream": "patch.object(sys, 'stdout', None)",
}
PREPARE = """
import sys
from types import SimpleNamespace
from unittest.mock import patch
from IPython.core.displaypub import DisplayPublisher
from IPython.utils.capture import capture_output

class Own(DisplayPublisher):
    def publish(self, *args, **more): pass

class FailingOwn(Own):
    def set_parent(self, parent): raise LookupError("it cannot")

class Deaf:
    def write(self, text): return len(text)
    def flush(self): pass
    def set_parent(self, parent): raise LookupError("it cannot")

class Failing(Deaf):
    def flush(self): raise OSError("it cannot")
"""
PRINTS = Call("run_python", {"code": "print('ran', 6 * 7)"}, call_id="c")


@pytest.mark.parametrize("replaced", REPLACED.values(), ids=REPLACED)
def test_messages_that_come_while_the_outputs_are_replaced_leave_the_cell_its_own(
    kernel: RunningKernel, replaced: str
) -> None:
    kernel.run(PREPARE)
    cell = kernel.start(f"print('begun')\nwith {replaced}:\n    show(until_pressed)\nprint('after')\n'value'")
    kernel.read_text("begun")
    info = kernel.request("comm_info_request", {"target_name": "button"})
    assert "button" in kernel.reply(info)["comms"]
    kernel.click(do="release")
    assert kernel.finish(cell)["status"] == "ok"
    shown = kernel.outputs(cell)
    assert [each for each in shown if each[0] == "execute_result"] == [
        ("execute_result", {"text/plain": "'value'"})
    ]
    assert kernel.text(cell).endswith("after\n")
    assert kernel.value("(len(clicks), pumps)") == (1, ["KernelPump"])


# Questions


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """Run a simulator with its usual behaviour."""
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def asking(sim: Simulator, tmp_path: Path) -> Iterator[RunningKernel]:
    """Start a kernel that is signed in to the simulator, with the extension loaded."""
    home = tmp_path / "codex-home"
    home.mkdir(mode=0o700)
    sim.write_home(home)
    environ = {**os.environ, **sim.environ(), "CODEX_HOME": str(home), "PYTHONPATH": str(ROOT)}
    with running(VERSIONS[-1], environ | {"IPYTHONDIR": str(tmp_path / "ipython")}) as kernel:
        assert kernel.run("%load_ext codex_nb")["status"] == "ok"
        yield kernel


CAPTURED = {
    "%%capture": "%%capture captured\n%%codex --approval all --no-context\nAnswer.",
    "%%capture, streams left alone": (
        "%%capture --no-stdout --no-stderr captured\n%%codex --approval all --no-context\nAnswer."
    ),
    "capture_output": (
        "from IPython.utils.capture import capture_output\n"
        "with capture_output() as captured:\n"
        "    get_ipython().run_cell_magic('codex', '--approval all --no-context', 'Answer.')"
    ),
}


@pytest.mark.parametrize("cell", CAPTURED.values(), ids=CAPTURED)
@pytest.mark.parametrize("display", ["auto", "widget", "html"])
def test_a_captured_answer_is_in_the_capture_and_nowhere_else(
    asking: RunningKernel, sim: Simulator, cell: str, display: str
) -> None:
    sim.add_replies(Reply(stream=(Say("First."), PRINTS, End())), Reply(stream=(Say("An *answer*."), End())))
    asking.run(f"%config CodexMagics.display = {display!r}")
    ran = Page().run(asking, cell, nobody)
    written = "" if "--no-stdout" not in cell else "ran 42\n"
    assert (ran.status, ran.text, [data for data in outputs_left(asking) if "stream" not in data]) == (
        "ok",
        written,
        [],
    )
    assert widgets_left(asking) == set()
    assert Page().run(asking, "captured.show()", nobody).status == "ok"
    left = outputs_left(asking)
    first, answer = (data for data in left if "stream" not in data)
    assert (set(first), set(answer)) == (PLAIN, PLAIN)
    assert "First." in first["text/plain"]
    assert answer["text/markdown"].startswith("An *answer*.")
    assert "ran 42" in str(sim.requests[-1].body)


def test_where_nothing_can_be_seen_nobody_is_asked_to_sign_in(asking: RunningKernel, sim: Simulator) -> None:
    asking.run("import os, pathlib\npathlib.Path(os.environ['CODEX_HOME'], 'auth.json').unlink()")
    ran = Page().run(asking, CAPTURED["capture_output"], nobody)
    assert (ran.status, sim.waiting_device_codes()) == ("error", [])


# ipywidgets' Output


class CatchingPage(Page):
    """A page with an Output widget: what that has caught is changed by the front end or by its state, by no update.

    ``confirms`` tells whether the widget's half puts an answer in its own place there, as it is asked to.
    """

    def __init__(self, *, draws: bool = True, confirms: bool = True) -> None:
        super().__init__()
        self.draws = draws
        self.confirms = confirms
        self.widget = self.cell = ""
        self.caught: list[dict[str, Any]] = []

    def _take(
        self, kernel: RunningKernel, message: Mapping[str, Any], on_ask: Callable[[str], Mapping[str, Any]]
    ) -> None:
        kind, content = message["msg_type"], message["content"]
        state = content.get("data", {}).get("state", {})
        if state.get("_model_name") == "OutputModel":
            self.widget = content["comm_id"]
        elif kind == "comm_msg" and content["comm_id"] == self.widget:
            if content["data"]["method"] != "update":
                return  # an echo
            self.cell = state.get("msg_id", self.cell)
            self.caught = [dict(each) for each in state.get("outputs", self.caught)]
        elif kind in {"stream", "display_data"} and message["parent_header"]["msg_id"] == self.cell:
            self._catch(kernel, kind, content)
        elif self.draws or kind == "comm_msg":
            super()._take(kernel, message, on_ask)
        elif kind == "comm_open" and "_esm" in state:
            self._say(kernel, content["comm_id"], {"kind": "loaded"})

    def _catch(self, kernel: RunningKernel, kind: str, content: Mapping[str, Any]) -> None:
        if kind == "stream":
            self.caught.append({"output_type": kind, "name": "stdout", "text": content["text"]})
        else:
            self.caught.append({"output_type": kind, "data": content["data"], "metadata": {}})
        self._sync(kernel)

    def _hear(
        self,
        kernel: RunningKernel,
        comm: str,
        told: Mapping[str, Any],
        on_ask: Callable[[str], Mapping[str, Any]],
    ) -> None:
        if told["kind"] in {"replace", "ended"} and not self.confirms:
            return
        if told["kind"] == "replace":
            for output in self.caught:
                if comm in str(output):
                    output["data"] = told["bundle"]
            self._sync(kernel)
        super()._hear(kernel, comm, told, on_ask)

    def _sync(self, kernel: RunningKernel) -> None:
        data = {"method": "update", "state": {"outputs": self.caught}, "buffer_paths": []}
        kernel.request("comm_msg", {"comm_id": self.widget, "data": data})


OUTPUT = "import ipywidgets\nout = ipywidgets.Output()"
WITHIN = """
with out:
    print('before')
    get_ipython().run_cell_magic('codex', '--approval all --no-context', 'Answer.')
    print('after')
"""
PAGES = {
    "put in its place": CatchingPage(),
    "not confirmed": CatchingPage(confirms=False),
    "not drawn": CatchingPage(draws=False),
    "no widgets": CatchingPage(),
}


@pytest.mark.parametrize("how", PAGES)
def test_an_answer_inside_an_output_widget_ends_up_in_it_once(
    asking: RunningKernel, sim: Simulator, how: str
) -> None:
    page = PAGES[how]
    sim.add_replies(Reply(stream=(Say("First."), PRINTS, End())), Reply(stream=(Say("An *answer*."), End())))
    if how == "no widgets":
        asking.run("%config CodexMagics.display = 'html'")
    page.run(asking, OUTPUT, nobody)
    ran = page.run(asking, WITHIN, nobody)
    left = [each.get("text") or set(each["data"]) for each in page.caught]
    below = [PLAIN, "ran 42\n"] if page.confirms else ["ran 42\n", PLAIN]
    assert (ran.status, left) == ("ok", ["before\n", *below, PLAIN, "after\n"])
    first, answer = (each["data"]["text/plain"] for each in page.caught if "data" in each)
    assert ("First." in first, "(done)" in first, answer.startswith("An *answer*.")) == (True, True, True)
    asking.run("'what the front end said last has been taken'")
    assert asking.value("[each.get('text') or sorted(each['data']) for each in out.outputs]") == [
        each if isinstance(each, str) else sorted(each) for each in left
    ]


def test_the_progress_of_many_questions_inside_an_output_widget_ends_with_the_last(
    asking: RunningKernel, sim: Simulator
) -> None:
    page = CatchingPage()
    page.run(asking, f"{OUTPUT}\nimport codex_nb", nobody)
    ran = page.run(asking, "with out:\n    codex_nb.map(['One?', 'Two?', 'Three?'])", nobody)
    (line,) = (each["data"]["text/plain"] for each in page.caught)
    assert (ran.status, "3 of 3" in line) == ("ok", True)
