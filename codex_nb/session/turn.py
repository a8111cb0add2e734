"""One turn: request, tool calls, outputs, next request, until the model is done."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from codex_nb.errors import AuthError, CodexError, MalformedResponse, RefreshFailed, SignInRequired
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
    Retrying,
)
from codex_nb.session.events import (
    Answer,
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
    TurnFinished,
    Usage,
)
from codex_nb.session.items import (
    Item,
    answer_text,
    call_arguments,
    call_output,
    is_call,
    message_text,
    reasoning_text,
    user_message,
)
from codex_nb.session.outbound import outbound
from codex_nb.session.tool_runner import ToolCallExecution, ToolContext
from codex_nb.words import conversation as words

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator, Sequence

    from codex_nb.responses.events import ResponseEvent
    from codex_nb.responses.limits import RateLimits
    from codex_nb.responses.request import ResponsesRequest
    from codex_nb.session.events import TurnEvent, TurnStarted
    from codex_nb.session.thread import Thread


SignIn = Callable[[AuthError], Awaitable[bool]]
"""Asks the person to sign in because of an error; gives whether there is a login now."""


async def no_login(_error: AuthError) -> bool:
    """Be the answer where no person can be asked."""
    return False


def needs_sign_in(error: object) -> bool:
    """Whether signing in is what helps."""
    return isinstance(error, SignInRequired) or (isinstance(error, RefreshFailed) and error.permanent)


class ModelClient(Protocol):
    """Sends one request and streams what comes back; the last event is ResponseFinished."""

    def stream(self, request: ResponsesRequest) -> AsyncIterator[ResponseEvent]:
        """Yield the response's events; raises CodexError. Closing the iterator closes the connection."""
        ...


@asynccontextmanager
async def streaming(
    client: ModelClient, request: ResponsesRequest
) -> AsyncIterator[AsyncIterator[ResponseEvent]]:
    """Give the events of a response, and close the stream whatever happens to their reader."""
    stream = client.stream(request)
    try:
        yield stream
    finally:
        if (close := getattr(stream, "aclose", None)) is not None:
            await close()


_SAME_ID = "The server's response gives two tool calls the same id."


class StepReader:
    """Follows the stream of one API request.

    ``items`` are the output items that are whole, ``call_numbers`` the numbers of those that are calls, by the server's
    call id; ``partial_text`` is what the unfinished message said so far; ``finished`` is there once the response has
    ended. ``numbers`` gives each call of the turn its own number; ``answered`` are the call ids of the turn's earlier
    steps. A response that tells one call twice, or in two ways, is a MalformedResponse, and nothing of it is kept.
    """

    def __init__(self, numbers: Iterator[int], answered: Collection[str] = ()) -> None:
        self.items: list[Item] = []
        self.call_numbers: dict[str, int] = {}
        self.finished: ResponseFinished | None = None
        self._numbers = numbers
        self._answered = answered
        self._pieces: dict[str, list[str]] = {}
        self._begun: dict[str, int] = {}  # the numbers of calls that are being written, by item

    @property
    def partial_text(self) -> str:
        """The text of messages that did not come to their end."""
        return "\n\n".join("".join(pieces) for pieces in self._pieces.values() if pieces)

    def read(self, event: ResponseEvent) -> list[TurnEvent]:
        """Return what the turn shows of an event of the wire."""
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
            case OutputItemAdded():
                return self._added(event.item_id, event.item)
            case OutputItemDone():
                return self._done(event.item_id, event.item)
            case Retrying():
                self._pieces.clear()
                self._begun.clear()
                return [RetryScheduled(event.attempt, event.max_attempts, event.delay, event.reason)]
            case ResponseFinished():
                return self._finish(event)
            case _:
                return []

    def _added(self, item_id: str, item: Item) -> list[TurnEvent]:
        if not is_call(item):
            return []
        number = self._begun[item_id] = next(self._numbers)
        return [ToolCallStarted(number, str(item.get("name", "")), item["call_id"])]

    def _done(self, item_id: str, item: Item) -> list[TurnEvent]:
        if is_call(item):
            return [self._call_done(item_id, item)]
        self.items.append(item)
        self._pieces.pop(item_id, None)
        if item.get("type") == "message":
            return [TextDone(item_id, message_text(item))]
        summary = reasoning_text(item) if item.get("type") == "reasoning" else ""
        return [ReasoningDone(item_id, summary)] if summary else []

    def _call_done(self, item_id: str, item: Item) -> ToolCallReady:
        call_id = item["call_id"]
        if call_id in self.call_numbers or call_id in self._answered:
            raise self._malformed(_SAME_ID)
        begun = self._begun.pop(item_id, None)
        number = next(self._numbers) if begun is None else begun
        self.items.append(item)
        self.call_numbers[call_id] = number
        return ToolCallReady(number, str(item.get("name", "")), call_arguments(item), call_id)

    def _finish(self, event: ResponseFinished) -> list[TurnEvent]:
        self._compare_calls(event.items)
        # Some backends name an item only in the last event: show it then.
        late: list[TurnEvent] = []
        for number, item in enumerate(event.items):
            is_shown = item["call_id"] in self.call_numbers if is_call(item) else item in self.items
            if not is_shown:
                late += self._done(str(item.get("id") or f"item_{number}"), item)
        self.items = list(event.items)
        self._pieces.clear()
        self.finished = event
        return late

    def _compare_calls(self, items: Sequence[Item]) -> None:
        """See to it that the end of the response tells each call once, and as it was shown."""
        told: dict[str, tuple[str, ...]] = {}
        for call in filter(is_call, items):
            if call["call_id"] in told:
                raise self._malformed(_SAME_ID)
            told[call["call_id"]] = _essence(call)
        if any(told.get(call["call_id"]) != _essence(call) for call in filter(is_call, self.items)):
            raise self._malformed("The server's response ends with another tool call than it showed before.")

    def _malformed(self, reason: str) -> MalformedResponse:
        self.items.clear()
        self._pieces.clear()
        return MalformedResponse(reason)


