from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from tests.notebooks.running import executed, tour

# Every word added to the instructions moves the counts of tokens, every busy machine the seconds.
COUNTS = re.compile(r" · [\d,]+ tokens in.*$", re.MULTILINE)
MODEL = "simulator-classic"


def answers(notebook: nbformat.NotebookNode) -> list[str]:
    """Return what the cells that ask show, as text; the footer's counts are left out."""
    asking = [cell for cell in notebook.cells if cell.source.startswith("%%codex")]
    return [COUNTS.sub("", "\n".join(map(text_of, cell.outputs))) for cell in asking]


def text_of(output: nbformat.NotebookNode) -> str:
    return str(output.get("text", "") or output.get("data", {}).get("text/plain", ""))


@pytest.mark.parametrize("path", tour(), ids=lambda path: path.stem)
def test_a_tour_notebook_runs_from_top_to_bottom_on_the_simulator(path: Path, tmp_path: Path) -> None:
    notebook = executed(path, tmp_path)
    assert [answer for answer in answers(notebook) if MODEL not in answer] == []


@pytest.mark.parametrize("path", tour(), ids=lambda path: path.stem)
def test_a_tour_notebook_was_saved_with_the_outputs_it_has_when_it_is_run_again(
    path: Path, tmp_path: Path
) -> None:
    saved, again = nbformat.read(path, as_version=4), executed(path, tmp_path)
    assert answers(saved) == answers(again)


@pytest.mark.parametrize("path", tour(), ids=lambda path: path.stem)
def test_a_tour_notebook_reads_as_a_page(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].cell_type == "markdown"
    assert cells[0].source.startswith("# ")
    assert [cell.id for cell in cells] == [f"cell-{number:02d}" for number in range(1, len(cells) + 1)]
