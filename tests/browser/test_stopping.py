"""Stop and interrupt: the cell ends, its stream is closed, the partial answer is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from codex_nb.simulator import End, Reply, Say, Scenario, Simulator
from tests.browser.asking import LOAD, lead_to
from tests.browser.notebook_page import NotebookPage
from tests.patience import PATIENCE_S

ENDLESS = Scenario((Reply(stream=(Say("The beginning of a long answer.", gate="never"), End()), times=None),))


@pytest.fixture
def sim(kernel_environ: dict[str, str]) -> Iterator[Simulator]:
    """Run a simulator that stops in the middle of its answer."""
    with Simulator(ENDLESS) as simulator:
        lead_to(simulator, kernel_environ)
        yield simulator


def ask_and_queue(open_notebook: Callable[..., NotebookPage]) -> NotebookPage:
    """Start a question and a cell behind it; return once some of the answer is visible."""
    notebook = open_notebook([LOAD, "%%codex\nTell me everything.", "print('the queued cell ran')"])
    notebook.run(0)
    notebook.start(1)
    notebook.start(2)
    notebook.wait_for_text(1, "The beginning")
    return notebook


def closed_by_the_client(sim: Simulator) -> bool:
    """Whether the client hung up on the stream."""
    return sim.requests.wait(
        lambda log: [r.outcome for r in log.to("/responses")] == ["client_closed"], PATIENCE_S
    )


def test_the_stop_button_ends_the_turn_and_the_queued_cell_runs(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    notebook = ask_and_queue(open_notebook)
    notebook.output(1).get_by_role("button", name="Stop").click()
    notebook.wait_until_run(1)
    assert closed_by_the_client(sim)
    notebook.wait_for_text(1, "The beginning")
    notebook.wait_for_text(1, "Stopped.")
    notebook.wait_for_text(2, "the queued cell ran")
    kept = notebook.save().cells[1].outputs[0]["data"]["text/plain"]
    assert "The beginning" in kept
    assert "Stopped. The partial answer is kept." in kept


def test_a_kernel_interrupt_ends_the_turn(open_notebook: Callable[..., NotebookPage], sim: Simulator) -> None:
    notebook = ask_and_queue(open_notebook)
    notebook.interrupt()
    notebook.wait_until_run(1)
    assert closed_by_the_client(sim)
    notebook.wait_for_text(1, "Stopped.")
    notebook.wait_for_text(1, "KeyboardInterrupt")
    notebook.wait_for_kernel("idle")
    assert notebook.execution_count(2) is None  # an interrupted cell aborts the queue, as Jupyter always does
    notebook.run(2)
    notebook.wait_for_text(2, "the queued cell ran")
