"""The cells of the open notebook: changed and run through one page of the front end, and changed back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from codex_nb.errors import ToolError
from codex_nb.host.interrupts import interruptible, is_interrupted, uninterruptible
from codex_nb.host.notebook import OUTPUT_LIMIT, snapshot_of_reply
from codex_nb.host.shell import OUTER_STATUS, at_reply, collecting, kept, reentrant_loop, replaced, run_result
from codex_nb.tools.cells import title_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from codex_nb.host.engine import Mailbox
    from codex_nb.host.shell_channel import KernelPump
    from codex_nb.tools.describe import NewCell, RunResult
    from codex_nb.tools.nbmodel import NotebookSnapshot

Message = dict[str, Any]
Request = Callable[[str, Message, str | None], Future[Message]]
"""Sends an operation with its payload to the page of that name, to all for None; gives the reply."""

FOUND_S = 2.0  # a page that is there answers within a fraction of this
ANSWER_S = 10.0


def cells_payload(cells: Iterable[NewCell]) -> list[Message]:
    """Return cells as the front end inserts them."""
    return [{"kind": cell.kind, "source": cell.source, "outputs": cell.outputs} for cell in cells]


class OpenNotebook:
    """The notebook that is open in the front end: the ``Document`` of a turn.

    All pages that show the kernel receive every message, so each change names one page: ``page`` is the session of the
    asking cell's request, in which that page sent it; when it is gone, the first page that answers takes its place.
    ``changes`` takes what was changed, in the order of time, for :func:`undo`. ``can_run`` is whether the front end can
    run cells.
    """

    def __init__(
        self,
        request: Request,
        *,
        page: str | None,
        cell_id: str | None,
        changes: list[Message],
        can_run: bool = False,
    ) -> None:
        self._request = request
        self._can_run = can_run
        self._to_run: dict[str, str] = {}  # the sources of edited cells, by id
        self._page = page
        self._asking = cell_id
        self._below = cell_id  # where the next cells are inserted
        self._changes = changes

    async def read(self) -> NotebookSnapshot:
        """Return the notebook as it is now."""
        payload = {"cell_id": self._asking, "limit": OUTPUT_LIMIT}
        snapshot = snapshot_of_reply(await self._ask("read_document", payload), self._asking)
        if snapshot is None:
            raise ToolError("the front end did not give the notebook")
        return snapshot

    async def insert(self, cells: Sequence[NewCell], after: str | None) -> tuple[str, ...]:
        """Insert cells in their order; what was inserted by one turn stays in the order it came."""
        payload = {"cells": cells_payload(cells), "after": after or self._below}
        reply = await self._ask("insert_cells", payload)
        ids = tuple(map(str, reply.get("ids") or ()))
        if len(ids) != len(cells):
            raise ToolError("the front end does not say which cells it inserted")
        self._changes += [
            {"kind": "insert", "id": cell_id, "source": cell.source}
            for cell_id, cell in zip(ids, cells, strict=True)
        ]
        if after is None:
            self._below = ids[-1]
        return ids

    async def edit(self, cell_id: str, before: str, after: str) -> None:
        """Give a cell another source."""
        change = {"id": cell_id, "before": before, "after": after}
        reply = await self._ask("edit_cell", change)
        self._changes.append({"kind": "edit", **change, **reply})
        if "shown" in reply:  # a cell of code
            self._to_run[cell_id] = after

    async def delete(self, sources: Mapping[str, str]) -> None:
        """Delete cells."""
        wire = [{"id": cell_id, "source": source} for cell_id, source in sources.items()]
        reply = await self._ask("delete_cells", {"cells": wire})
        # taken back from the last to the first: each cell then finds the one above it
        self._changes += [{"kind": "delete", **each} for each in reversed(reply.get("deleted") or ())]
        for cell_id in sources:
            self._to_run.pop(cell_id, None)
        if self._below in sources:
            self._below = self._asking

    async def move(self, cell_id: str, after: str | None) -> None:
        """Move a cell below another, for None to the top."""
        reply = await self._ask("move_cell", {"id": cell_id, "after": after})
        self._changes.append({"kind": "move", "id": cell_id, "was": reply.get("was"), "now": after})

    async def undo(self, answers: Sequence[list[Message]]) -> str:
        """Take back what answers changed, the newest last; say what went back and what did not."""
        changes = _newest_first(answers)
        return _report_undone(answers, changes, await self._ask("undo_changes", {"changes": changes}))

    @property
    def has_changes(self) -> bool:
        """Whether this turn has changed cells that can go back."""
        return bool(self._changes)

    @property
    def to_run(self) -> Sequence[Message]:
        """The cells that this turn has edited and that have not been run since, where cells can be run."""
        cells = self._to_run if self._can_run else {}
        return [{"id": cell_id, "source": source} for cell_id, source in cells.items() if source.strip()]

    def note_run(self, cell_id: str) -> None:
        """Note that a cell has been run."""
        self._to_run.pop(cell_id, None)

    def undo_on(self, page: str | None, tell: Callable[[str], None]) -> None:
        """Take back what this turn changed, on the page where that was asked for; tell what went back when it has."""
        answers = [self._changes]
        changes = _newest_first(answers)

        def report(reply: Future[Message]) -> None:
            if reply.cancelled():
                return
            problem = reply.exception()
            tell(
                _report_undone(answers, changes, reply.result())
                if problem is None
                else f"Nothing was undone: {problem}."
            )

        self._request("undo_changes", {"changes": changes}, page).add_done_callback(report)

    async def _ask(self, operation: str, payload: Message) -> Message:
        """Let one page do something; raises ToolError with its reason when it does not."""
        page = await self.find_page()
        try:
            return await self._reply(operation, payload, page, ANSWER_S)
        except TimeoutError:
            raise ToolError(
                "the front end did not answer, so that it may or may not have been done"
            ) from None

    async def find_page(self) -> str:
        """Return the page that acts: the asking one, or the first that answers when that is gone."""
        for page in dict.fromkeys((self._page, None)):
            try:
                found = (await self._reply("find_page", {}, page, FOUND_S)).get("page")
            except TimeoutError:
                continue
            if isinstance(found, str):
                self._page = found
                return found
        raise ToolError("no page shows the notebook any more")

    async def _reply(self, operation: str, payload: Message, page: str | None, seconds: float) -> Message:
        asked = asyncio.wrap_future(self._request(operation, payload, page))
        try:
            async with asyncio.timeout(seconds):
                return await asked
        except RuntimeError as refusal:
            raise ToolError(str(refusal)) from None


def _newest_first(answers: Sequence[list[Message]]) -> list[Message]:
    return [change for answer in reversed(answers) for change in reversed(answer)]


def _report_undone(answers: Iterable[list[Message]], changes: Sequence[Message], reply: Message) -> str:
    """Forget the changes that went back, and return in words what did and what did not."""
    reasons = list(reply.get("reasons") or ())
    reasons += ["the front end did not say whether it went back"] * (len(changes) - len(reasons))
    undone = [change for change, reason in zip(changes, reasons, strict=False) if reason is None]
    for answer in answers:
        answer[:] = [change for change in answer if not any(change is each for each in undone)]
    left = dict.fromkeys(
        f"{_name(change)}: {reason}"
        for change, reason in zip(changes, reasons, strict=False)
        if reason is not None
    )
    without = dict.fromkeys(map(_name, (change for change in undone if change.get("shown", "") is None)))
    lines = [f"Undone: {_counted(undone)}." if undone else "Nothing was undone."]
    lines += [f"Without its outputs, which were too large to be kept: {each}." for each in without]
    return "\n".join([*lines, *(f"Left as it is, {each}." for each in left)])


def _counted(changes: Sequence[Message]) -> str:
    words = {"insert": "inserted", "edit": "changed", "delete": "deleted", "move": "moved"}
    cells: dict[str, set[str]] = {}
    for change in changes:
        cells.setdefault(change["kind"], set()).add(str(change.get("id") or change["cell"].get("id")))
    parts = [f"{len(ids)} {words[kind]} cell{'s' * (len(ids) > 1)}" for kind, ids in cells.items()]
    return ", ".join(parts)


def _name(change: Message) -> str:
    source = change.get({"edit": "after", "insert": "source"}.get(change["kind"], ""))
    if change["kind"] == "delete":
        source = change["cell"].get("source")
    return (
        f"the cell that begins with {title_of(source)!r}"
        if isinstance(source, str)
        else f"the cell {change.get('id')}"
    )


STOPPED_S = 1.0  # for a request that is on its way when the user stops it
_INPUT = ("_sys_raw_input", "_save_getpass", "_allow_stdin")  # what ipykernel keeps while a cell runs


class CellRunner:
    """Runs cells of the open notebook while the asking cell waits.

    The front end runs the cell as by hand; its request waits in the kernel's queue behind the asking cell, is taken
    from there and answered by the kernel's own handler on the main thread. Only a request that the page has announced,
    with exactly the approved source, is answered; the cells that the user has queued stay in the queue.
    """

    def __init__(
        self, shell: Any, pump: KernelPump, mailbox: Mailbox, notebook: OpenNotebook, request: Request
    ) -> None:
        self._shell = shell
        self._pump = pump
        self._mailbox = mailbox
        self._notebook = notebook
        self._request = request
        self._next_count = 0  # the first execution count that no cell has

    async def run(self, cell_id: str, source: str) -> RunResult:
        """Run a cell to its end; raises ToolError with the reason when it was not run."""
        page = await self._notebook.find_page()

        def run() -> RunResult:
            return uninterruptible(lambda: self._run(cell_id, source, page))

        result = await self._mailbox.call(run)
        self._notebook.note_run(cell_id)
        return result

    def _run(self, cell_id: str, source: str, page: str) -> RunResult:
        asked = self._request("run_cell", {"id": cell_id, "source": source}, page)
        self._wait(asked.done)
        if not asked.done():
            raise ToolError("the front end did not answer, so that it may run later")
        try:
            request_id = str(asked.result().get("request"))
        except RuntimeError as refusal:
            raise ToolError(str(refusal)) from None
        taken: list[tuple[Any, dict[str, Any]]] = []
        self._wait(lambda: bool(taken) or self._take(request_id, taken))
        if not taken:
            raise ToolError("the kernel did not receive the cell")
        identities, request = taken[0]
        if self._is_stopped or request["content"]["code"] != source:
            self._pump.refuse(identities, request)
            why = (
                "the user stopped it"
                if self._is_stopped
                else "the front end sent another text than the approved one"
            )
            raise ToolError(why)
        return self._answer(identities, request)

    def _take(self, request_id: str, taken: list[tuple[Any, dict[str, Any]]]) -> bool:
        if (found := self._pump.take(request_id)) is not None:
            taken.append(found)
        return bool(taken)

    @property
    def _is_stopped(self) -> bool:
        return self._mailbox.stop_requested or is_interrupted()

    def _wait(self, is_over: Callable[[], bool], clock: Callable[[], float] = time.monotonic) -> None:
        """Serve the front end until something is over; a stop is obeyed soon, but not before the request is known."""
        began = clock()
        while not is_over():
            waited = clock() - began
            if waited > (STOPPED_S if self._is_stopped else ANSWER_S):
                return
            self._pump.once(0.05)

    def _answer(self, identities: Any, request: dict[str, Any]) -> RunResult:
        """Run the request's code as the cell it belongs to."""
        shell, results = self._shell, list[Any]()
        request["content"]["stop_on_error"] = (
            False  # an error must not abort the cells that the user has queued
        )
        run_cell = shell.run_cell

        def run_interruptibly(*args: Any, **kwargs: Any) -> Any:
            results.append(interruptible(lambda: run_cell(*args, **kwargs)))
            return results[-1]

        with (
            collecting(shell.kernel.session, request["header"]["msg_id"]) as collector,
            kept(shell.kernel, _INPUT),
            kept(shell, OUTER_STATUS),
            reentrant_loop(shell, request["content"]["code"]),
            replaced(shell, "run_cell", run_interruptibly),
            self._counted(),
        ):
            try:
                self._pump.answer(identities, request)
            except KeyboardInterrupt:  # before the code began, or after it ended
                self._pump.refuse(identities, request)
                raise
        if not results:
            raise ToolError("the kernel did not run the cell")
        return run_result(results[-1], collector)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Give the cell the next execution count; the asking cell keeps its own to its end.

        IPython 9 counts up when a cell begins, IPython 8 when it ends. The next cell's count is set with the asking
        cell's reply, which tells the count that the shell has then.
        """
        shell = self._shell
        before, asking = shell.execution_count, shell.displayhook.prompt_count
        shell.execution_count = max(asking + 1, self._next_count)
        try:
            yield
        finally:
            self._next_count = shell.execution_count
            shell.execution_count = before
            at_reply(shell.kernel.session, self._pump.cell[1]["header"]["msg_id"], self._skip_counts)

    def _skip_counts(self) -> None:
        self._shell.execution_count = max(self._shell.execution_count, self._next_count)
