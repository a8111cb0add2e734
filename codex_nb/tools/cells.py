"""``insert_cells``: the model adds cells to the open notebook, reviewed as a percent-format script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codex_nb.errors import InvalidArguments
from codex_nb.tools.approval import Effect
from codex_nb.tools.base import Arguments, Ports, Script, Tool, ToolResult
from codex_nb.tools.nbmodel import NewCell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


MARK = "# %%"
PROSE = f"{MARK} [markdown]"


def write_script(arguments: Mapping[str, Any]) -> str | None:
    """Return cells as a script; None where it would not say all that the arguments say."""
    cells = arguments["cells"]
    if arguments.get("after") is not None or any(_has_marks(cell["source"]) for cell in cells):
        return None
    return "\n\n".join(_written(cell) for cell in cells)


def read_script(script: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with the cells of a script; what stands above its first mark is a code cell."""
    cells: list[dict[str, str]] = []
    lines: list[str] = []
    kind = "code"
    for line in [*script.splitlines(), MARK]:
        if not line.startswith(MARK):
            lines.append(line)
            continue
        source = _read(kind, lines)
        if source:
            cells.append({"kind": kind, "source": source})
        kind, lines = ("markdown" if line.startswith(PROSE) else "code"), []
    return {**arguments, "cells": cells}


def _has_marks(source: str) -> bool:
    return any(line.startswith(MARK) for line in source.splitlines())


def _written(cell: Mapping[str, str]) -> str:
    lines = cell["source"].strip("\n").splitlines()
    if cell["kind"] == "markdown":
        return "\n".join([PROSE, *(f"# {line}".rstrip() for line in lines)])
    return "\n".join([MARK, *lines])


def _read(kind: str, lines: Sequence[str]) -> str:
    if kind == "markdown":
        lines = [line.removeprefix("#").removeprefix(" ") for line in lines]
    return "\n".join(lines).strip("\n")


MOST_CELLS = 50

_DESCRIPTION = """\
Inserts cells into the user's open notebook, in the given order, directly below the asking cell (or below the cell \
with the id "after"). They are not run. The result says whether they were inserted; say so to the user truthfully."""


def _check(arguments: Arguments) -> Arguments:
    cells, after = arguments.get("cells"), arguments.get("after")
    if not isinstance(cells, list) or not cells or len(cells) > MOST_CELLS:
        raise InvalidArguments(f'insert_cells takes "cells": a list of 1 to {MOST_CELLS} cells')
    if not (after is None or isinstance(after, str)):
        raise InvalidArguments('insert_cells: "after" is the id of a cell, or null')
    for number, cell in enumerate(cells):
        if not isinstance(cell, dict) or cell.get("kind") not in {"code", "markdown"}:
            raise InvalidArguments(f'insert_cells: cells[{number}].kind must be "code" or "markdown"')
        if not isinstance(cell.get("source"), str):
            raise InvalidArguments(f"insert_cells: cells[{number}].source must be a text")
    return {"cells": cells, "after": after}


async def _call(arguments: Arguments, ports: Ports) -> ToolResult:
    cells = [NewCell(cell["kind"], cell["source"]) for cell in arguments["cells"]]
    if ports.document is None:
        return ToolResult(_not_inserted("this place has no open notebook"), ok=False)
    result = await ports.document.insert(cells, arguments["after"])
    if result.inserted == len(cells):
        return ToolResult(f"Inserted {result.inserted} cell{'s' * (result.inserted > 1)}.")
    reason = result.reason or "the front end did not say why"
    if result.inserted:
        return ToolResult(f"Only {result.inserted} of {len(cells)} cells were inserted: {reason}.", ok=False)
    return ToolResult(_not_inserted(reason), ok=False)


def _not_inserted(reason: str) -> str:
    return f"No cell was inserted: {reason}. Give the code in your answer instead, for the user to copy."


insert_cells = Tool(
    name="insert_cells",
    description=_DESCRIPTION,
    parameters={
        "type": "object",
        "properties": {
            "cells": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "kind": {"type": "string", "enum": ["code", "markdown"]},
                        "source": {"type": "string"},
                    },
                    "required": ["kind", "source"],
                    "additionalProperties": False,
                },
            },
            "after": {"type": ["string", "null"], "description": "A cell's id; null for the asking cell."},
        },
        "required": ["cells"],
        "additionalProperties": False,
    },
    effect=Effect.EDIT,
    call=_call,
    check=_check,
    script=Script(write_script, read_script),
    available=lambda ports: ports.document is not None,
)
