"""The websocket of ``/responses``: each frame asks for one response, whose events come back as frames.

A frame is the body of a request with ``"type": "response.create"``. It may name the response that it follows
(``previous_response_id``), whose input and output are then not sent again; with ``"generate": false`` the input is only
kept. One connection answers one frame after the other.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from codex_nb.simulator import error_replies
from codex_nb.simulator.handlers import (
    ClientClosedError,
    Handler,
    RefusedError,
    StreamSender,
    close_stream,
    decode_body,
    send_wire,
)
from codex_nb.simulator.scenario import FRAME, End, Reply
from codex_nb.simulator.state import RecordedRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tornado.iostream import IOStream

MOST_WAITING = 8
_FRAMES_AT_ONCE = 32
_OK = 200


class WebSocketTurns(Handler, WebSocketHandler, ABC):
    """The connection; a subclass says how a request is answered."""

    truncated = b'\x81\x7e\x04\x00{"type":'
    _status: int | None = None

    @abstractmethod
    def refusal(self) -> Reply | None:
        """The error reply to a request that is not valid."""

    @abstractmethod
    def canned_reply(self) -> Reply:
        """The answer to a valid request."""

    async def get(self, *args: str) -> None:
        """Take the websocket; refuse any other GET, and a websocket where there is none, as the backend does."""
        is_upgrade = self.request.headers.get("upgrade", "").lower() == "websocket"
        if not is_upgrade or not self.state.websockets:
            self.set_status(426)
            self.set_header("upgrade", "HTTP/1.1" if is_upgrade else "websocket")
            self.finish()
            return
        for name, value in self.handshake_headers().items():
            self.set_header(name, value)
        await WebSocketHandler.get(self, *args)

    def handshake_headers(self) -> Mapping[str, str]:
        """What the backend says when it takes the websocket."""
        return {}

    def first_events(self) -> Iterable[Mapping[str, Any]]:
        """What comes before the events of a response, in place of the headers of an HTTP response."""
        return ()

    def get_compression_options(self) -> dict[str, Any]:
        """Compress frames for a client that offers it."""
        return {}

    def open(self, *_: str, **__: str) -> None:
        """Begin to answer frames, each of which is sent at once."""
        self.set_nodelay(True)
        self._frames: asyncio.Queue[str | bytes] = asyncio.Queue(MOST_WAITING)
        self._answering = asyncio.create_task(self._answer_frames())

    def on_message(self, message: str | bytes) -> None:
        """Put a frame in the queue; close the connection of a client that does not wait for its answers."""
        try:
            self._frames.put_nowait(message)
        except asyncio.QueueFull:
            self.close(1008, "too many requests at once")

    def on_close(self) -> None:
        """End what is being answered."""
        self._client_closed.set()
        self._answering.cancel()

    def on_connection_close(self) -> None:
        """Record that the client is gone."""
        Handler.on_connection_close(self)
        if self.ws_connection is not None:
            WebSocketHandler.on_connection_close(self)

    def detach(self) -> IOStream:
        """The connection below the frames."""
        stream = None if self.ws_connection is None else self.ws_connection.stream
        return super().detach() if stream is None else stream

    def get_status(self) -> int:
        """The status of the request in the frame, else that of the handshake."""
        return super().get_status() if self._status is None else self._status

    async def _answer_frames(self) -> None:
        while True:
            message = await self._frames.get()
            data = message.encode() if isinstance(message, str) else message
            try:
                await self._answer(data, is_text=isinstance(message, str))
            except (ClientClosedError, StreamClosedError, WebSocketClosedError):
                self.state.log.update(self.recorded, "client_closed", self.get_status())
                return

    async def _answer(self, data: bytes, *, is_text: bool) -> None:
        handshake, self._status = self.recorded, _OK
        self.recorded = RecordedRequest(
            FRAME,
            handshake.path,
            {},
            handshake.headers,
            data,
            size=len(data),
            connection=handshake.connection,
        )
        reply = self._decode(data, is_text=is_text)
        self.state.log.add(self.recorded)
        if reply is None:
            reply = await self._choose_reply()
        await self._send(reply)

    async def _choose_reply(self) -> Reply:
        is_prewarm = self.json_body.get("generate") is False
        prepared = None if is_prewarm else self.state.replies.take(FRAME, self.recorded.path, lambda: True)
        if prepared is not None and prepared.then == "reply":
            self.recorded.answered_by = "scenario"
            return prepared
        if prepared is not None:
            self._drops_response = prepared.then == "lost"
            await self._delay(prepared)
        refusal = self.refusal()
        self.recorded.answered_by = "validation" if refusal else "answerer"
        return refusal or (Reply(stream=(End(),)) if is_prewarm else self.canned_reply())

    def _decode(self, data: bytes, *, is_text: bool) -> Reply | None:
        """Take the body of the frame; the refusal of one that is no request."""
        try:
            self.recorded.body = body = decode_body(data, "application/json") if is_text else None
        except RefusedError as error:
            return error_replies.bad_request(str(error))
        if not isinstance(body, dict) or body.get("type") != "response.create":
            return error_replies.bad_request("A frame must be a JSON object of the type response.create.")
        return None

    async def _send(self, reply: Reply) -> None:
        if self._drops_response:
            self.record_cut()
            close_stream(self.detach(), reset=False)
            return
        if reply.wire is not None:
            await send_wire(self, reply.wire)
            return
        self._status = reply.status
        self.state.log.update(self.recorded, "open", self._status)  # the client may look before all is sent
        if reply.stream is None:
            await self.write_message(_error_frame(reply))
        else:
            self.count_cached_tokens()
            sender = FrameSender(self)
            for event in self.first_events():
                sender.write(event)
            if not await sender.send(reply.stream):
                return
        self.state.log.update(self.recorded, "answered", self._status)


def _error_frame(reply: Reply) -> str:
    """An error as the backend sends it in a frame: its status, its body, and the headers of an HTTP response."""
    body = reply.body if isinstance(reply.body, dict) else {"error": {"message": str(reply.body or "")}}
    return json.dumps(
        {"type": "error", "status": reply.status, **body, "headers": dict(reply.headers)}, ensure_ascii=False
    )


class FrameSender(StreamSender):
    """Sends each event as a frame of its own."""

    def __init__(self, handler: WebSocketTurns) -> None:
        super().__init__(handler)
        self._turns = handler
        self._frames: list[tuple[str | bytes, bool]] = []

    def write(self, event: Mapping[str, Any], name: str | None = None) -> None:
        """Take an event."""
        del name
        self._frames.append((json.dumps(event, ensure_ascii=False), False))

    def write_raw(self, data: bytes) -> None:
        """Take the bytes of a frame; one that is no text is binary."""
        is_text = False
        with suppress(UnicodeDecodeError):
            is_text = isinstance(data.decode(), str)
        self._frames.append((data, not is_text))

    @property
    def is_full(self) -> bool:
        """Whether there is a packet's worth."""
        return len(self._frames) >= _FRAMES_AT_ONCE

    async def flush(self) -> None:
        """Send the frames."""
        frames, self._frames = self._frames, []
        sent = [self._turns.write_message(data, binary) for data, binary in frames]
        await asyncio.gather(*sent)
