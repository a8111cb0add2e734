"""Printed readers: nbconvert's PDFs, through the browser and through LaTeX, where nothing can be unfolded."""

from __future__ import annotations

import re
from io import BytesIO
from typing import TYPE_CHECKING, Any

import nbformat
from nbconvert import LatexExporter, WebPDFExporter
from pypdf import PdfReader

from tests.browser.seen import Seen

if TYPE_CHECKING:
    from playwright.sync_api import Page

REMOTE_SCRIPT = re.compile(r'<script src="https?://[^"]*"></script>')
# What pandoc and nbconvert write around the words of a text: colours of code, emphasis, escapes.
STYLED = re.compile(r"\\(?:[A-Za-z]+Tok|textbf|emph|texttt|small)\{((?:[^{}\\]|\\.|\{\})*)\}")
NAMED = {r"\textquotesingle{}": "'", r"\textless": "<", r"\textgreater": ">", r"\textbackslash{}": "\\"}
ESCAPED = re.compile(r"\\([_%&#${}])")


class InThePage(WebPDFExporter):  # type: ignore[misc]  # nbconvert ships no types
    """nbconvert's webpdf, printed by the browser that is open already instead of one that it would download."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self._page = page

    def run_playwright(self, html: str) -> bytes:
        """Print as the exporter's own does."""
        self._page.emulate_media(media="print")
        self._page.set_content(REMOTE_SCRIPT.sub("", html))
        pdf: bytes = self._page.pdf(print_background=True)
        self._page.emulate_media(media="screen")
        return pdf


def alone(cell: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a notebook that contains nothing but the outputs of one cell."""
    only = nbformat.v4.new_code_cell("pass", outputs=cell.outputs)
    return nbformat.v4.new_notebook(cells=[only], metadata={"title": "Kept"})


def by_webpdf(page: Page, notebook: nbformat.NotebookNode) -> list[Seen]:
    """Print each cell by nbconvert's webpdf, and read the text off the PDF."""
    seen = []
    for cell in notebook.cells:
        pdf, _ = InThePage(page).from_notebook_node(alone(cell))
        pages = PdfReader(BytesIO(pdf)).pages
        text = " ".join(" ".join(sheet.extract_text() for sheet in pages).split())
        images = tuple("data:" + image.name for sheet in pages for image in sheet.images)
        seen.append(Seen(text, text, images))
    return seen


def by_latex(_page: Page, notebook: nbformat.NotebookNode) -> list[Seen]:
    """Write each cell as nbconvert and pandoc do for LaTeX, and take LaTeX's own words out again."""
    seen = []
    for cell in notebook.cells:
        source, resources = LatexExporter().from_notebook_node(alone(cell))
        body = source.partition(r"\begin{document}")[2]
        images = tuple(f"data:{name}" for name in figures(resources) if name in body)
        text = words_of(body)
        seen.append(Seen(text, text, images))
    return seen


def figures(resources: dict[str, Any]) -> list[str]:
    """Return the names of the figures that are written beside the source."""
    return list(resources.get("outputs", {}))


def words_of(source: str) -> str:
    """Return a LaTeX source as the text that a user would read."""
    before, text = "", source
    while text != before:
        before, text = text, STYLED.sub(r"\1", text)
    for named, character in NAMED.items():
        text = text.replace(named, character)
    return " ".join(ESCAPED.sub(r"\1", text).split())
