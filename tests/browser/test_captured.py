"""Captured outputs: ``%%capture`` and ipywidgets' Output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from codex_nb.simulator import Call, End, Hold, Reply, Say, Simulator
from tests.browser.asking import LOAD, lead_to
from tests.browser.notebook_page import NotebookPage

ASK = "get_ipython().run_cell_magic('codex', '--no-context --approval all', 'Do it.')"
ANSWER = "It is *forty-two*, as the code says."
OUTPUT = "import ipywidgets\nfrom IPython.display import display\nout = ipywidgets.Output()\n"
WITHIN = f"with out:\n    print('ahead')\n    {ASK}\n    print('after')\n"
ERRORS_BY_NAME = """print([
    each.get('text') or sorted(each['data']) for each in out.outputs
])"""
PLAIN = ["text/html", "text/markdown", "text/plain"]


@contextmanager
def answering(kernel_environ: dict[str, str], *held: Hold) -> Iterator[Simulator]:
    """Run a simulator whose answer says something, runs code and ends with the result."""
    with Simulator() as simulator:
        lead_to(simulator, kernel_environ)
        call = Call("run_python", {"code": "print('ran', 6 * 7)"})
        simulator.add_replies(
            Reply(stream=(Say("I look."), *held, call, End())), Reply(stream=(Say(ANSWER), End()))
        )
        yield simulator


@pytest.fixture
def sim(kernel_environ: dict[str, str]) -> Iterator[Simulator]:
    """Answer at once."""
    with answering(kernel_environ) as simulator:
        yield simulator


@pytest.fixture
def held(kernel_environ: dict[str, str]) -> Iterator[Simulator]:
    """Wait after the first words until they have been seen."""
    with answering(kernel_environ, Hold("seen")) as simulator:
        yield simulator


def shows(notebook: NotebookPage, cell: int, text: str) -> int:
    """Count the places in a cell's output where a text can be seen."""
    return notebook.output(cell).get_by_text(text).filter(visible=True).count()


@pytest.mark.usefixtures("sim")
def test_a_captured_answer_is_in_the_capture_and_its_cell_ends(
    open_notebook: Callable[..., NotebookPage],
) -> None:
    cell = "%%capture captured\n%%codex --no-context --approval all\nDo it."
    notebook = open_notebook([LOAD, cell, "captured.show()", "print('six', 7)"])
    for index in range(4):
        notebook.run(index)
    notebook.wait_for_text(2, "forty-two")
    notebook.wait_for_text(3, "six 7")
    assert shows(notebook, 2, "I look.") == 1
    saved = notebook.save()
    assert saved.cells[1].outputs == []
    printed, first, answer = saved.cells[2].outputs
    assert (printed.text, sorted(first.data), sorted(answer.data)) == ("ran 42\n", PLAIN, PLAIN)


def test_an_answer_inside_an_output_widget_streams_and_is_saved_there(
    open_notebook: Callable[..., NotebookPage], held: Simulator
) -> None:
    notebook = open_notebook([LOAD, f"{OUTPUT}display(out)\n{WITHIN}", ERRORS_BY_NAME, "out"])
    notebook.run(0)
    notebook.start(1)
    notebook.output(1).locator(".codex-live").get_by_text("I look").wait_for()
    held.release("seen")
    notebook.wait_until_run(1)
    notebook.output(1).locator(".codex-answer").get_by_text("forty-two").wait_for()
    notebook.run(2)
    notebook.wait_for_text(2, str(["ahead\n", PLAIN, "ran 42\n", PLAIN, "after\n"]))
    notebook.run(3)
    for cell in (1, 3):
        notebook.wait_for_text(cell, "forty-two")
        texts = ("ahead", "I look.", "ran 42", "forty-two", "after")
        assert [shows(notebook, cell, text) for text in texts] == [1, 1, 1, 1, 1]
    notebook.page.locator(".codex-live").wait_for(state="detached")
    notebook.screenshot("answer-in-an-output-widget")


@pytest.mark.usefixtures("sim")
@pytest.mark.parametrize("display", ["auto", "html"])
def test_an_answer_inside_an_output_widget_appears_when_it_is_displayed_later(
    open_notebook: Callable[..., NotebookPage], display: str
) -> None:
    notebook = open_notebook(
        [LOAD, f"%config CodexMagics.display = '{display}'", f"{OUTPUT}{WITHIN}", "out", ERRORS_BY_NAME]
    )
    for index in range(4):
        notebook.run(index)
    notebook.wait_for_text(3, "forty-two")
    texts = ("ahead", "I look.", "ran 42", "forty-two", "after")
    assert [shows(notebook, 3, text) for text in texts] == [1, 1, 1, 1, 1]
    notebook.run(4)
    notebook.wait_for_text(4, str(["ahead\n", PLAIN, "ran 42\n", PLAIN, "after\n"]))


@pytest.mark.usefixtures("sim")
def test_the_account_is_shown_inside_an_output_widget(open_notebook: Callable[..., NotebookPage]) -> None:
    status = f"{OUTPUT}display(out)\nwith out:\n    get_ipython().run_line_magic('codex', 'status')"
    notebook = open_notebook([LOAD, status, ERRORS_BY_NAME])
    notebook.run(0)
    notebook.run(1)
    notebook.wait_for_text(1, "a…@example.com")
    notebook.run(2)
    notebook.wait_for_text(2, str([PLAIN]))
    assert shows(notebook, 1, "a…@example.com") == 1
