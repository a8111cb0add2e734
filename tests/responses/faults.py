"""The fault table: what can go wrong between the client and a server, played by raw loopback servers.

``make docs`` makes the table of the page on errors from it: what a user sees of each row, how many requests reached the
server, and how long the client would have waited between them (here the waits are only noted).
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import socket
import ssl
import struct
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import trustme

from codex_nb import errors
from codex_nb.config.settings import Settings
from codex_nb.errors import CodexError
from codex_nb.http import open_http
from codex_nb.responses.client import ResponsesClient
from codex_nb.responses.events import ResponseFinished
from codex_nb.responses.request import Backend
from tests.responses.conversations import answer, completed, created, failed, message, text_delta, wire
from tests.responses.fakes import REQUEST, Outcome, sse

IDLE_S = 5.0
BRIEFLY = {"idle_timeout_s": 0.25}
ANSWER = wire(answer("All is well."))
OPENING = wire([created(), text_delta("All is")])
HEADING = "| what happens | what the user sees | requests | waits |\n|---|---|---|---|"
PORT = re.compile(r"127\.0\.0\.1:\d+")
LOCAL_TIME = re.compile(r"at \d\d:\d\d on \d\d \w+ \d{4}")
Talk = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """One row: what the server does, and what comes of it.

    ``sees`` is the error's class, or the answer's text; ``requests`` counts those that reached the server. Unless
    ``waits_s`` is given, the client waits 6.2 s in all where it repeats a request, and not at all otherwise.
    """

    name: str
    talk: Talk
    sees: type[CodexError] | str
    requests: int = 1
    says: str = ""
    backend: Mapping[str, Any] = field(default_factory=dict)
    role: str = "server"
    waits_s: float | None = None

    @property
    def expected_waits_s(self) -> float:
        """The sum of the waits between the requests."""
        usual = 6.2 if self.requests > 1 else 0.0
        return usual if self.waits_s is None else self.waits_s


def head(status: str = "200 OK", kind: str | None = "text/event-stream", **headers: str) -> bytes:
    named = {"content-type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
    lines = [
        f"HTTP/1.1 {status}",
        *(f"{name}: {value}" for name, value in named.items() if value is not None),
    ]
    return "\r\n".join([*lines, "connection: close", "", ""]).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def saying(*pieces: bytes) -> Talk:
    async def talk(writer: asyncio.StreamWriter) -> None:
        writer.writelines(pieces)

    return talk


def reply(status: str, body: Any, kind: str = "application/json", **headers: str) -> Talk:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return saying(head(status, kind, content_length=str(len(data)), **headers), data)


def problem(status: str, code: str, text: str = "No.", *, kind: str = "", **headers: str) -> Talk:
    return reply(status, {"error": {"code": code, "type": kind or code, "message": text}}, **headers)


def streamed(*events: dict[str, Any]) -> Talk:
    return saying(head(), *(sse(event) for event in events))


def reset_after(*pieces: bytes) -> Talk:
    async def talk(writer: asyncio.StreamWriter) -> None:
        writer.writelines(pieces)
        await writer.drain()
        await asyncio.sleep(0.02)
        # Zero linger makes the close a reset.
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        writer.transport.abort()

    return talk


def silent_after(*pieces: bytes) -> Talk:
    async def talk(writer: asyncio.StreamWriter) -> None:
        writer.writelines(pieces)
        await writer.drain()
        await asyncio.sleep(60)

    return talk


async def drip_an_answer(writer: asyncio.StreamWriter) -> None:
    writer.write(head())
    for at in range(len(ANSWER)):
        writer.write(ANSWER[at : at + 1])
        await writer.drain()


async def drip_comments(writer: asyncio.StreamWriter) -> None:
    writer.write(head() + OPENING)
    while not writer.is_closing():
        writer.write(b": still here\n\n")
        await writer.drain()
        await asyncio.sleep(0.01)


async def one_huge_event(writer: asyncio.StreamWriter) -> None:
    writer.write(head() + b"data: ")
    piece = b"x" * (1 << 20)
    for _ in range(100):
        writer.write(piece)
        await writer.drain()


USAGE_LIMIT = {"error": {"type": "usage_limit_reached", "plan_type": "plus", "resets_at": 1795300000}}
WINDOW = {"x_codex_primary_used_percent": "100", "x_codex_primary_window_minutes": "300"}
KEYED = {"key_hint": "Export LOCAL_KEY first."}


def failed_rows() -> list[Fault]:
    codes: list[tuple[str, type[CodexError], int]] = [
        ("context_length_exceeded", errors.ContextWindowExceeded, 1),
        ("insufficient_quota", errors.QuotaExceeded, 1),
        ("usage_limit_reached", errors.UsageLimitReached, 1),
        ("usage_not_included", errors.UsageLimitReached, 1),
        ("server_is_overloaded", errors.BackendOverloaded, 1),
        ("invalid_prompt", errors.BadRequest, 1),
        ("bio_policy", errors.BadRequest, 1),
        ("cyber_policy", errors.BadRequest, 1),
        ("model_not_found", errors.ModelUnavailable, 1),
        ("rate_limit_exceeded", errors.RateLimited, 6),
        ("slow_down", errors.BackendOverloaded, 6),
        ("server_error", errors.BackendOverloaded, 6),
        ("never_heard_of", errors.BackendOverloaded, 6),
    ]
    rows = [
        Fault(
            f"failed: {code}",
            streamed(created(), failed({"code": code, "message": "Sorry."})),
            error,
            requests,
        )
        for code, error, requests in codes
    ]
    return [*rows, Fault("failed without a reason", streamed(failed(None)), errors.BackendOverloaded, 6)]


def incomplete(reason: str) -> dict[str, Any]:
    response = {
        "status": "incomplete",
        "incomplete_details": {"reason": reason},
        "output": [message("Half.")],
    }
    return {"type": "response.incomplete", "response": response}


FAULTS = (
    Fault("success", saying(head(), ANSWER), "All is well."),
    Fault("reset before the headers", reset_after(), errors.StreamInterrupted, 6),
    Fault("closed before the headers", saying(), errors.StreamInterrupted, 6),
    Fault("closed before the first event", saying(head()), errors.StreamInterrupted, 6),
    Fault("reset after the first events", reset_after(head(), OPENING), errors.StreamInterrupted, 6),
    Fault("closed after the first events", saying(head(), OPENING), errors.StreamInterrupted, 6),
    Fault("not HTTP", saying(b"SSH-2.0-OpenSSH_9.2\r\n"), errors.StreamInterrupted, 6),
    Fault(
        "truncated chunk",
        saying(head(transfer_encoding="chunked"), chunk(OPENING), b"ff\r\nonly this"),
        errors.StreamInterrupted,
        6,
    ),
    Fault("byte by byte", drip_an_answer, "All is well."),
    Fault(
        "silent before the headers",
        silent_after(),
        errors.StreamInterrupted,
        6,
        "stopped responding",
        BRIEFLY,
    ),
    Fault(
        "silent after the headers",
        silent_after(head()),
        errors.StreamInterrupted,
        6,
        "stopped responding",
        BRIEFLY,
    ),
    Fault(
        "silent within an event",
        silent_after(head(), OPENING, b"data: {"),
        errors.StreamInterrupted,
        6,
        "stopped responding",
        BRIEFLY,
    ),
    Fault("endless comments", drip_comments, errors.StreamInterrupted, 6, "stopped responding", BRIEFLY),
    Fault("event of 100 MB", one_huge_event, errors.StreamInterrupted, 1, "exceeds"),
    Fault("last event without a final blank line", saying(head(), ANSWER[:-2]), "All is well."),
    Fault("HTML with 200", reply("200 OK", b"<h1>Sign in</h1>", "text/html"), errors.ApiError, 1, "Sign in"),
    Fault("complete response as JSON", reply("200 OK", completed(message("Whole."))["response"]), "Whole."),
    Fault("other JSON with 200", reply("200 OK", {"hello": 1}), errors.ApiError, 1, "application/json"),
    Fault("an error with 200", problem("200 OK", "insufficient_quota"), errors.QuotaExceeded),
    Fault("204", saying(head("204 No Content", None)), errors.ApiError, 1, "empty"),
    Fault(
        "302",
        saying(head("302 Found", None, location="https://login.example")),
        errors.ApiError,
        1,
        "redirects",
    ),
    Fault(
        "308", saying(head("308 Moved", None, location="http://a.example")), errors.ApiError, 1, "redirects"
    ),
    Fault("gzip", saying(head(content_encoding="gzip"), gzip.compress(ANSWER)), "All is well."),
    Fault(
        "broken gzip",
        saying(head(content_encoding="gzip"), b"not gzip"),
        errors.StreamInterrupted,
        6,
        "compress",
    ),
    Fault(
        "invalid UTF-8",
        saying(head(), ANSWER.replace(b"All", b"A\xff\xfe"), b"\n\n"),
        "A\ufffd\ufffd is well.",
    ),
    Fault("event stream with another content type", saying(head(kind="text/plain"), ANSWER), "All is well."),
    Fault("event stream without a content type", saying(head(kind=None), ANSWER), "All is well."),
    Fault(
        "plain text", saying(head(kind="text/plain"), b"Come back later."), errors.ApiError, 1, "Come back"
    ),
    Fault(
        "400",
        problem("400 Bad Request", "invalid_value", "Bad 'effort'."),
        errors.BadRequest,
        1,
        "Bad 'effort'",
    ),
    Fault(
        "400, too long", problem("400 Bad Request", "context_length_exceeded"), errors.ContextWindowExceeded
    ),
    Fault(
        "400, model",
        reply("400 Bad Request", {"detail": "The 'x' model is not supported when using Codex."}),
        errors.ModelUnavailable,
        1,
        "not supported",
    ),
    Fault("401, JSON", problem("401 Unauthorized", "invalid_api_key"), errors.SignInRequired),
    Fault("401, a key", reply("401 Unauthorized", {}), errors.SignInRequired, 1, "LOCAL_KEY", KEYED),
    Fault(
        "401, a page", reply("401 Unauthorized", b"<p>No</p>", "text/html"), errors.SignInRequired, 1, "No"
    ),
    Fault("402", reply("402 Payment Required", {"detail": "deactivated_workspace"}), errors.QuotaExceeded),
    Fault("403", problem("403 Forbidden", "unsupported_country"), errors.ApiError, 1, "403"),
    Fault("404", reply("404 Not Found", b"no such page", "text/plain"), errors.ApiError, 1, "base_url"),
    Fault("404, model", problem("404 Not Found", "model_not_found"), errors.ModelUnavailable),
    Fault(
        "407", saying(head("407 Proxy Authentication Required", None)), errors.ApiError, 1, "proxy requires"
    ),
    Fault("408", reply("408 Request Timeout", {}), errors.BackendOverloaded, 6),
    Fault("409", reply("409 Conflict", {}), errors.BackendOverloaded, 6),
    Fault("413", reply("413 Too Large", b"", "text/html"), errors.ContextWindowExceeded),
    Fault("422", reply("422 Unprocessable", {"detail": [{"msg": "input"}]}), errors.BadRequest, 1, "input"),
    Fault(
        "429, usage",
        reply("429 Too Many Requests", USAGE_LIMIT, **WINDOW),
        errors.UsageLimitReached,
        1,
        "5-hour",
    ),
    Fault(
        "429, plan",
        problem("429 Too Many", "", kind="usage_not_included"),
        errors.UsageLimitReached,
        1,
        "plan",
    ),
    Fault("429, quota", problem("429 Too Many", "insufficient_quota"), errors.QuotaExceeded),
    Fault(
        "429, rate",
        problem("429 Too Many", "rate_limit_exceeded", retry_after="3"),
        errors.RateLimited,
        6,
        waits_s=15.0,
    ),
    Fault(
        "429, bare",
        reply("429 Too Many Requests", {"detail": "Slow down."}),
        errors.RateLimited,
        6,
        "Slow down",
    ),
    Fault(
        "500",
        reply("500 Internal Server Error", b"<html>oops</html>", "text/html"),
        errors.BackendOverloaded,
        6,
    ),
    Fault(
        "503",
        reply("503 Service Unavailable", {}, retry_after="1"),
        errors.BackendOverloaded,
        6,
        waits_s=5.0,
    ),
    Fault("501", reply("501 Not Implemented", {}), errors.ApiError, 1, "base_url"),
    Fault(
        "an error event",
        streamed({"type": "error", "message": "Boom."}),
        errors.BackendOverloaded,
        6,
        "Boom.",
    ),
    Fault(
        "an error event with a status",
        streamed({"type": "error", "status": 429, **USAGE_LIMIT}),
        errors.UsageLimitReached,
    ),
    *failed_rows(),
    Fault("incomplete: max_output_tokens", streamed(incomplete("max_output_tokens")), "Half."),
    Fault("incomplete: content_filter", streamed(incomplete("content_filter")), "Half."),
    Fault(
        "proxy requires a login",
        saying(head("407 Login", None)),
        errors.ApiError,
        1,
        "proxy requires",
        role="proxy",
    ),
    Fault(
        "proxy requires a login, before TLS",
        saying(head("407 Login", None)),
        errors.ApiError,
        1,
        "proxy requires",
        role="tunnel",
    ),
    Fault(
        "unknown private CA",
        saying(head(), ANSWER),
        errors.ConfigError,
        0,
        "CODEX_CA_CERTIFICATE",
        role="tls",
    ),
    Fault("configured private CA", saying(head(), ANSWER), "All is well.", role="trusted tls"),
    Fault(
        "connection refused",
        saying(),
        errors.StreamInterrupted,
        0,
        "connection refused",
        role="closed port",
        waits_s=6.2,
    ),
)


@dataclass
class Stage:
    """A server that plays one fault; ``requests`` counts what reached it."""

    talk: Talk
    requests: int = 0
    port: int = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (await reader.readline()).strip():
                pass
            self.requests += 1
            await self.talk(writer)
            await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
            # Wait for the client to go first, so that what was written is not thrown away by a reset.
            async with asyncio.timeout(1):
                while await reader.read(1 << 16):
                    pass
        except (OSError, TimeoutError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def on_stage(talk: Talk, tls: ssl.SSLContext | None) -> AsyncIterator[Stage]:
    stage = Stage(talk)
    tasks: set[asyncio.Task[None]] = set()

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await stage.answer(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(receive, "127.0.0.1", 0, ssl=tls)
    stage.port = server.sockets[0].getsockname()[1]
    try:
        yield stage
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def outcome_of_fault(fault: Fault, folder: Path) -> tuple[Outcome, int]:
    """Play the fault; give what the caller saw, and how many requests reached the server."""
    authority = trustme.CA() if fault.role.endswith("tls") else None
    tls = None
    settings = Settings(codex_home=folder)
    if authority is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
    if authority is not None and fault.role == "trusted tls":
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        settings = replace(settings, ca_certificate=folder / "ca.pem")
    async with on_stage(fault.talk, tls) as stage:
        outcome = await _asked(fault, settings, _address(fault, stage.port), _environ(fault, stage.port))
        return outcome, stage.requests


def _address(fault: Fault, port: int) -> str:
    match fault.role:
        case "proxy":
            return "http://somewhere.invalid/v1"
        case "tunnel":
            return "https://somewhere.invalid/v1"
        case "closed port":
            return "http://127.0.0.1:1/v1"
        case role:
            return f"{'https' if role.endswith('tls') else 'http'}://127.0.0.1:{port}/v1"


def _environ(fault: Fault, port: int) -> dict[str, str]:
    proxy = f"http://127.0.0.1:{port}"
    return {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy} if fault.role in {"proxy", "tunnel"} else {}


async def _asked(fault: Fault, settings: Settings, base_url: str, environ: Mapping[str, str]) -> Outcome:
    ways = {"idle_timeout_s": IDLE_S, **fault.backend}
    backend = Backend(base_url=base_url, name="The server", **ways)
    outcome = Outcome()

    async def note_sleep(seconds: float) -> None:
        outcome.sleeps.append(seconds)

    async with open_http(settings, environ) as http:
        client = ResponsesClient(http, backend, None, sleep=note_sleep, chance=lambda: 0.5)
        try:
            outcome.events = [event async for event in client.stream(REQUEST)]
        except CodexError as error:
            outcome.error = error
    return outcome


def line_of(outcome: Outcome) -> str:
    """Give what the user reads at the end."""
    if outcome.error is not None:
        return f"{type(outcome.error).__name__}: {outcome.error.line}"
    last = outcome.events[-1]
    assert isinstance(last, ResponseFinished)
    return f"{last.text} ({last.incomplete_reason or last.status})"


def row_of(fault: Fault, outcome: Outcome, requests: int) -> str:
    """Give the fault's line of the table, without what differs from run to run and place to place."""
    line = LOCAL_TIME.sub("at HH:MM on the day", PORT.sub("127.0.0.1", line_of(outcome)))
    return f"| {fault.name} | {line.replace('|', chr(92) + '|')} | {requests} | {sum(outcome.sleeps):.1f} s |"


async def table() -> str:
    """Play all faults; return the table."""
    rows = []
    for fault in FAULTS:
        with tempfile.TemporaryDirectory() as folder:
            outcome, requests = await outcome_of_fault(fault, Path(folder))
        rows.append(row_of(fault, outcome, requests))
    return "\n".join([HEADING, *rows, ""])


if __name__ == "__main__":
    sys.stdout.write(asyncio.run(table()))
