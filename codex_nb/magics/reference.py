"""The reference of the magics as plain text: what ``%codex?`` and ``%%codex?`` show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codex_nb.magics.commands import COMMANDS
from codex_nb.magics.options import PARSER
from codex_nb.words import reference as words

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


def reference() -> str:
    """Return the text, made from the very tables that parse and dispatch."""
    options = [(", ".join(names), text) for names, text in options_and_help()]
    first = [words.HEAD, "", words.OPTIONS_HEADING, *_listed(options)]
    return "\n".join([*first, "", words.SUBCOMMANDS_HEADING, *_listed(COMMANDS.items())])


def options_and_help() -> Iterator[tuple[list[str], str]]:
    """Yield each option's spellings and what it does."""
    for action in PARSER._actions:  # noqa: SLF001  argparse has no public list
        yield list(action.option_strings), str(action.help).replace("%%", "%")


def _listed(pairs: Collection[tuple[str, str]]) -> Iterator[str]:
    width = max(len(name) for name, _ in pairs)
    return (f"    {name:<{width}}  {text}" for name, text in pairs)
