"""Batch jobs: many questions that a service answers within a day, through the Batch API of a key's provider.

The protocol is OpenAI's (its API reference, "Batch" and "Files"): a file of at most 50,000 lines and 200 MB with the
purpose ``batch``, a line ``{"custom_id", "method", "url", "body"}`` for each request. The answers come in an output
file, the failures in an error file, by ``custom_id`` and in any order.

A job is one or more of the service's batches. Its ids are kept in ``CODEX_HOME/codex_nb/batches``, so that any later
Python can ask for it by its id; prompts and answers stay with the service.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import IO, TYPE_CHECKING, Any, TypeGuard

from pydantic import TypeAdapter, ValidationError

from codex_nb.errors import ApiError, CodexError, ConfigError, MalformedResponse
from codex_nb.files import replace_file
from codex_nb.http import REQUEST_ERRORS, Bounds, httpx
from codex_nb.parse import fits, loads_object, parse_integer, parse_object, parse_objects, parse_time
from codex_nb.rendering.sanitize import sanitize_server_text
from codex_nb.responses import events as ev
from codex_nb.responses.client import ResponseAccumulator
from codex_nb.responses.errors import event_error, response_error, transport_error
from codex_nb.responses.request import dump_json
from codex_nb.session.batch import Progress, with_value
from codex_nb.session.events import Answer
from codex_nb.session.outbound import answer_text, reasoning_text

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterable,
        Awaitable,
        Callable,
        Coroutine,
        Iterable,
        Iterator,
    )
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from codex_nb.responses.request import Backend
    from codex_nb.session.batch import Outcome


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
        counts = parse_object(fields.get("request_counts"))
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
        file.flush()
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
        if not (found := loads_object(body)):  # MAX_REPLY_BYTES bounds it
            raise MalformedResponse(
                f"{self.backend.name} answered {path} with no JSON object, or an empty one."
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


def _request_line(custom_id: str, body: bytes) -> bytes:
    named = json.dumps({"custom_id": custom_id, "method": "POST", "url": ENDPOINT})
    return b'%s, "body": %s}\n' % (named[:-1].encode(), body)


def result_lines(file: IO[bytes], backend: Backend) -> Iterator[tuple[str, ev.ResponseFinished | CodexError]]:
    """Yield the outcome of each line of an output or error file, with its custom id; damaged lines are passed over."""
    while line := file.readline(MAX_LINE_BYTES):
        entry = loads_object(line) if fits(line, MAX_LINE_MEMORY) else {}
        if isinstance(custom_id := entry.get("custom_id"), str):
            yield custom_id, _result(entry, backend)


def _result(entry: dict[str, Any], backend: Backend) -> ev.ResponseFinished | CodexError:
    response, error = entry.get("response"), entry.get("error")
    if not isinstance(response, dict):
        told = parse_object(error)
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
    told = parse_objects(parse_object(errors).get("data"))
    return sanitize_server_text(str(told[0].get("message") or "")) if told else ""


def _is_id(value: object) -> TypeGuard[str]:
    """Whether a value is an id or a word of the service, and nothing that means more in a URL or a path."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _text(value: Any) -> str:
    return value if _is_id(value) else ""


FIRST_POLL_S = 2.0
LONGEST_POLL_S = 60.0
POLL_GROWTH = 1.5
MOST_FAILED_POLLS = 10
LINES_AT_ONCE = 50  # that are read before the engine's other tasks go on
EXPIRED = "batch_expired"
NOT_SUBMITTED = "not_submitted"
_PASSED_OVER = frozenset({EXPIRED, NOT_SUBMITTED, "batch_cancelled", "request_timeout"})
_NOT_BEGUN = "not submitted"
# The farthest behind first; a state that is not known comes before all others.
_STATES = (
    *("validating", "in_progress", "finalizing", "cancelling"),
    *(_NOT_BEGUN, "failed", "expired", "cancelled", "completed"),
)


