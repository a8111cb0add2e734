"""The front ends and the test tools."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.beacon import Beacon
from tests.browser.jupyter_server import FrontEnd
from tests.browser.notebook_page import NotebookPage


def test_a_cell_runs_and_its_output_is_saved_and_reopened(
    open_notebook: Callable[..., NotebookPage], front_end: FrontEnd
) -> None:
    notebook = open_notebook(["# %% [markdown]\n# A page", "print('six times seven is', 6 * 7)", "1 + 1"])
    notebook.run(1)
    notebook.wait_for_text(1, "six times seven is 42")
    saved = notebook.save()
    assert saved.cells[1].outputs[0].text == "six times seven is 42\n"
    notebook.reopen_without_kernel()
    notebook.wait_for_text(1, "six times seven is 42")
    assert notebook.screenshot(f"front-end-{front_end}").stat().st_size > 0
    assert (notebook.script_errors, notebook.console_errors) == ([], [])


def test_a_notebook_edited_elsewhere_is_opened_untrusted(open_notebook: Callable[..., NotebookPage]) -> None:
    notebook = open_notebook(["1 + 1"])
    notebook.run(0)
    notebook.save()
    notebook.reload(wait_for_kernel=True)
    was_trusted = notebook.is_trusted()
    notebook.distrust()
    notebook.reload(wait_for_kernel=True)
    assert (was_trusted, notebook.is_trusted()) == (True, False)


def test_axe_finds_elements_that_a_screen_reader_cannot_use(
    open_notebook: Callable[..., NotebookPage],
) -> None:
    unusable = "<button class='codex-nb-probe'></button>"
    notebook = open_notebook([f'from IPython.display import HTML; HTML("""{unusable}""")'])
    notebook.run(0)
    notebook.page.locator(".codex-nb-probe").wait_for()
    (violation,) = notebook.accessibility_violations(".codex-nb-probe")
    assert violation.startswith("button-name:")


def test_axe_finds_insufficient_contrast(open_notebook: Callable[..., NotebookPage]) -> None:
    faint = "<p class='codex-nb-probe' style='color: #aaa; background: #fff'>Hardly to be read.</p>"
    notebook = open_notebook([f'from IPython.display import HTML; HTML("""{faint}""")'])
    notebook.run(0)
    notebook.page.locator(".codex-nb-probe").wait_for()
    (violation,) = notebook.accessibility_violations(".codex-nb-probe")
    assert violation.startswith("color-contrast:")


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_the_theme_follows_the_preference_of_the_browser(
    open_notebook: Callable[..., NotebookPage], color_scheme: str
) -> None:
    notebook = open_notebook(["1 + 1"])
    light = {"light": "true", "dark": "false"}[color_scheme]
    notebook.page.locator(f"body[data-jp-theme-light='{light}']").wait_for(state="attached")


def test_the_toolbar_interrupts_a_running_cell(open_notebook: Callable[..., NotebookPage]) -> None:
    notebook = open_notebook(["import time\nprint('begun', flush=True)\ntime.sleep(60)"])
    notebook.start(0)
    notebook.wait_for_text(0, "begun")
    notebook.interrupt()
    notebook.wait_until_run(0)
    notebook.wait_for_text(0, "KeyboardInterrupt")


def test_unsaved_edits_are_only_in_the_page(
    open_notebook: Callable[..., NotebookPage],
) -> None:
    notebook = open_notebook(["x = 1"])
    notebook.write(0, "x = 2")
    assert (notebook.source(0), notebook.saved().cells[0].source) == ("x = 2", "x = 1")


def test_the_kernel_has_the_environment_of_the_test(
    open_notebook: Callable[..., NotebookPage], kernel_environ: dict[str, str]
) -> None:
    kernel_environ["CODEX_NB_GREETING"] = "good morning"
    notebook = open_notebook(["import os; print(os.environ['CODEX_NB_GREETING'], os.environ['CODEX_HOME'])"])
    notebook.run(0)
    notebook.wait_for_text(0, f"good morning {kernel_environ['CODEX_HOME']}")


def test_the_beacon_records_requests_of_unsafe_output(
    open_notebook: Callable[..., NotebookPage], beacon: Beacon
) -> None:
    unsafe = f'<img src="{beacon.url("image.gif")}"><script src="{beacon.url("script.js")}"></script>'
    notebook = open_notebook([f"from IPython.display import HTML; HTML('''{unsafe}''')"])
    notebook.run(0)
    notebook.page.wait_for_function("window.__beacon === 1")
    assert sorted(beacon.hits) == ["/image.gif", "/script.js"]
