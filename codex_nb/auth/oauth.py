"""OpenAI's authorization server as the Codex CLI speaks to it: token endpoint, refresh, device code, revocation.

A refresh spends the token, merges the reply into the login and saves it: here, or in a process that outlives us.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, SecretStr

from codex_nb.auth.credentials import (
    AuthFile,
    Tokens,
    account_of_token,
    encode_base64url,
    fingerprint,
    fits_header,
    format_time,
    utc_now,
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
    from datetime import datetime

    from codex_nb.auth.credentials import Clock, Credentials
    from codex_nb.auth.store import CredentialStore, Sleep, TokenRefresher
    from codex_nb.http import JsonResponse

    OpenClient = Callable[[Settings, Mapping[str, str]], httpx.AsyncClient]
    Launch = Callable[[Sequence[int]], Awaitable[Process | None]]


# What the service says of a refresh token that is of no use any more: why, and the reason of the error.
PERMANENT_CODES = {
    "refresh_token_expired": ("your sign-in has expired", "expired"),
    "refresh_token_reused": ("the refresh token was already used by another program", "reused"),
    "refresh_token_invalidated": ("your sign-in was revoked", "revoked"),
}
PENDING_CODES = frozenset({"authorization_pending", "slow_down"})
TRANSIENT_REASONS = frozenset({"unreachable", "malformed"})
RETRY_PAUSES_S = (0.5, 2.0)


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


def read_refresh(reply: JsonResponse) -> Tokens:
    """Read the reply to a refresh. Raises RefreshFailed, permanent or transient."""
    tokens = read_tokens(reply) if reply.is_ok else None
    if tokens is not None:
        return tokens
    code = _error_code(reply)
    if reply.problem:
        why, reason = f"the sign-in service failed: {reply.problem}", "unreachable"
    elif reply.is_ok:
        why, reason = "the sign-in service returned an invalid response", "malformed"
    elif reply.status in (400, 401, 403) and code in PERMANENT_CODES:
        why, reason = PERMANENT_CODES[code]
    elif reply.status == httpx.codes.UNAUTHORIZED or (reply.status == 400 and code == "invalid_grant"):  # noqa: PLR2004
        why, reason = "the sign-in service rejected the refresh token", "rejected"
    else:
        why, reason = f"the sign-in service returned status {reply.status}", "unreachable"
    if reason in TRANSIENT_REASONS:
        raise RefreshFailed(f"Your session could not be refreshed: {why}.", reason=reason)
    raise RefreshFailed(f"Your session cannot be refreshed: {why}.", permanent=True, reason=reason)


def read_tokens(reply: JsonResponse) -> Tokens | None:
    """Read any subset of the three tokens; None when the reply is malformed. Other keys are ignored.

    One that is no token is left out beside another that is: the refresh token that paid for them is spent.
    """
    value = reply.value
    if not isinstance(value, dict):
        return None
    names = ("id_token", "access_token", "refresh_token")
    given = {name: value[name] for name in names if value.get(name) not in (None, "")}
    usable = {
        name: token
        for name, token in given.items()
        if isinstance(token, str) and fits_header(SecretStr(token))
    }
    return Tokens.model_validate(usable) if usable or not given else None


# What is read of a reply stays in these functions, which raise nothing: a traceback shows the local variables.


def _read_device_code(reply: JsonResponse, url: str) -> DeviceCode | None:
    """Read a device code that is confirmed at ``url``; None when the reply contains none."""
    value = reply.fields
    device_auth_id, user_code = value.get("device_auth_id"), value.get("user_code") or value.get("usercode")
    if not isinstance(device_auth_id, str) or not isinstance(user_code, str):
        return None
    seconds = parse_number(value.get("interval"))  # which the service writes as text
    interval_s = 5.0 if seconds is None else min(max(seconds, SHORTEST_INTERVAL_S), LONGEST_INTERVAL_S)
    return DeviceCode(SecretStr(device_auth_id), user_code, url, interval_s)


def _read_authorization_code(reply: JsonResponse, redirect_uri: str) -> AuthorizationCode | None:
    """Read the authorization code of a confirmed device code; None when the reply contains none."""
    code, verifier = reply.fields.get("authorization_code"), reply.fields.get("code_verifier")
    if not isinstance(code, str) or not isinstance(verifier, str):
        return None
    return AuthorizationCode(SecretStr(code), SecretStr(verifier), redirect_uri)


def _error_code(reply: JsonResponse) -> str | None:
    error = reply.fields.get("error")
    codes = (error.get("code") if isinstance(error, dict) else error, reply.fields.get("code"))
    return next((code for code in codes if isinstance(code, str)), None)


def login_failure(what: str, reply: JsonResponse) -> LoginFailed:
    """Return the error for a failed step of the sign-in."""
    if reply.problem:
        return LoginFailed(
            f"{what}: {reply.problem}.", hint="Check the network and try again.", reason="network"
        )
    reason = "refused" if reply.status < 500 else "network"  # noqa: PLR2004  (HTTP: the server's own fault)
    return LoginFailed(f"{what} (status {reply.status}).", reason=reason)


TIMEOUT_S = 20.0
REVOKE_TIMEOUT_S = 10.0
SCOPES = "openid profile email offline_access api.connectors.read api.connectors.invoke"
DEVICE_CODE_LIFETIME = timedelta(minutes=15)
SHORTEST_INTERVAL_S, LONGEST_INTERVAL_S = 1.0, 60.0


class OAuthClient:
    """A client of the authorization server, without state."""

    def __init__(self, http: httpx.AsyncClient, settings: Settings) -> None:
        self._http = http
        self._settings = settings

    async def refresh(self, credentials: Credentials, reason: str) -> Tokens:
        """Spend the refresh token. Raises RefreshFailed, permanent or transient."""
        issuer = credentials.issuer or self._settings.issuer
        url = self._settings.refresh_url_override or f"{issuer.rstrip('/')}/oauth/token"
        if not is_secure(url):
            raise RefreshFailed(
                "Your session was not refreshed: the refresh address is neither https nor on this machine.",
                hint="Check CODEX_REFRESH_TOKEN_URL_OVERRIDE and the issuer in auth.json.",
                reason="insecure",
            )
        reply = await self._post(
            url,
            json={
                "client_id": credentials.client_id or self._settings.client_id,
                "grant_type": "refresh_token",
                "refresh_reason": reason,
                "refresh_token": credentials.refresh_token,
            },
        )
        return read_refresh(reply)

    def authorize_url(self, redirect_uri: str, verifier: SecretStr, state: SecretStr) -> str:
        """Return the URL at which the sign-in in the browser starts; ``verifier`` is that of RFC 7636."""
        challenge = sha256(verifier.get_secret_value().encode("ascii")).digest()
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": SCOPES,
            "code_challenge": encode_base64url(challenge),
            "code_challenge_method": "S256",
            "id_token_add_organizations": "true",
            "codex_cli_simplified_flow": "true",
            "state": state.get_secret_value(),
            "originator": self._settings.originator,
        }
        if self._settings.forced_workspaces:
            query["allowed_workspace_id"] = ",".join(self._settings.forced_workspaces)
        return f"{self._settings.issuer}/oauth/authorize?{urlencode(query)}"

    async def exchange(self, code: AuthorizationCode) -> Tokens:
        """Exchange an authorization code for tokens. Raises LoginFailed."""
        reply = await self._post(
            f"{self._settings.issuer}/oauth/token",
            data={
                "grant_type": "authorization_code",
                "client_id": self._settings.client_id,
                "code": code.code,
                "redirect_uri": code.redirect_uri,
                "code_verifier": code.verifier,
            },
        )
        if not reply.is_ok:
            raise login_failure("The sign-in service rejected the sign-in", reply)
        tokens = read_tokens(reply)
        if tokens is None or tokens.access_token is None:
            raise LoginFailed("The sign-in service returned no tokens.", reason="malformed")
        return tokens

    async def request_device_code(self) -> DeviceCode:
        """Begin a device-code sign-in. Raises LoginFailed."""
        url = f"{self._settings.issuer}/api/accounts/deviceauth/usercode"
        reply = await self._post(url, json={"client_id": self._settings.client_id})
        if reply.status == httpx.codes.NOT_FOUND:
            raise LoginFailed(
                "Signing in by device code is not enabled here.",
                hint="Allow device codes in ChatGPT's security settings, or use %codex login browser.",
                reason="unsupported",
            )
        if not reply.is_ok:
            raise login_failure("The device code could not be requested", reply)
        device = _read_device_code(reply, f"{self._settings.issuer}/codex/device")
        if device is None:
            raise LoginFailed("The sign-in service returned no device code.", reason="malformed")
        return device

    async def poll_device_code(self, device: DeviceCode) -> AuthorizationCode | None:
        """Ask whether the code was confirmed; None while it was not. Raises LoginFailed.

        A service that is busy or away for a moment has not refused: the CLI gives up there, we ask again, as where it
        says in the words of RFC 8628 that the user has not confirmed yet.
        """
        url = f"{self._settings.issuer}/api/accounts/deviceauth/token"
        body = {"device_auth_id": device.device_auth_id, "user_code": device.user_code}
        reply = await self._post(url, json=body)
        if reply.problem or reply.status in (403, 404, 408, 429) or reply.status >= 500:  # noqa: PLR2004  (HTTP)
            return None
        if not reply.is_ok and _error_code(reply) in PENDING_CODES:
            return None
        if not reply.is_ok:
            raise login_failure("The device code was refused", reply)
        code = _read_authorization_code(reply, f"{self._settings.issuer}/deviceauth/callback")
        if code is None:
            raise LoginFailed(
                "The sign-in service confirmed the sign-in but returned no authorization code.",
                reason="malformed",
            )
        return code

    async def revoke(self, credentials: Credentials) -> None:
        """Revoke a login; failures are ignored."""
        issuer = credentials.issuer or self._settings.issuer
        url = self._settings.revoke_url_override or f"{issuer.rstrip('/')}/oauth/revoke"
        if credentials.refresh_token is None:
            return
        body = {
            "token": credentials.refresh_token,
            "token_type_hint": "refresh_token",
            "client_id": credentials.client_id or self._settings.client_id,
        }
        await self._post(url, json=body, timeout_s=REVOKE_TIMEOUT_S)

    async def _post(self, url: str, *, timeout_s: float = TIMEOUT_S, **body: Any) -> JsonResponse:
        return await request_json(self._http, "POST", url, timeout_s=timeout_s, **body)


class DirectRefresher:
    """Refreshes tokens in this process."""

    def __init__(self, store: CredentialStore, oauth: OAuthClient, *, clock: Clock, sleep: Sleep) -> None:
        self._store = store
        self._oauth = oauth
        self._clock = clock
        self._sleep = sleep

    async def refresh(self, present: Snapshot, reason: str, lock: AcquiredLock) -> Refreshed:
        """Spend the refresh token, merge the reply into the login, and save it."""
        del lock  # the caller's, until this is done
        reply = await self._spend(present.credentials, reason)
        _ensure_reply_of_same_account(present.document.tokens or Tokens(), reply)
        try:
            latest = same_login(present, await asyncio.to_thread(take_snapshot, self._store))
        except CredentialsUnreadable:
            latest = present  # a program without the lock is writing it; what is saved here replaces it
        document = _merge(latest.document, reply, self._clock())
        is_saved = True
        try:
            await asyncio.to_thread(self._store.save, document)
        except CredentialsUnreadable:
            is_saved = False
        return Refreshed(snapshot_of(document, self._store, self._store.stamp()), is_saved=is_saved)

    async def _spend(self, credentials: Credentials, reason: str) -> Tokens:
        for pause in RETRY_PAUSES_S:
            try:
                return await self._oauth.refresh(credentials, reason)
            except RefreshFailed as error:
                if error.reason not in TRANSIENT_REASONS:
                    raise
            await self._sleep(pause)
        return await self._oauth.refresh(credentials, reason)


def _merge(document: AuthFile, reply: Tokens, now: datetime) -> AuthFile:
    """Return the document with the reply's tokens; all other keys are kept."""
    kept = document.plain()
    tokens = {**(kept.get("tokens") or {}), **reply.plain()}
    return AuthFile.model_validate({**kept, "tokens": tokens, "last_refresh": format_time(now)})


