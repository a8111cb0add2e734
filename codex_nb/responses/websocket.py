"""The websocket transport: one connection for each thread, over which a later request sends only what is new.

A request is a frame ``response.create``; the events of the response come back as one frame each. They are handed on as
an event stream in an :class:`httpx.Response`, so that everything above reads, bounds and repeats as over HTTP. The
protocol is that of the Codex CLI 0.171 (``responses_websockets=2026-02-06``).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.protocol import State

from codex_nb.http import CONNECT_TIMEOUT_S, Proxies, UnacceptableResponse, httpx, is_secure, tls_context
from codex_nb.parse import JsonObject, fits, loads_object, parse_integer, parse_object, parse_text
from codex_nb.responses.events import TERMINAL_TYPES
from codex_nb.responses.request import LITE_HEADER, TURN_STATE_HEADER, dump_json, request_fields
from codex_nb.responses.stream import MAX_EVENT_BYTES, ResponseBudget

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from codex_nb.responses.events import ResponseFinished
    from codex_nb.responses.request import Backend, ResponsesRequest

PROTOCOL = {"openai-beta": "responses_websockets=2026-02-06"}
MAX_MESSAGE_HEADER = "x-codex-websocket-max-message-bytes"
LITE_KEY = "ws_request_header_x_openai_internal_codex_responses_lite"
START_KEY = "x-codex-ws-stream-request-start-ms"
MOST_CONNECTIONS = 8
OLDEST_S = 55 * 60.0  # the server closes a connection after an hour
MOST_REFUSALS = 2
TRIES = 2
PING_S = 20.0
PONG_S = 60.0  # a kernel's code may hold up this thread for a while
CLOSE_S = 1.0
MOST_QUEUED = 8
MOST_QUIET = 16
MOST_UNSENT = 1024 * 1024
MOST_RECEIVED = 16 * MAX_EVENT_BYTES
FORGOTTEN = {"previous_response_not_found", "websocket_connection_limit_reached"}
UNREADABLE = "a frame is too large, or not one of the protocol"
_QUIET = {"response.created", "response.in_progress", "response.queued", "codex.rate_limits"}
_ENDS = tuple(f'"{kind}"'.encode() for kind in TERMINAL_TYPES)
_HTTP_ONLY = {"accept", "accept-encoding", "connection", "content-type", "host", LITE_HEADER}

# The library logs what it sends, the login too, so its logger is one that no configuration can turn on.
_silent = logging.Logger("websockets", logging.CRITICAL + 1)  # noqa: LOG001  that is the reason


class Asked(NamedTuple):
    """A request as fingerprints: of its fields but the input and the ``client_metadata``, and of each input item."""

    fields: bytes
    items: tuple[bytes, ...]


@dataclass(frozen=True)
class Chain:
    """What the server keeps of the last response of a connection: ``asked`` has the input and the output items."""

    response_id: str
    asked: Asked

    def precedes(self, asked: Asked) -> bool:
        """Whether a request only adds to what the server keeps."""
        fields, items = self.asked
        is_longer = len(items) < len(asked.items)
        return is_longer and fields == asked.fields and items == asked.items[: len(items)]


def fingerprint(value: Any) -> bytes:
    """Return what two values share only if they are sent as the same bytes."""
    return hashlib.sha256(dump_json(value)).digest()


def asked_of(request: Mapping[str, Any]) -> Asked:
    """Return the fingerprints of a request, the body of one over HTTP."""
    kept = {key: value for key, value in request.items() if key not in {"input", "client_metadata"}}
    return Asked(fingerprint(kept), tuple(map(fingerprint, request["input"])))


def frame_of(request: Mapping[str, Any], asked: Asked, chain: Chain | None) -> JsonObject:
    """Return the frame that asks for a response: with what is new if nothing else has changed, whole where in doubt."""
    frame: JsonObject = {"type": "response.create"}
    items = request["input"]
    if chain is not None and chain.precedes(asked):
        frame["previous_response_id"] = chain.response_id
        items = items[len(chain.asked.items) :]
    return {**frame, **request, "input": items}


class ConnectionLost(Exception):
    """A connection is of no use any more, and nothing of an answer has been seen."""


class Connector:
    """Opens connections, through the proxies and with the certificates that HTTP uses."""

    def __init__(self, environ: Mapping[str, str], ca_certificate: Path | None) -> None:
        self._proxies = Proxies.of(environ)
        self._ca_certificate = ca_certificate

    async def connect(self, handshake: httpx.Request) -> Connection:
        """Open a connection with the request's headers; raises what the library raises, and follows no redirect."""
        url = handshake.url
        options: dict[str, Any] = {}
        if url.scheme == "https":
            options["ssl"] = tls_context(self._ca_certificate)
        _, proxy = self._proxies.find(url) or ("", None)
        if proxy is not None and proxy.startswith("https://"):
            options["proxy_ssl"] = tls_context(self._ca_certificate)
        connection = await _Connect(
            str(url.copy_with(scheme="wss" if url.scheme == "https" else "ws")),
            additional_headers=list(_handshake_headers(handshake).items()),
            user_agent_header=None,
            proxy=proxy,
            open_timeout=CONNECT_TIMEOUT_S,
            close_timeout=CLOSE_S,
            ping_interval=PING_S,
            ping_timeout=PONG_S,
            max_size=MAX_EVENT_BYTES,
            max_queue=MOST_QUEUED,
            logger=_silent,
            create_connection=Connection,
            **options,
        )
        return cast("Connection", connection)