@dataclass
class Part:
    """One batch of a job: its file of requests at the service, and its id, None before it is begun."""

    input_file: str
    batch_id: str | None = None
    first: int = 0
    count: int = 0


@dataclass
class JobRecord:
    """What is kept of a job; a question that was submitted again is in a later part, too."""

    count: int
    parts: list[Part] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The id of the job's first batch, an empty text before that has begun."""
        return next((part.batch_id for part in self.parts if part.batch_id), "")


@dataclass(frozen=True)
class JobStatus:
    """How far a job is.

    ``state`` is the service's word: "validating", "in_progress", "finalizing", "completed", "failed", "expired",
    "cancelling" or "cancelled". With several batches it is that of the one that is furthest behind; "not submitted"
    when all batches have ended, and a part of the job has none. ``expires_at`` is aware UTC, ``problem`` is why the
    service failed the job.
    """

    state: str
    total: int
    done: int
    failed: int
    expires_at: datetime | None = None
    problem: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes of the job, unless it is submitted again."""
        return _has_ended(self.state)


def _has_ended(state: str) -> bool:
    return state in ENDED or state == _NOT_BEGUN


class JobStore:
    """The records of jobs, a file of mode 0600 each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, record: JobRecord) -> None:
        """Keep a record; raises ConfigError when the folder cannot be written."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._path(record.id), dump_json(asdict(record)))
        except OSError as error:
            raise ConfigError(
                f"The batch job {record.id} has begun, but {self._folder} cannot be written: {error.strerror}.",
                path=str(self._folder),
                hint=f"Keep the id: codex_nb.batch({record.id!r}) finds the job.",
            ) from error

    def load(self, job_id: str) -> JobRecord:
        """Return a job's record; one of the service's own batches is a job, too. Raises ConfigError for no id."""
        if not _is_id(job_id):
            raise ConfigError(
                f"{job_id!r} is not the id of a batch job.", key="id", hint="Use the job's .id."
            )
        with suppress(OSError, ValidationError):
            return TypeAdapter(JobRecord).validate_json(self._path(job_id).read_bytes())
        return JobRecord(0, [Part("", job_id)])

    def _path(self, job_id: str) -> Path:
        return self._folder / f"{job_id}.json"


async def submit(
    client: BatchClient,
    bodies: AsyncIterable[bytes],
    store: JobStore,
    *,
    most_requests: int = MOST_REQUESTS,
    most_bytes: int = MOST_BYTES,
) -> JobRecord:
    """Upload the bodies of requests, in as many files as the service's limits need, and begin a batch of each.

    All files are uploaded before the first batch begins. Raises CodexError; when a batch but the first cannot begin,
    the job goes on without it until it is submitted again.
    """
    record, part, size = JobRecord(0), Part(""), 0
    with tempfile.TemporaryFile() as file:
        async for body in bodies:
            line = _request_line(str(record.count), body)
            if part.count == most_requests or (part.count and size + len(line) > most_bytes):
                record.parts.append(replace(part, input_file=await client.upload(file)))
                file.truncate(0)
                file.seek(0)
                part, size = Part("", first=record.count), 0
            file.write(line)
            size, part.count, record.count = size + len(line), part.count + 1, record.count + 1
        record.parts.append(replace(part, input_file=await client.upload(file)))
    await _begin(client, record, store)
    return record


async def _begin(client: BatchClient, record: JobRecord, store: JobStore) -> None:
    """Begin the batches that have not begun, and keep each id as soon as it is known."""
    for part in record.parts:
        if part.batch_id is None:
            try:
                part.batch_id = (await client.begin(part.input_file)).id
            except CodexError as error:
                if record.id:
                    error.add_note(
                        f"The job has begun in part: codex_nb.batch({record.id!r}).resubmit() sends the rest."
                    )
                raise
            store.save(record)


class BatchJob:
    """Questions that the service answers within 24 hours; ``codex_nb.batch(job.id)`` finds the job in any later Python.

    Every method asks the service and raises CodexError.
    """

    def __init__(
        self,
        record: JobRecord,
        store: JobStore,
        connect: Callable[[], Awaitable[BatchClient]],
        *,
        run: Callable[[Coroutine[Any, Any, Any]], Any],
        watch: Callable[[], AbstractContextManager[Callable[[Progress], None]]],
        parse: Callable[[str], Any] | None = None,
        shaped: Callable[[list[Outcome]], Any] = lambda outcomes: outcomes,
    ) -> None:
        self._record = record
        self._store = store
        self._connect = connect
        self._run = run
        self._watch = watch
        self._parse = parse
        self._shaped = shaped

    def __repr__(self) -> str:
        return f"BatchJob({self.id!r})"

    @property
    def id(self) -> str:
        """What :func:`codex_nb.batch` takes; it starts with ``batch_``."""
        return self._record.id

    @property
    def status(self) -> JobStatus:
        """How far the job is, by the service's newest word."""
        found: list[RemoteBatch | None] = self._run(self._look())
        known = [remote for remote in found if remote is not None]
        total = self._record.count or known[0].total
        done = sum(remote.done for remote in known)
        return JobStatus(
            self._state([_NOT_BEGUN if remote is None else remote.status for remote in found]),
            total,
            done,
            min(sum(remote.failed for remote in known), max(0, total - done)),
            min((remote.expires_at for remote in known if remote.expires_at), default=None),
            next((remote.problem for remote in known if remote.problem), ""),
        )

    def _state(self, states: list[str]) -> str:
        """Return the state of the batch that is furthest behind; a new submission replaces what has ended."""
        originals = sum(1 for part in self._record.parts if part.count) or 1
        ended = states[originals:][-1:] or states
        counted = [state for state in states if not _has_ended(state)] or ended
        return min(counted, key=lambda state: _STATES.index(state) if state in _STATES else -1)

    def wait(self, timeout_s: float | None = None) -> Any:
        """Wait until the job has ended, showing how far it is, and return :meth:`results`.

        Questions that were never submitted are not waited for. Raises TimeoutError after ``timeout_s`` seconds; the job
        goes on. An interrupt ends the waiting alone, too.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        pause, failures = FIRST_POLL_S, 0
        with self._watch() as show:
            while True:
                try:
                    status, failures = self.status, 0
                    show(Progress(status.done + status.failed, status.total, status.failed))
                    if status.has_ended:
                        return self.results()
                except CodexError as error:
                    failures += 1
                    if not error.retryable or failures > MOST_FAILED_POLLS:
                        raise
                if deadline is not None and time.monotonic() + pause > deadline:
                    raise TimeoutError(f"The batch job {self.id} has not ended yet; it goes on.")
                self._run(asyncio.sleep(pause))
                pause = min(LONGEST_POLL_S, pause * POLL_GROWTH)

    def results(self) -> Any:
        """Return the outcomes in the order of the prompts, as :func:`map` does with ``on_error="return"``.

        A question that failed or expired has its CodexError in its place, one that was cancelled an Answer with the
        status "cancelled". Raises CodexError while the job has not ended.
        """
        return self._shaped([with_value(outcome, self._parse) for outcome in self._run(self._outcomes())])

    def cancel(self) -> None:
        """Cancel the job; questions that are answered by then stay answered."""
        self._run(self._cancel())

    def resubmit(self) -> BatchJob:
        """Submit the questions again that expired, were cancelled or never begun; return this job."""
        self._run(self._resubmit())
        return self

    async def _look(self) -> list[RemoteBatch | None]:
        return await self._remotes(await self._connect())

    async def _remotes(self, client: BatchClient) -> list[RemoteBatch | None]:
        ids = [part.batch_id for part in self._record.parts]
        return [None if each is None else await client.find(each) for each in ids]

    async def _outcomes(self) -> list[Outcome]:
        client = await self._connect()
        return await self._read_all(client, await self._remotes(client))

    async def _read_all(self, client: BatchClient, remotes: list[RemoteBatch | None]) -> list[Outcome]:
        found: dict[int, Outcome] = {}
        if any(remote is not None and not remote.has_ended for remote in remotes):
            raise CodexError(
                f"The batch job {self.id} has not ended yet.", hint="Use .wait(), or ask again later."
            )
        missing: dict[int, Outcome] = {}
        for part, remote in zip(self._record.parts, remotes, strict=True):
            if remote is not None:
                await _read(client, remote, found)
            missing |= dict.fromkeys(range(part.first, part.first + part.count), _missing(remote))
        count = self._record.count or max(found, default=-1) + 1
        known = missing | found
        return [known.get(index) or _missing(remotes[0]) for index in range(count)]

    async def _cancel(self) -> None:
        client = await self._connect()
        for remote in await self._remotes(client):
            if remote is not None and not remote.has_ended:
                await client.cancel(remote.id)

    async def _resubmit(self) -> None:
        client = await self._connect()
        if any(part.batch_id is None for part in self._record.parts):
            await _begin(client, self._record, self._store)
            return
        remotes = await self._remotes(client)
        outcomes = await self._read_all(client, remotes)
        missing = {str(index) for index, outcome in enumerate(outcomes) if _is_open(outcome)}
        for part, remote in zip(tuple(self._record.parts), remotes, strict=True):
            if remote is None or not missing or not (source := part.input_file or remote.input_file):
                continue
            with tempfile.TemporaryFile() as file:
                async with client.download(source) as requests:
                    taken = _pick(requests, file, missing)
                missing -= taken
                if taken:
                    self._record.parts.append(Part(await client.upload(file)))
        await _begin(client, self._record, self._store)


async def _read(client: BatchClient, remote: RemoteBatch, found: dict[int, Outcome]) -> None:
    """Add the outcomes of a batch; an answer is replaced by nothing."""
    for file_id in filter(None, (remote.error_file, remote.output_file)):
        async with client.download(file_id) as file:
            for number, (custom_id, outcome) in enumerate(result_lines(file, client.backend)):
                if custom_id.isdecimal() and not isinstance(found.get(int(custom_id)), Answer):
                    found[int(custom_id)] = _outcome(outcome)
                if number % LINES_AT_ONCE == 0:
                    await asyncio.sleep(0)


def _outcome(outcome: ev.ResponseFinished | CodexError) -> Outcome:
    if isinstance(outcome, CodexError):
        return outcome
    return Answer(
        text=answer_text(outcome.items),
        items=outcome.items,
        reasoning="\n\n".join(filter(None, map(reasoning_text, outcome.items))),
        status="completed" if outcome.status == "completed" else "incomplete",
        usage=outcome.usage,
        model=outcome.model,
        request_id=outcome.request_id,
        billing="api_key",
    )


def _missing(remote: RemoteBatch | None) -> Outcome:
    """Return the outcome of a question that a batch tells nothing about."""
    hint = "Submit it again with .resubmit()."
    if remote is None:
        return ApiError("This question was not submitted.", code=NOT_SUBMITTED, hint=hint)
    if remote.status == "cancelled":
        return Answer("", status="cancelled")
    if remote.status == "expired":
        return ApiError("The batch expired before this question was answered.", code=EXPIRED, hint=hint)
    return ApiError(remote.problem or "The batch has no answer to this question.", hint="Ask it again.")


def _is_open(outcome: Outcome) -> bool:
    """Whether a question was passed over: it was neither answered nor refused."""
    if isinstance(outcome, Answer):
        return outcome.status == "cancelled"
    return isinstance(outcome, ApiError) and (outcome.code in _PASSED_OVER or outcome.retryable)


def _pick(requests: Iterable[bytes], file: IO[bytes], wanted: set[str]) -> set[str]:
    """Copy the request lines of some questions; return the custom ids of those that were there."""
    taken = set()
    for line in requests:
        start = line.partition(b'"custom_id": "')[2]
        custom_id = start.partition(b'"')[0].decode("ascii", "replace")
        if custom_id in wanted:
            file.write(line)
            taken.add(custom_id)
    return taken
