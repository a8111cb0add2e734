"""One turn: request, tool calls, outputs, next request, until the model is done."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

from codex_nb.errors import AuthError, CodexError, MalformedResponse, RefreshFailed, SignInRequired, ToolError
from codex_nb.responses.events import (
    CustomToolCallInputDelta,
    FunctionCallArgumentsDelta,
    LimitsSeen,
    OutputItemAdded,
    OutputItemDone,
    OutputTextDelta,
    ReasoningSummaryTextDelta,
    ReasoningTextDelta,
    RefusalDelta,
    ResponseFinished,
    Usage,
)
from codex_nb.session.events import (
    Answer,
    AnswerRejected,
    ApprovalRequested,
    ApprovalResolved,
    Notice,
    ReasoningDelta,
    ReasoningDone,
    RetryScheduled,
    Status,
    StepStarted,
    TextDelta,
    TextDone,
    ToolArgumentsDelta,
    ToolCall,
    ToolCallReady,
    ToolCallStarted,
    ToolFinished,
    ToolStarted,
    TurnFinished,
)
from codex_nb.session.known_values import secrets_of_namespace
from codex_nb.session.outbound import (
    Item,
    answer_text,
    call_arguments,
    call_output,
    is_call,
    message_text,
    reasoning_text,
    received,
    search_text,
    user_message,
)
from codex_nb.session.structured_output import SchemaMismatch
from codex_nb.session.thread_file import CHANGED, EDITED, REPAIR
from codex_nb.tools.approval import DecisionKind, Effect
from codex_nb.tools.base import A, ToolResult
from codex_nb.tools.nbmodel import Cell, truncate

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Iterable, Iterator, Sequence

    from codex_nb.responses.events import RateLimits, ResponseEvent
    from codex_nb.responses.request import Outbound, ResponsesRequest
    from codex_nb.session.answer_cache import Replay
    from codex_nb.session.events import TurnEvent, TurnStarted
    from codex_nb.session.outbound import TurnRedactor
    from codex_nb.session.structured_output import ValueFormat
    from codex_nb.session.thread import Thread
    from codex_nb.tools.approval import ApprovalRequest, ApprovalRules, Approver, Decision
    from codex_nb.tools.base import Ports, Tool, ToolSet


SignIn = Callable[[AuthError], Awaitable[bool]]
"""Asks the user to sign in because of an error; returns whether there are credentials now."""


async def no_login(_error: AuthError) -> bool:
    """Decline to sign in, where no user can be asked."""
    return False


def needs_sign_in(error: object) -> TypeGuard[AuthError]:
    """Whether signing in again would help."""
    return isinstance(error, SignInRequired) or (isinstance(error, RefreshFailed) and error.permanent)


class ModelClient(Protocol):
    """Sends one request and streams the response; the last event is ResponseFinished."""

    def stream(self, request: ResponsesRequest) -> AsyncGenerator[ResponseEvent, None]:
        """Yield the response's events; raises CodexError. Closing the generator closes the connection."""
        ...


_SAME_ID = "The server's response gives two tool calls the same id."


