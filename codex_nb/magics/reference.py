"""The reference of the magics as plain text: what ``%codex?`` and ``%%codex?`` show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codex_nb.magics.commands import COMMANDS
from codex_nb.magics.options import PARSER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_HEAD = """Ask Codex about this notebook, or manage it.

    %%codex [options]        the question stands below, in as many lines as it needs
    %codex a question        a question in one line
    %codex subcommand        see below

In a question @name brings a variable whole, @cell:3 a cell with its outputs, @file:path a file.
The answer is bound to _codex, and to the name after -o.
Settings for the session: %config CodexMagics."""


def reference() -> str:
    """Return the text, made from the very tables that parse and dispatch."""
    options = [(", ".join(names), text) for names, text in options_and_help()]
    return "\n".join([_HEAD, "", "Options", *_listed(options), "", "Subcommands", *_listed(COMMANDS.items())])


def options_and_help() -> Iterator[tuple[list[str], str]]:
    """Yield each option's spellings and what it does."""
    for action in PARSER._actions:  # noqa: SLF001  argparse has no public list
        yield list(action.option_strings), str(action.help).replace("%%", "%")


def _listed(pairs: Collection[tuple[str, str]]) -> Iterator[str]:
    width = max(len(name) for name, _ in pairs)
    return (f"    {name:<{width}}  {text}" for name, text in pairs)
