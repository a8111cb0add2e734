"""The events of one response as the Responses API writes them, with fabricated encrypted contents, and compaction."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import struct
from typing import TYPE_CHECKING, Any

from codex_nb.simulator.accounts import usage_of
from codex_nb.simulator.parsed_request import messages_of
from codex_nb.simulator.scenario import Call, CustomCall, End, Event, Hold, Item, Pause, Say, Think

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


_KEY = hashlib.sha256(b"the Codex simulator's seal: no secret, only a checksum").digest()


def seal(payload: dict[str, Any], now: float) -> str:
    """A blob that looks like the backend's (base64url of a Fernet-like frame) and carries the payload."""
    frame = b"\x80" + struct.pack(">Q", int(now)) + json.dumps(payload).encode()
    return base64.urlsafe_b64encode(frame + hmac.digest(_KEY, frame, hashlib.sha256)).decode()


def unseal(blob: str) -> dict[str, Any] | None:
    """The payload of a blob, None when it is not the simulator's or was altered."""
    try:
        data = base64.urlsafe_b64decode(blob)
    except ValueError:
        return None
    frame, tag = data[:-32], data[-32:]
    if not hmac.compare_digest(hmac.digest(_KEY, frame, hashlib.sha256), tag):
        return None
    payload = json.loads(frame[9:])
    return payload if isinstance(payload, dict) else None


WireEvent = dict[str, Any]
Emission = WireEvent | Pause | Hold


def new_id(prefix: str) -> str:
    """An id in the backend's style."""
    return f"{prefix}_{secrets.token_hex(24)}"


