"""The base of all handlers, and the response writer: record a request, answer it by a scenario or a handler."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import struct
from asyncio import Future
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, assert_never

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler

from codex_nb.simulator import scenario
from codex_nb.simulator import scenario as refusals
from codex_nb.simulator.accounts import Person, usage_of
from codex_nb.simulator.events import Emission, ResponseWriter
from codex_nb.simulator.parsed_request import UndecodableBodyError, decode_body
from codex_nb.simulator.scenario import WEBSOCKET, Hold, Pause, Reply
from codex_nb.simulator.state import RecordedRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tornado.iostream import IOStream

    from codex_nb.simulator.state import World


_FLUSH_BYTES = 8 * 1024

Usage = Callable[[list[dict[str, Any]]], Mapping[str, Any]]


class ClientGoneError(Exception):
    """The client closed the connection before the reply's end."""


async def play(handler: Handler, reply: scenario.Reply, usage: Usage, headers: Mapping[str, str]) -> None:
    """Send a reply; ``headers`` are the backend's usual ones for an event stream."""
    if reply.wire is not None:
        await _play_wire(handler, reply.wire)
        return
    handler.set_status(reply.status)
    if reply.stream is not None:
        await _play_stream(handler, reply, usage, headers)
        return
    for name, value in reply.headers.items():
        handler.set_header(name, value)
    if isinstance(reply.body, bytes | str):
        handler.finish(reply.body)
        return
    if "content-type" not in {name.lower() for name in reply.headers}:
        handler.set_header("content-type", "application/json")
    handler.finish(b"" if reply.body is None else json.dumps(reply.body))


async def _play_stream(
    handler: Handler, reply: scenario.Reply, usage: Usage, headers: Mapping[str, str]
) -> None:
    for name, value in {
        "content-type": "text/event-stream; charset=utf-8",
        **headers,
        **reply.headers,
    }.items():
        handler.set_header(name, value)
    player = _StreamPlayer(handler, usage)
    if await player.play(reply.stream or ()):
        handler.finish()


class _StreamPlayer:
    """Plays the steps of one event stream."""

    def __init__(self, handler: Handler, usage: Usage) -> None:
        request = handler.json_body
        self._handler = handler
        self._usage = usage
        self._writer = ResponseWriter(request, handler.world.clock())
        self._opened = False
        self._buffer = bytearray()

    async def play(self, steps: Iterable[scenario.Step]) -> bool:
        """Send the steps; False when one of them has ended the connection."""
        for step in steps:
            if isinstance(step, scenario.Cut):
                await self._flush()
                await _cut(self._handler, step)
                return False
            await self._play_step(step)
        await self._flush()
        return True

    async def _play_step(self, step: scenario.Step) -> None:
        match step:
            case scenario.Raw(data):
                self._buffer += data
            case scenario.Event(name=name):
                self._put(self._writer.given(step), name)
            case scenario.Hold() | scenario.Pause():
                await self._emit(step)
            case scenario.End():
                self._open()
                self._put(self._writer.end(step, self._usage(self._writer.output)))
            case _:
                self._open()
                for emission in self._emissions(step):
                    await self._emit(emission)

    def _emissions(self, step: scenario.Step) -> Iterator[Emission]:
        match step:
            case scenario.Think():
                return self._writer.think(step)
            case scenario.Say():
                return self._writer.say(step)
            case scenario.Call():
                return self._writer.call(step)
            case scenario.CustomCall():
                return self._writer.custom_call(step)
            case scenario.Item():
                return self._writer.item(step)
        message = f"not an item: {step}"
        raise TypeError(message)

    def _open(self) -> None:
        if not self._opened:
            self._opened = True
            for event in self._writer.opening():
                self._put(event)

    async def _emit(self, emission: Emission) -> None:
        match emission:
            case scenario.Pause(seconds):
                if seconds > 0:
                    await self._flush()
                    await self._handler.sleep(seconds)
            case scenario.Hold(gate):
                await self._flush()
                await self._handler.hold(gate)
            case dict():
                self._put(emission)
                if len(self._buffer) >= _FLUSH_BYTES:
                    await self._flush()
            case _:
                assert_never(emission)

    def _put(self, event: Mapping[str, Any], name: str | None = None) -> None:
        name = str(event.get("type", "")) if name is None else name
        head = f"event: {name}\n" if name else ""
        self._buffer += f"{head}data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()

    async def _flush(self) -> None:
        if self._buffer:
            self._handler.write(bytes(self._buffer))
            self._buffer.clear()
        try:
            await self._handler.flush()
        except StreamClosedError as error:
            raise ClientGoneError from error