class EventAdapter:
    """Turns the wire events of one response into turn events.

    ``items`` are the complete output items, ``call_numbers`` the numbers of the calls among them by the server's call
    id; ``partial_text`` is the text of an unfinished message; ``finished`` is set once the response has ended;
    ``is_silent`` until there is anything to show.
    ``numbers`` gives each call of the turn its own number; ``answered`` are the thread's earlier call ids.
    Raises MalformedResponse for a response with one call twice, or in two versions, and drops all its items.
    """

    def __init__(
        self,
        numbers: Iterator[int],
        answered: Collection[str] = (),
        on_limits: Callable[[RateLimits], Notice | None] = lambda _limits: None,
    ) -> None:
        self.items: list[Item] = []
        self.is_silent = True
        self.call_numbers: dict[str, int] = {}
        self.finished: ResponseFinished | None = None
        self._numbers = numbers
        self._answered = answered
        self._on_limits = on_limits
        self._pieces: dict[str, list[str]] = {}
        self._begun: dict[str, int] = {}  # the numbers of unfinished calls, by item

    @property
    def partial_text(self) -> str:
        """The text of unfinished messages."""
        return "\n\n".join("".join(pieces) for pieces in self._pieces.values() if pieces)

    def read(self, event: ResponseEvent) -> list[TurnEvent]:
        """Return the turn events of a wire event."""
        shown = self._turn_events(event)
        if self.is_silent and shown and not isinstance(event, LimitsSeen):
            self.is_silent = False
        return shown

    def _turn_events(self, event: ResponseEvent) -> list[TurnEvent]:
        match event:
            case OutputTextDelta() | RefusalDelta():
                self._pieces.setdefault(event.item_id, []).append(event.delta)
                return [TextDelta(event.item_id, event.delta)]
            case ReasoningSummaryTextDelta():
                return [ReasoningDelta(event.item_id, event.summary_index, event.delta)]
            case ReasoningTextDelta():
                return [ReasoningDelta(event.item_id, event.content_index, event.delta)]
            case FunctionCallArgumentsDelta() | CustomToolCallInputDelta():
                number = self._begun.get(event.item_id)
                return [] if number is None else [ToolArgumentsDelta(number, event.delta)]
            case OutputItemAdded(item=item) if is_call(item):
                number = self._begun[event.item_id] = next(self._numbers)
                return [ToolCallStarted(number, str(item.get("name", "")), item["call_id"])]
            case OutputItemDone():
                return self._done(event.item_id, event.item)
            case RetryScheduled():
                self._pieces.clear()
                self._begun.clear()
                return [event]
            case LimitsSeen():
                notice = self._on_limits(event.limits)
                return [notice] if notice else []
            case ResponseFinished():
                return self._finish(event)
            case _:
                return []

    def _done(self, item_id: str, item: Item) -> list[TurnEvent]:
        if is_call(item):
            return [self._call_done(item_id, item)]
        self.items.append(item)
        self._pieces.pop(item_id, None)
        if item.get("type") == "message":
            return [TextDone(item_id, message_text(item))]
        if searched := search_text(item):
            return [Notice("search", searched)]
        summary = reasoning_text(item) if item.get("type") == "reasoning" else ""
        return [ReasoningDone(item_id, summary)] if summary else []

    def _call_done(self, item_id: str, item: Item) -> ToolCallReady:
        call_id = item["call_id"]
        if call_id in self._answered:
            raise self._malformed(
                "The server's response gives a tool call the id of an earlier one in this thread.",
                "None of its tool calls ran. Ask again, or begin a new thread with %codex new.",
            )
        if call_id in self.call_numbers:
            raise self._malformed(_SAME_ID)
        begun = self._begun.pop(item_id, None)
        number = next(self._numbers) if begun is None else begun
        self.items.append(item)
        self.call_numbers[call_id] = number
        return ToolCallReady(number, str(item.get("name", "")), call_arguments(item), call_id)

    def _finish(self, event: ResponseFinished) -> list[TurnEvent]:
        self._compare_calls(event.items)
        # Some backends send an item only with the last event.
        late: list[TurnEvent] = []
        shown = set(map(_digest, self.items))
        for number, item in enumerate(event.items):
            if (item["call_id"] in self.call_numbers) if is_call(item) else (_digest(item) in shown):
                continue
            late += self._done(str(item.get("id") or f"item_{number}"), item)
            shown.add(_digest(item))
        self.items = list(event.items)
        self._pieces.clear()
        self.finished = event
        return late

    def _compare_calls(self, items: Sequence[Item]) -> None:
        """Check that the end of the response has each call once, and as it was shown."""
        final: dict[str, tuple[str, ...]] = {}
        for call in filter(is_call, items):
            if call["call_id"] in final:
                raise self._malformed(_SAME_ID)
            final[call["call_id"]] = _essence(call)
        if any(final.get(call["call_id"]) != _essence(call) for call in filter(is_call, self.items)):
            raise self._malformed(
                "The server's response ends with a tool call that differs from the one it showed before."
            )

    def _malformed(self, reason: str, hint: str | None = None) -> MalformedResponse:
        self.items.clear()
        self._pieces.clear()
        return MalformedResponse(reason, hint=hint)


