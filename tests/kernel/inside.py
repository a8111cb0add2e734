"""Imported by the kernels of this tier: turns to show, and a button that the test presses from outside."""

# ruff: noqa: T201 - what these cells print is what the tests look at

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

from IPython import get_ipython

from codex_nb.host.cell import BlockingTurn, run_in_background
from codex_nb.host.engine import Mailbox, engine
from codex_nb.host.shell import InteractiveKernel
from codex_nb.host.shell_channel import open_pump
from codex_nb.session.events import Answer, TextDelta, TurnEvent, TurnFinished, TurnStarted

shell = get_ipython()
kernel = InteractiveKernel(shell)
clicks: list[tuple[str, dict[str, Any]]] = []
pressed = threading.Event()
current: Mailbox | None = None
pumps: list[str] = []
results: list[Any] = []

Events = Callable[[Mailbox], AsyncGenerator[TurnEvent, None]]


def _on_open(comm: Any, _message: Any) -> None:
    comm.on_msg(_on_click)


def _on_click(message: dict[str, Any]) -> None:
    data = message["content"]["data"]
    clicks.append((threading.current_thread().name, data))
    print(f"click {len(clicks)}")
    match data.get("do"):
        case "stop" if current is not None:
            current.request_stop()
        case "release":
            pressed.set()
        case "hang":
            _hang()
        case "raise":
            raise LookupError("the handler of the click failed")


def _hang() -> None:
    """Wait for ever, and tell when the first interrupt has been noticed."""
    turn = signal.getsignal(signal.SIGINT).__self__
    while not turn.pending:
        time.sleep(0.01)
    print("interrupted once", flush=True)
    while True:
        time.sleep(0.01)


shell.kernel.comm_manager.register_target("button", _on_open)


class PrintingView:
    """Prints each event's text as it comes."""

    def apply(self, event: TurnEvent) -> None:
        match event:
            case TextDelta(text=text):
                print(text, end="", flush=True)
            case TurnFinished(answer=answer):
                print(f"<{answer.status}>", flush=True)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


def show(events: Events) -> Answer:
    """Show a turn in the cell that calls this."""
    global current  # noqa: PLW0603 - the button must find the turn
    with Mailbox() as mailbox:
        current = mailbox
        pressed.clear()
        with open_pump(shell, mailbox) as pump:
            pumps.append(type(pump).__name__)
            return BlockingTurn(engine(), PrintingView(), mailbox, pump.once).run(events(mailbox))


def show_in_background(events: Events) -> Any:
    """Show a turn that outlives the cell."""
    global current  # noqa: PLW0603 - as above
    current = mailbox = Mailbox()
    pressed.clear()
    return run_in_background(engine(), events(mailbox), PrintingView(), mailbox, shell)


def stop() -> None:
    """Press the newest turn's Stop button."""
    if current is not None:
        current.request_stop()


STARTED = TurnStarted("turn", "thread", "model", None, "ada@example.com", "plus", "chatgpt")


async def until_pressed(_mailbox: Mailbox) -> AsyncGenerator[TurnEvent, None]:
    """Say "started", wait for a click that releases, say "released"."""
    yield STARTED
    yield TextDelta("message", "started ")
    while not pressed.is_set():  # noqa: ASYNC110 - the event belongs to another thread
        await asyncio.sleep(0.01)
    yield TextDelta("message", "released ")
    yield TurnFinished(Answer("done"))


def running_code(*codes: str) -> Events:
    """Return a turn that runs code in the user's kernel and notes what that gave."""

    async def events(mailbox: Mailbox) -> AsyncGenerator[TurnEvent, None]:
        yield STARTED
        for code in codes:
            result = await mailbox.call(lambda code=code: kernel.run(code))
            results.append(result)
        yield TurnFinished(Answer("done"))

    return events


def both(first: Events, second: Events) -> Events:
    """Return one turn that does what two turns do."""

    async def events(mailbox: Mailbox) -> AsyncGenerator[TurnEvent, None]:
        async for event in first(mailbox):
            if not isinstance(event, TurnFinished):
                yield event
        async for event in second(mailbox):
            yield event

    return events


def streaming_from(url: str) -> Events:
    """Return a turn that shows what a server drips."""

    async def events(_mailbox: Mailbox) -> AsyncGenerator[TurnEvent, None]:
        import httpx

        yield STARTED
        text = ""
        try:
            async with (
                httpx.AsyncClient(timeout=60, trust_env=False) as http,
                http.stream("GET", url) as response,
            ):
                async for line in response.aiter_lines():
                    if line:
                        text += line
                        yield TextDelta("message", line)
        except asyncio.CancelledError:
            yield TurnFinished(Answer(text, status="cancelled"), "Stopped.")
            return
        yield TurnFinished(Answer(text))

    return events
