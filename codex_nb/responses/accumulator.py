"""The response accumulator: the items and the text of one attempt, and its end."""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from codex_nb.responses import events as ev

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


JsonObject = dict[str, Any]


def is_client_tool_call(item: JsonObject) -> bool:
    """Whether the item is a tool call whose output the client must send next."""
    return item.get("type") in {"function_call", "custom_tool_call"} and isinstance(item.get("call_id"), str)


def _message_text(item: JsonObject) -> str:
    """Return the text of an assistant's message; a refusal is text as well, for it is what the model answered."""
    if item.get("type") != "message" or not isinstance(item.get("content"), list):
        return ""
    parts = [part for part in item["content"] if isinstance(part, dict)]
    text = "".join(_text_of(part, "text") for part in parts if part.get("type") == "output_text")
    return text or "".join(_text_of(part, "refusal") for part in parts if part.get("type") == "refusal")


def merge_items(final: Sequence[JsonObject], done: Sequence[JsonObject]) -> list[JsonObject]:
    """Merge the terminal response's items (``final``) with those that were done before, each item once.

    Of two equal copies the done one is kept, which was seen already and may hold the encrypted reasoning; of two that
    differ, the final one. An item that the terminal response lacks keeps its place among the done ones.
    """
    matches = _match_items(final, done)
    chosen = [
        item if at not in matches or _is_same_item(item, final[matches[at]]) else final[matches[at]]
        for at, item in enumerate(done)
    ]
    by_place = {n: chosen[at] for at, n in matches.items()}
    if len(matches) < len(done):
        return [*chosen, *(item for n, item in enumerate(final) if n not in by_place)]
    return [by_place.get(n, item) for n, item in enumerate(final)]


def _match_items(final: Sequence[JsonObject], done: Sequence[JsonObject]) -> dict[int, int]:
    """Match indexes of ``done`` to indexes of ``final``: by id, by call id, last by type and order."""
    matches: dict[int, int] = {}
    taken: set[int] = set()
    for key in ("id", "call_id", "type"):
        places: dict[str, deque[int]] = {}
        for n, item in enumerate(final):
            if n not in taken and (value := _text_of(item, key)):
                places.setdefault(value, deque()).append(n)
        for at, item in enumerate(done):
            if at not in matches and (free := places.get(_text_of(item, key))):
                matches[at] = free.popleft()
                taken.add(matches[at])
    return matches


_IGNORED_KEYS = {"id", "status", "encrypted_content"}


def _is_same_item(one: JsonObject, other: JsonObject) -> bool:
    return all(one.get(key) == other.get(key) for key in (one.keys() | other.keys()) - _IGNORED_KEYS)


def unfinished_message(
    begun: JsonObject | None, texts: Mapping[tuple[str, int], Sequence[str]]
) -> JsonObject | None:
    """Build the message that an interrupted item has got so far; None for other items.

    A partial call must not run, and partial reasoning is of no use to the model.
    """
    parts: list[JsonObject] = []
    for kind, number in sorted(texts, key=lambda part: part[1]):
        text = "".join(texts[kind, number])
        if kind == "response.output_text.delta":
            parts.append({"type": "output_text", "text": text, "annotations": []})
        elif kind == "response.refusal.delta":
            parts.append({"type": "refusal", "refusal": text})
    item = {"type": "message", "role": "assistant", **(begun or {})}
    if item["type"] != "message" or not parts:
        return None
    return {**item, "status": "incomplete", "content": parts}


KeyedT = TypeVar("KeyedT", bound=ev.KeyedEvent)
ServerEventT = ev.ServerEvent | ev.UnknownEvent


