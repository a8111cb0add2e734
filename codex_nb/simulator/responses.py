"""The objects of a response: its events on the wire, encrypted contents, compaction items and usage.

:class:`ResponseWriter` turns the steps of a scenario into events: each item is sent as ``output_item.added``, its
parts and deltas, and ``output_item.done``, with sequence numbers, indexes and obfuscation as the Responses API sends
them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import struct
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, assert_never
from urllib.parse import urlsplit

from codex_nb.simulator.parsed_request import messages_of
from codex_nb.simulator.scenario import Call, CustomCall, End, Event, Hold, Item, Pause, Say, Search, Think

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


def new_id(prefix: str) -> str:
    """An id in the backend's format."""
    return f"{prefix}_{secrets.token_hex(24)}"


# Encrypted contents

_CHECKSUM_KEY = hashlib.sha256(b"the codex_nb simulator: a checksum, not a secret").digest()
_CHECKSUM_BYTES = 32
_FRAME_HEADER_BYTES = 9


def fake_encrypt(payload: dict[str, Any], now: float) -> str:
    """Base64url of a frame like Fernet's, as the backend sends it; the payload is readable, with a checksum."""
    frame = b"\x80" + struct.pack(">Q", int(now)) + json.dumps(payload).encode()
    return base64.urlsafe_b64encode(frame + _checksum(frame)).decode()


def fake_decrypt(encrypted: str) -> dict[str, Any] | None:
    """The payload of an encrypted content; None when it was altered or is not the simulator's."""
    try:
        data = base64.urlsafe_b64decode(encrypted)
    except ValueError:
        return None
    frame, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if not hmac.compare_digest(_checksum(frame), checksum):
        return None
    payload = json.loads(frame[_FRAME_HEADER_BYTES:])
    return payload if isinstance(payload, dict) else None


def _checksum(frame: bytes) -> bytes:
    return hmac.digest(_CHECKSUM_KEY, frame, hashlib.sha256)


# Events

WireEvent = dict[str, Any]
Emission = WireEvent | Pause | Hold
ItemStep = Think | Say | Search | Call | CustomCall | Item


class ResponseWriter:
    """Writes the events of one response; ``request`` is the request's body, ``now`` is in Unix seconds."""

    def __init__(self, request: Mapping[str, Any], now: float) -> None:
        self._request = request
        self._now = now
        self._sequence = 0
        self._response_id = new_id("resp")
        self.output: list[dict[str, Any]] = []

    def start(self) -> Iterator[WireEvent]:
        """The two events at the start of every response."""
        yield self._event("response.created", response=self._response("in_progress"))
        yield self._event("response.in_progress", response=self._response("in_progress"))

    def output_item(self, step: ItemStep) -> Iterator[Emission]:
        """The events of one output item, with the pauses and gates between them."""
        match step:
            case Think():
                return self._reasoning(step)
            case Say():
                return self._message(step)
            case Search():
                return self._search(step)
            case Call():
                return self._function_call(step)
            case CustomCall():
                return self._custom_tool_call(step)
            case Item():
                return self._given_item(step)
            case _:
                assert_never(step)

    def given_event(self, step: Event) -> WireEvent:
        """An event of the scenario; an item that it completes belongs to the output."""
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

    def _reasoning(self, step: Think) -> Iterator[Emission]:
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
            done["encrypted_content"] = fake_encrypt({"reasoning": item_id}, self._now)
        yield self._done(index, done)

    def _message(self, step: Say) -> Iterator[Emission]:
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
        part = _text_part(step.text, step.cites)
        for number, annotation in enumerate(part["annotations"]):
            kind = "response.output_text.annotation.added"
            yield self._event(kind, **where, annotation_index=number, annotation=annotation)
        yield self._event("response.content_part.done", **where, part=part)
        yield self._done(index, {**base, "status": "completed", "content": [part]})

    def _search(self, step: Search) -> Iterator[Emission]:
        index = len(self.output)
        item = {"id": step.item_id or new_id("ws"), "type": "web_search_call"}
        started = {**item, "status": "in_progress"}
        yield self._event("response.output_item.added", output_index=index, item=started)
        for stage in ("in_progress", "searching", "completed"):
            yield self._event(f"response.web_search_call.{stage}", item_id=item["id"], output_index=index)
        queries = [*step.queries]
        action: dict[str, Any] = {"type": "search", "query": " ".join(queries[:1]), "queries": queries}
        if step.url is not None:
            action = {"type": "open_page", "url": step.url}
        yield self._done(index, {**item, "status": "completed", "action": action})

    def _function_call(self, step: Call) -> Iterator[Emission]:
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

    def _custom_tool_call(self, step: CustomCall) -> Iterator[Emission]:
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

    def _given_item(self, step: Item) -> Iterator[Emission]:
        index, item = len(self.output), dict(step.item)
        yield self._event("response.output_item.added", output_index=index, item=item)
        yield self._done(index, item)

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
            "id": self._response_id,
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
            "previous_response_id": request.get("previous_response_id"),
            "prompt_cache_key": request.get("prompt_cache_key"),
            "reasoning": request.get("reasoning") or {"effort": None, "summary": None},
            "service_tier": request.get("service_tier") or "default",
            "store": request.get("store") is not False,
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


