"""The base of all request handlers: decodes and records a request, sends a scenario's reply, checks credentials.

The last part of the module sends replies: it writes the steps of a scenario to the connection, with their delays and
faults.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import struct
import zlib
from abc import ABC, abstractmethod
from asyncio import Future
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, assert_never
from urllib.parse import parse_qsl

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler

from codex_nb.simulator import error_replies
from codex_nb.simulator.accounts import Account
from codex_nb.simulator.responses import ResponseWriter, estimated_usage
from codex_nb.simulator.scenario import WEBSOCKET, Cut, End, Event, Hold, Pause, Raw
from codex_nb.simulator.state import RecordedRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tornado.iostream import IOStream

    from codex_nb.simulator.credentials import TokenProblem
    from codex_nb.simulator.responses import Emission, ItemStep
    from codex_nb.simulator.scenario import Reply, Step, Wire
    from codex_nb.simulator.state import State


# Request bodies


class RefusedError(ValueError):
    """A request comes from elsewhere, or its body cannot be decoded; ``status`` is the status of the response."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


LOOPBACK_NAMES = {"127.0.0.1", "localhost", "::1"}
MAX_BODY_BYTES = 16 * 1024 * 1024  # on the wire and decompressed
MAX_BODY_VALUES = 500_000  # of JSON, counted by its commas and brackets
MAX_FORM_BYTES = 256 * 1024


def decode_body(data: bytes, content_type: str) -> Any:
    """The JSON value, form fields or text of a body, None when it is empty; RefusedError when it is not valid."""
    if not data:
        return None
    if content_type.startswith("application/x-www-form-urlencoded"):
        if len(data) > MAX_FORM_BYTES:
            raise RefusedError("The form is too large.", 413)
        return dict(parse_qsl(data.decode(errors="replace"), keep_blank_values=True))
    if "json" not in content_type:
        return data.decode(errors="replace")
    if sum(map(data.count, (b",", b"[", b"{"))) > MAX_BODY_VALUES:
        raise RefusedError("The request body holds too many values.", 413)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RefusedError("We could not parse the JSON body of your request.", 400) from error


def decompress(raw: bytes, encoding: str) -> bytes:
    """The body as it was before its compression; RefusedError when it is not valid, or too large."""
    try:
        match encoding:
            case "" | "identity":
                data = raw
            case "gzip":
                data = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(raw, MAX_BODY_BYTES + 1)
            case "zstd":
                data = _decompress_zstd(raw)
            case _:
                raise RefusedError(f"Content encoding {encoding} is not supported.", 415)
    except RefusedError:
        raise
    except Exception as error:
        raise RefusedError(f"The request body is not valid {encoding}.", 400) from error
    if len(data) > MAX_BODY_BYTES:
        raise RefusedError("The request body is too large.", 413)
    return data


def _decompress_zstd(raw: bytes) -> bytes:
    try:
        zstandard = import_module("zstandard")
    except ImportError as error:
        raise RefusedError(
            "Request bodies in zstd require the zstandard package in the simulator's environment.", 415
        ) from error
    with zstandard.ZstdDecompressor(max_window_size=MAX_BODY_BYTES).stream_reader(raw) as reader:
        data: bytes = reader.read(MAX_BODY_BYTES + 1)
    if raw and not data:
        raise RefusedError("The request body is not valid zstd.", 400)
    return data


# Handlers


class ClientClosedError(Exception):
    """The client closed the connection before the end of the reply."""


