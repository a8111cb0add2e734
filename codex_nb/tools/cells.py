"""The tools that work on the cells of the open notebook: read, insert, edit, delete, move and run them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from codex_nb.errors import ToolError
from codex_nb.tools.approval import Approved, Effect
from codex_nb.tools.base import Arguments, CallDisplay, Ports, Tool, ToolResult, required
from codex_nb.tools.builtin import run_result
from codex_nb.tools.describe import CellState, NewCell, RunResult
from codex_nb.tools.nbmodel import asks_codex, shorten, truncate

if TYPE_CHECKING:
    from codex_nb.tools.content_hash import Variables
    from codex_nb.tools.hiding import Hidden
    from codex_nb.tools.nbmodel import Cell, NotebookSnapshot


SHOWN_LIMIT = 14_000
"""The longest source, in characters, that a result shows as a whole."""
MAX_CELLS = 50
_LISTED = 300
_TITLE_LENGTH = 80
_REDACTED = "[redacted:"
_NOT_HERE = "No notebook is open here. Give the code in your answer instead, for the user to copy."


def _normalised(source: str) -> str:
    return source.replace("\r\n", "\n").strip("\n")


Source = Annotated[str, AfterValidator(_normalised)]
CellKind = Literal["code", "markdown"]


def title_of(source: str) -> str:
    """Return a cell's first line, which names it to a reader."""
    line = next(iter(source.strip().splitlines()), "")
    return shorten(line, _TITLE_LENGTH) or "(empty cell)"


def _language(kind: str) -> str:
    return "python" if kind == "code" else "markdown"


class _Notebook:
    """The open notebook as the model may see it."""

    def __init__(self, snapshot: NotebookSnapshot, hidden: Hidden) -> None:
        self._snapshot = snapshot
        self.visible = [
            (number, cell)
            for number, cell in enumerate(snapshot.cells, 1)
            if cell.cell_id is not None and not hidden.skips(cell)
        ]
        self.skipped = sum(map(hidden.skips, snapshot.cells))
        self.hidden = hidden

    def cell(self, cell_id: str) -> Cell:
        """Return a cell by its id; raises ToolError."""
        if any(cell.cell_id == cell_id and self.hidden.skips(cell) for cell in self._snapshot.cells):
            raise ToolError(f"The user keeps the cell {cell_id} out (codex-skip): leave it as it is.")
        cell = next((cell for _, cell in self.visible if cell.cell_id == cell_id), None)
        if cell is None:
            raise ToolError(f"There is no cell with the id {cell_id!r}. read_cells lists the cells.")
        return cell

    def target(self, cell_id: str) -> Cell:
        """Return a cell that may be changed: any but the one with the question; raises ToolError."""
        cell, asking = self.cell(cell_id), self._snapshot.asking
        if asking is not None and asking.cell_id == cell_id and asks_codex(cell.source):
            raise ToolError("That is the cell that asks this question: it stays as it is.")
        return cell


async def _read_notebook(ports: Ports) -> _Notebook:
    snapshot = await required(ports.document, _NOT_HERE).read()
    return _Notebook(snapshot, await ports.main_thread.call(ports.hidden))


def _show(ports: Ports, cell: Cell) -> str:
    """Return a cell's source for the model, and note that it has been shown, if it is short enough."""
    if len(cell.source) <= SHOWN_LIMIT and cell.cell_id is not None:
        ports.shown_cells[cell.cell_id] = cell.source
    return truncate(cell.source, SHOWN_LIMIT)


def _check_shown(ports: Ports, cell: Cell) -> None:
    """Raise ToolError with the text as it is now, unless it is what the model has been shown."""
    known = ports.shown_cells.get(cell.cell_id or "")
    if known == cell.source:
        return
    why = "has not been shown to you as a whole" if known is None else "has been changed since you saw it"
    text = _show(ports, cell)
    raise ToolError(f"Nothing was done: the cell {cell.cell_id} {why}. Its text is now:\n{text}")


async def _refused(ports: Ports, problem: ToolError, sources: dict[str, str]) -> ToolResult:
    """Say why a change was refused, with the texts that are no longer those it was proposed for."""
    try:
        notebook = await _read_notebook(ports)
    except ToolError:
        return ToolResult(f"Nothing was done: {problem}.", ok=False)
    changed = [
        cell for _, cell in notebook.visible if sources.get(cell.cell_id or "") not in {None, cell.source}
    ]
    texts = [f"The text of the cell {cell.cell_id} is now:\n{_show(ports, cell)}" for cell in changed]
    return ToolResult("\n\n".join([f"Nothing was done: {problem}.", *texts]), ok=False)


