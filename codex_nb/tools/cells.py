"""``insert_cells``: the model adds cells to the open notebook; the user reviews them in the percent format."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from codex_nb.tools.approval import Approved, Effect
from codex_nb.tools.base import Arguments, Ports, Tool, ToolResult
from codex_nb.tools.nbmodel import NewCell

_MARKER = "# %%"
_MARKDOWN_MARKER = f"{_MARKER} [markdown]"
_DESCRIPTION = """\
Inserts cells into the user's open notebook, in the given order, directly below the asking cell (or below the cell \
with the id "after"). They are not run. The result says whether they were inserted; say so to the user truthfully."""


class CellArguments(Arguments):
    """One cell to insert."""

    kind: Literal["code", "markdown"]
    source: str

    @property
    def has_marker(self) -> bool:
        """Whether a line of the source would begin a cell in the percent format."""
        return any(line.startswith(_MARKER) for line in self.source.splitlines())


class InsertCells(Arguments):
    """Cells to insert, and the cell that they follow."""

    cells: list[CellArguments] = Field(min_length=1, max_length=50)
    after: str | None = Field(default=None, description="A cell's id; null for the asking cell.")

    def to_code(self) -> str | None:
        """Return the cells as a percent-format script, None where it would not be equivalent."""
        if self.after is not None or any(cell.has_marker for cell in self.cells):
            return None
        return "\n\n".join(map(_to_percent_format, self.cells))

    def with_code(self, code: str) -> InsertCells:
        """Return the cells of a percent-format script; what stands above its first marker is a code cell."""
        return InsertCells(cells=_from_percent_format(code), after=self.after)


def _to_percent_format(cell: CellArguments) -> str:
    lines = cell.source.strip("\n").splitlines()
    if cell.kind == "markdown":
        return "\n".join([_MARKDOWN_MARKER, *(f"# {line}".rstrip() for line in lines)])
    return "\n".join([_MARKER, *lines])


def _from_percent_format(script: str) -> list[CellArguments]:
    cells: list[CellArguments] = []
    lines: list[str] = []
    kind: Literal["code", "markdown"] = "code"
    for line in [*script.splitlines(), _MARKER]:
        if not line.startswith(_MARKER):
            lines.append(line.removeprefix("#").removeprefix(" ") if kind == "markdown" else line)
            continue
        if source := "\n".join(lines).strip("\n"):
            cells.append(CellArguments(kind=kind, source=source))
        kind, lines = ("markdown" if line.startswith(_MARKDOWN_MARKER) else "code"), []
    return cells


async def _insert(call: Approved[InsertCells], ports: Ports) -> ToolResult:
    cells = [NewCell(cell.kind, cell.source) for cell in call.arguments.cells]
    if ports.insert_cells is None:
        return _not_inserted("this place has no open notebook")
    result = await ports.insert_cells(cells, call.arguments.after)
    if result.inserted == len(cells):
        return ToolResult(f"Inserted {result.inserted} cell{'s' * (result.inserted > 1)}.")
    reason = result.reason or "the front end did not say why"
    if result.inserted:
        return ToolResult(f"Only {result.inserted} of {len(cells)} cells were inserted: {reason}.", ok=False)
    return _not_inserted(reason)


def _not_inserted(reason: str) -> ToolResult:
    advice = "Give the code in your answer instead, for the user to copy."
    return ToolResult(f"No cell was inserted: {reason}. {advice}", ok=False)


insert_cells = Tool(
    name="insert_cells",
    description=_DESCRIPTION,
    arguments=InsertCells,
    effect=Effect.EDIT,
    call=_insert,
    title="Insert cells",
    summary="Adds cells below this one.",
    requires="insert_cells",
)
