"""Token refresh: the refresh token is spent and its reply merged and saved, here or in a process that outlives us."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from codex_nb.auth.credentials import AuthFile, Claims, Tokens, fingerprint, format_time, read_claims
from codex_nb.auth.locks import AcquiredLock
from codex_nb.auth.oauth import OAuthClient
from codex_nb.auth.store import FileStore, Refreshed, Snapshot, same_login, snapshot_of, take_snapshot
from codex_nb.config.settings import Settings
from codex_nb.errors import AccountChanged, AuthError, CredentialsUnreadable, RefreshFailed, SignInRequired
from codex_nb.http import open_http

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from codex_nb.auth.credentials import Clock
    from codex_nb.auth.oauth import TokenReply
    from codex_nb.auth.store import CredentialStore, Sleep, TokenRefresher
    from codex_nb.http import httpx


RETRY_PAUSES_S = (0.5, 2.0)
RETRIED_REASONS = frozenset({"unreachable", "malformed"})


class DirectRefresher:
    """Refreshes tokens in this process."""

    def __init__(self, store: CredentialStore, oauth: OAuthClient, *, clock: Clock, sleep: Sleep) -> None:
        self._store = store
        self._oauth = oauth
        self._clock = clock
        self._sleep = sleep

    async def refresh(self, present: Snapshot, reason: str, lock: AcquiredLock) -> Refreshed | RefreshFailed:
        """Spend the refresh token, merge the reply into the login, and save it."""
        del lock  # the caller's, until this is done
        reply = await self._spend(present, reason)
        return reply if isinstance(reply, RefreshFailed) else await self._keep(present, reply)

    async def _spend(self, present: Snapshot, reason: str) -> TokenReply | RefreshFailed:
        pauses = iter(RETRY_PAUSES_S)
        while True:
            try:
                return await self._oauth.refresh(present.credentials, reason)
            except RefreshFailed as error:
                failure = error
            pause = next(pauses, None)
            if pause is None or failure.reason not in RETRIED_REASONS:
                return failure
            await self._sleep(pause)

    async def _keep(self, spent: Snapshot, reply: TokenReply) -> Refreshed:
        _ensure_reply_of_same_account(spent.document.tokens or Tokens(), reply)
        try:
            latest = same_login(spent, await asyncio.to_thread(take_snapshot, self._store))
        except CredentialsUnreadable:
            latest = spent  # a program without the lock is writing it; what is saved here replaces it
        document = _merge(latest.document, reply, self._clock())
        try:
            await asyncio.to_thread(self._store.save, document)
        except CredentialsUnreadable:
            return Refreshed(snapshot_of(document, self._store, self._store.stamp()), is_saved=False)
        return Refreshed(snapshot_of(document, self._store, self._store.stamp()))


def _merge(document: AuthFile, reply: TokenReply, now: datetime) -> AuthFile:
    """Return the document with the reply's tokens; all other keys are kept."""
    found = {name: token.get_secret_value() for name, token in vars(reply).items() if token is not None}
    tokens: Tokens = (document.tokens or Tokens()).changed(**found)
    merged: AuthFile = document.changed(tokens=tokens.plain(), last_refresh=format_time(now))
    return merged


def _ensure_reply_of_same_account(tokens: Tokens, reply: TokenReply) -> None:
    """Raise AccountChanged rather than write another account's tokens (the CLI would)."""
    pairs = ((tokens.id_token, reply.id_token), (tokens.access_token, reply.access_token))
    for old, new in pairs:
        if new is not None and not _agree(read_claims(old), read_claims(new)):
            raise AccountChanged(
                ("The sign-in service returned tokens of another account; the stored login was not changed."),
                hint="Sign in again with %codex login.",
            )


def _agree(old: Claims, new: Claims) -> bool:
    pairs = ((old.account_id, new.account_id), (old.user_id, new.user_id))
    return all(mine is None or theirs is None or mine == theirs for mine, theirs in pairs)


