"""A turn on the engine, its events on their way to whoever shows them."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from codex_nb.host.engine import Engine
    from codex_nb.host.mailbox import Mailbox
    from codex_nb.session.events import TurnEvent


class Forwarding:
    """Posts every event of a turn to a mailbox, from its making until :attr:`ended`; ``error`` is what it raised."""

    def __init__(self, engine: Engine, events: AsyncIterator[TurnEvent], mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._ended = threading.Event()
        self.error: BaseException | None = None
        self._future = engine.submit(self._forward(events))

    @property
    def ended(self) -> bool:
        """Whether the turn has left the engine: everything it had to say lies in the mailbox."""
        return self._ended.is_set()

    def cancel(self) -> None:
        """Cancel the turn; its stream is closed and its last event still comes. May be called from any thread."""
        self._future.cancel()

    async def _forward(self, events: AsyncIterator[TurnEvent]) -> None:
        try:
            async for event in events:
                self._mailbox.post(event)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - raised again where the turn is shown
            self.error = error
        finally:
            self._ended.set()
            self._mailbox.wake()