def _ensure_reply_of_same_account(tokens: Tokens, reply: Tokens) -> None:
    """Raise AccountChanged rather than write another account's tokens (the CLI would).

    Of a token that names no account, the other one tells it, or else the id beside them.
    """
    present = [account_of_token(token) for token in (tokens.id_token, tokens.access_token)]
    account_id = next((each.account_id for each in present if each.account_id), tokens.account_id)
    for old, new in zip(present, (reply.id_token, reply.access_token), strict=True):
        known = replace(old, account_id=old.account_id or account_id)
        if not known.may_be(account_of_token(new)):
            raise AccountChanged(
                "The sign-in service returned tokens of another account; the stored login was not changed.",
                hint="Sign in again with %codex login.",
            )


# The very package that runs here, wherever it was imported from; last in the path, so that it hides nothing.
BOOTSTRAP = "import sys; sys.path.append(sys.argv[1]); from codex_nb.auth.oauth import serve; serve(0, 1)"
READY = b"ready\n"
START_TIMEOUT_S = 20.0
ERRORS_BY_NAME: dict[str, type[AuthError]] = {
    kind.__name__: kind for kind in (AccountChanged, CredentialsUnreadable, SignInRequired)
}
# What the subprocess needs of the settings.
JOB_SETTINGS = ("issuer", "client_id", "refresh_url_override", "ca_certificate", "originator")