if TYPE_CHECKING:
    OpenClient = Callable[[Settings, Mapping[str, str]], httpx.AsyncClient]
    Launch = Callable[[Sequence[int]], Awaitable[Process | None]]

# The very package that runs here, wherever it was imported from; last in the path, so that it hides nothing.
BOOTSTRAP = "import sys; sys.path.append(sys.argv[1]); from codex_nb.auth.refresh import main; main()"
READY = b"ready\n"
START_TIMEOUT_S = 20.0
ERRORS_BY_NAME: dict[str, type[AuthError]] = {
    kind.__name__: kind for kind in (AccountChanged, CredentialsUnreadable, SignInRequired)
}


@dataclass(frozen=True)
class RefreshJob:
    """The job of the subprocess, which reads the tokens itself. ``spends`` is the refresh token's hash."""

    auth_json: str
    spends: str
    reason: str
    issuer: str
    client_id: str
    refresh_url_override: str | None
    ca_certificate: str | None
    originator: str

    def encoded(self) -> bytes:
        """Encode the job as one line of JSON."""
        return json.dumps(vars(self)).encode() + b"\n"


@dataclass(frozen=True)
class RefreshResult:
    """The result of the subprocess: ``kind`` is "saved", "unsaved" or an error's class name.

    ``document`` holds a login that could not be saved; it travels in the pipe only.
    """

    kind: str
    message: str = ""
    hint: str = ""
    reason: str = ""
    permanent: bool = False
    document: SecretStr = field(default_factory=lambda: SecretStr(""))

    def encoded(self) -> bytes:
        """Encode the result as one line of JSON."""
        return json.dumps({**vars(self), "document": self.document.get_secret_value()}).encode() + b"\n"


class DetachedRefresher:
    """Refreshes in a subprocess, which completes when this process is killed."""

    def __init__(
        self, settings: Settings, store: FileStore, fallback: TokenRefresher, launch: Launch
    ) -> None:
        self._settings = settings
        self._launch = launch
        self._store = store
        self._fallback = fallback

    async def refresh(self, present: Snapshot, reason: str, lock: AcquiredLock) -> Refreshed | RefreshFailed:
        """Start the subprocess, pass it the job and the lock, and read the login that it saved."""
        process = await self._launch(lock.descriptors)
        if process is None:
            return await self._fallback.refresh(present, reason, lock)
        lock.is_inherited = True
        outcome = await _communicate(process, self._job(present, reason))
        lock.is_inherited = False
        return await self._result_of(present, outcome)

    def _job(self, present: Snapshot, reason: str) -> RefreshJob:
        settings = self._settings
        return RefreshJob(
            auth_json=str(self._store.path),
            spends=fingerprint(present.credentials.refresh_token),
            reason=reason,
            issuer=settings.issuer,
            client_id=settings.client_id,
            refresh_url_override=settings.refresh_url_override,
            ca_certificate=None if settings.ca_certificate is None else str(settings.ca_certificate),
            originator=settings.originator,
        )

    async def _result_of(self, present: Snapshot, outcome: RefreshResult) -> Refreshed | RefreshFailed:
        if outcome.kind == "unsaved":
            document = AuthFile.model_validate_json(outcome.document.get_secret_value())
            return Refreshed(snapshot_of(document, self._store, self._store.stamp()), is_saved=False)
        if outcome.kind in ERRORS_BY_NAME:
            raise ERRORS_BY_NAME[outcome.kind](outcome.message, hint=outcome.hint)
        if outcome.kind == "RefreshFailed":
            about = {"permanent": outcome.permanent, "reason": outcome.reason, "hint": outcome.hint}
            return RefreshFailed(outcome.message, **about)  # type: ignore[arg-type]  # each of its own type
        saved = await asyncio.to_thread(take_snapshot, self._store)
        if saved is None or (outcome.kind != "saved" and not saved.is_newer_than(present)):
            return RefreshFailed(
                "Your session could not be refreshed because the refresh process ended early.",
                hint="Run the cell again in a moment.",
                permanent=False,
                reason="ended",
            )
        return Refreshed(saved)