class ResponseWriter:
    """Writes one response; ``request`` is the body it answers, ``now`` unix seconds."""

    def __init__(self, request: Mapping[str, Any], now: float) -> None:
        self._request = request
        self._now = now
        self._sequence = 0
        self.response_id = new_id("resp")
        self.output: list[dict[str, Any]] = []

    def opening(self) -> Iterator[WireEvent]:
        """The two events that every response begins with."""
        yield self._event("response.created", response=self._response("in_progress"))
        yield self._event("response.in_progress", response=self._response("in_progress"))

    def think(self, step: Think) -> Iterator[Emission]:
        """A reasoning item."""
        index, item_id = len(self.output), step.item_id or new_id("rs")
        where = {"item_id": item_id, "output_index": index}
        started = {"id": item_id, "type": "reasoning", "summary": []}
        yield self._event("response.output_item.added", output_index=index, item=started)
        for number, text in enumerate(step.summary):
            part = {**where, "summary_index": number}
            empty = {"type": "summary_text", "text": ""}
            yield self._event("response.reasoning_summary_part.added", **part, part=empty)
            for piece in _pieces(text, 16):
                yield self._delta("response.reasoning_summary_text.delta", part, piece)
                yield Pause(step.delay_s)
            yield self._event("response.reasoning_summary_text.done", **part, text=text)
            full = {"type": "summary_text", "text": text}
            yield self._event("response.reasoning_summary_part.done", **part, part=full)
        summary = [{"type": "summary_text", "text": text} for text in step.summary]
        done = {"id": item_id, "type": "reasoning", "summary": summary}
        if "reasoning.encrypted_content" in (self._request.get("include") or ()):
            done["encrypted_content"] = seal({"reasoning": item_id}, self._now)
        yield self._done(index, done)

    def say(self, step: Say) -> Iterator[Emission]:
        """An assistant message."""
        index, item_id = len(self.output), step.item_id or new_id("msg")
        where = {"item_id": item_id, "output_index": index, "content_index": 0}
        base = {"id": item_id, "type": "message", "role": "assistant"}
        if step.phase is not None:
            base["phase"] = step.phase
        started = {**base, "status": "in_progress", "content": []}
        yield self._event("response.output_item.added", output_index=index, item=started)
        yield self._event("response.content_part.added", **where, part=_text_part(""))
        pieces = _pieces(step.text, step.delta_chars)
        for number, piece in enumerate(pieces, 1):
            yield self._delta("response.output_text.delta", where, piece, logprobs=[])
            yield Pause(step.delay_s)
            if step.gate is not None and number == (len(pieces) + 1) // 2:
                yield Hold(step.gate)
        yield self._event("response.output_text.done", **where, text=step.text, logprobs=[])
        yield self._event("response.content_part.done", **where, part=_text_part(step.text))
        yield self._done(index, {**base, "status": "completed", "content": [_text_part(step.text)]})

    def call(self, step: Call) -> Iterator[Emission]:
        """A function call."""
        arguments = step.arguments if isinstance(step.arguments, str) else json.dumps(step.arguments)
        item = {
            "id": step.item_id or new_id("fc"),
            "type": "function_call",
            "call_id": step.call_id or f"call_{secrets.token_hex(12)}",
            "name": step.name,
        }
        if step.namespace is not None:
            item["namespace"] = step.namespace
        yield from self._streamed_call(
            item, "arguments", arguments, "response.function_call_arguments", step.delay_s
        )

    def custom_call(self, step: CustomCall) -> Iterator[Emission]:
        """A custom tool call."""
        item = {
            "id": step.item_id or new_id("ctc"),
            "type": "custom_tool_call",
            "call_id": step.call_id or f"call_{secrets.token_hex(12)}",
            "name": step.name,
        }
        yield from self._streamed_call(
            item, "input", step.input, "response.custom_tool_call_input", step.delay_s
        )

    def _streamed_call(
        self, item: dict[str, str], key: str, text: str, event: str, delay_s: float
    ) -> Iterator[Emission]:
        index = len(self.output)
        where = {"item_id": item["id"], "output_index": index}
        started = {**item, key: "", "status": "in_progress"}
        yield self._event("response.output_item.added", output_index=index, item=started)
        for piece in _pieces(text, 12):
            yield self._delta(f"{event}.delta", where, piece)
            yield Pause(delay_s)
        yield self._event(f"{event}.done", **where, **{key: text})
        yield self._done(index, {**item, key: text, "status": "completed"})

    def item(self, step: Item) -> Iterator[Emission]:
        """Any item, announced and done."""
        index, item = len(self.output), dict(step.item)
        yield self._event("response.output_item.added", output_index=index, item=item)
        yield self._done(index, item)

    def given(self, step: Event) -> WireEvent:
        """An event that comes from the scenario; a sequence number is filled in where it has none."""
        self._sequence += 1
        event = dict(step.data)
        item = event.get("item")
        if event.get("type") == "response.output_item.done" and isinstance(item, dict):
            self.output.append(item)
        return event

    def end(self, step: End, usage: Mapping[str, Any] | None) -> WireEvent:
        """The terminal event."""
        response = self._response(step.status)
        response["output"] = self.output
        response["usage"] = step.usage if step.usage is not None else usage
        if step.error is not None:
            response["error"] = dict(step.error)
        if step.reason is not None:
            response["incomplete_details"] = {"reason": step.reason}
        if step.end_turn is not None:
            response["end_turn"] = step.end_turn
        return self._event(f"response.{step.status}", response=response)

    def _done(self, index: int, item: dict[str, Any]) -> WireEvent:
        self.output.append(item)
        return self._event("response.output_item.done", output_index=index, item=item)

    def _delta(self, kind: str, where: Mapping[str, Any], delta: str, **more: object) -> WireEvent:
        padding = secrets.token_urlsafe(12)[: max(1, 16 - len(delta))]
        return self._event(kind, **where, delta=delta, **more, obfuscation=padding)

    def _event(self, kind: str, **fields: object) -> WireEvent:
        event = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return event

    def _response(self, status: str) -> dict[str, Any]:
        request = self._request
        return {
            "id": self.response_id,
            "object": "response",
            "created_at": int(self._now),
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": request.get("instructions"),
            "max_output_tokens": None,
            "model": request.get("model"),
            "output": [],
            "parallel_tool_calls": request.get("parallel_tool_calls", True),
            "previous_response_id": None,
            "prompt_cache_key": request.get("prompt_cache_key"),
            "reasoning": request.get("reasoning") or {"effort": None, "summary": None},
            "service_tier": request.get("service_tier") or "default",
            "store": False,
            "temperature": 1.0,
            "text": request.get("text") or {"format": {"type": "text"}, "verbosity": "medium"},
            "tool_choice": request.get("tool_choice", "auto"),
            "tools": request.get("tools") or [],
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": None,
            "user": None,
            "metadata": {},
        }


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _pieces(text: str, size: int) -> list[str]:
    """The text in pieces of about ``size`` characters that end at word ends where they can."""
    pieces: list[str] = []
    start = 0
    while start < len(text):
        end = min(len(text), start + max(1, size))
        space = text.rfind(" ", start + 1, end + 1)
        if end < len(text) and space > start:
            end = space
        pieces.append(text[start:end])
        start = end
    return pieces


_QUOTE_CHARACTERS = 160


def summary_of(items: Sequence[Any]) -> str:
    """What a history was about, in a few lines."""
    earlier = [summary for item in items if (summary := read_compaction(item)) is not None]
    asked = [text for role, text in messages_of(items) if role == "user"]
    lines = [f"- {' '.join(text.split())[-_QUOTE_CHARACTERS:]}" for text in asked[-8:]]
    return "\n".join([*earlier, f"Summary by the simulator of {len(asked)} questions:", *lines])


def compaction_item(items: Sequence[Any], now: float) -> dict[str, Any]:
    """The item that stands for a history."""
    blob = seal({"summary": summary_of(items)}, now)
    return {"type": "compaction", "id": new_id("cmp"), "encrypted_content": blob}


def read_compaction(item: Any) -> str | None:
    """The summary in a compaction item; None for other items."""
    if not isinstance(item, dict) or item.get("type") not in {"compaction", "compaction_summary"}:
        return None
    payload = unseal(str(item.get("encrypted_content", "")))
    return None if payload is None else str(payload.get("summary", ""))


def compacted(body: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The answer of ``/v1/responses/compact``: the user's messages and one compaction item."""
    items = body["input"]
    kept = [item for item in items if isinstance(item, dict) and item.get("role") == "user"]
    output = [*kept, compaction_item(items, now)]
    return {
        "id": new_id("resp"),
        "object": "response.compaction",
        "created_at": int(now),
        "output": output,
        "usage": usage_of(body, output, 0),
    }
