"""From the wire's events to the turn's: what one step says, and what of it is already whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    from codex_nb.responses.events import ResponseEvent
    from codex_nb.session.events import TurnEvent


class StepReader:
    """Follows the stream of one API request.

    ``items`` are the output items that are whole; ``partial_text`` is what the unfinished message said so far;
    ``finished`` is there once the response has ended.
    """

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.finished: ResponseFinished | None = None
        self._pieces: dict[str, list[str]] = {}
        self._call_ids: dict[str, str] = {}

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
                call_id = self._call_ids.get(event.item_id)
                return [ToolArgumentsDelta(call_id, event.delta)] if call_id else []
            case OutputItemAdded():
                return self._added(event.item_id, event.item)
            case OutputItemDone():
                return self._done(event.item_id, event.item)
            case Retrying():
                self._pieces.clear()
                return [RetryScheduled(event.attempt, event.max_attempts, event.delay, event.reason)]
            case ResponseFinished():
                return self._finish(event)
            case _:
                return []

    def _added(self, item_id: str, item: Item) -> list[TurnEvent]:
        if not is_call(item):
            return []
        self._call_ids[item_id] = item["call_id"]
        return [ToolCallStarted(item["call_id"], str(item.get("name", "")))]

    def _done(self, item_id: str, item: Item) -> list[TurnEvent]:
        self.items.append(item)
        self._pieces.pop(item_id, None)
        if is_call(item):
            return [ToolCallReady(item["call_id"], str(item.get("name", "")), call_arguments(item))]
        if item.get("type") == "message":
            return [TextDone(item_id, message_text(item))]
        summary = reasoning_text(item) if item.get("type") == "reasoning" else ""
        return [ReasoningDone(item_id, summary)] if summary else []

    def _finish(self, event: ResponseFinished) -> list[TurnEvent]:
        # Some backends name an item only in the last event: show it then.
        late: list[TurnEvent] = []
        for number, item in enumerate(event.items):
            if item not in self.items:
                late += self._done(str(item.get("id") or f"item_{number}"), item)
        self.items = list(event.items)
        self._pieces.clear()
        self.finished = event
        return late
