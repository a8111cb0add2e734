"""The recorder: the cells that ran in this kernel, with the outputs they showed, in bounded memory."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from codex_nb.host.frontend import current_request
from codex_nb.host.outputs import OutputFold, error_line
from codex_nb.host.tap import add_listener, remove_listener
from codex_nb.notebook import Cell

if TYPE_CHECKING:
    from collections.abc import Mapping

_CELL_LIMIT = 5_000
_MEMORY_LIMIT = 64_000_000  # characters of outputs, over all cells


@dataclass
class _Execution:
    """One cell that ran; ``requests`` are the messages whose outputs are its own."""

    source: str
    cell_id: str | None
    request: str
    execution_count: int | None = None
    fold: OutputFold = field(default_factory=OutputFold)
    size: int = 0

    def cell(self) -> Cell:
        return Cell("code", self.source, self.cell_id, self.fold.outputs(), self.execution_count)


class OutputRecorder:
    """Notes every cell that runs and what it shows, from :meth:`start` to :meth:`stop`.

    A cell that runs again (by its cell id) keeps its place and takes its newest outputs. Once all outputs exceed the
    memory limit, the oldest cells lose theirs, never their source.
    """

    def __init__(self, shell: Any, *, memory_limit: int = _MEMORY_LIMIT) -> None:
        self._shell = shell
        self._kernel = getattr(shell, "kernel", None)
        self._memory_limit = memory_limit
        self._lock = threading.Lock()
        self._executions: list[_Execution] = []
        self._by_request: dict[str, _Execution] = {}
        self._running: list[tuple[Any, _Execution]] = []
        self._total = 0
        self.first_count: int | None = None  # where history ends and the record begins

    def start(self) -> None:
        """Begin to listen, with the next cell."""
        self._shell.events.register("pre_run_cell", self._begin)
        self._shell.events.register("post_run_cell", self._end)
        if self._kernel is not None:
            add_listener(self._kernel.session, self._note)

    def stop(self) -> None:
        """Listen no longer and leave shell and session as they were."""
        self._shell.events.unregister("pre_run_cell", self._begin)
        self._shell.events.unregister("post_run_cell", self._end)
        if self._kernel is not None:
            remove_listener(self._kernel.session, self._note)

    def cells(self) -> tuple[Cell, ...]:
        """Return the recorded cells in the order in which they first ran."""
        with self._lock:
            return tuple(execution.cell() for execution in self._executions)

    def _begin(self, info: Any) -> None:
        if not info.store_history or not info.raw_cell.strip():
            return  # code that runs inside a cell, or on behalf of a front end
        execution = _Execution(
            info.raw_cell, info.cell_id, self._request_id(), self._shell.displayhook.prompt_count
        )
        if self.first_count is None:
            self.first_count = execution.execution_count
        with self._lock:
            self._forget_deleted_cells()
            self._place(execution)
            self._running.append((info, execution))
            self._by_request[execution.request] = execution
            self._forget_old_cells()

    def _place(self, execution: _Execution) -> None:
        for index, known in enumerate(self._executions):
            if execution.cell_id is not None and known.cell_id == execution.cell_id:
                self._executions[index] = execution
                self._by_request.pop(known.request, None)
                self._total -= known.size
                return
        self._executions.append(execution)

    def _end(self, result: Any) -> None:
        with self._lock:
            ended = [each for each in self._running if result is not None and each[0] is result.info]
            self._running = [each for each in self._running if each not in ended]
            for _, execution in ended:
                execution.execution_count = result.execution_count or execution.execution_count
                if self._kernel is None:
                    _note_without_kernel(execution, result)
                    self._measure(execution)

    def _note(self, kind: str, content: Mapping[str, Any], request: str) -> None:
        with self._lock:
            if kind == "update_display_data":
                for execution in self._executions:  # any cell may have displayed it
                    if execution.fold.has_display(content):
                        execution.fold.add(kind, content)
                        self._measure(execution)
                return
            owner = self._by_request.get(request)
            if owner is not None:
                owner.fold.add(kind, content)
                self._measure(owner)

    def _measure(self, execution: _Execution) -> None:
        size = execution.fold.size()
        self._total += size - execution.size
        execution.size = size
        for oldest in self._executions:
            if self._total <= self._memory_limit:
                return
            if oldest is not execution and oldest.size:
                self._total -= oldest.size
                oldest.size = 0
                oldest.fold = OutputFold()

    def _forget_deleted_cells(self) -> None:
        """Forget what JupyterLab says was deleted since the last cell ran."""
        metadata = current_request(self._kernel).get("metadata") or {}
        deleted = frozenset(metadata.get("deletedCells") or ())
        for execution in [each for each in self._executions if each.cell_id in deleted]:
            self._executions.remove(execution)
            self._by_request.pop(execution.request, None)
            self._total -= execution.size

    def _forget_old_cells(self) -> None:
        while len(self._executions) > _CELL_LIMIT:
            oldest = self._executions.pop(0)
            self._by_request.pop(oldest.request, None)
            self._total -= oldest.size

    def _request_id(self) -> str:
        if self._kernel is None:
            return f"cell {self._shell.displayhook.prompt_count}"
        return str(current_request(self._kernel).get("header", {}).get("msg_id", ""))


def _note_without_kernel(execution: _Execution, result: Any) -> None:
    """A terminal shows its outputs itself; only what the result tells can be noted."""
    error = result.error_before_exec or result.error_in_exec
    if error is not None:
        content = {"ename": type(error).__name__, "evalue": error_line(error), "traceback": []}
        execution.fold.add("error", content)
