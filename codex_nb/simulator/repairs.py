"""Advice about errors and cells to insert: what can be said without a model."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codex_nb.simulator.reading import Frame, Offer

_WISH = re.compile(r"\b(?:insert|add|append|write|make|create|put)\b[^.?!]{0,80}\bcells?\b", re.IGNORECASE)
_HELP = re.compile(r"\b(?:fix|mend|repair|error|exception|traceback|fails?|failed|wrong)\b", re.IGNORECASE)
_WRONG_NAME = re.compile(r"(?:NameError: name|KeyError:|has no attribute) '(?P<name>\w+)'")
_BLOCK = re.compile(r"```(?:python)?\n(?P<source>.*?)```", re.DOTALL)
_IMPORTS = {
    "np": "import numpy as np",
    "pd": "import pandas as pd",
    "pl": "import polars as pl",
    "plt": "import matplotlib.pyplot as plt",
    "sns": "import seaborn as sns",
}
_SOURCE_KEYS, _KIND_KEYS = {"source", "code", "text", "content"}, {"kind", "cell_type", "type"}

Cell = tuple[str, str]
"""Kind ("code" or "markdown") and source."""


def wants_cells(question: str) -> bool:
    """Whether a question asks for new cells."""
    return bool(_WISH.search(question)) and not wants_help(question)


def wants_help(question: str) -> bool:
    """Whether a question is about something that failed."""
    return bool(_HELP.search(question))


def cells_for(frame: Frame) -> list[Cell]:
    """Cells that look at a frame."""
    name = frame.name
    return [
        ("markdown", f"## A look at `{name}`"),
        ("code", f"{name}.describe()"),
        ("code", f"{name}.isna().sum()"),
    ]


def insertion(tool: Offer, cells: list[Cell]) -> dict[str, Any]:
    """The arguments of a tool that inserts cells, in the words of its own schema."""
    properties: Mapping[str, Any] = tool.parameters.get("properties") or {}
    for name, schema in properties.items():
        if isinstance(schema, dict) and schema.get("type") == "array":
            fields = (schema.get("items") or {}).get("properties") or {"kind": {}, "source": {}}
            return {name: [_cell(fields, cell) for cell in cells]}
    return {"cells": [{"kind": kind, "source": source} for kind, source in cells]}


def _cell(fields: Mapping[str, Any], cell: Cell) -> dict[str, str]:
    kind, source = cell
    values = {name: kind for name in fields if name in _KIND_KEYS}
    return values | {name: source for name in fields if name in _SOURCE_KEYS}


def advice(text: str) -> tuple[str, str | None] | None:
    """What to do about the last wrong name in a text: a sentence, and the mended source where it is known."""
    names = [match["name"] for match in _WRONG_NAME.finditer(text)]
    if not names:
        return None
    wrong = names[-1]
    source = next(
        (match["source"] for match in _BLOCK.finditer(text) if re.search(rf"\b{wrong}\b", match["source"])),
        None,
    )
    if wrong in _IMPORTS:
        line = _IMPORTS[wrong]
        return f"`{wrong}` is not imported: `{line}`.", f"{line}\n{source}" if source else line
    known = set(re.findall(r"[A-Za-z_]\w{2,}", text)) - {wrong}
    close = get_close_matches(wrong, sorted(known), 1, 0.75)
    if not close:
        return None
    mended = re.sub(rf"\b{wrong}\b", close[0], source) if source else None
    return f"There is no `{wrong}`; did you mean `{close[0]}`?", mended
