"""Cells as one script that a person can read and change: the percent format, as Jupytext and the editors know it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
