"""From the text of a magic to the work it asks for."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from codex_nb.magics import manage
from codex_nb.magics.cell import answer_cell
from codex_nb.magics.options import OptionError, parse_options
from codex_nb.words import commands as words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from codex_nb.magics.workspace import Workspace

ALIKE = 0.75  # of 1: a word that is so much like a command is a slip, and no question to spend tokens on

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


def dispatch(workspace: Workspace, line: str, cell: str | None) -> Any:
    """Do what the line (and the cell below it) asks for."""
    command, _, rest = line.strip().partition(" ")
    if cell is None and not command:
        return manage.show_help(workspace, "")
    if cell is None and command in HANDLERS:
        return HANDLERS[command](workspace, rest.strip())
    if cell is None and not rest and (near := get_close_matches(command, HANDLERS, n=1, cutoff=ALIKE)):
        raise OptionError(words.no_command(command, near[0]))
    return answer_cell(workspace, parse_options(line, cell or ""))
