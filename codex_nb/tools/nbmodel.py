"""The notebook as the tools see it: cells, their runs, and multiline texts cut to a size."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Cell:
    """One cell; ``outputs`` are nbformat output dicts (``output_type``, ``data``, ``text``, ``ename``, …).

    ``texts`` remembers the texts that were made of it, by their level of detail.
    """

    kind: Literal["code", "markdown", "raw"]
    source: str
    cell_id: str | None = None
    outputs: tuple[Mapping[str, Any], ...] = ()
    execution_count: int | None = None
    tags: frozenset[str] = frozenset()
    texts: dict[object, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def is_skipped(self) -> bool:
        """Whether the cell has the mark ``codex-skip``, as a tag or as a comment line."""
        return SKIP_TAG in self.tags or (
            may_be_skipped(self.source) and _SKIP_COMMENT.search(self.source) is not None
        )

    def with_outputs(self, outputs: tuple[Mapping[str, Any], ...]) -> Cell:
        """Return the cell with other outputs."""
        return Cell(self.kind, self.source, self.cell_id, outputs, self.execution_count, self.tags)


def cell_of(raw: Mapping[str, Any]) -> Cell:
    """Return a cell of an nbformat 4 dict; malformed parts are skipped."""
    kind, source, cell_id = raw.get("cell_type"), raw.get("source"), raw.get("id")
    outputs, count = raw.get("outputs"), raw.get("execution_count")
    lines = source if isinstance(source, list) else [source]
    return Cell(
        kind if kind in ("code", "markdown") else "raw",
        "".join(each for each in lines if isinstance(each, str)),
        cell_id if isinstance(cell_id, str) else None,
        tuple(each for each in outputs if isinstance(each, dict)) if isinstance(outputs, list) else (),
        count if isinstance(count, int) else None,
        tags_in(raw.get("metadata")),
    )


def tags_in(metadata: Any) -> frozenset[str]:
    """Return the tags in a cell's metadata, which JupyterLab and Notebook send with the code of a cell that runs."""
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    return frozenset(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else frozenset()


@dataclass(frozen=True)
class Run:
    """One run of a code cell in this kernel; ``cell`` is the cell as it ran, without its outputs.

    ``changed`` holds the names that had another value after it, ``error`` in words what it raised; a run whose outcome
    is not known has neither succeeded nor an error. ``deleted`` tells that its cell is no longer in the notebook.
    """

    cell: Cell
    changed: frozenset[str] = frozenset()
    succeeded: bool = False
    error: str = ""
    deleted: bool = False


@dataclass(frozen=True)
class NotebookSnapshot:
    """The notebook at the moment of asking.

    ``origin`` is where it came from: the open document, the file, or the kernel's own history. ``current`` is the
    index of the cell that asks, None when it is not among the cells. ``path`` is the notebook's path when known.
    ``can_run`` is whether the front end that has the document can run its cells.
    """

    origin: Literal["document", "file", "kernel"]
    cells: tuple[Cell, ...] = ()
    current: int | None = None
    path: str | None = None
    can_run: bool = False

    @property
    def asking(self) -> Cell | None:
        """The cell that asks."""
        return None if self.current is None else self.cells[self.current]


_CODEX = re.compile(r"\s*+%%?codex(?!\w)")


def asks_codex(source: str) -> bool:
    """Whether a cell with this source asks Codex, or manages it."""
    return _CODEX.match(source) is not None


SKIP_TAG = "codex-skip"
_SKIP_WORD = re.compile("codex[-_]skip", re.IGNORECASE)
_SKIP_COMMENT = re.compile(
    rf"^[^\S\n]*+(?:#++|<!--|//|--)[^\S\n]*+{_SKIP_WORD.pattern}\b", re.MULTILINE | re.IGNORECASE
)


def may_be_skipped(text: str) -> bool:
    """Whether a text, such as that of a notebook's file, can hold the mark."""
    return _SKIP_WORD.search(text) is not None


_MARK = re.compile(r"\n… \[(\d[\d,]{0,20}) characters left out\] …\n")
LONGEST_OUTPUT = 200_000
"""How many characters of one output are kept; more are replaced by a mark that says how many."""
TRUNCATION_MARK_END = " left out] …"
"""The end of the mark that stands where a text was truncated."""


def truncate(text: str, limit: int) -> str:
    """Keep the beginning and the end of a text, with a mark that says how much is missing between them.

    What earlier marks tell of the missing part is counted in.
    """
    if len(text) <= limit:
        return text
    head, tail = limit * 2 // 3, len(text) - (limit - limit * 2 // 3)
    before = 0
    for mark in _MARK.finditer(text) if len(text) <= 3 * LONGEST_OUTPUT else ():
        if mark.end() > head and mark.start() < tail:
            head, tail = min(head, mark.start()), max(tail, mark.end())
            before += int(mark[1].replace(",", "")) - len(mark[0])
    return f"{text[:head]}\n… [{tail - head + before:,} characters left out] …\n{text[tail:]}"


def shorten(line: str, limit: int) -> str:
    """Return the beginning of a line, with a mark where its end is cut off."""
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def join_multiline(value: object, limit: int) -> str:
    """Return a multiline value of nbformat as one string, truncated."""
    if isinstance(value, str):
        return truncate(value, limit)
    if isinstance(value, list | tuple):
        return truncate("".join(part for part in value if isinstance(part, str)), limit)
    return truncate(str(value), limit) if isinstance(value, int | float | bool) else ""
