"""The main shell channel of an ipykernel: the one place that touches what ipykernel 6.29 to 7.4 keep private.

Everything is looked for by feature, never by version; what is missing makes :func:`channel_of` return None.
"""
# ruff: noqa: SLF001 - ipykernel has no public way to its shell channel; this module exists to hold that in one place

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from codex_nb.words import kernel as words

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

_ATTRIBUTE = "_codex_nb_channel"


@dataclass
class Channel:
    """Where a kernel's requests are read and answered.

    One lives at each kernel: pumps opened inside one another (``pumps`` counts them) hold messages in one order.
    ``reply_stream`` is what a handler answers on; ``flush_replies`` sends at once what it buffers. ``publish_status``
    takes "busy" or "idle" and the request it belongs to.
    """

    kernel: Any
    socket: Any
    stream: Any
    reply_stream: Any
    flush_replies: Callable[[], None]
    publish_status: Callable[..., None]
    held: list[Any] = field(default_factory=list)
    pumps: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def parent(self) -> tuple[Any, dict[str, Any]]:
        """Return the identity and the request that outputs belong to now."""
        return self.kernel._parent_ident["shell"], self.kernel.get_parent("shell")

    @contextlib.contextmanager
    def serving(
        self, request: tuple[Any, dict[str, Any]], cell: tuple[Any, dict[str, Any]]
    ) -> Iterator[None]:
        """Let outputs inside the block belong to ``request``, and those after it to ``cell``, whatever happens."""
        before = self.carriers()
        try:
            self._set_parent(*request, before)
            yield
        finally:
            self._set_parent(*cell, [*before, *self.carriers()])

    def _set_parent(self, identity: Any, request: dict[str, Any], carriers: list[Any]) -> None:
        """Let outputs belong to ``request`` from now on.

        A user may have put anything in the place of what carries outputs (``%%capture`` does): what does not know of
        requests is passed over, and what was in that place during the request is told as well.
        """
        with contextlib.suppress(Exception):
            self.kernel.set_parent(identity, request, channel="shell")
        for carrier in carriers:
            with contextlib.suppress(Exception):
                carrier.set_parent(request)

    def carriers(self) -> list[Any]:
        """Return what outputs pass on their way out now: the display hook, the publisher, the streams."""
        shell = self.kernel.shell
        return [shell.displayhook, shell.display_pub, sys.stdout, sys.stderr]

    def hand_back(self) -> None:
        """Give every held message to the callback that would have received it, in order."""
        held, self.held = self.held, []
        give = self.stream._run_callback
        for frames in held:
            if _loop_is_running():
                give(self.stream._recv_callback, frames)
            else:
                self.stream.io_loop.add_callback(give, self.stream._recv_callback, frames)

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Let the kernel's loop run ``coroutine`` as soon as the cell leaves it free."""
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def when_free(self, cell: tuple[Any, dict[str, Any]], function: Callable[[], None]) -> None:
        """Run ``function`` on the main thread, in turn with the cells that are queued there; from any thread.

        Its outputs belong to ``cell``, and the kernel counts as busy meanwhile.
        """
        self.stream.io_loop.add_callback(self._queue, functools.partial(self._run_for, cell, function))

    def _queue(self, function: Callable[[], None]) -> None:
        async def run() -> None:
            function()

        async def run_in_turn() -> None:
            async with self.kernel._main_asyncio_lock:
                function()

        if hasattr(self.kernel, "_main_asyncio_lock"):
            self.start(run_in_turn())
        else:
            self.kernel.schedule_dispatch(run)

    def _run_for(self, cell: tuple[Any, dict[str, Any]], function: Callable[[], None]) -> None:
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with self.serving(cell, self.parent()):
                self.publish_status("busy", cell[1])
                try:
                    function()
                finally:
                    flush_streams()
                    self.publish_status("idle", cell[1])
        finally:
            signal.signal(signal.SIGINT, handler)

    def look_again(self) -> None:
        """Let the stream read what has come: its descriptor tells only of changes, and the pump has used those up."""
        self.stream.io_loop.add_callback(lambda: None if self.stream.closed() else self.stream.flush())


def flush_streams() -> None:
    """Send what was printed; a stream that the user put in the place of the kernel's may be unable to."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def channel_of(shell: Any) -> Channel | None:
    """Return the channel of the kernel that ``shell`` runs in; None without a kernel, or with one of another make.

    None on any thread but the main one, too: the channel's socket belongs to the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    kernel = getattr(shell, "kernel", None)
    known: Channel | None = getattr(kernel, _ATTRIBUTE, None)
    if kernel is None or known is not None:
        return known
    try:
        known = _find(kernel)
    except (AttributeError, KeyError, TypeError):
        return None
    setattr(kernel, _ATTRIBUTE, known)
    return known


def _find(kernel: Any) -> Channel:
    thread = getattr(kernel, "shell_channel_thread", None)
    if thread is None:
        stream = kernel.shell_stream
        socket, reply_stream = stream.socket, stream
        flush = _flush_sends(stream)
    else:
        pair = thread.manager._shell_channel_to_main
        socket, stream = pair.to_socket, pair.to_stream
        reply_stream = thread.manager.get_subshell_to_shell_channel_socket(None)
        flush = _nothing
    channel = Channel(kernel, socket, stream, reply_stream, flush, _publisher(kernel))
    _demand(channel)
    return channel


def _demand(channel: Channel) -> None:
    """Touch everything the pump will need later, so that its absence is known now."""
    channel.parent()
    channel.carriers()
    needed = (
        channel.socket.recv_multipart,
        channel.stream._recv_callback,
        channel.stream._run_callback,
        channel.stream.io_loop.add_callback,
        channel.kernel.set_parent,
        channel.kernel.shell_handlers["comm_msg"],
        channel.kernel.session.feed_identities,
    )
    queues = hasattr(channel.kernel, "_main_asyncio_lock") or hasattr(channel.kernel, "schedule_dispatch")
    if not queues or any(each is None for each in needed):
        raise AttributeError(words.UNKNOWN_CHANNEL)


def _publisher(kernel: Any) -> Callable[..., None]:
    publish = kernel._publish_status

    def publish_status(status: str, request: dict[str, Any]) -> None:
        publish(status, "shell", parent=request)

    return publish_status


def _flush_sends(stream: Any) -> Callable[[], None]:
    import zmq

    return lambda: stream.flush(zmq.POLLOUT)


def _nothing() -> None:
    """A reply on an in-process socket needs no flush: another thread sends it on."""


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
