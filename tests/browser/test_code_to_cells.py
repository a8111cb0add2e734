"""In an open notebook what an answer ran becomes cells, with the outputs that it had."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from codex_nb.simulator import Call, End, Reply, Say, Simulator
from tests.browser.asking import LOAD, lead_to
from tests.browser.jupyter_server import FrontEnd
from tests.browser.notebook_page import NotebookPage

CODES = (
    "print('six')\n6 * 7",
    "1/0",
    "from IPython.display import HTML\ndisplay(HTML('<b onclick=\"done = 1\">bold</b>'))",
)
ONE_CELL = "```python\nx = 6\nx * 7\n```"


@pytest.fixture
def sim(kernel_environ: dict[str, str]) -> Iterator[Simulator]:
    """Run a simulator; the kernel is signed in to it."""
    with Simulator() as simulator:
        lead_to(simulator, kernel_environ)
        yield simulator


def test_what_ran_is_kept_as_cells_with_its_outputs(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    sim.add_replies(
        *(
            Reply(stream=(Call("run_python", {"code": code}, call_id=f"call_{n}"), End()))
            for n, code in enumerate(CODES)
        ),
        Reply(stream=(Say("All done."), End())),
    )
    notebook = open_notebook([LOAD, "%%codex --approval all\nRun three things.", "%codex keep", "last = 1"])
    notebook.run(0)
    notebook.run(1)
    notebook.wait_for_text(1, "All done.")
    notebook.output(1).get_by_role("button", name="Keep as cells").click()
    notebook.output(1).get_by_role("button", name="Inserted below").wait_for()
    notebook.screenshot("kept-as-cells")
    notebook.start(4)  # %codex keep does the same once more
    notebook.wait_for_text(6, "2 cells inserted below the answer.")

    cells = notebook.save().cells
    assert [cell.source for cell in cells[2:6]] == [CODES[0], CODES[2]] * 2
    assert [cell.source for cell in cells[6:]] == ["%codex keep", "last = 1"]
    first, second = cells[2].outputs, cells[3].outputs
    assert (first[0].text, first[1].data["text/plain"]) == ("six\n", "42")
    assert "onclick" in second[0].data["text/html"]
    assert notebook.output(3).locator("b").get_attribute("onclick") == "done = 1"  # trusted, as when it ran
    assert notebook.script_errors == []


@pytest.mark.parametrize("front_end", [FrontEnd.LAB])
def test_an_answer_is_the_cell_below(open_notebook: Callable[..., NotebookPage], sim: Simulator) -> None:
    sim.add_replies(*[Reply(stream=(Say(ONE_CELL), End()))] * 2)
    notebook = open_notebook([LOAD, "%%codex --cell --fresh\nSix times seven.", "last = 1"])
    notebook.run(0)
    notebook.run(1)
    notebook.wait_for_text(1, "The code is in the cell below.")
    notebook.run(2)
    notebook.wait_for_text(2, "42")
    notebook.run(1)
    notebook.wait_for_text(1, "already in the cell below.")
    cells = notebook.save().cells
    assert [cell.source for cell in cells[2:]] == ["x = 6\nx * 7", "last = 1"]
    assert "x * 7" not in str(cells[1].outputs)
