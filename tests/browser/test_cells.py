"""The model works in the open notebook: it inserts, edits, runs, moves and deletes cells, and Undo takes it back."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import expect

from codex_nb.simulator import Call, End, Hold, Reply, Say, Simulator
from tests.browser.asking import LOAD, lead_to
from tests.browser.jupyter_server import FrontEnd
from tests.browser.notebook_page import NotebookPage
from tests.kernel.provision import VERSIONS, KernelVersion
from tests.patience import PATIENCE_S
from tests.sent import outputs_of

PANEL = "window.jupyterapp.shell.currentWidget"
CELLS = f"""() => {PANEL}.content.model.sharedModel.cells.map(cell => {{
  const {{ id, source, cell_type: kind, outputs = [], execution_count: count }} = cell.toJSON();
  return {{ id, source, kind, outputs, count }};
}})"""
EDIT_BY_HAND = (
    f"([id, source]) => {PANEL}.content.model.sharedModel.cells.find(c => c.id === id).setSource(source)"
)
LOCK = f"i => {PANEL}.content.model.sharedModel.cells[i].setMetadata('editable', false)"
ASK = "%%codex --approval all --fresh\n"


@pytest.fixture
def sim(kernel_environ: dict[str, str]) -> Iterator[Simulator]:
    """Run a simulator with its usual behaviour; the kernel is signed in to it."""
    with Simulator() as simulator:
        lead_to(simulator, kernel_environ)
        yield simulator


def cells_of(notebook: NotebookPage) -> list[dict[str, Any]]:
    """Return the cells of the open document."""
    return list(notebook.page.evaluate(CELLS))


def sources_of(notebook: NotebookPage) -> list[str]:
    """Return the sources of the cells of the open document."""
    return [cell["source"] for cell in cells_of(notebook)]


def after_requests(sim: Simulator, count: int) -> dict[str, str]:
    """Wait until the model has been asked so often; return what the tools have told it, by call id."""
    assert sim.requests.wait(lambda log: log.count("/responses", "POST") >= count, PATIENCE_S)
    newest = sim.requests.to("/responses", "POST")[count - 1]
    return {call: str(output) for call, output in outputs_of(newest).items()}


class Script:
    """What the model does: calls, one a response, whose arguments may depend on what was told before."""

    def __init__(self, sim: Simulator, *names: str) -> None:
        self._sim = sim
        self._arguments: list[dict[str, Any]] = [{} for _ in names]
        self._done = 0
        for number, (name, arguments) in enumerate(zip(names, self._arguments, strict=True), 1):
            call = Call(name, arguments, call_id=f"call_{number}")
            sim.add_replies(Reply(stream=(Hold(f"call_{number}"), call, End())))
        sim.add_replies(Reply(stream=(Say("That is all."), End())))

    def call(self, **arguments: Any) -> str:
        """Make the next call; return what the model is told."""
        self.begin(**arguments)
        return self.told()

    def begin(self, **arguments: Any) -> None:
        """Make the next call."""
        self._arguments[self._done].update(arguments)
        self._done += 1
        assert self._sim.requests.wait(lambda log: log.count("/responses", "POST") >= self._done, PATIENCE_S)
        self._sim.release(f"call_{self._done}")

    def told(self) -> str:
        """Return what the newest call has told the model."""
        return after_requests(self._sim, self._done + 1)[f"call_{self._done}"]


def inserted_ids(output: str) -> list[str]:
    """Return the ids of inserted cells in what the model is told."""
    return re.split(r", ", re.split(r"with the ids? ", output, maxsplit=1)[1].split(".", 1)[0])


def approve(notebook: NotebookPage, index: int) -> None:
    """Click Approve in a cell's output."""
    notebook.output(index).locator("button.codex-approve").last.click()


def undo(notebook: NotebookPage, index: int) -> str:
    """Click Undo below an answer and return what it says."""
    notebook.output(index).locator("button.codex-undo").click()
    said = notebook.output(index).locator(".codex-undone")
    expect(said).not_to_be_empty()
    return said.inner_text()


