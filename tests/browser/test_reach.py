"""What waits for the person stays within reach: the status and Stop, an approval, the code that it is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
from playwright.sync_api import expect

from codex_nb.simulator import Call, End, Reply, Say, Simulator
from tests.browser.asking import LOAD, lead_to
from tests.browser.jupyter_server import FrontEnd
from tests.browser.notebook_page import NotebookPage, show_on
from tests.browser.test_transcript_turn import ROOT, SETUP, asking

LINES = 120
LONG = "\n".join(f"value_{number} = {number}  # a line" for number in range(1, LINES + 1))
SCENES = f"""\
from tests.browser.transcript_scenes import a_text_and_a_call
LONG = {LONG!r}"""


@pytest.fixture
def kernel_environ(kernel_environ: dict[str, str]) -> dict[str, str]:
    """Let the kernel import the scenes."""
    return kernel_environ | {"PYTHONPATH": str(ROOT)}


def is_on_screen(notebook: NotebookPage, selector: str) -> bool:
    """Whether a part of the page is within the window, as a whole."""
    script = """selector => {
      const box = document.querySelector(selector)?.getBoundingClientRect();
      return Boolean(box) && box.height > 0 && box.top >= 0 && box.bottom <= window.innerHeight;
    }"""
    return bool(notebook.page.evaluate(script, selector))


SCREENS: list[tuple[tuple[int, int], Literal["dark", "light"]]] = [
    ((1280, 900), "dark"),
    ((1280, 900), "light"),
    ((480, 700), "dark"),
    ((480, 700), "light"),
]


def test_status_and_stop_stay_in_view_and_an_approval_out_of_sight_is_announced(
    open_notebook: Callable[..., NotebookPage], front_end: FrontEnd
) -> None:
    prompt = "%%codex\nimport this and not that for me"
    cells = [f"{SETUP}\n{SCENES}", "stage.play(a_text_and_a_call(LONG, paragraphs=60))", prompt]
    notebook = open_notebook(cells)
    notebook.run(0)
    title = notebook.page.title()
    notebook.start(1)
    for number, screen in enumerate(
        SCREENS, 1
    ):  # the answer grows beyond the window, and the person stays above
        show_on(notebook.page, *screen)
        notebook.wait_for_text(1, f"Paragraph {10 * number} ")
        assert is_on_screen(notebook, ".codex-bar .codex-stop"), screen
    asking(notebook)
    badge = notebook.page.locator(".codex-badge")
    for (width, height), scheme in SCREENS:
        show_on(notebook.page, (width, height), scheme)
        notebook.cell(0).evaluate("cell => cell.scrollIntoView()")
        badge.wait_for()
        named = f"{front_end}-{width}-{scheme}"
        assert not is_on_screen(notebook, ".codex-approve"), named
        assert is_on_screen(notebook, ".codex-badge"), named
        expect(notebook.page).to_have_title(f"● Approve? · {title}")
        assert notebook.page.locator(".jp-Cell.codex-asks").count() == 1
        notebook.screenshot(f"approval-out-of-sight-{named}")
        if width == min(SCREENS)[0][0]:
            assert notebook.accessibility_violations(".codex-badge") == []
        badge.focus()
        notebook.page.keyboard.press("Enter")
        badge.wait_for(state="detached")
        assert is_on_screen(notebook, ".codex-approve"), named
        assert is_on_screen(notebook, ".codex-bar .codex-stop"), named
        assert notebook.page.evaluate("document.activeElement.textContent") == "Approve"
    notebook.page.keyboard.press("Enter")
    notebook.wait_until_run(1)
    assert notebook.page.title() == title
    assert notebook.page.locator(".jp-Cell.codex-asks").count() == 0
    # A prompt is not coloured as Python, which it becomes again once it is code.
    coloured = notebook.cell(2).locator(".cm-line span")
    expect(coloured).to_have_count(0)
    notebook.write(2, "import this")
    expect(coloured).not_to_have_count(0)
    notebook.write(2, prompt)
    expect(coloured).to_have_count(0)


@pytest.mark.parametrize("color_scheme", ["dark"])
def test_a_long_code_is_in_a_box_and_edited_as_in_an_editor_by_keyboard_only(
    open_notebook: Callable[..., NotebookPage], front_end: FrontEnd
) -> None:
    notebook = open_notebook([f"{SETUP}\n{SCENES}", "stage.play(a_call(LONG))", "stage.decisions[-1].code"])
    notebook.run(0)
    notebook.start(1)
    asking(notebook)
    # The person is at the end of the answer: the approval is scrolled to, below a box of limited height.
    expect(notebook.page.locator(".codex-approve")).to_be_in_viewport()
    assert notebook.page.locator(".codex-badge").count() == 0
    box = notebook.output(1).locator(".codex-call-code pre")
    height = box.evaluate("node => node.clientHeight")
    more = notebook.output(1).get_by_role("button", name=f"Show all {LINES} lines")
    assert (height < 500, more.get_attribute("aria-expanded")) == (True, "false")
    notebook.screenshot(f"approval-long-code-{front_end}")
    more.click()
    assert box.evaluate("node => node.clientHeight") > 4 * height
    notebook.output(1).get_by_role("button", name="Show fewer lines").click()
    notebook.output(1).get_by_role("button", name="Edit").focus()
    keys = notebook.page.keyboard
    keys.press("Enter")
    editor = notebook.page.get_by_label("Code the model wants to run")
    state = "node => [node.selectionStart, node.closest('.codex-editing').scrollTop, document.activeElement === node]"
    assert editor.evaluate(state) == [0, 0, True]
    keys.press("ControlOrMeta+a")
    keys.type("if True:")
    keys.press("Enter")
    keys.type("x = 'one'")
    keys.press("Enter")
    keys.press("Tab")
    keys.type("y")
    keys.press("Shift+Tab")
    keys.press("Shift+Tab")
    assert editor.input_value() == "if True:\n    x = 'one'\ny"
    keys.press("ControlOrMeta+z")
    assert editor.input_value() == "if True:\n    x = 'one'\n    y"
    keys.press("End")
    keys.type(" = 2  # two")
    coloured = notebook.page.locator(".codex-editing pre span").evaluate_all(
        "nodes => nodes.map(node => [node.className, node.textContent])"
    )
    assert coloured == [["k", "if"], ["k", "True"], ["s1", "'one'"], ["mi", "2"], ["c1", "# two"]]
    assert notebook.accessibility_violations(".codex-live") == []
    notebook.screenshot(f"approval-editing-{front_end}")
    keys.press("Escape")
    assert not editor.evaluate("node => document.activeElement === node")
    keys.press("Tab")
    assert notebook.page.evaluate("document.activeElement.textContent") == "Run edited code"
    editor.focus()
    keys.press("Control+Enter")
    notebook.wait_until_run(1)
    notebook.run(2)
    assert repr("if True:\n    x = 'one'\n    y = 2  # two") in notebook.output(2).inner_text()
    notebook.wait_for_text(1, "Python (done, edited by you)")


OVERLAPPING = """() => [...document.querySelectorAll(".jp-Completer-item")].filter((item) => {
  const [name, about] = [".jp-Completer-match", ".jp-Completer-typeExtended"].map(
    (part) => item.querySelector(part).getBoundingClientRect());
  return about.height > 1.5 * name.height || about.left < name.right || about.right > window.innerWidth;
}).map((item) => item.textContent)"""
GAP = """cell => {
  const error = cell.querySelector("[data-mime-type$=stderr]").getBoundingClientRect();
  return cell.querySelectorAll(".codex-call")[1].getBoundingClientRect().top - error.bottom;
}"""


@pytest.mark.parametrize("viewport", [(900, 900)])
def test_completions_are_lines_of_their_own_and_a_call_keeps_away_from_a_traceback(
    open_notebook: Callable[..., NotebookPage],
    kernel_environ: dict[str, str],
    front_end: FrontEnd,
) -> None:
    fails = Call("run_python", {"code": "int('x')"}, call_id="fails")
    inserts = Call("insert_cells", {"cells": [{"kind": "code", "source": "x = 1\n\n"}]}, call_id="inserts")
    with Simulator() as sim:
        lead_to(sim, kernel_environ)
        sim.add_replies(*(Reply(stream=(part, End())) for part in (fails, inserts, Say("Done."))))
        notebook = open_notebook([LOAD, "%%codex --approval all\nDo it.", "%%codex -"])
        notebook.run(0)
        notebook.start(1)
        notebook.wait_until_run(1)
        notebook.wait_for_text(1, "Insert cells (done)")
        assert notebook.output(1).evaluate(GAP) > 5
        assert notebook.save().cells[2].source == "x = 1"
        notebook.page.locator(".jp-Cell .cm-content", has_text="%%codex -").last.click()
        notebook.page.keyboard.press("End")
        notebook.page.keyboard.press("Tab")
        expect(notebook.page.locator(".jp-Completer-item").first).to_be_visible()
        notebook.screenshot(f"completion-{front_end}")
        assert notebook.page.evaluate(OVERLAPPING) == []
