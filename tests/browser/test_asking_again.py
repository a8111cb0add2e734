"""Retry, Continue, and background cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from codex_nb.simulator import Call, Catalog, End, Reply, Say, Simulator, error_replies
from tests.browser.asking import LOAD, lead_to
from tests.browser.notebook_page import NotebookPage


@pytest.fixture
def sim(kernel_environ: dict[str, str]) -> Iterator[Simulator]:
    """Run a simulator with its usual behaviour."""
    with Simulator() as simulator:
        lead_to(simulator, kernel_environ)
        yield simulator


def test_retry_asks_again_after_a_failed_answer(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    sim.add_replies(
        error_replies.bad_request("The request is odd."), Reply(stream=(Say("Now it works."), End()))
    )
    notebook = open_notebook([LOAD, "%%codex\nWhat is odd?"])
    notebook.run(0)
    notebook.run(1)
    notebook.wait_for_text(1, "The request is odd.")
    notebook.output(1).get_by_role("button", name="Retry").click()
    notebook.wait_for_text(1, "Now it works.")
    first, second = [request.body["input"][-1]["content"] for request in sim.requests.to("/responses")]
    assert first == second
    saved = str(notebook.save().cells[1].outputs)
    assert "Now it works." in saved
    assert "widget-view" not in saved


def test_retry_asks_again_after_a_failure_before_the_request(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    sim.change(catalog=Catalog([]))
    notebook = open_notebook([LOAD, "%%codex --no-context\nHi."])
    for index in (0, 1):
        notebook.run(index)
    notebook.wait_for_text(1, "lists no models")
    assert sim.requests.count("/responses") == 0
    sim.change(catalog=Catalog())
    notebook.output(1).get_by_role("button", name="Retry").click()
    notebook.wait_for_text(1, "comes from the codex_nb simulator")
    assert sim.requests.count("/responses") == 1


def test_continue_resumes_a_stopped_answer(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    sim.add_replies(
        Reply(stream=(Say("The first half of it all.", gate="never"), End())),
        Reply(stream=(Say("The second half."), End())),
    )
    notebook = open_notebook([LOAD, "%%codex\nTell me everything."])
    notebook.run(0)
    notebook.start(1)
    notebook.wait_for_text(1, "The first")
    notebook.output(1).get_by_role("button", name="Stop").click()
    notebook.wait_until_run(1)
    notebook.output(1).get_by_role("button", name="Continue").click()
    notebook.wait_for_text(1, "The second half.")
    asked = str(sim.requests.to("/responses")[1].body["input"])
    assert "The first" in asked
    assert "Go on exactly where your last answer broke off" in asked


def test_stop_interrupts_running_code(open_notebook: Callable[..., NotebookPage], sim: Simulator) -> None:
    code = (
        "import time\nfor number in range(1000):\n    print(f'<{number}>', flush=True)\n    time.sleep(0.1)"
    )
    sim.add_replies(Reply(stream=(Call("run_python", {"code": code}), End())))
    notebook = open_notebook([LOAD, "%%codex --no-context --approval all\nDo it.", "'the next cell'"])
    notebook.run(0)
    notebook.start(1)
    notebook.wait_for_text(1, "<1>")
    notebook.start(2)
    notebook.output(1).get_by_role("button", name="Stop").click()
    notebook.wait_until_run(1)
    notebook.wait_for_text(1, "Stopped. The partial answer is kept.")
    called, shown, *_, ended = notebook.save().cells[1].outputs
    assert "Python (stopped while running)" in called.data["text/plain"]
    assert ("<1>" in shown.text, "<999>" in shown.text) == (True, False)
    assert ended.data["text/plain"].startswith("[Stopped. The partial answer is kept.]")
    notebook.wait_for_text(2, "the next cell")


def test_keyboard_focus_stays_in_the_cell_after_an_approval(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    sim.add_replies(
        Reply(stream=(Call("run_python", {"code": "print('it', 'ran')"}), End())),
        Reply(stream=(Say("That was it."), End())),
    )
    notebook = open_notebook([LOAD, "%%codex --no-context\nDo it."])
    notebook.run(0)
    notebook.start(1)
    notebook.output(1).get_by_role("button", name="Approve", exact=True).focus()
    notebook.page.keyboard.press("Enter")
    notebook.wait_until_run(1)
    notebook.output(1).locator(".codex-answer").get_by_text("That was it.").wait_for()
    notebook.page.wait_for_function(
        "() => document.activeElement === document.querySelectorAll('.jp-Notebook .jp-Cell')[1]"
    )


def test_background_cells_continue_while_other_cells_run(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    sim.add_replies(
        Reply(stream=(Say("Answer to the first question.", gate="first"), End())),
        Reply(stream=(Say("Answer to the second question.", gate="second"), End())),
    )
    cells = [
        LOAD,
        "%%codex --background -t one\nFirst?",
        "%%codex --background -t two\nSecond?",
        "print(6 * 7)",
    ]
    notebook = open_notebook(cells)
    notebook.run(0)
    notebook.run(1)
    notebook.wait_for_text(1, "Answer to")
    notebook.run(2)
    notebook.wait_for_text(2, "Answer to")
    notebook.run(3)
    notebook.wait_for_text(3, "42")
    sim.release("second")
    notebook.wait_for_text(2, "second question.")
    sim.release("first")
    notebook.wait_for_text(1, "first question.")
    texts = [notebook.output(index).inner_text() for index in (1, 2)]
    assert "second" not in texts[0]
    assert "first" not in texts[1].replace("Before your first question", "")
    for index in (1, 2):
        notebook.output(index).locator(".codex-live").wait_for(state="detached")
    saved = notebook.save()
    assert ["widget-view" in str(saved.cells[index].outputs) for index in (1, 2)] == [False, False]
