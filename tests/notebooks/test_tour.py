from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from tests.notebooks.running import executed, tour

# Token counts change with the instructions, times with the machine.
COUNTS = re.compile(r" · [\d,]+ tokens in.*$", re.MULTILINE)
MODEL = "simulator-classic"


@pytest.fixture(scope="module", params=tour(), ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    """A notebook of the tour."""
    return Path(request.param)


@pytest.fixture(scope="module")
def again(path: Path, tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    """Run the notebook from top to bottom on the simulator; fails if a cell raises."""
    return executed(path, tmp_path_factory.mktemp(path.stem))


def answers(notebook: nbformat.NotebookNode) -> list[str]:
    """Return the text that the ``%%codex`` cells show."""
    asking = [cell for cell in notebook.cells if cell.source.startswith("%%codex")]
    return ["\n".join(map(text_of, cell.outputs)) for cell in asking]


def text_of(output: nbformat.NotebookNode) -> str:
    return str(output.get("text", "") or output.get("data", {}).get("text/plain", ""))


def test_the_simulator_answers_every_question(again: nbformat.NotebookNode) -> None:
    assert [answer for answer in answers(again) if MODEL not in answer] == []


def test_the_saved_answers_are_those_of_a_new_run(
    path: Path, again: nbformat.NotebookNode
) -> None:
    saved = nbformat.read(path, as_version=4)
    assert [COUNTS.sub("", answer) for answer in answers(saved)] == [
        COUNTS.sub("", answer) for answer in answers(again)
    ]


def test_it_starts_with_a_title_and_numbers_its_cells(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].cell_type == "markdown"
    assert cells[0].source.startswith("# ")
    assert [cell.id for cell in cells] == [f"cell-{number:02d}" for number in range(1, len(cells) + 1)]
