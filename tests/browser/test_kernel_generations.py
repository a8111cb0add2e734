"""Click, Stop, interrupt and reload in JupyterLab on every supported ipykernel version."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from codex_nb.simulator import Call, End, Reply, Say, Scenario, Simulator
from tests.browser.asking import LOAD, lead_to
from tests.browser.jupyter_server import FrontEnd
from tests.browser.notebook_page import NotebookPage
from tests.kernel.provision import VERSIONS, KernelVersion
from tests.patience import PATIENCE_S

# anywidget throws this two seconds after a widget was closed before its code had come: a very short segment's
CLOSED_TOO_SOON = "[anywidget] Failed to initialize model."
VERSION = f"{LOAD}\nimport ipykernel; print('ipykernel', ipykernel.__version__)"
QUEUED = "print('queued', 6 * 7)"
CLICKED, STOPPED, AFTER_STOP, INTERRUPTED, RELOADED, STOPPED_AFTER, LAST = range(1, 8)
CELLS = (
    VERSION,
    "%%codex\nApprove this.",
    "%%codex\nStop this.",
    QUEUED,
    "%%codex\nInterrupt this.",
    "%%codex\nReload in the middle of this.",
    "%%codex\nReload this and then stop it.",
    "%codex last",
)
SCENARIO = Scenario(
    (
        Reply(stream=(Call("run_python", {"code": "print('ran', 6 * 7)"}, call_id="call"), End())),
        Reply(stream=(Say("The sum is known now."), End())),
        Reply(stream=(Say("Stopped in the middle of its words.", gate="never"), End())),
        Reply(stream=(Say("Interrupted in the middle of its words.", gate="never"), End())),
        Reply(stream=(Say("Begun before the reload, finished after it.", gate="reloaded"), End())),
        Reply(stream=(Say("Stopped after the reload, early in its words.", gate="never"), End())),
    )
)


@pytest.fixture
def sim(kernel_environ: dict[str, str]) -> Iterator[Simulator]:
    """Run a simulator that answers the notebook's questions in their order."""
    with Simulator(SCENARIO) as simulator:
        lead_to(simulator, kernel_environ)
        yield simulator


@pytest.mark.parametrize("front_end", [FrontEnd.LAB])
@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: f"ipykernel {version.name}")
def test_click_stop_interrupt_and_reload_work_on_every_ipykernel_version(
    open_notebook: Callable[..., NotebookPage], sim: Simulator, version: KernelVersion
) -> None:
    notebook = open_notebook(CELLS, python=str(version.python))
    notebook.run(0)
    notebook.wait_for_text(0, f"ipykernel {version.name if version.requirements else ''}".strip())
    a_click_is_served_while_the_cell_runs(notebook)
    stop_ends_the_turn_and_lets_the_queue_run(notebook, sim)
    an_interrupt_ends_the_turn_as_any_cell(notebook, sim)
    a_reloaded_page_finds_the_answer_so_far_and_the_whole_one(notebook, sim)
    stop_works_after_a_reload(notebook, sim)
    saved = notebook.save()
    outputs = [output for cell in saved.cells for output in cell.outputs]
    assert [output for output in outputs if "widget-view" in str(output)] == []
    assert [error for error in notebook.script_errors if error != CLOSED_TOO_SOON] == []


def press(notebook: NotebookPage, cell: int, name: str) -> None:
    notebook.output(cell).get_by_role("button", name=name, exact=True).click()


def a_click_is_served_while_the_cell_runs(notebook: NotebookPage) -> None:
    notebook.start(CLICKED)
    press(notebook, CLICKED, "Approve")
    notebook.wait_for_text(CLICKED, "The sum is known now.")
    notebook.wait_until_run(CLICKED)
    notebook.wait_for_text(CLICKED, "ran 42")


def stop_ends_the_turn_and_lets_the_queue_run(notebook: NotebookPage, sim: Simulator) -> None:
    notebook.start(STOPPED)
    notebook.start(AFTER_STOP)
    notebook.wait_for_text(STOPPED, "Stopped in the")
    press(notebook, STOPPED, "Stop")
    notebook.wait_for_text(AFTER_STOP, "queued 42")
    notebook.wait_for_text(STOPPED, "Stopped. The partial answer is kept.")
    assert hung_up(sim, 1)


def an_interrupt_ends_the_turn_as_any_cell(notebook: NotebookPage, sim: Simulator) -> None:
    notebook.start(INTERRUPTED)
    notebook.wait_for_text(INTERRUPTED, "Interrupted in the")
    notebook.interrupt()
    notebook.wait_until_run(INTERRUPTED)
    notebook.wait_for_text(INTERRUPTED, "Interrupted in the")
    notebook.wait_for_text(INTERRUPTED, "KeyboardInterrupt")
    notebook.wait_for_kernel("idle")  # after an error ipykernel drops what is asked until it is idle
    assert hung_up(sim, 2)


def a_reloaded_page_finds_the_answer_so_far_and_the_whole_one(notebook: NotebookPage, sim: Simulator) -> None:
    notebook.start(RELOADED)
    notebook.wait_for_text(RELOADED, "Begun before")
    notebook.save()
    notebook.reload()
    notebook.wait_for_text(RELOADED, "Begun before")
    sim.release("reloaded")
    notebook.wait_for_text(RELOADED, "finished after it.")
    notebook.wait_for_kernel("idle")
    no_widget_stands_in(notebook, RELOADED)
    notebook.run(LAST)
    notebook.wait_for_text(LAST, "finished after it.")


def stop_works_after_a_reload(notebook: NotebookPage, sim: Simulator) -> None:
    notebook.start(STOPPED_AFTER)
    notebook.wait_for_text(STOPPED_AFTER, "Stopped after")
    notebook.save()
    notebook.reload()
    notebook.wait_for_text(RELOADED, "finished after it.")
    notebook.wait_for_text(STOPPED_AFTER, "Stopped after")
    press(notebook, STOPPED_AFTER, "Stop")
    notebook.wait_for_text(STOPPED_AFTER, "Stopped. The partial answer is kept.")
    notebook.wait_for_kernel("idle")
    no_widget_stands_in(notebook, STOPPED_AFTER)
    assert hung_up(sim, 3)


def no_widget_stands_in(notebook: NotebookPage, cell: int) -> None:
    """Wait until the plain bundle has taken the widget's place: a reloaded page needs a moment for that."""
    notebook.output(cell).locator(".jupyter-widgets").wait_for(state="detached")


def hung_up(sim: Simulator, times: int) -> bool:
    """Whether the client has closed so many streams before their end."""
    return sim.requests.wait(
        lambda log: [each.outcome for each in log.to("/responses")].count("client_closed") == times,
        PATIENCE_S,
    )
