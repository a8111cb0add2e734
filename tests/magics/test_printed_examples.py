"""Every code block of the README and the quickstart runs as it is printed, in the order of the page."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from codex_nb.simulator import Simulator
from tests.magics.conftest import Notebook
from tests.patience import PATIENCE_S
from tests.tiers import ROOT

README, QUICKSTART = ROOT / "README.md", ROOT / "docs" / "quickstart.md"
PAGES = [README, QUICKSTART]
FENCE = re.compile(r"^```(\S+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"`((?:codex-nb|make|pip install) [^`]+)`")
TABLE_ROW = re.compile(r"^\| [^|]+ \| `(%[^`]+)`", re.MULTILINE)
PROSE = """\
import pandas as pd
from dataclasses import dataclass
from pydantic import BaseModel

class City(BaseModel):
    name: str

@dataclass
class Row:
    name: str

df = pd.DataFrame({"notes": ["A day in Paris", None], "height": [1.7, None]})
orders = {"Ada": 2}
reviews = texts = ["Very good.", "Very bad."]
"""
"""What the pages speak of as yours: a frame, types, orders, reviews."""


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return the fenced blocks of a page: the language and what is in it."""
    return FENCE.findall(page.read_text())


def cells(page: Path) -> list[str]:
    """Return the cells of a page."""
    return [text for language, text in blocks(page) if language in {"python", "ipython"}]


def commands(page: Path) -> list[str]:
    """Return what a page tells to type in a terminal, in blocks and within sentences."""
    lines = [line for language, text in blocks(page) if language == "console" for line in text.splitlines()]
    typed = [line.removeprefix("$ ").partition("  #")[0].strip() for line in lines if line.startswith("$ ")]
    return [*typed, *CODE_SPAN.findall(page.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_is_of_a_kind_that_is_run_here(page: Path) -> None:
    kinds = {language for language, _ in blocks(page)}
    assert kinds - {"python", "ipython", "console", "{image}"} == set()
    assert page.read_text().count("```") == 2 * len(blocks(page))
    assert len(cells(page)) >= 4


def run(notebook: Notebook, cell: str) -> str:
    """Run a cell, after the failed cell or the question that it is about; return what it showed."""
    if cell.startswith("%codex fix"):
        assert not notebook.run("df.heigth").succeeded
    if cell.startswith("%codex keep"):
        assert notebook.run("%%codex --approval all\nWhat is the mean height in df?").succeeded
    if cell.startswith(("%codex fork", "%codex export", "%codex compact")):
        assert notebook.run("%codex hello").succeeded
    ran = notebook.run(cell)
    assert ran.succeeded, f"{cell}\n{ran.error}{ran.out}"
    return ran.out


def test_the_cells_of_the_readme_run(
    notebook: Notebook, sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where the journal is written
    run(notebook, PROSE)
    asked = []
    for cell in cells(README):
        before = sim.requests.count("/responses")
        run(notebook, cell)
        asked.append((cell.splitlines()[0], sim.requests.count("/responses") > before))
    assert asked == [
        ("%%codex", True),
        ("%%codex -o cities --schema list[City]", True),
        ("%codex fix", True),
        ("import codex_nb", False),
        (asked[4][0], True),
    ]
    assert {type(city).__name__ for city in notebook.namespace["cities"]} == {"City"}
    assert [type(answer.parsed) for answer in notebook.namespace["answers"]] == [bool, bool]
    notebook.run("%%codex\nhello")
    offered = str(sim.requests.to("/responses")[-1].body)
    assert "open_orders" in offered


class Keyboard(io.StringIO):
    """A user's terminal."""

    def isatty(self) -> bool:
        return True


def confirm(sim: Simulator) -> None:
    """Confirm the next device code, as the user does at the page."""
    sim.requests.wait(lambda log: log.count("/deviceauth/token") > 0, PATIENCE_S)
    for code in sim.waiting_device_codes():
        sim.approve_device_code(code)


def test_the_cells_of_the_quickstart_run(
    notebook: Notebook, sim: Simulator, codex_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(notebook, PROSE)
    (codex_home / "auth.json").unlink()
    login, *rest = cells(QUICKSTART)
    person = threading.Thread(target=confirm, args=(sim,))
    person.start()
    with monkeypatch.context() as terminal:
        terminal.setattr(sys, "stdin", Keyboard())
        shown = run(notebook, login)
    person.join()
    assert "Signed in as a…@example.com" in shown
    for cell in rest:
        run(notebook, cell)
    assert notebook.namespace["answer"].status == "completed"
    assert [type(review.parsed) for review in notebook.namespace["reviews"]] == [bool, bool]


def test_what_the_quickstart_says_to_write_can_be_written(
    notebook: Notebook, sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (2, 2)).save("figure.png")
    run(notebook, PROSE)
    written = [
        cell for cell in TABLE_ROW.findall(QUICKSTART.read_text()) if cell.startswith(("%codex", "%%codex "))
    ]
    assert len(written) >= 12
    for cell in written:
        whole = cell.replace("MODEL", "simulator-classic")
        run(notebook, f"{whole}\nhello" if cell.startswith("%%") else whole)
    assert {type(row).__name__ for row in notebook.namespace["rows"]} == {"Row"}


@pytest.fixture(scope="module")
def project() -> Mapping[str, object]:
    """Give what pyproject.toml says of the project."""
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"])


def test_the_commands_can_be_typed(project: Mapping[str, object]) -> None:
    typed = [*commands(README), *commands(QUICKSTART)]
    assert len(typed) >= 7
    for command in typed:
        name, *words = command.replace("'", "").split()
        match name:
            case "make":
                done = subprocess.run(
                    ["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, check=False
                )
                assert (done.returncode, "Nothing to be done" in done.stdout) == (0, False), command
            case "pip":
                assert_installable(words, project)
            case "codex-nb":
                assert_known(words)
            case _:
                pytest.fail(f"nobody tries {command!r}")


def assert_installable(words: list[str], project: Mapping[str, object]) -> None:
    """The words install this very project, with extras that it has."""
    install, package = words
    wanted = Requirement(package)
    extras = project["optional-dependencies"]
    assert isinstance(extras, dict)
    assert (install, wanted.name) == ("install", project["name"])
    assert wanted.extras <= set(extras)


def assert_known(words: list[str]) -> None:
    """The command and its options are ones that the program itself lists."""
    command, *options = words
    program = [sys.executable, "-m", "codex_nb", command, "--help"]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    assert [option for option in options if option not in done.stdout] == []