def _text_part(text: str, cites: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    annotations = [
        {
            "type": "url_citation",
            "start_index": text.index(passage),
            "end_index": text.index(passage) + len(passage),
            "url": url,
            "title": urlsplit(url).hostname,
        }
        for passage, url in cites.items()
    ]
    return {"type": "output_text", "annotations": annotations, "logprobs": [], "text": text}


def _pieces(text: str, size: int) -> list[str]:
    """The text in pieces of about ``size`` characters, split between words where possible."""
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


# Compaction

_MAX_QUOTE_CHARACTERS = 160
_MAX_QUOTES = 8


def summary_of(items: Sequence[Any]) -> str:
    """A summary of a thread: earlier summaries and the ends of the last user messages."""
    earlier = [summary for item in items if (summary := compaction_summary(item)) is not None]
    asked = [text for role, text in messages_of(items) if role == "user"]
    quotes = [f"- {' '.join(text.split())[-_MAX_QUOTE_CHARACTERS:]}" for text in asked[-_MAX_QUOTES:]]
    return "\n".join([*earlier, f"Simulated summary of {len(asked)} user messages:", *quotes])


def compaction_item(items: Sequence[Any], now: float) -> dict[str, Any]:
    """The compaction item that replaces these items."""
    encrypted = fake_encrypt({"summary": summary_of(items)}, now)
    return {"type": "compaction", "id": new_id("cmp"), "encrypted_content": encrypted}


def compaction_summary(item: Any) -> str | None:
    """The summary in a compaction item; None for other items."""
    if not isinstance(item, dict) or item.get("type") not in {"compaction", "compaction_summary"}:
        return None
    payload = fake_decrypt(str(item.get("encrypted_content", "")))
    return None if payload is None else str(payload.get("summary", ""))


def compacted(body: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The response of ``/v1/responses/compact``: the user's messages and a compaction item."""
    items = body["input"]
    messages = [item for item in items if isinstance(item, dict) and item.get("role") == "user"]
    output = [*messages, compaction_item(items, now)]
    return {
        "id": new_id("resp"),
        "object": "response.compaction",
        "created_at": int(now),
        "output": output,
        "usage": estimated_usage(body, output, 0),
    }


# Usage

_BYTES_PER_TOKEN = 4
_TOKENS_PER_IMAGE = 1_500
_DATA_URL = re.compile(r"data:image/[\w.+-]{1,20};base64,[A-Za-z0-9+/=]*")
_MAX_CACHED_INPUTS = 64
_MAX_CACHE_KEYS = 256


def _tokens_in(value: object) -> int:
    """The estimated number of tokens in the JSON of a value; an image costs the same whatever its size in bytes."""
    text, images = _DATA_URL.subn("", json.dumps(value, ensure_ascii=False))
    return len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN + images * _TOKENS_PER_IMAGE


def estimated_usage(
    request: Mapping[str, Any], output: Sequence[Mapping[str, Any]], cached_tokens: int
) -> dict[str, Any]:
    """The ``usage`` object of a response, estimated from the number of characters."""
    input_tokens = _tokens_in(request.get("input")) + _tokens_in(request.get("tools") or [])
    reasoning = sum(_tokens_in(item.get("summary")) for item in output if item.get("type") == "reasoning")
    visible = sum(_tokens_in(item) for item in output if item.get("type") != "reasoning")
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": min(cached_tokens, input_tokens)},
        "output_tokens": visible + reasoning,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": input_tokens + visible + reasoning,
    }


@dataclass
class PromptCache:
    """The inputs seen under each ``prompt_cache_key``; the longest known prefix of an input counts as cached.

    Of each item its digest and its length are kept, and of the keys those that were used last.
    """

    _inputs: dict[str, list[tuple[tuple[bytes, int], ...]]] = field(default_factory=dict)

    def cached_tokens(self, key: str | None, items: Sequence[object]) -> int:
        """The estimated number of cached tokens of an input, which is then added to the cache."""
        if key is None:
            return 0
        texts = (json.dumps(item, ensure_ascii=False).encode("utf-8", "replace") for item in items)
        seen = tuple((hashlib.sha256(text).digest(), len(text)) for text in texts)
        known = self._inputs[key] = self._inputs.pop(key, [])
        prefix = max((len(old) for old in known if seen[: len(old)] == old), default=0)
        known.append(seen)
        del known[:-_MAX_CACHED_INPUTS]
        while len(self._inputs) > _MAX_CACHE_KEYS:
            del self._inputs[next(iter(self._inputs))]
        return sum(size for _, size in seen[:prefix]) // _BYTES_PER_TOKEN
