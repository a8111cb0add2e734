"""The cell that ``%codex fix`` and ``%codex explain`` are about: the one that ran last in time, not in the document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codex_nb.notebook import Run
from codex_nb.session.cells import is_question

if TYPE_CHECKING:
    from collections.abc import Iterable

    from codex_nb.notebook import Cell, NotebookSnapshot


def last_failure(runs: Iterable[Run]) -> Run | None:
    """Return the newest run that failed, of a cell that has not run since; a question is no cell to repair.

    Where a front end gives cells no ids, the same text is the same cell.
    """
    newest: dict[tuple[str | None, str], Run] = {}
    for run in runs:
        if not is_question(run.cell):
            key = (run.cell.cell_id, "" if run.cell.cell_id is not None else run.cell.source.strip())
            newest.pop(key, None)
            newest[key] = run
    return next((run for run in reversed(newest.values()) if run.error), None)


def explained_run(snapshot: NotebookSnapshot | None, runs: Iterable[Run]) -> Run | None:
    """Return the cell above the asking one in the document or its file; without those, the one that ran last."""
    asked_about = [run for run in runs if not is_question(run.cell)]
    if snapshot is None or snapshot.current is None or snapshot.origin == "kernel":
        return asked_about[-1] if asked_about else None
    cell = next((each for each in reversed(snapshot.cells[: snapshot.current]) if _has_code(each)), None)
    if cell is None:
        return None
    ran = [run for run in asked_about if _is_same(run.cell, cell)]
    return Run(cell, error=ran[-1].error if ran else "")


def _has_code(cell: Cell) -> bool:
    return cell.kind == "code" and bool(cell.source.strip()) and not is_question(cell)


def _is_same(run: Cell, cell: Cell) -> bool:
    return run.source.strip() == cell.source.strip() and run.cell_id in {None, cell.cell_id}