_READ_DESCRIPTION = """\
Reads cells of the user's open notebook as it is now, above and below the asking cell. Without ids it lists all cells: \
id, kind, execution count, first line. With ids it returns their whole source and their outputs. A cell must have been \
shown to you before you change it."""


class ReadCells(Arguments, extra="forbid"):
    """The ids of the cells to read."""

    cell_ids: list[str] = Field(
        default=[], max_length=MAX_CELLS, description="Ids of cells; empty for a list of all cells."
    )


async def _read(call: Approved[ReadCells], ports: Ports) -> ToolResult:
    notebook = await _read_notebook(ports)
    if not call.arguments.cell_ids:
        return ToolResult(_listed(notebook))
    texts: list[str] = []
    images: list[str] = []
    room = SHOWN_LIMIT
    for cell_id in call.arguments.cell_ids:
        try:
            cell = notebook.cell(cell_id)
        except ToolError as problem:
            texts.append(str(problem))
            continue
        if texts and len(cell.source) > room:
            texts.append(f"The cell {cell_id} does not fit here: read it by itself.")
            continue
        source = _show(ports, cell)
        shown = run_result(RunResult(notebook.hidden.outputs(cell.outputs)))
        outputs = f"\nOutput:\n{truncate(shown.text, max(400, room // 2))}" if cell.outputs else ""
        texts.append(f"Cell {cell_id} ({cell.kind}):\n{source}{outputs}")
        images += shown.images
        room -= len(texts[-1])
    return ToolResult("\n\n".join(texts), tuple(images[:4]))


def _listed(notebook: _Notebook) -> str:
    lines = [
        f"{number}. id={cell.cell_id} {cell.kind}{f' [{cell.execution_count}]' if cell.execution_count else ''}"
        f" {title_of(cell.source)}"
        for number, cell in notebook.visible
    ]
    if len(lines) > _LISTED:
        lines = [*lines[:_LISTED], f"… {len(lines)} cells in all"]
    if notebook.skipped:
        lines.append(f"{notebook.skipped} more are kept out by the user (codex-skip)")
    return "\n".join(lines)


read_cells = Tool(
    name="read_cells",
    description=_READ_DESCRIPTION,
    arguments=ReadCells,
    effect=Effect.INSPECT,
    call=_read,
    title="Read cells",
    summary="Reads cells of the open notebook. Changes nothing.",
    requires="document",
)


_MARKER = "# %%"
_MARKDOWN_MARKER = f"{_MARKER} [markdown]"
RUN = "run"
_INSERT_DESCRIPTION = """\
Inserts cells into the user's open notebook, in the given order, directly below the asking cell (or below the cell \
with the id "after"). They are not run, unless "run" is true and run_cell is offered: then the code cells are run in \
their order, up to the first error. The result gives their ids and says what was inserted and run; say so to the user \
truthfully."""


class CellArguments(Arguments):
    """One cell to insert."""

    kind: CellKind
    source: Source


class InsertCells(Arguments):
    """Cells to insert, the cell that they follow, and whether they are run."""

    cells: list[CellArguments] = Field(min_length=1, max_length=MAX_CELLS)
    after: str | None = Field(default=None, description="A cell's id; null for the asking cell.")
    run: bool = Field(default=False, description="Whether to run the code cells, too.")

    @property
    def view(self) -> CallDisplay:
        """What is approved: to insert, or to insert and run."""
        if not self.run:
            return CallDisplay()
        return CallDisplay(summary="Adds these cells to the notebook and runs them.", variant=RUN)

    def to_code(self) -> str | None:
        """Return the cells as a percent-format script, None where it would not read back as these cells."""
        script = "\n\n".join(_to_percent_format(cell.kind, cell.source) for cell in self.cells)
        return script if self.after is None and _from_percent_format(script) == self.cells else None

    def with_code(self, code: str) -> InsertCells:
        """Return the cells of a percent-format script; the lines before its first marker are a code cell."""
        return InsertCells(cells=_from_percent_format(code), after=self.after, run=self.run)


def _to_percent_format(kind: str, source: str) -> str:
    if kind == "code":
        return f"{_MARKER}\n{source}"
    return "\n".join([_MARKDOWN_MARKER, *(f"# {line}" if line else "#" for line in source.split("\n"))])


def _from_percent_format(script: str) -> list[CellArguments]:
    cells: list[CellArguments] = []
    lines: list[str] = []
    kind: CellKind = "code"
    for line in [*script.split("\n"), _MARKER]:
        if not line.startswith(_MARKER):
            lines.append(line.removeprefix("#").removeprefix(" ") if kind == "markdown" else line)
            continue
        if source := "\n".join(lines).strip("\n"):
            cells.append(CellArguments(kind=kind, source=source))
        kind, lines = ("markdown" if line.startswith(_MARKDOWN_MARKER) else "code"), []
    return cells


