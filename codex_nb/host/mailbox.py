"""The mailbox between the engine's thread and the cell's thread, and the runner that posts a turn's events to it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import socket
import sys
import threading
from collections import deque
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from codex_nb.errors import CodexError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Self

    from codex_nb.host.engine import Engine
    from codex_nb.session.events import TurnEvent


T = TypeVar("T")


@contextlib.contextmanager
def ending_forked_children() -> Iterator[None]:
    """End a child that the code inside the block forks where the code ends: what follows belongs to the parent."""
    process = os.getpid()
    try:
        yield
    finally:
        if os.getpid() != process:
            os._exit(0 if sys.exc_info()[0] is None else 1)


# The process in which a turn has called the code that runs; a child that it forks is outside of the turn.
_calling_process: ContextVar[int | None] = ContextVar("calling_process", default=None)


@contextlib.contextmanager
def _inside_turn() -> Iterator[None]:
    token = _calling_process.set(os.getpid())
    try:
        yield
    finally:
        _calling_process.reset(token)


def refuse_inside_turn() -> None:
    """Raise CodexError in code that a turn has called: a turn that waits for itself would never end."""
    if _calling_process.get() == os.getpid():
        raise CodexError(
            "Codex is already answering: this code runs inside its turn.", hint="Ask in a cell of your own."
        )


@dataclass(frozen=True)
class MainThreadCall:
    """A function to run on the cell's thread; ``future`` holds its result or its exception."""

    function: Callable[[], Any]
    future: concurrent.futures.Future[Any] = field(default_factory=concurrent.futures.Future)

    def run(self) -> None:
        """Run the function unless the call was cancelled meanwhile.

        A KeyboardInterrupt is raised here instead: the caller ends the turn first, then calls :meth:`abort`.
        """
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            with ending_forked_children(), _inside_turn():
                result = self.function()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - SystemExit travels back as well
            self.future.set_exception(error)
        else:
            self.future.set_result(result)

    def abort(self, error: BaseException) -> None:
        """Set ``error`` as the outcome unless the call has one already."""
        if not self.future.done():
            self.future.set_exception(error)


class Mailbox:
    """A queue of events and calls from the engine to the cell's thread.

    All methods but :meth:`drain` may be called from any thread. It implements the turn's ``MainThread`` port:
    :meth:`call` awaits on the engine and runs on the cell's thread.
    """

    def __init__(self) -> None:
        self._items: deque[TurnEvent | MainThreadCall] = deque()
        # reentrant: a signal handler may wake the mailbox while its own thread holds the lock
        self._lock = threading.RLock()
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self._wake_pending = False
        self._wake_on_event = True
        self._closed = False
        self._on_stop: Callable[[], None] | None = None
        self._notify: Callable[[], object] = self._send_byte
        self.stop_requested = False

    def post(self, event: TurnEvent) -> None:
        """Add an event; it wakes the cell's thread only in the wait mode ``wake_on_event``."""
        with self._lock:
            if self._closed:
                return
            self._items.append(event)
            if self._wake_on_event:
                self._wake_locked()

    async def call(self, function: Callable[[], T]) -> T:
        """Run ``function`` on the cell's thread and return what it returns, or raise what it raised.

        When the awaiting task is cancelled, a call that has not begun never runs. After :meth:`close` every call is
        cancelled.
        """
        call = MainThreadCall(function)
        with self._lock:
            if self._closed:
                raise asyncio.CancelledError
            self._items.append(call)
            self._wake_locked()
        result: T = await asyncio.wrap_future(call.future)
        return result

    def request_stop(self) -> None:
        """Request the end of the turn, as the Stop button does."""
        self.stop_requested = True
        on_stop = self._on_stop
        if on_stop is not None:
            on_stop()
        self.wake()

    def on_stop(self, callback: Callable[[], None] | None) -> None:
        """Set the callback that a stop request runs at once, on the requesting thread."""
        self._on_stop = callback

    def notify(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` on the posting thread instead of writing to the descriptor."""
        self._notify = callback

    def wake(self) -> None:
        """Wake the cell's thread from its wait."""
        with self._lock:
            self._wake_locked()

    def set_wait_mode(self, *, wake_on_event: bool) -> None:
        """Set whether any event ends the next wait (``wake_on_event``), or only calls, stop requests and the end."""
        with self._lock:
            self._wake_on_event = wake_on_event
            if wake_on_event and self._items:
                self._wake_locked()

    def drain(self) -> list[TurnEvent | MainThreadCall]:
        """Remove and return all items, in the order in which they were added."""
        with self._lock:
            if self._wake_pending:
                with contextlib.suppress(OSError):
                    self._receiver.recv(64)
                self._wake_pending = False
            items = list(self._items)
            self._items.clear()
            return items

    def run_calls(self) -> None:
        """Run the waiting calls on this thread and discard the events."""
        for item in self.drain():
            if isinstance(item, MainThreadCall):
                item.run()

    def fileno(self) -> int:
        """Return the descriptor that is readable while a wake-up is due."""
        return self._receiver.fileno()

    def close(self) -> None:
        """Ignore later items and cancel the calls that never ran."""
        with self._lock:
            self._closed = True
            items = list(self._items)
            self._items.clear()
            self._receiver.close()
            self._sender.close()
        self._on_stop = None
        for item in items:
            if isinstance(item, MainThreadCall):
                item.future.cancel()

    def __enter__(self) -> Self:
        """Return the mailbox itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _wake_locked(self) -> None:
        if self._wake_pending or self._closed:
            return
        self._wake_pending = True
        self._notify()

    def _send_byte(self) -> None:
        with contextlib.suppress(OSError):
            self._sender.send(b"\0")


class TurnRunner:
    """Runs a turn on the engine and posts its events to a mailbox; ``error`` is what the turn raised."""

    def __init__(self, engine: Engine, events: AsyncIterator[TurnEvent], mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._ended = threading.Event()
        self.error: BaseException | None = None
        self._future = engine.submit(self._run(events))

    @property
    def ended(self) -> bool:
        """Whether the turn has ended on the engine and all its events are in the mailbox."""
        return self._ended.is_set()

    def cancel(self) -> None:
        """Cancel the turn, from any thread; its stream is closed and its last event is still posted."""
        self._future.cancel()

    async def _run(self, events: AsyncIterator[TurnEvent]) -> None:
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
