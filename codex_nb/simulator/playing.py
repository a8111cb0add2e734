"""Playing a reply: steps become bytes on the connection, in time and with the faults they ask for."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, assert_never

from tornado.iostream import StreamClosedError

from codex_nb.simulator import scenario
from codex_nb.simulator.events import Emission, ResponseWriter

if TYPE_CHECKING:
    from tornado.iostream import IOStream

    from codex_nb.simulator.handling import Handler

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
