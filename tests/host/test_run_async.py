"""Inside a running loop a turn is an async iterator, and its calls run on that loop's thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator

import pytest

from codex_nb.host.cell import run_async
from codex_nb.host.engine import Engine, Mailbox
from codex_nb.session.events import TextDelta, ToolFinished, TurnEvent
from tests.host.scripted import FINISHED, STARTED, EndlessTurn, delta, scripted

pytestmark = pytest.mark.anyio


async def test_events_arrive_in_order(engine: Engine, mailbox: Mailbox) -> None:
    events = (STARTED, *[delta(str(number)) for number in range(1_000)], FINISHED)
    assert [event async for event in run_async(engine, scripted(*events), mailbox)] == list(events)


async def test_calls_run_on_the_callers_thread(engine: Engine, mailbox: Mailbox) -> None:
    async def events() -> AsyncGenerator[TurnEvent, None]:
        yield ToolFinished(1, await mailbox.call(lambda: threading.current_thread().name), ok=True)
        yield FINISHED

    assert [event async for event in run_async(engine, events(), mailbox)] == [
        ToolFinished(1, threading.current_thread().name, ok=True),
        FINISHED,
    ]


async def test_what_the_turn_raises_is_raised_here(engine: Engine, mailbox: Mailbox) -> None:
    async def events() -> AsyncGenerator[TurnEvent, None]:
        yield STARTED
        raise LookupError("a mistake of ours")

    with pytest.raises(LookupError, match="a mistake of ours"):
        [event async for event in run_async(engine, events(), mailbox)]


async def test_closing_the_generator_cancels_the_turn(engine: Engine, mailbox: Mailbox) -> None:
    turn = EndlessTurn()
    listening = run_async(engine, turn.events(), mailbox)
    async for event in listening:
        if isinstance(event, TextDelta):
            break
    await listening.aclose()
    assert await asyncio.to_thread(turn.closed.wait, 30)


async def test_a_stop_request_ends_the_turn_with_its_last_event(engine: Engine, mailbox: Mailbox) -> None:
    turn = EndlessTurn()
    seen = []
    async for event in run_async(engine, turn.events(), mailbox):
        seen.append(event)
        if event == delta("answer"):
            mailbox.request_stop()
    assert seen == [*turn.before, turn.end]


async def test_a_turn_that_is_stopped_before_it_begins_ends(engine: Engine, mailbox: Mailbox) -> None:
    gate, busy = threading.Event(), threading.Event()

    async def keep_engine_busy() -> None:
        busy.set()
        gate.wait(30)

    engine.submit(keep_engine_busy())
    assert await asyncio.to_thread(busy.wait, 30)
    listening = run_async(engine, scripted(STARTED, FINISHED), mailbox)
    reading = asyncio.ensure_future(anext(listening, None))
    await asyncio.sleep(0)
    mailbox.request_stop()
    gate.set()
    async with asyncio.timeout(30):
        assert await reading is None
