"""Servers over HTTP that do what they should not: others go on, nothing waits without end, no key goes elsewhere."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from codex_nb.session.events import Notice
from codex_nb.simulator import Simulator
from tests.patience import PATIENCE_S
from tests.session.test_mcp import Asked, ask, calls, hostile, listed, opened

pytestmark = pytest.mark.anyio

NOTICE = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}


class Hostile(BaseHTTPRequestHandler):
    """Answers ``/STAGE/DEED``: as it should until the stage, which is a method of the protocol."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    ending = threading.Event()
    seen: list[str]

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        _, stage, deed = self.path.split("/")
        self.seen.append(f"{self.path} {self.headers.get('authorization')}")
        if asked.get("method", "").rpartition("/")[2] == stage:
            with suppress(OSError):
                getattr(self, deed)()
            self.close_connection = True
        elif "id" not in asked:
            self.reply(202, b"", "application/json")
        else:
            result = self.result(asked["method"], asked.get("params") or {})
            body = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}).encode()
            self.reply(200, body, **{"mcp-session-id": "one"} if deed == "again" else {})

    def do_GET(self) -> None:
        self.seen.append(f"GET {self.path}")
        if self.path.endswith("/again"):
            self.again()
        else:
            self.reply(405, b"")

    def result(self, method: str, params: dict[str, Any]) -> Any:
        match method:
            case "initialize":
                about = {"capabilities": {"tools": {}}, "serverInfo": {"name": "h", "version": "1"}}
                return {"protocolVersion": params["protocolVersion"], **about}
            case "tools/list":
                return {"tools": [listed("ping")]}
        return {"content": [{"type": "text", "text": "pong"}]}

    def reply(self, status: int, body: bytes, kind: str = "application/json", **more: str) -> None:
        self.send_response(status)
        for name, value in {"content-type": kind, "content-length": str(len(body)), **more}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("connection", "close")
        self.end_headers()

    def hang(self) -> None:
        self.ending.wait()

    def die(self) -> None:
        self.close_connection = True

    def refuse(self) -> None:
        self.reply(500, b"<b>Oh no</b>", "text/html")

    def junk(self) -> None:
        self.reply(200, b"this is not JSON {")

    def page(self) -> None:
        self.reply(200, b"<html>Sign in here</html>", "text/html")

    def away(self) -> None:
        port = self.server.server_address[1]
        self.reply(307, b"", location=f"http://localhost:{port}/elsewhere/none")

    def flood(self) -> None:
        self.begin("application/json")
        while not self.ending.is_set():
            self.wfile.write(b" " * 65_536)

    def events(self) -> None:
        self.begin("text/event-stream")
        event = f"event: message\ndata: {json.dumps(NOTICE)}\n\n".encode()
        while not self.ending.is_set():
            self.wfile.write(event)

    def packed(self) -> None:
        self.send_response(200)
        for name, value in (("content-type", "application/json"), ("content-encoding", "gzip")):
            self.send_header(name, value)
        self.send_header("connection", "close")
        self.end_headers()
        compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
        for _ in range(PACKED_MEGABYTES):
            self.wfile.write(compressor.compress(b" " * 1_000_000))
        self.wfile.write(compressor.flush())

    def values(self) -> None:
        begin = b'{"jsonrpc": "2.0", "id": 3, "result": {"content": [], "more": ["\\"", '
        self.reply(200, begin + b"[]," * 1_000_000 + b"[]]}}")

    def returns(self) -> None:
        self.reply(200, f"data: {json.dumps(NOTICE)}\r\r".encode() * 20_000, "text/event-stream")

    def table(self) -> None:
        text = [{"type": "text", "text": 'a "word", [and], more\n' * 300_000}]
        self.reply(200, json.dumps({"jsonrpc": "2.0", "id": 3, "result": {"content": text}}).encode())

    def again(self) -> None:
        self.reply(200, b"retry: 0\nid: 1\ndata:\n\n", "text/event-stream")

    def silence(self) -> None:
        self.begin("text/event-stream")
        while not self.ending.wait(0.1):
            self.wfile.write(b": still here\n\n")

    def log_message(self, *_: object) -> None:
        """Stay silent."""


DEEDS = (
    *("hang", "die", "refuse", "junk", "page", "away", "flood", "events", "packed", "silence"),
    *("values", "returns"),
)
PACKED_MEGABYTES = 400  # in less than half of one on the wire


