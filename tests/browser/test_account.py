"""Account status: its buttons work while no cell runs, and are not saved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from codex_nb.simulator import ADA, GRACE, Simulator
from tests.browser.asking import LOAD, lead_to
from tests.browser.jupyter_server import FrontEnd
from tests.browser.notebook_page import NotebookPage
from tests.patience import PATIENCE_S

BY_MAGIC, BY_NAME = "%codex status", "import codex_nb\ncodex_nb.status()"


@pytest.fixture
def sim(kernel_environ: dict[str, str]) -> Iterator[Simulator]:
    """Run a simulator; Ada is signed in, and Grace in the profile "work"."""
    with Simulator() as simulator:
        home = lead_to(simulator, kernel_environ)
        work = home / "profiles" / "work"
        work.mkdir(parents=True)
        simulator.write_home(work, GRACE)
        yield simulator


def touch(notebook: NotebookPage, name: str) -> None:
    """Touch a button of the account in the cell below the loading one."""
    notebook.output(1).get_by_role("button", name=name, exact=True).click()


@pytest.mark.parametrize(
    ("front_end", "cell"),
    [
        (FrontEnd.LAB, BY_MAGIC),
        (FrontEnd.LAB, BY_NAME),  # the same view: once is enough
        (FrontEnd.NOTEBOOK, BY_MAGIC),
    ],
)
def test_the_account_buttons_refresh_switch_sign_out_and_sign_in(
    open_notebook: Callable[..., NotebookPage], sim: Simulator, kernel_environ: dict[str, str], cell: str
) -> None:
    login = Path(kernel_environ["CODEX_HOME"]) / "auth.json"
    notebook = open_notebook([LOAD, cell, "%%codex\nWho are you?"])
    notebook.run(0)
    notebook.run(1)
    notebook.wait_for_text(1, ADA.email)
    asked = sim.requests.count("/wham/usage")
    touch(notebook, "Refresh")
    assert sim.requests.wait(lambda log: log.count("/wham/usage") > asked, PATIENCE_S)
    for account in (GRACE, ADA, GRACE, ADA):  # quicker than the page looks for what was shown before
        touch(notebook, "Switch profile")
        notebook.wait_for_text(1, account.email)
        notebook.screenshot("account-of-the-other-profile" if account is GRACE else "account-of-ones-own")
    touch(notebook, "Sign out")
    touch(notebook, "Sign out")  # of the question
    notebook.wait_for_text(1, "Not signed in")
    assert not login.exists()
    touch(notebook, "Sign in")
    assert sim.requests.wait(lambda log: log.count("/deviceauth/usercode") > 0, PATIENCE_S)
    (code,) = sim.waiting_device_codes()
    notebook.wait_for_text(1, code)
    notebook.screenshot("account-signing-in")
    sim.approve_device_code(code)
    notebook.wait_for_text(1, ADA.email)
    notebook.output(1).get_by_role("button", name="Sign out", exact=True).wait_for()
    notebook.screenshot("account-signed-in")
    assert login.exists()
    notebook.run(2)
    notebook.wait_for_text(2, "comes from the codex_nb simulator")
    saved = notebook.save()
    (output,) = saved.cells[1].outputs
    assert sorted(output.data) == ["text/html", "text/markdown", "text/plain"]
    assert "<button" not in output.data["text/html"]
    assert (ADA.email in str(saved.cells), "a…@example.com" in output.data["text/html"]) == (False, True)
    assert notebook.script_errors == []


def test_a_cancelled_sign_in_shows_the_account_again(
    open_notebook: Callable[..., NotebookPage], sim: Simulator, kernel_environ: dict[str, str]
) -> None:
    login = Path(kernel_environ["CODEX_HOME"]) / "auth.json"
    before = login.read_bytes()
    notebook = open_notebook([LOAD, "%codex status"])
    notebook.run(0)
    notebook.run(1)
    touch(notebook, "Sign in")
    assert sim.requests.wait(lambda log: log.count("/deviceauth/usercode") > 0, PATIENCE_S)
    touch(notebook, "Cancel")
    notebook.wait_for_text(1, ADA.email)
    notebook.output(1).get_by_role("button", name="Sign out", exact=True).wait_for()
    assert login.read_bytes() == before


@pytest.mark.parametrize("front_end", [FrontEnd.LAB, FrontEnd.NOTEBOOK])
def test_signing_out_asks_for_confirmation_also_by_keyboard(
    open_notebook: Callable[..., NotebookPage], sim: Simulator, kernel_environ: dict[str, str]
) -> None:
    login = Path(kernel_environ["CODEX_HOME"]) / "auth.json"
    before = login.read_bytes()
    notebook = open_notebook([LOAD, "%codex status"])
    notebook.run(0)
    notebook.run(1)
    question = notebook.output(1).get_by_role("group", name=f"Sign out of {ADA.email}")
    sign_out = notebook.output(1).get_by_role("button", name="Sign out", exact=True)
    sign_out.focus()
    notebook.page.keyboard.press("Enter")
    question.wait_for()
    notebook.screenshot("account-signing-out")
    assert notebook.accessibility_violations(".codex-account") == []
    assert focused(notebook) == "Cancel"
    notebook.page.keyboard.press("Enter")
    question.wait_for(state="detached")
    assert focused(notebook) == "Sign out"
    notebook.page.keyboard.press("Enter")
    question.wait_for()
    notebook.page.keyboard.press("Escape")
    question.wait_for(state="detached")
    assert (focused(notebook), login.read_bytes()) == ("Sign out", before)
    assert sim.requests.count("/oauth/revoke") == 0
    notebook.page.keyboard.press("Enter")
    question.wait_for()
    notebook.page.keyboard.press("Shift+Tab")
    assert focused(notebook) == "Sign out"
    notebook.page.keyboard.press("Enter")
    notebook.wait_for_text(1, "Not signed in")
    assert not login.exists()
    assert sim.requests.wait(lambda log: log.count("/oauth/revoke") == 1, 30)


def test_a_login_that_changed_before_the_confirmation_is_not_removed(
    open_notebook: Callable[..., NotebookPage], sim: Simulator, kernel_environ: dict[str, str]
) -> None:
    home = Path(kernel_environ["CODEX_HOME"])
    notebook = open_notebook([LOAD, "%codex status"])
    notebook.run(0)
    notebook.run(1)
    touch(notebook, "Sign out")
    notebook.output(1).get_by_role("group", name=f"Sign out of {ADA.email}").wait_for()
    sim.write_login(home, GRACE)
    touch(notebook, "Sign out")
    notebook.wait_for_text(1, "g…@example.org")
    assert (home / "auth.json").exists()
    assert sim.requests.count("/oauth/revoke") == 0


def focused(notebook: NotebookPage) -> str:
    """Return the text of what has the focus."""
    return str(notebook.page.evaluate("() => document.activeElement.textContent"))