def _digest(item: Item) -> str:
    return json.dumps(item, sort_keys=True)


def _essence(call: Item) -> tuple[str, ...]:
    """Return the parts of a call that decide what it does."""
    return str(call["type"]), str(call.get("name", "")), call_arguments(call)


RESULT_LIMIT = 20_000
_LINES_LEARNED_FROM = 100
VARIABLES = "Variables: {changes}."
REJECTED = "The user rejected this call; it did not run."


@dataclass(frozen=True)
class ToolContext:
    """What tool calls run with.

    ``redact`` removes secrets from texts, and from items of earlier steps what has been found secret since; ``learn``
    adds values that other texts may hold. ``untrusted`` puts a text into an untrusted block. ``sends_images`` tells
    whether the model accepts images.
    """

    tools: ToolSet
    rules: ApprovalRules
    approver: Approver
    ports: Ports
    redact: TurnRedactor
    untrusted: Callable[[str, str], str]
    sends_images: bool = True
    learn: Callable[[Iterable[str]], None] = lambda _values: None


class ToolCallExecution:
    """The execution of one tool call: parse the arguments, ask for approval, run the tool.

    After :meth:`events`, ``output`` is the item that answers the call, ``record`` its entry in the Answer, and
    ``stopped`` tells whether the user ended the turn instead. ``numbers`` gives each further call of the turn its own.
    """

    def __init__(self, item: Item, call_number: int, context: ToolContext, numbers: Iterator[int]) -> None:
        self.stopped = False
        self._numbers = numbers
        self.output: Outbound | None = None
        self._item = item
        self._name = str(item.get("name", ""))
        self._number = call_number
        self._context = context
        self._text: str | None = None
        self._ran: str | None = None
        self._result = ToolResult("", ok=False)

    @property
    def record(self) -> ToolCall:
        """The call's entry in the Answer."""
        return ToolCall(
            self._name,
            self._item["call_id"],
            call_arguments(self._item),
            self._text,
            self._ran,
            self._result.ok,
            tuple(map(dict, self._result.outputs)),
            self._result.cells,
        )

    async def events(self) -> AsyncGenerator[TurnEvent, None]:
        """Yield the call's events: ToolFinished last, or a notice of the variables that the call has changed."""
        is_data = False
        try:
            tool = self._context.tools.find(self._name)
            arguments = tool.parse(call_arguments(self._item))
            is_data = True  # what prevents a call may quote the notebook or a file
            if tool.prepare is not None:
                arguments = await tool.prepare(arguments, self._context.ports)
        except ToolError as error:
            yield self._answer(str(error), ok=False, is_data=is_data)
            return
        request = tool.request(self._number, arguments)
        decision = self._context.rules.decide(tool.effect, tool.key(arguments))
        unasked = request if decision is not None and request.before is not None else None
        if decision is None:
            # The request is registered before anyone can see it, so that no click comes too early.
            waiting = self._context.approver.decide(request)
            yield ApprovalRequested(request)
            decision = await waiting
        yield ApprovalResolved(self._number, decision, unasked)
        if not decision.approved:
            self.stopped = decision.kind is DecisionKind.STOP
            yield self._answer(_rejection(decision), ok=False)
            return
        yield ToolStarted(self._number)
        if tool.may_ask:
            async with aclosing(self._run_asking(tool, arguments, request, decision)) as events:
                async for event in events:
                    yield event
        else:
            yield await self._run(tool, arguments, request, decision, self._context.ports)
        if changes := self._context.redact(self._result.changes):
            yield Notice("variables", VARIABLES.format(changes=changes))

    async def _run_asking(
        self, tool: Tool[A], arguments: A, request: ApprovalRequest, decision: Decision
    ) -> AsyncGenerator[TurnEvent, None]:
        from codex_nb.session.mcp import UserQuestions

        questions = UserQuestions(self._context.approver, self._numbers)
        ports = replace(self._context.ports, ask_user=questions.ask)
        running = self._run(tool, arguments, request, decision, ports)
        async with aclosing(questions.events(running)) as events:
            async for event in events:
                yield event
        self.stopped = self.stopped or questions.stopped

    async def _run(
        self, tool: Tool[A], arguments: A, request: ApprovalRequest, decision: Decision, ports: Ports
    ) -> ToolFinished:
        edited = decision.code is not None and decision.code != request.code
        try:
            approved = tool.approve(arguments, request, decision)
            self._context.rules.remember(tool.effect, tool.key(approved.arguments), decision)
            self._ran = json.dumps(approved.arguments.to_json(), sort_keys=True)
            result = self._result = await tool.call(approved, ports)
        except KeyboardInterrupt:
            self.stopped = True
            result = ToolResult("Interrupted by the user.", ok=False)
        except ToolError as error:
            result = ToolResult(str(error), ok=False)
        except (Exception, SystemExit) as error:  # noqa: BLE001 -- whatever a tool raises is its result
            result = ToolResult(f"{type(error).__name__}: {_message_of(error)}", ok=False)
        if tool.effect in {Effect.EDIT, Effect.EXECUTE} and not self.stopped:  # inserted cells may run
            await self._learn(decision.code if edited else request.code, result.text)
        note = EDITED.format(code=decision.code) if edited else ""
        text = f"{result.text}\n{VARIABLES.format(changes=result.changes)}" if result.changes else result.text
        return self._answer(text, ok=result.ok, images=result.images, note=note, is_data=True)

    async def _learn(self, code: str | None, text: str) -> None:
        """Learn the secrets that the code has put into variables or shown: later outputs may show them."""
        ports = self._context.ports
        if (kernel := ports.kernel) is not None:
            outputs = tuple({"text": line} for line in text.splitlines()[:_LINES_LEARNED_FROM])
            cells = [Cell("code", code or "", outputs=outputs)]
            self._context.learn(
                await ports.main_thread.call(lambda: secrets_of_namespace(kernel.namespace(), cells))
            )

    def _answer(
        self, text: str, *, ok: bool, images: tuple[str, ...] = (), note: str = "", is_data: bool = False
    ) -> ToolFinished:
        tool_context = self._context
        text = tool_context.redact(truncate(text, RESULT_LIMIT))
        note = tool_context.redact(note)
        if images and not tool_context.sends_images:
            text = f"{text}\n[{len(images)} images not sent: the model takes text only]"
            images = ()
        sent = tool_context.untrusted(self._name, text) if is_data else text
        self.output = call_output(self._item, note + sent, images)
        self._text = note + text
        return ToolFinished(self._number, self._text, ok)