async def _insert(call: Approved[InsertCells], ports: Ports) -> ToolResult:
    cells = [NewCell(cell.kind, cell.source) for cell in call.arguments.cells]
    try:
        ids = await required(ports.document, _NOT_HERE).insert(cells, call.arguments.after)
    except ToolError as problem:
        return ToolResult(f"No cell was inserted: {problem}", ok=False)
    ports.shown_cells.update(zip(ids, (cell.source for cell in cells), strict=True))
    plural = "s" * (len(ids) > 1)
    inserted = f"Inserted {len(ids)} cell{plural} with the id{plural} {', '.join(ids)}."
    states = tuple(CellState(cell_id, cell.source) for cell_id, cell in zip(ids, cells, strict=True))
    if not call.arguments.run:
        return ToolResult(inserted, cells=states)
    code = [(cell_id, cell.source) for cell_id, cell in zip(ids, cells, strict=True) if cell.kind == "code"]
    ran = await _run_all(code, ports, inserted)
    return replace(ran, cells=(*states, *ran.cells))


async def _run_all(cells: list[tuple[str, str]], ports: Ports, heading: str = "") -> ToolResult:
    """Run cells in their order, up to the first that fails; tell which variables they have changed."""
    before = await _variables(ports)
    result = await _run_each(cells, ports, heading)
    return replace(result, changes=before.changes(await _variables(ports)))


async def _variables(ports: Ports) -> Variables:
    from codex_nb.tools.content_hash import Variables

    if (kernel := ports.kernel) is None:
        return Variables({})
    return await ports.main_thread.call(lambda: Variables(ports.hidden().visible(kernel.namespace())))


async def _run_each(cells: list[tuple[str, str]], ports: Ports, heading: str) -> ToolResult:
    texts: list[str] = [heading] * bool(heading)
    images: list[str] = []
    states: list[CellState] = []
    is_ok = True
    for place, (cell_id, source) in enumerate(cells):
        if not source.strip() or asks_codex(source):
            texts.append(f"The cell {cell_id} was not run: it is empty, or asks Codex.")
            continue
        try:
            ran = await required(ports.run_cell, "cells cannot be run from here")(cell_id, source)
            hidden = await ports.main_thread.call(ports.hidden)
            run = RunResult(hidden.outputs(ran.outputs), ran.error)
            states.append(CellState(cell_id, source, run))
            result = run_result(run)
        except ToolError as problem:
            result = ToolResult(f"It was not run: {problem}.", ok=False)
        texts.append(f"The cell {cell_id}:\n{result.text}")
        images += result.images
        if not (is_ok := result.ok):
            if left := [each for each, _ in cells[place + 1 :]]:
                texts.append(f"Not run after this error: {', '.join(left)}.")
            break
    return ToolResult("\n\n".join(texts), tuple(images[:4]), ok=is_ok, cells=tuple(states))


insert_cells = Tool(
    name="insert_cells",
    description=_INSERT_DESCRIPTION,
    arguments=InsertCells,
    effect=Effect.EDIT,
    call=_insert,
    title="Insert cells",
    summary="Adds cells below this one.",
    requires="document",
)


_EDIT_DESCRIPTION = """\
Changes the source of one cell of the user's open notebook: give the whole new "source", or "edits", each of which \
replaces a text that occurs exactly once in the cell. Prefer edits for small changes. The user sees the difference and \
may be asked. The cell is not run, and its outputs stay those of the old source until it is; use run_cell after it \
where that is offered. If the cell has been changed since it was shown to you, nothing is done and you get its text."""


class Replacement(Arguments):
    """A text to find in the cell, and what takes its place."""

    old: str = Field(min_length=1, description="Text that occurs exactly once in the cell.")
    new: str


class EditCell(Arguments):
    """A cell's new source, or the edits that lead to it."""

    cell_id: str = Field(description="The id of the cell.")
    source: Source | None = Field(default=None, description="The whole new source; null if edits are given.")
    edits: list[Replacement] = Field(default=[], max_length=MAX_CELLS)

    @model_validator(mode="after")
    def _has_one_way(self) -> EditCell:
        if (self.source is None) is not bool(self.edits):
            raise ValueError("give either source or edits")
        return self

    def applied_to(self, before: str) -> str:
        """Return the source after the edit; raises ToolError for a text that is not there once."""
        if self.source is not None:
            return self.source
        after = before
        for edit in self.edits:
            if (count := after.count(edit.old)) != 1:
                found = "is not in the cell" if not count else f"occurs {count} times in the cell"
                raise ToolError(
                    f"Nothing was done: this text {found}:\n{edit.old}\nThe cell's text is now:\n{before}"
                )
            after = after.replace(edit.old, edit.new.replace("\r\n", "\n"))
        return after


