"""Hostile text in every place that a model or a server can fill."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser.beacon import Beacon
from tests.browser.notebook_page import NotebookPage
from tests.rendering.hostile import PAYLOADS, payload

ROOT = Path(__file__).parents[2]
SETUP = """
import json, os
from IPython.display import Markdown
from tests.browser.transcript_scenes import *
hostile = json.load(open(os.environ["CODEX_NB_HOSTILE"]))
stage = Stage()
"""
# What a front end does with Markdown of the session: it renders it unsanitised.
INERT = "from tests.rendering.strict import inert\nMarkdown(inert('\\n\\n'.join(hostile)))"
LAYOUT = """() => ({
  cells: window.jupyterapp.shell.currentWidget.content.widgets.length,
  alive: window.pwned ?? window.__beacon ?? 0,
  foreign: [...document.querySelectorAll('.jp-OutputArea-output')].flatMap(area => [...area.querySelectorAll(
    'script, img:not([src^="data:image/png"]), iframe, object, embed, video, audio, form:not([class^="codex"]), '
    + 'link, style, base, meta, [onclick], [onerror], [onload], '
    + '[style*="position"]:not(mjx-container, mjx-container *), '
    + 'a:not([href^="http"], [href^="mailto:"], .jp-InternalAnchorLink)'
  )]).map(node => node.outerHTML.slice(0, 200)),
})"""
UNHARMED = {"cells": 4, "alive": 0, "foreign": []}


@pytest.fixture
def kernel_environ(kernel_environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    return kernel_environ | {"PYTHONPATH": str(ROOT), "CODEX_NB_HOSTILE": str(tmp_path / "hostile.json")}


def test_hostile_text_has_no_effect_live_saved_or_reopened(
    open_notebook: Callable[..., NotebookPage], beacon: Beacon, tmp_path: Path
) -> None:
    texts = [payload(name, beacon.url("hit")) for name in PAYLOADS]
    (tmp_path / "hostile.json").write_text(json.dumps(texts))
    notebook = open_notebook([SETUP, "stage.play(a_turn_full_of(hostile))", INERT, "'the last cell'"])
    notebook.run(0)
    notebook.start(1)
    button = notebook.output(1).get_by_role("button", name="Approve", exact=True)
    button.wait_for()
    assert notebook.page.evaluate(LAYOUT) == UNHARMED
    button.click()
    notebook.wait_until_run(1)
    notebook.page.locator(".codex-fresh").last.wait_for()
    notebook.run(2)
    notebook.run(3)
    assert notebook.page.evaluate(LAYOUT) == UNHARMED
    notebook.screenshot("hostile-transcript")
    notebook.save()
    notebook.reload()
    notebook.wait_for_text(1, "outside")
    assert notebook.page.evaluate(LAYOUT) == UNHARMED
    notebook.distrust()
    notebook.reload()
    notebook.wait_for_text(1, "outside")
    assert notebook.page.evaluate(LAYOUT) == UNHARMED
    assert beacon.hits == []
