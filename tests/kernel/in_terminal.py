"""Imported by the terminal of this tier: a turn to show without a kernel."""

# ruff: noqa: T201 - what it prints is what the tests look at

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from IPython import get_ipython

from codex_nb.host.cell import BlockingTurn
from codex_nb.host.engine import Mailbox, engine
from codex_nb.host.shell import InteractiveKernel
from codex_nb.host.shell_channel import open_pump
from codex_nb.session.events import Answer, TextDelta, TurnEvent, TurnFinished

shell = get_ipython()
kernel = InteractiveKernel(shell)
results: list[Any] = []


class PrintingView:
    """Prints each event's text as it comes."""

    def apply(self, event: TurnEvent) -> None:
        match event:
            case TextDelta(text=text):
                print(text, flush=True)
            case TurnFinished(answer=answer):
                print(f"<{answer.status}>", flush=True)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        print("closed", flush=True)


def show(code: str | None = None) -> Answer:
    """Show a turn that runs code, or one that waits to be interrupted."""
    with Mailbox() as mailbox, open_pump(shell, mailbox) as pump:
        print(type(pump).__name__)
        events = _endless() if code is None else _running(code, mailbox)
        return BlockingTurn(engine(), PrintingView(), mailbox, pump.once).run(events)


async def _endless() -> AsyncGenerator[TurnEvent, None]:
    yield TextDelta("message", "started")
    await asyncio.Event().wait()


async def _running(code: str, mailbox: Mailbox) -> AsyncGenerator[TurnEvent, None]:
    results.append(await mailbox.call(lambda: kernel.run(code)))
    yield TurnFinished(Answer("done"))
