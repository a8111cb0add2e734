"""The server's output items, read.

They travel as the dicts they came in and go back unchanged in the next request, ids and sealed reasoning included;
:func:`parse_item` is a typed view of those that something is done about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

JsonObject = dict[str, Any]


class _Item(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")

    id: str | None = None
    status: str | None = None


class MessageItem(_Item):
    """A message; ``text`` joins its texts, ``refusal`` what the model declined with."""

    type: Literal["message"]
    role: str = "assistant"
    content: tuple[JsonObject, ...] = ()
    phase: str | None = None

    @property
    def text(self) -> str:
        """All text parts in order."""
        return _joined(self.content, "output_text", "text")

    @property
    def refusal(self) -> str:
        """All refusal parts in order."""
        return _joined(self.content, "refusal", "refusal")


class ReasoningItem(_Item):
    """The model's reasoning: a readable summary, raw text from open models, and the sealed original."""

    type: Literal["reasoning"]
    summary: tuple[JsonObject, ...] = ()
    content: tuple[JsonObject, ...] | None = None
    encrypted_content: str | None = None

    @property
    def text(self) -> str:
        """The summary's parts, or else the raw text's, joined by blank lines."""
        parts = [part.get("text") for part in (*self.summary, *(self.content or ()))]
        return "\n\n".join(text for text in parts if isinstance(text, str) and text)


class FunctionCallItem(_Item):
    """A call of a function tool; ``arguments`` is JSON text."""

    type: Literal["function_call"]
    name: str
    call_id: str
    arguments: str = ""
    namespace: str | None = None


class CustomToolCallItem(_Item):
    """A call of a custom tool; ``input`` is free text."""

    type: Literal["custom_tool_call"]
    name: str
    call_id: str
    input: str = ""


class UnknownItem(_Item):
    """Any other item, for the server's own tools and for what is yet to come."""

    type: str


Item = MessageItem | ReasoningItem | FunctionCallItem | CustomToolCallItem | UnknownItem
_KNOWN: TypeAdapter[MessageItem | ReasoningItem | FunctionCallItem | CustomToolCallItem] = TypeAdapter(
    Annotated[
        MessageItem | ReasoningItem | FunctionCallItem | CustomToolCallItem, Field(discriminator="type")
    ]
)


def parse_item(item: JsonObject) -> Item:
    """Give the typed view of an item; one that is unknown or malformed is an UnknownItem."""
    try:
        return _KNOWN.validate_python(item)
    except ValidationError:
        return UnknownItem.model_construct(**{"type": "unknown", **item})


def message_text(items: Iterable[JsonObject]) -> str:
    """Join the text of all assistant messages; a refusal is text as well, for it is what the model answered."""
    return "".join(_message_text(item) for item in items)


def _message_text(item: JsonObject) -> str:
    view = parse_item(item)
    return (view.text or view.refusal) if isinstance(view, MessageItem) else ""


def is_client_call(item: JsonObject) -> bool:
    """Tell whether the item is a call that the client must answer before the conversation can go on."""
    return item.get("type") in {"function_call", "custom_tool_call"} and isinstance(item.get("call_id"), str)


def _joined(parts: Sequence[JsonObject], kind: str, key: str) -> str:
    texts = (part.get(key) for part in parts if part.get("type") == kind)
    return "".join(text for text in texts if isinstance(text, str))


def merged_items(told: Sequence[JsonObject], done: Sequence[JsonObject]) -> list[JsonObject]:
    """Bring together the terminal response's items and those that were done before, each told once.

    An item told twice in the same words is the done one, which was seen already and may hold the sealed reasoning; in
    different words, the last word counts. What the terminal response forgot keeps its place among the done ones.
    """
    partner = _partners(told, done)
    chosen = [
        item if at not in partner or _says_the_same(item, told[partner[at]]) else told[partner[at]]
        for at, item in enumerate(done)
    ]
    if len(partner) < len(done):
        return [*chosen, *(item for n, item in enumerate(told) if n not in partner.values())]
    by_place = {n: chosen[at] for at, n in partner.items()}
    return [by_place.get(n, item) for n, item in enumerate(told)]


def _partners(told: Sequence[JsonObject], done: Sequence[JsonObject]) -> dict[int, int]:
    """Find for the places of ``done`` the places of ``told``: by id, by call, at last by kind and order."""
    partner: dict[int, int] = {}
    for key in ("id", "call_id", "type"):
        for at, item in enumerate(done):
            value = item.get(key)
            if at in partner or value is None:
                continue
            taken = set(partner.values())
            place = next(
                (n for n, other in enumerate(told) if n not in taken and other.get(key) == value), None
            )
            if place is not None:
                partner[at] = place
    return partner


_UNSAID = {"id", "status", "encrypted_content"}


def _says_the_same(one: JsonObject, other: JsonObject) -> bool:
    return all(one.get(key) == other.get(key) for key in (one.keys() | other.keys()) - _UNSAID)


def unfinished_message(
    begun: JsonObject | None, texts: Mapping[tuple[str, int], Sequence[str]]
) -> JsonObject | None:
    """Put a message together that never became complete; None for other items.

    Half a call must not run, and half a reasoning is worth nothing to the model.
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
