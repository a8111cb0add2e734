"""Whatever a server sends, the client keeps its memory and its time, ends in an error of ours, and asks again."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from codex_nb.config.settings import Settings
from codex_nb.http import httpx, open_http, request_json
from codex_nb.responses.stream import ResponseBudget
from tests.responses.hostile_servers import SERVERS, HostileServer, Met, drops, head, listening, meet, sending

MOST_MB = 64
QUICK = ResponseBudget(lines=400_000, stream_bytes=16 * 1024 * 1024)
PLAYED = [server for server in SERVERS if not server.is_slow]


@pytest.fixture(scope="module")
def met() -> dict[str, Met]:
    """What clients met, each of them nine servers one after the other."""
    found: dict[str, Met] = {}
    for start in range(0, len(PLAYED), 9):
        servers = PLAYED[start : start + 9]
        results = asyncio.run(meet(servers, wait_s=1.0, budget=QUICK))
        found |= {server.name: result for server, result in zip(servers, results, strict=True)}
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from /proc")
@pytest.mark.parametrize("server", PLAYED, ids=lambda server: server.name)
def test_a_hostile_server_is_survived(server: HostileServer, met: dict[str, Met]) -> None:
    found = met[server.name]
    assert found.failed is not server.ends_well, found.reads
    assert found.peak_mb < MOST_MB
    assert found.next_reads == "2 parts"
    assert "\n" not in found.reads
    assert len(found.reads) < 600


@pytest.mark.anyio
async def test_a_small_question_has_an_end_however_slowly_the_bytes_come() -> None:
    async with (
        listening(sending(head("application/json"), drops(b" "), pause_s=0.01)) as port,
        open_http(Settings(codex_home=Path("nowhere")), {}) as http,
    ):
        reply = await request_json(http, "GET", f"http://127.0.0.1:{port}", timeout_s=0.2)
    assert reply.problem == "it did not answer in time"


class Silent(httpx.AsyncBaseTransport):
    """A way on which nothing ever comes."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await asyncio.get_running_loop().create_future()
        raise AssertionError(request)


@pytest.mark.anyio
async def test_a_small_question_has_an_end_without_any_byte() -> None:
    async with open_http(Settings(codex_home=Path("nowhere")), {}, transport=Silent()) as http:
        reply = await request_json(http, "GET", "https://codex.test", timeout_s=0.05)
    assert reply.problem == "it did not answer in time"


class Endless(httpx.AsyncByteStream):
    """A body without an end, which notes whether it was closed."""

    def __init__(self, piece: bytes) -> None:
        self.piece = piece
        self.sent = 0
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while not self.is_closed:
            self.sent += len(self.piece)
            yield self.piece

    async def aclose(self) -> None:
        self.is_closed = True


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", ["identity", "", "gzip", "x-gzip", "GZIP"])
async def test_an_endless_body_is_closed_at_its_bound(encoding: str) -> None:
    # An empty block of deflate, for ever: it says nothing, and takes no end.
    start = b"\x1f\x8b\x08\0\0\0\0\0\0\0" if "zip" in encoding.lower() else b""
    body = Endless((start or b"x") + b"\0\0\0\xff\xff" * 20_000)

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-encoding": encoding}, stream=body)

    transport = httpx.MockTransport(answer)
    async with open_http(Settings(codex_home=Path("nowhere")), {}, transport=transport) as http:
        reply = await request_json(http, "GET", "https://codex.test", timeout_s=20)
    assert reply.problem is not None
    assert body.is_closed
    assert body.sent < 5 * 1024 * 1024


@pytest.mark.anyio
@pytest.mark.parametrize(
    "encoding", ["deflate", "br", "zstd", "compress", "gzip, gzip", "identity, gzip", "x"]
)
async def test_what_was_not_asked_for_is_not_decompressed(encoding: str) -> None:
    body = Endless(b"x")

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-encoding": encoding}, stream=body)

    transport = httpx.MockTransport(answer)
    async with open_http(Settings(codex_home=Path("nowhere")), {}, transport=transport) as http:
        reply = await request_json(http, "GET", "https://codex.test", timeout_s=20)
    assert (reply.status, body.sent, body.is_closed) == (0, 0, True)
    assert "not asked for" in (reply.problem or "")
