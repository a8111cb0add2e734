"""How much an installation of codex_nb adds to one of Jupyter and ipywidgets."""

from __future__ import annotations

import tomllib
from importlib import metadata
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.benchmarks.table import Reference, Row, Topic
from tests.tiers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable

JUPYTER = ("jupyterlab", "notebook", "ipykernel", "ipywidgets")
MEGABYTE = 1_000_000


def closure(names: Iterable[str]) -> set[str]:
    """Return the distributions with all that they require on this machine, extras left out."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found:
            continue
        found.add(name)
        for text in metadata.requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def required() -> list[str]:
    """Return what the package requires, as the checkout says: an editable installation may remember older wishes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(text).name for text in project["dependencies"]]


def megabytes(distribution: str) -> float:
    """Return the size of a distribution's files, compiled Python left out."""
    files = metadata.files(distribution) or []
    paths = [file.locate() for file in files if not str(file).endswith(".pyc")]
    return sum(path.stat().st_size for path in paths if path.exists()) / MEGABYTE


def own_megabytes() -> float:
    """Return the size of the package itself, as it stands in the checkout."""
    files = [
        path for path in (ROOT / "codex_nb").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    return sum(path.stat().st_size for path in files) / MEGABYTE


def rows() -> list[Row]:
    """Add up what this environment holds."""
    added = {name: megabytes(name) for name in closure(required()) - closure(JUPYTER)}
    own = own_megabytes()
    biggest = sorted(added.items(), key=lambda item: -item[1])[:3]
    shown = ", ".join(f"{name} {size:.1f}" for name, size in biggest)
    return [
        Row(
            Topic.SIZE,
            f"installed size over jupyter and ipywidgets, {len(added) + 1} packages (own {own:.1f}, {shown})",
            own + sum(added.values()),
            "MB",
            Reference("the budget", 18),
            note="openai-codex 368 MB, jupyter-cc 427 MB",
        )
    ]
