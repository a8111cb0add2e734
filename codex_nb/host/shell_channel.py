"""The kernel's shell channel, served while a cell blocks the main thread (ipykernel 6.29 to 7.4)."""
# ruff: noqa: SLF001 - ipykernel has no public way to its shell channel; this module exists to hold that in one place

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import math
import selectors
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
    from typing import Self


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
        raise AttributeError("The kernel's shell channel has an unknown layout.")


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


WIDGET_MESSAGES = frozenset({"comm_open", "comm_msg", "comm_close"})
LONGEST_WAIT_S = 0.1  # what is waited for may come from another thread, which wakes nobody
RECONNECT_REQUESTS = frozenset({"kernel_info_request", "comm_info_request"})


class Wakeable(Protocol):
    """What ends a wait early: its descriptor becomes readable."""

    def fileno(self) -> int:
        """Return the descriptor."""


class Pump(Protocol):
    """Waits on the main thread, serving what can be served."""

    def once(self, timeout_s: float) -> None:
        """Serve what has come, waiting at most ``timeout_s`` seconds for the first message or a wake-up."""

    def close(self) -> None:
        """Hand back whatever was held."""

    def __enter__(self) -> Self:
        """Return the pump itself."""

    def __exit__(self, *_: object) -> None:
        """Close it."""


def serve_until(pump: Pump, is_over: Callable[[], bool], seconds: float) -> None:
    """Serve what comes until something is over, or the time is up."""
    deadline = time.monotonic() + seconds
    while not is_over() and (left := deadline - time.monotonic()) > 0:
        pump.once(min(left, LONGEST_WAIT_S))


def open_pump(shell: Any, wake: Wakeable) -> Pump:
    """Return the pump that fits where ``shell`` lives; ``wake`` (a mailbox) ends its waits early."""
    channel = channel_of(shell)
    return IdlePump(wake) if channel is None else KernelPump(channel, wake)


def release_held_messages(shell: Any) -> None:
    """Give the kernel what an open pump holds: its loop is about to be re-entered and will read newer messages."""
    channel = channel_of(shell)
    if channel is not None:
        channel.hand_back()


class IdlePump:
    """Waits for the mailbox only: terminal IPython, scripts, foreign kernels."""

    def __init__(self, wake: Wakeable) -> None:
        self._selector = selectors.DefaultSelector()
        self._selector.register(wake.fileno(), selectors.EVENT_READ)

    def once(self, timeout_s: float) -> None:
        """Wait for a wake-up, at most ``timeout_s`` seconds."""
        self._selector.select(timeout_s)

    def close(self) -> None:
        """Let go of the descriptor."""
        self._selector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class KernelPump:
    """Serves the main shell channel of an ipykernel."""

    def __init__(self, channel: Channel, wake: Wakeable) -> None:
        import zmq

        self._zmq = zmq
        self._channel = channel
        self._kernel = channel.kernel
        self._cell = channel.parent()
        self._poller = zmq.Poller()
        self._poller.register(channel.socket, zmq.POLLIN)
        self._poller.register(wake.fileno(), zmq.POLLIN)
        self._is_open = True
        channel.pumps += 1

    def once(self, timeout_s: float) -> None:
        """Serve what has come, waiting at most ``timeout_s`` seconds for the first message or a wake-up."""
        ready = dict(self._poller.poll(max(0, math.ceil(timeout_s * 1000))))
        if self._channel.socket not in ready:  # asking an empty socket has its price, too
            return
        while (frames := self._receive()) is not None:
            self._serve(frames)

    def close(self) -> None:
        """Hand held messages back to the kernel, unless a pump around this one still holds them."""
        if not self._is_open:
            return
        self._is_open = False
        self._channel.pumps -= 1
        if not self._channel.pumps:
            self._channel.hand_back()
            self._channel.look_again()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _receive(self) -> list[Any] | None:
        with contextlib.suppress(self._zmq.Again):
            frames: list[Any] = self._channel.socket.recv_multipart(self._zmq.NOBLOCK, copy=False)
            return frames
        return None

    def _serve(self, frames: list[Any]) -> None:
        kernel, session = self._kernel, self._kernel.session
        try:
            identities, message = session.feed_identities(frames, copy=False)
            # a second deserialize of one message is refused as a replay, so only the header is looked at
            kind = session.unpack(message[1].bytes)["msg_type"]
        except Exception:  # noqa: BLE001 - whatever it is, the kernel's own dispatcher knows how to report it
            kind = None
        if kind not in WIDGET_MESSAGES | RECONNECT_REQUESTS or kind not in kernel.shell_handlers:
            self._channel.held.append(frames)
            return
        try:
            request = session.deserialize(message, content=True, copy=False)
        except Exception:
            kernel.log.exception("Invalid message")
            return
        self._handle(kind, identities, request)

    def _handle(self, kind: str, identities: Any, request: dict[str, Any]) -> None:
        channel = self._channel
        try:
            with channel.serving((identities, request), self._cell):
                channel.publish_status("busy", request)
                self._run_handler(kind, identities, request)
        finally:  # the cell still runs, whatever the widget's message said last
            channel.publish_status("busy", self._cell[1])

    def _run_handler(self, kind: str, identities: Any, request: dict[str, Any]) -> None:
        channel = self._channel
        rest: Awaitable[Any] | None = None
        try:
            rest = _begin(self._kernel.shell_handlers[kind](channel.reply_stream, identities, request))
        except Exception:
            self._kernel.log.exception("Exception in message handler:")
        finally:
            flush_streams()
            if rest is None:
                channel.publish_status("idle", request)
            else:
                channel.start(self._finish(rest, request))
            channel.flush_replies()

    async def _finish(self, rest: Awaitable[Any], request: dict[str, Any]) -> None:
        """See a handler through that has to wait for the kernel's loop."""
        try:
            await rest
        except Exception:
            self._kernel.log.exception("Exception in message handler:")
        self._channel.publish_status("idle", request)
        self._channel.flush_replies()


class _Rest:
    """The rest of a coroutine that was begun by hand and waits for ``waited_for``."""

    def __init__(self, coroutine: Any, waited_for: Any) -> None:
        self._coroutine = coroutine
        self._waited_for = waited_for

    def __await__(self) -> Generator[Any, Any, Any]:
        waited_for = self._waited_for
        while True:
            try:
                sent = yield waited_for
            except BaseException as error:  # noqa: BLE001 - a cancellation belongs to the coroutine too
                advance = functools.partial(self._coroutine.throw, error)
            else:
                advance = functools.partial(self._coroutine.send, sent)
            try:
                waited_for = advance()
            except StopIteration as end:
                return end.value


def _begin(result: Any) -> Awaitable[Any] | None:
    """Run a handler's coroutine as far as it goes without its loop; return what is left of it.

    ipykernel's own handlers of these messages never wait, although some are coroutines.
    """
    if not inspect.isawaitable(result):
        return None
    if not inspect.iscoroutine(result):
        return result
    try:
        waited_for = result.send(None)
    except StopIteration:
        return None
    return _Rest(result, waited_for)
