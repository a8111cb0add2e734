"""The end of an answer, whatever its speed and whatever happens to the page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from codex_nb.simulator import Call, End, Reply, Say, Scenario, Simulator
from tests.browser.asking import LOAD, lead_to
from tests.browser.jupyter_server import JupyterServer
from tests.browser.notebook_page import NotebookPage

COUNT = 6
ASK = "%%codex --fresh --no-context --approval all\nDo it."
ANSWER = "It ran twice:\n\n```python\n1 + 1\n```"
WIDGETS = "from ipywidgets.widgets.widget import _instances\nprint(len(_instances), 'widgets')"


@pytest.fixture
def sim(kernel_environ: dict[str, str]) -> Iterator[Simulator]:
    """Run a simulator whose every answer runs code twice and then says something with code in it."""
    with Simulator() as simulator:
        lead_to(simulator, kernel_environ)
        for _ in range(COUNT):
            for word in ("once", "twice"):
                simulator.add_replies(Reply(stream=(Call("run_python", {"code": f"print('{word}')"}), End())))
            simulator.add_replies(Reply(stream=(Say(ANSWER), End())))
        yield simulator


@pytest.mark.usefixtures("sim")
def test_quick_answers_are_complete_without_errors(
    open_notebook: Callable[..., NotebookPage], server: JupyterServer
) -> None:
    notebook = open_notebook([LOAD, *[ASK] * COUNT, WIDGETS])
    notebook.command("notebook:run-all-cells")
    notebook.wait_until_run(COUNT + 1)
    footers = notebook.page.locator(".codex-footer").filter(has_text=re.compile(r"\d s$"))
    footers.nth(COUNT - 1).wait_for()
    buttons = notebook.page.get_by_role("button", name="Copy", exact=True).filter(visible=True)
    buttons.nth(COUNT - 1).wait_for()
    for cell in notebook.save().cells[1:-1]:
        shown = [output.text if "text" in output else output.data["text/plain"] for output in cell.outputs]
        called, once, again, twice, answer = shown
        assert ("once" in called, once, "twice" in again, twice) == (True, "once\n", True, "twice\n")
        assert answer.startswith("It ran twice:")
    notebook.settle(2.5)  # anywidget complains after two seconds
    notebook.run(COUNT + 1)
    notebook.wait_for_text(COUNT + 1, "0 widgets")
    assert (notebook.script_errors, notebook.console_errors) == ([], [])
    assert "No such comm" not in server.log()


# A page that looks again after a while whether the answer has taken the widget's place would find no timer for it.
NEVER_LOOK_AGAIN = """() => {
  const real = window.setTimeout;
  window.setTimeout = (what, ...more) => (String(what).includes("isShown") ? 0 : real(what, ...more));
}"""


def test_a_page_reloaded_during_an_answer_gets_the_whole_answer(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    sim.play(Scenario(replies=(Reply(stream=(Say("Begun before it, ended after it.", gate="end"), End())),)))
    notebook = open_notebook([LOAD, "%%codex --no-context\nDo it."])
    notebook.run(0)
    notebook.start(1)
    notebook.wait_for_text(1, "Begun")
    notebook.save()
    notebook.reload()
    notebook.wait_for_text(1, "Begun")
    notebook.page.evaluate(NEVER_LOOK_AGAIN)
    sim.release("end")
    notebook.output(1).locator(".codex-answer").get_by_text("ended after it").wait_for()
    (output,) = notebook.save().cells[1].outputs
    assert sorted(output.data) == ["text/html", "text/markdown", "text/plain"]
