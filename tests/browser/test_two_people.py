"""Two people in one notebook, each in a browser of their own: what the model does happens once, and both see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from codex_nb.simulator import End, Reply, Say, Simulator
from tests.browser.asking import LOAD, lead_to
from tests.browser.conftest import fresh_profile
from tests.browser.jupyter_server import FrontEnd, JupyterServer
from tests.browser.notebook_page import NotebookPage
from tests.browser.test_cells import (
    ASK,
    COUNT,
    EDIT_BY_HAND,
    Script,
    cells_of,
    inserted_ids,
    sources_of,
    undo,
)
from tests.kernel.provision import COLLABORATION
from tests.patience import PATIENCE_MS

BOTH_HAVE_REPLACED_IT_MS = 10_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[JupyterServer]:
    """Run JupyterLab with jupyter-collaboration."""
    with JupyterServer(FrontEnd.LAB, tmp_path / "server", python=str(COLLABORATION.python)) as running:
        yield running
        running.stop_kernels()


@pytest.fixture
def sim(kernel_environ: dict[str, str]) -> Iterator[Simulator]:
    """Run a simulator with its usual behaviour; the kernel is signed in to it."""
    with Simulator() as simulator:
        lead_to(simulator, kernel_environ)
        yield simulator


def wait_for_sources(notebook: NotebookPage, *sources: str) -> None:
    """Wait until the open document has these cells."""
    notebook.page.wait_for_function(
        """sources => JSON.stringify(window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells.map(
             cell => cell.getSource())) === JSON.stringify(sources)""",
        arg=list(sources),
        timeout=PATIENCE_MS,
    )


def test_each_act_happens_once_and_both_see_it(
    open_notebook: Callable[..., NotebookPage], sim: Simulator, server: JupyterServer, chromium: Browser
) -> None:
    model = Script(sim, "insert_cells", "edit_cell", "run_cell", "insert_cells")
    asking = f"{ASK}Count."
    here = open_notebook([LOAD, asking, "theirs = 1"])
    with fresh_profile(chromium, "light", (1280, 900)) as profile:
        there = NotebookPage(profile.new_page(), server, here.file)
        there.open()
        here.run(0)
        here.start(1)
        told = model.call(cells=[{"kind": "code", "source": COUNT}], run=True)
        [made] = inserted_ids(told)
        assert "run number 1" in told
        wait_for_sources(there, LOAD, asking, COUNT, "theirs = 1")
        expect(there.output(2)).to_contain_text("run number 1")
        edited = COUNT.replace("number", "time")
        assert "Edited" in model.call(cell_id=made, source=edited)
        assert "run time 2" in model.call(cell_id=made)
        wait_for_sources(there, LOAD, asking, edited, "theirs = 1")
        expect(there.output(2)).to_contain_text("run time 2")
        theirs = cells_of(there)[3]["id"]
        there.page.evaluate(EDIT_BY_HAND, [theirs, "theirs = 2"])
        model.call(cells=[{"kind": "markdown", "source": "# Counted"}])
        here.wait_until_run(1)
        wait_for_sources(here, LOAD, asking, edited, "# Counted", "theirs = 2")
        assert sources_of(there) == sources_of(here)
        assert [len(cell["outputs"]) for cell in cells_of(there)] == [
            len(cell["outputs"]) for cell in cells_of(here)
        ]
        assert undo(here, 1) == "Undone: 2 inserted cells, 1 changed cell."
        wait_for_sources(there, LOAD, asking, "theirs = 2")


@pytest.mark.parametrize("leaving", ["reloads", "closes"])
def test_the_answer_is_there_once_when_the_one_who_asked_leaves_meanwhile(
    leaving: str,
    open_notebook: Callable[..., NotebookPage],
    sim: Simulator,
    server: JupyterServer,
    chromium: Browser,
) -> None:
    sim.add_replies(Reply(stream=(Say("Begun before it, ended after it.", gate="end"), End())))
    here = open_notebook([LOAD, "%%codex --no-context\nDo it."])
    with fresh_profile(chromium, "light", (1280, 900)) as profile:
        there = NotebookPage(profile.new_page(), server, here.file)
        there.open()
        here.run(0)
        here.start(1)
        here.wait_for_text(1, "Begun")
        if leaving == "reloads":
            here.reload()
            here.wait_for_text(1, "Begun")
        else:
            here.page.close()
        sim.release("end")
        pages = [there] if here.page.is_closed() else [here, there]
        for page in pages:
            page.output(1).locator(".codex-answer").get_by_text("ended after it").wait_for()
        there.page.wait_for_timeout(BOTH_HAVE_REPLACED_IT_MS)
        assert [len(cells_of(page)[1]["outputs"]) for page in pages] == [1] * len(pages)