async def _cut(handler: Handler, step: scenario.Cut) -> None:
    stream = handler.detach()
    handler.note_cut()
    if step.how == "truncate":
        with suppress(StreamClosedError):
            await stream.write(b'400\r\nevent: response.output_text.delta\ndata: {"type":')
    if step.how == "reset":
        _reset(stream)
    stream.close()


async def _play_wire(handler: Handler, wire: scenario.Wire) -> None:
    stream = handler.detach()
    handler.note_cut()
    with suppress(StreamClosedError):
        for number, chunk in enumerate(wire.chunks):
            if number and wire.pause_s:
                await asyncio.sleep(wire.pause_s)
            await stream.write(chunk)
        if not wire.close:
            await stream.read_until_close()
    if wire.reset:
        _reset(stream)
    stream.close()


def _reset(stream: IOStream) -> None:
    """Let closing the socket send a TCP reset instead of an orderly end."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Handler(RequestHandler):
    """One request to the simulator."""

    world: World
    recorded: RecordedRequest

    def initialize(self, world: World) -> None:
        """Take the shared state."""
        self.world = world
        self._closed = asyncio.Event()
        self._cached_tokens = 0
        self._loses_answer = False

    def set_default_headers(self) -> None:
        """Say who answers."""
        self.clear_header("Server")
        self.set_header("x-simulator", "codex_nb")
        self.set_header("x-request-id", "req_sim_" + secrets.token_hex(12))

    def check_xsrf_cookie(self) -> None:
        """Do nothing: the forms of the pages change nothing but the simulator."""

    async def prepare(self) -> None:
        """Record the request and give the scenario's reply when there is one."""
        request = self.request
        headers = {name.lower(): value for name, value in request.headers.get_all()}
        query = {name: values[-1].decode() for name, values in request.query_arguments.items()}
        method = WEBSOCKET if headers.get("upgrade", "").lower() == "websocket" else str(request.method)
        self.recorded = RecordedRequest(method, request.path, query, headers, raw_body=request.body)
        problem = self._decode(headers)
        self.world.log.add(self.recorded)
        if problem is not None:
            await self.play(refusals.detail(problem.status, str(problem)))
            return
        reply = self.world.script.take(method, request.path, self._accepted)
        if reply is not None and reply.then == "reply":
            self.recorded.answered_by = "scenario"
            await self.play(reply)
        elif reply is not None:
            self._loses_answer = reply.then == "lost"
            await self._wait_for(reply)

    async def _wait_for(self, reply: Reply) -> None:
        """Stand still as long as a reply wants it; a client that has left does not undo what it asked for."""
        with suppress(ClientGoneError):
            for step in reply.stream or ():
                if isinstance(step, Pause):
                    await self.sleep(step.seconds)
                elif isinstance(step, Hold):
                    await self.hold(step.gate)

    def finish(self, chunk: str | bytes | dict[str, Any] | None = None) -> Future[None]:
        """Send the answer, or end the connection without it where a scenario says so."""
        if not self._loses_answer:
            return super().finish(chunk)
        self.note_cut()
        self.detach().close()
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def _decode(self, headers: Mapping[str, str]) -> UndecodableBodyError | None:
        kind, encoding = headers.get("content-type", ""), headers.get("content-encoding", "")
        try:
            self.recorded.body = decode_body(self.request.body, kind, encoding)
        except UndecodableBodyError as error:
            return error
        return None

    def _accepted(self) -> bool:
        is_chatgpt = self.request.path.startswith("/backend-api")
        return isinstance(self.chatgpt_person() if is_chatgpt else self.api_person(), Person)

    @property
    def json_body(self) -> dict[str, Any]:
        """The body when it is an object, else an empty one."""
        body = self.recorded.body
        return body if isinstance(body, dict) else {}

    async def play(self, reply: Reply) -> None:
        """Send a reply and note how it ended."""

        def usage(output: list[dict[str, Any]]) -> Mapping[str, Any]:
            return usage_of(self.json_body, output, self._cached_tokens)

        if self.request.path.endswith("/responses") and self.request.method == "POST":
            key, items = self.json_body.get("prompt_cache_key"), self.json_body.get("input")
            self._cached_tokens = self.world.cache.cached_tokens(
                key, items if isinstance(items, list) else []
            )
        try:
            await play(self, reply, usage, self.stream_headers())
        except ClientGoneError:
            self.world.log.update(self.recorded, "client_closed", self.get_status())
            self.detach()

    def stream_headers(self) -> Mapping[str, str]:
        """Headers of an event stream; the responses handler adds its own."""
        return {"cache-control": "no-cache"}

    async def sleep(self, seconds: float) -> None:
        """Wait; ClientGoneError when the client leaves meanwhile."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), seconds)
            raise ClientGoneError

    async def hold(self, gate: str) -> None:
        """Wait for the gate; ClientGoneError when the client leaves before it opens."""
        gates = self.world.gates
        gates.note_reached(gate)
        waits = [asyncio.ensure_future(each.wait()) for each in (gates.gate(gate), self._closed)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self._closed.is_set():
            raise ClientGoneError

    def note_cut(self) -> None:
        """Record that the simulator itself ends the connection."""
        self.world.log.update(self.recorded, "cut", self.get_status())

    def on_finish(self) -> None:
        """Record the end of an ordinary reply."""
        self.world.log.update(self.recorded, "answered", self.get_status())

    def on_connection_close(self) -> None:
        """Record that the client left, and let the reply know."""
        self._closed.set()
        self.world.log.update(self.recorded, "client_closed", self.get_status())

    def write_error(self, status_code: int, **_: object) -> None:
        """Answer errors of the simulator itself in the backend's short form."""
        self.set_header("content-type", "application/json")
        self.finish(json.dumps({"detail": self._reason or str(status_code)}))

    def write_json(self, value: object, status: int = 200) -> None:
        """Answer with a JSON value."""
        self.set_status(status)
        self.set_header("content-type", "application/json")
        self.finish(json.dumps(value))

    def chatgpt_person(self) -> Person | str:
        """Who asks the ChatGPT backend, or why the credentials are not accepted."""
        scheme, _, value = self.request.headers.get("authorization", "").partition(" ")
        if scheme == "AgentAssertion":
            return self.world.agents.check_assertion(value) or "unknown"
        if value.startswith("at-"):
            return self.world.tokens.check_personal_token(value) or "unknown"
        return self.world.tokens.check_access(value)

    def api_person(self) -> Person | None:
        """Who asks the API with a key."""
        return self.world.tokens.check_api_key(self.bearer)

    @property
    def bearer(self) -> str:
        """The bearer token of the request, empty without one."""
        scheme, _, value = self.request.headers.get("authorization", "").partition(" ")
        return value if scheme.lower() == "bearer" else ""


class ChatGptHandler(Handler):
    """A handler of the ChatGPT backend: answers 401 to everybody it does not know."""

    person: Person

    async def prepare(self) -> None:
        """Record, let the scenario answer, then check the credentials."""
        await super().prepare()
        if self._finished:
            return
        person = self.chatgpt_person()
        if isinstance(person, Person):
            self.person = person
        else:
            await self.play(refusals.unauthorized(person))


class ApiHandler(Handler):
    """A handler of the API with keys."""

    person: Person

    async def prepare(self) -> None:
        """Record, let the scenario answer, then check the key."""
        await super().prepare()
        if self._finished:
            return
        person = self.api_person()
        if person is not None:
            self.person = person
        elif self.bearer:
            await self.play(refusals.incorrect_api_key(self.bearer))
        else:
            message = "You didn't provide an API key."
            await self.play(Reply(status=401, body=refusals.error_body(message, None)))


class NotHere(Handler):
    """Any other address."""

    def get(self, *_: str) -> Awaitable[None] | None:
        """Answer 404."""
        raise HTTPError(404)

    post = put = patch = delete = get
