from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_nb.errors import InvalidArguments
from codex_nb.rendering.sanitize import escape_invisible
from codex_nb.tools.approval import Decision, DecisionKind
from codex_nb.tools.base import Tool, builtin_tools
from codex_nb.tools.cells import InsertCells, insert_cells
from codex_nb.ui.part_views import readable_arguments

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


LINES = st.one_of(
    st.sampled_from(
        ["", " ", "# %%", "# %% [markdown]", "%%", "%%bash", "#", "# ", "#x", "a  ", "```", "\t", "# %%time"]
    ),
    st.text(max_size=8),
)
SOURCES = st.lists(LINES, max_size=6).map("\n".join) | st.text(
    st.characters(categories=["C", "Z", "L"]), max_size=12
)
SENT = st.lists(
    st.builds(
        lambda kind, source: {"kind": kind, "source": source}, st.sampled_from(["code", "markdown"]), SOURCES
    ),
    min_size=1,
    max_size=4,
)


@given(SENT)
def test_what_is_inserted_is_what_was_shown(cells: list[dict[str, str]]) -> None:
    before = insert_cells.parse(json.dumps({"cells": cells}))
    request = insert_cells.request(1, before)
    shown = escape_invisible(request.code)
    assert edited(before, request.code) == before
    # a reader of the approval, who knows how characters are written out, reads the same cells
    read = re.sub("⟦U\\+([0-9A-F]{4,6})⟧", lambda mark: chr(int(mark[1], 16)), shown)
    again = insert_cells.parse(read) if request.language == "json" else before.with_code(read)
    assert again == before


@given(SENT, SENT)
def test_cells_that_differ_are_shown_and_remembered_apart(
    some: list[dict[str, str]], others: list[dict[str, str]]
) -> None:
    one, other = (insert_cells.parse(json.dumps({"cells": cells})) for cells in (some, others))
    shown = [escape_invisible(insert_cells.request(1, each).code) for each in (one, other)]
    assert (shown[0] == shown[1]) is (one == other)
    assert (insert_cells.key(one) == insert_cells.key(other)) is (one == other)


@pytest.mark.parametrize("fence", ["```python", "~~~", "````html", "```{code-cell}", "```"])
def test_a_markdown_cell_with_a_fence_is_shown_as_one_cell(fence: str) -> None:
    cell = {"kind": "markdown", "source": f"Look:\n\n{fence}\nls  \n%matplotlib\n{fence[:3]}"}
    request = insert_cells.request(1, arguments([cell]))
    shown = f"# %% [markdown]\n# Look:\n#\n# {fence}\n# ls  \n# %matplotlib\n# {fence[:3]}"
    assert (request.language, request.code) == ("python", shown)
    magic = {
        **cell,
        "source": cell["source"].replace("%matplotlib", "%%bash"),
    }  # which would begin another cell
    assert insert_cells.request(1, arguments([magic])).language == "json"


@pytest.mark.parametrize("tool", list(builtin_tools()), ids=lambda tool: tool.name)
@pytest.mark.parametrize(
    "sent", ["[" * 100_000, '{"a":' * 100_000, "NaN", '"', "[]", '{"code": ' + "9" * 5000 + "}"]
)
def test_arguments_of_any_shape_are_refused_in_words(tool: Tool[Any], sent: str) -> None:
    with pytest.raises(InvalidArguments, match=tool.name):
        tool.parse(sent)
    assert readable_arguments(sent)[0]


def test_a_script_without_a_cell_inserts_nothing() -> None:
    with pytest.raises(InvalidArguments, match="at least 1"):
        edited(arguments(), "\n\n")
