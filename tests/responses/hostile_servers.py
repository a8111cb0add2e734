"""Hostile servers on loopback: each meets a client in a process of its own, which tells its peak (on Linux).

``python -m tests.responses.hostile_servers [WORD …]`` plays them with the bounds of the product and prints the table of
docs/security.md; ``test_hostile_servers`` plays them with smaller bounds.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import itertools
import json
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import zstandard
from pydantic import SecretStr

from codex_nb.auth.accounts import WorkspaceRouting
from codex_nb.auth.credentials import Account, AuthMode, Credentials
from codex_nb.auth.oauth import OAuthClient
from codex_nb.config.settings import Settings
from codex_nb.errors import CodexError
from codex_nb.http import httpx, open_http
from codex_nb.responses.client import ResponsesClient, RetryPolicy, fetch_usage
from codex_nb.responses.models import get_json, parse_models
from codex_nb.responses.request import Backend
from codex_nb.responses.stream import ResponseBudget
from codex_nb.responses.websocket import Connector, WebSocketTransport
from codex_nb.session.events import TurnState, reduce
from codex_nb.session.turn import EventAdapter
from tests.responses.fakes import REQUEST, sse
from tests.responses.faults import ANSWER, PORT

MEGABYTE = 1024 * 1024
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # of the websocket protocol
COLUMNS = ("the server sends", "asked for", "peak MB", "seconds", "of them CPU", "what the user reads")
MOST_SHOWN = 160
Talk = Callable[[asyncio.StreamWriter], Awaitable[None]]
Pieces = Iterable[bytes]


@dataclass(frozen=True)
class HostileServer:
    """One kind: ``question`` is what the client asks it.

    ``ends_well`` where the answer is just a large one; ``is_slow`` where the client's own patience is long; ``seconds``
    replaces its patience with a whole response. ``handshake`` are the headers with which it takes a websocket.
    """

    name: str
    talk: Talk
    question: str = "answer"
    ends_well: bool = False
    is_slow: bool = False
    seconds: float = ResponseBudget.seconds
    handshake: str | None = None


def on_a_socket(name: str, pieces: Callable[[], Pieces], *, headers: str = "", **more: Any) -> HostileServer:
    """A server that takes the websocket and sends these frames."""
    talk = sending(b"", pieces, pause_s=more.pop("pause_s", 0.0))
    return HostileServer(f"websocket: {name}", talk, "socket", handshake=headers, **more)


def frame(
    data: bytes, opcode: int = 1, *, is_last: bool = True, bits: int = 0, size: int | None = None
) -> bytes:
    """A frame of a server; ``size`` is what it says its size is."""
    size = len(data) if size is None else size
    first = bytes([(0x80 if is_last else 0) | bits | opcode])
    if size < 126:
        return first + bytes([size]) + data
    if size < 65536:
        return first + b"\x7e" + struct.pack("!H", size) + data
    return first + b"\x7f" + struct.pack("!Q", size) + data


def head(kind: str = "text/event-stream", encoding: str = "", status: str = "200 OK") -> bytes:
    coded = f"content-encoding: {encoding}\r\n" if encoding else ""
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{coded}connection: close\r\n\r\n".encode()


def sending(first: bytes, pieces: Callable[[], Pieces], *, pause_s: float = 0.0) -> Talk:
    async def talk(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        for piece in pieces():
            writer.write(piece)
            await writer.drain()
            if pause_s:
                await asyncio.sleep(pause_s)

    return talk


def again_and_again(piece: bytes) -> Callable[[], Pieces]:
    """The same bytes for ever, in blocks of about 64 kB."""
    block = piece * max(1, 65536 // len(piece))
    return lambda: itertools.repeat(block)


def after(begin: bytes, piece: bytes) -> Callable[[], Pieces]:
    return lambda: itertools.chain([begin], again_and_again(piece)())


def drops(piece: bytes) -> Callable[[], Pieces]:
    return lambda: itertools.repeat(piece)


def gzipped(piece: bytes, megabytes: int = 2048) -> Callable[[], Pieces]:
    """A piece of a megabyte or less, repeated and compressed."""

    def pieces() -> Iterator[bytes]:
        compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
        block = piece * (MEGABYTE // len(piece))
        for _ in range(megabytes):
            yield compressor.compress(block)
        yield compressor.flush()

    return pieces


def whole(data: bytes) -> Callable[[], Pieces]:
    return lambda: [data]


def zstandard_bomb() -> Pieces:
    yield zstandard.ZstdCompressor(level=3).compress(b"x" * (64 * MEGABYTE))


def doubled_bomb() -> Pieces:
    yield gzip.compress(b"".join(gzipped(b"x", 64)()))


def deflate_bomb() -> Pieces:
    yield zlib.compress(b"x" * (64 * MEGABYTE), 9)


DELTA = sse({"type": "response.output_text.delta", "item_id": "m", "delta": "word " * 10})
SMALL_DELTA = b'data: {"type":"response.output_text.delta","delta":"a"}\n\n'
UNKNOWN = sse({"type": "response.news", "text": "nothing"})
DEEP = b"[" * 100_000 + b"]" * 100_000
MODEL = b'{"slug":"gpt-5.5","visibility":"list"},'


def items(count: int, kind: str) -> Callable[[], Pieces]:
    def one(number: int) -> dict[str, Any]:
        if kind == "message":
            content = [{"type": "output_text", "text": "Hello."}]
            return {"type": kind, "id": f"m{number}", "role": "assistant", "content": content}
        return {"type": kind, "id": f"c{number}", "call_id": f"k{number}", "name": "f", "arguments": "{}"}

    def pieces() -> Iterator[bytes]:
        for at in range(count):
            yield sse({"type": "response.output_item.done", "output_index": at, "item": one(at)})
        yield sse({"type": "response.completed", "response": {"id": "r", "output": []}})

    return pieces


def numbered(event: Callable[[int], dict[str, Any]]) -> Callable[[], Pieces]:
    """Events without end, each of another number, in blocks of some hundred."""

    def pieces() -> Pieces:
        for start in itertools.count(0, 500):
            yield b"".join(sse(event(number)) for number in range(start, start + 500))

    return pieces


TEXT_DELTA, SUMMARY_DELTA = "response.output_text.delta", "response.reasoning_summary_text.delta"
deltas_of_items = numbered(lambda number: {"type": TEXT_DELTA, "item_id": f"m{number}", "delta": "x"})
deltas_of_parts = numbered(
    lambda number: {"type": SUMMARY_DELTA, "item_id": "r", "summary_index": number, "delta": "x"}
)
items_begun = numbered(
    lambda number: {
        "type": "response.output_item.added",
        "item": {"type": "function_call", "id": f"c{number}", "call_id": f"k{number}", "name": "run_python"},
    }
)


def many_objects() -> Pieces:
    yield b'data: {"type":"response.completed","response":{"output":['
    yield b"{}," * 1_300_000
    yield b"{}]}}\n\n"


def wide_delta() -> Pieces:
    yield b'data: {"type":"response.output_text.delta","delta":"'
    yield "\N{ROCKET}".encode() + b"x" * 3_900_000
    yield b'"}\n\n'


def many_models() -> Pieces:
    yield b'{"models":['
    yield b"{}," * 1_300_000
    yield b"{}]}"


def deep_events() -> Pieces:
    yield b'data: {"type":"response.output_item.done","item":{"type":"message","content":%s}}\n\n' % DEEP
    yield b'data: {"type":"response.completed","response":{"output":%s}}\n\n' % DEEP


def deflated_frame() -> Pieces:
    """A message of 64 MB, compressed."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = b"".join(compressor.compress(b"x" * MEGABYTE) for _ in range(64))
    data += compressor.flush(zlib.Z_SYNC_FLUSH)
    yield frame(data.removesuffix(b"\x00\x00\xff\xff"), bits=0x40)


