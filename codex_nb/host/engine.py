"""The engine, an asyncio loop on a daemon thread, and the mailbox by which a turn on it reaches the cell's thread.

Every request runs on the engine; the cell's thread never waits for the network. Nothing else in the package starts a
loop.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import functools
import logging
import os
import socket
import threading
import time
from collections import deque
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from codex_nb.errors import CodexError
from codex_nb.host.interrupts import ending_forked_children, interruptible

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from codex_nb.session.events import TurnEvent


T = TypeVar("T")

_log = logging.getLogger(__name__)
_POLL_S = 0.25  # Windows delivers Ctrl-C only between two waits
_CLOSE_S = 2.0
_OVERDUE_S = 10.0  # after its cancellation; what a turn must end on its way takes some 6 s at most


@dataclass(frozen=True)
class _Running:
    """A loop and the thread that runs it."""

    loop: asyncio.AbstractEventLoop
    thread: threading.Thread


class Engine:
    """Runs coroutines on a thread of its own.

    The loop starts with the first :meth:`submit` and ends with :meth:`close`; a later :meth:`submit` starts it again.
    Coroutines run with the caller's context variables. An engine belongs to the process that made it: a forked child
    has its memory, but not its thread.
    """

    def __init__(self, name: str = "codex_nb engine") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._pid = os.getpid()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start ``coroutine`` on the engine and return its future at once.

        Cancelling the future cancels the coroutine; the future counts as cancelled before the coroutine has ended.
        Raises RuntimeError in a forked child.
        """
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop_for(coroutine))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run ``coroutine`` on the engine, wait for it and return its result.

        A KeyboardInterrupt (or any exception raised in the waiting thread) cancels the coroutine. Raises
        RuntimeError on the engine's own thread, where it would deadlock.
        """
        if self.is_current_thread:
            coroutine.close()
            raise RuntimeError(
                "Engine.run cannot be called on the engine's own thread: await the coroutine instead."
            )
        loop = self._loop_for(coroutine)
        # A raw lock: an interrupt inside the waits of `concurrent.futures`, which are written in Python, can leave the
        # lock of the future taken, and the engine would then wait for it forever.
        ended = threading.Lock()
        ended.acquire()
        tasks: list[asyncio.Task[T]] = []

        def end(task: asyncio.Task[T]) -> None:
            _ = task.cancelled() or task.exception()  # nobody else asks for it after an interrupt
            ended.release()

        def start() -> None:
            tasks.append(loop.create_task(coroutine))
            tasks[0].add_done_callback(end)

        def cancel() -> None:
            tasks[0].cancel()

        loop.call_soon_threadsafe(start)
        try:
            while not ended.acquire(timeout=_POLL_S):
                pass
        finally:
            loop.call_soon_threadsafe(cancel)
        return tasks[0].result()

    @property
    def is_current_thread(self) -> bool:
        """Whether the caller runs on the engine."""
        running = self._running
        return running is not None and running.thread is threading.current_thread()

    @property
    def is_inherited(self) -> bool:
        """Whether this process is a forked child of the one that the engine runs in."""
        return self._pid != os.getpid()

    def close(self) -> None:
        """Cancel all tasks, wait up to two seconds for them to clean up, and end the thread."""
        if self.is_inherited:
            return
        with self._lock:
            running, self._running = self._running, None
        if running is None:
            return
        ending = asyncio.run_coroutine_threadsafe(_cancel_all_tasks(), running.loop)
        concurrent.futures.wait([ending], timeout=_CLOSE_S)
        running.loop.call_soon_threadsafe(running.loop.stop)
        running.thread.join(timeout=_CLOSE_S)
        if running.thread.is_alive():
            _log.warning("The engine's thread did not end in time.")

    def _loop_for(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.AbstractEventLoop:
        """Return the loop, started if necessary, or close the coroutine and raise in a forked child."""
        if self.is_inherited:
            coroutine.close()
            raise RuntimeError("This engine belongs to the parent process; a forked child opens its own.")
        try:
            with self._lock:
                if self._running is None:
                    self._running = _start(self._name)
                return self._running.loop
        except BaseException:
            coroutine.close()
            raise


_clock = time.monotonic


def _start(name: str) -> _Running:
    loop = asyncio.new_event_loop()
    loop.time = _clock  # type: ignore[method-assign]  # a notebook may freeze the clock, or replace it
    ready = threading.Event()
    loop.call_soon(ready.set)
    thread = threading.Thread(target=_run_loop, args=(loop,), name=name, daemon=True)
    thread.start()
    ready.wait()
    return _Running(loop, thread)


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Run the loop until it is stopped; a task that raises SystemExit or KeyboardInterrupt does not end it."""
    asyncio.set_event_loop(loop)
    stopped = False
    while not stopped:
        try:
            loop.run_forever()
            stopped = True
        except (KeyboardInterrupt, SystemExit) as error:
            _log.debug("A task on the engine raised %s; the engine continues.", type(error).__name__)
    loop.close()


