"""OpenAI's authorization server as the Codex CLI speaks to it: token endpoint, refresh, device code, revocation.

A refresh spends the token, merges the reply into the login and saves it: here, or in a process that outlives us.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pydantic import SecretStr

from codex_nb.auth.credentials import (
    AuthFile,
    Claims,
    Tokens,
    encode_base64url,
    fingerprint,
    format_time,
    read_claims,
)
from codex_nb.auth.locks import AcquiredLock
from codex_nb.auth.store import FileStore, Refreshed, Snapshot, same_login, snapshot_of, take_snapshot
from codex_nb.config.settings import Settings
from codex_nb.errors import (
    AccountChanged,
    AuthError,
    CredentialsUnreadable,
    LoginFailed,
    RefreshFailed,
    SignInRequired,
)
from codex_nb.http import httpx, is_secure, open_http, request_json
from codex_nb.parse import parse_number

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from codex_nb.auth.credentials import Clock, Credentials
    from codex_nb.auth.store import CredentialStore, Sleep, TokenRefresher
    from codex_nb.http import JsonResponse

    OpenClient = Callable[[Settings, Mapping[str, str]], httpx.AsyncClient]
    Launch = Callable[[Sequence[int]], Awaitable[Process | None]]


PERMANENT_CODES = {
    "refresh_token_expired": ("expired", "your sign-in has expired"),
    "refresh_token_reused": ("reused", "the refresh token was already used by another program"),
    "refresh_token_invalidated": ("revoked", "your sign-in was revoked"),
}


@dataclass(frozen=True)
class TokenReply:
    """A reply of the token endpoint; a token that it leaves out is None."""

    id_token: SecretStr | None = None
    access_token: SecretStr | None = None
    refresh_token: SecretStr | None = None


@dataclass(frozen=True)
class DeviceCode:
    """The code that the user enters at ``url``, and the polling interval in seconds."""

    device_auth_id: SecretStr
    user_code: str
    url: str
    interval_s: float


@dataclass(frozen=True)
class AuthorizationCode:
    """A code that the token endpoint exchanges for tokens, once."""

    code: SecretStr
    verifier: SecretStr
    redirect_uri: str


def read_refresh(reply: JsonResponse) -> TokenReply:
    """Read the reply to a refresh. Raises RefreshFailed, permanent or transient."""
    if reply.problem:
        raise _transient(f"the sign-in service failed: {reply.problem}", "unreachable")
    if reply.status == httpx.codes.OK:
        tokens = read_tokens(reply)
        if tokens is None:
            raise _transient("the sign-in service returned an invalid response", "malformed")
        return tokens
    code = _error_code(reply)
    if reply.status in (400, 401, 403) and code in PERMANENT_CODES:
        reason, why = PERMANENT_CODES[code]
        raise _permanent(why, reason)
    if reply.status == httpx.codes.UNAUTHORIZED or (reply.status == 400 and code == "invalid_grant"):  # noqa: PLR2004
        raise _permanent("the sign-in service rejected the refresh token", "rejected")
    raise _transient(f"the sign-in service returned status {reply.status}", "unreachable")


def read_tokens(reply: JsonResponse) -> TokenReply | None:
    """Read any subset of the three tokens; None when the reply is malformed. Other keys are ignored."""
    value = reply.value
    if not isinstance(value, dict):
        return None
    found = {name: value.get(name) for name in ("id_token", "access_token", "refresh_token")}
    if any(token is not None and not isinstance(token, str) for token in found.values()):
        return None
    return TokenReply(**{name: SecretStr(token) for name, token in found.items() if token})


def _error_code(reply: JsonResponse) -> str | None:
    value = reply.fields
    error = value.get("error")
    for code in (error.get("code") if isinstance(error, dict) else error, value.get("code")):
        if isinstance(code, str):
            return code
    return None


def read_device_code(reply: JsonResponse, url: str) -> DeviceCode | None:
    """Read a device code that is confirmed at ``url``; None when the reply contains none."""
    value = reply.fields
    device_auth_id, user_code = value.get("device_auth_id"), value.get("user_code") or value.get("usercode")
    if not isinstance(device_auth_id, str) or not isinstance(user_code, str):
        return None
    return DeviceCode(SecretStr(device_auth_id), user_code, url, read_interval(value.get("interval")))


def read_authorization_code(reply: JsonResponse, redirect_uri: str) -> AuthorizationCode | None:
    """Read the authorization code of a confirmed device code; None when the reply contains none."""
    value = reply.fields
    code, verifier = value.get("authorization_code"), value.get("code_verifier")
    if not isinstance(code, str) or not isinstance(verifier, str):
        return None
    return AuthorizationCode(SecretStr(code), SecretStr(verifier), redirect_uri)


def read_interval(value: object) -> float:
    """Read a polling interval in seconds, which the service writes as a string; five when not found."""
    seconds = parse_number(value)
    return 5.0 if seconds is None else min(max(seconds, 0.0), 60.0)


def _permanent(why: str, reason: str) -> RefreshFailed:
    return RefreshFailed(
        f"Your session cannot be refreshed: {why}.",
        hint="Sign in again with %codex login.",
        permanent=True,
        reason=reason,
    )


def _transient(why: str, reason: str) -> RefreshFailed:
    return RefreshFailed(
        f"Your session could not be refreshed: {why}.",
        hint="Run the cell again in a moment.",
        permanent=False,
        reason=reason,
    )


def login_failure(what: str, reply: JsonResponse) -> LoginFailed:
    """Return the error for a failed step of the sign-in."""
    if reply.problem:
        return LoginFailed(
            f"{what}: {reply.problem}.", hint="Check the network and try again.", reason="network"
        )
    reason = "refused" if reply.status < 500 else "network"  # noqa: PLR2004  (HTTP: the server's own fault)
    return LoginFailed(
        f"{what} (status {reply.status}).", hint="Start again with %codex login.", reason=reason
    )


TIMEOUT_S = 20.0
REVOKE_TIMEOUT_S = 10.0
SCOPES = "openid profile email offline_access api.connectors.read api.connectors.invoke"
DEVICE_CODE_LIFETIME = timedelta(minutes=15)


@dataclass(frozen=True)
class Pkce:
    """A proof key for code exchange (RFC 7636): 64 random bytes and their S256 challenge."""

    verifier: SecretStr = field(default_factory=lambda: SecretStr(secrets.token_urlsafe(64)))

    @property
    def challenge(self) -> str:
        """The S256 hash of the verifier."""
        return encode_base64url(sha256(self.verifier.get_secret_value().encode("ascii")).digest())


class OAuthClient:
    """A client of the authorization server, without state."""

    def __init__(self, http: httpx.AsyncClient, settings: Settings) -> None:
        self._http = http
        self._settings = settings

    async def refresh(self, credentials: Credentials, reason: str) -> TokenReply:
        """Spend the refresh token. Raises RefreshFailed, permanent or transient."""
        url = self.refresh_url(credentials)
        ensure_secure(url)
        reply = await self._send(
            "POST",
            url,
            json={
                "client_id": credentials.client_id or self._settings.client_id,
                "grant_type": "refresh_token",
                "refresh_reason": reason,
                "refresh_token": credentials.refresh_token,
            },
        )
        return read_refresh(reply)

    def refresh_url(self, credentials: Credentials) -> str:
        """Return the token endpoint: the override, else that of the login's issuer, else the configured one."""
        issuer = credentials.issuer or self._settings.issuer
        return self._settings.refresh_url_override or f"{issuer.rstrip('/')}/oauth/token"

    def authorize_url(self, redirect_uri: str, pkce: Pkce, state: SecretStr) -> str:
        """Return the URL at which the sign-in in the browser starts."""
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": SCOPES,
            "code_challenge": pkce.challenge,
            "code_challenge_method": "S256",
            "id_token_add_organizations": "true",
            "codex_cli_simplified_flow": "true",
            "state": state.get_secret_value(),
            "originator": self._settings.originator,
        }
        if self._settings.forced_workspaces:
            query["allowed_workspace_id"] = ",".join(self._settings.forced_workspaces)
        return f"{self._settings.issuer}/oauth/authorize?{urlencode(query)}"

    async def exchange(self, code: AuthorizationCode) -> TokenReply:
        """Exchange an authorization code for tokens. Raises LoginFailed."""
        reply = await self._send(
            "POST",
            f"{self._settings.issuer}/oauth/token",
            data={
                "grant_type": "authorization_code",
                "client_id": self._settings.client_id,
                "code": code.code,
                "redirect_uri": code.redirect_uri,
                "code_verifier": code.verifier,
            },
        )
        if reply.problem or reply.status != httpx.codes.OK:
            raise login_failure("The sign-in service rejected the sign-in", reply)
        tokens = read_tokens(reply)
        if tokens is None or tokens.access_token is None:
            raise LoginFailed(
                "The sign-in service returned no tokens.",
                hint="Start again with %codex login.",
                reason="malformed",
            )
        return tokens

    async def request_device_code(self) -> DeviceCode:
        """Begin a device-code sign-in. Raises LoginFailed."""
        url = f"{self._settings.issuer}/api/accounts/deviceauth/usercode"
        reply = await self._send("POST", url, json={"client_id": self._settings.client_id})
        if reply.status == httpx.codes.NOT_FOUND:
            raise LoginFailed(
                "Signing in by device code is not enabled here.",
                hint="Allow device codes in ChatGPT's security settings, or use %codex login browser.",
                reason="unsupported",
            )
        if reply.problem or reply.status != httpx.codes.OK:
            raise login_failure("The device code could not be requested", reply)
        device = read_device_code(reply, f"{self._settings.issuer}/codex/device")
        if device is None:
            raise LoginFailed(
                "The sign-in service returned no device code.",
                hint="Start again with %codex login.",
                reason="malformed",
            )
        return device

    async def poll_device_code(self, device: DeviceCode) -> AuthorizationCode | None:
        """Ask whether the code was confirmed; None while it was not. Raises LoginFailed.

        A service that is busy or away for a moment has not refused: the CLI gives up there, we ask again.
        """
        url = f"{self._settings.issuer}/api/accounts/deviceauth/token"
        body = {"device_auth_id": device.device_auth_id, "user_code": device.user_code}
        reply = await self._send("POST", url, json=body)
        if reply.problem or reply.status in (403, 404, 408, 429) or reply.status >= 500:  # noqa: PLR2004  (HTTP)
            return None
        if reply.status != httpx.codes.OK:
            raise login_failure("The device code was refused", reply)
        code = read_authorization_code(reply, f"{self._settings.issuer}/deviceauth/callback")
        if code is None:
            raise LoginFailed(
                "The sign-in service confirmed the sign-in but returned no authorization code.",
                hint="Start again with %codex login.",
                reason="malformed",
            )
        return code

    async def revoke(self, credentials: Credentials) -> bool:
        """Revoke a login; return whether the service confirmed. Network errors are ignored."""
        issuer = credentials.issuer or self._settings.issuer
        url = self._settings.revoke_url_override or f"{issuer.rstrip('/')}/oauth/revoke"
        if credentials.refresh_token is None:
            return False
        body = {
            "token": credentials.refresh_token,
            "token_type_hint": "refresh_token",
            "client_id": credentials.client_id or self._settings.client_id,
        }
        reply = await self._send("POST", url, json=body, timeout_s=REVOKE_TIMEOUT_S)
        return reply.status == httpx.codes.OK

    async def _send(
        self, method: str, url: str, *, timeout_s: float = TIMEOUT_S, **body: Any
    ) -> JsonResponse:
        return await request_json(self._http, method, url, timeout_s=timeout_s, **body)


def ensure_secure(url: str) -> None:
    """Raise RefreshFailed when a token would be sent unencrypted."""
    if not is_secure(url):
        raise RefreshFailed(
            "Your session was not refreshed: the refresh address is neither https nor on this machine.",
            hint="Check CODEX_REFRESH_TOKEN_URL_OVERRIDE and the issuer in auth.json.",
            permanent=False,
            reason="insecure",
        )


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


# The very package that runs here, wherever it was imported from; last in the path, so that it hides nothing.
BOOTSTRAP = "import sys; sys.path.append(sys.argv[1]); from codex_nb.auth.oauth import main; main()"
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
    with suppress(OSError):  # the kernel has exited; the login is saved nevertheless
        while line:
            line = line[os.write(descriptor, line) :]
