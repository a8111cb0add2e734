"""A whole turn: live, approved by a button, saved as plain bundles."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.jupyter_server import FrontEnd
from tests.browser.notebook_page import NotebookPage

ROOT = Path(__file__).parents[2]
SETUP = "from tests.browser.transcript_scenes import *\nbefore = open_widgets()\nstage = Stage()"
LEFT = "open_widgets() - before, [d for d in stage.decisions]"
PLAIN = ["text/html", "text/markdown", "text/plain"]
# In Notebook 7 a question that is really asked is stopped and continued: test_stopping, test_asking_again.
only_lab = pytest.mark.parametrize("front_end", [FrontEnd.LAB])


@pytest.fixture
def kernel_environ(kernel_environ: dict[str, str]) -> dict[str, str]:
    return kernel_environ | {"PYTHONPATH": str(ROOT)}


def asking(notebook: NotebookPage) -> None:
    notebook.output(1).get_by_role("button", name="Approve", exact=True).wait_for()


def press(notebook: NotebookPage, name: str) -> None:
    notebook.output(1).get_by_role("button", name=name, exact=True).click()


def press_slowly(notebook: NotebookPage, name: str, *, until: str) -> None:
    """Hold a button down until the answer shows a text; the answer moves the button meanwhile."""
    button, mouse = notebook.output(1).get_by_role("button", name=name, exact=True), notebook.page.mouse
    for _ in range(50):  # the button may have moved before the pointer is there
        box = button.bounding_box()
        assert box is not None
        mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        mouse.down()
        if button.evaluate("node => node.matches(':active')"):
            break
        mouse.up()
    notebook.wait_for_text(1, until)
    mouse.up()


def test_a_turn_is_approved_by_a_click_and_saved_as_plain_bundles(
    open_notebook: Callable[..., NotebookPage], front_end: FrontEnd
) -> None:
    notebook = open_notebook([SETUP, "stage.play(a_look_at_penguins())", LEFT])
    notebook.run(0)
    notebook.start(1)
    asking(notebook)
    assert notebook.accessibility_violations(".codex-live") == []
    notebook.screenshot(f"transcript-asking-{front_end}")
    press(notebook, "Approve")
    notebook.wait_until_run(1)
    notebook.page.locator(".codex-fresh").last.wait_for()
    assert notebook.accessibility_violations(".codex-answer") == []
    notebook.screenshot(f"transcript-finished-{front_end}")
    notebook.run(2)
    notebook.wait_for_text(2, "(0, [Decision(kind=<DecisionKind.APPROVE")
    saved = notebook.save()
    kinds = [sorted(output.get("data", {"stream": 1})) for output in saved.cells[1].outputs]
    assert kinds == [PLAIN, ["stream"], ["image/png", "text/plain"], PLAIN]
    notebook.reopen_without_kernel()
    notebook.wait_for_text(1, "mean body mass follows")
    notebook.screenshot(f"transcript-reopened-{front_end}")
    assert (notebook.script_errors, notebook.console_errors) == ([], [])


@pytest.mark.parametrize(("color_scheme", "viewport"), [("light", (860, 1000))])
def test_a_plan_is_one_checklist_above_the_outputs_of_its_steps(
    open_notebook: Callable[..., NotebookPage],
) -> None:
    notebook = open_notebook([SETUP, "stage.play(a_plan())"])
    notebook.run(0)
    notebook.start(1)
    asking(notebook)
    steps = notebook.output(1).get_by_role("region", name="Plan").get_by_role("listitem")
    first = ["→Look at the frame (in progress)", "○Leave out what is not complete (to do)"]
    assert steps.all_text_contents()[:2] == first
    assert steps.nth(0).get_attribute("aria-current") == "step"
    assert notebook.accessibility_violations(".codex-live") == []
    notebook.screenshot("plan-running-light", of=notebook.cell(1))
    press(notebook, "Approve")
    asking(notebook)
    notebook.wait_for_text(1, "Eight rows are not complete")
    assert notebook.output(1).locator(".codex-plan").count() == 1
    done = ["✓ Look at the frame (done)", "✓ Leave out what is not complete (done)"]
    assert notebook.output(1).locator(".codex-plan li").all_text_contents()[:2] == done
    tools = notebook.output(1).locator(".codex-answer:has(.codex-plan) .codex-code-tools")
    tools.wait_for(state="attached")
    notebook.screenshot("plan-going-on-light", of=notebook.cell(1))
    press(notebook, "Approve")
    notebook.wait_until_run(1)
    notebook.wait_for_text(1, "That was it.")
    tools.wait_for(state="attached")
    notebook.output(1).locator(".codex-footer").filter(has_text=re.compile(r"\d s$")).wait_for()
    saved = notebook.save()
    plans = [output for output in saved.cells[1].outputs if "codex-plan" in str(output)]
    assert [output.data["text/plain"].count("[x]") for output in plans] == [4]
    assert notebook.accessibility_violations(".codex-answer") == []
    assert (notebook.script_errors, notebook.console_errors) == ([], [])


def test_a_rejection_has_a_comment_by_keyboard_only(open_notebook: Callable[..., NotebookPage]) -> None:
    notebook = open_notebook([SETUP, "stage.play(a_call('print(1)'))", LEFT])
    notebook.run(0)
    notebook.start(1)
    asking(notebook)
    notebook.output(1).get_by_role("button", name="Approve", exact=True).focus()
    for name in ("Allow Python for this session", "Always allow this code", "Edit", "Reject"):
        notebook.page.keyboard.press("Tab")
        assert notebook.page.evaluate("document.activeElement.textContent") == name
    notebook.page.keyboard.press("Enter")
    notebook.page.keyboard.insert_text("use polars, dd")
    notebook.screenshot("transcript-rejecting")
    notebook.page.keyboard.press("Enter")
    notebook.wait_until_run(1)
    notebook.run(2)
    notebook.wait_for_text(2, "message='use polars, dd'")
    notebook.wait_for_text(1, "Python (rejected)")
    told = notebook.output(1).locator(".codex-call .highlight + pre")
    assert told.evaluate("node => getComputedStyle(node).wordBreak") == "normal"


@only_lab
def test_a_press_is_heard_and_an_edit_stays_while_another_view_is_opened(
    open_notebook: Callable[..., NotebookPage],
) -> None:
    notebook = open_notebook([SETUP, "stage.play(a_call('print(1)'))", LEFT])
    notebook.run(0)
    notebook.start(1)
    asking(notebook)
    press(notebook, "Edit")
    notebook.output(1).locator("textarea.codex-editor").fill("print(4711)")
    notebook.output(1).locator(".codex-approve").hover()
    notebook.page.mouse.down()
    notebook.command("notebook:create-output-view")
    expect(notebook.page.locator(".codex-live .codex-approve")).to_have_count(2)
    notebook.page.mouse.up()
    notebook.cell(2).locator(".jp-InputPrompt").first.click()  # the new view is the front end's current one
    notebook.wait_until_run(1)
    notebook.run(2)
    notebook.wait_for_text(2, "code='print(4711)'")
    assert notebook.script_errors == []


@only_lab
def test_stop_keeps_the_partial_answer_and_offers_to_continue(
    open_notebook: Callable[..., NotebookPage],
) -> None:
    setup = SETUP.replace("Stage()", "Stage(offers_more=True)")
    notebook = open_notebook(
        [setup, "stage.play(a_long_answer())", "open_widgets() - before", "stage.commands"]
    )
    notebook.run(0)
    notebook.start(1)
    notebook.wait_for_text(1, "Paragraph 3")
    press_slowly(notebook, "Stop", until="Paragraph 8")
    notebook.wait_until_run(1)
    notebook.wait_for_text(1, "Stopped. The partial answer is kept.")
    notebook.wait_for_text(1, "Paragraph 3")
    notebook.output(1).get_by_role("button", name="Continue").wait_for()
    notebook.screenshot("transcript-stopped")
    press(notebook, "Continue")
    notebook.run(2)
    notebook.wait_for_text(2, "0")
    notebook.run(3)
    notebook.wait_for_text(3, "[<TurnAction.STOP: 'stop'>, <TurnAction.CONTINUE: 'continue'>]")


def test_a_page_reloaded_during_a_turn_shows_the_answer_again(
    open_notebook: Callable[..., NotebookPage],
) -> None:
    notebook = open_notebook([SETUP, "stage.play(a_long_answer())", "open_widgets() - before"])
    notebook.run(0)
    notebook.save()
    notebook.start(1)
    notebook.wait_for_text(1, "Paragraph 5")
    notebook.save()
    notebook.reload()
    notebook.wait_for_text(1, "Paragraph 1 ")
    notebook.wait_for_text(1, "Paragraph 60 ")
    press(notebook, "Stop")
    notebook.wait_for_text(1, "Stopped. The partial answer is kept.")
    notebook.wait_for_kernel("idle")
    notebook.run(2)
    notebook.wait_for_text(2, "0")
    saved = notebook.save()
    assert [sorted(output["data"]) for output in saved.cells[1].outputs] == [PLAIN]


def test_a_code_block_is_copied_and_inserted_below(open_notebook: Callable[..., NotebookPage]) -> None:
    notebook = open_notebook([SETUP, "stage.play(a_look_at_penguins())", "'the next cell'"])
    notebook.run(0)
    notebook.start(1)
    asking(notebook)
    press(notebook, "Approve")
    notebook.wait_until_run(1)
    block = notebook.output(1).locator(".codex-fresh .highlight").last
    block.hover()
    block.get_by_role("button", name="Copy").click()
    block.get_by_text("Copied").wait_for()
    notebook.screenshot("transcript-code-tools")
    code = 'penguins.groupby("species")["body_mass_g"].agg(["count", "mean"]).round(0)'
    expected = f"# mean body mass of each species\n{code}"
    assert notebook.page.evaluate("navigator.clipboard.readText()") == expected
    block.get_by_role("button", name="Insert below").click()
    notebook.page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.content.widgets.length === 4"
    )
    assert notebook.source(2) == expected
    assert notebook.source(3) == "'the next cell'"


def test_a_hidden_tab_receives_nothing_until_it_is_visible(
    open_notebook: Callable[..., NotebookPage],
) -> None:
    notebook = open_notebook([SETUP, "stage.play(a_long_answer(100))"])
    notebook.run(0)
    notebook.start(1)
    notebook.wait_for_text(1, "Paragraph 2 ")
    live = notebook.page.locator(".codex-live")
    notebook.cell(1).evaluate("node => { node.style.display = 'none'; }")
    notebook.page.wait_for_timeout(500)
    length = live.evaluate("node => node.textContent.length")
    notebook.page.wait_for_timeout(1000)
    assert live.evaluate("node => node.textContent.length") - length < 100
    notebook.cell(1).evaluate("node => { node.style.display = ''; }")
    notebook.page.wait_for_function(
        "length => document.querySelector('.codex-live').textContent.length > length + 200", arg=length
    )


WATCHED = """() => {
  const closed = document.querySelector('.codex-live .codex-closed');
  window.redrawn = 0;
  new MutationObserver(changes => {
    window.redrawn += changes.filter(change => change.removedNodes.length || change.type !== 'childList').length;
  }).observe(closed, { childList: true, subtree: true, characterData: true });
}"""


def test_completed_blocks_are_not_drawn_again(open_notebook: Callable[..., NotebookPage]) -> None:
    notebook = open_notebook([SETUP, "stage.play(a_long_answer(60))"])
    notebook.run(0)
    notebook.start(1)
    notebook.wait_for_text(1, "Paragraph 2 ")
    notebook.page.evaluate(WATCHED)
    notebook.wait_for_text(1, "Paragraph 20 ")
    assert notebook.page.evaluate("window.redrawn") == 0
    paragraphs = notebook.output(1).locator(".codex-closed p").all_text_contents()
    assert paragraphs[:20] == [f"Paragraph {number} of a long answer." for number in range(20)]
    press(notebook, "Stop")
    notebook.wait_until_run(1)