class ProposedEdit(EditCell):
    """An edit with the source that it was proposed for, and the source that it gives."""

    before: str
    after: str
    kind: str

    @property
    def view(self) -> CallDisplay:
        """The cell before, for a comparison with its new source."""
        return CallDisplay(language=_language(self.kind), before=self.before)

    def to_code(self) -> str:
        """Return the cell's new source."""
        return self.after

    def with_code(self, code: str) -> ProposedEdit:
        """Return the edit that gives the cell this source."""
        return self.model_copy(update={"after": _normalised(code)})


async def _propose_edit(arguments: EditCell, ports: Ports) -> EditCell:
    cell = (await _read_notebook(ports)).target(arguments.cell_id)
    if len(cell.source) > SHOWN_LIMIT:
        if arguments.source is not None:
            raise ToolError("Nothing was done: the cell is too long to be replaced as a whole. Use edits.")
    else:
        _check_shown(ports, cell)
    after = arguments.applied_to(cell.source)
    if after == cell.source:
        raise ToolError("Nothing was done: the cell has this source already.")
    if after.count(_REDACTED) > cell.source.count(_REDACTED):
        raise ToolError(
            "Nothing was done: the new source has a mark in the place of a secret, which the cell would lose. "
            "Use edits that leave that place as it is."
        )
    return ProposedEdit(
        cell_id=arguments.cell_id,
        source=arguments.source,
        edits=arguments.edits,
        before=cell.source,
        after=after,
        kind=cell.kind,
    )


async def _edit(call: Approved[EditCell], ports: Ports) -> ToolResult:
    edit = call.arguments
    if not isinstance(edit, ProposedEdit):
        raise ToolError(_NOT_HERE)
    try:
        await required(ports.document, _NOT_HERE).edit(edit.cell_id, edit.before, edit.after)
    except ToolError as problem:
        return await _refused(ports, problem, {edit.cell_id: edit.before})
    ports.shown_cells[edit.cell_id] = edit.after
    state = CellState(edit.cell_id, edit.after)
    return ToolResult(f"Edited the cell {edit.cell_id}. It was not run.", cells=(state,))


edit_cell = Tool(
    name="edit_cell",
    description=_EDIT_DESCRIPTION,
    arguments=EditCell,
    effect=Effect.EDIT,
    call=_edit,
    title="Edit cell",
    summary="Changes the source of a cell.",
    requires="document",
    prepare=_propose_edit,
)


class DeleteCells(Arguments):
    """The cells to delete."""

    cell_ids: list[str] = Field(min_length=1, max_length=MAX_CELLS)


class ProposedCell(Arguments):
    """A cell as the user is shown it before it is deleted, moved or run."""

    cell_id: str
    kind: str
    source: str


def _proposed(cell: Cell) -> ProposedCell:
    return ProposedCell(cell_id=cell.cell_id or "", kind=cell.kind, source=cell.source)


class ProposedDeletion(DeleteCells):
    """The cells to delete, with their sources."""

    cells: list[ProposedCell]

    @property
    def view(self) -> CallDisplay:
        """The cells as they are shown; they cannot be edited in the approval."""
        count = len(self.cells)
        return CallDisplay(
            summary=f"Deletes {'this cell' if count == 1 else f'these {count} cells'}.", editable=False
        )

    def to_code(self) -> str:
        """Return the cells as a percent-format script."""
        return "\n\n".join(_to_percent_format(cell.kind, cell.source) for cell in self.cells)


async def _propose_deletion(arguments: DeleteCells, ports: Ports) -> DeleteCells:
    notebook = await _read_notebook(ports)
    cells = [notebook.target(cell_id) for cell_id in dict.fromkeys(arguments.cell_ids)]
    for cell in cells:
        if len(cell.source) <= SHOWN_LIMIT:
            _check_shown(ports, cell)
    return ProposedDeletion(cell_ids=arguments.cell_ids, cells=[_proposed(cell) for cell in cells])


