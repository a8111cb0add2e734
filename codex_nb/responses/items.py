"""Items of the conversation: how we write ours, and how we read the server's.

The server's items travel as the dicts they came in and go back unchanged; :func:`parse_item` is a typed view of those
that something is done about. Item ids are only sent for items that the server made.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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


def developer_message(*texts: str) -> JsonObject:
    """Write instructions as the conversation's developer message."""
    return {"type": "message", "role": "developer", "content": [input_text(text) for text in texts]}


def user_message(*content: JsonObject) -> JsonObject:
    """Write a user message of input parts."""
    return {"type": "message", "role": "user", "content": list(content)}


def input_text(text: str) -> JsonObject:
    """Write a text part."""
    return {"type": "input_text", "text": text}


def input_image(url: str, *, detail: str = "auto") -> JsonObject:
    """Write an image part; ``url`` is a data URL (see :func:`data_url`) or a public address."""
    return {"type": "input_image", "image_url": url, "detail": detail}


def data_url(data: bytes, media_type: str) -> str:
    """Write bytes as a data URL."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"


def function_call_output(call_id: str, output: str | list[JsonObject]) -> JsonObject:
    """Answer a function call: text, or content parts when there are images."""
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def custom_tool_call_output(call_id: str, output: str | list[JsonObject]) -> JsonObject:
    """Answer a custom tool's call."""
    return {"type": "custom_tool_call_output", "call_id": call_id, "output": output}
