"""A turn that is broken off anywhere leaves a history that the API accepts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from codex_nb.errors import StreamInterrupted
from codex_nb.session.events import TurnEvent, TurnFinished
from codex_nb.session.outbound import Item, is_call
from codex_nb.session.thread import Thread
from tests.session.scripted import (
    ScriptedClient,
    Step,
    added,
    called,
    delta,
    done,
    finished,
    make_turn,
    said,
    thought,
)

pytestmark = pytest.mark.anyio


def steps() -> list[list]:
    calls = [called("run_python", {"code": f"print({n})"}, f"call_{n}") for n in range(3)]
    first = [thought("a"), calls[0], thought("b", "rs_2"), calls[1]]
    second = [said("On the way.", "msg_1", phase="commentary"), thought("c", "rs_3"), calls[2]]
    last = said("The end.", "msg_2")
    return [
        [*(event for item in first for event in (added(item), done(item))), finished(*first)],
        [*(event for item in second for event in (added(item), done(item))), finished(*second)],
        [added(last), delta("The ", "msg_2"), delta("end.", "msg_2"), done(last), finished(last)],
    ]


def problems(items: Sequence[Item]) -> list[str]:
    """Say what the API would refuse."""
    found = []
    open_calls: list[str] = []
    for number, item in enumerate(items):
        follower = items[number + 1] if number + 1 < len(items) else {}
        if is_call(item):
            open_calls.append(item["call_id"])
        elif item["type"] == "function_call_output":
            if item["call_id"] not in open_calls:
                found.append(f"{item['call_id']} has an output and no call, or two outputs")
            else:
                open_calls.remove(item["call_id"])
        elif item["type"] == "reasoning" and not (is_call(follower) or follower.get("role") == "assistant"):
            found.append(f"{item['id']} leads to nothing")
    return found + [f"{call_id} has no output" for call_id in open_calls]


async def check_goes_on(thread: Thread) -> None:
    turn = make_turn(thread=thread, prompt="go on")
    last = said("Going on.", "msg_9")
    events = [
        event async for event in turn.events(ScriptedClient([[added(last), done(last), finished(last)]]))
    ]
    assert isinstance(events[-1], TurnFinished)
    assert problems(thread.items) == []
    assert thread.items[-1] == last


WHOLE = 27


async def test_a_turn_left_after_any_event_leaves_a_valid_history() -> None:
    count = len([event async for event in make_turn().events(ScriptedClient(steps()))])
    assert count == WHOLE
    for stop in range(1, count):
        thread = Thread("default")
        events = make_turn(thread=thread).events(ScriptedClient(steps()))
        for _ in range(stop):
            await anext(events)
        await events.aclose()
        assert problems(thread.items) == [], f"left after event {stop}"
        await check_goes_on(thread)


def cut(scripts: list[list], place: int, entry: object) -> list[Step]:
    """Put an entry in the place of one event, counted over all steps, and forget what follows it there."""
    for step in scripts:
        if place < len(step):
            step[place:] = [entry]
            break
        place -= len(step)
    return scripts


EVENTS = sum(map(len, steps()))


@pytest.mark.parametrize("place", range(EVENTS))
async def test_a_stream_that_fails_at_any_event_leaves_a_valid_history(place: int) -> None:
    thread = Thread("default")
    client = ScriptedClient(cut(steps(), place, StreamInterrupted("Cut.")))
    events = [event async for event in make_turn(thread=thread).events(client)]
    last = events[-1]
    assert isinstance(last, TurnFinished)
    assert last.answer.status == "failed"
    assert problems(thread.items) == []
    await check_goes_on(thread)


@pytest.mark.parametrize("place", range(EVENTS))
async def test_a_cancel_at_any_event_leaves_a_valid_history(place: int) -> None:
    thread = Thread("default")
    client = ScriptedClient(cut(steps(), place, asyncio.Event()))
    seen: list[TurnEvent] = []

    async def consume() -> None:
        async for event in make_turn(thread=thread).events(client):
            seen.append(event)  # noqa: PERF401 -- what was seen must survive the cancel

    task = asyncio.create_task(consume())
    for _ in range(60):
        await asyncio.sleep(0)
    task.cancel()
    await task
    last = seen[-1]
    assert isinstance(last, TurnFinished)
    assert last.answer.status == "cancelled"
    assert client.closed == len(client.requests)
    assert problems(thread.items) == []
    await check_goes_on(thread)
