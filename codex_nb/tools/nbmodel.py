"""The notebook as a turn sees it: its cells, what ran, and the outcome of running code or inserting cells."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Cell:
    """One cell; ``outputs`` are nbformat output dicts (``output_type``, ``data``, ``text``, ``ename``, …)."""

    kind: Literal["code", "markdown", "raw"]
    source: str
    cell_id: str | None = None
    outputs: tuple[Mapping[str, Any], ...] = ()
    execution_count: int | None = None
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Run:
    """One run of a code cell in this kernel; ``cell`` is the cell as it ran, without its outputs.

    ``changed`` holds the names that had another value after it, ``error`` in words what it raised; a run whose outcome
    is not known has neither succeeded nor an error.
    """

    cell: Cell
    changed: frozenset[str] = frozenset()
    succeeded: bool = False
    error: str = ""


@dataclass(frozen=True)
class NotebookSnapshot:
    """The notebook at the moment of asking.

    ``origin`` is where it came from: the open document, the file, or the kernel's own history. ``current`` is the
    index of the cell that asks, None when it is not among the cells. ``path`` is the notebook's path when known.
    """

    origin: Literal["document", "file", "kernel"]
    cells: tuple[Cell, ...] = ()
    current: int | None = None
    path: str | None = None


@dataclass(frozen=True)
class NewCell:
    """A cell to insert."""

    kind: Literal["code", "markdown"]
    source: str


@dataclass(frozen=True)
class InsertResult:
    """Whether cells were inserted: how many, and why not."""

    inserted: int
    reason: str = ""


@dataclass(frozen=True)
class RunResult:
    """What running code in the user's kernel gave.

    ``outputs`` are nbformat output dicts in the order they appeared (they were shown in the notebook as well);
    ``error`` is the exception's one-line summary, None on success.
    """

    outputs: tuple[Mapping[str, Any], ...] = field(default=())
    error: str | None = None


SKIP_TAG = "codex-skip"
_SKIP_COMMENT = re.compile(r"^[^\S\n]*+(?:#++|<!--|//)[^\S\n]*+codex-skip\b", re.MULTILINE)


def is_skipped(cell: Cell) -> bool:
    """Whether a cell has the mark, as a tag or as a comment line."""
    return SKIP_TAG in cell.tags or (SKIP_TAG in cell.source and bool(_SKIP_COMMENT.search(cell.source)))
