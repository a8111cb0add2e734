"""Login methods as step generators: device code, browser, API key, personal access token."""

from __future__ import annotations

import asyncio
import secrets
import threading
from abc import ABC, abstractmethod
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from hmac import compare_digest
from typing import TYPE_CHECKING, Literal, NoReturn, TypeVar, assert_never
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from codex_nb.auth.credentials import (
    PERSONAL_ACCESS_TOKEN_PREFIX,
    AuthFile,
    credentials_from_document,
    format_time,
    read_claims,
)
from codex_nb.auth.manager import SIGN_IN_ALLOWED, restriction
from codex_nb.auth.oauth import DEVICE_CODE_LIFETIME, AuthorizationCode, Pkce
from codex_nb.auth.store import AutoStore, KeyringStore
from codex_nb.errors import (
    AccountChanged,
    AuthError,
    CredentialsUnreadable,
    LoginFailed,
    RefreshFailed,
    SignInRequired,
)
from codex_nb.rendering.sanitize import visible_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Sequence
    from datetime import datetime

    from codex_nb.auth.credentials import Credentials
    from codex_nb.auth.manager import CredentialManager
    from codex_nb.auth.oauth import DeviceCode, TokenReply
    from codex_nb.config.settings import Settings
    from codex_nb.labels import LoginMethod


@dataclass(frozen=True)
class EnterUserCode:
    """The user enters ``user_code`` at ``url`` before ``expires_at`` (aware UTC)."""

    user_code: str
    url: str
    expires_at: datetime


@dataclass(frozen=True)
class OpenUrl:
    """The user opens ``url`` in a browser; with ``can_paste`` the final address may be submitted instead.

    ``note`` says what was wrong with the last submitted address, or what speaks for another method.
    """

    url: str
    can_paste: bool
    note: str = ""


@dataclass(frozen=True)
class EnterSecret:
    """The user enters a secret in a masked field; ``what`` names it, ``help`` says where to get it."""

    what: str
    help: str = ""


@dataclass(frozen=True)
class Waiting:
    """The user waits."""

    text: str


@dataclass(frozen=True)
class SignedIn:
    """The last step: the login is saved. ``note`` adds, for example, that a variable still overrides it."""

    account_label: str
    plan: str
    note: str = ""


LoginStep = EnterUserCode | OpenUrl | EnterSecret | Waiting | SignedIn


T = TypeVar("T")
ELSEWHERE_POLL_S = 1.0
KEYRING_ROUNDS = 3  # a keyring has no stamp, and reading it takes longer than looking at a file