def _rejection(decision: Decision) -> str:
    if decision.by != "user":
        return decision.message
    return f"{REJECTED} The user says: {decision.message}" if decision.message else REJECTED


def _message_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 -- an exception's own __str__ may fail
        return "(its message cannot be read)"


NOT_RUN = "not run: the user stopped the turn"
STOPPED = "Stopped by the user."


@dataclass(eq=False)
class Turn:
    """One turn, prepared and then run once by :meth:`events`.

    ``request`` is the template of each step's request, without input. ``new_items`` are the first items of the
    exchange and ``sent_digests`` the digests of the notebook parts in them. ``value_format`` is that of the value that
    the answer is to be; the model is asked once more for one that does not fit. ``notices`` are shown first.
    ``sign_in`` is called when the credentials are refused between two steps; the step is then repeated. ``replay``
    answers in the place of the model as long as the calls of a saved answer show what they showed then.
    """

    started: TurnStarted
    request: ResponsesRequest
    new_items: tuple[Outbound, ...]
    thread: Thread
    tool_context: ToolContext
    sent_digests: frozenset[str] = frozenset()
    notices: tuple[Notice, ...] = ()
    value_format: ValueFormat | None = None
    max_steps: int = 50
    on_limits: Callable[[RateLimits], Notice | None] = field(default=lambda _limits: None)
    sign_in: SignIn = no_login
    replay: Replay | None = None

    def __post_init__(self) -> None:
        self._exchange = self.thread.begin(self.new_items, self.sent_digests, self.started.model)
        self._call_numbers = itertools.count(1)
        self._response = EventAdapter(self._call_numbers)
        self._step = 0
        self._last: ResponseFinished | None = None
        self._items: list[Item] = []
        self._calls: list[ToolCall] = []
        self._usage = Usage()
        self._status: Status = "completed"
        self._problem: str | None = None
        self._parsed: Any = None
        self._shown: str | None = None
        self._has_repaired = False
        self._rejected: AnswerRejected | None = None  # by the validator, in this step
        self._answer_start = 0

    async def events(self, client: ModelClient) -> AsyncGenerator[TurnEvent, None]:
        """Yield the turn's events, TurnStarted to TurnFinished; a cancelled consumer gets the last one, too."""
        try:
            yield self.started
            for notice in self.notices:
                yield notice
            while self._step < self.max_steps:
                request = self._begin_step()
                yield StepStarted(self._step)
                # A refused first step has lost nothing: the assistant then starts the whole turn over.
                for may_repeat in (self._step > 1, False):
                    try:
                        async with aclosing(self._source(client).stream(request)) as events:
                            async for event in events:
                                for shown in self._response.read(event):
                                    yield shown
                        break
                    except AuthError as error:
                        if not (may_repeat and self._response.is_silent and await self.sign_in(error)):
                            raise
                calls = self._end_step()
                if self._step == 1 and (rerouted := self._model_notice()):
                    yield rerouted
                async with aclosing(self._run_calls(calls)) as tool_events:
                    async for tool_event in tool_events:
                        yield tool_event
                if self._status != "completed" or not (calls or await self._must_ask_again()):
                    break
                if self._rejected is not None:
                    yield self._rejected
            else:
                self._status = "incomplete"
                self._problem = f"Ended after {self.max_steps} requests. Ask to continue."
            finished = self._complete()
        except BaseException as error:  # noqa: BLE001 -- what does not end a turn is raised again
            finished = self._end_early(error)
        yield finished

    def _source(self, client: ModelClient) -> ModelClient:
        return self.replay if self.replay is not None and self.replay.has_next() else client

    def _begin_step(self) -> ResponsesRequest:
        self._step += 1
        self._rejected = None
        answered = frozenset(item["call_id"] for item in self._exchange.input if is_call(item))
        self._response = EventAdapter(self._call_numbers, answered, self.on_limits)
        turn_state = self._last.turn_state if self._last else None
        self._exchange.redact(self.tool_context.redact)
        return replace(self.request, input=self._exchange.input, turn_state=turn_state)

    def _take_response(self) -> EventAdapter:
        """Return the response, whose items are moved into the exchange."""
        response, self._response = self._response, EventAdapter(self._call_numbers)
        self._items += response.items
        self._exchange.add(received(response.items))
        return response

    def _end_step(self) -> list[tuple[int, Item]]:
        """End the step with its response; return the calls to run, with their numbers."""
        response = self._take_response()
        finished = response.finished
        self._last = finished or self._last
        if finished is None:
            self._status, self._problem = "incomplete", "The response ended before the answer was complete."
            return []
        self._usage += finished.usage
        if finished.status == "incomplete":
            self._status = "incomplete"
            self._problem = (
                f"The answer is incomplete: {finished.incomplete_reason or 'no reason was given'}."
            )
            return []
        numbers = response.call_numbers
        return [(numbers[item["call_id"]], item) for item in response.items if is_call(item)]

    def _model_notice(self) -> Notice | None:
        """Return a notice when a model other than the requested one answered; a dated version is the same model."""
        asked, used = self.request.model, self._last.model if self._last else ""
        if not used or used.startswith(asked) or asked.startswith(used):
            return None
        return Notice("model", f"{used} answered instead of {asked}.")

    async def _run_calls(self, calls: list[tuple[int, Item]]) -> AsyncGenerator[TurnEvent, None]:
        for number, call in calls:
            execution = ToolCallExecution(call, number, self.tool_context, self._call_numbers)
            if self._status == "cancelled":
                self._exchange.add([call_output(call, NOT_RUN)])
                self._calls.append(execution.record)
                continue
            try:
                async with aclosing(execution.events()) as events:
                    async for event in events:
                        yield event
            finally:
                self._calls.append(execution.record)
            self._exchange.add([execution.output] if execution.output else [])
            if self.replay is not None and (changes := self.replay.changes(execution.record)):
                yield Notice("hint", "What the code shows has changed, so the model is asked anew.")
                changes = self.tool_context.untrusted("what changed", self.tool_context.redact(changes))
                self._exchange.add([user_message(CHANGED.format(changes=changes))])
            if execution.stopped:
                self._status, self._problem = "cancelled", STOPPED

    async def _must_ask_again(self) -> bool:
        """Whether the model is asked again although it called no tool; parses the answer where a value is wanted."""
        if self._last is not None and self._last.end_turn is False:
            return True
        if self.value_format is None:
            return False
        context, text = self.tool_context, answer_text(self._items[self._answer_start :], cites=False)
        try:
            read = partial(self.value_format.read, text)
            self._parsed, self._shown = await context.ports.main_thread.call(read)
        except SchemaMismatch as mismatch:
            if self._has_repaired:
                self._status = "failed"
                self._problem = f"The answer does not match the schema: {mismatch}"
                return False
            self._has_repaired = True
            self._rejected = AnswerRejected(context.redact(str(mismatch)))
            self._answer_start = len(self._items)
            # A validator's message may quote whatever it met.
            problem = context.untrusted("the problem", context.redact(str(mismatch)))
            self._exchange.add([user_message(REPAIR.format(problem=problem))])
            return True
        return False

    def _complete(self) -> TurnFinished:
        """Make the exchange part of the thread; return the last event."""
        self._exchange.redact(self.tool_context.redact)
        if self.replay is None or not self.replay.adds_nothing:
            self._exchange.commit()
        return TurnFinished(self._answer(), self._problem, shown=self._shown)

    def _end_early(self, error: BaseException) -> TurnFinished:
        """Keep what there is of the answer; return the last event. Raises what is no end of a turn."""
        match error:
            case asyncio.CancelledError() | KeyboardInterrupt():
                return TurnFinished(self._abort("cancelled"), STOPPED)
            case CodexError():
                return TurnFinished(self._abort("failed"), error.line, error.bare())
            case _:
                self._abort("cancelled")
                raise error

    def _abort(self, status: Status) -> Answer:
        """Keep the complete items, close what is open, and return the partial answer."""
        partial = self._take_partial()
        self._exchange.redact(self.tool_context.redact)
        self._exchange.abort(partial)
        self._status = status
        return self._answer(partial)

    def _take_partial(self) -> str:
        """Move the complete items into the exchange; return the text of unfinished messages."""
        return self._take_response().partial_text

    def _answer(self, partial: str = "") -> Answer:
        text = answer_text(self._items[self._answer_start :])
        return Answer(
            text="\n\n".join(filter(None, (text, partial))),
            parsed=self._parsed,
            items=tuple(self._items),
            tool_calls=tuple(self._calls),
            reasoning="\n\n".join(filter(None, map(reasoning_text, self._items))),
            status=self._status,
            usage=self._usage,
            model=(self._last.model if self._last else "") or self.started.model,
            thread=self.started.thread,
            request_id=self._last.request_id if self._last else None,
            billing=self.started.billing,
        )
