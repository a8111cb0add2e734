"""Fakes at the outer edge of a session: a client that plays a script, a kernel in this very process."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from codex_nb.config.settings import ApprovalPolicy
from codex_nb.errors import ToolError
from codex_nb.responses.events import (
    OutputItemAdded,
    OutputItemDone,
    OutputTextDelta,
    ResponseEvent,
    ResponseFinished,
    Usage,
)
from codex_nb.responses.request import ResponsesRequest
from codex_nb.session.events import TurnEvent, TurnFinished, TurnStarted
from codex_nb.session.outbound import Item, Redactor, TurnRedactor, user_message
from codex_nb.session.thread import Thread
from codex_nb.session.turn import ToolContext, Turn
from codex_nb.tools.approval import (
    OFFERED,
    ApprovalMemory,
    ApprovalRules,
    Approved,
    Approver,
    Decision,
    DecisionKind,
    PendingApprovals,
)
from codex_nb.tools.base import Ports, Tool, ToolResult, ToolSet
from codex_nb.tools.builtin import run_python
from codex_nb.tools.describe import NewCell, RunResult
from codex_nb.tools.nbmodel import Cell, NotebookSnapshot
from tests.patience import PATIENCE_S

T = TypeVar("T")

USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens": 6,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 16,
}


def said(text: str, item_id: str = "msg_1", **more: Any) -> Item:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {
        "type": "message",
        "id": item_id,
        "role": "assistant",
        "status": "completed",
        "content": content,
    } | more


def called(name: str, arguments: Mapping[str, Any] | str, call_id: str = "call_1") -> Item:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {
        "type": "function_call",
        "id": f"fc_{call_id}",
        "name": name,
        "arguments": text,
        "call_id": call_id,
    }


def thought(summary: str, item_id: str = "rs_1") -> Item:
    parts = [{"type": "summary_text", "text": summary}]
    return {"type": "reasoning", "id": item_id, "summary": parts, "encrypted_content": "gAAAA"}


def added(item: Item) -> OutputItemAdded:
    return OutputItemAdded(type="response.output_item.added", item=item, item_id=item["id"])


def done(item: Item) -> OutputItemDone:
    return OutputItemDone(type="response.output_item.done", item=item, item_id=item["id"])


def delta(text: str, item_id: str = "msg_1") -> OutputTextDelta:
    return OutputTextDelta(type="response.output_text.delta", delta=text, item_id=item_id)


def finished(*items: Item, **more: Any) -> ResponseFinished:
    settled = {
        "response_id": "resp_1",
        "status": "completed",
        "items": items,
        "usage": Usage.parse(USAGE),
    } | more
    return ResponseFinished(**{"model": "gpt-test", "request_id": "req_1"} | settled)


def reply(*items: Item, **more: Any) -> list[ResponseEvent]:
    """Return the events of a response made of these items."""
    return [*(event for item in items for event in (added(item), done(item))), finished(*items, **more)]


Step = Sequence[ResponseEvent | BaseException | asyncio.Event]


@dataclass
class ScriptedClient:
    """Plays one script per request: events are yielded, errors raised, asyncio events waited for.

    ``closed`` counts the streams that came to their end or were closed.
    """

    scripts: list[Step]
    requests: list[ResponsesRequest] = field(default_factory=list)
    closed: int = 0

    async def stream(self, request: ResponsesRequest) -> AsyncIterator[ResponseEvent]:
        self.requests.append(request)
        try:
            for entry in self.scripts.pop(0):
                if isinstance(entry, BaseException):
                    raise entry
                if isinstance(entry, asyncio.Event):
                    await entry.wait()
                else:
                    yield entry
        finally:
            self.closed += 1


class SameThread:
    """The main thread of a test is the one it runs on."""

    async def call(self, function: Callable[[], Any]) -> Any:
        await asyncio.sleep(0)
        return function()


@dataclass
class ProcessKernel:
    """Runs code with exec in a namespace of its own; text that it prints is its output."""

    variables: dict[str, Any] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    shown: list[Mapping[str, Any]] = field(default_factory=list)

    def run(self, code: str) -> RunResult:
        self.ran.append(code)
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                exec(code, self.variables)  # noqa: S102 -- the test's own code
        except Exception as error:  # noqa: BLE001 -- an exception is a result
            return RunResult(_printed(printed), f"{type(error).__name__}: {error}")
        return RunResult(_printed(printed))

    def show(self, outputs: Sequence[Mapping[str, Any]]) -> None:
        self.shown += outputs

    def complete(self, awaitable: Any) -> Any:
        try:
            awaitable.send(None)
        except StopIteration as end:
            return end.value
        raise AssertionError("the coroutine waits for something")

    def namespace(self) -> Mapping[str, Any]:
        return self.variables


def _printed(stream: io.StringIO) -> tuple[Mapping[str, Any], ...]:
    text = stream.getvalue()
    return ({"output_type": "stream", "name": "stdout", "text": text},) if text else ()


@dataclass
class PaperDocument:
    """A notebook in memory, whose last cell asks.

    ``meanwhile`` is called before each change, for what a person does after the proposal; ``locked`` are the ids of
    cells that cannot be changed. ``results`` are what runs of cells give, by source.
    """

    cells: list[Cell] = field(default_factory=list)
    locked: set[str] = field(default_factory=set)
    meanwhile: Callable[[], None] = lambda: None
    results: dict[str, RunResult] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    _inserted: int = 0

    @property
    def sources(self) -> dict[str | None, str]:
        """The sources of the cells, by their ids."""
        return {cell.cell_id: cell.source for cell in self.cells}

    @property
    def changes(self) -> int:
        """How many cells were inserted."""
        return self._inserted

    async def read(self) -> NotebookSnapshot:
        return NotebookSnapshot("document", tuple(self.cells), len(self.cells) - 1 if self.cells else None)

    async def insert(self, cells: Sequence[NewCell], after: str | None) -> tuple[str, ...]:
        self.meanwhile()
        place = self._place(after) + 1 if after else len(self.cells)
        ids = [f"new-{self._inserted + number}" for number in range(1, len(cells) + 1)]
        self._inserted += len(cells)
        self.cells[place:place] = [
            Cell(cell.kind, cell.source, cell_id) for cell_id, cell in zip(ids, cells, strict=True)
        ]
        return tuple(ids)

    async def edit(self, cell_id: str, before: str, after: str) -> None:
        place = self._changed(cell_id, before)
        self.cells[place] = replace(self.cells[place], source=after)

    async def delete(self, sources: Mapping[str, str]) -> None:
        places = [self._changed(cell_id, source) for cell_id, source in sources.items()]
        self.cells = [cell for place, cell in enumerate(self.cells) if place not in places]

    async def move(self, cell_id: str, after: str | None) -> None:
        self.meanwhile()
        cell = self.cells.pop(self._place(cell_id))
        self.cells.insert(self._place(after) + 1 if after else 0, cell)

    async def run(self, cell_id: str, source: str) -> RunResult:
        self._changed(cell_id, source)
        self.ran.append(source)
        return self.results.get(source, RunResult())

    def _changed(self, cell_id: str, expected: str) -> int:
        self.meanwhile()
        place = self._place(cell_id)
        if cell_id in self.locked:
            raise ToolError("the cell is marked as not editable")
        if self.cells[place].source != expected:
            raise ToolError("its text has been changed meanwhile")
        return place

    def _place(self, cell_id: str) -> int:
        for place, cell in enumerate(self.cells):
            if cell.cell_id == cell_id:
                return place
        raise ToolError("the cell is no longer in the notebook")


class ScriptedApprover:
    """Answers each request with the next decision."""

    def __init__(self, *decisions: Decision | DecisionKind) -> None:
        self.asked: list[Any] = []
        self._decisions = [d if isinstance(d, Decision) else Decision(d) for d in decisions]

    async def decide(self, request: Any) -> Decision:
        self.asked.append(request)
        return self._decisions.pop(0)


def make_turn(
    *,
    prompt: str = "say hi",
    thread: Thread | None = None,
    tools: ToolSet | None = None,
    policy: ApprovalPolicy = ApprovalPolicy.ALL,
    approver: Approver | None = None,
    kernel: ProcessKernel | None = None,
    document: PaperDocument | None = None,
    folder: Path | None = None,
    memory: ApprovalMemory | None = None,
    sends_images: bool = True,
    **more: Any,
) -> Turn:
    thread = thread or Thread("default", thread_id="thread-1")
    rules = ApprovalRules(policy, memory or ApprovalMemory())
    tool_context = ToolContext(
        tools=(tools or ToolSet((run_python,))).only(lambda tool: tool.effect in OFFERED[rules.policy]),
        rules=rules,
        approver=approver or PendingApprovals(),
        ports=Ports(SameThread(), kernel or ProcessKernel(), document, folder),
        redact=TurnRedactor(Redactor({}).with_secrets(["s3cret"])),
        untrusted=lambda label, text: f"<{label}>{text}</{label}>",
        sends_images=sends_images,
    )
    return Turn(
        started=TurnStarted("turn-1", thread.name, "gpt-test", "low", "ada@example.com", "plus", "chatgpt"),
        request=ResponsesRequest(model="gpt-test", input=(), tools=tool_context.tools.specs()),
        new_items=(user_message(prompt),),
        thread=thread,
        tool_context=tool_context,
        **more,
    )


async def play(turn: Turn, *scripts: Step) -> tuple[list[TurnEvent], TurnFinished, ScriptedClient]:
    client = ScriptedClient(list(scripts))
    events = [event async for event in turn.events(client)]
    last = events[-1]
    assert isinstance(last, TurnFinished)
    return events, last, client


def outputs(items: Sequence[Item]) -> list[tuple[str, Any]]:
    """Return call ids and outputs, in order."""
    return [(i["call_id"], i["output"]) for i in items if i["type"] == "function_call_output"]


async def call_tool(tool: Tool[Any], arguments: dict[str, Any], ports: Ports) -> ToolResult:
    """Call a tool as one whose call was approved."""
    parsed = tool.parse(json.dumps(arguments))
    try:
        if tool.prepare is not None:
            parsed = await tool.prepare(parsed, ports)
        return await tool.call(Approved(parsed, Decision(DecisionKind.APPROVE)), ports)
    except ToolError as problem:
        return ToolResult(str(problem), ok=False)


@contextlib.contextmanager
def _callbacks(at: Callable[[int], object]) -> Iterator[None]:
    """Call ``at`` with the number of each callback that the running loop calls, before it does.

    Between two of them a wait may be over, and the task that waited not yet told.
    """
    loop: Any = asyncio.get_running_loop()
    numbers = itertools.count(1)

    def counting(schedule: Callable[..., asyncio.Handle]) -> Callable[..., asyncio.Handle]:
        def call(callback: Callable[..., object], *arguments: Any, context: Any = None) -> asyncio.Handle:
            def run() -> None:
                at(next(numbers))
                callback(*arguments)

            return schedule(run, context=context)

        return call

    loop.call_soon, loop.call_soon_threadsafe = counting(loop.call_soon), counting(loop.call_soon_threadsafe)
    try:
        yield
    finally:
        del loop.call_soon, loop.call_soon_threadsafe


async def cancel_at(
    place: float, asking: Coroutine[Any, Any, T], waits: asyncio.Event
) -> tuple[int, T | None]:
    """Run a turn that sets ``waits`` and waits without end, and cancel it at a callback of the loop, or then.

    Return how many callbacks there were until then, and what the turn returned: None when it was cancelled itself.
    """
    task, waiting = asyncio.create_task(asking), asyncio.create_task(waits.wait())
    seen = 0

    def at(number: int) -> None:
        nonlocal seen
        seen = number
        if number == place:
            task.cancel()

    with _callbacks(at):
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if seen < place:
        task.cancel()
    _, left = await asyncio.wait([task], timeout=PATIENCE_S)
    assert not left, f"cancelled at callback {place} of {seen}, the turn goes on"
    return seen, None if task.cancelled() else task.result()
