"""The notebook as the kernel knows it: the cells that ran here with their outputs, and the open document or its file.

:meth:`OutputRecorder.cells` is in the order of the notebook, in which a cell that runs again keeps its place;
:meth:`OutputRecorder.runs` is in the order of time and has every run.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from codex_nb.host.shell import (
    OutputCollector,
    add_listener,
    current_request,
    display_id_of,
    error_line,
    front_end,
    remove_listener,
)
from codex_nb.tools.introspection import exact_text, snapshot
from codex_nb.tools.nbmodel import Cell, NotebookSnapshot, Run, cell_of, tags_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from codex_nb.tools.content_hash import Variables

_CELL_LIMIT = 5_000
_RUN_LIMIT = 5_000
_DISPLAY_LIMIT = 10_000
_DISPLAY_OWNERS = 10  # cells that show one display
_MEMORY_LIMIT = 64_000_000  # characters of outputs, over all cells


@dataclass(eq=False)
class _Execution:
    """One run of a cell.

    ``request`` is the id of its execute request, ``identities`` the ids of the user's variables before it; in a cell
    that is marked, ``alive`` are their values: another object at the address of one would not be told from it.
    ``contents`` is what these held, because such a cell may change them from within, by whatever it calls.
    """

    source: str
    cell_id: str | None
    request: str
    execution_count: int | None = None
    tags: frozenset[str] = frozenset()
    identities: Mapping[str, int] = field(default_factory=dict)
    alive: tuple[object, ...] = ()
    contents: Variables | None = None
    changed: frozenset[str] = frozenset()
    succeeded: bool = False
    error: str = ""
    deleted: bool = False
    inner_error: str = ""  # of code that a magic such as %%capture ran inside the cell
    cached_run: Run | None = None  # cleared when the run changes
    cached_cell: Cell | None = None  # cleared when its outputs change; it keeps the texts made of it
    result_count: int = 0  # in the history, which has the results of a terminal
    collector: OutputCollector = field(default_factory=OutputCollector)
    size: int = 0

    def cell(self, results: Mapping[int, Any]) -> Cell:
        """Return the cell, with its results in a terminal's history: the same object as long as nothing changes."""
        count = len(results.get(self.execution_count or 0, ()))
        if self.cached_cell is None or count != self.result_count:
            outputs = (*_history_outputs(results, self.execution_count), *self.collector.outputs())
            self.cached_cell = Cell(
                "code", self.source, self.cell_id, outputs, self.execution_count, self.tags
            )
            self.result_count = count
        return self.cached_cell

    def run(self) -> Run:
        if self.cached_run is None:
            cell = Cell("code", self.source, self.cell_id, (), self.execution_count, self.tags)
            self.cached_run = Run(cell, self.changed, self.succeeded, self.error, self.deleted)
        return self.cached_run

    def update_changed(self, namespace: Mapping[str, Any]) -> None:
        """Note which names have another value than before."""
        now = _identities(namespace)
        self.changed = frozenset(name for name in now if now[name] != self.identities.get(name))
        if self.contents is not None:
            self.changed |= frozenset(self.contents.changed(_contents(self.source, namespace)))
        self.cached_run = None


