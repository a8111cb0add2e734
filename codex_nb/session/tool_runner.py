"""Tool-call execution: parse the arguments, ask for approval, run the tool, return its output."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codex_nb.errors import ToolError
from codex_nb.session.events import ApprovalRequested, ApprovalResolved, ToolCall, ToolFinished, ToolStarted
from codex_nb.session.items import Item, call_arguments, call_output
from codex_nb.tools.approval import DecisionKind, Effect
from codex_nb.tools.base import ToolResult
from codex_nb.tools.outputs import truncate
from codex_nb.tools.secret_values import secrets_of_namespace

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

    from codex_nb.session.events import TurnEvent
    from codex_nb.tools.approval import ApprovalRequest, ApprovalRules, Approver, Decision
    from codex_nb.tools.base import Arguments, Ports, Tool, ToolSet


RESULT_LIMIT = 20_000
REJECTED = "The user rejected this call; it did not run."
EDITED = "The user changed the code before running it. What ran:\n{code}\n\nIts result:\n"


@dataclass(frozen=True)
class ToolContext:
    """What calls are carried out with.

    ``redact`` takes secrets out of a text, and ``learn`` tells it of values that later texts may hold; ``fence`` marks
    a text as data that nobody vouches for. ``sends_images`` tells whether the model can see images.
    """

    tools: ToolSet
    consent: ApprovalRules
    approver: Approver
    ports: Ports
    redact: Callable[[str], str]
    fence: Callable[[str, str], str]
    sends_images: bool = True
    learn: Callable[[Iterable[str]], None] = lambda _values: None


class ToolCallExecution:
    """The carrying out of one call item.

    After :meth:`events` is exhausted, ``output`` is the item that answers the call, ``record`` what the Answer tells of
    it, and ``stopped`` whether the user ended the turn instead.
    """

    def __init__(self, item: Item, call_number: int, tool_context: ToolContext) -> None:
        self.stopped = False
        self.output: Item | None = None
        self._item = item
        self._number = call_number
        self._bench = tool_context
        self._text: str | None = None

    @property
    def record(self) -> ToolCall:
        """The call as the Answer tells of it."""
        return ToolCall(
            str(self._item.get("name", "")), self._item["call_id"], call_arguments(self._item), self._text
        )

    async def events(self) -> AsyncGenerator[TurnEvent, None]:
        """Yield what happens; the last event is the call's ToolFinished."""
        try:
            tool = self._bench.tools.find(str(self._item.get("name", "")))
            arguments = tool.parse(call_arguments(self._item))
        except ToolError as error:
            yield self._answer(str(error), ok=False)
            return
        request = tool.request(self._number, arguments)
        decision = self._bench.consent.decide(tool.effect, request)
        if decision is None:
            # The request is registered before anyone can see it, so that no click comes too early.
            waiting = self._bench.approver.decide(request)
            yield ApprovalRequested(request)
            decision = await waiting
            self._bench.consent.memory.remember(request, decision)
        yield ApprovalResolved(self._number, decision)
        if not decision.approved:
            self.stopped = decision.kind is DecisionKind.STOP
            yield self._answer(_rejection(decision), ok=False)
            return
        yield ToolStarted(self._number)
        yield await self._carry_out(tool, arguments, request, decision)

    async def _carry_out(
        self, tool: Tool, arguments: Arguments, request: ApprovalRequest, decision: Decision
    ) -> ToolFinished:
        edited = decision.code is not None and decision.code != request.code
        try:
            if edited and decision.code is not None:
                arguments = tool.edited(arguments, decision.code)
            result = await tool.call(arguments, self._bench.ports)
        except asyncio.CancelledError:
            raise
        except KeyboardInterrupt:
            self.stopped = True
            result = ToolResult("Interrupted by the user.", ok=False)
        except (Exception, SystemExit) as error:  # noqa: BLE001 -- whatever a tool raises is its result
            result = ToolResult(f"{type(error).__name__}: {_safe_text(error)}", ok=False)
        if tool.effect is Effect.EXECUTE and not self.stopped:
            await self._learn()
        note = EDITED.format(code=decision.code) if edited else ""
        return self._answer(result.text, ok=result.ok, images=result.images, note=note, is_data=True)

    async def _learn(self) -> None:
        """Take note of the secrets that the code has put into variables: its outputs may show them."""
        ports = self._bench.ports
        if (kernel := ports.kernel) is not None:
            self._bench.learn(await ports.main_thread.call(lambda: secrets_of_namespace(kernel.namespace())))

    def _answer(
        self, text: str, *, ok: bool, images: tuple[str, ...] = (), note: str = "", is_data: bool = False
    ) -> ToolFinished:
        tool_context = self._bench
        text = tool_context.redact(truncate(text, RESULT_LIMIT))
        note = tool_context.redact(note)
        if images and not tool_context.sends_images:
            text = f"{text}\n[{len(images)} images not sent: the model takes text only]"
            images = ()
        sent = tool_context.fence(str(self._item.get("name", "")), text) if is_data else text
        self.output = call_output(self._item, note + sent, images)
        self._text = note + text
        return ToolFinished(self._number, self._text, ok)


def _rejection(decision: Decision) -> str:
    if decision.by != "user":
        return decision.message
    return f"{REJECTED} The user says: {decision.message}" if decision.message else REJECTED


def _safe_text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 -- an exception's own __str__ may fail
        return "(its message cannot be read)"
