"""What one attempt at a response has given so far: its items, its visible text, its end.

The fold decides which of several tellings is believed: the terminal response over the done items, a done item over
its deltas, the server's own words always over a reconstruction of ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from codex_nb.responses import events as ev
from codex_nb.responses.items import JsonObject, is_client_call, message_text

if TYPE_CHECKING:
    from collections.abc import Sequence

Keyed = (
    ev.OutputTextDelta
    | ev.RefusalDelta
    | ev.ReasoningSummaryPartAdded
    | ev.ReasoningSummaryTextDelta
    | ev.ReasoningTextDelta
    | ev.FunctionCallArgumentsDelta
    | ev.CustomToolCallInputDelta
    | ev.TextDone
    | ev.ArgumentsDone
)


@dataclass
class _OpenItem:
    """An item that has begun: what ``added`` said of it, and its text by (kind, part index)."""

    item: JsonObject
    pieces: dict[tuple[str, int], list[str]] = field(default_factory=dict)

    def append(self, kind: str, index: int, text: str) -> None:
        self.pieces.setdefault((kind, index), []).append(text)

    def settle(self, kind: str, index: int, text: str) -> None:
        self.pieces[kind, index] = [text]

    def rebuilt(self) -> JsonObject | None:
        """Put the item together from its deltas; None when nothing of it can be used."""
        texts = {key: "".join(pieces) for key, pieces in sorted(self.pieces.items())}
        kind = self.item.get("type") or next((_ITEM_TYPES[kind] for kind, _ in texts), None)
        match kind:
            case "message":
                parts = [_CONTENT[name](text) for (name, _), text in texts.items() if name in _CONTENT]
                item = {"type": "message", "role": "assistant", **self.item}
                return {**item, "status": "incomplete", "content": parts} if parts else None
            case _:
                # Half a call must not run, and half a reasoning is worth nothing to the model.
                return None


_ITEM_TYPES = {
    "text": "message",
    "refusal": "message",
    "summary": "reasoning",
    "reasoning": "reasoning",
    "arguments": "function_call",
    "input": "custom_tool_call",
}
_CONTENT = {
    "text": lambda text: {"type": "output_text", "text": text, "annotations": []},
    "refusal": lambda text: {"type": "refusal", "refusal": text},
}


class ResponseFold:
    """Folds the events of one attempt; ``carried`` are the items that earlier attempts completed."""

    def __init__(self, carried: tuple[JsonObject, ...] = ()) -> None:
        self.carried = carried
        self.terminal: ev.ResponseCompleted | ev.ResponseIncomplete | None = None
        self.events_seen = 0
        self.model = ""
        self._response_id = ""
        self._open: dict[str, _OpenItem] = {}
        self._done: dict[str, tuple[int | None, JsonObject]] = {}
        self._key_by_index: dict[int, str] = {}
        self._last_key = ""
        self._made_keys = 0

    def apply(self, event: ev.ServerEvent | ev.UnknownEvent) -> ev.ServerEvent | ev.UnknownEvent:
        """Take one event; give it back with its ``item_id`` resolved to the item's one key."""
        self.events_seen += 1
        match event:
            case ev.OutputTextDelta(delta=delta, content_index=index):
                return self._take_delta(event, "text", index, delta)
            case ev.FunctionCallArgumentsDelta(delta=delta):
                return self._take_delta(event, "arguments", 0, delta)
            case ev.ReasoningSummaryTextDelta(delta=delta, summary_index=index):
                return self._take_delta(event, "summary", index, delta)
            case ev.ReasoningTextDelta(delta=delta, content_index=index):
                return self._take_delta(event, "reasoning", index, delta)
            case ev.RefusalDelta(delta=delta, content_index=index):
                return self._take_delta(event, "refusal", index, delta)
            case ev.CustomToolCallInputDelta(delta=delta):
                return self._take_delta(event, "input", 0, delta)
            case ev.TextDone(text=text, content_index=index):
                event = self._with_key(event)
                self._opened(event.item_id).settle("text", index, text)
            case ev.ReasoningSummaryPartAdded() | ev.ArgumentsDone():
                return self._with_key(event)
            case ev.OutputItemAdded():
                return self._begin_item(event)
            case ev.OutputItemDone():
                return self._end_item(event)
            case ev.ResponseCreated(response=response):
                self._note_envelope(response)
            case ev.ResponseCompleted(response=response) | ev.ResponseIncomplete(response=response):
                self._note_envelope(response)
                self.terminal = event
            case _:
                pass
        return event

    @property
    def completed_items(self) -> tuple[JsonObject, ...]:
        """All items that are complete: those carried, then this attempt's in output order."""
        return (*self.carried, *_in_order(self._done.values()))

    @property
    def owes_outputs(self) -> bool:
        """Whether a call is complete that the client must answer before anything can follow."""
        return any(is_client_call(item) for _, item in self._done.values())

    @property
    def unfinished_keys(self) -> tuple[str, ...]:
        """The keys of items that have begun and are not complete."""
        return tuple(key for key in self._open if key not in self._done)

    def finished(self, *, request_id: str | None, turn_state: str | None) -> ev.ResponseFinished:
        """Give the answer: after a terminal event, or after a cut that left calls to be answered."""
        response = {} if self.terminal is None else self.terminal.response
        items = (*self.carried, *self._final_items(response))
        details = response.get("incomplete_details")
        usage = response.get("usage")
        end_turn = response.get("end_turn")
        return ev.ResponseFinished(
            response_id=self._response_id,
            status=self._status(response),
            incomplete_reason=_text_of(details, "reason") or None,
            items=items,
            text=message_text(items),
            usage=usage if isinstance(usage, dict) else None,
            model=self.model,
            request_id=request_id,
            end_turn=end_turn if isinstance(end_turn, bool) else None,
            turn_state=turn_state,
        )

    def _status(self, response: JsonObject) -> Literal["completed", "incomplete"]:
        is_short = isinstance(self.terminal, ev.ResponseIncomplete) or response.get("status") == "incomplete"
        return "incomplete" if is_short else "completed"

    def _final_items(self, response: JsonObject) -> list[JsonObject]:
        output = response.get("output")
        told = [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
        done = _in_order(self._done.values())
        if told:
            return _merged(told, done)
        rebuilt = (
            [self._open[key].rebuilt() for key in self.unfinished_keys] if self.terminal is not None else []
        )
        return [*done, *(item for item in rebuilt if item is not None)]

    def _take_delta(self, event: Any, kind: str, index: int, text: str) -> Any:
        if event.item_id not in self._open:
            event = self._with_key(event)
        self._opened(event.item_id).append(kind, index, text)
        return event

    def _with_key(self, event: Any) -> Any:
        key = self._key_of(event.item_id, event.output_index)
        self._last_key = key
        return event if key == event.item_id else event.model_copy(update={"item_id": key})

    def _key_of(self, item_id: str, index: int | None) -> str:
        """Find the item's key: by its id, by its place, or as the item that is being written."""
        if item_id in self._open:
            return item_id
        if index is not None and index in self._key_by_index:
            return self._key_by_index[index]
        if not item_id and index is None and self._last_key:
            return self._last_key
        return self._new_key(item_id, index)

    def _new_key(self, item_id: str, index: int | None) -> str:
        key = item_id
        if not key:
            self._made_keys += 1
            key = f"item_{self._made_keys}"
        if index is not None:
            self._key_by_index[index] = key
        return key

    def _opened(self, key: str) -> _OpenItem:
        opened = self._open.get(key)
        if opened is None:
            opened = self._open[key] = _OpenItem({})
        return opened

    def _begin_item(self, event: ev.OutputItemAdded) -> ev.OutputItemAdded:
        key = self._new_key(_text_of(event.item, "id"), event.output_index)
        self._open[key] = _OpenItem(event.item)
        self._last_key = key
        return event.model_copy(update={"item_id": key})

    def _end_item(self, event: ev.OutputItemDone) -> ev.OutputItemDone:
        item_id = _text_of(event.item, "id")
        unfinished = self.unfinished_keys
        is_sole = event.output_index is None and item_id not in self._open and len(unfinished) == 1
        key = unfinished[0] if is_sole else self._key_of(item_id, event.output_index)
        if key in self._done:
            key = self._new_key(item_id if item_id not in self._done else "", event.output_index)
        self._opened(key)
        self._done[key] = (event.output_index, event.item)
        self._last_key = ""
        return event.model_copy(update={"item_id": key})

    def _note_envelope(self, response: JsonObject) -> None:
        self.model = _text_of(response, "model") or self.model
        self._response_id = _text_of(response, "id") or self._response_id


def _in_order(done: Any) -> list[JsonObject]:
    """Sort by output index where all have one; otherwise the order of arrival stands."""
    entries = list(done)
    if all(index is not None for index, _ in entries):
        entries.sort(key=lambda entry: entry[0])
    return [item for _, item in entries]


def _merged(told: Sequence[JsonObject], done: Sequence[JsonObject]) -> list[JsonObject]:
    """Take the terminal response's items, and among them, in their places, the done items that it forgot."""
    partner: dict[int, int] = {}
    for same in (_same_id, _same_call, _same_type):
        for at, item in enumerate(done):
            if at not in partner:
                taken = set(partner.values())
                found = (n for n, other in enumerate(told) if n not in taken and same(other, item))
                partner.update({at: n for n in list(found)[:1]})
    items = list(told)
    for at, n in partner.items():
        if done[at].get("encrypted_content") and not told[n].get("encrypted_content"):
            items[n] = done[at]
    if len(partner) == len(done):
        return items
    ordered = [items[partner[at]] if at in partner else item for at, item in enumerate(done)]
    return [*ordered, *(item for n, item in enumerate(items) if n not in partner.values())]


def _same_id(one: JsonObject, other: JsonObject) -> bool:
    return one.get("id") is not None and one.get("id") == other.get("id")


def _same_call(one: JsonObject, other: JsonObject) -> bool:
    return one.get("call_id") is not None and one.get("call_id") == other.get("call_id")


def _same_type(one: JsonObject, other: JsonObject) -> bool:
    return one.get("type") == other.get("type")


def _text_of(table: Any, key: str) -> str:
    value = table.get(key) if isinstance(table, dict) else None
    return value if isinstance(value, str) else ""
