"""From the text of a magic to the work it asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codex_nb.magics import manage
from codex_nb.magics.cell import answer_cell
from codex_nb.magics.options import parse_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from codex_nb.magics.codex_magics import CodexMagics
    from codex_nb.magics.workspace import Workspace


HANDLERS: Mapping[str, Callable[[Workspace, str], Any]] = {
    "status": manage.status,
    "login": manage.login,
    "logout": manage.logout,
    "models": manage.models,
    "model": manage.model,
    "effort": manage.effort,
    "usage": manage.usage,
    "context": manage.context,
    "thread": manage.thread,
    "threads": manage.threads,
    "new": manage.new,
    "last": manage.last,
    "fix": manage.fix,
    "explain": manage.explain,
    "config": manage.config,
    "help": manage.show_help,
}


def dispatch(magics: CodexMagics, line: str, cell: str | None) -> Any:
    """Do what the line (and the cell below it) asks for."""
    workspace = magics.workspace
    command, _, rest = line.strip().partition(" ")
    if cell is None and not command:
        return manage.show_help(workspace, "")
    if cell is None and command in HANDLERS:
        return HANDLERS[command](workspace, rest.strip())
    return answer_cell(workspace, parse_options(line, cell or ""))
