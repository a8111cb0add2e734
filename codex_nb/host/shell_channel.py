"""The kernel's shell channel, served while a cell blocks the main thread (ipykernel 6.29 to 7.4)."""
# ruff: noqa: SLF001 - ipykernel has no public way to its shell channel; this module exists to hold that in one place

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import math
import selectors
import sys
import threading
import time
import types
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from codex_nb.host.interrupts import deferring_interrupts, ending_forked_children, is_interrupted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator

    from codex_nb.host.engine import Mailbox

# What widgets send, and what a page asks when it connects again.
SERVED = frozenset({"comm_open", "comm_msg", "comm_close", "kernel_info_request", "comm_info_request"})
LONGEST_WAIT_S = 0.1  # the end may come from a thread that wakes nothing
_ATTRIBUTE = "_codex_nb_shell_channel"


@dataclass
class ShellChannel:
    """The shell channel of one kernel, on which its requests are read and answered.

    Each kernel has one: nested pumps (``pumps`` counts them) share the messages ``deferred`` until the cell ends.
    Handlers answer on ``reply_stream``.
    """

    kernel: Any
    socket: Any
    stream: Any
    reply_stream: Any
    deferred: list[Any] = field(default_factory=list)
    pumps: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def publish_status(self, status: str, request: dict[str, Any]) -> None:
        """Publish that the kernel is "busy" or "idle" with a request."""
        self.kernel._publish_status(status, "shell", parent=request)

    def flush_replies(self) -> None:
        """Send the replies that the stream buffers; another thread forwards those of a kernel with a channel thread."""
        if self.reply_stream is self.stream:
            import zmq

            self.stream.flush(zmq.POLLOUT)

    def parent(self) -> tuple[Any, dict[str, Any]]:
        """Return the identity and the request that outputs belong to at this moment."""
        return self.kernel._parent_ident["shell"], self.kernel.get_parent("shell")

    @contextlib.contextmanager
    def serving(
        self, request: tuple[Any, dict[str, Any]], cell: tuple[Any, dict[str, Any]]
    ) -> Iterator[None]:
        """Assign outputs inside the block to ``request`` and those after it to ``cell``."""
        before = self.output_hooks()
        try:
            self._set_parent(*request, before)
            yield
        finally:
            self._set_parent(*cell, [*before, *self.output_hooks()])

    def _set_parent(self, identity: Any, request: dict[str, Any], output_hooks: list[Any]) -> None:
        """Assign outputs to ``request`` from now on.

        User code may replace the streams and publishers (``%%capture`` does): replacements without ``set_parent`` are
        skipped, and those in place during the request are updated as well.
        """
        with contextlib.suppress(Exception):
            self.kernel.set_parent(identity, request, channel="shell")
        for hook in output_hooks:
            with contextlib.suppress(Exception):
                hook.set_parent(request)

    def output_hooks(self) -> list[Any]:
        """Return the objects that publish outputs: the display hook, the display publisher and the streams."""
        shell = self.kernel.shell
        return [shell.displayhook, shell.display_pub, sys.stdout, sys.stderr]

    def release_deferred(self) -> None:
        """Give every deferred message to the stream's callback, in the order received."""
        deferred, self.deferred = self.deferred, []
        dispatch = self.stream._run_callback
        for frames in deferred:
            if running_loop() is not None:
                dispatch(self.stream._recv_callback, frames)
            else:
                self.stream.io_loop.add_callback(dispatch, self.stream._recv_callback, frames)

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run ``coroutine`` on the kernel's loop once the cell has ended."""
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def run_when_idle(self, function: Callable[[], None]) -> None:
        """Run ``function`` on the main thread, in turn with the queued cells; callable from any thread."""
        self.stream.io_loop.add_callback(self._schedule, function)

    def _schedule(self, function: Callable[[], None]) -> None:
        async def run() -> None:
            function()

        async def run_in_turn() -> None:
            async with self.kernel._main_asyncio_lock:
                function()

        if hasattr(self.kernel, "_main_asyncio_lock"):
            self.start(run_in_turn())
        else:
            self.kernel.schedule_dispatch(run)

    def run_for(self, cell: tuple[Any, dict[str, Any]], function: Callable[[], None]) -> None:
        """Run ``function``; its outputs belong to ``cell``, and the kernel is busy meanwhile."""
        with (
            contextlib.suppress(KeyboardInterrupt),
            deferring_interrupts(),
            self.serving(cell, self.parent()),
        ):
            self.publish_status("busy", cell[1])
            try:
                function()
            finally:
                flush_streams()
                self.publish_status("idle", cell[1])

    def schedule_read(self) -> None:
        """Make the stream read pending messages: its descriptor is edge-triggered, and the pump consumed the edges."""
        self.stream.io_loop.add_callback(lambda: None if self.stream.closed() else self.stream.flush())