def _essence(call: Item) -> tuple[str, ...]:
    """Return what decides what a call does."""
    return str(call["type"]), str(call.get("name", "")), call_arguments(call)


REPAIR = "Your answer does not fit the JSON schema:\n{problem}\nAnswer again, with the corrected JSON alone."
NOT_RUN = "not run: the user stopped the turn"


class SchemaMismatch(Exception):
    """An answer that does not fit the schema that was asked for; its text says why."""


@dataclass(frozen=True)
class Turn:
    """One turn, prepared: everything is decided but what the model will say.

    ``request`` is the template of each step's request, without input. ``opening`` are the new items of the exchange
    and ``sent_digests`` the digests of the notebook parts in them. ``parse`` turns the answer's text into a value, or
    raises :class:`SchemaMismatch`; it is asked for once more, ``repairs`` times. ``notices`` are shown first.
    ``sign_in`` is asked when the login has ended between two steps; the step is then repeated.
    """

    started: TurnStarted
    request: ResponsesRequest
    opening: tuple[Item, ...]
    thread: Thread
    tool_context: ToolContext
    sent_digests: frozenset[str] = frozenset()
    notices: tuple[Notice, ...] = ()
    parse: Callable[[str], Any] | None = None
    repairs: int = 1
    max_steps: int = 50
    on_limits: Callable[[RateLimits], Notice | None] = field(default=lambda _limits: None)
    sign_in: SignIn = no_login


async def run_turn(turn: Turn, client: ModelClient) -> AsyncGenerator[TurnEvent, None]:
    """Yield the events of a turn, from TurnStarted to TurnFinished.

    Cancelling the consumer ends the turn with the status "cancelled": the request's stream is closed, what arrived
    is kept, and the last event still comes.
    """
    run = _Run(turn, client)
    try:
        async with aclosing(run.events()) as events:
            async for event in events:
                yield event
        finished = run.end()
    except (asyncio.CancelledError, KeyboardInterrupt):
        finished = run.interrupted()
    except CodexError as error:
        finished = run.failed(error)
    except BaseException:
        run.interrupted()
        raise
    yield finished