class OutputRecorder:
    """Records every cell that runs and its outputs, from :meth:`start` to :meth:`stop`.

    A cell that runs again (by its cell id) keeps its place and gets the newest outputs. When all outputs exceed the
    memory limit, those of the oldest cells are dropped; their source is kept.
    """

    def __init__(self, shell: Any, *, memory_limit: int = _MEMORY_LIMIT) -> None:
        self._shell = shell
        self._kernel = getattr(shell, "kernel", None)
        self._memory_limit = memory_limit
        self._lock = threading.Lock()
        self._executions: list[_Execution] = []  # in notebook order
        self._runs: list[_Execution] = []  # in order of time
        self._by_request: dict[str, _Execution] = {}
        self._by_display: dict[str | None, list[_Execution]] = {}
        self._running: list[tuple[Any, _Execution]] = []
        self._total = 0
        self.first_count: int | None = None  # execution count of the first recorded cell

    def start(self) -> None:
        """Start recording with the next cell."""
        self._shell.events.register("pre_run_cell", self._begin)
        self._shell.events.register("post_run_cell", self._end)
        if self._kernel is not None:
            add_listener(self._kernel.session, self._on_output)

    def stop(self) -> None:
        """Stop recording and restore the shell and the session."""
        self._shell.events.unregister("pre_run_cell", self._begin)
        self._shell.events.unregister("post_run_cell", self._end)
        if self._kernel is not None:
            remove_listener(self._kernel.session, self._on_output)

    def cells(self) -> tuple[Cell, ...]:
        """Return the recorded cells in the order in which they first ran."""
        results = _history_results(self._shell) if self._kernel is None else {}
        with self._lock:
            return tuple(execution.cell(results) for execution in self._executions)

    def runs(self) -> tuple[Run, ...]:
        """Return all runs in order of time, including those of cells that ran again or were deleted."""
        with self._lock:
            for _, execution in self._running:
                execution.update_changed(self._shell.user_ns)
            return tuple(execution.run() for execution in self._runs)

    def _begin(self, info: Any) -> None:
        if not info.store_history or not info.raw_cell.strip():
            return  # code that runs inside a cell or for a front end
        execution = _Execution(
            info.raw_cell,
            info.cell_id,
            self._request_id(),
            self._shell.displayhook.prompt_count,
            tags_in(current_request(self._kernel).get("metadata")),
            _identities(self._shell.user_ns),
        )
        if execution.run().cell.is_skipped:
            execution.alive = tuple(snapshot(self._shell.user_ns).values())
            execution.contents = _contents(execution.source, self._shell.user_ns)
        if self.first_count is None:
            self.first_count = execution.execution_count
        with self._lock:
            self._forget_deleted_cells()
            self._place(execution)
            self._runs.append(execution)
            self._forget_old_runs()
            self._running.append((info, execution))
            self._by_request[execution.request] = execution
            while len(self._executions) > _CELL_LIMIT:
                self._forget(self._executions.pop(0))

    def _place(self, execution: _Execution) -> None:
        for index, known in enumerate(self._executions):
            if execution.cell_id is not None and known.cell_id == execution.cell_id:
                self._executions[index] = execution
                self._forget(known)
                return
        self._executions.append(execution)

    def _end(self, result: Any) -> None:
        if result is None:
            return
        error, error_text = result.error_before_exec or result.error_in_exec, ""
        if error is not None:
            from codex_nb.tools.describe import format_error  # not to be loaded with the extension

            # not the exception, whose frames would keep the cell's values alive
            error_text = format_error(error)
        with self._lock:
            ended = [execution for info, execution in self._running if info is result.info]
            if not ended and self._running and error_text:
                self._running[-1][1].inner_error = error_text
            self._running = [each for each in self._running if each[0] is not result.info]
            for execution in ended:
                execution.execution_count = result.execution_count or execution.execution_count
                execution.cached_cell = None
                self._finish(execution, error, error_text)

    def _finish(self, execution: _Execution, error: BaseException | None, error_text: str) -> None:
        execution.update_changed(self._shell.user_ns)
        execution.identities, execution.alive, execution.contents = {}, (), None
        inner = execution.inner_error or _displayed_error(execution.collector)
        execution.error = error_text or (inner if execution.source.lstrip().startswith("%") else "")
        execution.succeeded = not execution.error
        execution.cached_run = None
        if self._kernel is None and error is not None:
            # A terminal shows its own outputs; only the result is known.
            content = {"ename": type(error).__name__, "evalue": error_line(error), "traceback": []}
            execution.collector.add("error", content)
            self._update_size(execution)

    def _on_output(self, kind: str, content: Mapping[str, Any], request: str) -> None:
        with self._lock:
            display_id = display_id_of(content)
            if kind == "update_display_data":
                for execution in self._by_display.get(display_id, ()):  # any cell may have displayed it
                    if execution.collector.has_display(content):  # not if it was cleared or forgotten since
                        execution.collector.add(kind, content)
                        self._update_size(execution)
                return
            owner = self._by_request.get(request)
            if owner is not None:
                owner.collector.add(kind, content)
                self._update_size(owner)
                if display_id is not None:
                    self._note_display(display_id, owner)

    def _note_display(self, display_id: str, owner: _Execution) -> None:
        owners = self._by_display.setdefault(display_id, [])
        if owner not in owners:
            owners.append(owner)
        del owners[:-_DISPLAY_OWNERS]
        if len(self._by_display) > _DISPLAY_LIMIT:
            del self._by_display[next(iter(self._by_display))]

    def _update_size(self, execution: _Execution) -> None:
        execution.cached_cell = None
        size = execution.collector.size()
        self._total += size - execution.size
        execution.size = size
        for oldest in self._executions:
            if self._total <= self._memory_limit:
                return
            if oldest is not execution and oldest.size:
                self._drop_outputs(oldest)

    def _drop_outputs(self, execution: _Execution) -> None:
        self._total -= execution.size
        execution.size, execution.collector, execution.cached_cell = 0, OutputCollector(), None

    def _forget(self, execution: _Execution) -> None:
        """Take no more outputs of a cell that is not listed any more."""
        self._by_request.pop(execution.request, None)
        self._drop_outputs(execution)

    def _forget_deleted_cells(self) -> None:
        """Remove the cells that JupyterLab reports as deleted since the last run."""
        metadata = current_request(self._kernel).get("metadata") or {}
        deleted = frozenset(metadata.get("deletedCells") or ())
        for execution in [each for each in self._executions if each.cell_id in deleted]:
            self._executions.remove(execution)
            self._forget(execution)
        for execution in self._runs:
            if execution.cell_id in deleted:
                execution.deleted, execution.cached_run = True, None

    def _forget_old_runs(self) -> None:
        """Remove the oldest run whose cell is not skipped: variables of a skipped cell may still exist."""
        if len(self._runs) > _RUN_LIMIT:
            oldest = next((each for each in self._runs if not each.run().cell.is_skipped), self._runs[0])
            self._runs.remove(oldest)

    def _request_id(self) -> str:
        if self._kernel is None:
            return f"cell {self._shell.displayhook.prompt_count}"
        return str(current_request(self._kernel).get("header", {}).get("msg_id", ""))


