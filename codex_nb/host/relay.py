"""A turn inside the user's own running loop: ``await`` instead of a blocked cell."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from codex_nb.host.forward import Forwarding
from codex_nb.host.mailbox import MainThreadCall

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from codex_nb.host.engine import Engine
    from codex_nb.host.mailbox import Mailbox
    from codex_nb.session.events import TurnEvent


async def relay(
    engine: Engine, events: AsyncIterator[TurnEvent], mailbox: Mailbox
) -> AsyncGenerator[TurnEvent, None]:
    """Run a turn on the engine and yield its events on the caller's loop, where its calls run, too.

    Closing the generator, or cancelling the task that reads it, cancels the turn. What the turn raises is raised here.
    The mailbox stays the caller's.
    """
    loop = asyncio.get_running_loop()
    awake = asyncio.Event()
    mailbox.notify(lambda: loop.call_soon_threadsafe(awake.set))
    turn = Forwarding(engine, events, mailbox)
    mailbox.on_stop(turn.cancel)
    try:
        is_last = False
        while not is_last:
            is_last = turn.ended
            for item in mailbox.drain():
                if isinstance(item, MainThreadCall):
                    _run(item, turn)
                else:
                    yield item
            if not turn.ended:  # an end between the two looks has no wake-up of its own
                await awake.wait()
                awake.clear()
    finally:
        mailbox.on_stop(None)
        turn.cancel()
    if turn.error is not None:
        raise turn.error


def _run(call: MainThreadCall, turn: Forwarding) -> None:
    try:
        call.run()
    except KeyboardInterrupt as interrupt:
        turn.cancel()
        call.abort(interrupt)
        raise