class Handler(RequestHandler):
    """A request to the simulator; ``truncated`` is the beginning of an event, with the length of a longer one."""

    truncated = b'400\r\nevent: response.output_text.delta\ndata: {"type":'
    state: State
    recorded: RecordedRequest

    def initialize(self, state: State) -> None:
        """Keep the shared state and the request, whose body Tornado would decode without a bound."""
        self.state = state
        self._client_closed = asyncio.Event()
        self._cached_tokens = 0
        self._drops_response = False
        request = self.request
        headers = {name.lower(): value for name, value in request.headers.get_all()}
        self.recorded = RecordedRequest(
            WEBSOCKET if headers.get("upgrade", "").lower() == "websocket" else str(request.method),
            request.path,
            {name: values[-1].decode() for name, values in request.query_arguments.items()},
            headers,
            raw_body=request.body,
            connection=request.connection.context.address[1],  # type: ignore[union-attr]  # an HTTP1Connection
        )
        request.body = b""

    def set_default_headers(self) -> None:
        """Identify the simulator and the request."""
        self.clear_header("Server")
        self.set_header("x-simulator", "codex_nb")
        self.set_header("x-request-id", "req_sim_" + secrets.token_hex(12))

    def check_xsrf_cookie(self) -> None:
        """Accept forms without a token: no real account depends on them."""

    async def prepare(self) -> None:
        """Log the request, and send the scenario's reply if there is one."""
        error = self._foreign() or self._decode_body(self.recorded.headers)
        self.state.log.add(self.recorded)
        if error is not None:
            await self.send_reply(error_replies.detail(error.status, str(error)))
            return
        reply = self.state.replies.take(self.recorded.method, self.recorded.path, self._is_authenticated)
        if reply is not None and reply.then == "reply":
            self.recorded.answered_by = "scenario"
            await self.send_reply(reply)
        elif reply is not None:
            self._drops_response = reply.then == "lost"
            await self._delay(reply)

    def _foreign(self) -> RefusedError | None:
        """The refusal of what a web page of elsewhere makes a browser send, by another name or by a form."""
        headers, own = self.request.headers, f"{self.request.protocol}://{self.request.host}"
        is_foreign = headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}
        if self.request.host_name.strip("[]") not in LOOPBACK_NAMES:
            refusal = "The simulator answers at 127.0.0.1 and localhost only."
        elif self.request.method not in {"GET", "HEAD"} and (is_foreign or headers.get("Origin", own) != own):
            refusal = "The request comes from another site."
        else:
            return None
        self.recorded.raw_body = b""
        return RefusedError(refusal, 403)

    def _decode_body(self, headers: Mapping[str, str]) -> RefusedError | None:
        try:
            data = decompress(self.recorded.raw_body, headers.get("content-encoding", "").strip().lower())
            self.recorded.size = len(data)
            self.recorded.body = decode_body(data, headers.get("content-type", ""))
        except RefusedError as error:
            self.recorded.raw_body = b""
            return error
        return None

    def _is_authenticated(self) -> bool:
        is_chatgpt = self.request.path.startswith("/backend-api")
        return isinstance(self.chatgpt_account() if is_chatgpt else self.api_account(), Account)

    async def _delay(self, reply: Reply) -> None:
        """Wait for the pauses and gates of a reply; a client that closes the connection does not undo its request."""
        with suppress(ClientClosedError):
            for step in reply.stream or ():
                if isinstance(step, Pause):
                    await self.sleep(step.seconds)
                elif isinstance(step, Hold):
                    await self.wait_for_gate(step.gate)

    def finish(self, chunk: str | bytes | dict[str, Any] | None = None) -> Future[None]:
        """Send the response, or close the connection without it where the scenario demands that."""
        if not self._drops_response:
            return super().finish(chunk)
        self.record_cut()
        self.detach().close()
        done: Future[None] = Future()
        done.set_result(None)
        return done

    @property
    def json_body(self) -> dict[str, Any]:
        """The body if it is an object, otherwise an empty one."""
        body = self.recorded.body
        return body if isinstance(body, dict) else {}

    def write_json(self, value: object, status: int = 200) -> None:
        """Respond with a JSON value."""
        self.set_status(status)
        self.set_header("content-type", "application/json")
        self.finish(json.dumps(value))

    def write_error(self, status_code: int, **_: object) -> None:
        """Respond to an error of the simulator itself in the backend's short form."""
        self.set_header("content-type", "application/json")
        self.finish(json.dumps({"detail": self._reason or str(status_code)}))

    async def send_reply(self, reply: Reply) -> None:
        """Send a reply and record its outcome."""
        if self.request.path.endswith("/responses") and self.request.method == "POST":
            self.count_cached_tokens()
        try:
            await _send(self, reply)
        except ClientClosedError:
            self.state.log.update(self.recorded, "client_closed", self.get_status())
            self.detach()

    @property
    def wants_whole(self) -> bool:
        """Whether the response is asked for as one object in place of a stream."""
        return False

    def keep_response(self, response: Mapping[str, Any]) -> None:
        """Keep a finished response for requests that follow upon it."""

    def stream_headers(self) -> Mapping[str, str]:
        """The headers of an event stream."""
        return {"cache-control": "no-cache"}

    def count_cached_tokens(self) -> None:
        """Look the input up in the prompt cache, and add it."""
        key, items = self.json_body.get("prompt_cache_key"), self.json_body.get("input")
        self._cached_tokens = self.state.cache.cached_tokens(key, items if isinstance(items, list) else [])

    def usage(self, output: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """The usage of a response with these output items."""
        return estimated_usage(self.json_body, output, self._cached_tokens)

    async def sleep(self, seconds: float) -> None:
        """Wait; ClientClosedError when the client closes the connection meanwhile."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._client_closed.wait()
            raise ClientClosedError

    async def wait_for_gate(self, name: str) -> None:
        """Wait until the gate is released; ClientClosedError when the client closes the connection first."""
        gates = self.state.gates
        gates.mark_reached(name)
        waits = [asyncio.ensure_future(each.wait()) for each in (gates.gate(name), self._client_closed)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self._client_closed.is_set():
            raise ClientClosedError

    def record_cut(self) -> None:
        """Record that the simulator closes the connection."""
        self.state.log.update(self.recorded, "cut", self.get_status())

    def on_finish(self) -> None:
        """Record the end of a complete response."""
        self.state.log.update(self.recorded, "answered", self.get_status())

    def on_connection_close(self) -> None:
        """Record that the client closed the connection, and stop waiting."""
        self._client_closed.set()
        self.state.log.update(self.recorded, "client_closed", self.get_status())

    @property
    def bearer(self) -> str:
        """The bearer token of the request, empty where there is none."""
        scheme, _, value = self.request.headers.get("authorization", "").partition(" ")
        return value if scheme.lower() == "bearer" else ""

    def chatgpt_account(self) -> Account | TokenProblem:
        """The account whose credentials the ChatGPT backend sees, or why it rejects them."""
        scheme, _, value = self.request.headers.get("authorization", "").partition(" ")
        if scheme == "AgentAssertion":
            return self.state.agents.check_assertion(value) or "unknown"
        if value.startswith("at-"):
            return self.state.tokens.check_personal_token(value) or "unknown"
        return self.state.tokens.check_access_token(value)

    def api_account(self) -> Account | None:
        """The account of the API key, None where the key is missing or unknown."""
        return self.state.tokens.check_api_key(self.bearer)


class ChatGptHandler(Handler):
    """An endpoint of the ChatGPT backend; requests without valid credentials get a 401."""

    account: Account

    async def prepare(self) -> None:
        """Check the credentials where the scenario has no reply."""
        await super().prepare()
        if self._finished:
            return
        account = self.chatgpt_account()
        if isinstance(account, Account):
            self.account = account
        else:
            await self.send_reply(error_replies.unauthorized(account))


class ApiHandler(Handler):
    """An endpoint of the API; requests without a valid key get a 401."""

    account: Account

    async def prepare(self) -> None:
        """Check the key where the scenario has no reply."""
        await super().prepare()
        if self._finished:
            return
        account = self.api_account()
        if account is not None:
            self.account = account
        else:
            await self.send_reply(error_replies.incorrect_api_key(self.bearer))


class NotFoundHandler(Handler):
    """Every other path."""

    def get(self, *_: str) -> None:
        """Respond with 404."""
        raise HTTPError(404)

    post = put = patch = delete = get


# Sending replies

_FLUSH_BYTES = 8 * 1024
_TERMINAL = {"completed", "incomplete", "failed"}


async def _send(handler: Handler, reply: Reply) -> None:
    if reply.wire is not None:
        await send_wire(handler, reply.wire)
        return
    handler.set_status(reply.status)
    if reply.stream is not None:
        await _send_stream(handler, reply, reply.stream)
        return
    for name, value in reply.headers.items():
        handler.set_header(name, value)
    if isinstance(reply.body, bytes | str):
        handler.finish(reply.body)
        return
    if "content-type" not in {name.lower() for name in reply.headers}:
        handler.set_header("content-type", "application/json")
    handler.finish(b"" if reply.body is None else json.dumps(reply.body))


async def _send_stream(handler: Handler, reply: Reply, steps: Iterable[Step]) -> None:
    sender: StreamSender = WholeSender(handler) if handler.wants_whole else EventStreamSender(handler)
    content_type = {"content-type": sender.content_type}
    for name, value in {**content_type, **handler.stream_headers(), **reply.headers}.items():
        handler.set_header(name, value)
    if await sender.send(steps):
        handler.finish()


class StreamSender(ABC):
    """Sends the steps of a response; a subclass says how its events travel."""

    content_type = "application/json"

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.writer = ResponseWriter(handler.json_body, handler.state.clock())
        self._started = False

    async def send(self, steps: Iterable[Step]) -> bool:
        """Send the steps; False when one of them has closed the connection."""
        for step in steps:
            if isinstance(step, Cut):
                await self.flush()
                await _cut(self.handler, step)
                return False
            await self._send_step(step)
        await self.flush()
        return True

    @abstractmethod
    def write(self, event: Mapping[str, Any], name: str | None = None) -> None:
        """Take an event; ``name`` replaces its type in the event stream's own line."""

    @abstractmethod
    def write_raw(self, data: bytes) -> None:
        """Take bytes that are sent as given."""

    @abstractmethod
    async def flush(self) -> None:
        """Send what was taken; ClientClosedError when the client is gone."""

    @property
    def is_full(self) -> bool:
        """Whether enough was taken to be sent."""
        return False

    async def _send_step(self, step: ItemStep | Event | End | Hold | Pause | Raw) -> None:
        match step:
            case Raw():
                self.write_raw(step.data)
            case Event():
                self.write(self.writer.given_event(step), step.name)
            case Hold() | Pause():
                await self._emit(step)
            case End():
                self._start()
                final = self.writer.end(step, self.handler.usage(self.writer.output))
                self.handler.keep_response(final["response"])
                self.write(final)
            case _:
                self._start()
                for emission in self.writer.output_item(step):
                    await self._emit(emission)

    def _start(self) -> None:
        if not self._started:
            self._started = True
            for event in self.writer.start():
                self.write(event)

    async def _emit(self, emission: Emission) -> None:
        match emission:
            case Pause(seconds):
                if seconds > 0:
                    await self.flush()
                    await self.handler.sleep(seconds)
            case Hold(gate):
                await self.flush()
                await self.handler.wait_for_gate(gate)
            case dict():
                self.write(emission)
                if self.is_full:
                    await self.flush()
            case _:
                assert_never(emission)


class EventStreamSender(StreamSender):
    """Sends the events as server-sent events."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, handler: Handler) -> None:
        super().__init__(handler)
        self._buffer = bytearray()

    def write(self, event: Mapping[str, Any], name: str | None = None) -> None:
        """Take an event with its lines."""
        name = str(event.get("type", "")) if name is None else name
        line = f"event: {name}\n" if name else ""
        self._buffer += f"{line}data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()

    def write_raw(self, data: bytes) -> None:
        """Take bytes of the body."""
        self._buffer += data

    @property
    def is_full(self) -> bool:
        """Whether there is a packet's worth."""
        return len(self._buffer) >= _FLUSH_BYTES

    async def flush(self) -> None:
        """Send what was taken."""
        if self._buffer:
            self.handler.write(bytes(self._buffer))
            self._buffer.clear()
        try:
            await self.handler.flush()
        except StreamClosedError as error:
            raise ClientClosedError from error


class WholeSender(StreamSender):
    """Sends the response as one JSON object, at its end."""

    def write(self, event: Mapping[str, Any], name: str | None = None) -> None:
        """Take the response of the terminal event; the others are in it."""
        del name
        response = event.get("response")
        if isinstance(response, dict) and response.get("status") in _TERMINAL:
            self.handler.write(json.dumps(response))

    def write_raw(self, data: bytes) -> None:
        """Take bytes of the body."""
        self.handler.write(data)

    async def flush(self) -> None:
        """Send nothing before the end."""


async def _cut(handler: Handler, step: Cut) -> None:
    stream = handler.detach()
    handler.record_cut()
    if step.how == "truncate":
        with suppress(StreamClosedError):
            await stream.write(handler.truncated)
    close_stream(stream, reset=step.how == "reset")


async def send_wire(handler: Handler, wire: Wire) -> None:
    """Write bytes to the connection, below the protocol."""
    stream = handler.detach()
    handler.record_cut()
    with suppress(StreamClosedError):
        for number, chunk in enumerate(wire.chunks):
            if number and wire.pause_s:
                await asyncio.sleep(wire.pause_s)
            await stream.write(chunk)
        if not wire.close:
            await stream.read_until_close()
    close_stream(stream, reset=wire.reset)


def close_stream(stream: IOStream, *, reset: bool) -> None:
    """Close the connection; with ``reset``, by a TCP reset."""
    if reset:
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()