class _Connect(connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        """Take a redirect for what it is to us, a refusal: the login belongs to this address."""
        return exc


class Connection(ClientConnection):
    """Gives up on a server that floods us with anything but messages, such as pings that we would have to answer."""

    _is_sending = False
    _received = 0  # bytes since the last message was taken

    async def send_text(self, data: bytes) -> None:
        """Send a message."""
        self._is_sending = True
        try:
            await self.send(data, text=True)
        finally:
            self._is_sending = False

    async def receive(self) -> str | bytes:
        """Return the next message: bytes for a binary one."""
        message = await self.recv()
        self._received = 0
        return message

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        self._received += len(data)
        is_flooded = not self._is_sending and self.transport.get_write_buffer_size() > MOST_UNSENT
        if is_flooded or self._received > MOST_RECEIVED:
            self.transport.abort()
        else:
            super().data_received(data)


def _handshake_headers(request: httpx.Request) -> dict[str, str]:
    headers = {name: value for name, value in request.headers.items() if name not in _HTTP_ONLY}
    return {**headers, **PROTOCOL}


class _Conversation:
    """The connection of one thread, with what the server keeps of the last response on it."""

    def __init__(self) -> None:
        self.is_busy = False
        self.is_refused = False  # when it was opened ahead
        self.opening = asyncio.Lock()
        self.chain: Chain | None = None
        self.rejected = (b"", b"")  # the headers whose login was rejected in a frame, and how
        self._connection: Connection | None = None
        self._head = b""
        self._opened_at = 0.0
        self._is_new = False
        self._asked = Asked(b"", ())

    def is_usable(self, head: bytes, oldest_s: float) -> bool:
        """Whether the connection is open, young enough, in a known state, and was opened with these headers."""
        age = asyncio.get_running_loop().time() - self._opened_at
        is_open = self._connection is not None and self._connection.state is State.OPEN
        is_known = self._is_new or self.chain is not None
        return is_open and is_known and age < oldest_s and head == self._head

    def begin(self, connection: Connection, head: bytes) -> None:
        """Take a new connection in place of the old one."""
        connection.request = None  # it holds the login
        self._connection, self._head, self._is_new = connection, head, True
        self._opened_at = asyncio.get_running_loop().time()

    def drop(self) -> None:
        """Close the connection at once, without ceremony."""
        connection, self._connection, self.chain = self._connection, None, None
        if connection is not None:
            connection.transport.abort()

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection, self.chain = self._connection, None, None
        if connection is not None:
            await connection.close()

    async def ask(self, body: JsonObject) -> tuple[httpx.Headers, list[bytes]] | None:
        """Send a request; return the headers of a new connection and the first frames of the response.

        None where the server takes no frame of this size. Raises ConnectionLost.
        """
        connection = self._connection
        if connection is None or connection.response is None:
            raise ConnectionLost
        self._asked = asked_of(body)
        data = dump_json(frame_of(body, self._asked, self.chain))
        most = parse_integer(connection.response.headers.get(MAX_MESSAGE_HEADER))
        if most is not None and len(data) > most:
            return None
        self.chain = None
        try:
            await connection.send_text(data)
            first = await self._first_frames()
        except ConnectionClosed as error:
            _raise_if_refused(error)
            raise ConnectionLost from error
        told = connection.response.headers.raw_items() if self._is_new else ()
        self._is_new = False
        return httpx.Headers(list(told)), first

    async def _first_frames(self) -> list[bytes]:
        """Read up to the first frame that tells anything; until then a lost connection is nobody's business."""
        frames: list[bytes] = []
        while len(frames) < MOST_QUIET:
            frames.append(frame := await self.receive())
            event = _event_in(frame)
            kind = parse_text(event.get("type"))
            if kind == "error":
                self._look_at_error(event)
            if kind not in _QUIET:
                break
        return frames

    def _look_at_error(self, event: JsonObject) -> None:
        """Raise ConnectionLost for an error that another connection may not have."""
        error = event.get("error")
        if event.get("status") == httpx.codes.UNAUTHORIZED:
            self.rejected = self._head, dump_json({"error": error})
            raise ConnectionLost
        if str(parse_object(error).get("code")) in FORGOTTEN:
            raise ConnectionLost

    async def receive(self) -> bytes:
        """Return the next frame; raises ConnectionClosed, and UnacceptableResponse for one that is no text."""
        if self._connection is None:
            raise ConnectionClosed(None, None)
        try:
            frame = await self._connection.receive()
        except ConnectionClosed as error:
            _raise_if_refused(error)
            raise
        except WebSocketException as error:
            raise UnacceptableResponse(UNREADABLE) from error
        if isinstance(frame, bytes):
            raise UnacceptableResponse("a frame is binary")
        return frame.encode("utf-8", "replace")

    def finished(self, response: ResponseFinished, carried: int) -> None:
        """Note what the server keeps now; ``carried`` items of the response were in its request."""
        if response.status != "completed" or not response.response_id or self._connection is None:
            return
        fields, items = self._asked
        output = map(fingerprint, response.items[carried:])
        self.chain = Chain(response.response_id, Asked(fields, (*items, *output)))


def _raise_if_refused(error: ConnectionClosed) -> None:
    """Raise UnacceptableResponse if we closed the connection: for what is too large, not UTF-8, or no frame."""
    if error.sent is not None and not error.rcvd_then_sent and error.sent.code in {1002, 1007, 1009}:
        raise UnacceptableResponse(UNREADABLE) from error


def _event_in(frame: bytes) -> JsonObject:
    return loads_object(frame) if fits(frame, ResponseBudget.memory) else {}


class _Frames(httpx.AsyncByteStream):
    """The frames of one response as the bytes of an event stream; closed before its end, it closes the connection."""

    def __init__(self, conversation: _Conversation, first: Sequence[bytes]) -> None:
        self._conversation = conversation
        self._first = first
        self._is_over = False
        self._is_complete = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield each frame as an event, up to the terminal one."""
        yield b"".join(map(self._event, self._first))
        while not self._is_over:
            try:
                frame = await self._conversation.receive()
            except ConnectionClosed as error:
                closed = httpx.ReadError(f"the websocket was closed ({type(error).__name__})")
                raise closed from None
            yield self._event(frame)

    def _event(self, frame: bytes) -> bytes:
        if any(end in frame for end in _ENDS):
            kind = parse_text(_event_in(frame).get("type"))
            self._is_over = self._is_over or kind in TERMINAL_TYPES
            self._is_complete = self._is_complete or kind == "response.completed"
        return b"data: " + b"\ndata: ".join(frame.splitlines()) + b"\n\n"

    async def aclose(self) -> None:
        """Let the next request use the connection, if the response came to its good end."""
        if not self._is_complete:
            self._conversation.drop()
        self._conversation.is_busy = False


class WebSocketTransport:
    """Sends requests over one connection for each thread, which is replaced when it is ``oldest_s`` old."""

    def __init__(
        self,
        backend: Backend,
        auth: httpx.Auth | None,
        connector: Connector,
        *,
        oldest_s: float = OLDEST_S,
    ) -> None:
        self._backend = backend
        self._auth = auth
        self._connector = connector
        self._oldest_s = oldest_s
        self._conversations: dict[str, _Conversation] = {}
        self._refusals = 0

    async def warm_up(self, request: ResponsesRequest, handshake: httpx.Request) -> None:
        """Open the connection of a thread whose first question is being put together; nothing is sent on it."""
        if request.thread_id is None or request.thread_id in self._conversations:
            return
        if self._is_offered(handshake):
            conversation = self._conversations[request.thread_id] = _Conversation()
            async with conversation.opening:
                conversation.is_refused = await self._connect(handshake, conversation) is not None

    async def open(self, request: ResponsesRequest, handshake: httpx.Request) -> httpx.Response | None:
        """Send a request and return its response, unread; None where it is to be sent over HTTP.

        ``handshake`` is the request that opens a connection, unsigned. A connection that is lost before anything of the
        answer was seen is replaced once. CodexErrors of the login go through.
        """
        thread = request.thread_id
        if thread is None or request.throttle is not None or not self._is_offered(handshake):
            return None
        conversation = self._conversations.pop(thread, None) or _Conversation()
        self._conversations[thread] = conversation  # the last one used is the last one let go
        if conversation.is_busy:
            return None
        conversation.is_busy = True
        response: httpx.Response | None = None
        try:
            self._let_go()
            async with conversation.opening:
                is_refused, conversation.is_refused = conversation.is_refused, False
            if not is_refused:
                response = await self._ask(request, handshake, conversation)
        finally:
            conversation.is_busy = response is not None and response.is_success  # until that has been read
        return response

    def _is_offered(self, handshake: httpx.Request) -> bool:
        return self._refusals < MOST_REFUSALS and is_secure(str(handshake.url))

    async def _ask(
        self, request: ResponsesRequest, handshake: httpx.Request, conversation: _Conversation
    ) -> httpx.Response | None:
        body = request_fields(request, self._backend)
        for _ in range(TRIES):
            refusal = await self._connect(handshake, conversation)
            if refusal is not None:
                return refusal if refusal.status_code == httpx.codes.UNAUTHORIZED else None
            try:
                async with asyncio.timeout(self._backend.idle_timeout_s):
                    asked = await conversation.ask(self._with_metadata(body, request))
            except ConnectionLost:
                conversation.drop()
                continue
            except BaseException as error:
                self._refusals += isinstance(error, TimeoutError)
                conversation.drop()
                raise
            if asked is None:
                return None
            self._refusals = 0
            headers, first = asked
            headers["content-type"] = "text/event-stream"
            return httpx.Response(
                200,
                headers=headers,
                stream=_Frames(conversation, first),
                request=handshake,
                extensions={"codex_nb.finished": conversation.finished},
            )
        self._refusals += 1
        return None

    def _with_metadata(self, body: JsonObject, request: ResponsesRequest) -> JsonObject:
        """Add what HTTP has in the headers of each request."""
        if not self._backend.is_codex and not request.is_lite:
            return body
        metadata = {**body.get("client_metadata", {}), START_KEY: str(int(time.time() * 1000))}
        if request.is_lite:
            metadata[LITE_KEY] = "true"
        return {**body, "client_metadata": metadata}

    async def _connect(self, handshake: httpx.Request, conversation: _Conversation) -> httpx.Response | None:
        """Open a connection unless there is a good one, signed by the login of now; return how it is refused."""
        if self._auth is None:
            return await self._handshake(handshake, conversation)
        async with aclosing(self._auth.async_auth_flow(handshake)) as flow:
            signed = await anext(flow)
            while True:
                refusal = await self._handshake(signed, conversation)
                if refusal is None or refusal.status_code != httpx.codes.UNAUTHORIZED:
                    return refusal
                try:
                    signed = await flow.asend(refusal)
                except StopAsyncIteration:
                    return refusal

    async def _handshake(self, signed: httpx.Request, conversation: _Conversation) -> httpx.Response | None:
        headers = {**_handshake_headers(signed), TURN_STATE_HEADER: ""}  # of one turn only
        head = fingerprint([str(signed.url), sorted(headers.items())])
        if conversation.is_usable(head, self._oldest_s):
            return None
        conversation.drop()
        (rejected, told), conversation.rejected = conversation.rejected, (b"", b"")
        if head == rejected:
            return _refusal(httpx.codes.UNAUTHORIZED, told, signed)
        status, body = int(httpx.codes.SERVICE_UNAVAILABLE), b""
        try:
            connection = await self._connector.connect(signed)
        except InvalidStatus as error:
            status, body = error.response.status_code, bytes(error.response.body or b"")
        except (WebSocketException, OSError, ValueError, ImportError, EOFError):
            pass  # HTTP meets with the same, and says it better
        else:
            conversation.begin(connection, head)
            return None
        if status != httpx.codes.UNAUTHORIZED:
            self._refusals += MOST_REFUSALS if status == httpx.codes.UPGRADE_REQUIRED else 1
        return _refusal(status, body, signed)

    def _let_go(self) -> None:
        """Close the connections that were not used for the longest time."""
        idle = [thread for thread, each in self._conversations.items() if not each.is_busy]
        for thread in idle[: max(0, len(self._conversations) - MOST_CONNECTIONS)]:
            self._conversations.pop(thread).drop()

    async def close(self) -> None:
        """Close all connections."""
        conversations = list(self._conversations.values())
        self._conversations.clear()
        await asyncio.gather(*(each.close() for each in conversations))


def _refusal(status: int, body: bytes, signed: httpx.Request) -> httpx.Response:
    return httpx.Response(status, content=body, headers={"content-type": "application/json"}, request=signed)