async def _cancel_all_tasks() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


def engine() -> Engine:
    """Return the process's engine; it is closed when the interpreter exits. A forked child has one of its own."""
    return _engine_of(os.getpid())


@functools.cache  # keeps the engine of a parent process: its loop shares its selector with the parent's
def _engine_of(_pid: int) -> Engine:
    shared = Engine()
    atexit.register(shared.close)
    return shared


# The call in which this code runs, and its process: a child that it forks is outside of the turn.
_call: ContextVar[tuple[MainThreadCall, int] | None] = ContextVar("call", default=None)


@contextlib.contextmanager
def _inside_turn(call: MainThreadCall) -> Iterator[None]:
    token = _call.set((call, os.getpid()))
    try:
        yield
    finally:
        _call.reset(token)


def refuse_inside_turn() -> None:
    """Raise CodexError in code that a turn has called: a turn that waits for itself would never end.

    Tasks that such code has started are free once the call has returned.
    """
    call, process = _call.get() or (None, 0)
    if call is not None and not call.future.done() and process == os.getpid():
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
            with ending_forked_children(), _inside_turn(self):
                result = interruptible(self.function)
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


class Mailbox(contextlib.AbstractContextManager["Mailbox"]):
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
        self._at_close = contextlib.ExitStack()
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

    def at_close(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` when the mailbox is closed, on the thread that closes it."""
        self._at_close.callback(callback)

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
        self._at_close.close()

    def __exit__(self, *_: object) -> None:
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
        self._task: asyncio.Task[None] | None = None
        self._is_cancelled = False
        self.error: BaseException | None = None
        self._future = engine.submit(self._run(events))
        self._future.add_done_callback(self._end)

    @property
    def ended(self) -> bool:
        """Whether the turn has ended on the engine and all its events are in the mailbox."""
        return self._ended.is_set()

    def cancel(self) -> None:
        """Cancel the turn once, from any thread; its stream is closed and its last event is still posted."""
        was_cancelled, self._is_cancelled = self._is_cancelled, True
        if self._task is not None and not was_cancelled:
            _call_soon(self._task.get_loop(), self._task.cancel)

    def abandon(self) -> None:
        """Cancel the turn, and once more if it still runs when it must have ended: nothing waits for it any more."""
        self.cancel()
        if self._task is not None and not self.ended:
            loop = self._task.get_loop()
            _call_soon(loop, loop.call_later, _OVERDUE_S, self._task.cancel)

    async def _run(self, events: AsyncIterator[TurnEvent]) -> None:
        self._task = asyncio.current_task()
        if self._is_cancelled:
            return
        try:
            async for event in events:
                self._mailbox.post(event)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - raised again where the turn is shown
            self.error = error

    def _end(self, _future: object) -> None:
        self._ended.set()
        self._mailbox.wake()


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *arguments: object) -> None:
    with contextlib.suppress(RuntimeError):  # the engine has been closed meanwhile
        loop.call_soon_threadsafe(callback, *arguments)
