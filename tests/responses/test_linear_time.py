"""Four times as much of anything in a response takes about four times as long, in the client and in the state."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from anyio import run

from codex_nb.responses.client import RetryPolicy
from codex_nb.session.events import TurnState, reduce
from codex_nb.session.turn import EventAdapter
from tests.responses.conversations import added, completed, done, text_delta
from tests.responses.fakes import EVENT_STREAM, Chunks, httpx, outcome_of, sse

FEW, MANY = 2_000, 8_000
MOST = 8.0  # four is linear, sixteen quadratic
Event = dict[str, Any]


def a_message(number: int, text: str = "Hello.") -> Event:
    content = [{"type": "output_text", "text": text}]
    return {"type": "message", "id": f"msg_{number}", "role": "assistant", "content": content}


def a_call(number: int) -> Event:
    names = {"id": f"fc_{number}", "call_id": f"call_{number}", "name": "inspect"}
    return {"type": "function_call", **names, "arguments": "{}"}


def items(count: int) -> Iterator[Event]:
    """Items that all begin before the first one ends."""
    every = [a_message(number) for number in range(count)]
    yield from (added(item, at) for at, item in enumerate(every))
    yield from (done(item, at) for at, item in enumerate(every))
    yield completed(*every)


def changed_items(count: int) -> Iterator[Event]:
    """Items that end otherwise than they were."""
    yield from (done(a_message(number), number) for number in range(count))
    yield completed(*(a_message(number, "Goodbye.") for number in range(count)))


def nameless_items(count: int) -> Iterator[Event]:
    """Items without an id or a place."""
    for number in range(count):
        item = {key: value for key, value in a_message(number, str(number)).items() if key != "id"}
        yield {"type": "response.output_item.added", "item": {"type": "message"}}
        yield {"type": "response.output_item.done", "item": item}
    yield completed()


def calls(count: int) -> Iterator[Event]:
    every = [a_call(number) for number in range(count)]
    yield from (added(item, at) for at, item in enumerate(every))
    yield from (done(item, at) for at, item in enumerate(every))
    yield completed(*every)


def deltas(count: int) -> Iterator[Event]:
    yield from (text_delta("word ") for _ in range(count))
    yield completed()


def deltas_of_many_items(count: int) -> Iterator[Event]:
    yield from (
        {"type": "response.output_text.delta", "item_id": f"msg_{n}", "delta": "word "} for n in range(count)
    )
    yield completed()


def parts(count: int) -> Iterator[Event]:
    """Parts of one message, and of one summary."""
    for number in range(count):
        more = {"item_id": "msg", "content_index": number, "delta": "word "}
        yield {"type": "response.output_text.delta", **more}
        more = {"item_id": "rs", "summary_index": number, "delta": "word "}
        yield {"type": "response.reasoning_summary_text.delta", **more}
    yield completed()


def citations(count: int) -> Iterator[Event]:
    """Citations of one message, each of which is said to be of nearly all its text."""
    cited = [
        {
            "type": "url_citation",
            "url": f"https://x.test/{at % 50}",
            "start_index": 0,
            "end_index": 40 * count - at,
        }
        for at in range(count)
    ]
    message = a_message(0, "a b " * 10 * count)
    message["content"][0]["annotations"] = cited
    yield from (done(message, 0), completed(message))


def unknown_events(count: int) -> Iterator[Event]:
    yield from ({"type": "response.news", "number": number} for number in range(4 * count))
    yield completed()


def seconds(events: Iterable[Event]) -> float:
    """Read the events and fold what a view is shown of them; return the processor's seconds."""
    data = b"".join(map(sse, events))
    pieces = [data[start : start + 4096] for start in range(0, len(data), 4096)]
    reply = httpx.Response(200, headers=EVENT_STREAM, stream=Chunks(pieces))
    begin = time.process_time()
    outcome = run(lambda: outcome_of([reply], retry=RetryPolicy(max_requests=1)))
    adapter, state = EventAdapter(itertools.count(1)), TurnState()
    for event in outcome.events:
        for shown in adapter.read(event):
            state = reduce(state, shown)
    assert outcome.error is None
    return time.process_time() - begin


KINDS: list[Callable[[int], Iterator[Event]]] = [
    items,
    changed_items,
    nameless_items,
    calls,
    deltas,
    deltas_of_many_items,
    parts,
    citations,
    unknown_events,
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_time_grows_with_the_number_and_not_with_its_square(kind: Callable[[int], Iterator[Event]]) -> None:
    # The best of three tries: another process may have had the machine's caches in between.
    ratios = (seconds(kind(MANY)) / seconds(kind(FEW)) for _ in range(3))
    assert any(ratio < MOST for ratio in ratios)
