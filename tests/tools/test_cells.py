"""The tools for cells: what was shown may be changed, what is approved is what happens, and what happened is told."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_nb.errors import InvalidArguments, ToolError
from codex_nb.tools.approval import ApprovalMemory, Decision, DecisionKind
from codex_nb.tools.base import Ports
from codex_nb.tools.cells import delete_cells, edit_cell, insert_cells, move_cell, read_cells, run_cell
from codex_nb.tools.describe import RunResult
from codex_nb.tools.hiding import hidden_in
from codex_nb.tools.nbmodel import Cell, NotebookSnapshot
from tests.session.scripted import PaperDocument, ProcessKernel, SameThread, call_tool

pytestmark = pytest.mark.anyio

SKIPPED = Cell("code", "# codex-skip\nkept_out = 4", "skipped")
CELLS = [
    Cell("code", "one = 1", "one"),
    Cell("markdown", "# Two", "two"),
    SKIPPED,
    Cell("code", "%%codex\nGo on.", "asking"),
]
ERROR = {"output_type": "error", "ename": "NameError", "evalue": "gone", "traceback": ["NameError: gone"]}


def notebook(*cells: Cell, shown: bool = True) -> tuple[PaperDocument, Ports]:
    """Return a notebook of cells with its ports; the model has been shown all of them that are not kept out."""
    document = PaperDocument(list(cells or CELLS))
    hidden = hidden_in(NotebookSnapshot("document", tuple(document.cells)))
    known = {cell.cell_id or "": cell.source for cell in document.cells if not hidden.skips(cell)}
    return document, Ports(
        SameThread(),
        document=document,
        hidden=lambda: hidden,
        run_cell=document.run,
        shown_cells=known if shown else {},
    )


async def test_cells_are_inserted_in_order_and_their_ids_are_told() -> None:
    document, ports = notebook()
    cells = [{"kind": "markdown", "source": "# A"}, {"kind": "code", "source": "a = 1"}]
    result = await call_tool(insert_cells, {"cells": cells, "after": "one"}, ports)
    assert (result.ok, result.text) == (True, "Inserted 2 cells with the ids new-1, new-2.")
    assert list(document.sources) == ["one", "new-1", "new-2", "two", "skipped", "asking"]
    refused = await call_tool(insert_cells, {"cells": cells, "after": "nowhere"}, ports)
    assert not refused.ok
    assert refused.text.startswith("No cell was inserted")


async def test_inserted_cells_are_run_up_to_the_first_error() -> None:
    document, ports = notebook()
    sources = ["a", "fails", "b"]
    document.results["fails"] = RunResult((ERROR,), "NameError: gone")
    cells = [{"kind": "code", "source": each} for each in sources] + [{"kind": "markdown", "source": "# C"}]
    result = await call_tool(insert_cells, {"cells": cells, "run": True}, ports)
    assert (result.ok, document.ran) == (False, ["a", "fails"])
    assert "NameError: gone" in result.text
    assert "Not run after this error: new-3." in result.text
    without = replace(ports, run_cell=None)
    result = await call_tool(insert_cells, {"cells": cells, "run": True}, without)
    assert (result.ok, document.ran) == (False, ["a", "fails"])
    assert "not run" in result.text


async def test_which_variables_cells_have_changed_is_told() -> None:
    _, ports = notebook()
    kernel = ProcessKernel({"b": [1]})

    async def run(_cell_id: str, source: str) -> RunResult:
        return kernel.run(source)

    ports = replace(ports, kernel=kernel, run_cell=run)
    cells = [{"kind": "code", "source": each} for each in ("a = 2", "b.append(3)")]
    inserted = await call_tool(insert_cells, {"cells": cells, "run": True}, ports)
    ran = await call_tool(run_cell, {"cell_id": "one"}, ports)
    assert (inserted.changes, ran.changes) == ("new a; changed b (1 → 2)", "new one")


def test_allowing_to_insert_does_not_allow_to_run() -> None:
    cells = {"cells": [{"kind": "code", "source": "a"}]}
    plain, running = (insert_cells.parse(json.dumps(cells | {"run": run})) for run in (False, True))
    assert insert_cells.request(1, plain).summary != insert_cells.request(1, running).summary
    for allowed, other in ((plain, running), (running, plain)):
        memory = ApprovalMemory()
        memory.remember(insert_cells.effect, insert_cells.key(allowed), Decision(DecisionKind.APPROVE_TOOL))
        assert memory.allowed(insert_cells.key(allowed))
        assert not memory.allowed(insert_cells.key(other))


async def test_an_edit_shows_the_cell_before_and_after_and_gives_what_was_shown() -> None:
    document, ports = notebook()
    assert edit_cell.prepare is not None
    edits = {"cell_id": "one", "edits": [{"old": "1", "new": "2"}]}
    proposed = await edit_cell.prepare(edit_cell.parse(json.dumps(edits)), ports)
    request = edit_cell.request(1, proposed)
    assert (request.before, request.code, request.language) == ("one = 1", "one = 2", "python")
    changed = edit_cell.approve(proposed, request, Decision(DecisionKind.APPROVE, code="one = 3"))
    assert (await edit_cell.call(changed, ports)).ok
    assert document.sources["one"] == "one = 3"
    assert (
        await call_tool(edit_cell, edits | {"edits": [{"old": "3", "new": "4"}]}, ports)
    ).ok  # it was shown


@given(before=st.text("ab\n😀", max_size=12), after=st.text("ab\n😀", max_size=12))
async def test_a_new_source_is_what_the_cell_has_afterwards(before: str, after: str) -> None:
    document, ports = notebook(Cell("code", before, "one"), CELLS[-1])
    result = await call_tool(edit_cell, {"cell_id": "one", "source": after}, ports)
    assert result.ok is (before != after.strip("\n"))
    assert document.sources["one"] == (after.strip("\n") if result.ok else before)


@pytest.mark.parametrize("old", ["x", "1"])
async def test_an_edit_whose_text_is_not_there_once_changes_nothing(old: str) -> None:
    document, ports = notebook(Cell("code", "one = 1 + 1", "one"), CELLS[-1])
    result = await call_tool(edit_cell, {"cell_id": "one", "edits": [{"old": old, "new": "2"}]}, ports)
    assert not result.ok
    assert "one = 1 + 1" in result.text
    assert document.sources["one"] == "one = 1 + 1"


CHANGES = [
    (edit_cell, {"cell_id": "one", "source": "one = 2"}),
    (edit_cell, {"cell_id": "one", "edits": [{"old": "1", "new": "2"}]}),
    (delete_cells, {"cell_ids": ["one"]}),
    (delete_cells, {"cell_ids": ["two", "one"]}),
]


@pytest.mark.parametrize(("tool", "arguments"), CHANGES)
async def test_what_was_changed_since_it_was_shown_is_not_changed_and_is_shown_as_it_is_now(
    tool: Any, arguments: dict[str, Any]
) -> None:
    def person_edits() -> None:
        document.cells[0] = Cell("code", "one = 1  # mine", "one")

    document, ports = notebook()
    person_edits()  # before the proposal
    result = await call_tool(tool, arguments, ports)
    assert not result.ok
    assert "one = 1  # mine" in result.text
    document, ports = notebook()
    document.meanwhile = person_edits  # between proposal and approval
    result = await call_tool(tool, arguments, ports)
    assert not result.ok
    assert "one = 1  # mine" in result.text
    assert (document.sources["one"], document.sources["two"]) == ("one = 1  # mine", "# Two")
    document, ports = notebook(shown=False)
    result = await call_tool(tool, arguments, ports)
    assert not result.ok
    assert "has not been shown to you" in result.text


@pytest.mark.parametrize("cell_id", ["skipped", "asking", "nowhere"])
async def test_cells_kept_out_and_the_asking_cell_are_left_alone(cell_id: str) -> None:
    document, ports = notebook()
    before = list(document.cells)
    for tool, arguments in (
        (edit_cell, {"cell_id": cell_id, "source": "x"}),
        (delete_cells, {"cell_ids": ["one", cell_id]}),
        (move_cell, {"cell_id": cell_id, "after": None}),
        (run_cell, {"cell_id": cell_id}),
    ):
        result = await call_tool(tool, arguments, ports)
        assert not result.ok
        assert "kept_out" not in result.text
    assert (document.cells, document.ran) == (before, [])


async def test_all_cells_can_be_read_but_those_kept_out() -> None:
    _, ports = notebook(
        *CELLS, Cell("code", "below", "below", ({"output_type": "stream", "text": "said"},)), shown=False
    )
    listed = (await call_tool(read_cells, {}, ports)).text
    assert [each in listed for each in ("id=one", "id=two", "id=below")] == [True] * 3
    assert [each in listed for each in ("skipped", "kept_out")] == [False, False]
    read = (await call_tool(read_cells, {"cell_ids": ["below", "skipped", "nowhere"]}, ports)).text
    assert ["below\nOutput:\nsaid" in read, "kept_out" in read, "no cell with the id 'nowhere'" in read] == [
        True,
        False,
        True,
    ]
    assert ports.shown_cells == {"below": "below"}


async def test_a_new_source_does_not_put_a_mark_in_the_place_of_a_secret() -> None:
    document, ports = notebook(Cell("code", "key = 'sk-1'\na = 1", "one"), CELLS[-1])
    result = await call_tool(edit_cell, {"cell_id": "one", "source": "key = '[redacted: key]'\na = 2"}, ports)
    assert not result.ok
    assert (
        await call_tool(edit_cell, {"cell_id": "one", "edits": [{"old": "a = 1", "new": "a = 2"}]}, ports)
    ).ok
    assert document.sources["one"] == "key = 'sk-1'\na = 2"


@pytest.mark.parametrize("source", ["", "   \n", "%%codex\nAgain.", "%codex fix"])
async def test_what_has_no_code_or_asks_codex_is_not_run(source: str) -> None:
    document, ports = notebook(Cell("code", source, "one"), CELLS[-1])
    assert not (await call_tool(run_cell, {"cell_id": "one"}, ports)).ok
    assert document.ran == []


async def test_only_the_approved_text_of_a_cell_is_run() -> None:
    document, ports = notebook()
    assert run_cell.prepare is not None
    proposed = await run_cell.prepare(run_cell.parse('{"cell_id": "one"}'), ports)
    request = run_cell.request(1, proposed)
    assert (request.code, request.editable) == ("one = 1", False)
    document.cells[0] = Cell("code", "one = 1  # mine", "one")
    result = await run_cell.call(run_cell.approve(proposed, request, Decision(DecisionKind.APPROVE)), ports)
    assert (result.ok, document.ran) == (False, [])


@pytest.mark.parametrize(("tool", "proposal"), [(edit_cell, {"before": "x", "after": "y", "kind": "code"})])
async def test_the_model_cannot_say_what_the_cell_was(tool: Any, proposal: dict[str, Any]) -> None:
    document, ports = notebook()
    await call_tool(tool, {"cell_id": "one", "source": "one = 2", **proposal}, ports)
    assert document.sources["one"] == "one = 2"


@pytest.mark.parametrize(
    "arguments", [{}, {"source": "1", "edits": [{"old": "1", "new": "2"}]}, {"edits": [{"old": ""}]}]
)
def test_an_edit_is_given_in_one_way(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidArguments):
        edit_cell.parse(json.dumps({"cell_id": "one"} | arguments))


async def test_a_tool_that_is_called_without_its_proposal_does_nothing() -> None:
    document, ports = notebook()
    for tool, arguments in CHANGES:
        parsed: Any = tool.parse(json.dumps(arguments))
        approved: Any = tool.approve(parsed, tool.request(1, parsed), Decision(DecisionKind.APPROVE))
        with pytest.raises(ToolError):
            await tool.call(approved, ports)
    assert document.cells == CELLS