async def _delete(call: Approved[DeleteCells], ports: Ports) -> ToolResult:
    deletion = call.arguments
    if not isinstance(deletion, ProposedDeletion):
        raise ToolError(_NOT_HERE)
    sources = {cell.cell_id: cell.source for cell in deletion.cells}
    try:
        await required(ports.document, _NOT_HERE).delete(sources)
    except ToolError as problem:
        return await _refused(ports, problem, sources)
    states = tuple(CellState(cell_id, None) for cell_id in sources)
    return ToolResult(f"Deleted {len(sources)} cell{'s' * (len(sources) > 1)}.", cells=states)


delete_cells = Tool(
    name="delete_cells",
    description=(
        "Deletes cells of the user's open notebook, all of them or none. What they have defined stays in the kernel."
    ),
    arguments=DeleteCells,
    effect=Effect.EDIT,
    call=_delete,
    title="Delete cells",
    summary="Deletes cells.",
    requires="document",
    prepare=_propose_deletion,
)


class MoveCell(Arguments):
    """The cell to move, and the cell below which it goes."""

    cell_id: str
    after: str | None = Field(description="The id of the cell above its new place; null for the top.")


class ProposedMove(MoveCell):
    """A move with the cell, and the first line of the cell above its new place."""

    cell: ProposedCell
    above: str

    @property
    def view(self) -> CallDisplay:
        """The cell's source, and where it goes."""
        place = (
            f"below the cell that begins with: {self.above}" if self.above else "to the top of the notebook"
        )
        return CallDisplay(
            summary=f"Moves this cell {place}", language=_language(self.cell.kind), editable=False
        )

    def to_code(self) -> str:
        """Return the source of the cell that is moved."""
        return self.cell.source


async def _propose_move(arguments: MoveCell, ports: Ports) -> MoveCell:
    notebook = await _read_notebook(ports)
    cell = notebook.target(arguments.cell_id)
    if arguments.after == arguments.cell_id:
        raise ToolError("Nothing was done: a cell cannot be moved below itself.")
    above = "" if arguments.after is None else title_of(notebook.cell(arguments.after).source)
    return ProposedMove(cell_id=arguments.cell_id, after=arguments.after, cell=_proposed(cell), above=above)


async def _move(call: Approved[MoveCell], ports: Ports) -> ToolResult:
    try:
        await required(ports.document, _NOT_HERE).move(call.arguments.cell_id, call.arguments.after)
    except ToolError as problem:
        return ToolResult(f"Nothing was done: {problem}.", ok=False)
    return ToolResult(f"Moved the cell {call.arguments.cell_id}.")


move_cell = Tool(
    name="move_cell",
    description="Moves one cell of the user's open notebook below another, with its outputs.",
    arguments=MoveCell,
    effect=Effect.EDIT,
    call=_move,
    title="Move cell",
    summary="Moves a cell.",
    requires="document",
    prepare=_propose_move,
)


_RUN_DESCRIPTION = """\
Runs one code cell of the user's open notebook as it is now, just as the user would: its outputs appear below that \
cell, it gets its execution count, and it becomes part of the history. Outputs and errors come back as the result. Use \
it for cells that are to stay; use run_python to look at something."""


class RunCell(Arguments):
    """The cell to run."""

    cell_id: str


class ProposedRun(RunCell):
    """A run with the source that is approved: no other text is run."""

    source: str

    @property
    def view(self) -> CallDisplay:
        """The cell's source, which is changed by editing the cell."""
        return CallDisplay(editable=False)

    def to_code(self) -> str:
        """Return the source that runs."""
        return self.source


async def _propose_run(arguments: RunCell, ports: Ports) -> RunCell:
    cell = (await _read_notebook(ports)).target(arguments.cell_id)
    if cell.kind != "code" or not cell.source.strip():
        raise ToolError("Nothing was run: that cell has no code.")
    if asks_codex(cell.source):
        raise ToolError("Nothing was run: that cell asks Codex, which cannot be done inside an answer.")
    return ProposedRun(cell_id=arguments.cell_id, source=cell.source)


async def _run(call: Approved[RunCell], ports: Ports) -> ToolResult:
    run = call.arguments
    if not isinstance(run, ProposedRun):
        raise ToolError(_NOT_HERE)
    return await _run_all([(run.cell_id, run.source)], ports)


run_cell = Tool(
    name="run_cell",
    description=_RUN_DESCRIPTION,
    arguments=RunCell,
    effect=Effect.EXECUTE,
    call=_run,
    title="Run cell",
    summary="Runs this cell of the notebook.",
    requires="run_cell",
    prepare=_propose_run,
)


CHANGE_CELLS = frozenset(tool.name for tool in (insert_cells, edit_cell, delete_cells, move_cell, run_cell))
"""The tools whose calls change or run cells of the notebook."""