def data_of(event: bytes) -> bytes:
    return event.partition(b"data: ")[2].strip()


JSON = "application/json"
DEFLATE = "sec-websocket-extensions: permessage-deflate\r\n"
SERVERS = (
    HostileServer("gzip bomb, one line", sending(head(encoding="gzip"), gzipped(b"x"))),
    HostileServer("gzip bomb, comment lines", sending(head(encoding="gzip"), gzipped(b":\n"))),
    HostileServer("gzip bomb, unknown events", sending(head(encoding="gzip"), gzipped(UNKNOWN))),
    HostileServer("gzip in gzip", sending(head(encoding="gzip, gzip"), doubled_bomb)),
    HostileServer("zstd bomb", sending(head(encoding="zstd"), zstandard_bomb)),
    HostileServer("deflate bomb", sending(head(encoding="deflate"), deflate_bomb)),
    HostileServer("br, not asked for", sending(head(encoding="br"), whole(b"\x0b\x02\x80hello\x03"))),
    HostileServer("endless deltas", sending(head(), again_and_again(DELTA))),
    HostileServer("endless deltas of a letter", sending(head(), again_and_again(SMALL_DELTA))),
    HostileServer("endless deltas, each of another item", sending(head(), deltas_of_items)),
    HostileServer("endless deltas, each of another part", sending(head(), deltas_of_parts)),
    HostileServer("endless items that never end", sending(head(), items_begun)),
    HostileServer("endless unknown events", sending(head(), again_and_again(UNKNOWN))),
    HostileServer("endless comment lines", sending(head(), again_and_again(b": still here\n"))),
    HostileServer("endless empty lines", sending(head(), again_and_again(b"\n"))),
    HostileServer("an endless line", sending(head(), after(b"data: ", b"x"))),
    HostileServer("an event of endless lines", sending(head(), again_and_again(b"data:ab\n"))),
    HostileServer("an endless event name", sending(head(), after(b"event: ", b"x"))),
    HostileServer("20,000 items", sending(head(), items(20_000, "message")), ends_well=True),
    HostileServer("100,000 items", sending(head(), items(100_000, "message"))),
    HostileServer("10,000 calls", sending(head(), items(10_000, "function_call")), ends_well=True),
    HostileServer("an event of 3.9 MB of empty objects", sending(head(), many_objects)),
    HostileServer("a delta of 3.9 MB with an emoji", sending(head(), wide_delta)),
    HostileServer("deep JSON in events", sending(head(), deep_events)),
    HostileServer("endless whole answer", sending(head(JSON), after(b'{"output":[', b'{"a":"b"},'))),
    HostileServer(
        "endless error body", sending(head(JSON, status="400 Bad Request"), after(b'{"error":"', b"x"))
    ),
    HostileServer("error body as a gzip bomb", sending(head(JSON, "gzip", "400 Bad Request"), gzipped(b"x"))),
    HostileServer(
        "endless headers", sending(b"HTTP/1.1 200 OK\r\n", again_and_again(b"x-more: and more\r\n"))
    ),
    HostileServer(
        "endless interim responses", sending(b"", again_and_again(b"HTTP/1.1 103 Early Hints\r\n\r\n"))
    ),
    HostileServer("bytes that drip", sending(head(), drops(b":"), pause_s=0.05)),
    HostileServer(
        "unknown events that drip (2 s of the hour)", sending(head(), drops(UNKNOWN), pause_s=0.05), seconds=2
    ),
    HostileServer("endless model list", sending(head(JSON), after(b'{"models":[', MODEL)), "models"),
    HostileServer("model list as a gzip bomb", sending(head(JSON, "gzip"), gzipped(MODEL)), "models"),
    HostileServer("model list of empty objects", sending(head(JSON), many_models), "models"),
    HostileServer("deep model list", sending(head(JSON), whole(DEEP)), "models"),
    HostileServer(
        "model list that drips", sending(head(JSON), drops(b" "), pause_s=0.05), "models", is_slow=True
    ),
    HostileServer("endless usage", sending(head(JSON), after(b'{"rate_limit":"', b"x")), "usage"),
    HostileServer("endless token reply", sending(head(JSON), after(b'{"access_token":"', b"x")), "refresh"),
    HostileServer("token reply as a gzip bomb", sending(head(JSON, "gzip"), gzipped(b"x")), "refresh"),
    HostileServer(
        "token reply that drips", sending(head(JSON), drops(b" "), pause_s=0.05), "refresh", is_slow=True
    ),
    HostileServer("endless workspace list", sending(head(JSON), after(b'{"accounts":[', b"{},")), "route"),
    on_a_socket("endless deltas", again_and_again(frame(data_of(DELTA)))),
    on_a_socket("endless unknown events", again_and_again(frame(data_of(UNKNOWN)))),
    on_a_socket("a frame of 10 GB", after(frame(b"{", size=10**10), b"x")),
    on_a_socket("endless fragments", after(frame(b"{", is_last=False), frame(b"x", 0, is_last=False))),
    on_a_socket("endless empty fragments", after(frame(b"{", is_last=False), frame(b"", 0, is_last=False))),
    on_a_socket("a compressed frame as a bomb", deflated_frame, headers=DEFLATE),
    on_a_socket("endless pings", again_and_again(frame(b"x" * 125, 9))),
    on_a_socket("endless frames of nothing", again_and_again(frame(b""))),
    on_a_socket("deep JSON in a frame", whole(frame(b'{"type":"response.news","x":%s}' % DEEP))),
    on_a_socket(
        "unknown events that drip (2 s of the hour)", drops(frame(data_of(UNKNOWN))), pause_s=0.05, seconds=2
    ),
    HostileServer(
        "websocket: endless headers of the handshake",
        sending(b"HTTP/1.1 101 Switching Protocols\r\n", again_and_again(b"x-more: and more\r\n")),
        "socket",
    ),
)


