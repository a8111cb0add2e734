"""Login methods as step generators: device code, browser, API key, personal access token."""

from __future__ import annotations

import asyncio
import secrets
from abc import ABC, abstractmethod
from collections import deque
from contextlib import aclosing, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from hmac import compare_digest
from typing import TYPE_CHECKING, Literal, NoReturn, TypeVar, assert_never
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from codex_nb.auth.credentials import (
    PERSONAL_ACCESS_TOKEN_PREFIX,
    AuthFile,
    account_of_tokens,
    credentials_from_document,
    fits_header,
    format_time,
)
from codex_nb.auth.manager import SIGN_IN_ALLOWED, restriction
from codex_nb.auth.oauth import DEVICE_CODE_LIFETIME, AuthorizationCode
from codex_nb.auth.store import KeyringStore
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
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
    from datetime import datetime

    from codex_nb.auth.credentials import Credentials, Tokens
    from codex_nb.auth.manager import CredentialManager
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
    keyring = store if isinstance(store, KeyringStore) else None
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
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._submitted: deque[SecretStr] = deque()
        self._cancelled = False

    async def steps(self) -> AsyncGenerator[LoginStep, None]:
        """Yield the steps of the sign-in; the last one is SignedIn. Raises LoginFailed."""
        self._loop = asyncio.get_running_loop()
        async with aclosing(self._steps()) as steps:
            async for step in steps:
                yield step

    @abstractmethod
    def _steps(self) -> AsyncGenerator[LoginStep, None]:
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
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._woken.set)

    async def _next_submitted(self) -> SecretStr:
        while not self._submitted:
            await self._wait()
        self._raise_if_cancelled()
        return self._submitted.popleft()

    async def _next_secret(self, what: str) -> SecretStr:
        secret = SecretStr((await self._next_submitted()).get_secret_value().strip())
        if not fits_header(secret):
            raise LoginFailed(
                f"That is not an {what}: it is empty or contains spaces.",
                hint="Start again and paste the whole of it.",
                reason="malformed",
            )
        return secret

    async def _run_cancellable(self, work: Awaitable[T]) -> T:
        """Run the work; stop it at once when the user cancels."""
        return await first_of(self._cancellation(), work)

    async def _cancellation(self) -> NoReturn:
        while True:
            await self._wait()

    async def _wait(self) -> None:
        """Wait until something is submitted. Raises LoginFailed when the user cancels."""
        self._raise_if_cancelled()
        self._woken.clear()
        await self._woken.wait()

    async def _poll(self, look: Callable[[], Awaitable[T | None]], pause_s: float, *, when_late: str) -> T:
        """Look again and again until there is something. Raises LoginFailed."""
        deadline = self.manager.clock() + DEVICE_CODE_LIFETIME
        while self.manager.clock() < deadline:
            found = await self._run_cancellable(look())
            if found is not None:
                return found
            await self._run_cancellable(self.manager.sleep(pause_s))
        raise LoginFailed(when_late, reason="expired")

    def _raise_if_cancelled(self) -> None:
        if self._cancelled:
            raise LoginFailed("The sign-in was cancelled.", reason="cancelled")

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

    async def _steps(self) -> AsyncGenerator[LoginStep, None]:
        ensure_method_available(self.settings, "chatgpt")
        oauth = self.manager.oauth
        device = await self._run_cancellable(oauth.request_device_code())
        expires_at = self.manager.clock() + DEVICE_CODE_LIFETIME
        yield EnterUserCode(device.user_code, device.url, expires_at)
        code = await self._poll(
            lambda: oauth.poll_device_code(device),
            device.interval_s,
            when_late="The device code expired before it was confirmed.",
        )
        yield Waiting("Confirmed. Signing in…")
        tokens = await self._run_cancellable(oauth.exchange(code))
        yield await self._finish(chatgpt_auth_file(self.manager, tokens))


API_KEY_HELP = (
    "Paste an OpenAI API key (sk-…); get one at platform.openai.com/api-keys. "
    "Usage is billed to the API account, per token."
)


class ApiKeyLogin(LoginFlow):
    """Save an API key, unless the API rejects it."""

    async def _steps(self) -> AsyncGenerator[LoginStep, None]:
        ensure_method_available(self.settings, "api")
        yield EnterSecret("API key", API_KEY_HELP)
        key = await self._next_secret("API key")
        document = AuthFile.model_validate({"auth_mode": "apikey", "OPENAI_API_KEY": key})
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

    async def _steps(self) -> AsyncGenerator[LoginStep, None]:
        ensure_method_available(self.settings, "chatgpt")
        yield EnterSecret("access token")
        token = await self._next_secret("access token")
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


def chatgpt_auth_file(manager: CredentialManager, tokens: Tokens) -> AuthFile:
    """Return the login as the CLI writes it after a ChatGPT sign-in."""
    if tokens.id_token is None or tokens.refresh_token is None:
        raise LoginFailed("The sign-in service returned incomplete tokens.", reason="malformed")
    account_id = account_of_tokens(tokens).account_id
    provenance = {"issuer": manager.settings.issuer, "client_id": manager.settings.client_id}
    return AuthFile.model_validate(
        {
            "auth_mode": "chatgpt",
            "OPENAI_API_KEY": None,
            "tokens": {
                **tokens.plain(),
                "oauth_provenance": provenance,
                "login_owner_id": secrets.token_urlsafe(32),
                **({"account_id": account_id} if account_id else {}),
            },
            "last_refresh": format_time(manager.clock()),
        }
    )