async def first_of(*works: Awaitable[T]) -> T:
    """Return what ends first, or raise what it raises; the others are cancelled."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task in done).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def login_from_elsewhere(manager: CredentialManager) -> SignedIn:
    """Wait until another login takes the place of the one that is refused, or of none: in this session or on disk.

    A keyring is looked at every few seconds as long as that asks the user nothing. Raises AccountChanged when the login
    that appears is another account's than this session's.
    """
    store, refused, seen = manager.stored.store, manager.peek(), object()
    keyring = store if isinstance(store, KeyringStore | AutoStore) else None
    rounds = 0
    while True:
        found, stamp = manager.peek(), store.stamp()
        if stamp != seen or (keyring and rounds % KEYRING_ROUNDS == 0 and keyring.may_look_again()):
            seen = stamp
            try:
                found = await manager.inspect()
            except AccountChanged:
                raise
            except AuthError:  # it is not there yet, or only half of it
                found = None
        if found is not None and (refused is None or not found.same_bearer(refused)):
            return SignedIn(found.label, found.account.plan)
        await manager.sleep(ELSEWHERE_POLL_S)
        rounds += 1


class LoginFlow(ABC):
    """One attempt to sign in. ``submit`` and ``cancel`` may be called from any thread, at any time."""

    def __init__(self, manager: CredentialManager) -> None:
        self.manager = manager
        self.settings: Settings = manager.settings
        self._guard = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._submitted: deque[SecretStr] = deque()
        self._cancelled = False

    async def steps(self) -> AsyncIterator[LoginStep]:
        """Yield the steps of the sign-in; the last one is SignedIn. Raises LoginFailed."""
        with self._guard:
            self._loop = asyncio.get_running_loop()
        steps = self._steps()
        try:
            async for step in steps:
                yield step
        finally:
            with self._guard:
                self._loop = None
            await steps.aclose()  # type: ignore[attr-defined]  # every _steps is an async generator

    @abstractmethod
    def _steps(self) -> AsyncIterator[LoginStep]:
        """Yield the steps of this login method."""

    def submit(self, text: SecretStr) -> None:
        """Submit what the user typed or pasted."""
        self._submitted.append(text)
        self._wake()

    def cancel(self) -> None:
        """Cancel the sign-in; nothing is changed."""
        self._cancelled = True
        self._wake()

    def _wake(self) -> None:
        with self._guard:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._woken.set)

    async def _next_submitted(self) -> SecretStr:
        while True:
            self._woken.clear()
            self._raise_if_cancelled()
            if self._submitted:
                return self._submitted.popleft()
            await self._woken.wait()

    async def _run_cancellable(self, work: Awaitable[T]) -> T:
        """Run the work; stop it at once when the user cancels."""
        return await first_of(self._cancellation(), work)

    async def _cancellation(self) -> NoReturn:
        while True:
            self._woken.clear()
            self._raise_if_cancelled()
            await self._woken.wait()

    def _raise_if_cancelled(self) -> None:
        if self._cancelled:
            raise LoginFailed(
                "The sign-in was cancelled.",
                hint="Start again with %codex login.",
                reason="cancelled",
            )

    async def _finish(self, document: AuthFile) -> SignedIn:
        """Check the new login, then save it in place of the old one, which cannot be cancelled."""
        credentials = await self._run_cancellable(self._resolve_credentials(document))
        refusal = restriction(self.settings, credentials)
        if refusal is not None:
            raise LoginFailed(refusal, reason="forbidden", hint=SIGN_IN_ALLOWED)
        try:
            saved = await self.manager.save_login(document)
        except (RefreshFailed, CredentialsUnreadable) as failure:
            problem, hint = str(failure), failure.hint
        else:
            return SignedIn(saved.label, saved.account.plan, self.manager.external_note)
        raise LoginFailed(problem, reason="unsaved", hint=hint)

    async def _resolve_credentials(self, document: AuthFile) -> Credentials:
        """Look up the login's account where the login does not name it."""
        try:
            credentials = credentials_from_document(document, source="the new login")
            return await self.manager.identities.complete(credentials, document)
        except AuthError as error:
            problem, reason = str(error), "network" if error.retryable else "refused"
        raise LoginFailed(problem, reason=reason, hint="Start again; the stored login is unchanged.")


class DeviceCodeLogin(LoginFlow):
    """Sign in on any device with a short code; the default, because the kernel is often on another machine."""

    async def _steps(self) -> AsyncIterator[LoginStep]:
        ensure_method_available(self.settings, "chatgpt")
        device = await self._run_cancellable(self.manager.oauth.request_device_code())
        expires_at = self.manager.clock() + DEVICE_CODE_LIFETIME
        yield EnterUserCode(device.user_code, device.url, expires_at)
        code = await self._run_cancellable(self._confirmation(device))
        yield Waiting("Confirmed. Signing in…")
        tokens = await self._run_cancellable(self.manager.oauth.exchange(code))
        yield await self._finish(chatgpt_auth_file(self.manager, tokens))

    async def _confirmation(self, device: DeviceCode) -> AuthorizationCode:
        expires_at = self.manager.clock() + DEVICE_CODE_LIFETIME
        while self.manager.clock() < expires_at:
            code = await self.manager.oauth.poll_device_code(device)
            if code is not None:
                return code
            await self.manager.sleep(device.interval_s)
        raise LoginFailed(
            "The device code expired before it was confirmed.",
            hint="Run %codex login for a new code.",
            reason="expired",
        )


