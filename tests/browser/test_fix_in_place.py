"""``%codex fix`` corrects the cell that failed where it stands, after its diff was approved."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from codex_nb.simulator import Simulator
from tests.browser.asking import LOAD, lead_to
from tests.browser.notebook_page import NotebookPage

SOURCE = "temperature = 20\nreading = f'{temperature:.1f}'\nprint('It is', temprature, 'degrees')"
FIXED = SOURCE.replace("temprature", "temperature")


@pytest.fixture
def sim(kernel_environ: dict[str, str]) -> Iterator[Simulator]:
    """Run a simulator with its usual behaviour; the kernel is signed in to it."""
    with Simulator() as simulator:
        lead_to(simulator, kernel_environ)
        yield simulator


@pytest.mark.parametrize(
    ("color_scheme", "viewport"),
    [("light", (1400, 900)), ("light", (760, 900)), ("dark", (1400, 900))],
    ids=["wide", "narrow", "dark"],
)
def test_the_failed_cell_is_corrected_in_place(
    open_notebook: Callable[..., NotebookPage], sim: Simulator, request: pytest.FixtureRequest
) -> None:
    notebook = open_notebook([LOAD, SOURCE, "fine = 1", "%codex fix"])
    for index in range(3):
        notebook.run(index)
    notebook.start(3)
    approve = notebook.output(3).get_by_role("button", name="Approve")
    approve.wait_for()
    notebook.screenshot(f"fix-in-place-{request.node.callspec.id}")
    shown = notebook.output(3).locator(".codex-diff")
    assert shown.locator(".codex-removed .codex-changed").all_inner_texts() == ["temprature"]
    assert shown.locator(".codex-added .codex-changed").all_inner_texts() == ["temperature"]
    assert notebook.output(3).get_by_role("button", name="Allow edits for this answer").count() == 1
    assert notebook.source(1) == SOURCE
    approve.click()
    notebook.wait_until_run(3)
    assert notebook.source(1) == FIXED
    notebook.run(1)
    notebook.wait_for_text(1, "It is 20 degrees")
    cells = notebook.save().cells
    assert len(cells) == 4
    assert "-print('It is', temprature, 'degrees')" in str(cells[3].outputs[0].data["text/plain"])
    notebook.screenshot(f"fixed-in-place-{request.node.callspec.id}")
    assert notebook.script_errors == []


def test_a_correction_below_leaves_the_failed_cell(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    del sim
    notebook = open_notebook([LOAD, SOURCE, "%codex fix --below --approval all"])
    for index in range(3):
        notebook.run(index)
    assert [notebook.source(index) for index in (1, 3)] == [SOURCE, FIXED]


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
    notebook.run(2)
    notebook.wait_for_text(2, "It is 20 degrees")
