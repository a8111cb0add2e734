"""Sign-ins as step generators: device code, API key, personal access token; the browser has its own module.

A flow changes nothing until it has a working login; then the manager puts it in place of the old one, which is revoked
only after that.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import SecretStr

from codex_nb.auth.claims import read_claims
from codex_nb.auth.credentials import PERSONAL_ACCESS_TOKEN_PREFIX, credentials_from_document
from codex_nb.auth.document import AuthDotJson, format_time
from codex_nb.auth.oauth import DEVICE_CODE_LIFETIME
from codex_nb.auth.restrictions import restriction
from codex_nb.auth.steps import EnterCode, EnterSecret, LoginStep, SignedIn, Waiting
from codex_nb.errors import AuthError, CredentialsUnreadable, LoginFailed, RefreshFailed
from codex_nb.words import login_flows as words
from codex_nb.words import next_steps, restrictions, stored_login

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from codex_nb.auth.credentials import Credentials
    from codex_nb.auth.manager import CredentialManager
    from codex_nb.auth.oauth_replies import AuthorizationCode, DeviceCode, TokenReply
    from codex_nb.settings import Settings

T = TypeVar("T")


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
        """Go through the sign-in; the last step is SignedIn. Raises LoginFailed."""
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
        """Go through the sign-in of this kind."""

    def submit(self, text: SecretStr) -> None:
        """Hand in what the user typed or pasted."""
        self._submitted.append(text)
        self._wake()

    def cancel(self) -> None:
        """End the sign-in; nothing has been changed then."""
        self._cancelled = True
        self._wake()

    def _wake(self) -> None:
        with self._guard:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._woken.set)

    async def _next_submitted(self) -> SecretStr:
        while True:
            self._woken.clear()
            self._refuse_cancelled()
            if self._submitted:
                return self._submitted.popleft()
            await self._woken.wait()

    async def _unless_cancelled(self, work: Coroutine[object, object, T]) -> T:
        """Run the work, and stop it at once when the user cancels."""
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self._cancellation())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            self._refuse_cancelled()
            return task.result()
        finally:
            task.cancel()
            stop.cancel()
            await asyncio.gather(task, stop, return_exceptions=True)

    async def _cancellation(self) -> None:
        while not self._cancelled:
            self._woken.clear()
            if not self._cancelled:
                await self._woken.wait()

    def _refuse_cancelled(self) -> None:
        if self._cancelled:
            raise LoginFailed(words.CANCELLED, reason="cancelled")

    async def _finish(self, document: AuthDotJson) -> SignedIn:
        """Check the new login, then put it in place of the old one; from there on there is no cancelling."""
        credentials = await self._unless_cancelled(self._recognised(document))
        refusal = restriction(self.settings, credentials)
        if refusal is not None:
            raise LoginFailed(refusal, reason="forbidden", hint=next_steps.SIGN_IN_ALLOWED_KEPT)
        try:
            saved = await self.manager.save_login(document)
        except (RefreshFailed, CredentialsUnreadable) as failure:
            problem, hint = str(failure), failure.hint
        else:
            return SignedIn(saved.label, saved.account.plan, self.manager.ambient_note)
        raise LoginFailed(problem, reason="unsaved", hint=hint)

    async def _recognised(self, document: AuthDotJson) -> Credentials:
        """Ask whose login it is, where it does not say so itself."""
        try:
            credentials = credentials_from_document(document, source=stored_login.THE_NEW_LOGIN)
            return await self.manager.identities.complete(credentials, document)
        except AuthError as error:
            problem, reason = str(error), "network" if error.retryable else "refused"
        raise LoginFailed(problem, reason=reason, hint=next_steps.START_AGAIN_KEPT)


class DeviceCodeLogin(LoginFlow):
    """Sign in on any device by a short code; the default, because a kernel is usually elsewhere than the browser."""

    async def _steps(self) -> AsyncIterator[LoginStep]:
        refuse_method(self.settings, "chatgpt")
        device = await self._unless_cancelled(self.manager.oauth.request_device_code())
        expires_at = self.manager.clock() + DEVICE_CODE_LIFETIME
        yield EnterCode(device.user_code, device.url, expires_at)
        code = await self._unless_cancelled(self._confirmation(device))
        yield Waiting(words.CONFIRMED)
        tokens = await self._unless_cancelled(self.manager.oauth.exchange(code))
        yield await self._finish(chatgpt_document(self.manager, tokens))

    async def _confirmation(self, device: DeviceCode) -> AuthorizationCode:
        expires_at = self.manager.clock() + DEVICE_CODE_LIFETIME
        while self.manager.clock() < expires_at:
            code = await self.manager.oauth.poll_device_code(device)
            if code is not None:
                return code
            await self.manager.sleep(device.interval_s)
        raise LoginFailed(words.CODE_EXPIRED, reason="expired")


class ApiKeyLogin(LoginFlow):
    """Keep an API key typed into a masked field; it is checked when the first request is sent."""

    async def _steps(self) -> AsyncIterator[LoginStep]:
        refuse_method(self.settings, "api")
        yield EnterSecret(words.API_KEY_WANTED)
        key = SecretStr((await self._next_submitted()).get_secret_value().strip())
        if not is_plausible(key):
            raise LoginFailed(words.NO_API_KEY, reason="malformed")
        document = AuthDotJson.model_validate(
            {"auth_mode": "apikey", "OPENAI_API_KEY": key.get_secret_value()}
        )
        yield await self._finish(document)


class AccessTokenLogin(LoginFlow):
    """Keep a personal access token (``at-…``) or an agent identity, after the service has recognised it."""

    async def _steps(self) -> AsyncIterator[LoginStep]:
        refuse_method(self.settings, "chatgpt")
        yield EnterSecret(words.ACCESS_TOKEN_WANTED)
        token = SecretStr((await self._next_submitted()).get_secret_value().strip())
        if not is_plausible(token):
            raise LoginFailed(words.NO_ACCESS_TOKEN, reason="malformed")
        yield Waiting(words.CHECKING)
        yield await self._finish(access_token_document(token))


def refuse_method(settings: Settings, method: Literal["api", "chatgpt"]) -> None:
    """Raise LoginFailed before the user does anything, when the administrator allows only the other way."""
    forced = settings.forced_login_method
    if forced is not None and forced != method:
        wanted = restrictions.A_KEY if forced == "api" else restrictions.CHATGPT
        raise LoginFailed(restrictions.only_by(wanted), reason="forbidden")


def is_plausible(secret: SecretStr) -> bool:
    """Whether it can be sent as a header at all."""
    value = secret.get_secret_value()
    return bool(value) and value.isascii() and value.isprintable() and " " not in value


def chatgpt_document(manager: CredentialManager, tokens: TokenReply) -> AuthDotJson:
    """The login as the CLI writes it after a ChatGPT sign-in."""
    if tokens.id_token is None or tokens.refresh_token is None:
        raise LoginFailed(words.NOT_ALL_TOKENS, reason="malformed")
    account_id = read_claims(tokens.id_token).account_id or read_claims(tokens.access_token).account_id
    kept = {name: token.get_secret_value() for name, token in vars(tokens).items() if token is not None}
    provenance = {"issuer": manager.settings.issuer, "client_id": manager.settings.client_id}
    return AuthDotJson.model_validate(
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


def access_token_document(token: SecretStr) -> AuthDotJson:
    """The login as the CLI writes it for an access token."""
    value = token.get_secret_value()
    if value.startswith(PERSONAL_ACCESS_TOKEN_PREFIX):
        return AuthDotJson.model_validate({"OPENAI_API_KEY": None, "personal_access_token": value})
    return AuthDotJson.model_validate(
        {"auth_mode": "agentIdentity", "OPENAI_API_KEY": None, "agent_identity": value}
    )
