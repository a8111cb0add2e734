"""One timer bounds each of many waits, and nobody else's cancellation is taken for its own."""

from __future__ import annotations

import asyncio

import pytest

from codex_nb.responses.stream import IdleTimeout

pytestmark = pytest.mark.anyio

SHORT_S = 0.01


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def test_a_wait_that_lasts_too_long_is_a_timeout() -> None:
    timeout = IdleTimeout(SHORT_S)

    with pytest.raises(TimeoutError), timeout:
        await forever()

    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_the_limit_holds_for_a_later_wait_as_well() -> None:
    timeout = IdleTimeout(SHORT_S)
    for _ in range(3):
        with timeout:
            await asyncio.sleep(0)

    with pytest.raises(TimeoutError), timeout:
        await forever()
    with pytest.raises(TimeoutError), timeout:
        await forever()


async def test_time_between_two_waits_does_not_count() -> None:
    timeout = IdleTimeout(SHORT_S)
    with timeout:
        await asyncio.sleep(0)
    await asyncio.sleep(2 * SHORT_S)

    with timeout:
        await asyncio.sleep(0)


async def test_a_cancellation_from_outside_stays_one() -> None:
    async def wait() -> None:
        with IdleTimeout(60.0):
            await forever()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_many_waits_share_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    timers = []
    make = loop.call_later

    def call_later(*arguments: object, **keywords: object) -> asyncio.TimerHandle:
        timers.append(make(*arguments, **keywords))  # type: ignore[arg-type]  # handed on as they came
        return timers[-1]

    monkeypatch.setattr(loop, "call_later", call_later)
    timeout = IdleTimeout(60.0)
    for _ in range(100):
        with timeout:
            await asyncio.sleep(0)

    timeout.close()
    assert [timer.cancelled() for timer in timers] == [True]