def get_shell_channel(shell: Any) -> ShellChannel | None:
    """Return the channel of the kernel that ``shell`` runs in; None without a kernel or with an unknown one.

    None on any thread but the main one, to which the channel's socket belongs.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    kernel = getattr(shell, "kernel", None)
    known: ShellChannel | None = getattr(kernel, _ATTRIBUTE, None)
    if kernel is None or known is not None:
        return known
    try:
        known = _open_channel(kernel)
    except (AttributeError, KeyError, TypeError):
        return None
    setattr(kernel, _ATTRIBUTE, known)
    return known


def _open_channel(kernel: Any) -> ShellChannel:
    thread = getattr(kernel, "shell_channel_thread", None)
    if thread is None:
        stream = kernel.shell_stream
        socket, reply_stream = stream.socket, stream
    else:
        pair = thread.manager._shell_channel_to_main
        socket, stream = pair.to_socket, pair.to_stream
        reply_stream = thread.manager.get_subshell_to_shell_channel_socket(None)
    channel = ShellChannel(kernel, socket, stream, reply_stream)
    _check_attributes(channel)
    return channel


def _check_attributes(channel: ShellChannel) -> None:
    """Raise AttributeError, KeyError or TypeError if anything that the pump needs is missing."""
    channel.parent()
    channel.output_hooks()
    needed = (
        channel.socket.recv_multipart,
        channel.stream._recv_callback,
        channel.stream._run_callback,
        channel.stream.io_loop.add_callback,
        channel.kernel.set_parent,
        channel.kernel.shell_handlers["comm_msg"],
        channel.kernel.session.feed_identities,
        channel.kernel._publish_status,
    )
    queues = hasattr(channel.kernel, "_main_asyncio_lock") or hasattr(channel.kernel, "schedule_dispatch")
    if not queues or any(each is None for each in needed):
        raise AttributeError("The kernel's shell channel has an unknown layout.")


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs on this thread, None where none does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Pump(contextlib.AbstractContextManager["Pump"]):
    """Waits on the main thread and meanwhile serves what can be served."""

    @abstractmethod
    def once(self, timeout_s: float) -> None:
        """Serve the pending messages, waiting at most ``timeout_s`` seconds for the first one or a wake-up."""

    @abstractmethod
    def close(self) -> None:
        """Stop serving; messages that the pump deferred go to the kernel."""

    def __exit__(self, *_: object) -> None:
        self.close()


def serve_until(
    pump: Pump, is_over: Callable[[], bool], seconds: float, clock: Callable[[], float] = time.monotonic
) -> None:
    """Serve messages until ``is_over`` returns True or the kernel is interrupted, for at most ``seconds``."""
    deadline = clock() + seconds
    while not (is_over() or is_interrupted()) and (left := deadline - clock()) > 0:
        pump.once(min(left, LONGEST_WAIT_S))


def open_pump(shell: Any, mailbox: Mailbox) -> Pump:
    """Return the pump for ``shell``; a wake-up of ``mailbox`` ends its waits early."""
    channel = get_shell_channel(shell)
    return IdlePump(mailbox) if channel is None else KernelPump(channel, mailbox)


def release_deferred_messages(shell: Any) -> None:
    """Give the kernel the deferred messages before its loop is re-entered and reads newer ones."""
    channel = get_shell_channel(shell)
    if channel is not None:
        channel.release_deferred()


def flush_streams() -> None:
    """Flush stdout and stderr; errors of streams that user code has installed are ignored."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