def outputs_without_answers(saved: NotebookNode) -> list[list[Any]]:
    """Run what a notebook holds besides the questions from top to bottom, without codex_nb; return what it shows."""
    own = [
        cell.source for cell in saved.cells if cell.source != LOAD and not cell.source.startswith("%%codex")
    ]
    again = new_notebook(cells=[new_code_cell(source) for source in own])
    NotebookClient(again, kernel_name="python3").execute()
    return [shown(cell) for cell in again.cells]


def shown(cell: NotebookNode) -> list[Any]:
    """Return what a cell shows."""
    return [output.get("data", output.get("text")) for output in cell.outputs]


@pytest.mark.parametrize(
    ("front_end", "version"),
    [(FrontEnd.NOTEBOOK, VERSIONS[-1]), *((FrontEnd.LAB, version) for version in VERSIONS)],
    ids=lambda each: getattr(each, "name", None),
)
def test_cells_are_inserted_run_mended_and_taken_back(
    open_notebook: Callable[..., NotebookPage], sim: Simulator, version: KernelVersion
) -> None:
    three = [
        {"kind": "code", "source": each} for each in ("numbers = [1, 2, 3]", "sum(number)", "print('last')")
    ]
    model = Script(sim, "insert_cells", "edit_cell", "run_cell", "run_cell")
    notebook = open_notebook([LOAD, f"{ASK}Sum them up.", "'the end'"], python=str(version.python))
    notebook.run(0)
    notebook.start(1)
    told = model.call(cells=three, run=True)
    first, second, third = inserted_ids(told)
    assert "NameError: name 'number' is not defined" in told
    assert told.count(third) == 2  # inserted, and not run after the error
    assert "Edited" in model.call(cell_id=second, edits=[{"old": "(number)", "new": "(numbers)"}])
    assert "6" in model.call(cell_id=second)
    assert "last" in model.call(cell_id=third)
    notebook.wait_until_run(1)
    notebook.run(5)

    cells = cells_of(notebook)
    assert [(cell["source"], cell["count"]) for cell in cells[2:]] == [
        ("numbers = [1, 2, 3]", 3),
        ("sum(numbers)", 5),
        ("print('last')", 6),
        ("'the end'", 7),
    ]
    assert [cell["id"] for cell in cells[2:5]] == [first, second, third]
    assert [output["output_type"] for cell in cells[2:5] for output in cell["outputs"]] == [
        "execute_result",
        "stream",
    ]
    saved = notebook.save()
    assert [(cell.source, cell.execution_count) for cell in saved.cells] == [
        (cell["source"], cell["count"]) for cell in cells
    ]
    assert saved.cells[3].outputs[0].data["text/plain"] == "6"
    assert saved.cells[4].outputs[0].text == "last\n"
    assert outputs_without_answers(saved) == [shown(cell) for cell in saved.cells[2:]]

    notebook.cell(3).locator(".cm-content").click()
    notebook.page.keyboard.press("ControlOrMeta+z")
    assert notebook.source(3) == "sum(number)"
    notebook.page.keyboard.press("ControlOrMeta+Shift+z")
    assert notebook.source(3) == "sum(numbers)"
    assert undo(notebook, 1) == "Undone: 1 changed cell, 3 inserted cells."
    assert sources_of(notebook) == [LOAD, f"{ASK}Sum them up.", "'the end'"]


