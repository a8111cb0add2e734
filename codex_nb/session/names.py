"""Which names a question and the cells around it speak of: what is told of variables follows from it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codex_nb.session.mentions import variables_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from codex_nb.notebook import Cell, NotebookSnapshot
    from codex_nb.tools.hiding import Hidden

_WORD = re.compile(r"[A-Za-z_]\w*")
_MOST_OF_A_CELL = 20_000
_MOST_OF_ALL = 400_000  # beyond that, only the nearest cells are read for names


@dataclass(frozen=True)
class Names:
    """Names by where they occur.

    ``mentioned`` with an ``@`` in the question, ``asked`` anywhere in it, ``told`` by cells above.
    """

    mentioned: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()
    told: frozenset[str] = frozenset()


def names_in(snapshot: NotebookSnapshot | None, prompt: str, hidden: Hidden) -> Names:
    """Read the names."""
    cells = snapshot.cells if snapshot else ()
    end = len(cells) if snapshot is None or snapshot.current is None else snapshot.current
    return Names(
        mentioned=frozenset(variables_in(prompt)),
        asked=frozenset(_WORD.findall(prompt)),
        told=frozenset(_spoken_of(reversed(cells[:end]), hidden)),
    )


def _spoken_of(cells: Iterable[Cell], hidden: Hidden) -> set[str]:
    """Return the names in code cells, but for those that the user keeps out."""
    told: set[str] = set()
    room = _MOST_OF_ALL
    for cell in cells:
        if cell.kind != "code":
            continue
        source = cell.source[:_MOST_OF_A_CELL]
        room -= len(source)
        if room > 0 and not hidden.skips(cell):
            told.update(_WORD.findall(source))
    return told
