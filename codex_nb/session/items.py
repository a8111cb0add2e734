"""The input items that this side writes, in the shapes that the Codex CLI sends."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


Item = dict[str, Any]

CALL_KINDS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}


def new_uuid() -> str:
    """Return a version 7 UUID: in the order of time, which is how the Codex CLI names threads, turns and items."""
    value = int(time.time() * 1000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    digits = f"{value:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def text_content(text: str) -> Item:
    """Return a text as message content."""
    return {"type": "input_text", "text": text}


def image_content(url: str) -> Item:
    """Return an image, given as a data URL, as message content."""
    return {"type": "input_image", "image_url": url, "detail": "auto"}


def message(role: str, content: Sequence[Item]) -> Item:
    """Return a developer's or user's message."""
    return {"type": "message", "id": f"msg_{new_uuid()}", "role": role, "content": list(content)}


def developer_message(text: str) -> Item:
    """Return instructions that rank above the user's words."""
    return message("developer", [text_content(text)])


def user_message(text: str, images: Sequence[str] = ()) -> Item:
    """Return the user's words, after the images that they speak of."""
    content: list[Item] = []
    for number, url in enumerate(images, 1):
        content += [
            text_content(f"<image name=[Image #{number}]>"),
            image_content(url),
            text_content("</image>"),
        ]
    return message("user", [*content, text_content(text)])


def assistant_message(text: str) -> Item:
    """Return words of the model that have no item of their own, such as an answer that broke off."""
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def call_output(call: Item, text: str, images: Sequence[str] = ()) -> Item:
    """Return the answer to a call item."""
    output: str | list[Item] = text
    if images:
        output = [text_content(text), *(image_content(url) for url in images)]
    return {
        "type": CALL_KINDS[call["type"]],
        "id": f"fco_{new_uuid()}",
        "call_id": call["call_id"],
        "output": output,
    }


def is_call(item: Item) -> bool:
    """Whether an item waits for an output of ours."""
    return item.get("type") in CALL_KINDS and isinstance(item.get("call_id"), str) and item["call_id"] != ""


def call_arguments(item: Item) -> str:
    """Return the text that the model passed to a tool."""
    return str(item.get("arguments") if item.get("type") == "function_call" else item.get("input") or "")


def message_text(item: Item) -> str:
    """Return what an assistant's message says, refusals included."""
    if item.get("type") != "message":
        return ""
    parts = item.get("content") or ()
    return "".join(
        str(part.get("text") or part.get("refusal") or "") for part in parts if isinstance(part, dict)
    )


def reasoning_text(item: Item) -> str:
    """Return the summary of a reasoning item, its parts separated by blank lines."""
    parts = item.get("summary") or ()
    return "\n\n".join(str(part.get("text") or "") for part in parts if isinstance(part, dict)).strip()


def answer_text(items: Sequence[Item]) -> str:
    """Return the answer: what the model said after its last call, without its remarks on the way.

    Where nothing was said after the last call, everything that was said counts.
    """
    last_call = max((index for index, item in enumerate(items) if is_call(item)), default=-1)
    for candidates in (items[last_call + 1 :], items):
        said = [item for item in candidates if message_text(item)]
        final = [item for item in said if item.get("phase") != "commentary"]
        if said:
            return "\n\n".join(message_text(item) for item in final or said)
    return ""
