from __future__ import annotations

from typing import Any

import pytest

from codex_nb.errors import InvalidArguments
from codex_nb.tools.approval import Decision, DecisionKind
from codex_nb.tools.builtin import InsertCells, insert_cells

CELLS = [
    {"kind": "markdown", "source": "## Penguins\n\nof *three* kinds"},
    {"kind": "code", "source": "import pandas as pd\n\nprint('x')  # a remark"},
]
SCRIPT = """\
# %% [markdown]
# ## Penguins
#
# of *three* kinds

# %%
import pandas as pd

print('x')  # a remark"""


def arguments(cells: Any = CELLS, after: str | None = None) -> InsertCells:
    return InsertCells(cells=cells, after=after)


def edited(before: InsertCells, code: str) -> InsertCells:
    request = insert_cells.request(1, before)
    return insert_cells.approve(before, request, Decision(DecisionKind.APPROVE, code=code)).arguments


def test_cells_that_wait_for_approval_are_shown_as_a_script() -> None:
    request = insert_cells.request(1, arguments())
    assert (request.code, request.language) == (SCRIPT, "python")


def test_a_script_that_was_not_changed_gives_the_same_cells() -> None:
    assert edited(arguments(), SCRIPT) == arguments()
    assert edited(arguments(), SCRIPT + "\n") == arguments()


def test_what_a_person_writes_into_the_script_is_what_is_inserted() -> None:
    changed = SCRIPT.replace("three", "four") + "\n\n# %%\nmore = 1\n\n# %% [markdown]\nprose as it is\n"
    more = [{"kind": "code", "source": "more = 1"}, {"kind": "markdown", "source": "prose as it is"}]
    first = {"kind": "markdown", "source": "## Penguins\n\nof *four* kinds"}
    assert edited(arguments(), changed) == arguments([first, CELLS[1], *more])


@pytest.mark.parametrize(
    "said", [arguments(after="cell-7"), arguments([{"kind": "code", "source": "a = 1\n# %% b"}])]
)
def test_what_a_script_cannot_say_is_shown_as_it_was_sent(said: InsertCells) -> None:
    request = insert_cells.request(1, said)
    assert request.language == "json"
    assert edited(said, request.code) == said
    assert edited(said, request.code + "\n") == said


def test_a_script_without_a_cell_inserts_nothing() -> None:
    with pytest.raises(InvalidArguments, match="at least 1"):
        edited(arguments(), "\n\n")