def _identities(namespace: Mapping[str, Any]) -> dict[str, int]:
    """Return the id of each variable's value, without a reference to it."""
    return {name: id(value) for name, value in snapshot(namespace).items()}


def _contents(source: str, namespace: Mapping[str, Any]) -> Variables:
    """Return what the variables hold, those that a cell names first: the time for it is limited."""
    from codex_nb.tools.content_hash import Variables
    from codex_nb.tools.hiding import identifiers_in  # neither is loaded with the extension

    return Variables(snapshot(namespace), first=identifiers_in(source))


def _displayed_error(collector: OutputCollector) -> str:
    """Return the traceback that a cell displayed: some magics catch the exceptions of their code."""
    for output in collector.outputs():
        if output["output_type"] == "error":
            return "\n".join(output["traceback"] or ()) or f"{output['ename']}: {output['evalue']}"
    return ""


ASK_TIMEOUT_S = 2.0
OUTPUT_LIMIT = 4_000  # characters of an output that the open document gives away: more than a question tells
_FILE_LIMIT = 512_000_000
_log = logging.getLogger(__name__)


class DocumentPort(Protocol):
    """The front end, which has the open notebook."""

    def ask(self, op: str, payload: dict[str, Any], timeout: float) -> dict[str, Any] | None:
        """Return the front end's reply, None when none came within ``timeout`` seconds; serves messages meanwhile."""


def read_notebook(
    shell: Any,
    document: DocumentPort | None,
    recorder: OutputRecorder | None,
    environ: Mapping[str, str],
    *,
    whole: Sequence[int] = (),
) -> NotebookSnapshot:
    """Return the notebook around the running cell from the best source that answers.

    The open document is asked only when the cell has a cell id: headless runs have none and would not answer. The reply
    to ``read_document`` is ``{"notebook": nbformat, "path": str}``, its output texts truncated to a limit, which is ten
    times as high for cells whose number is in ``whole``.
    """
    origin = front_end(shell)
    if document is not None and origin.may_have_widgets:
        payload = {"cell_id": origin.cell_id, "limit": OUTPUT_LIMIT, "whole": list(whole)}
        reply = document.ask("read_document", payload, ASK_TIMEOUT_S)
        snapshot = snapshot_of_reply(reply, origin.cell_id, current_source(shell))
        if snapshot is not None:
            return replace(snapshot, cells=_with_all_forms(snapshot.cells, recorder))
    source = current_source(shell)
    recorded = _recorded_cells(shell, recorder)
    path = notebook_path(shell, environ)
    cells = None if path is None else _cells_of_file(path)
    if cells is not None:
        cells, current = _updated(cells, recorded, origin.cell_id, source)
        return NotebookSnapshot("file", cells, current, str(path))
    return NotebookSnapshot(
        "kernel", recorded, _locate(recorded, origin.cell_id, source), str(path) if path else None
    )


