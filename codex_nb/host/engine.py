"""The engine: an asyncio loop on a daemon thread of its own.

Every request runs there; the cell's thread never waits for the network. Nothing else in the package starts a loop.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import functools
import logging
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

T = TypeVar("T")

_log = logging.getLogger(__name__)
_POLL_S = 0.25  # Windows delivers Ctrl-C only between two waits
_CLOSE_S = 2.0


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
        if self.is_inherited:
            coroutine.close()
            raise RuntimeError("This engine belongs to the parent process; a forked child opens its own.")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop())

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
        future = self.submit(coroutine)
        try:
            while not concurrent.futures.wait([future], timeout=_POLL_S).done:
                pass
            return future.result()
        finally:
            future.cancel()

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

    def _loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._running is None:
                self._running = _start(self._name)
            return self._running.loop


def _start(name: str) -> _Running:
    loop = asyncio.new_event_loop()
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
