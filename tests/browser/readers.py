"""Readers of a saved notebook that need no Jupyter server: each writes an HTML page, or a PDF, of the file.

A service that is not available here is replaced by its closest equivalent, and its name says so.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path

import nbformat
from markdown_it import MarkdownIt
from nbconvert import HTMLExporter, MarkdownExporter
from playwright.sync_api import Page

from tests.browser.paper import by_latex, by_webpdf
from tests.browser.seen import Seen, look
from tests.browser.vs_code import show_in_vs_code
from tests.tiers import TIERS_FOLDER

SANITIZER = Path(__file__).with_name("sanitize_as_github.mjs")
CELL_MARK = "codex-nb-cell"


def converted(notebook: nbformat.NotebookNode, template: str) -> str:
    """Return nbconvert's HTML, without what it would load from the web."""
    html, _ = HTMLExporter(template_name=template).from_notebook_node(notebook)
    return re.sub(r'<script src="https?://[^"]*"></script>', "", html)


def by_nbconvert_lab(page: Page, notebook: nbformat.NotebookNode) -> list[Seen]:
    page.set_content(converted(notebook, "lab"))
    return look(page, ".jp-CodeCell", ".jp-OutputArea-output")


def by_nbviewer(page: Page, notebook: nbformat.NotebookNode) -> list[Seen]:
    page.set_content(f"<body>{converted(notebook, 'basic')}")
    return look(page, ".code_cell, .jp-CodeCell", ".output_subarea, .jp-OutputArea-output")


def by_nbconvert_markdown(page: Page, notebook: nbformat.NotebookNode) -> list[Seen]:
    """Show nbconvert's Markdown as a renderer does that lets HTML through, images in place."""
    render = MarkdownIt("commonmark", {"html": True}).enable("table").render
    parts = []
    for cell in notebook.cells:
        alone = nbformat.v4.new_notebook(cells=[cell])
        text, resources = MarkdownExporter(exclude_input=True).from_notebook_node(alone)
        for name, data in resources["outputs"].items():
            text = text.replace(f"({name})", f"(data:image/png;base64,{base64.b64encode(data).decode()})")
        parts.append(f'<div class="{CELL_MARK}"><div class="out">{render(text)}</div></div>')
    page.set_content("".join(parts))
    return look(page, f".{CELL_MARK}", ".out")


def by_github(page: Page, notebook: nbformat.NotebookNode) -> list[Seen]:
    return _by_hand(page, notebook, sanitized)


def by_vs_code(page: Page, notebook: nbformat.NotebookNode) -> list[Seen]:
    return show_in_vs_code(page, notebook, trusted=True)


def by_restricted_vs_code(page: Page, notebook: nbformat.NotebookNode) -> list[Seen]:
    return show_in_vs_code(page, notebook, trusted=False)


def sanitized(texts: list[str]) -> list[str]:
    """Return the texts as GitHub's public allow-list leaves them."""
    packages = [
        TIERS_FOLDER / name / "node_modules" / name / "index.js" for name in ("rehype", "rehype-sanitize")
    ]
    node = shutil.which("node")
    assert node is not None, "node is not installed"
    command = [node, str(SANITIZER), *map(str, packages)]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=True)
    cleaned: list[str] = json.loads(done.stdout)
    return cleaned


def _by_hand(
    page: Page, notebook: nbformat.NotebookNode, treat: Callable[[list[str]], list[str]]
) -> list[Seen]:
    """Show HTML before images before text, as the service chooses; scripts run where any are left."""
    cells = [[_html_of(output) for output in cell.outputs] for cell in notebook.cells]
    treated = iter(treat([html for cell in cells for is_rich, html in cell if is_rich]))
    shown = [[next(treated) if is_rich else html for is_rich, html in cell] for cell in cells]
    page.set_content("<main></main>")
    page.evaluate(
        """cells => {
          for (const outputs of cells) {
            const cell = document.querySelector('main').appendChild(document.createElement('section'));
            for (const html of outputs) {
              const output = cell.appendChild(document.createElement('div'));
              output.innerHTML = html;
              for (const inert of output.querySelectorAll('script')) {
                const live = document.createElement('script');
                live.text = inert.text;
                inert.replaceWith(live);
              }
            }
          }
        }""",
        shown,
    )
    return look(page, "section", "div")


def _html_of(output: Mapping[str, object]) -> tuple[bool, str]:
    data = output.get("data")
    if not isinstance(data, Mapping):
        return False, f"<pre>{escape(str(output.get('text', '')))}</pre>"
    if "text/html" in data:
        return True, str(data["text/html"])
    if "image/png" in data:
        return False, f'<img src="data:image/png;base64,{str(data["image/png"]).strip()}">'
    return False, f"<pre>{escape(str(data.get('text/plain', '')))}</pre>"


READERS: Mapping[str, Callable[[Page, nbformat.NotebookNode], list[Seen]]] = {
    "nbconvert, HTML": by_nbconvert_lab,
    "nbconvert, Markdown": by_nbconvert_markdown,
    "nbconvert, PDF by the browser": by_webpdf,
    "nbconvert, PDF by LaTeX": by_latex,
    "nbviewer (template)": by_nbviewer,
    "GitHub (sanitizer)": by_github,
    "VS Code": by_vs_code,
    "VS Code, restricted": by_restricted_vs_code,
}