def access_token_auth_file(token: SecretStr) -> AuthFile:
    """Return the login as the CLI writes it for an access token."""
    if token.get_secret_value().startswith(PERSONAL_ACCESS_TOKEN_PREFIX):
        return AuthFile.model_validate({"OPENAI_API_KEY": None, "personal_access_token": token})
    return AuthFile.model_validate(
        {"auth_mode": "agentIdentity", "OPENAI_API_KEY": None, "agent_identity": token.get_secret_value()}
    )


PORTS = (1455, 1457)
PATH = "/auth/callback"
LIFETIME_S = 900.0
HUB_POLL_S = 2.0
REQUEST_LIMIT = 16 * 1024
REQUEST_TIMEOUT_S = 10.0


class BrowserLogin(LoginFlow):
    """Sign in with a browser on this machine, or with any other by pasting its final address."""

    def __init__(
        self, manager: CredentialManager, *, ports: Sequence[int] = PORTS, lifetime_s: float = LIFETIME_S
    ) -> None:
        super().__init__(manager)
        self._ports = ports
        self._lifetime_s = lifetime_s
        self._verifier = SecretStr(secrets.token_urlsafe(64))  # RFC 7636
        self._state = SecretStr(secrets.token_urlsafe(32))

    async def _steps(self) -> AsyncGenerator[LoginStep, None]:
        ensure_method_available(self.settings, "chatgpt")
        oauth = self.manager.oauth
        async with self._listening() as (redirect_uri, is_listening):
            url = oauth.authorize_url(redirect_uri, self._verifier, self._state)
            yield OpenUrl(url, can_paste=True, note="" if is_listening else self._ports_taken)
            deadline = asyncio.get_running_loop().time() + self._lifetime_s
            while (redirect := read_redirect(await self._next_address(deadline), self._state)) is None:
                yield OpenUrl(
                    url,
                    can_paste=True,
                    note="This address does not belong to this sign-in. Paste the whole address from your browser.",
                )
            yield Waiting("Received. Signing in…")
            if isinstance(redirect, str):
                raise LoginFailed(f"The sign-in failed: {redirect}.", reason="refused")
            code = AuthorizationCode(redirect, self._verifier, redirect_uri)
            tokens = await self._run_cancellable(oauth.exchange(code))
            yield await self._finish(chatgpt_auth_file(self.manager, tokens))

    @property
    def _ports_taken(self) -> str:
        ports = " and ".join(map(str, dict.fromkeys(self._ports)))
        return (
            f"Use a device code instead (%codex login device): another program on this machine uses port {ports}, "
            "where the browser ends, and would see its last address. Or sign in anyway and paste that address here."
        )

    async def _next_address(self, deadline: float) -> SecretStr:
        """Wait for the address that the browser was led to, which it asks for itself or the user pastes."""
        try:
            async with asyncio.timeout_at(deadline):
                return await self._next_submitted()
        except TimeoutError as error:
            raise LoginFailed(
                "The sign-in in the browser was not completed in time.", reason="expired"
            ) from error

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[tuple[str, bool]]:
        """Listen on the first free port, and yield the redirect URI and whether any port was free.

        When none was, the address can still be pasted.
        """
        server, port = None, self._ports[0]
        for each in self._ports:
            with suppress(OSError):
                server = await asyncio.start_server(self._serve, "127.0.0.1", each, limit=REQUEST_LIMIT)
                port = server.sockets[0].getsockname()[1]
                break
        async with server or nullcontext():
            yield f"http://127.0.0.1:{port}{PATH}", server is not None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                target = await _read_target(reader)
            status, text = self._answer(target)
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

    def _answer(self, target: SecretStr) -> tuple[str, str]:
        if urlsplit(target.get_secret_value()).path != PATH:
            return "404 Not Found", "Not found."
        redirect = read_redirect(target, self._state)
        if redirect is None:
            wrong = "This page belongs to another sign-in. Return to the notebook and start again."
            return "400 Bad Request", wrong
        self.submit(target)
        if isinstance(redirect, str):
            return "200 OK", f"Sign-in failed: {redirect}"
        return "200 OK", "Sign-in received. You can close this page and return to your notebook."


def read_redirect(address: SecretStr, state: SecretStr) -> SecretStr | str | None:
    """Read the code in a redirect address, whole or its path and query, or the reason of a refusal, which is text.

    None when it lacks this sign-in's state.
    """
    try:
        query = parse_qs(urlsplit(address.get_secret_value().strip()).query)
    except ValueError:
        return None
    found = query.get("state", [""])[0]
    if not compare_digest(found.encode("utf-8", "replace"), state.get_secret_value().encode()):
        return None
    if "error" in query:
        return visible_line(query.get("error_description", query["error"])[0][:200]).rstrip(".")
    code = query.get("code", [""])[0]
    return SecretStr(code) if code else None


async def _read_target(reader: asyncio.StreamReader) -> SecretStr:
    """Read the head of one request and return its target."""
    head = await reader.readuntil(b"\r\n\r\n")
    method, target, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ", 2)
    return SecretStr(target if method == "GET" else "/")


class HubLogin(LoginFlow):
    """Sign in on the page of the JupyterHub, which keeps the login; whatever the method that was chosen."""

    def __init__(self, manager: CredentialManager, page: str) -> None:
        super().__init__(manager)
        self._page = page

    async def _steps(self) -> AsyncGenerator[LoginStep, None]:
        yield OpenUrl(self._page, can_paste=False)
        found = await self._poll(
            self._look, HUB_POLL_S, when_late="The sign-in on your JupyterHub was not completed in time."
        )
        yield SignedIn(found.label, found.account.plan)

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