def test_what_a_person_changes_meanwhile_is_not_lost(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    model = Script(sim, "edit_cell", "edit_cell", "edit_cell")
    notebook = open_notebook(
        [LOAD, "mass = 1", "%%codex --approval ask\nCorrect it.", "%codex undo", "age = 2"]
    )
    notebook.run(0)
    target, below = (cells_of(notebook)[index]["id"] for index in (1, 4))
    notebook.start(2)
    model.begin(cell_id=target, source="mass = 3")
    notebook.output(2).locator("button.codex-approve").wait_for()
    notebook.page.evaluate(EDIT_BY_HAND, [target, "mass = 2  # kg"])
    approve(notebook, 2)
    assert "mass = 2  # kg" in model.told()
    assert notebook.source(1) == "mass = 2  # kg"
    told = model.call(cell_id=below, source="age = 5")
    assert "has not been shown to you" in told
    assert "age = 2" in told
    model.begin(cell_id=target, edits=[{"old": "2", "new": "4"}])
    approve(notebook, 2)
    assert "Edited" in model.told()
    notebook.wait_until_run(2)
    assert notebook.source(1) == "mass = 4  # kg"

    notebook.page.evaluate(EDIT_BY_HAND, [target, "mass = 4  # g"])
    notebook.run(3)
    notebook.wait_for_text(3, "its text has been changed since")
    assert notebook.source(1) == "mass = 4  # g"
    notebook.page.evaluate(EDIT_BY_HAND, [target, "mass = 4  # kg"])
    notebook.run(3)
    notebook.wait_for_text(3, "Undone: 1 changed cell")
    assert notebook.source(1) == "mass = 2  # kg"


def test_cells_are_read_moved_and_deleted_but_for_those_kept_out(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    model = Script(
        sim,
        *["read_cells"] * 2,
        "edit_cell",
        "edit_cell",
        "delete_cells",
        "move_cell",
        "run_cell",
        "run_cell",
    )
    sources = [
        LOAD,
        "one = 1",
        "two = 2",
        "locked = 3",
        "# codex-skip\nkept_out = 4",
        f"{ASK}Tidy up.",
        "below = 5",
    ]
    notebook = open_notebook([*sources, "%codex undo"])
    notebook.run(0)
    before = cells_of(notebook)
    _, one, two, locked, kept_out, asking, below, _ = (cell["id"] for cell in before)
    notebook.page.evaluate(LOCK, 3)
    notebook.start(5)
    told = model.call()
    assert [each in told for each in (one, below, "below = 5", "kept_out", kept_out)] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert "below = 5" in model.call(cell_ids=[below])
    assert "not editable" in model.call(cell_id=locked, source="locked = 4")
    assert "codex-skip" in model.call(cell_id=kept_out, source="kept_out = 5")
    assert "Deleted 1 cell" in model.call(cell_ids=[two])
    assert "Moved" in model.call(cell_id=one, after=below)
    assert "it stays as it is" in model.call(cell_id=asking)
    assert "(ran without any output)" in model.call(cell_id=one)
    notebook.wait_until_run(3)
    assert [cell["id"] for cell in cells_of(notebook)][1:6] == [locked, kept_out, asking, below, one]
    assert sources_of(notebook)[1] == "locked = 3"
    notebook.start(6)
    notebook.wait_for_text(7, "Undone: 1 moved cell, 1 deleted cell.")
    assert [(cell["id"], cell["source"]) for cell in cells_of(notebook)] == [
        (cell["id"], cell["source"]) for cell in before
    ]


TABLE = "import pandas as pd\npd.DataFrame({'a': numbers}).style.hide()"
COUNT = "runs = globals().get('runs', 0) + 1\nprint('run number', runs)"


def test_of_two_pages_on_one_kernel_one_acts(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    model = Script(sim, "insert_cells", "insert_cells")
    here = open_notebook([LOAD, f"{ASK}Count."])
    here.run(0)
    here.save()
    there = open_notebook(file=here.file)
    here.page.bring_to_front()
    here.start(1)
    told = model.call(cells=[{"kind": "code", "source": COUNT}], run=True)
    assert "run number 1" in told
    assert [sources_of(page).count(COUNT) for page in (here, there)] == [1, 0]
    here.page.close()
    told = model.call(cells=[{"kind": "markdown", "source": "# Once"}])
    assert sources_of(there).count("# Once") <= 1
    assert ("Inserted 1 cell" in told) is ("# Once" in sources_of(there))


@pytest.mark.parametrize(
    ("front_end", "text"), [(FrontEnd.LAB, ""), (FrontEnd.NOTEBOOK, "# %% [markdown]\nCount *all* of them.")]
)
def test_a_notebook_that_was_answered_runs_again_here_and_headless_without_a_request(
    open_notebook: Callable[..., NotebookPage], sim: Simulator, kernel_environ: dict[str, str], text: str
) -> None:
    model = Script(sim, "insert_cells", "edit_cell", "run_cell")
    asking = "%%codex --approval all\nSum them up."
    notebook = open_notebook(
        [LOAD, f"numbers = [1, 2, 3]\n{TABLE}", text or "print('a line')", asking, "%%codex\nAnd?"]
    )
    for index in range(2 if text else 3):
        notebook.run(index)
    notebook.start(3)
    told = model.call(cells=[{"kind": "code", "source": "sum(number)"}], run=True)
    [made] = inserted_ids(told)
    model.call(cell_id=made, source="total = sum(numbers)\ntotal")
    assert "6" in model.call(cell_id=made)
    notebook.wait_until_run(3)
    sim.add_replies(Reply(stream=(Say("No more."), End())))
    notebook.run(5)
    saved, asked = notebook.save(), sim.requests.count("/responses")

    notebook.server.stop_kernels()
    notebook.reload(wait_for_kernel=True)
    notebook.command("notebook:clear-all-cell-outputs")
    for index in (0, 1, 3, 4) if text else range(6):
        notebook.run(index)
    again = sources_of(notebook)
    assert (again, sim.requests.count("/responses")) == ([cell.source for cell in saved.cells], asked)

    named = {"JPY_SESSION_NAME": str(notebook.file)} if text else {}  # else it sees no text cells
    NotebookClient(saved, kernel_name="python3").execute(env={**os.environ, **kernel_environ, **named})
    shows = ["\n".join(str(output) for output in cell.get("outputs", ())) for cell in saved.cells]
    assert sim.requests.count("/responses") == asked
    assert ["That is all." in shows[3], "No more." in shows[5], "6" in shows[4]] == [True] * 3
    assert saved.cells[4].source == "total = sum(numbers)\ntotal"


@pytest.mark.parametrize("front_end", [FrontEnd.LAB])
def test_an_edit_that_waits_is_approved_in_the_page_as_it_was_loaded_again(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    model = Script(sim, "edit_cell", "run_cell")
    notebook = open_notebook([LOAD, "print('mass', 1)", "%%codex --approval ask\nCorrect it."])
    notebook.run(0)
    target = cells_of(notebook)[1]["id"]
    notebook.start(2)
    model.begin(cell_id=target, source="print('mass', 3)")
    notebook.output(2).locator("button.codex-approve").wait_for()
    notebook.save()
    notebook.reload()
    approve(notebook, 2)
    assert "Edited" in model.told()
    assert notebook.source(1) == "print('mass', 3)"
    model.begin(cell_id=target)
    approve(notebook, 2)
    assert "mass 3" in model.told()
    notebook.wait_for_text(1, "mass 3")
    notebook.wait_for_text(2, "That is all.")
    assert undo(notebook, 2) == "Undone: 1 changed cell."
    assert notebook.source(1) == "print('mass', 1)"


@pytest.mark.parametrize("front_end", [FrontEnd.LAB])
def test_cells_that_are_brought_back_show_what_they_showed(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    model = Script(sim, "edit_cell", "run_cell", "delete_cells")
    sources = [
        LOAD,
        "from IPython.display import HTML\nHTML('<b>bold</b>')",
        "print('one')\n1",
        "print('x' * 2_200_000)",
    ]
    notebook = open_notebook([*sources, f"{ASK}Tidy up."])
    for index in range(4):
        notebook.run(index)
    before = cells_of(notebook)
    _, bold, one, large, _ = (cell["id"] for cell in before)
    notebook.start(4)
    model.call(cell_id=one, source="print('two')\n2")
    assert "two" in model.call(cell_id=one)
    assert "Deleted 2 cells" in model.call(cell_ids=[bold, large])
    notebook.wait_until_run(2)
    notebook.output(2).locator("button.codex-undo").click()
    undone = notebook.page.locator(".codex-undone")
    expect(undone).not_to_be_empty()
    said = undone.inner_text()
    assert said.startswith("Undone: 2 deleted cells, 1 changed cell.")
    assert "too large to be kept" in said
    after = cells_of(notebook)
    assert after[:3] == before[:3]
    assert [cell["source"] for cell in after] == [cell["source"] for cell in before]
    assert notebook.output(1).locator("b").inner_text() == "bold"