async def launch_process(descriptors: Sequence[int], *, environ: Mapping[str, str]) -> Process | None:
    """Start a Python interpreter and wait until it is ready; None when it does not start."""
    root = str(Path(__file__).parents[2])
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable or "python3",
            *("-P", "-c", BOOTSTRAP, root),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=dict(environ),
            pass_fds=tuple(descriptors),
            start_new_session=True,  # "Restart kernel" kills the kernel's whole process group
        )
    except (OSError, ValueError, NotImplementedError):
        return None
    if process.stdout is None or not await _is_ready(process.stdout):
        with suppress(ProcessLookupError):  # it may be over already
            process.kill()
        await process.wait()
        return None
    return process


async def _is_ready(stdout: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            return await stdout.readline() == READY
    except TimeoutError:
        return False


async def _communicate(process: Process, job: RefreshJob) -> RefreshResult:
    try:
        output, _ = await process.communicate(job.encoded())
    except (BrokenPipeError, ConnectionResetError):
        output = b""
    return _read_outcome(SecretStr(output.decode("utf-8", "replace")))


def _read_outcome(text: SecretStr) -> RefreshResult:
    try:
        value: dict[str, Any] = json.loads(text.get_secret_value())
        document = SecretStr(value.pop("document"))
        return RefreshResult(document=document, **value)
    except (ValueError, TypeError, KeyError, AttributeError):
        return RefreshResult("ended")


def main() -> None:
    """Run one refresh job between standard input and standard output."""
    serve(sys.stdin.fileno(), sys.stdout.fileno())


def serve(reading: int, writing: int, *, open_client: OpenClient = open_http) -> None:
    """Read one job from a descriptor, run it, and write its result to another."""
    _tell(writing, READY)
    with os.fdopen(reading, "rb", closefd=False) as stream:
        line = stream.readline()
    if line.endswith(b"\n"):
        _tell(writing, asyncio.run(work(RefreshJob(**json.loads(line)), open_client)).encoded())


async def work(job: RefreshJob, open_client: OpenClient) -> RefreshResult:
    """Refresh the login; errors become the result."""
    settings = Settings(
        codex_home=Path(job.auth_json).parent,
        issuer=job.issuer,
        client_id=job.client_id,
        refresh_url_override=job.refresh_url_override,
        ca_certificate=None if job.ca_certificate is None else Path(job.ca_certificate),
        originator=job.originator,
    )
    try:
        async with open_client(settings, os.environ) as http:
            return await _refresh(job, FileStore(Path(job.auth_json)), OAuthClient(http, settings))
    except RefreshFailed as error:
        return _failed(error)
    except AuthError as error:
        return RefreshResult(type(error).__name__, str(error), error.hint)


async def _refresh(job: RefreshJob, store: FileStore, oauth: OAuthClient) -> RefreshResult:
    present = take_snapshot(store)
    if present is None or fingerprint(present.credentials.refresh_token) != job.spends:
        return RefreshResult("changed")
    refresher = DirectRefresher(store, oauth, clock=lambda: datetime.now(UTC), sleep=asyncio.sleep)
    refreshed = await refresher.refresh(present, job.reason, AcquiredLock())
    if isinstance(refreshed, RefreshFailed):
        return _failed(refreshed)
    if refreshed.is_saved:
        return RefreshResult("saved")
    return RefreshResult("unsaved", document=SecretStr(refreshed.snapshot.document.compact()))


def _failed(error: RefreshFailed) -> RefreshResult:
    return RefreshResult("RefreshFailed", str(error), error.hint, error.reason, error.permanent)


def _tell(descriptor: int, line: bytes) -> None:
    with contextlib.suppress(OSError):  # the kernel has exited; the login is saved nevertheless
        while line:
            line = line[os.write(descriptor, line) :]
