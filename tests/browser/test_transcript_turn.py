"""A whole turn before a person's eyes: live, approved by a button, and afterwards only a plain bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser.jupyter_server import FrontEnd
from tests.browser.notebook_page import NotebookPage

ROOT = Path(__file__).parents[2]

SETUP = "from tests.browser.transcript_scenes import *"


@pytest.fixture
def kernel_environ(kernel_environ: dict[str, str]) -> dict[str, str]:
    return kernel_environ | {"PYTHONPATH": str(ROOT)}


def test_a_turn_is_approved_by_a_click_and_leaves_plain_bundles(
    open_notebook: Callable[..., NotebookPage], front_end: FrontEnd
) -> None:
    notebook = open_notebook(
        [SETUP, "stage = Stage()\nstage.play(a_look_at_penguins())", "stage.transcript.is_closed"]
    )
    notebook.run(0)
    notebook.start(1)
    notebook.output(1).get_by_role("button", name="Approve", exact=True).wait_for()
    notebook.screenshot(f"transcript-asking-{front_end}")
    notebook.output(1).get_by_role("button", name="Approve", exact=True).click()
    notebook.wait_until_run(1)
    notebook.page.locator(".codex-fresh").last.wait_for()
    notebook.screenshot(f"transcript-finished-{front_end}")
    notebook.run(2)
    saved = notebook.save()
    kinds = [sorted(output.get("data", {"stream": 1})) for output in saved.cells[1].outputs]
    plain = ["text/html", "text/markdown", "text/plain"]
    assert kinds == [plain, ["stream"], ["image/png", "text/plain"], plain]
    notebook.wait_for_text(2, "True")
    assert (notebook.script_errors, notebook.console_errors) == ([], [])
