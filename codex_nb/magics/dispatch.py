"""From the text of a magic to the work it asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codex_nb.magics.cell import answer_cell
from codex_nb.magics.commands import COMMANDS
from codex_nb.magics.options import parse_options

if TYPE_CHECKING:
    from codex_nb.magics.codex_magics import CodexMagics


def dispatch(magics: CodexMagics, line: str, cell: str | None) -> Any:
    """Do what the line (and the cell below it) asks for."""
    options = parse_options(line, cell or "")
    answer_cell(magics.workspace, options)
