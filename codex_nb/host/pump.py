"""The pump: kernel messages that are served while a cell blocks the main thread.

A cell that waits for an answer would leave every click and every reloading page waiting too. The pump reads the main
shell channel in the kernel's place, serves widget messages and the two questions that a reconnecting page asks, holds
everything else, and hands that back in order when it closes, so that queued cells run (or are aborted) as they always
do. Where there is no such channel the main thread simply waits (:class:`IdlePump`).
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import selectors
import time
from typing import TYPE_CHECKING, Any, Protocol

from codex_nb.host.channel import channel_of, flush_streams

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from typing import Self

    from codex_nb.host.channel import Channel

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


def hand_back_held(shell: Any) -> None:
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
