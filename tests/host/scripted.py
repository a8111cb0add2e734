"""Turns and views for the tests of the host: scripted event by event, recording what they receive."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

from codex_nb.session.events import Answer, TextDelta, TurnEvent, TurnFinished, TurnStarted

STARTED = TurnStarted("turn", "thread", "model", None, "ada@example.com", "plus", "chatgpt")
FINISHED = TurnFinished(Answer("done"))


def delta(text: str) -> TextDelta:
    return TextDelta("message", text)


@dataclass
class RecordingView:
    """A view that records events; ``on_event`` may act on one as a user would.

    ``too_soon`` is what its flushes answer, in order; when none is left, everything is shown.
    """

    on_event: Callable[[TurnEvent], None] = lambda _event: None
    events: list[TurnEvent] = field(default_factory=list)
    flushes: list[int] = field(default_factory=list)
    closed: int = 0
    too_soon: list[float] = field(default_factory=list)

    def apply(self, event: TurnEvent) -> None:
        self.events.append(event)
        self.on_event(event)

    def flush(self) -> float | None:
        self.flushes.append(len(self.events))
        return self.too_soon.pop(0) if self.too_soon else None

    def close(self) -> None:
        self.closed += 1


async def scripted(*events: TurnEvent) -> AsyncGenerator[TurnEvent, None]:
    for event in events:
        yield event


@dataclass
class EndlessTurn:
    """Says ``before`` and then waits for its cancellation; like a real turn it still says how it ended."""

    before: tuple[TurnEvent, ...] = (STARTED, delta("half an "), delta("answer"))
    end: TurnFinished | None = field(
        default_factory=lambda: TurnFinished(Answer("half an answer", status="cancelled"), "Stopped.")
    )
    closed: threading.Event = field(default_factory=threading.Event)

    async def events(self) -> AsyncGenerator[TurnEvent, None]:
        for event in self.before:
            yield event
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.closed.set()
            if self.end is None:
                raise
            yield self.end
