"""The public API: one list, which is documented, lazily importable and completely typed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import codex_nb
from tests.tiers import ROOT

# raised for a subcommand of the magic alone, where each is told in one line
OF_THE_MAGIC = {"NoFailedCell", "CellSkipped"}


def subclasses(kind: type[BaseException]) -> set[type[BaseException]]:
    return {kind}.union(*map(subclasses, kind.__subclasses__()))


def test_the_reference_documents_exactly_the_public_names() -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    documented = re.findall(
        r"^\.\. auto(?:function|class|data|exception):: codex_nb\.(\w+)$", text, re.MULTILINE
    )
    assert sorted(documented) == sorted(codex_nb.__all__)


def test_every_error_that_a_user_can_catch_is_public() -> None:
    import_module("codex_nb.api")  # imports whatever defines an error
    raised = {
        error.__name__ for error in subclasses(codex_nb.CodexError) if error.__module__.startswith("codex_nb")
    }
    assert raised - OF_THE_MAGIC - set(codex_nb.__all__) == set()


def test_public_names_are_found_and_listed_without_having_been_imported() -> None:
    program = "import codex_nb; print(*(name for name in codex_nb.__all__ if hasattr(codex_nb, name)), *dir(codex_nb))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    told = done.stdout.split()
    assert [name for name in codex_nb.__all__ if told.count(name) != 2] == []


def canonical(name: str) -> str:
    """Return where a public name is defined, which is what pyright calls it."""
    value = getattr(codex_nb, name)
    return (
        f"{value.__module__}.{value.__qualname__}" if hasattr(value, "__qualname__") else f"codex_nb.{name}"
    )


def test_the_public_names_are_completely_typed() -> None:
    pyright = Path(sys.executable).with_name("pyright")
    command = [pyright, "--verifytypes", "codex_nb", "--ignoreexternal", "--outputjson"]
    # an editable installation leaves a folder codex_nb with the notebooks in site-packages: the checkout comes first
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    symbols = json.loads(done.stdout)["typeCompleteness"]["symbols"]
    faces = [canonical(name) for name in codex_nb.__all__ if name != "TurnEvent"]
    public = [
        symbol for symbol in symbols if any(f"{symbol['name']}.".startswith(f"{face}.") for face in faces)
    ]
    assert len(public) > len(faces)
    untyped = [symbol["name"] for symbol in public if not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]]
    assert untyped == []
