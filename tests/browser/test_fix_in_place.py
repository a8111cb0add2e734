"""``%codex fix`` corrects the cell that failed where it stands, after its diff was approved."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from codex_nb.simulator import Simulator
from tests.browser.asking import LOAD, lead_to
from tests.browser.jupyter_server import FrontEnd
from tests.browser.notebook_page import NotebookPage

SOURCE = "temperature = 20\nreading = f'{temperature:.1f}'\nprint('It is', temprature, 'degrees')"
FIXED = SOURCE.replace("temprature", "temperature")


@pytest.fixture
def sim(kernel_environ: dict[str, str]) -> Iterator[Simulator]:
    """Run a simulator with its usual behaviour; the kernel is signed in to it."""
    with Simulator() as simulator:
        lead_to(simulator, kernel_environ)
        yield simulator


def test_the_failed_cell_is_corrected_in_place(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    del sim
    notebook = open_notebook([LOAD, SOURCE, "fine = 1", "%codex fix"])
    for index in range(3):
        notebook.run(index)
    notebook.start(3)
    approve = notebook.output(3).get_by_role("button", name="Approve")
    approve.wait_for()
    removed, added = (
        notebook.output(3).locator(f".codex-diff .codex-{kind}") for kind in ("removed", "added")
    )
    assert removed.locator(".codex-changed").all_inner_texts() == ["temprature"]
    assert added.locator(".codex-changed").all_inner_texts() == ["temperature"]
    for width, name in ((1400, "wide"), (760, "narrow")):
        notebook.page.set_viewport_size({"width": width, "height": 900})
        notebook.screenshot(f"fix-in-place-{name}")
        first, second = removed.bounding_box(), added.bounding_box()
        assert first is not None
        assert second is not None
        assert (first["y"] == second["y"]) == (name == "wide")  # beside each other where there is room
    assert notebook.output(3).get_by_role("button", name="Allow edits for this answer").count() == 1
    assert notebook.source(1) == SOURCE
    approve.click()
    notebook.wait_until_run(3)
    assert notebook.source(1) == FIXED
    notebook.output(3).get_by_role("button", name="Run", exact=True).click()
    notebook.wait_for_text(1, "It is 20 degrees")
    cells = notebook.save().cells
    assert len(cells) == 4
    assert "-print('It is', temprature, 'degrees')" in str(cells[3].outputs[0].data["text/plain"])
    assert notebook.script_errors == []


@pytest.mark.parametrize("front_end", [FrontEnd.LAB])
def test_the_fix_button_corrects_its_own_cell(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    del sim
    notebook = open_notebook([LOAD, "%config CodexMagics.error_buttons = True", SOURCE])
    for index in range(3):
        notebook.run(index)
    notebook.output(2).get_by_role("button", name="Fix").click()
    notebook.output(2).get_by_role("button", name="Approve").click()
    notebook.wait_for_text(2, "Edited the cell")
    assert notebook.source(2) == FIXED
    notebook.output(2).get_by_role("button", name="Run", exact=True).click()
    notebook.wait_for_text(2, "It is 20 degrees")
