"""The Batch API of a provider: files go up and come down, batches begin, are asked about and cancelled.

The protocol is OpenAI's (its API reference, "Batch" and "Files"): a file of at most 50,000 lines and 200 MB with the
purpose ``batch``, a line ``{"custom_id", "method", "url", "body"}`` for each request. The answers come in an output
file, the failures in an error file, by ``custom_id`` and in any order.
"""

from __future__ import annotations

import json
import re
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, TypeGuard

from codex_nb.errors import ApiError, CodexError, ConfigError, MalformedResponse
from codex_nb.http import REQUEST_ERRORS, Bounds, httpx
from codex_nb.parse import fits, loads, parse_integer, parse_time
from codex_nb.rendering.sanitize import sanitize_server_text
from codex_nb.responses import events as ev
from codex_nb.responses.client import ResponseAccumulator
from codex_nb.responses.errors import event_error, response_error, transport_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from datetime import datetime

    from codex_nb.responses.request import Backend

ENDPOINT = "/v1/responses"
MOST_REQUESTS = 50_000
MOST_BYTES = 200 * 1024 * 1024
TIMEOUT_S = 60.0
TRANSFER_S = 3600.0
MAX_RESULT_BYTES = 4 * 1024**3
MAX_LINE_BYTES = 64 * 1024 * 1024
MAX_LINE_MEMORY = 256 * 1024 * 1024
MAX_REPLY_BYTES = 1024 * 1024
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")


@dataclass(frozen=True)
class RemoteBatch:
    """A batch as the service tells of it; ``status`` is the service's own word."""

    id: str
    status: str
    total: int = 0
    done: int = 0
    failed: int = 0
    input_file: str = ""
    output_file: str | None = None
    error_file: str | None = None
    expires_at: datetime | None = None
    problem: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self.status in ENDED

    @classmethod
    def parse(cls, fields: dict[str, Any]) -> RemoteBatch:
        """Read the service's object; raises MalformedResponse for one without id and status."""
        counts = fields.get("request_counts")
        counts = counts if isinstance(counts, dict) else {}
        if not (batch_id := _text(fields.get("id"))) or not (status := _text(fields.get("status"))):
            raise MalformedResponse("The service's reply is no batch: it has no id or no status.")
        return cls(
            batch_id,
            status,
            parse_integer(counts.get("total")) or 0,
            parse_integer(counts.get("completed")) or 0,
            parse_integer(counts.get("failed")) or 0,
            _text(fields.get("input_file_id")),
            _text(fields.get("output_file_id")) or None,
            _text(fields.get("error_file_id")) or None,
            parse_time(fields.get("expires_at")),
            _problem(fields.get("errors")),
        )