async def a_good_answer(writer: asyncio.StreamWriter) -> None:
    writer.write(head() + ANSWER)


def switching(key: str, headers: str) -> bytes:
    accepted = base64.b64encode(
        hashlib.sha1(f"{key}{GUID}".encode(), usedforsecurity=False).digest()
    ).decode()
    start = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    return f"{start}sec-websocket-accept: {accepted}\r\n{headers}\r\n".encode()


@asynccontextmanager
async def listening(talk: Talk, handshake: str | None = None) -> AsyncIterator[int]:
    """Play one server, which takes a websocket if it has headers for that; give its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            line = await reader.readline()
            while (header := await reader.readline()).strip():
                name, _, value = header.partition(b":")
                if name.lower() == b"sec-websocket-key" and handshake is not None:
                    writer.write(switching(value.strip().decode(), handshake))
            await (a_good_answer if b"/next/" in line else talk)(writer)
            await writer.drain()
            writer.write_eof()
            await reader.read()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()


@dataclass(frozen=True)
class Met:
    """What came of one server: the client's peak above what it took before, its time, and what the user reads.

    ``next_reads`` is what came of the next question, to a good server.
    """

    peak_mb: float
    seconds: float
    cpu_s: float
    reads: str
    failed: bool
    next_reads: str


# The client, in a process of its own


def _memory_mb(name: str) -> float:
    """Read ``VmRSS``, what the process takes, or ``VmHWM``, the most that it took (Linux)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def _forget_the_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