class ResponseAccumulator:
    """Adds up the events of one attempt.

    ``carried`` are the items that earlier attempts completed. ``turn_state`` is what the next request of the turn
    echoes; it and ``request_id`` come from the head of the response.
    """

    def __init__(self, carried: tuple[JsonObject, ...] = (), *, turn_state: str | None = None) -> None:
        self.carried = carried
        self.turn_state = turn_state
        self.request_id: str | None = None
        self.events_seen = 0
        self._terminal: ev.ResponseCompleted | ev.ResponseIncomplete | None = None
        self._envelope: dict[str, str] = {}
        self._begun: dict[str, JsonObject] = {}
        self._texts: dict[str, dict[tuple[str, int], list[str]]] = {}
        self._done: dict[str, tuple[int | None, JsonObject]] = {}
        self._unfinished: dict[str, None] = {}  # their keys, in the order in which they began
        self._key_at: dict[int, str] = {}
        self._current = ""
        self._own_keys = itertools.count(1)

    def next_attempt(self) -> ResponseAccumulator:
        """Return the accumulator of the next attempt, which carries what is complete by now."""
        return ResponseAccumulator(self.completed_items, turn_state=self.turn_state)

    def apply(self, event: ServerEventT) -> ServerEventT:
        """Take one event; return it with its ``item_id`` resolved to the item's one key."""
        self.events_seen += 1
        match event:
            case ev.Delta():
                return self._take_delta(event)
            case ev.OutputItemAdded():
                return self._begin_item(event)
            case ev.OutputItemDone():
                return self._end_item(event)
            case ev.OutputTextDone():
                event = self._keyed(event)
                self._texts[event.item_id]["response.output_text.delta", event.content_index] = [event.text]
            case ev.KeyedEvent():
                return self._keyed(event)
            case ev.ResponseCreated():
                self._note_envelope(event.response)
            case ev.ResponseCompleted() | ev.ResponseIncomplete():
                self._note_envelope(event.response)
                self._terminal = event
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
        return any(is_client_tool_call(item) for _, item in self._done.values())

    @property
    def unfinished_keys(self) -> tuple[str, ...]:
        """The keys of items that have begun and are not complete."""
        return tuple(self._unfinished)

    def finished(self) -> ev.ResponseFinished:
        """Return the answer: after a terminal event, or after a cut that left calls to be answered."""
        response = {} if self._terminal is None else self._terminal.response
        is_short = isinstance(self._terminal, ev.ResponseIncomplete) or response.get("status") == "incomplete"
        items = (*self.carried, *self._final_items(response))
        end_turn = response.get("end_turn")
        return ev.ResponseFinished(
            response_id=self._envelope.get("id", ""),
            status="incomplete" if is_short else "completed",
            incomplete_reason=_text_of(response.get("incomplete_details"), "reason") or None,
            items=items,
            text="".join(map(_message_text, items)),
            usage=ev.Usage.parse(response.get("usage")),
            model=self._envelope.get("model", ""),
            request_id=self.request_id,
            end_turn=end_turn if isinstance(end_turn, bool) else None,
            turn_state=self.turn_state,
        )

    def _final_items(self, response: JsonObject) -> list[JsonObject]:
        output = response.get("output")
        final = [item for item in output if ev.is_item(item)] if isinstance(output, list) else []
        done = _in_order(self._done.values())
        if final or self._terminal is None:
            return merge_items(final, done)
        left = [unfinished_message(self._begun.get(key), self._texts[key]) for key in self.unfinished_keys]
        return [*done, *(item for item in left if item is not None)]

    def _take_delta(self, event: KeyedT) -> KeyedT:
        texts = self._texts.get(event.item_id)
        if texts is None:
            event = self._keyed(event)
            texts = self._texts[event.item_id]
        if isinstance(event, ev.Delta):
            texts.setdefault(event.part, []).append(event.delta)
        return event

    def _keyed(self, event: KeyedT) -> KeyedT:
        """Resolve the event's item by its id, by its place, or as the item that is being written."""
        key = event.item_id
        if key not in self._texts:
            index = event.output_index
            if index is not None and index in self._key_at:
                key = self._key_at[index]
            elif not key and self._current:
                key = self._current
            else:
                key = self._new_key(key, index)
        self._current = key
        return event if key == event.item_id else event.model_copy(update={"item_id": key})

    def _new_key(self, item_id: str, index: int | None) -> str:
        key = item_id
        while not key or key in self._texts:
            key = f"item_{next(self._own_keys)}"
        self._texts[key] = {}
        self._unfinished[key] = None
        if index is not None:
            self._key_at[index] = key
        return key

    def _begin_item(self, event: ev.OutputItemAdded) -> ev.OutputItemAdded:
        key = self._new_key(_text_of(event.item, "id"), event.output_index)
        self._begun[key] = event.item
        self._current = key
        return event.model_copy(update={"item_id": key})

    def _end_item(self, event: ev.OutputItemDone) -> ev.OutputItemDone:
        item_id, index = _text_of(event.item, "id"), event.output_index
        unfinished = self._unfinished
        if item_id in unfinished:
            key = item_id
        elif index is not None and self._key_at.get(index) in unfinished:
            key = self._key_at[index]
        elif index is None and len(unfinished) == 1:
            (key,) = unfinished
        else:
            key = self._new_key(item_id, index)
        del unfinished[key]
        self._done[key] = (index, event.item)
        self._current = ""
        return event.model_copy(update={"item_id": key})

    def _note_envelope(self, response: JsonObject) -> None:
        for name in ("id", "model"):
            if text := _text_of(response, name):
                self._envelope[name] = text


def _in_order(done: Iterable[tuple[int | None, JsonObject]]) -> list[JsonObject]:
    """Sort by output index where all have one, else keep the order of arrival."""
    placed: list[tuple[int, JsonObject]] = []
    arrived: list[JsonObject] = []
    for index, item in done:
        arrived.append(item)
        if index is not None:
            placed.append((index, item))
    if len(placed) < len(arrived):
        return arrived
    return [item for _, item in sorted(placed, key=lambda entry: entry[0])]


def _text_of(table: Any, key: str) -> str:
    value = table.get(key) if isinstance(table, dict) else None
    return value if isinstance(value, str) else ""