API_KEY_HELP = (
    "Paste an OpenAI API key (sk-…); get one at platform.openai.com/api-keys. "
    "Usage is billed to the API account, per token."
)


class ApiKeyLogin(LoginFlow):
    """Save an API key, unless the API rejects it."""

    async def _steps(self) -> AsyncIterator[LoginStep]:
        ensure_method_available(self.settings, "api")
        yield EnterSecret("API key", API_KEY_HELP)
        key = SecretStr((await self._next_submitted()).get_secret_value().strip())
        if not is_plausible(key):
            raise LoginFailed(
                "That is not an API key: it is empty or contains spaces.",
                hint="Start again and paste the whole key.",
                reason="malformed",
            )
        document = AuthFile.model_validate({"auth_mode": "apikey", "OPENAI_API_KEY": key.get_secret_value()})
        yield Waiting("Checking the key…")
        is_accepted = await self._run_cancellable(self.manager.identities.accepts(key))
        if is_accepted is False:
            raise LoginFailed(
                "The API rejected this key (401).",
                hint="Paste the whole key, or create one at platform.openai.com/api-keys.",
                reason="refused",
            )
        signed_in = await self._finish(document)
        unchecked = "" if is_accepted else "The API could not be reached, so the key was not checked."
        yield replace(signed_in, note=f"{unchecked} {signed_in.note}".strip())


class AccessTokenLogin(LoginFlow):
    """Save a personal access token (``at-…``) or an agent identity after the service has accepted it."""

    async def _steps(self) -> AsyncIterator[LoginStep]:
        ensure_method_available(self.settings, "chatgpt")
        yield EnterSecret("access token")
        token = SecretStr((await self._next_submitted()).get_secret_value().strip())
        if not is_plausible(token):
            raise LoginFailed(
                "That is not an access token: it is empty or contains spaces.",
                hint="Start again and paste the whole token.",
                reason="malformed",
            )
        yield Waiting("Checking the token…")
        yield await self._finish(access_token_auth_file(token))


def ensure_method_available(settings: Settings, method: Literal["api", "chatgpt"]) -> None:
    """Raise LoginFailed when the administrator allows only the other kind of login."""
    forced = settings.forced_login_method
    if forced is not None and forced != method:
        wanted = "an API key" if forced == "api" else "ChatGPT"
        raise LoginFailed(
            f"Only signing in with {wanted} is allowed here (forced_login_method in config.toml).",
            hint=SIGN_IN_ALLOWED,
            reason="forbidden",
        )


def is_plausible(secret: SecretStr) -> bool:
    """Whether the secret can be sent in a header."""
    value = secret.get_secret_value()
    return bool(value) and value.isascii() and value.isprintable() and " " not in value


def chatgpt_auth_file(manager: CredentialManager, tokens: TokenReply) -> AuthFile:
    """Return the login as the CLI writes it after a ChatGPT sign-in."""
    if tokens.id_token is None or tokens.refresh_token is None:
        raise LoginFailed(
            "The sign-in service returned incomplete tokens.",
            hint="Start again with %codex login.",
            reason="malformed",
        )
    account_id = read_claims(tokens.id_token).account_id or read_claims(tokens.access_token).account_id
    kept = {name: token.get_secret_value() for name, token in vars(tokens).items() if token is not None}
    provenance = {"issuer": manager.settings.issuer, "client_id": manager.settings.client_id}
    return AuthFile.model_validate(
        {
            "auth_mode": "chatgpt",
            "OPENAI_API_KEY": None,
            "tokens": {
                **kept,
                "oauth_provenance": provenance,
                "login_owner_id": secrets.token_urlsafe(32),
                **({"account_id": account_id} if account_id else {}),
            },
            "last_refresh": format_time(manager.clock()),
        }
    )


def access_token_auth_file(token: SecretStr) -> AuthFile:
    """Return the login as the CLI writes it for an access token."""
    value = token.get_secret_value()
    if value.startswith(PERSONAL_ACCESS_TOKEN_PREFIX):
        return AuthFile.model_validate({"OPENAI_API_KEY": None, "personal_access_token": value})
    return AuthFile.model_validate(
        {"auth_mode": "agentIdentity", "OPENAI_API_KEY": None, "agent_identity": value}
    )


