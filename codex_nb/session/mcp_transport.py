"""How MCP servers are reached: a program's stdin and stdout, or streamable HTTP. The only module that imports ``mcp``.

Importing it takes most of a second, so it is imported on a thread of its own, when a server is configured.
A server is trusted with nothing: what it sends is bounded, and its program ends with ours.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.message import SessionMessage
from mcp_types import ElicitRequestParams, ElicitResult, Implementation, jsonrpc_message_adapter

from codex_nb.config import __version__
from codex_nb.http import Proxies, httpx, is_secure, keep_out_of_logs, mark_as_ours, tls_context
from codex_nb.parse import loads
from codex_nb.session.mcp import MOST_MESSAGES

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from mcp.client._transport import TransportStreams

    from codex_nb.config.config_toml import McpServer
    from codex_nb.parse import JsonObject
    from codex_nb.session.mcp import Wire

# Without a handler of its own, the library's log would be printed into the notebook.
logging.getLogger("mcp").addHandler(logging.NullHandler())
keep_out_of_logs("httpcore2", "httpx2", "mcp.client.streamable_http")

LARGEST_MESSAGE = 8_000_000  # bytes
_MESSAGE_MEMORY = 48_000_000  # bytes, of what is parsed of one
_WIDTH = 4  # bytes of memory that a byte of text can take
_BYTES_OF_A_VALUE = 330
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r)(?=[\r\n])")
_TOO_LARGE = f"it sent a message of more than {LARGEST_MESSAGE // 1_000_000} MB, or of too many values"
_PLAIN = "identity"  # no compression
GRACE_S = 1.0  # for a program to end by itself, and again to end when it is told to
_TAIL = 2_000
# Kills the process group of a server when the pipe breaks, which it does however we end.
_WATCH = """\
import os, signal, sys
if not sys.stdin.buffer.read():
    try:
        os.killpg(int(sys.argv[1]), signal.SIGKILL)
    except OSError:
        pass
