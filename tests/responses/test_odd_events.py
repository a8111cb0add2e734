"""Events of any shape: what leaves the client and the turn's reader is an answer or an error of ours."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from anyio import run
from hypothesis import given, settings
from hypothesis import strategies as st

from codex_nb.errors import CodexError
from codex_nb.responses.client import RetryPolicy
from codex_nb.responses.events import ServerEvent
from codex_nb.session.events import TurnState, reduce
from codex_nb.session.turn import EventAdapter
from tests.responses.fakes import EVENT_STREAM, Chunks, Outcome, httpx, outcome_of

HUGE = 10**4000
DEEP: Any = json.loads("[" * 150 + "]" * 150)
TOO_DEEP = "[" * 20_000 + "]" * 20_000
# Written as JSON text, so that what Python's own writer would refuse can be among them.
ODD = [
    "null",
    "true",
    "7",
    "-1",
    "0.5",
    str(HUGE),
    "-" + str(HUGE),
    "1" * 5000,
    "NaN",
    "Infinity",
    "1e999",
    "1e300",
    "-1e308",
    '""',
    '"text"',
    '"9e999"',
    '"\\ud800"',
    '"\\ud83d\\ude80"',
    '"\\u0000\\u001b]52;c;eA==\\u0007"',
    '"' + "9" * 5000 + '"',
    "[]",
    "[7]",
    '[null, {}, "x", [[]]]',
    "{}",
    '{"\\udfff": null}',
    '{"type": 7, "text": [], "id": {}}',
    json.dumps(DEEP),
    json.dumps({"text": DEEP, "content": DEEP}),
    TOO_DEEP,
]
MESSAGE = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [
        {"type": "output_text", "text": "Hello.", "annotations": []},
        {"type": "refusal", "refusal": "No."},
    ],
}
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "run_python",
    "namespace": "nb",
    "arguments": "{}",
}
CUSTOM = {"type": "custom_tool_call", "id": "ct_1", "call_id": "call_2", "name": "patch", "input": "text"}
REASONING = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "Thought."}],
    "content": [{"type": "reasoning_text", "text": "Thought more."}],
    "encrypted_content": "sealed",
}
ITEMS = [MESSAGE, CALL, CUSTOM, REASONING]
USAGE = {
    "input_tokens": 1,
    "input_tokens_details": {"cached_tokens": 1},
    "output_tokens": 1,
    "output_tokens_details": {"reasoning_tokens": 1},
    "total_tokens": 2,
}
RESPONSE = {
    "id": "resp_1",
    "model": "gpt-5.5",
    "status": "completed",
    "output": ITEMS,
    "usage": USAGE,
    "end_turn": True,
    "incomplete_details": {"reason": "max_output_tokens"},
    "error": {
        "code": "rate_limit_exceeded",
        "type": "usage_limit_reached",
        "message": "Try again in 3 s",
        "plan_type": "plus",
        "resets_at": 1795300000,
        "resets_in_seconds": 30,
    },
}
WINDOW = {"used_percent": 5, "window_minutes": 300, "limit_window_seconds": 60, "reset_at": 1795300000}
FIELDS: dict[str, Any] = {
    "item_id": "msg_1",
    "output_index": 0,
    "content_index": 0,
    "summary_index": 0,
    "delta": "Hel",
    "text": "Hello.",
    "sequence_number": 3,
    "response": RESPONSE,
    "error": RESPONSE["error"],
    "status": 429,
    "headers": {"retry-after": "3"},
    "message": "Sorry.",
    "code": "server_error",
    "rate_limits": {"primary": WINDOW, "secondary": WINDOW, "allowed": True, "limit_reached": False},
    "credits": {"has_credits": True, "unlimited": False, "balance": "3"},
    "plan_type": "plus",
}
TYPES = sorted(
    name for kind in get_args(ServerEvent) for name in get_args(kind.model_fields["type"].annotation)
)
COMPLETED = b'data: {"type": "response.completed", "response": {"id": "resp_1"}}\n\n'
ONCE = RetryPolicy(max_requests=1)


def event_of(kind: str, item: dict[str, Any]) -> dict[str, Any]:
    """A sound event of any type, with all the fields that any type has."""
    return {"type": kind, "item": item, **FIELDS}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the path of every value in a value."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield from places(below, (*path, key))


def text_with(event: Any, path: tuple[Any, ...], odd: str) -> str:
    """Write an event as JSON, with the odd text in the place of one value."""
    mark = "(the odd one)"

    def marked(value: Any, rest: tuple[Any, ...]) -> Any:
        if not rest:
            return mark
        keys = range(len(value)) if isinstance(value, list) else value
        changed = {key: marked(value[key], rest[1:]) if key == rest[0] else value[key] for key in keys}
        return list(changed.values()) if isinstance(value, list) else changed

    return json.dumps(marked(event, path)).replace(json.dumps(mark), odd)


async def read(data: bytes) -> Outcome:
    reply = httpx.Response(200, headers=EVENT_STREAM, stream=Chunks([data]))
    return await outcome_of([reply], retry=ONCE)


def turn_of(outcome: Outcome) -> None:
    """Read the events as a turn does; anything but an error of ours goes through."""
    adapter, state = EventAdapter(itertools.count(1)), TurnState()
    try:
        for event in outcome.events:
            for shown in adapter.read(event):
                state = reduce(state, shown)
    except CodexError as error:
        outcome.error = error
    # What was received is sent again with the next request.
    assert len(json.dumps(adapter.items, allow_nan=False)) < 1_000_000
    if outcome.error is not None:
        assert len(outcome.error.line.encode()) < 2000
        return
    assert adapter.finished is not None
    str(adapter.finished.usage + adapter.finished.usage)
    adapter.finished.text.encode()


IS_ALONE = ("completed", "failed", "cancelled", "incomplete", "error", "response.done")


@pytest.mark.anyio
@pytest.mark.parametrize("item", ITEMS, ids=lambda item: str(item["type"]))
@pytest.mark.parametrize("kind", TYPES)
async def test_any_value_in_any_field_is_an_answer_or_an_error_of_ours(
    kind: str, item: dict[str, Any]
) -> None:
    event = event_of(kind, item)
    if "output_item" in kind:
        fields = {"type", "item", "item_id", "output_index"}
    elif item is not MESSAGE:
        return  # no other type looks at the item
    elif kind.endswith(IS_ALONE):
        fields = {"response", "error", "status", "headers", "message", "code"}
    else:
        fields = set(FIELDS) - {"response", "error"}
    lines = [
        f"data: {text_with(event, path, odd)}\n\n".encode()
        for path in places(event)
        if path[0] in fields
        for odd in ODD
    ]
    size = 1 if kind.endswith(IS_ALONE) else 20
    for start in range(0, len(lines), size):
        turn_of(await read(b"".join(lines[start : start + size]) + COMPLETED))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def odd_events(draw: st.DrawFn) -> bytes:
    """Give a stream of events, each with some fields left out and others of any kind."""
    events = []
    for _ in range(draw(st.integers(1, 6))):
        event = event_of(draw(st.sampled_from(TYPES)), draw(st.sampled_from(ITEMS)))
        paths = list(places(event))
        for path in draw(st.lists(st.sampled_from(paths), max_size=4)):
            event = json.loads(json.dumps(event))
            holder: Any = event
            try:
                for key in path[:-1]:
                    holder = holder[key]
                holder[path[-1]] = draw(values)
            except (KeyError, IndexError, TypeError):
                continue  # an earlier change took this place away
        for key in draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=4)):
            event.pop(key, None)
        events.append(f"data: {json.dumps(event)}\n\n")
    return "".join(events).encode()


@given(odd_events(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_stream_of_odd_events_is_an_answer_or_an_error_of_ours(data: bytes, is_ended: bool) -> None:
    turn_of(run(read, data + COMPLETED * is_ended))


@given(
    st.lists(
        st.binary(max_size=60) | st.sampled_from([b"retry: " + b"9" * 5000, b"id: \xff", b"event: x" * 400])
    )
)
@settings(max_examples=100, deadline=None)
def test_any_lines_are_an_answer_or_an_error_of_ours(lines: list[bytes]) -> None:
    turn_of(run(read, b"\n".join(lines) + b"\n\n" + COMPLETED))
