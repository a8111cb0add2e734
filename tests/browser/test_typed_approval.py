"""Approval by typing: the prompt contains the code, and is not shown where the output is captured."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from codex_nb.simulator import Call, End, Reply, Say, Simulator
from tests.browser.asking import LOAD, lead_to
from tests.browser.jupyter_server import FrontEnd
from tests.browser.notebook_page import NotebookPage
from tests.sent import outputs_of

CODE = "total = 6 * 7\ntext = 'ok\u200b'\nprint('total', total)"
CALLS = tuple(
    Reply(stream=stream)
    for call_id in ("shown", "captured")
    for stream in ((Call("run_python", {"code": CODE}, call_id=call_id), End()), (Say("Done."), End()))
)
INSIDE = """
import ipywidgets
out = ipywidgets.Output()
with out:
    get_ipython().run_cell_magic("codex", "--fresh --no-context", "Again.")
out
"""


@pytest.fixture
def sim(kernel_environ: dict[str, str]) -> Iterator[Simulator]:
    """Run a simulator with its usual behaviour; the kernel is signed in to it."""
    with Simulator() as simulator:
        lead_to(simulator, kernel_environ)
        yield simulator


@pytest.mark.parametrize("front_end", [FrontEnd.LAB, FrontEnd.NOTEBOOK])
def test_the_typed_approval_prompt_contains_the_code(
    open_notebook: Callable[..., NotebookPage], sim: Simulator, front_end: FrontEnd
) -> None:
    sim.add_replies(*CALLS)
    text = "%config CodexMagics.display = 'text'"
    notebook = open_notebook([f"{LOAD}\n{text}", "%%codex --fresh --no-context\nDo it.", INSIDE])
    notebook.run(0)
    notebook.start(1)
    prompt = notebook.output(1).locator(".jp-Stdin-prompt")
    prompt.wait_for()
    notebook.screenshot(f"typed-approval-{front_end.name.lower()}")
    asked = prompt.inner_text()
    assert all(f"    {line}" in asked for line in CODE.replace("\u200b", "⟦U+200B⟧").splitlines())
    assert "total 42" not in notebook.output(1).inner_text()
    notebook.output(1).locator(".jp-Stdin-input").fill("y")
    notebook.output(1).locator(".jp-Stdin-input").press("Enter")
    notebook.wait_until_run(1)
    notebook.wait_for_text(1, "total 42")
    notebook.start(2)
    notebook.wait_until_run(2)
    assert "captured" in outputs_of(sim.requests.to("/responses", "POST")[-1])["captured"]
    assert notebook.output(2).locator(".jp-Stdin-input").count() == 0
