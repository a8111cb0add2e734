"""Streams of our own: a response with reasoning, text and a call, as the ChatGPT backend sends them."""

from __future__ import annotations

from typing import Any

from tests.responses.fakes import sse

Event = dict[str, Any]

REASONING = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "Thinking."}],
    "encrypted_content": "c2VhbGVk",
}
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "run_python",
    "arguments": '{"code":"1 + 1"}',
    "status": "completed",
}
USAGE = {
    "input_tokens": 20,
    "input_tokens_details": {"cached_tokens": 8},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 25,
}


def message(text: str, *, item_id: str = "msg_1") -> Event:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "id": item_id, "role": "assistant", "status": "completed", "content": content}


def created(response_id: str = "resp_1") -> Event:
    return {
        "type": "response.created",
        "response": {"id": response_id, "model": "gpt-5.5", "status": "in_progress"},
    }


def added(item: Event, index: int) -> Event:
    empty = {key: item[key] for key in ("type", "id", "role", "call_id", "name") if key in item}
    return {
        "type": "response.output_item.added",
        "output_index": index,
        "item": {**empty, "status": "in_progress"},
    }


def text_delta(text: str, *, item_id: str = "msg_1", index: int = 0) -> Event:
    return {"type": "response.output_text.delta", "item_id": item_id, "output_index": index, "delta": text}


def done(item: Event, index: int) -> Event:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def completed(*output: Event, **more: Any) -> Event:
    response = {
        "id": "resp_1",
        "model": "gpt-5.5",
        "status": "completed",
        "output": list(output),
        "usage": USAGE,
    }
    return {"type": "response.completed", "response": {**response, **more}}


def failed(error: Event | None) -> Event:
    return {"type": "response.failed", "response": {"id": "resp_1", "status": "failed", "error": error}}


def spoken(text: str, *, item_id: str = "msg_1", index: int = 0) -> list[Event]:
    """Give a message as it is streamed, a word at a time."""
    words = [word for word in text.replace(" ", " \0").split("\0") if word]
    item = message(text, item_id=item_id)
    deltas = [text_delta(word, item_id=item_id, index=index) for word in words]
    return [added(item, index), *deltas, done(item, index)]


def answer(text: str = "Hello there, friend.") -> list[Event]:
    """Give a whole response: reasoning, then a message."""
    body = [added(REASONING, 0), done(REASONING, 0), *spoken(text, index=1)]
    return [created(), *body, completed(REASONING, message(text))]


def wire(events: list[Event]) -> bytes:
    return b"".join(sse(event) for event in events)