def _with_all_forms(cells: Iterable[Cell], recorder: OutputRecorder | None) -> tuple[Cell, ...]:
    """Fill the forms of outputs that the open document leaves out, as far as this kernel has made the outputs."""
    cells = tuple(cells)
    if recorder is None or not any(_left_out(output) for cell in cells for output in cell.outputs):
        return cells
    ran = {(cell.cell_id, cell.execution_count): cell.outputs for cell in recorder.cells()}
    return tuple(
        cell.with_outputs(tuple(map(_filled, cell.outputs, made)))
        if len(made := ran.get((cell.cell_id, cell.execution_count), ())) == len(cell.outputs)
        else cell
        for cell in cells
    )


def _left_out(output: Mapping[str, Any]) -> list[str]:
    data = output.get("data")
    return [kind for kind, value in data.items() if value == ""] if isinstance(data, dict) else []


def _filled(output: Mapping[str, Any], made: Mapping[str, Any]) -> Mapping[str, Any]:
    forms = made.get("data") or {}
    filled = {kind: forms[kind] for kind in _left_out(output) if kind in forms}
    return {**output, "data": {**output["data"], **filled}} if filled else output


def notebook_path(shell: Any, environ: Mapping[str, str]) -> Path | None:
    """Return the notebook's file as Jupyter (``JPY_SESSION_NAME``) or VS Code names it, whether it exists or not."""
    named = environ.get("JPY_SESSION_NAME") or ""
    if not named.endswith(".ipynb"):
        named = exact_text(snapshot(shell.user_ns).get("__vsc_ipynb_file__"))
    return Path(named) if named.endswith(".ipynb") else None


def current_source(shell: Any) -> str | None:
    """Return the source of the running cell."""
    kernel = getattr(shell, "kernel", None)
    if kernel is not None:
        code = (current_request(kernel).get("content") or {}).get("code")
        if isinstance(code, str):
            return code
    raw: Sequence[str] = shell.history_manager.input_hist_raw
    count = shell.displayhook.prompt_count
    return raw[count] if count < len(raw) else None


def cells_of(notebook: Mapping[str, Any]) -> tuple[Cell, ...]:
    """Return the cells of an nbformat 4 dict; malformed parts are skipped."""
    cells = notebook.get("cells")
    return tuple(cell_of(each) for each in cells if isinstance(each, dict)) if isinstance(cells, list) else ()


def snapshot_of_reply(
    reply: Mapping[str, Any] | None, cell_id: str | None, source: str | None = None
) -> NotebookSnapshot | None:
    """Return the notebook in a reply to ``read_document``, None where there is none.

    The asking cell is found by its id, or by its source.
    """
    notebook = (reply or {}).get("notebook")
    if reply is None or not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        return None
    cells = cells_of(notebook)
    path = reply.get("path")
    return NotebookSnapshot(
        "document",
        cells,
        _locate(cells, cell_id, source),
        path if isinstance(path, str) else None,
        can_run=reply.get("can_run") is True,
    )


def _cells_of_file(path: Path) -> tuple[Cell, ...] | None:
    from codex_nb.tools.file_access import (  # not to be loaded early
        FileRefused,
        path_of_project,
        read_apart,
        read_bounded,
    )

    try:
        content = read_apart(lambda: read_bounded(path_of_project(path, None), _FILE_LIMIT))
        if content.size > _FILE_LIMIT:
            return None
        notebook = _parse_json(content.data)
    except (FileRefused, OSError, ValueError, RecursionError) as error:
        _log.debug("The notebook file cannot be read: %s", error)
        return None
    return cells_of(notebook) if isinstance(notebook, dict) and "cells" in notebook else None


