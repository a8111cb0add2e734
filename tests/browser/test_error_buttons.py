"""Below a cell that failed, Explain and Fix ask about that cell, where that is wished."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from codex_nb.simulator import End, Reply, Say, Simulator
from tests.browser.asking import LOAD, lead_to
from tests.browser.jupyter_server import FrontEnd
from tests.browser.notebook_page import NotebookPage
from tests.sent import items_of, texts_of

WISHED = "%config CodexMagics.error_buttons = True"


@pytest.fixture
def sim(kernel_environ: dict[str, str]) -> Iterator[Simulator]:
    """Run a simulator; the kernel is signed in to it."""
    with Simulator() as simulator:
        lead_to(simulator, kernel_environ)
        yield simulator


@pytest.mark.parametrize("front_end", [FrontEnd.LAB])
def test_a_failed_cell_is_explained_and_fixed_by_its_buttons(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    sim.add_replies(
        Reply(stream=(Say("There is no alpha."), End())), Reply(stream=(Say("Define beta."), End()))
    )
    notebook = open_notebook(
        [LOAD, "gamma + 1", WISHED, "alpha + 1", "beta + 1", "# codex-skip\ndelta + 1", "fine = 1"]
    )
    for index in range(7):
        notebook.run(index)
    for index in (3, 4):
        notebook.output(index).get_by_role("button", name="Fix").wait_for()
    notebook.screenshot("error-buttons")
    notebook.output(3).get_by_role("button", name="Explain").click()
    notebook.wait_for_text(3, "There is no alpha.")
    notebook.output(4).get_by_role("button", name="Fix").click()
    notebook.wait_for_text(4, "Define beta.")
    assert [notebook.output(index).get_by_role("button", name="Fix").count() for index in range(7)] == [0] * 7

    explained, fixed = (
        "\n".join(texts_of(items_of(request)[-2])) for request in sim.requests.to("/responses", "POST")
    )
    assert "alpha + 1" in explained
    assert "name 'alpha' is not defined" in explained
    assert "beta + 1" in fixed
    assert "name 'beta' is not defined" in fixed
    saved = notebook.save()
    assert "widget-view" not in str(saved.cells)
    kinds = [[each.output_type for each in saved.cells[index].outputs] for index in (1, 3, 4, 5)]
    shown = [
        [kind for kind in cell if kind != "stream"] for cell in kinds
    ]  # ipykernel complains of its subshells
    assert shown == [["error"], ["error", *["display_data"] * 2], ["error", *["display_data"] * 2], ["error"]]
    assert notebook.script_errors == []