"""


@asynccontextmanager
async def open_session(
    server: McpServer,
    wire: Wire,
    ca_certificate: Path | None,
    environ: Mapping[str, str],
    elicit: Callable[[JsonObject], Awaitable[JsonObject]],
) -> AsyncGenerator[JSONRPCDispatcher[Any], None]:
    """Connect to a server and introduce ourselves; requests go through the dispatcher.

    Proxies come from ``environ``. ``elicit`` answers what the server asks the user. Raises what the transports raise:
    MCPError, OSError, ValueError, errors of HTTP.
    """
    if server.command is None:
        proxy = Proxies.of(environ).find(httpx.URL(server.url))
        transport = _http(server, wire, tls_context(ca_certificate), proxy[1] if proxy is not None else None)
    else:
        transport = _program(server, wire)
    async with transport as (reading, writing):
        dispatcher: JSONRPCDispatcher[Any] = JSONRPCDispatcher(reading, writing)
        introduction = Implementation(name="codex_nb", title="codex_nb", version=__version__)

        async def answer(context: object, params: ElicitRequestParams) -> ElicitResult:
            del context
            return ElicitResult.model_validate(await elicit(params.model_dump(mode="json", by_alias=True)))

        async with ClientSession(
            dispatcher=dispatcher, client_info=introduction, elicitation_callback=answer
        ) as session:
            await session.initialize()
            yield dispatcher


@asynccontextmanager
async def _program(server: McpServer, wire: Wire) -> AsyncGenerator[TransportStreams, None]:
    environ = {name: value.get_secret_value() for name, value in server.environ.items()}
    process = await asyncio.create_subprocess_exec(
        *(server.command or "", *server.args),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=environ,
        cwd=server.cwd,
        limit=LARGEST_MESSAGE,
        start_new_session=True,
    )
    watch = _watched(process.pid)  # nothing is awaited between: a cancellation would lose one of them
    to_session, reading = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    writing, from_session = anyio.create_memory_object_stream[SessionMessage](0)
    tasks = [
        asyncio.create_task(_read(process.stdout, to_session, wire)),
        asyncio.create_task(_write(process.stdin, from_session)),
        asyncio.create_task(_read_errors(process.stderr, wire)),
    ]
    try:
        yield reading, writing
    finally:
        for task in tasks:
            task.cancel()
        for stream in (to_session, reading, writing, from_session):
            stream.close()
        ending = asyncio.create_task(_end(process, tasks))
        while not ending.done():  # whatever is cancelled meanwhile; it takes a few seconds at most
            with suppress(asyncio.CancelledError):
                await asyncio.shield(ending)
        if watch is not None:
            watch.communicate(b".")


def _watched(pid: int) -> subprocess.Popen[bytes] | None:
    """Start what ends a server's program, and all that it has started, when this process is killed."""
    if sys.platform == "win32" or not sys.executable:
        return None
    command = (sys.executable, "-I", "-S", "-c", _WATCH, str(pid))
    return subprocess.Popen(
        command, stdin=PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


class _JsonSize:
    """Estimates from above what JSON text takes in memory once it is parsed; it may arrive in pieces."""

    def __init__(self) -> None:
        self._in_text = False
        self._escaping = b""
        self.memory = 0

    def add(self, piece: bytes) -> bool:
        """Take the next bytes; return whether it is too much."""
        self.memory += _WIDTH * len(piece)
        piece = _ESCAPE.sub(b"", self._escaping + piece)
        self._escaping = b"\\" if piece.endswith(b"\\") else b""
        for line in piece.splitlines(keepends=True):  # no text goes over a line
            parts = line.split(b'"')
            for part in parts[self._in_text :: 2]:
                values = part.count(b",") + part.count(b"[") + part.count(b"{")
                self.memory += _BYTES_OF_A_VALUE * values
            self._in_text = self._in_text == (len(parts) % 2 == 1) and not line.endswith((b"\n", b"\r"))
        return self.memory > _MESSAGE_MEMORY


async def _read(output: Any, session: Any, wire: Wire) -> None:
    """Hand on the messages; a line that is none is skipped, as servers print logs there."""
    try:
        while line := await output.readline():
            if wire.count():
                break
            if _JsonSize().add(line):
                wire.problem = _TOO_LARGE
                break
            with suppress(ValueError):
                await session.send(SessionMessage(_message(line)))
    except ValueError:  # from the reader: a line without an end
        wire.problem = _TOO_LARGE
    except (anyio.ClosedResourceError, anyio.BrokenResourceError):
        pass
    finally:
        wire.ended.set()
        session.close()


def _message(line: bytes) -> Any:
    """Parse a message; half a surrogate pair in it, which not every program's JSON refuses, is a question mark."""
    try:
        return jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        if b"\\u" not in line:
            raise
        return jsonrpc_message_adapter.validate_python(loads(line), by_name=False)


async def _write(program: Any, session: Any) -> None:
    with suppress(OSError, anyio.EndOfStream, anyio.ClosedResourceError):
        async for each in session:
            line = each.message.model_dump_json(by_alias=True, exclude_unset=True)
            program.write(line.encode("utf-8", "replace") + b"\n")
            await program.drain()


async def _read_errors(log: Any, wire: Wire) -> None:
    """Keep the end of what the program says in the log."""
    tail = b""
    while chunk := await log.read(_TAIL):
        tail = (tail + chunk)[-_TAIL:]
        lines = tail.decode("utf-8", "replace").strip().splitlines()
        if lines:
            wire.last_words = lines[-1]


async def _end(process: asyncio.subprocess.Process, tasks: list[asyncio.Task[None]]) -> None:
    """Let the program end by itself: its input ends, then it is told to; then it is killed, and what it has started."""
    try:
        await asyncio.gather(*tasks, return_exceptions=True)
        if process.stdin is not None:
            process.stdin.close()
        if not await _has_ended(process):
            _signal_group(process, signal.SIGTERM)
            await _has_ended(process)
    finally:
        _signal_group(process, getattr(signal, "SIGKILL", signal.SIGTERM))
    with suppress(TimeoutError):  # read what is left, so that the pipes are closed
        async with asyncio.timeout(GRACE_S):
            await process.communicate()


async def _has_ended(process: asyncio.subprocess.Process) -> bool:
    # Looked up again and again: process.wait() would also wait for whoever has inherited the pipes.
    deadline = asyncio.get_running_loop().time() + GRACE_S
    while process.returncode is None and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return process.returncode is not None


def _signal_group(process: asyncio.subprocess.Process, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.terminate()
        else:
            os.killpg(process.pid, number)


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size, events, last, parsed = 0, 0, b"", _JsonSize()
        async for chunk in self._stream:
            size += len(chunk)
            events += len(_BLANK_LINE.findall(last + chunk))
            last = chunk[-1:]
            if size > LARGEST_MESSAGE or events > MOST_MESSAGES or parsed.add(chunk):
                raise httpx2.ReadError("the reply is too large, or has too many events")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


@asynccontextmanager
async def _http(
    server: McpServer, wire: Wire, context: ssl.SSLContext, proxy: str | None
) -> AsyncGenerator[TransportStreams, None]:
    async def on_response(response: httpx2.Response) -> None:
        if response.status_code == 401:  # noqa: PLR2004 -- not signed in
            wire.wants_sign_in = True
        elif response.request.method == "GET":  # for what it sends unasked; many servers refuse it
            if wire.count():
                wire.ended.set()
                raise httpx2.ReadError(wire.problem)
        elif response.is_error:
            wire.last_words = f"it answered {response.status_code}"
        if response.headers.get("content-encoding", _PLAIN).strip().lower() != _PLAIN:
            wire.last_words = "it sent a compressed reply, which was not asked for"
            raise httpx2.ReadError(wire.last_words)
        response.stream = _BoundedStream(response.stream)

    mark_as_ours()
    if server.headers and not is_secure(server.url):
        wire.problem = "its headers may hold a key, so they are not sent over http; use https"
        raise ValueError(wire.problem)
    client = httpx2.AsyncClient(
        headers={
            **{name: value.get_secret_value() for name, value in server.headers.items()},
            "accept-encoding": _PLAIN,  # the bounds are those of what is on the wire
        },
        timeout=httpx2.Timeout(server.startup_s, read=server.call_s),
        verify=context,
        proxy=proxy,
        trust_env=False,
        event_hooks={"response": [on_response]},
    )
    async with client, streamable_http_client(server.url, http_client=client) as streams:
        yield streams
