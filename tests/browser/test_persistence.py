"""What is saved, in every reader.

The table of docs/saved_output.md is compared with what is seen here. What each reader showed is recorded in the report
of the test run, as properties of its test.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import count, dropwhile, takewhile

import nbformat
import pytest
from playwright.sync_api import BrowserContext, Page, Request, ViewportSize

from tests.browser.jupyter_server import FrontEnd, JupyterServer
from tests.browser.kept import ENDS, FIGURE, FIRST, HOSTILE, Ending
from tests.browser.notebook_page import NotebookPage
from tests.browser.readers import READERS, by_vs_code
from tests.browser.seen import Seen, look
from tests.patience import PATIENCE_S
from tests.tiers import ROOT

HEAD = "| how it ended |"
PAGE = ROOT / "docs" / "saved_output.md"
WIDGET_ERRORS = ("Error displaying widget", "Loading widget", "model not found", "widget-view", "Widget(")
FRONT_ENDS = {
    "JupyterLab, trusted": (FrontEnd.LAB, True, True),
    "JupyterLab, untrusted": (FrontEnd.LAB, False, True),
    "JupyterLab, no kernel": (FrontEnd.LAB, True, False),
    "Notebook 7, trusted": (FrontEnd.NOTEBOOK, True, True),
    "Notebook 7, untrusted": (FrontEnd.NOTEBOOK, False, True),
}
TALL: ViewportSize = {"width": 1280, "height": 6000}  # front ends leave out what is out of sight
DRAWN = ".jp-CodeCell:has(.jp-OutputArea-output)"
numbers = count()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    """Give the notebook with every kind of end, made by a real kernel."""
    folder = tmp_path_factory.mktemp("kept")
    file = folder / "kept.ipynb"
    command = [sys.executable, "-m", "tests.browser.kept", str(file), str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return nbformat.read(file, as_version=4)


@pytest.fixture
def asked_for() -> list[str]:
    """Collect the addresses that the model's text named and that a page asked for."""
    return []


@pytest.fixture
def page(browser_context: BrowserContext, asked_for: list[str]) -> Iterator[Page]:
    """Open an empty page that tells what it asks for."""

    def note(request: Request) -> None:
        if "hostile" in request.url:
            asked_for.append(request.url)

    browser_context.on("request", note)
    page = browser_context.new_page()
    yield page
    page.close()


def opened(
    notebook: nbformat.NotebookNode, page: Page, server: JupyterServer, *, trusted: bool, with_kernel: bool
) -> list[Seen]:
    """Open the notebook in a front end that never ran it, as its author or as somebody else."""
    kernel = server.add_kernel({})
    copy = nbformat.from_dict(notebook)
    copy.metadata["kernelspec"] = {"name": kernel.name, "display_name": kernel.name, "language": "python"}
    file = server.root / f"kept-{next(numbers)}.ipynb"
    nbformat.write(copy, file)
    if trusted:
        server.trust(copy)
    page.set_viewport_size(TALL)
    shown = NotebookPage(page, server, file)
    if with_kernel:
        shown.open()
    else:
        shown.reopen_without_kernel()
    page.wait_for_function(f"() => document.querySelectorAll('{DRAWN}').length === {len(ENDS)}")
    assert shown.is_trusted() is trusted
    return look(page, ".jp-CodeCell", ".jp-OutputArea-output")


def outcome(ending: Ending, seen: Seen) -> str:
    """Say in the words of the table what a reader shows of an end."""
    folded, absent = [], []
    for what, text in ending.marks.items():
        if what == FIGURE:
            absent += [] if [image for image in seen.images if image.startswith("data:")] else [what]
        elif text not in seen.seen:
            (folded if text in seen.held else absent).append(what)
    said = [] if absent else ["all"]
    said += [f"without: {', '.join(absent)}"] if absent else []
    said += [f"folded: {', '.join(folded)}"] if folded else []
    return ", ".join(said)


def assert_harmless(seen: Sequence[Seen], page: Page, asked_for: list[str]) -> None:
    """Nothing that the model wrote runs, loads or styles; no widget is missed."""
    assert [line for cell in seen for line in cell.foreign] == []
    assert [source[:60] for cell in seen for source in cell.images if not source.startswith("data:")] == []
    assert [error for cell in seen for error in WIDGET_ERRORS if error in cell.held] == []
    assert page.evaluate("() => window.hostile ?? null") is None
    assert asked_for == []


def table() -> list[list[str]]:
    """Return the table of the page in the documentation: its head and its rows."""
    lines = iter(PAGE.read_text().splitlines())
    rows = takewhile(
        lambda line: line.startswith("|"), dropwhile(lambda line: not line.startswith(HEAD), lines)
    )
    return [row.strip("| ").split(" | ") for row in rows if row.startswith("| ")]


def rows_of(reader: str) -> dict[str, str]:
    """Return what the table says of a reader, by kind of end."""
    head, *rows = table()
    place = head.index(reader)
    return {row[0]: row[place] for row in rows}


def outcomes(seen: Sequence[Seen], record_property: Callable[[str, object], None]) -> dict[str, str]:
    """Return the table's column, and keep it in the report of the test run."""
    column = {ending.name: outcome(ending, each) for ending, each in zip(ENDS, seen[FIRST:], strict=True)}
    for name, said in column.items():
        record_property(name, said)
    return column


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_shows_what_the_table_says(
    kept: nbformat.NotebookNode,
    page: Page,
    asked_for: list[str],
    reader: str,
    record_property: Callable[[str, object], None],
) -> None:
    seen = READERS[reader](page, kept)
    assert_harmless(seen, page, asked_for)
    assert outcomes(seen, record_property) == rows_of(reader)


def test_unsanitized_html_would_be_detected(page: Page, asked_for: list[str]) -> None:
    raw = nbformat.v4.new_output("display_data", {"text/html": HOSTILE})
    (seen,) = by_vs_code(page, nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[raw])]))
    assert [line.split(" ")[0].split(">")[0] for line in seen.foreign] == ["<script", "<img", "<style"]
    assert page.evaluate("() => window.hostile") == 1
    assert asked_for == ["https://hostile.example/a.png"]


@pytest.mark.parametrize("reader", FRONT_ENDS)
def test_a_front_end_shows_what_the_table_says(
    kept: nbformat.NotebookNode,
    page: Page,
    asked_for: list[str],
    servers: Callable[[FrontEnd], JupyterServer],
    reader: str,
    record_property: Callable[[str, object], None],
) -> None:
    front_end, trusted, with_kernel = FRONT_ENDS[reader]
    server = servers(front_end)
    try:
        seen = opened(kept, page, server, trusted=trusted, with_kernel=with_kernel)
    finally:
        server.stop_kernels()
    assert_harmless(seen, page, asked_for)
    assert outcomes(seen, record_property) == rows_of(reader)


def test_the_table_lists_every_reader_and_every_ending() -> None:
    head, *rows = table()
    assert head == [HEAD.strip("| "), *FRONT_ENDS, *READERS]
    assert [row[0] for row in rows] == [ending.name for ending in ENDS]
