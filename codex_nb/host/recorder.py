"""The recorder: the cells that ran in this kernel, with the outputs they showed, in bounded memory.

It knows two orders: that of the notebook, in which a cell that runs again keeps its place
(:meth:`OutputRecorder.cells`), and that of time, in which every run counts (:meth:`OutputRecorder.runs`).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from codex_nb.host.capture import OutputCollector, add_listener, error_line, remove_listener
from codex_nb.host.frontend import current_request
from codex_nb.tools.nbmodel import Cell, Run, is_skipped
from codex_nb.tools.outputs import format_error

if TYPE_CHECKING:
    from collections.abc import Mapping

_CELL_LIMIT = 5_000
_RUN_LIMIT = 5_000
_MEMORY_LIMIT = 64_000_000  # characters of outputs, over all cells


@dataclass
class _Execution:
    """One run of a cell.

    ``request`` is the message whose outputs are its own, ``values`` the identities of the namespace's values before it.
    """

    source: str
    cell_id: str | None
    request: str
    execution_count: int | None = None
    tags: frozenset[str] = frozenset()
    values: Mapping[str, int] = field(default_factory=dict)
    changed: frozenset[str] = frozenset()
    succeeded: bool = False
    error: str = ""
    inner_error: str = ""  # of code that a magic such as %%capture ran inside of the cell
    told: Run | None = None  # until something changes
    fold: OutputCollector = field(default_factory=OutputCollector)
    size: int = 0

    def cell(self) -> Cell:
        return Cell("code", self.source, self.cell_id, self.fold.outputs(), self.execution_count, self.tags)

    def run(self) -> Run:
        if self.told is None:
            cell = Cell("code", self.source, self.cell_id, (), self.execution_count, self.tags)
            self.told = Run(cell, self.changed, self.succeeded, self.error)
        return self.told


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
        self._executions: list[_Execution] = []  # in the order of their places
        self._runs: list[_Execution] = []  # in the order of time
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

    def runs(self) -> tuple[Run, ...]:
        """Return all runs in the order of time, also those of cells that ran again or were deleted."""
        with self._lock:
            return tuple(execution.run() for execution in self._runs)

    def _begin(self, info: Any) -> None:
        if not info.store_history or not info.raw_cell.strip():
            return  # code that runs inside a cell, or on behalf of a front end
        execution = _Execution(
            info.raw_cell,
            info.cell_id,
            self._request_id(),
            self._shell.displayhook.prompt_count,
            _tags(self._kernel),
            _identities(self._shell.user_ns),
        )
        if self.first_count is None:
            self.first_count = execution.execution_count
        with self._lock:
            self._forget_deleted_cells()
            self._place(execution)
            self._runs.append(execution)
            self._forget_old_runs()
            self._running.append((info, execution))
            self._by_request[execution.request] = execution
            self._forget_old_cells()

    def _place(self, execution: _Execution) -> None:
        for index, known in enumerate(self._executions):
            if execution.cell_id is not None and known.cell_id == execution.cell_id:
                self._executions[index] = execution
                self._by_request.pop(known.request, None)
                self._total -= known.size
                known.fold = OutputCollector()
                return
        self._executions.append(execution)

    def _end(self, result: Any) -> None:
        if result is None:
            return
        error = result.error_before_exec or result.error_in_exec
        # Words, not the exception: its frames would keep the values of the cell alive.
        words = "" if error is None else format_error(error)
        with self._lock:
            ended = [execution for info, execution in self._running if info is result.info]
            if not ended and self._running and words:
                self._running[-1][1].inner_error = words
            self._running = [each for each in self._running if each[0] is not result.info]
            for execution in ended:
                execution.execution_count = result.execution_count or execution.execution_count
                self._conclude(execution, error, words)

    def _conclude(self, execution: _Execution, error: BaseException | None, words: str) -> None:
        now = _identities(self._shell.user_ns)
        execution.changed = frozenset(name for name in now if now[name] != execution.values.get(name))
        execution.values = {}
        inner = execution.inner_error or _shown_error(execution.fold)
        execution.error = words or (inner if execution.source.lstrip().startswith("%") else "")
        execution.succeeded = not execution.error
        execution.told = None
        if self._kernel is None and error is not None:
            # A terminal shows its outputs itself; only what the result tells can be noted.
            content = {"ename": type(error).__name__, "evalue": error_line(error), "traceback": []}
            execution.fold.add("error", content)
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
                oldest.fold = OutputCollector()

    def _forget_deleted_cells(self) -> None:
        """Forget what JupyterLab says was deleted since the last cell ran."""
        metadata = current_request(self._kernel).get("metadata") or {}
        deleted = frozenset(metadata.get("deletedCells") or ())
        for execution in [each for each in self._executions if each.cell_id in deleted]:
            self._executions.remove(execution)
            self._by_request.pop(execution.request, None)
            self._total -= execution.size
            execution.fold = OutputCollector()
        for execution in self._runs:
            if execution.cell_id in deleted:
                execution.error, execution.told = "", None

    def _forget_old_runs(self) -> None:
        """Forget the oldest run, but never one whose cell is kept out: what it bound may still be there."""
        if len(self._runs) > _RUN_LIMIT:
            oldest = next((each for each in self._runs if not is_skipped(each.run().cell)), self._runs[0])
            self._runs.remove(oldest)

    def _forget_old_cells(self) -> None:
        while len(self._executions) > _CELL_LIMIT:
            oldest = self._executions.pop(0)
            self._by_request.pop(oldest.request, None)
            self._total -= oldest.size

    def _request_id(self) -> str:
        if self._kernel is None:
            return f"cell {self._shell.displayhook.prompt_count}"
        return str(current_request(self._kernel).get("header", {}).get("msg_id", ""))


def _tags(kernel: Any) -> frozenset[str]:
    """Return the tags of the cell that runs: JupyterLab and Notebook send a cell's metadata with its code."""
    tags = (current_request(kernel).get("metadata") or {}).get("tags")
    return frozenset(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else frozenset()


def _identities(namespace: Mapping[str, Any]) -> dict[str, int]:
    """Return which object each name stands for, without holding on to any."""
    return {name: id(value) for name, value in dict(namespace).items()}


def _shown_error(fold: OutputCollector) -> str:
    """Return the traceback that a cell showed: some magics catch what their code raises."""
    for output in fold.outputs():
        if output["output_type"] == "error":
            return "\n".join(output["traceback"] or ()) or f"{output['ename']}: {output['evalue']}"
    return ""