PORTS = (1455, 1457)
PATH = "/auth/callback"
LIFETIME_S = 900.0
HUB_POLL_S = 2.0
REQUEST_LIMIT = 16 * 1024
REQUEST_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Redirect:
    """The content of a redirect address: an authorization code, or the reason of a refusal."""

    code: SecretStr | None = None
    refusal: str | None = None


@dataclass
class _Attempt:
    """One sign-in in a browser: its secrets, and its outcome."""

    redirect_uri: str = ""
    pkce: Pkce = field(default_factory=Pkce)
    state: SecretStr = field(default_factory=lambda: SecretStr(secrets.token_urlsafe(32)))
    outcome: Redirect | None = None


class BrowserLogin(LoginFlow):
    """Sign in with a browser on this machine, or with any other by pasting its final address."""

    def __init__(
        self, manager: CredentialManager, *, ports: Sequence[int] = PORTS, lifetime_s: float = LIFETIME_S
    ) -> None:
        super().__init__(manager)
        self._ports = ports
        self._lifetime_s = lifetime_s

    async def _steps(self) -> AsyncIterator[LoginStep]:
        ensure_method_available(self.settings, "chatgpt")
        attempt = _Attempt()
        async with self._listening(attempt) as is_listening:
            oauth = self.manager.oauth
            url = oauth.authorize_url(attempt.redirect_uri, attempt.pkce, attempt.state)
            yield OpenUrl(url, can_paste=True, note="" if is_listening else self._ports_taken)
            deadline = asyncio.get_running_loop().time() + self._lifetime_s
            while (redirect := await self._next_redirect(attempt, deadline)) is None:
                yield OpenUrl(
                    url,
                    can_paste=True,
                    note="This address does not belong to this sign-in. Paste the whole address from your browser.",
                )
            yield Waiting("Received. Signing in…")
            code = _accepted(redirect, attempt)
            tokens = await self._run_cancellable(oauth.exchange(code))
            yield await self._finish(chatgpt_auth_file(self.manager, tokens))

    @property
    def _ports_taken(self) -> str:
        ports = " and ".join(map(str, dict.fromkeys(self._ports)))
        return (
            f"Use a device code instead (%codex login device): another program on this machine uses port {ports}, "
            "where the browser ends, and would see its last address. Or sign in anyway and paste that address here."
        )

    async def _next_redirect(self, attempt: _Attempt, deadline: float) -> Redirect | None:
        """Wait for the browser or a pasted address; None when what was pasted is not from this sign-in."""
        try:
            async with asyncio.timeout_at(deadline):
                while True:
                    self._woken.clear()
                    self._raise_if_cancelled()
                    if attempt.outcome is not None:
                        return attempt.outcome
                    if self._submitted:
                        return read_redirect(self._submitted.popleft(), attempt.state)
                    await self._woken.wait()
        except TimeoutError:
            pass
        raise LoginFailed(
            "The sign-in in the browser was not completed in time.",
            hint="Start again with %codex login.",
            reason="expired",
        )

    @asynccontextmanager
    async def _listening(self, attempt: _Attempt) -> AsyncIterator[bool]:
        """Listen on the first free port; when none is free (yields False), the address can still be pasted."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(attempt, reader, writer)

        server = None
        for port in self._ports:
            try:
                server = await asyncio.start_server(serve, "127.0.0.1", port, limit=REQUEST_LIMIT)
                break
            except OSError:
                continue
        port = server.sockets[0].getsockname()[1] if server is not None else self._ports[0]
        attempt.redirect_uri = f"http://127.0.0.1:{port}{PATH}"
        try:
            yield server is not None
        finally:
            if server is not None:
                server.close()
                await server.wait_closed()

    async def _serve(
        self, attempt: _Attempt, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                target = await _read_target(reader)
            status, text = self._answer(attempt, target)
            page = text.encode()
            head = (
                f"HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {len(page)}\r\n"
                "cache-control: no-store\r\nreferrer-policy: no-referrer\r\nconnection: close\r\n\r\n"
            )
            writer.write(head.encode() + page)
            await writer.drain()
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return  # the browser disconnected or sent no HTTP; keep waiting
        finally:
            writer.close()

    def _answer(self, attempt: _Attempt, target: SecretStr) -> tuple[str, str]:
        if urlsplit(target.get_secret_value()).path != PATH:
            return "404 Not Found", "Not found."
        redirect = read_redirect(target, attempt.state)
        if redirect is None:
            return (
                "400 Bad Request",
                "This page belongs to another sign-in. Return to the notebook and start again.",
            )
        attempt.outcome = attempt.outcome or redirect
        self._woken.set()
        refusal = redirect.refusal
        return (
            "200 OK",
            "Sign-in received. You can close this page and return to your notebook."
            if refusal is None
            else f"Sign-in failed: {refusal}",
        )


def read_redirect(address: SecretStr, state: SecretStr) -> Redirect | None:
    """Read a redirect address, whole or its path and query; None when it lacks this sign-in's state."""
    try:
        query = parse_qs(urlsplit(address.get_secret_value().strip()).query)
    except ValueError:
        return None
    found = query.get("state", [""])[0]
    if not compare_digest(found.encode("utf-8", "replace"), state.get_secret_value().encode()):
        return None
    if "error" in query:
        return Redirect(refusal=_plain(query.get("error_description", query["error"])[0]))
    code = query.get("code", [""])[0]
    return Redirect(code=SecretStr(code)) if code else None


