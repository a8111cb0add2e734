"""Which names a question and the cells around it speak of: what is told of variables follows from it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codex_nb.session.cells import assigned_names, is_skipped
from codex_nb.session.mentions import mentions_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from codex_nb.notebook import Cell, NotebookSnapshot

_WORD = re.compile(r"[A-Za-z_]\w*")
_MOST_OF_A_CELL = 20_000
_MOST_OF_ALL = 400_000  # beyond that, only the nearest cells are read for names


@dataclass(frozen=True)
class Names:
    """Names by where they occur.

    ``mentioned`` with an ``@`` in the question, ``asked`` anywhere in it, ``told`` by cells above, ``hidden`` by cells
    that the user keeps out and by no other.
    """

    mentioned: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()
    told: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()


def names_in(snapshot: NotebookSnapshot | None, prompt: str) -> Names:
    """Read the names."""
    cells = snapshot.cells if snapshot else ()
    end = len(cells) if snapshot is None or snapshot.current is None else snapshot.current
    told, hidden = _spoken_of(reversed(cells[:end]))
    later, hidden_below = _spoken_of(cells[end + 1 :])
    return Names(
        mentioned=frozenset(mention.target for mention in mentions_in(prompt)),
        asked=frozenset(_WORD.findall(prompt)),
        told=frozenset(told),
        hidden=frozenset((hidden | hidden_below) - told - later),
    )


def _spoken_of(cells: Iterable[Cell]) -> tuple[set[str], set[str]]:
    """Return the names in code cells, and the names that cells which are kept out assign."""
    told: set[str] = set()
    hidden: set[str] = set()
    room = _MOST_OF_ALL
    for cell in cells:
        if cell.kind != "code":
            continue
        source = cell.source[:_MOST_OF_A_CELL]
        room -= len(source)
        if is_skipped(cell):
            hidden |= assigned_names(source)
        elif room > 0:
            told.update(_WORD.findall(source))
    return told, hidden
