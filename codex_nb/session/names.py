"""Which names a question and the cells around it speak of: what is told of variables follows from it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from codex_nb.session.mentions import variables_in
from codex_nb.tools.bindings import bound_names

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

    ``mentioned`` with an ``@`` in the question, ``asked`` anywhere in it, ``told`` by cells above, ``later`` by cells
    below, ``made`` by code that the model ran.
    """

    mentioned: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()
    told: frozenset[str] = frozenset()
    later: frozenset[str] = frozenset()
    made: frozenset[str] = frozenset()

    def counts(self, name: str) -> bool:
        """Whether a variable's value makes a question another one.

        What only a cell below or the model's own code defines does not: it was not there when the question was first
        asked, and is there when the notebook is run again.
        """
        return name in self.told or name in self.asked or not (name in self.later or name in self.made)


def names_in(snapshot: NotebookSnapshot | None, prompt: str, ran: Iterable[str], hidden: Hidden) -> Names:
    """Read the names; ``ran`` is the code that the model ran in this kernel."""
    cells = snapshot.cells if snapshot else ()
    end = len(cells) if snapshot is None or snapshot.current is None else snapshot.current
    return Names(
        mentioned=frozenset(variables_in(prompt)),
        asked=frozenset(_WORD.findall(prompt)),
        told=frozenset(_spoken_of(reversed(cells[:end]), hidden)),
        later=frozenset(_spoken_of(cells[end + 1 :], hidden)),
        made=frozenset(chain.from_iterable(map(bound_names, ran))),
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