CHATGPT = Credentials(
    mode=AuthMode.CHATGPT,
    account=Account(account_id="acct-1"),
    bearer=SecretStr("fabricated"),
    refresh_token=SecretStr("fabricated"),
)


class Unsigned(httpx.Auth):
    """Signs nothing."""


async def _ask(
    question: str, http: httpx.AsyncClient, address: str, wait_s: float, budget: ResponseBudget
) -> str:
    settings = Settings(codex_home=Path("nowhere"), issuer=address, chatgpt_base_url=address)
    backend = Backend(
        base_url=address, name="The server", is_chatgpt=True, idle_timeout_s=wait_s, account_base_url=address
    )
    auth = Unsigned()
    match question:
        case "answer" | "socket":
            sockets = WebSocketTransport(backend, auth, Connector({}, None)) if question == "socket" else None
            retry = RetryPolicy(max_requests=1)
            client = ResponsesClient(http, backend, auth, budget=budget, retry=retry, sockets=sockets)
            adapter, state = EventAdapter(itertools.count(1)), TurnState()
            async for event in client.stream(REQUEST):
                for shown in adapter.read(event):
                    state = reduce(state, shown)
            return f"{len(state.parts)} parts"
        case "models":
            found = parse_models(await get_json(http, backend.models_url, backend=backend, auth=auth))
            return f"{len(found)} models"
        case "usage":
            return str(await fetch_usage(http, backend, auth))
        case "refresh":
            return str(await OAuthClient(http, settings).refresh(CHATGPT, "scheduled"))
        case _:
            routing = WorkspaceRouting(http, settings, Unsigned, sleep=_at_once)
            return str(await routing.route(CHATGPT))