class IdlePump(Pump):
    """Waits for the mailbox only: terminal IPython, scripts, unknown kernels."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._selector = selectors.DefaultSelector()
        self._selector.register(mailbox.fileno(), selectors.EVENT_READ)

    def once(self, timeout_s: float) -> None:
        """Wait for a wake-up, at most ``timeout_s`` seconds."""
        self._selector.select(timeout_s)

    def close(self) -> None:
        """Close the selector."""
        self._selector.close()


class KernelPump(Pump):
    """Serves the main shell channel of an ipykernel.

    ``cell`` has the identities and the request of the cell that waits.
    """

    def __init__(self, channel: ShellChannel, mailbox: Mailbox) -> None:
        import zmq

        self._zmq = zmq
        self._channel = channel
        self._kernel = channel.kernel
        self.cell = channel.parent()
        self._poller = zmq.Poller()
        self._poller.register(channel.socket, zmq.POLLIN)
        self._poller.register(mailbox.fileno(), zmq.POLLIN)
        self._is_open = True
        channel.pumps += 1

    def once(self, timeout_s: float) -> None:
        """Serve the pending messages, waiting at most ``timeout_s`` seconds for the first one or a wake-up."""
        ready = dict(self._poller.poll(max(0, math.ceil(timeout_s * 1000))))
        if self._channel.socket not in ready:  # reading an empty socket is not free
            return
        while (frames := self._receive()) is not None:
            self._serve(frames)

    def close(self) -> None:
        """Give the deferred messages to the kernel unless an outer pump is still open."""
        if not self._is_open:
            return
        self._is_open = False
        self._channel.pumps -= 1
        if not self._channel.pumps:
            self._channel.release_deferred()
            self._channel.schedule_read()

    def take(self, request_id: str) -> tuple[Any, dict[str, Any]] | None:
        """Remove a deferred request and return it with its identities; None while it has not arrived."""
        session = self._kernel.session
        for frames in self._channel.deferred:
            with contextlib.suppress(Exception):  # the kernel's own dispatcher reports it
                identities, message = session.feed_identities(frames, copy=False)
                if session.unpack(message[1].bytes)["msg_id"] == request_id:
                    self._channel.deferred.remove(frames)
                    return identities, session.deserialize(message, content=True, copy=False)
        return None

    def answer(self, identities: Any, request: dict[str, Any]) -> None:
        """Let the kernel answer a request that was taken; its outputs belong to it."""
        self._handle(request["header"]["msg_type"], identities, request)

    def refuse(self, identities: Any, request: dict[str, Any]) -> None:
        """Answer an execute request that was taken as the kernel answers those that it aborts."""
        channel = self._channel
        channel.publish_status("busy", request)
        self._kernel.session.send(
            channel.reply_stream, "execute_reply", {"status": "aborted"}, parent=request, ident=identities
        )
        channel.publish_status("idle", request)
        channel.flush_replies()
        channel.publish_status("busy", self.cell[1])

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
        except Exception:  # noqa: BLE001 - the kernel's own dispatcher reports it
            kind = None
        if kind not in SERVED or kind not in kernel.shell_handlers:
            self._channel.deferred.append(frames)
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
            with channel.serving((identities, request), self.cell):
                channel.publish_status("busy", request)
                self._run_handler(kind, identities, request)
        finally:  # the cell still runs
            channel.publish_status("busy", self.cell[1])

    def _run_handler(self, kind: str, identities: Any, request: dict[str, Any]) -> None:
        channel = self._channel
        pending: Awaitable[Any] | None = None
        try:
            with ending_forked_children():
                pending = _run_to_first_await(
                    self._kernel.shell_handlers[kind](channel.reply_stream, identities, request)
                )
        except Exception:
            self._kernel.log.exception("Exception in message handler:")
        finally:
            flush_streams()
            if pending is None:
                channel.publish_status("idle", request)
            else:
                channel.start(self._finish(pending, request))
            channel.flush_replies()

    async def _finish(self, pending: Awaitable[Any], request: dict[str, Any]) -> None:
        """Complete a handler that waits for the kernel's loop."""
        try:
            await pending
        except Exception:
            self._kernel.log.exception("Exception in message handler:")
        self._channel.publish_status("idle", request)
        self._channel.flush_replies()


@types.coroutine
def _remainder(coroutine: Any, waited_for: Any) -> Generator[Any, Any, None]:
    """Complete a coroutine that was started by hand and waits for ``waited_for``."""
    while True:
        try:
            sent = yield waited_for
        except BaseException as error:  # noqa: BLE001 - a cancellation belongs to the coroutine too
            advance = functools.partial(coroutine.throw, error)
        else:
            advance = functools.partial(coroutine.send, sent)
        try:
            waited_for = advance()
        except StopIteration:
            return


def _run_to_first_await(result: Any) -> Awaitable[Any] | None:
    """Run a handler's coroutine to its first wait and return the remainder, None when it has ended.

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
    return _remainder(result, waited_for)
