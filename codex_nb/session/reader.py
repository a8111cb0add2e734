"""From the wire's events to the turn's: what one step says, and what of it is already whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codex_nb.errors import MalformedResponse
from codex_nb.responses.events import (
    CustomToolCallInputDelta,
    FunctionCallArgumentsDelta,
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
    ReasoningDelta,
    ReasoningDone,
    RetryScheduled,
    TextDelta,
    TextDone,
    ToolArgumentsDelta,
    ToolCallReady,
    ToolCallStarted,
)
from codex_nb.session.items import Item, call_arguments, is_call, message_text, reasoning_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from codex_nb.responses.events import ResponseEvent
    from codex_nb.session.events import TurnEvent

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