class _Run:
    """The state of a turn while it runs."""

    def __init__(self, turn: Turn, client: ModelClient) -> None:
        self._turn = turn
        self._client = client
        self._exchange = turn.thread.begin(turn.opening, turn.sent_digests)
        self._call_numbers = itertools.count(1)
        self._items: list[Item] = []
        self._reader = self._new_reader()
        self._calls: list[ToolCall] = []
        self._usage = Usage()
        self._last: ResponseFinished | None = None
        self._status: Status = "completed"
        self._problem: str | None = None
        self._parsed: Any = None
        self._repairs = 0
        self._asked_at = 0

    async def events(self) -> AsyncGenerator[TurnEvent, None]:
        """Yield everything but the end."""
        yield self._turn.started
        for notice in self._turn.notices:
            yield notice
        for step in range(1, self._turn.max_steps + 1):
            yield StepStarted(step)
            async with aclosing(self._step(step)) as events:
                async for event in events:
                    yield event
            calls = self._take_step()
            if step == 1 and (rerouted := self._other_model()):
                yield rerouted
            async with aclosing(self._answer_calls(calls)) as events:
                async for event in events:
                    yield event
            if self._status != "completed" or not (calls or await self._goes_on()):
                return
        self._status = "incomplete"
        self._problem = words.too_many_requests(str(self._turn.max_steps))

    async def _step(self, step: int) -> AsyncGenerator[TurnEvent, None]:
        """Yield what a step says; one that is refused before it says anything begins anew after a sign-in.

        A turn whose first step is refused has lost nothing: whoever shows it starts it over, with the new login.
        """
        self._reader = self._new_reader()
        turn_state = self._last.turn_state if self._last else None
        request = replace(self._turn.request, input=outbound(self._exchange.input), turn_state=turn_state)
        may_begin_anew = step > 1
        while True:
            try:
                async with streaming(self._client, request) as events:
                    async for event in events:
                        for shown in self._reader.read(event):
                            may_begin_anew = False
                            yield shown
                        if isinstance(event, LimitsSeen) and (notice := self._turn.on_limits(event.limits)):
                            yield notice
            except AuthError as error:
                if not (may_begin_anew and await self._turn.sign_in(error)):
                    raise
                may_begin_anew = False
            else:
                return

    def _new_reader(self) -> StepReader:
        answered = frozenset(item["call_id"] for item in self._items if is_call(item))
        return StepReader(self._call_numbers, answered)

    def _take_step(self) -> list[tuple[int, Item]]:
        """Move what the step said into the exchange; return the calls to carry out, with their numbers."""
        finished, numbers = self._reader.finished, self._reader.call_numbers
        self._last = finished or self._last
        items = self._reader.items
        self._items += items
        self._reader = self._new_reader()
        self._exchange.add(items)
        if finished is None:
            self._status, self._problem = "incomplete", words.UNFINISHED
            return []
        self._usage = add_usage(self._usage, finished.usage)
        if finished.status == "incomplete":
            self._status = "incomplete"
            self._problem = words.incomplete_because(finished.incomplete_reason or words.NO_REASON)
            return []
        return [(numbers[item["call_id"]], item) for item in items if is_call(item)]

    def _other_model(self) -> Notice | None:
        """Tell when another model answered than the one that was asked; a dated version is the same model."""
        asked, told = self._turn.request.model, self._last.model if self._last else ""
        if not told or told.startswith(asked) or asked.startswith(told):
            return None
        return Notice("model", words.another_model(told, asked))

    async def _answer_calls(self, calls: list[tuple[int, Item]]) -> AsyncGenerator[TurnEvent, None]:
        for number, call in calls:
            run = ToolCallExecution(call, number, self._turn.tool_context)
            if self._status == "cancelled":
                self._exchange.add([call_output(call, NOT_RUN)])
                self._calls.append(run.record)
                continue
            try:
                async with aclosing(run.events()) as events:
                    async for event in events:
                        yield event
            finally:
                self._calls.append(run.record)
            self._exchange.add([run.output] if run.output else [])
            if run.stopped:
                self._status, self._problem = "cancelled", words.STOPPED

    async def _goes_on(self) -> bool:
        """Whether the model is asked again although it called nothing."""
        if self._last is not None and self._last.end_turn is False:
            return True
        if self._turn.parse is None:
            return False
        parse, text = self._turn.parse, answer_text(self._items[self._asked_at :])
        try:
            # A schema may be the user's own class, so its validators run where the user's code runs.
            self._parsed = await self._turn.tool_context.ports.main_thread.call(lambda: parse(text))
        except SchemaMismatch as problem:
            if self._repairs == self._turn.repairs:
                self._status = "failed"
                self._problem = words.does_not_fit(str(problem))
                return False
            self._repairs += 1
            self._asked_at = len(self._items)
            tool_context = self._turn.tool_context  # a validator's words may quote whatever it met
            told = tool_context.fence("the problem", tool_context.redact(str(problem)))
            self._exchange.add([user_message(REPAIR.format(problem=told))])
            return True
        return False

    def end(self) -> TurnFinished:
        """Commit, and say how the turn ended."""
        self._exchange.commit()
        return TurnFinished(self._answer(), self._problem)

    def interrupted(self) -> TurnFinished:
        """Keep what is whole, answer what is open, and say that the turn was stopped."""
        text = self._abort()
        return TurnFinished(replace(self._answer(text), status="cancelled"), words.STOPPED)

    def failed(self, error: CodexError) -> TurnFinished:
        """Keep what is whole, and carry the error to whoever acts on it."""
        text = self._abort()
        return TurnFinished(replace(self._answer(text), status="failed"), error.line, error.bare())

    def _abort(self) -> str:
        partial = self._reader.partial_text
        self._items += self._reader.items
        self._exchange.add(self._reader.items)
        self._exchange.abort(partial)
        self._reader = self._new_reader()
        return partial

    def _answer(self, partial: str = "") -> Answer:
        started = self._turn.started
        said = answer_text(self._items[self._asked_at :])
        return Answer(
            text="\n\n".join(filter(None, (said, partial))),
            parsed=self._parsed,
            items=tuple(self._items),
            tool_calls=tuple(self._calls),
            reasoning="\n\n".join(filter(None, map(reasoning_text, self._items))),
            status=self._status,
            usage=self._usage,
            model=(self._last.model if self._last else "") or started.model,
            thread=started.thread,
            request_id=self._last.request_id if self._last else None,
            billing=started.billing,
        )


def add_usage(total: Usage, told: dict[str, Any] | None) -> Usage:
    """Add one response's usage, as the API tells it, to a total."""
    if not told:
        return total

    def count(value: object) -> int:
        return value if isinstance(value, int) else 0

    cached = (told.get("input_tokens_details") or {}).get("cached_tokens")
    reasoning = (told.get("output_tokens_details") or {}).get("reasoning_tokens")
    return Usage(
        total.input_tokens + count(told.get("input_tokens")),
        total.cached_input_tokens + count(cached),
        total.output_tokens + count(told.get("output_tokens")),
        total.reasoning_output_tokens + count(reasoning),
        total.total_tokens + count(told.get("total_tokens")),
    )