def _accepted(redirect: Redirect, attempt: _Attempt) -> AuthorizationCode:
    if redirect.code is None:
        raise LoginFailed(
            f"The sign-in failed: {redirect.refusal or ''}.",
            hint="Start again with %codex login.",
            reason="refused",
        )
    return AuthorizationCode(redirect.code, attempt.pkce.verifier, attempt.redirect_uri)


async def _read_target(reader: asyncio.StreamReader) -> SecretStr:
    """Read the head of one request and return its target."""
    head = await reader.readuntil(b"\r\n\r\n")
    method, target, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ", 2)
    return SecretStr(target if method == "GET" else "/")


def _plain(text: str) -> str:
    """Return one bounded, visible line of the service's text."""
    return visible_line(text[:200]).rstrip(".")


class HubLogin(LoginFlow):
    """Sign in on the page of the JupyterHub, which keeps the login; whatever the method that was chosen."""

    def __init__(self, manager: CredentialManager, page: str) -> None:
        super().__init__(manager)
        self._page = page

    async def _steps(self) -> AsyncIterator[LoginStep]:
        yield OpenUrl(self._page, can_paste=False)
        deadline = self.manager.clock() + DEVICE_CODE_LIFETIME
        while self.manager.clock() < deadline:
            found = await self._run_cancellable(self._look())
            if found is not None:
                yield SignedIn(found.label, found.account.plan)
                return
            await self._run_cancellable(self.manager.sleep(HUB_POLL_S))
        raise LoginFailed(
            "The sign-in on your JupyterHub was not completed in time.",
            hint="Start again with %codex login.",
            reason="expired",
        )

    async def _look(self) -> Credentials | None:
        try:
            return await self.manager.take_from_source()
        except SignInRequired:
            return None
        except RefreshFailed as failure:
            problem, hint = str(failure), failure.hint
        raise LoginFailed(problem, reason="network", hint=hint)


def open_login(method: LoginMethod, manager: CredentialManager) -> LoginFlow:
    """Start a sign-in by one method."""
    if manager.hub_page is not None:
        return HubLogin(manager, manager.hub_page)
    match method:
        case "device":
            return DeviceCodeLogin(manager)
        case "browser":
            return BrowserLogin(manager)
        case "api_key":
            return ApiKeyLogin(manager)
        case "access_token":
            return AccessTokenLogin(manager)
        case _:
            assert_never(method)
