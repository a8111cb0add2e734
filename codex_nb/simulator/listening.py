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
    """A port and the thread that serves it; ``port`` 0 is a free one."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sockets: list[socket.socket] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """Host and port; RuntimeError while nothing listens."""
        if not self._sockets:
            message = "the simulator has not been started"
            raise RuntimeError(message)
        return f"{_HOST}:{self._port}"

    def start(self, application: Application, tls: ssl.SSLContext | None) -> None:
        """Bind the port and answer requests; returns when the loop runs."""
        self._sockets = bind_sockets(self._port, _HOST)
        self._port = self._sockets[0].getsockname()[1]
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._loop, application, tls, ready), name="codex simulator", daemon=True
        )
        self._thread.start()
        ready.wait()

    def _run(
        self,
        loop: asyncio.AbstractEventLoop,
        application: Application,
        tls: ssl.SSLContext | None,
        ready: threading.Event,
    ) -> None:
        asyncio.set_event_loop(loop)
        server = HTTPServer(application, ssl_options=tls, max_buffer_size=_MAX_BODY_BYTES)

        def listen() -> None:
            server.add_sockets(self._sockets)
            ready.set()

        loop.call_soon(listen)
        loop.run_forever()
        loop.run_until_complete(_close(server))
        loop.close()

    def call(self, function: Callable[[], T]) -> T:
        """Run a function on the loop's thread and give its result; in place while nothing runs."""
        if self._loop is None or not self._loop.is_running():
            return function()

        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def stop(self) -> None:
        """Close the port and every connection, and end the thread."""
        if self._loop is not None and self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()


async def _close(server: HTTPServer) -> None:
    server.stop()
    await server.close_all_connections()
    current = asyncio.current_task()
    tasks = [task for task in asyncio.all_tasks() if task is not current]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