def _parse_json(text: bytes) -> Any:
    """Parse JSON; of 58 MB of printed lines the context is there after 145 ms, and after 205 ms with Python's own."""
    from pydantic_core import from_json

    try:
        return from_json(text, cache_strings="none")
    except ValueError:
        return json.loads(text)  # accepts lone surrogates and a byte order mark as well


def _updated(
    cells: Iterable[Cell], recorded: Sequence[Cell], current_id: str | None, source: str | None
) -> tuple[tuple[Cell, ...], int | None]:
    """Update the file's cells with the newer source and outputs that the kernel recorded; tell which one is running.

    A headless run gives no cell ids: there the first run of a text is that of the first cell with it. Cells that ran
    but were never saved are put before the current one: their exact place is unknown.
    """
    newer = {cell.cell_id: cell for cell in recorded if cell.cell_id is not None}
    runs: dict[str, deque[Cell]] = {}
    for cell in recorded if current_id is None else ():
        if cell.cell_id is None:
            runs.setdefault(cell.source.strip(), deque()).append(cell)
    updated: list[Cell] = []
    current = None
    for cell in cells:
        known = newer.pop(cell.cell_id or "", None) if cell.kind == "code" else None
        if known is None and cell.kind == "code" and (ran := runs.get(cell.source.strip())):
            known = ran.popleft()
            current = len(updated) if known is recorded[-1] else current  # what runs now began last
        updated.append(
            cell if known is None else replace(known, cell_id=cell.cell_id, tags=cell.tags | known.tags)
        )
    unsaved = (*newer.values(), *(cell for left in runs.values() for cell in left))
    place = _locate(updated, current_id, None) if current is None else current
    place = len(updated) if place is None else place
    merged = (*updated[:place], *unsaved, *updated[place:])
    return merged, _locate(merged, current_id, source) if current is None else current + len(unsaved)


def _recorded_cells(shell: Any, recorder: OutputRecorder | None) -> tuple[Cell, ...]:
    """Return the cells that ran in this kernel: from history before the recorder started, then as recorded."""
    recorded = () if recorder is None else recorder.cells()
    results = _history_results(shell)
    earlier = [
        cell.with_outputs(_history_outputs(results, cell.execution_count))
        for cell in _earlier_cells(shell, recorder)
    ]
    return (*earlier, *recorded)


def _history_results(shell: Any) -> Mapping[int, Any]:
    """Return the results of cells in IPython's history, by execution count: IPython 9 keeps them, and 8 does not."""
    results: Mapping[int, Any] = getattr(shell.history_manager, "outputs", {})
    return results


def _earlier_cells(shell: Any, recorder: OutputRecorder | None) -> list[Cell]:
    """Return the cells in IPython's history from before the recorder started."""
    # a recorded cell that ran again still has its first number in the history
    listens_since = None if recorder is None else recorder.first_count
    first_recorded = shell.displayhook.prompt_count + 1 if listens_since is None else listens_since
    raw: Sequence[str] = shell.history_manager.input_hist_raw
    counts = range(1, min(first_recorded, len(raw)))
    return [Cell("code", raw[count], execution_count=count) for count in counts if raw[count].strip()]


def runs_of(shell: Any, recorder: OutputRecorder | None) -> tuple[Run, ...]:
    """Return all runs of this kernel in order of time; only recorded ones have an outcome."""
    if shell is None:
        return ()
    earlier = map(Run, _earlier_cells(shell, recorder))
    return (*earlier, *(() if recorder is None else recorder.runs()))


def _history_outputs(results: Mapping[int, Any], count: int | None) -> tuple[dict[str, Any], ...]:
    outputs = () if count is None else results.get(count, ())
    return tuple(
        {"output_type": "execute_result", "data": dict(each.bundle), "metadata": {}, "execution_count": count}
        for each in outputs
        if each.output_type == "execute_result"
    )


def _locate(cells: Sequence[Cell], cell_id: str | None, source: str | None) -> int | None:
    """Return the index of the running cell by its id, of several with one id or of all the last with its source."""
    named = [index for index, cell in enumerate(cells) if cell_id is not None and cell.cell_id == cell_id]
    if len(named) == 1 or source is None:
        return named[0] if named else None
    places = named or range(len(cells))
    matches = [index for index in places if cells[index].source.strip() == source.strip()]
    return matches[-1] if matches else next(iter(named), None)
