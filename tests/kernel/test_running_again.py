"""The diff after a notebook was run again shows only what has changed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from codex_nb.simulator import Simulator
from tests.kernel.provision import ROOT
from tests.notebooks.running import NOTEBOOKS, executed
from tests.patience import PATIENCE_S

DEMO = NOTEBOOKS / "01_first_question.ipynb"
CONTEXT = NOTEBOOKS / "02_context_and_tools.ipynb"
HTML = "%load_ext codex_nb\n%config CodexMagics.display = 'html'"
ASKING = [HTML, "%%codex\nWho are you?", "faces = [1, 2, 3]", "%%codex\nHow many faces are there?", "1 + 1"]
MOMENT = re.compile(r"(?:today|tomorrow|\b[A-Z][a-z]{2} \d{1,2} [A-Z][a-z]{2}) \d\d:\d\d")


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Give the variables of somebody who is signed in to a simulator, whose CODEX_HOME stays from run to run."""
    home = tmp_path / "codex-home"
    home.mkdir(mode=0o700)
    with Simulator() as sim:
        sim.write_home(home)
        own = {"CODEX_HOME": str(home), "IPYTHONDIR": str(tmp_path / "ipython"), "PYTHONPATH": str(ROOT)}
        yield {**os.environ, **sim.environ(), **own}


def run(sources: list[str], environ: dict[str, str]) -> nbformat.NotebookNode:
    """Run the cells headless, by a kernel of their own, and return the notebook as it is saved."""
    cells = [nbformat.v4.new_code_cell(source, id=f"cell-{n}") for n, source in enumerate(sources)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = NotebookClient(notebook, timeout=PATIENCE_S, kernel_name="python3", record_timing=False)
    client.execute(env=environ)
    return notebook


def changed(before: Any, after: Any, place: str = "") -> list[str]:
    """Return the places at which two saved notebooks differ."""
    if isinstance(before, dict) and isinstance(after, dict) and set(before) == set(after):
        return [each for name in before for each in changed(before[name], after[name], f"{place}/{name}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [each for number, (old, new) in pairs for each in changed(old, new, f"{place}/{number}")]
    return [] if before == after else [place]


def cells_of(places: list[str]) -> set[str]:
    """Return the cells, and what of them, that the places lie in."""
    return {"/".join(place.split("/")[2:4]) for place in places}


@pytest.mark.parametrize("path", [DEMO, CONTEXT], ids=lambda path: path.stem)
def test_a_tour_notebook_run_twice_is_saved_as_the_same_bytes_but_for_moments_that_moved(
    path: Path, tmp_path: Path
) -> None:
    homes = [tmp_path / "first", tmp_path / "second"]
    saved = []
    for home in homes:
        home.mkdir()
        written = nbformat.writes(executed(path, home)).replace(str(home), "HOME")
        saved.append(MOMENT.sub("WHEN", written))
    assert saved[0] == saved[1]


def test_an_answered_notebook_run_again_changes_nothing_but_a_changed_question(
    environ: dict[str, str],
) -> None:
    first, again, once_more = (run(ASKING, environ) for _ in range(3))
    # The second run says that nothing was sent: that is what has changed.
    assert cells_of(changed(first, again)) == {"1/outputs", "3/outputs"}
    assert nbformat.writes(again) == nbformat.writes(once_more)
    sources = [*ASKING[:3], "%%codex\nHow many faces are there, in words?", *ASKING[4:]]
    asked_anew = run(sources, environ)
    assert cells_of(changed(again, asked_anew)) == {"3/source", "3/outputs"}


@pytest.mark.parametrize(
    ("source", "row_500", "is_free"),
    [
        ("print(open('d.csv').readlines()[501].strip())", "1.0", True),
        ("import pandas as pd\npd.read_csv('d.csv')", "2.0", False),
        ("import pandas as pd\nprint(pd.read_csv('d.csv').v)", "2.0", False),
        ("import numpy as np\nnp.loadtxt('d.csv', skiprows=1)", "2.0", False),
    ],
)
def test_what_a_cell_above_shows_counts_also_where_its_middle_is_left_out(
    environ: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    row_500: str,
    is_free: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    cells = [HTML, source, "%%codex\nWhat is in the table?", "print(_codex.usage.total_tokens)"]

    def tokens(row_500: str) -> int:
        rows = ["v", *(row_500 if row == 500 else "1.0" for row in range(1000))]
        (tmp_path / "d.csv").write_text("\n".join(rows))
        (printed,) = run(cells, environ).cells[3].outputs
        return int(printed.text)

    assert [tokens("1.0") > 0, tokens(row_500) == 0] == [True, is_free]
