"""Sign-in in a cell after the session has expired; the same cell continues."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator

from codex_nb.simulator import GRACE, Call, End, Reply, Say, Simulator
from tests.browser.asking import LOAD, lead_to
from tests.browser.notebook_page import NotebookPage
from tests.leaks import assert_no_leak, find_leaks
from tests.patience import PATIENCE_S


@pytest.fixture
def sim(kernel_environ: dict[str, str]) -> Iterator[Simulator]:
    """Run a simulator whose login in the kernel's home is over."""
    with Simulator() as simulator:
        lead_to(simulator, kernel_environ)
        expire(simulator)
        yield simulator


def expire(sim: Simulator) -> None:
    """Let every login given out so far be over."""
    sim.expire_access_tokens()
    sim.expire_refresh_tokens()


def plain_outputs(notebook: NotebookPage) -> list[str]:
    """Save, and return what each output of the asking cell contains then, as plain text."""
    saved = notebook.save().cells[1].outputs
    assert "widget-view" not in str(saved)
    return [output.data["text/plain"] if "data" in output else output.text for output in saved]


def confirm(sim: Simulator) -> str:
    """Confirm the code that the cell shows, as the user does at the sign-in page; return the code."""
    assert sim.requests.wait(lambda log: log.count("/deviceauth/token") > 0, PATIENCE_S)
    (code,) = sim.waiting_device_codes()
    sim.approve_device_code(code)
    return code


def test_an_expired_session_shows_the_sign_in_and_the_same_cell_answers(
    open_notebook: Callable[..., NotebookPage], sim: Simulator, kernel_environ: dict[str, str], front_end: str
) -> None:
    notebook = open_notebook([LOAD, "%%codex\nWho are you?"])
    notebook.run(0)
    notebook.start(1)
    notebook.output(1).get_by_text("Sign in to Codex", exact=True).wait_for()
    assert sim.requests.wait(lambda log: log.count("/deviceauth/usercode") > 0, PATIENCE_S)
    (code,) = sim.waiting_device_codes()
    notebook.wait_for_text(1, code)
    notebook.screenshot(f"sign-in-code-{front_end}")
    confirm(sim)
    notebook.wait_for_text(1, "comes from the codex_nb simulator")
    notebook.wait_until_run(1)
    notebook.screenshot(f"sign-in-done-{front_end}")
    assert sim.requests.count("/responses") >= 1
    assert plain_outputs(notebook)[0].startswith("[Signed in as a…@example.com")
    assert "auth_mode" in (Path(kernel_environ["CODEX_HOME"]) / "auth.json").read_text()


def test_a_session_that_expires_during_an_answer_continues_after_the_sign_in(
    open_notebook: Callable[..., NotebookPage], sim: Simulator, kernel_environ: dict[str, str], front_end: str
) -> None:
    sim.write_login(Path(kernel_environ["CODEX_HOME"]))
    look = Call("run_python", {"code": "print('it', 'ran')"})
    sim.add_replies(Reply(stream=(Say("I will look."), look, End())))
    notebook = open_notebook([LOAD, "%%codex --no-context\nDo it."])
    notebook.run(0)
    notebook.start(1)
    notebook.output(1).get_by_role("button", name="Approve", exact=True).wait_for()
    expire(sim)
    notebook.output(1).get_by_role("button", name="Approve", exact=True).click()
    notebook.wait_for_text(1, confirm(sim))
    notebook.screenshot(f"sign-in-between-{front_end}")
    notebook.wait_until_run(1)
    told, printed, signed_in, answer = plain_outputs(notebook)
    assert ("I will look." in told, printed) == (True, "it ran\n")
    assert signed_in.startswith("[Signed in as a…@example.com")
    assert "comes from the codex_nb simulator" in answer
    assert notebook.console_errors == []


def test_cancelling_the_sign_in_leaves_one_line_and_the_old_login(
    open_notebook: Callable[..., NotebookPage], sim: Simulator, kernel_environ: dict[str, str]
) -> None:
    before = (Path(kernel_environ["CODEX_HOME"]) / "auth.json").read_bytes()
    notebook = open_notebook([LOAD, "%%codex\nWho are you?"])
    notebook.run(0)
    notebook.start(1)
    notebook.output(1).get_by_role("button", name="Cancel").click()
    notebook.wait_until_run(1)
    notebook.wait_for_text(1, "Sign in again with %codex login.")
    assert (Path(kernel_environ["CODEX_HOME"]) / "auth.json").read_bytes() == before
    assert sim.requests.count("/oauth/revoke") == 0


def test_an_api_key_is_never_in_the_notebook(
    open_notebook: Callable[..., NotebookPage], sim: Simulator, kernel_environ: dict[str, str], front_end: str
) -> None:
    key = sim.new_api_key(GRACE)
    notebook = open_notebook([LOAD, "%codex login api_key"])
    notebook.run(0)
    notebook.start(1)
    field = notebook.output(1).locator("input[type=password]")
    for told in ("platform.openai.com/api-keys", "billed to the API account"):
        notebook.wait_for_text(1, told)
    field.fill("  ")
    field.press("Enter")  # the browser says that it is empty
    assert field.evaluate("node => [node.validity.valueMissing, document.activeElement === node]") == [
        True,
        True,
    ]
    field.fill(key)
    notebook.screenshot(f"sign-in-key-{front_end}")
    field.press("Enter")
    notebook.wait_until_run(1)
    notebook.wait_for_text(1, "Signed in")
    saved = notebook.save()
    assert_no_leak(str(saved), {"the API key": key}, "the saved notebook")
    assert key in (Path(kernel_environ["CODEX_HOME"]) / "auth.json").read_text()
    assert find_leaks("\n".join(notebook.console_errors), {"the API key": key}) == []


def way_by_browser(notebook: NotebookPage) -> Locator:
    """Ask, choose the browser in the widget, and return the link that leads to the sign-in page."""
    notebook.run(0)
    notebook.start(1)
    notebook.output(1).get_by_role("button", name="Sign in with this browser").click()
    notebook.output(1).get_by_label("Address shown in your browser after signing in").wait_for()
    return notebook.output(1).get_by_role("link", name="Open the sign-in page")


def test_a_browser_on_the_kernels_machine_completes_the_sign_in(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    notebook = open_notebook([LOAD, "%%codex\nWho are you?"])
    link = way_by_browser(notebook)
    with notebook.page.context.expect_page() as opened:
        link.click()
    opened.value.wait_for_load_state()
    opened.value.get_by_role("button", name="Continue").click()
    opened.value.get_by_text("You can close this page").wait_for()
    notebook.wait_for_text(1, "comes from the codex_nb simulator")
    notebook.wait_until_run(1)
    assert plain_outputs(notebook)[0].startswith("[Signed in as a…@example.com")


def test_a_browser_on_another_machine_completes_the_sign_in_with_a_pasted_address(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    notebook = open_notebook([LOAD, "%%codex\nWho are you?"])
    address = sim.answer_authorization(str(way_by_browser(notebook).get_attribute("href")), GRACE)
    field = notebook.output(1).get_by_label("Address shown in your browser after signing in")
    field.fill("https://another.example/?code=1&state=2")
    field.press("Enter")
    notebook.wait_for_text(1, "This address does not belong to this sign-in.")
    field.fill(address)
    field.press("Enter")
    notebook.wait_for_text(1, "comes from the codex_nb simulator")
    notebook.wait_until_run(1)
    assert plain_outputs(notebook)[0].startswith("[Signed in as g…@example.org")
    assert_no_leak(str(notebook.saved()), {"the pasted address": address}, "the saved notebook")