async def _at_once(_: float) -> None:
    """Wait for nothing."""


async def _client(question: str, address: str, wait_s: float, budget: ResponseBudget, base_mb: float) -> Met:
    settings = Settings(codex_home=Path("nowhere"))
    async with open_http(settings, {}) as http:
        _forget_the_peak()
        begin, spent = time.perf_counter(), time.process_time()
        try:
            reads, failed = await _ask(question, http, address, wait_s, budget), False
        except CodexError as error:
            reads, failed = f"{type(error).__name__}: {error}", True
        seconds, cpu_s = time.perf_counter() - begin, time.process_time() - spent
        peak = _memory_mb("VmHWM") - base_mb
        next_reads = await _ask("answer", http, f"{address}/next", 60.0, ResponseBudget())
        return Met(peak, seconds, cpu_s, reads, failed, next_reads)


def main() -> None:
    """Be the client: do the jobs that the argument holds and print what came of each."""
    base_mb = _memory_mb("VmRSS")
    for question, address, wait_s, budget in json.loads(sys.argv[1]):
        met = asyncio.run(_client(question, address, wait_s, ResponseBudget(**budget), base_mb))
        sys.stdout.write(json.dumps(vars(met)) + "\n")


# The stage


def _bounds(budget: ResponseBudget) -> dict[str, float]:
    return {each.name: getattr(budget, each.name) for each in fields(budget) if each.init}


async def meet(
    servers: Sequence[HostileServer], *, wait_s: float = 5.0, budget: ResponseBudget | None = None
) -> list[Met]:
    """Let one client, in a process of its own, meet the servers; ``wait_s`` is its idle time.

    Its peak is what it takes beyond its size at the start, so that what it kept of one server counts for the next.
    """
    async with AsyncExitStack() as stack:
        talks = [listening(server.talk, server.handshake) for server in servers]
        ports = [await stack.enter_async_context(talk) for talk in talks]
        jobs = [
            (
                server.question,
                f"http://127.0.0.1:{port}",
                wait_s,
                _bounds(replace(budget or ResponseBudget(), seconds=server.seconds)),
            )
            for server, port in zip(servers, ports, strict=True)
        ]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from tests.responses.hostile_servers import main; main()",
            json.dumps(jobs),
            stdout=subprocess.PIPE,
        )
        output, _ = await process.communicate()
    return [Met(**json.loads(line)) for line in output.splitlines()]


def row_of(server: HostileServer, met: Met) -> str:
    """Give the server's line of the table."""
    figures = f"{met.peak_mb:.0f} | {met.seconds:.1f} | {met.cpu_s:.1f}"
    reads = PORT.sub("127.0.0.1", met.reads).replace("|", "\\|")
    shown = reads if len(reads) <= MOST_SHOWN else f"{reads[:MOST_SHOWN]}…"
    return f"| {server.name} | {server.question} | {figures} | {shown} |"


async def table(words: Sequence[str]) -> None:
    """Meet the servers whose names hold one of the words, or all, with the product's own bounds; print the table."""
    sys.stdout.write(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}\n")
    for server in SERVERS:
        if not words or any(word in server.name for word in words):
            (met,) = await meet([server])
            sys.stdout.write(row_of(server, met) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(table(sys.argv[1:]))