class Server(ThreadingHTTPServer):
    """Lets more clients wait to be accepted than the five of the library: on a busy machine they come at once."""

    request_queue_size = 128


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """Serve all of them; yields the address and what was asked, with its login."""
    seen: list[str] = []
    ending = threading.Event()
    handler = type("Handler", (Hostile,), {"seen": seen, "ending": ending})
    with Server(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", seen
        ending.set()
        http.shutdown()
        thread.join()


def table(name: str, url: str, *, startup_s: float = PATIENCE_S, call_s: float = PATIENCE_S) -> str:
    times = f"startup_timeout_sec = {startup_s}\ntool_timeout_sec = {call_s}"
    return f'[mcp_servers.{name}]\nurl = "{url}"\nbearer_token_env_var = "MCP_TOKEN"\n{times}\n'


async def test_servers_that_cannot_be_used_keep_no_other_from_its_work(
    tmp_path: Path, server: tuple[str, list[str]]
) -> None:
    address, seen = server
    names = [f"{stage}-{deed}" for stage in ("initialize", "list") for deed in DEEDS]
    tables = "".join(table(name, f"{address}/{name.replace('-', '/')}", startup_s=3) for name in names)
    good = table("good", f"{address}/never/none") + hostile("near")
    with Simulator() as simulator:
        simulator.play(calls(("mcp__good__ping", {}), ("mcp__near__ping", {})))
        async with opened(simulator, tmp_path, tables + good) as profile:
            answer, events = await ask(profile, Asked())
            *bad, _, _ = profile.assistant.servers().states()
    assert [call.output for call in answer.tool_calls] == ["pong", "pong"]
    assert {state.name: state.status for state in bad} == dict.fromkeys(names, "failed")
    told = [event.text for event in events if isinstance(event, Notice) and "MCP" in event.text]
    assert len(told) == len(names)
    assert "<" not in "".join(told)
    assert {line.rpartition(" ")[2] for line in seen if not line.startswith("GET")} == {"right"}
    assert not any("elsewhere" in line for line in seen)


async def test_calls_that_go_wrong_are_results_and_the_turn_goes_on(
    tmp_path: Path, server: tuple[str, list[str]]
) -> None:
    address, seen = server
    tables = "".join(table(deed, f"{address}/call/{deed}", call_s=2) for deed in DEEDS)
    with Simulator() as simulator:
        simulator.play(calls(*((f"mcp__{name}__ping", {}) for name in (*DEEDS, "good"))))
        async with opened(simulator, tmp_path, tables + table("good", f"{address}/never/none")) as profile:
            answer, _ = await ask(profile, Asked())
    assert [call.ok for call in answer.tool_calls] == [*[False] * len(DEEDS), True]
    outputs = {name: call.output or "" for name, call in zip(DEEDS, answer.tool_calls, strict=False)}
    assert all(outputs.values())
    assert "compressed" in outputs["packed"]
    assert not any("elsewhere" in line for line in seen)


@pytest.mark.parametrize("stage", ["never", "call"])
async def test_a_server_that_ends_each_stream_at_once_is_not_asked_again_without_end(
    tmp_path: Path, server: tuple[str, list[str]], stage: str
) -> None:
    address, seen = server
    with Simulator() as simulator:
        simulator.play(calls(("mcp__again__ping", {}), ("mcp__good__ping", {})))
        tables = table("again", f"{address}/{stage}/again") + table("good", f"{address}/never/none")
        async with opened(simulator, tmp_path, tables) as profile:
            answer, _ = await ask(profile, Asked())
            for _ in range(int(PATIENCE_S * 10)):
                again, _ = profile.assistant.servers().states()
                if again.status == "failed":
                    break
                await asyncio.sleep(0.1)
    assert [call.ok for call in answer.tool_calls] == [stage == "never", True]
    assert again.status == "failed"
    assert seen.count(f"GET /{stage}/again") < 2_100


async def test_a_text_of_any_length_and_many_commas_is_a_result(
    tmp_path: Path, server: tuple[str, list[str]]
) -> None:
    address, _ = server
    with Simulator() as simulator:
        simulator.play(calls(("mcp__near__ping", {}), ("mcp__far__ping", {})))
        text = [{"type": "text", "text": 'a "word", [and], more\n' * 100}]
        tables = hostile("near", content=text) + table("far", f"{address}/call/table")
        async with opened(simulator, tmp_path, tables) as profile:
            answer, _ = await ask(profile, Asked())
    assert [call.ok for call in answer.tool_calls] == [True, True]
    assert all('"word", [and]' in (call.output or "") for call in answer.tool_calls)


async def test_an_address_with_a_key_in_it_is_written_into_no_log(
    tmp_path: Path, server: tuple[str, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    address, _ = server
    caplog.set_level(logging.DEBUG)
    with Simulator() as simulator:
        simulator.play(calls(("mcp__far__ping", {}), ("mcp__away__ping", {})))
        tables = table("far", f"{address}/key-of-a-server/none") + table(
            "away", f"{address}/list/key-of-a-server"
        )
        async with opened(simulator, tmp_path, tables) as profile:
            answer, _ = await ask(profile, Asked())
    assert answer.tool_calls[0].output == "pong"
    assert "key-of-a-server" not in caplog.text
