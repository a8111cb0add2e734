"""The notebook source: the open document, else its file, else what this kernel ran."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from codex_nb.host.shell import current_request, front_end
from codex_nb.tools.file_access import FileRefused, path_of_project, read_apart, read_bounded
from codex_nb.tools.introspection import exact_text, snapshot
from codex_nb.tools.nbmodel import Cell, NotebookSnapshot, Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from codex_nb.host.recorder import OutputRecorder

ASK_TIMEOUT_S = 2.0
OUTPUT_LIMIT = (
    4_000  # characters of each output that the open document gives away: more than any question tells
)
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
    timeout: float = ASK_TIMEOUT_S,
    whole: Sequence[int] = (),
) -> NotebookSnapshot:
    """Return the notebook around the running cell from the best source that answers.

    The open document is asked only when the cell has a cell id: headless runs have none and would not answer. The reply
    to ``read_document`` is ``{"notebook": nbformat, "path": str}``, its output texts truncated to a limit, which is ten
    times as high for cells whose number is in ``whole``.
    """
    origin = front_end(shell)
    if document is not None and origin.may_have_widgets:
        reply = document.ask(
            "read_document", {"cell_id": origin.cell_id, "limit": OUTPUT_LIMIT, "whole": list(whole)}, timeout
        )
        snapshot = _from_reply(reply, origin.cell_id, current_source(shell))
        if snapshot is not None:
            return snapshot
    source = current_source(shell)
    recorded = _recorded_cells(shell, recorder)
    path = notebook_path(shell, environ)
    cells = None if path is None else _cells_of_file(path)
    if cells is not None:
        cells = _updated(cells, recorded, origin.cell_id)
        return NotebookSnapshot("file", cells, _locate(cells, origin.cell_id, source), str(path))
    return NotebookSnapshot(
        "kernel", recorded, _locate(recorded, origin.cell_id, source), str(path) if path else None
    )


def notebook_path(shell: Any, environ: Mapping[str, str]) -> Path | None:
    """Return the notebook's file as Jupyter (``JPY_SESSION_NAME``) or VS Code names it, whether it exists or not."""
    of_vs_code = exact_text(snapshot(shell.user_ns).get("__vsc_ipynb_file__"))
    for named in (environ.get("JPY_SESSION_NAME") or "", of_vs_code):
        if named.endswith(".ipynb"):
            return Path(named)
    return None


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
    return tuple(_cell(each) for each in cells if isinstance(each, dict)) if isinstance(cells, list) else ()


def _cell(raw: Mapping[str, Any]) -> Cell:
    kind = raw.get("cell_type")
    metadata = raw.get("metadata")
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    outputs = raw.get("outputs")
    count = raw.get("execution_count")
    cell_id = raw.get("id")
    return Cell(
        kind if kind in {"code", "markdown"} else "raw",
        _source_text(raw.get("source")),
        cell_id if isinstance(cell_id, str) else None,
        tuple(each for each in outputs if isinstance(each, dict)) if isinstance(outputs, list) else (),
        count if isinstance(count, int) else None,
        frozenset(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else frozenset(),
    )


def _source_text(source: Any) -> str:
    if isinstance(source, list):
        return "".join(each for each in source if isinstance(each, str))
    return source if isinstance(source, str) else ""


def _from_reply(
    reply: Mapping[str, Any] | None, cell_id: str | None, source: str | None
) -> NotebookSnapshot | None:
    notebook = (reply or {}).get("notebook")
    if reply is None or not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        return None
    cells = cells_of(notebook)
    path = reply.get("path")
    return NotebookSnapshot(
        "document", cells, _locate(cells, cell_id, source), path if isinstance(path, str) else None
    )


def _cells_of_file(path: Path) -> tuple[Cell, ...] | None:
    try:
        content = read_apart(lambda: read_bounded(path_of_project(path, None), _FILE_LIMIT))
        if content.size > _FILE_LIMIT:
            return None
        with _gc_paused():
            notebook = _parse_json(content.data)
    except (FileRefused, OSError, ValueError, RecursionError) as error:
        _log.debug("The notebook file cannot be read: %s", error)
        return None
    return cells_of(notebook) if isinstance(notebook, dict) and "cells" in notebook else None


def _parse_json(text: bytes) -> Any:
    """Parse JSON; pydantic's parser takes less than half the time for a notebook with many outputs."""
    from pydantic_core import from_json

    try:
        return from_json(text, cache_strings="none")
    except ValueError:
        return json.loads(text)  # accepts lone surrogates and a byte order mark as well


@contextlib.contextmanager
def _gc_paused() -> Iterator[None]:
    """Pause the garbage collector, which would traverse a growing tree of a million parsed lines."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _updated(cells: Iterable[Cell], recorded: Sequence[Cell], current_id: str | None) -> tuple[Cell, ...]:
    """Update the file's cells by cell id with the newer source and outputs that the kernel recorded.

    Cells that ran but were never saved are put before the current one: their exact place is unknown.
    """
    newer = {cell.cell_id: cell for cell in recorded if cell.cell_id is not None}
    updated = []
    for cell in cells:
        known = newer.pop(cell.cell_id or "", None) if cell.kind == "code" else None
        updated.append(cell if known is None else replace(known, tags=cell.tags | known.tags))
    place = next((index for index, cell in enumerate(updated) if cell.cell_id == current_id), len(updated))
    return (*updated[:place], *newer.values(), *updated[place:])


def _recorded_cells(shell: Any, recorder: OutputRecorder | None) -> tuple[Cell, ...]:
    """Return the cells that ran in this kernel: from history before the recorder started, then as recorded."""
    recorded = () if recorder is None else recorder.cells()
    earlier = [
        replace(cell, outputs=_history_outputs(shell, cell.execution_count))
        for cell in _earlier_cells(shell, recorder)
    ]
    if getattr(shell, "kernel", None) is None:
        recorded = tuple(
            replace(cell, outputs=(*_history_outputs(shell, cell.execution_count), *cell.outputs))
            for cell in recorded
        )
    return (*earlier, *recorded)


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


def _history_outputs(shell: Any, count: int | None) -> tuple[dict[str, Any], ...]:
    """Return the results of a cell that IPython 9 stores; empty on IPython 8."""
    outputs = getattr(shell.history_manager, "outputs", {}).get(count, ())
    return tuple(
        {"output_type": "execute_result", "data": dict(each.bundle), "metadata": {}, "execution_count": count}
        for each in outputs
        if each.output_type == "execute_result"
    )


def _locate(cells: Sequence[Cell], cell_id: str | None, source: str | None) -> int | None:
    """Return the index of the running cell by its id, or of the last cell with its source."""
    for index, cell in enumerate(cells):
        if cell_id is not None and cell.cell_id == cell_id:
            return index
    if source is None:
        return None
    matches = [index for index, cell in enumerate(cells) if cell.source.strip() == source.strip()]
    return matches[-1] if matches else None
