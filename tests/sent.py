"""Reading what a client sent to the simulator: the words, the fences around them, the tools that were offered."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codex_nb.simulator import RecordedRequest

_FENCED = re.compile(r"^<data-([0-9a-f]{12}) of=\"[^\"\n]*\">\n.*?^</data-\1>$", re.MULTILINE | re.DOTALL)


def items_of(request: RecordedRequest) -> list[dict[str, Any]]:
    """Return the input items."""
    items: list[dict[str, Any]] = request.body["input"]
    return items


def texts_of(item: Mapping[str, Any]) -> list[str]:
    """Return every text that an item says to the model."""
    if item["type"] == "message":
        return [part["text"] for part in item["content"] if "text" in part]
    if item["type"].endswith("_output"):
        output = item["output"]
        return [output] if isinstance(output, str) else [part["text"] for part in output if "text" in part]
    return []


def context_of(request: RecordedRequest) -> str:
    """Return the newest message about the notebook: what the last question told of it."""
    told = [
        text
        for item in items_of(request)
        if item["type"] == "message" and item["role"] == "user"
        for text in texts_of(item)
        if _FENCED.search(text)
    ]
    return told[-1] if told else ""


def outside_of_fences(request: RecordedRequest) -> str:
    """Return everything that reaches the model as somebody's word: all texts without what fences hold."""
    said = [_FENCED.sub("", text) for item in items_of(request) for text in texts_of(item)]
    called = [
        json.dumps(item)
        for item in items_of(request)
        if item["type"] not in {"message", "reasoning"} and not texts_of(item)
    ]
    return "\n".join([*said, *called, str(request.body.get("instructions", ""))])


def inside_of_fences(request: RecordedRequest) -> str:
    """Return everything that stands inside fences."""
    found = [
        match[0] for item in items_of(request) for text in texts_of(item) for match in _FENCED.finditer(text)
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
    """Return the names of the tools that the model is told of."""
    tools = list(request.body.get("tools") or [])
    for item in items_of(request):
        tools += item.get("tools") or []
    names = {tool.get("name", tool["type"]) for tool in tools}
    for tool in tools:
        names |= {inner["name"] for inner in tool.get("tools") or []}
    return names
