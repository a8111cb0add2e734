"""Listening on loopback: an HTTP server on a loop that has a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, TypeVar

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

    from tornado.web import Application

T = TypeVar("T")

_MAX_BODY_BYTES = 512 * 1024 * 1024
_HOST = "127.0.0.1"


class Listener:
    """A bound port, and the thread that serves it once it has been started."""

    def __init__(self, port: int) -> None:
        self._sockets: list[socket.socket] = bind_sockets(port, _HOST)
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = None
        self._server: HTTPServer | None = None

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{_HOST}:{self._sockets[0].getsockname()[1]}"

    def start(self, application: Application, tls: ssl.SSLContext | None) -> None:
        """Answer requests; returns when the loop runs."""
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(application, tls, ready), name="codex simulator", daemon=True
        )
        self._thread.start()
        ready.wait()

    def _run(self, application: Application, tls: ssl.SSLContext | None, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)

        def listen() -> None:
            self._server = HTTPServer(application, ssl_options=tls, max_buffer_size=_MAX_BODY_BYTES)
            self._server.add_sockets(self._sockets)
            ready.set()

        self._loop.call_soon(listen)
        self._loop.run_forever()
        self._loop.run_until_complete(self._close())
        self._loop.close()

    async def _close(self) -> None:
        if self._server is not None:
            self._server.stop()
            await self._server.close_all_connections()
        current = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not current]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def call(self, function: Callable[[], T]) -> T:
        """Run a function on the loop's thread and give its result."""
        if threading.current_thread() is self._thread:
            return function()

        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def stop(self) -> None:
        """Close the port and every connection, and end the thread."""
        if self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
