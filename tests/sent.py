"""What a client sent to the simulator: texts, untrusted blocks, tool outputs, offered tools."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codex_nb.simulator import RecordedRequest

_UNTRUSTED_BLOCK = re.compile(
    r"^<data-([0-9a-f]{12}) of=\"[^\"\n]*\">\n.*?^</data-\1>$", re.MULTILINE | re.DOTALL
)


def items_of(request: RecordedRequest) -> list[dict[str, Any]]:
    """Return the input items."""
    items: list[dict[str, Any]] = request.body["input"]
    return items


def texts_of(item: Mapping[str, Any]) -> list[str]:
    """Return every text in an item."""
    if item["type"] == "message":
        return [part["text"] for part in item["content"] if "text" in part]
    if item["type"].endswith("_output"):
        output = item["output"]
        return [output] if isinstance(output, str) else [part["text"] for part in output if "text" in part]
    return []


def context_of(request: RecordedRequest) -> str:
    """Return the last message with notebook context."""
    contexts = [
        text
        for item in items_of(request)
        if item["type"] == "message" and item["role"] == "user"
        for text in texts_of(item)
        if _UNTRUSTED_BLOCK.search(text)
    ]
    return contexts[-1] if contexts else ""


def text_outside_untrusted_blocks(request: RecordedRequest) -> str:
    """Return all text that the model may take for instructions: everything outside untrusted blocks."""
    texts = [_UNTRUSTED_BLOCK.sub("", text) for item in items_of(request) for text in texts_of(item)]
    calls = [
        json.dumps(item)
        for item in items_of(request)
        if item["type"] not in {"message", "reasoning"} and not texts_of(item)
    ]
    return "\n".join([*texts, *calls, str(request.body.get("instructions", ""))])


def untrusted_blocks_of(request: RecordedRequest) -> str:
    """Return all untrusted blocks."""
    found = [
        match[0]
        for item in items_of(request)
        for text in texts_of(item)
        for match in _UNTRUSTED_BLOCK.finditer(text)
    ]
    return "\n".join(found)


def outputs_of(request: RecordedRequest) -> dict[str, str]:
    """Return the outputs of tool calls by call id."""
    return {
        item["call_id"]: "\n".join(texts_of(item))
        for item in items_of(request)
        if item["type"].endswith("_output")
    }


def offered_tools(request: RecordedRequest) -> set[str]:
    """Return the names of the offered tools."""
    tools = list(request.body.get("tools") or [])
    for item in items_of(request):
        tools += item.get("tools") or []
    names = {tool.get("name", tool["type"]) for tool in tools}
    for tool in tools:
        names |= {inner["name"] for inner in tool.get("tools") or []}
    return names