class RefreshJob(BaseModel):
    """The job of the subprocess, which reads the tokens itself. ``spends`` is the refresh token's hash."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    auth_json: Path
    spends: str
    reason: str
    issuer: str
    client_id: str
    refresh_url_override: str | None
    ca_certificate: Path | None
    originator: str


@dataclass(frozen=True)
class RefreshResult:
    """The result of the subprocess: ``kind`` is "saved", "unsaved", "changed" or an error's class name.

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

    async def refresh(self, present: Snapshot, reason: str, lock: AcquiredLock) -> Refreshed:
        """Start the subprocess, pass it the job and the lock, and read the login that it saved."""
        process = await self._launch(lock.descriptors)
        if process is None:
            return await self._fallback.refresh(present, reason, lock)
        lock.is_inherited = True
        job = RefreshJob(
            auth_json=self._store.path,
            spends=fingerprint(present.credentials.refresh_token),
            reason=reason,
            **{name: getattr(self._settings, name) for name in JOB_SETTINGS},
        )
        result = await _communicate(process, job)
        lock.is_inherited = False
        if result.kind == "unsaved":
            document = AuthFile.model_validate_json(result.document.get_secret_value())
            return Refreshed(snapshot_of(document, self._store, self._store.stamp()), is_saved=False)
        if result.kind in ERRORS_BY_NAME:
            raise ERRORS_BY_NAME[result.kind](result.message, hint=result.hint)
        if result.kind == "RefreshFailed":
            raise RefreshFailed(
                result.message, hint=result.hint, permanent=result.permanent, reason=result.reason
            )
        saved = await asyncio.to_thread(take_snapshot, self._store)
        if saved is None or (result.kind != "saved" and saved.credentials.same_tokens(present.credentials)):
            raise RefreshFailed(
                "Your session could not be refreshed because the refresh process ended early.",
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
    """Pass the job and read the result; a process that ended early has none."""
    try:
        output, _ = await process.communicate(job.model_dump_json().encode() + b"\n")
        value: dict[str, Any] = json.loads(output)
        return RefreshResult(document=SecretStr(value.pop("document")), **value)
    except (BrokenPipeError, ConnectionResetError, ValueError, TypeError, KeyError, AttributeError):
        return RefreshResult("ended")


def serve(reading: int, writing: int, *, open_client: OpenClient = open_http) -> None:
    """Read one job from a descriptor, run it, and write its result to another."""
    _tell(writing, READY)
    with os.fdopen(reading, "rb", closefd=False) as stream:
        line = stream.readline()
    if line.endswith(b"\n"):
        _tell(writing, asyncio.run(work(RefreshJob.model_validate_json(line), open_client)).encoded())


async def work(job: RefreshJob, open_client: OpenClient) -> RefreshResult:
    """Refresh the login; errors become the result."""
    of_job = {name: getattr(job, name) for name in JOB_SETTINGS}
    settings, store = Settings(codex_home=job.auth_json.parent, **of_job), FileStore(job.auth_json)
    try:
        present = take_snapshot(store)
        if present is None or fingerprint(present.credentials.refresh_token) != job.spends:
            return RefreshResult("changed")
        async with open_client(settings, os.environ) as http:
            oauth = OAuthClient(http, settings)
            refresher = DirectRefresher(store, oauth, clock=utc_now, sleep=asyncio.sleep)
            refreshed = await refresher.refresh(present, job.reason, AcquiredLock())
    except AuthError as error:
        about = {name: vars(error).get(name, "") for name in ("hint", "reason")}
        is_permanent = isinstance(error, RefreshFailed) and error.permanent
        return RefreshResult(type(error).__name__, str(error), **about, permanent=is_permanent)
    if refreshed.is_saved:
        return RefreshResult("saved")
    return RefreshResult("unsaved", document=SecretStr(refreshed.snapshot.document.compact()))


def _tell(descriptor: int, line: bytes) -> None:
    with suppress(OSError):  # the kernel has exited; the login is saved nevertheless
        while line:
            line = line[os.write(descriptor, line) :]
