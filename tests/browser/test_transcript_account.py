"""The account in a notebook: a plain output with live buttons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser.notebook_page import NotebookPage

ROOT = Path(__file__).parents[2]
SETUP = """
from datetime import timedelta
from codex_nb.ui.account import AccountView
from tests.browser.transcript_scenes import *
from tests.ui.test_account import LIMITS, NOW, REPORT, STATUS
from codex_nb.host.engine import Mailbox
from codex_nb.host.shell_channel import open_pump

said, before = [], open_widgets()
def show():
    view = AccountView(REPORT, on_action=said.append)
    view.show()
    with open_pump(get_ipython(), Mailbox()) as pump:
        while not view.ready: pump.once(0.05)
    view.finish()
    return view
"""


@pytest.fixture
def kernel_environ(kernel_environ: dict[str, str]) -> dict[str, str]:
    return kernel_environ | {"PYTHONPATH": str(ROOT)}


def test_the_account_is_saved_as_plain_output_with_live_buttons(
    open_notebook: Callable[..., NotebookPage],
) -> None:
    notebook = open_notebook(
        [
            SETUP,
            "view = show()",
            "view.update(STATUS)",
            "said",
            "open_widgets() - before",
        ]
    )
    notebook.run(0)
    notebook.run(1)
    refresh = notebook.output(1).get_by_role("button", name="Refresh")
    refresh.wait_for()
    assert notebook.accessibility_violations(".codex-account") == []
    saved = notebook.save()
    (output,) = saved.cells[1].outputs
    assert sorted(output.data) == ["text/html", "text/markdown", "text/plain"]
    assert "button" not in output.data["text/html"]
    refresh.click()
    notebook.run(2)
    notebook.wait_for_text(1, "Limits: not known yet")
    notebook.output(1).get_by_role("button", name="Sign out").click()
    notebook.run(3)
    notebook.wait_for_text(3, "['refresh', 'sign_out']")
    notebook.write(1, "'another cell now'")
    notebook.run(1)
    notebook.page.wait_for_timeout(1500)
    notebook.run(4)
    notebook.wait_for_text(4, "0")
    assert (notebook.script_errors, notebook.console_errors) == ([], [])
