"""Every state of the views, in both front ends, light, dark and narrow."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.browser.conftest import fresh_profile
from tests.browser.gallery_states import PAGE, STATES
from tests.browser.jupyter_server import FrontEnd, JupyterServer
from tests.browser.notebook_page import NotebookPage, show_on

ROOT = Path(__file__).parents[2]
SETUP = "from tests.browser.gallery_states import show, told"
OURS = ":is(.codex-live, .codex-answer, .codex-account)"
HOW = {"light": ("light", 1000), "dark": ("dark", 1000), "narrow": ("light", 400)}
HEIGHT, WHOLE = 1800, 16_000  # of the window, in pixels; in the second everything is on the screen
PRESSED = {"asking-editing": "Edit", "asking-rejecting": "Reject"}
UNFOLDED = ("thinking", "looking", "answered-looking", "answered-wide")
STICKING_OUT = """cell => [...cell.querySelectorAll('.codex-live *, .codex-answer *, .codex-account *')]
  .filter(node => {
    const scrolls = node.parentElement.closest('pre, table, .codex-math') || node.closest('.codex-hidden');
    const box = node.getBoundingClientRect();
    return !scrolls && box.width > 1 && box.right > cell.getBoundingClientRect().right + 1;
  }).map(node => `it sticks out: ${node.outerHTML.slice(0, 120)}`)"""
FOCUSED = "() => document.activeElement.textContent"
CLIPBOARD = "navigator.clipboard.readText()"


class Gallery:
    """The page with every state in a cell of its own."""

    def __init__(self, notebook: NotebookPage) -> None:
        self.notebook = notebook
        self.page = notebook.page

    def cell(self, name: str) -> Locator:
        """Return the cell of a state, on the screen."""
        cell = self.notebook.cell(1 + STATES.index(name))
        cell.scroll_into_view_if_needed()
        return cell

    def state(self, name: str) -> Locator:
        """Return the output of a state, on the screen."""
        return self.cell(name).locator(".jp-Cell-outputArea").first

    def button(self, name: str, label: str) -> Locator:
        """Return a button of a state."""
        return self.state(name).get_by_role("button", name=label, exact=True)

    def told(self, name: str) -> str:
        """Return what the kernel has been told by the widget of a state."""
        last = 1 + len(STATES)
        self.notebook.write(last, f"told[{name!r}]")
        self.notebook.run(last)
        return self.notebook.output(last).inner_text()

    def wear(self, how: str) -> None:
        """Set the system theme to light or dark, and the window wide or narrow."""
        theme, width = HOW[how]
        show_on(self.page, (width, HEIGHT), theme)


@pytest.fixture(scope="module", params=list(FrontEnd))
def front_end(request: pytest.FixtureRequest) -> FrontEnd:
    """Show the gallery in both front ends, one after the other."""
    return FrontEnd(request.param)


@pytest.fixture(scope="module")
def gallery(
    chromium: Browser,
    servers: Callable[[FrontEnd], JupyterServer],
    front_end: FrontEnd,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gallery]:
    """Open a notebook, and show every state in it."""
    server = servers(front_end)
    home = tmp_path_factory.mktemp("codex-home")
    kernel = server.add_kernel({"CODEX_HOME": str(home), "PYTHONPATH": str(ROOT)})
    file = server.add_notebook(
        "gallery.ipynb", [SETUP, *(f"show({name!r})" for name in STATES), "told"], kernel
    )
    with fresh_profile(chromium, "light", (1000, HEIGHT)) as context:
        notebook = NotebookPage(context.new_page(), server, file)
        notebook.open()
        if front_end is FrontEnd.LAB:  # Notebook 7 has no such area
            notebook.command("application:toggle-left-area")
        notebook.command("notebook:run-all-cells")
        notebook.wait_until_run(1 + len(STATES))
        gallery = Gallery(notebook)
        bring_about(gallery)
        yield gallery
    server.stop_kernels()


def bring_about(gallery: Gallery) -> None:
    """Perform the actions that lead to some of the states."""
    for name, label in PRESSED.items():
        gallery.button(name, label).click()
    for name in UNFOLDED:
        folds = f"node => node.querySelectorAll('{OURS} details').forEach(fold => {{ fold.open = true; }})"
        gallery.cell(name).evaluate(folds)


@pytest.mark.parametrize("how", HOW)
def test_every_state_is_readable_in_both_themes_and_all_widths(
    gallery: Gallery, front_end: FrontEnd, how: str
) -> None:
    gallery.wear(how)
    sticking_out = {}
    for name in STATES:
        cell = gallery.cell(name)
        cell.locator(OURS).first.wait_for()
        gallery.page.mouse.move(0, 0)
        shown = cell.locator(".jp-Cell-outputWrapper")
        gallery.notebook.screenshot(f"gallery/{name}-{front_end}-{how}", of=shown)
        if found := cell.evaluate(STICKING_OUT):
            sticking_out[name] = found
    gallery.page.set_viewport_size({"width": HOW[how][1], "height": WHOLE})
    assert gallery.notebook.accessibility_violations(f".jp-Notebook {OURS}") == []
    assert sticking_out == {}


def test_reasoning_is_collapsed_while_it_streams(gallery: Gallery) -> None:
    folded = gallery.state("writing").locator("details.codex-thinking")
    assert folded.get_attribute("open") is None
    thinking = gallery.state("thinking").locator("details.codex-thinking")
    expect(thinking).to_contain_text("The user asks about penguins; the frame comes first")
    assert gallery.state("thinking").locator(".codex-status").inner_text() == "Looking at the data"


def test_tables_code_and_formulas_are_rendered_live_and_afterwards(gallery: Gallery) -> None:
    for name in ("writing", "answered"):
        answer = gallery.state(name)
        assert answer.locator("th").all_inner_texts() == ["species", "n", "body mass (g)"]
        assert answer.locator("td").nth(2).evaluate("node => getComputedStyle(node).textAlign") == "right"
        answer.locator("mjx-container").first.wait_for()
    for name in ("writing-code", "answered"):
        text = gallery.state(name).locator(".highlight .s2", has_text="species")
        ours = text.evaluate("node => getComputedStyle(node).color")
        assert ours != text.evaluate("node => getComputedStyle(node.closest('pre')).color")


def test_streaming_arguments_are_highlighted_code(gallery: Gallery) -> None:
    call = gallery.state("arguments").locator(".codex-call")
    assert call.locator(".codex-call-state").inner_text() == "being written"
    assert call.locator(".highlight .kn").first.inner_text() == "import"
    assert call.locator("pre").inner_text().endswith("penguins")


def test_every_approval_request_shows_everything_that_the_call_does(gallery: Gallery) -> None:
    def words(tool: str, what: str = "code") -> list[str]:
        allow = f"Allow {tool} for this session"
        return ["Approve", allow, f"Always allow this {what}", "Edit", "Reject"]

    expected = {
        "asking-python": words("Python"),
        "asking-cells": words("Insert cells"),
        "asking-own-tool": words("send_mail", "call"),
    }
    said = {"asking-python": "print(f", "asking-cells": "## Penguins", "asking-own-tool": "ada@example.com"}
    for name, part in said.items():
        asking = gallery.state(name)
        assert asking.locator(".codex-approval button").all_inner_texts() == expected[name]
        expect(asking.locator(".codex-call-code")).to_contain_text(part)
    gallery.button("asking-own-tool", "Allow send_mail for this session").click()
    assert "APPROVE_TOOL" in gallery.told("asking-own-tool")
    gallery.button("asking-cells", "Approve").click()
    assert "DecisionKind.APPROVE:" in gallery.told("asking-cells")


def test_finished_calls_show_their_outcome_and_collapse_unless_code_ran(gallery: Gallery) -> None:
    assert gallery.state("answered").locator("details.codex-call[open] .highlight").is_visible()
    assert gallery.state("rejected").locator("details.codex-call[open]").count() == 0
    ends = ("answered-looking", "rejected", "unanswered")
    titles = [gallery.state(name).locator("summary").first.inner_text() for name in ends]
    assert titles == [
        "Inspect variables (done)",
        "Python (rejected)",
        "Python (declined, nobody could approve it)",
    ]


def test_a_retry_shows_its_reason_and_number(gallery: Gallery) -> None:
    status = gallery.state("retrying").locator(".codex-status").inner_text()
    assert status == "The connection broke in the middle of the answer. Trying again in 4 s (attempt 2 of 5)."


def test_the_elapsed_time_advances(gallery: Gallery) -> None:
    clock = gallery.state("waiting").locator(".codex-clock")
    before = clock.inner_text()
    assert re.fullmatch(r"(\d+ min )?\d+ s", before)
    expect(clock).not_to_have_text(before)


def test_a_screen_reader_announces_what_happens(gallery: Gallery) -> None:
    asking = gallery.state("asking-python")
    assert asking.get_by_role("group", name="Codex's answer").get_attribute("aria-busy") == "true"
    spoken = asking.locator("[role=status][aria-live=polite]")
    assert spoken.inner_text() == "Waiting for your approval"
    form = asking.get_by_role("form", name="Codex asks for your approval: Python")
    assert form.get_by_role("button").count() == 5
    code = gallery.state("sign-in-code").get_by_label("Code to enter")
    assert re.fullmatch(r"ABCD-EFGH\d", code.inner_text())


def test_the_focus_moves_through_an_approval_in_order(gallery: Gallery) -> None:
    asking = gallery.state("asking-python")
    asking.locator(".codex-call summary").focus()
    for label in (
        "Approve",
        "Allow Python for this session",
        "Always allow this code",
        "Edit",
        "Reject",
        "Stop",
    ):
        gallery.page.keyboard.press("Tab")
        assert gallery.page.evaluate(FOCUSED) == label
    gallery.button("asking-python", "Always allow this code").focus()
    gallery.page.keyboard.press("Enter")
    assert gallery.page.evaluate(FOCUSED).startswith("Python")
    assert "APPROVE_CODE" in gallery.told("asking-python")


def test_buttons_receive_the_keys_that_jupyter_has_shortcuts_for(gallery: Gallery) -> None:
    gallery.page.keyboard.press("Escape")
    gallery.button("waiting", "Stop").press("Enter")
    assert "TurnAction.STOP" in gallery.told("waiting")
    gallery.page.keyboard.press("Escape")
    block = gallery.state("stopped").locator(".highlight")
    copy = block.get_by_role("button", name="Copy")
    assert copy.get_attribute("aria-live") == "polite"
    copy.press("Enter")
    block.get_by_text("Copied").wait_for()
    assert gallery.page.evaluate(CLIPBOARD) == "penguins.mean()"
    fold = gallery.state("rejected").locator("summary").first
    fold.press("Space")
    expect(gallery.state("rejected").locator("details").first).to_have_attribute("open", "")
    gallery.button("stopped", "Continue").press("Enter")
    assert "TurnAction.CONTINUE" in gallery.told("stopped")
    assert gallery.notebook.cells().count() == len(STATES) + 2


def test_the_footer_shows_model_usage_and_billing(gallery: Gallery) -> None:
    def footer(name: str) -> str:
        text = gallery.state(name).locator(".codex-footer").last.inner_text()
        return re.sub(r"\d+ s$", "… s", text)

    used = "11,482 tokens in (9,216 cached), 640 out (192 reasoning)"
    assert [footer(name) for name in ("answered", "failed", "stored")] == [
        f"gpt-5.2-codex, medium effort · {used} · ChatGPT Plus · … s",
        f"gpt-5.2-codex, high effort · {used} · API key, billed per token · … s",
        "gpt-5.2-codex, medium effort · ChatGPT Plus · … s",
    ]


def test_an_answer_that_ended_early_says_why_and_offers_actions(gallery: Gallery) -> None:
    offers = {"failed": ["Retry"], "incomplete": ["Continue", "Retry"]}
    for name, labels in offers.items():
        assert gallery.state(name).locator(".codex-offers button").all_inner_texts() == labels
    gallery.button("failed", "Retry").click()
    assert "TurnAction.RETRY" in gallery.told("failed")


def test_the_account_shows_limits_and_leaves_out_what_is_not_known(gallery: Gallery) -> None:
    used = gallery.state("account").locator(".codex-share-used")
    assert [share.evaluate("node => node.style.width") for share in used.all()] == ["42%", "7%"]
    rows = gallery.state("account-unknown").locator("tbody tr").all_inner_texts()
    assert [row.split("\t") for row in rows] == [
        ["Account", "signed in"],
        ["Credentials stored in", "/home/ada/.codex/auth.json"],
        ["Model", "account default"],
    ]
    expect(gallery.state("account-unknown")).to_contain_text("The service did not answer")
    for label in ("Refresh", "Switch profile", "Sign in", "Sign out"):
        assert gallery.button("account", label).is_visible()
    gallery.button("account", "Switch profile").click()
    assert "switch_profile" in gallery.told("account")


def test_a_device_code_is_copied_opened_counted_down_and_renewed(gallery: Gallery) -> None:
    sign_in = gallery.state("sign-in-code")
    code = sign_in.locator(".codex-user-code")
    first = code.inner_text()
    gallery.button("sign-in-code", "Copy code").dblclick()
    sign_in.get_by_text("Copied").first.wait_for()
    gallery.button("sign-in-code", "Copy code").wait_for()  # its label has come back
    assert gallery.page.evaluate(CLIPBOARD) == first
    link = sign_in.get_by_role("link", name="Open the sign-in page")
    assert [link.get_attribute(name) for name in ("href", "target", "rel")] == [
        PAGE,
        "_blank",
        "noopener noreferrer",
    ]
    left = sign_in.locator(".codex-countdown")
    before = left.inner_text()
    assert re.fullmatch(r"Expires in 1\d:\d\d", before)
    expect(left).not_to_have_text(before)
    gallery.button("sign-in-code", "New code").click()
    expect(code).not_to_have_text(first)
    expired = gallery.state("sign-in-code-over").locator(".codex-countdown")
    assert expired.inner_text() == "The code has expired. Request a new one."


def test_another_login_method_is_chosen_and_the_sign_in_is_cancelled(gallery: Gallery) -> None:
    paste = gallery.state("sign-in-paste")
    assert paste.get_by_label("Address shown in your browser after signing in").is_editable()
    assert gallery.state("sign-in-odd-address").get_by_role("link").count() == 0
    sign_in = gallery.state("sign-in-starting")
    gallery.button("sign-in-starting", "Use an API key").click()
    field = sign_in.get_by_label("OpenAI API key")
    expect(field).to_be_focused()
    assert field.get_attribute("type") == "password"
    gallery.button("sign-in-starting", "Sign in with this browser").click()
    sign_in.get_by_role("link", name="Open the sign-in page").wait_for()
    gallery.button("sign-in-starting", "Cancel").click()
    expect(sign_in).to_contain_text("Sign-in cancelled")
    assert sign_in.get_by_role("button").count() == 0


def test_no_script_reported_an_error(gallery: Gallery) -> None:
    assert gallery.notebook.script_errors == []
