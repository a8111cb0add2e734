"""Turns that do not block a cell: awaited on the user's own loop or run in the background."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from codex_nb.host.cell import BlockingTurn
from codex_nb.host.mailbox import MainThreadCall, TurnRunner, deferring_interrupts
from codex_nb.host.shell_channel import IdlePump, get_shell_channel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from codex_nb.host.cell import TurnView
    from codex_nb.host.engine import Engine
    from codex_nb.host.mailbox import Mailbox
    from codex_nb.session.events import Answer, TurnEvent


async def run_async(
    engine: Engine, events: AsyncIterator[TurnEvent], mailbox: Mailbox
) -> AsyncGenerator[TurnEvent, None]:
    """Run a turn on the engine and yield its events on the caller's loop, where its calls run as well.

    Closing the generator, or cancelling the task that reads it, cancels the turn. What the turn raises is raised here.
    The caller closes the mailbox.
    """
    loop = asyncio.get_running_loop()
    awake = asyncio.Event()
    mailbox.notify(lambda: loop.call_soon_threadsafe(awake.set))
    turn = TurnRunner(engine, events, mailbox)
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
            if not turn.ended:  # an end between the two checks has no wake-up of its own
                await awake.wait()
                awake.clear()
    finally:
        mailbox.on_stop(None)
        turn.cancel()
    if turn.error is not None:
        raise turn.error


def _run(call: MainThreadCall, turn: TurnRunner) -> None:
    try:
        call.run()
    except KeyboardInterrupt as interrupt:
        turn.cancel()
        call.abort(interrupt)
        raise


def run_in_background(
    engine: Engine, events: AsyncIterator[TurnEvent], view: TurnView, mailbox: Mailbox, shell: Any
) -> Future[Answer]:
    """Start a turn that outlives its cell and return the future of its answer at once.

    The view is drawn from a thread of its own, with the cell's context. Calls for the main thread wait until no cell
    runs there; their outputs appear in the cell that asked. ``mailbox.request_stop`` ends the turn; the mailbox is
    closed when it has ended. Called on the main thread, inside the cell.
    """
    answer: Future[Answer] = Future()
    run_call = _main_thread_caller(shell, mailbox)

    def show() -> None:
        try:
            with mailbox, IdlePump(mailbox) as pump:
                result = BlockingTurn(engine, view, mailbox, pump.once, run_call=run_call).run(events)
        except BaseException as error:  # noqa: BLE001 - the future carries it
            answer.set_exception(error)
        else:
            answer.set_result(result)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(show,), name="codex_nb background", daemon=True).start()
    return answer


_waiting: deque[Callable[[], None]] = deque()  # calls of background turns, for the main thread


def run_background_calls(shell: Any) -> None:
    """Run the calls of background turns, in a cell that may be waiting for one of these turns to end."""
    channel = get_shell_channel(shell)
    if _waiting:
        _run_waiting()
        if channel is not None:
            channel.publish_status("busy", channel.parent()[1])


def _run_waiting(*_: object) -> None:
    while _waiting:
        with contextlib.suppress(KeyboardInterrupt), deferring_interrupts():
            _waiting.popleft()()


def _main_thread_caller(shell: Any, mailbox: Mailbox) -> Callable[[MainThreadCall], None]:
    """Return a function that schedules a call on the main thread without waiting for it."""
    channel = get_shell_channel(shell)
    run_for = functools.partial(channel.run_for, channel.parent()) if channel is not None else _call

    def call_on_main_thread(call: MainThreadCall) -> None:
        def run() -> None:
            try:
                call.run()
            except KeyboardInterrupt as interrupt:
                mailbox.request_stop()
                call.abort(interrupt)

        _waiting.append(functools.partial(run_for, run))
        if channel is not None:
            channel.run_when_idle(_run_waiting)
        else:
            _run_between_cells(shell.events)

    return call_on_main_thread


def _call(function: Callable[[], None]) -> None:
    function()


def _run_between_cells(events: Any) -> None:
    """Run the waiting calls when the next cell begins or ends: for shells without a kernel's loop."""

    def run(*_: object) -> None:
        for name in ("pre_run_cell", "post_run_cell"):
            events.unregister(name, run)
        _run_waiting()

    for name in ("pre_run_cell", "post_run_cell"):
        events.register(name, run)