class BatchClient:
    """Speaks the Batch API of one backend; every failure is a CodexError."""

    def __init__(self, http: httpx.AsyncClient, backend: Backend, auth: httpx.Auth | None) -> None:
        self.backend = backend
        self._http = http
        self._auth = auth

    async def upload(self, file: IO[bytes]) -> str:
        """Upload the requests of a batch; return the file's id."""
        file.seek(0)
        parts = {"file": ("batch.jsonl", file, "application/jsonl")}
        fields = await self._ask("POST", "/files", TRANSFER_S, data={"purpose": "batch"}, files=parts)
        if not (file_id := _text(fields.get("id"))):
            raise MalformedResponse("The service's reply to an upload has no file id.")
        return file_id

    async def begin(self, file_id: str) -> RemoteBatch:
        """Begin a batch of the requests in a file."""
        wanted = {"input_file_id": file_id, "endpoint": ENDPOINT, "completion_window": "24h"}
        return RemoteBatch.parse(await self._ask("POST", "/batches", TIMEOUT_S, json=wanted))

    async def find(self, batch_id: str) -> RemoteBatch:
        """Ask for the state of a batch."""
        return RemoteBatch.parse(await self._ask("GET", f"/batches/{batch_id}", TIMEOUT_S))

    async def cancel(self, batch_id: str) -> RemoteBatch:
        """Cancel a batch; what it has answered can still be had."""
        return RemoteBatch.parse(await self._ask("POST", f"/batches/{batch_id}/cancel", TIMEOUT_S))

    @asynccontextmanager
    async def download(self, file_id: str) -> AsyncGenerator[IO[bytes], None]:
        """Download a file; it is gone at the end of the block."""
        with tempfile.TemporaryFile() as file:
            async with self._reply("GET", f"/files/{file_id}/content", TRANSFER_S) as response:
                async for chunk in response.aiter_raw():
                    file.write(chunk)
            file.seek(0)
            yield file

    async def _ask(self, method: str, path: str, timeout_s: float, **content: Any) -> dict[str, Any]:
        async with self._reply(method, path, timeout_s, **content) as response:
            body = await response.aread()
        try:
            found = loads(body) if fits(body, MAX_LINE_MEMORY) else None
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise MalformedResponse(
                f"{self.backend.name} answered {path} with something that is no JSON object."
            )
        return found

    @asynccontextmanager
    async def _reply(
        self, method: str, path: str, timeout_s: float, **content: Any
    ) -> AsyncGenerator[httpx.Response, None]:
        url = f"{self.backend.base_url}{path}"
        size = MAX_RESULT_BYTES if path.endswith("/content") else MAX_REPLY_BYTES
        try:
            message = self._http.build_request(
                method,
                url,
                headers=dict(self.backend.headers),
                params=dict(self.backend.query) or None,
                timeout=TIMEOUT_S,
                extensions=Bounds(size, timeout_s).as_extension(),
                **content,
            )
            response = await self._http.send(message, auth=self._auth, stream=True, follow_redirects=False)
            try:
                if response.status_code != httpx.codes.OK:
                    raise self._error(response, path, await response.aread())
                yield response
            finally:
                await response.aclose()
        except REQUEST_ERRORS as error:
            failure = transport_error(error, url=url)
        else:
            return
        raise failure

    def _error(self, response: httpx.Response, path: str, body: bytes) -> CodexError:
        missing = {httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED, httpx.codes.NOT_IMPLEMENTED}
        if response.status_code in missing and path in {"/files", "/batches"}:
            return ConfigError(
                f"{self.backend.name} has no Batch API: {path} answered with status {response.status_code}.",
                key="batch",
                hint="Leave out batch=True.",
            )
        return response_error(
            response.status_code, response.headers, body, backend=self.backend, url=str(response.url)
        )


def request_line(custom_id: str, body: bytes) -> bytes:
    """Write one line of an input file."""
    named = json.dumps({"custom_id": custom_id, "method": "POST", "url": ENDPOINT})
    return b'%s, "body": %s}\n' % (named[:-1].encode(), body)


def result_lines(file: IO[bytes], backend: Backend) -> Iterator[tuple[str, ev.ResponseFinished | CodexError]]:
    """Yield the outcome of each line of an output or error file, with its custom id; damaged lines are passed over."""
    while line := file.readline(MAX_LINE_BYTES):
        try:
            entry = loads(line) if fits(line, MAX_LINE_MEMORY) else None
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(custom_id := entry.get("custom_id"), str):
            yield custom_id, _outcome(entry, backend)


def _outcome(entry: dict[str, Any], backend: Backend) -> ev.ResponseFinished | CodexError:
    response, error = entry.get("response"), entry.get("error")
    if not isinstance(response, dict):
        told = error if isinstance(error, dict) else {}
        text = sanitize_server_text(str(told.get("message") or "The batch has no answer to this question."))
        return ApiError(text, code=_text(told.get("code")) or None, hint="Submit it again with .resubmit().")
    body, status = response.get("body"), response.get("status_code")
    request_id = _text(response.get("request_id")) or None
    if status != httpx.codes.OK or not isinstance(body, dict):
        named = status if isinstance(status, int) and status >= httpx.codes.BAD_REQUEST else 500
        return response_error(named, {}, json.dumps(body).encode(), backend=backend)
    if body.get("status") == "failed":
        return event_error(body, backend=backend, request_id=request_id)
    accumulator = ResponseAccumulator(())
    accumulator.request_id = request_id
    accumulator.apply(ev.ResponseCompleted(type="response.completed", response=body))
    return accumulator.finished()


def _problem(errors: Any) -> str:
    listed = errors.get("data") if isinstance(errors, dict) else None
    first = listed[0] if isinstance(listed, list) and listed else None
    return sanitize_server_text(str(first.get("message") or "")) if isinstance(first, dict) else ""


def is_id(value: object) -> TypeGuard[str]:
    """Whether a value is an id or a word of the service, and nothing that means more in a URL or a path."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _text(value: Any) -> str:
    return value if is_id(value) else ""
