"""The credential manager: which credentials sign the next request, and what happens when they are refused.

Requests are signed by an ``httpx.Auth`` generator that asks the manager.
"""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from codex_nb.auth.accounts import CredentialResolver
from codex_nb.auth.credentials import AuthMode, fits_header, utc_now
from codex_nb.auth.locks import LoginLock
from codex_nb.auth.oauth import DetachedRefresher, DirectRefresher, OAuthClient, launch_process
from codex_nb.auth.sources import HubSource, environment_login, find_source, wanted_mode
from codex_nb.auth.store import FileStore, MemoryStore, StoredCredentials, ensure_same_account, open_store
from codex_nb.config.settings import ADDRESS_VARIABLES, Settings
from codex_nb.errors import ConfigError, RefreshFailed, SignInRequired
from codex_nb.http import httpx, is_secure
from codex_nb.parse import is_printable_ascii

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Mapping
    from datetime import datetime
    from pathlib import Path

    from codex_nb.auth.credentials import AuthFile, Clock, Credentials
    from codex_nb.auth.sources import CredentialSource, ExternalTokenProvider, Reason
    from codex_nb.auth.store import CredentialStore, Refreshed, Sleep, Snapshot, TokenRefresher


SIGN_IN_ALLOWED = (
    "Sign in with an allowed account, or ask your administrator. The stored login was not changed."
)


def restriction(settings: Settings, credentials: Credentials) -> str | None:
    """Return why these credentials may not be used; None when they may."""
    wanted = wanted_mode(settings)
    if wanted is not None and credentials.mode is not wanted:
        return (
            f"Auth mode {wanted.value!r} is configured, but this login has mode {credentials.mode.value!r}."
        )
    is_api_key = credentials.mode is AuthMode.API_KEY
    source = settings.origins.get("forced_login_method", "forced_login_method")
    if settings.forced_login_method == "api" and not is_api_key:
        return f"An API key is required here ({source}), but this is a ChatGPT login."
    if settings.forced_login_method == "chatgpt" and is_api_key:
        return f"A ChatGPT login is required here ({source}), but this is an API key."
    account = credentials.workspace_id
    if settings.forced_workspaces and not is_api_key and account not in settings.forced_workspaces:
        allowed = ", ".join(settings.forced_workspaces)
        source = settings.origins.get("forced_workspaces", "forced_chatgpt_workspace_id")
        return (
            f"Login is restricted to workspace {allowed} ({source}), "
            f"but this login belongs to {account or 'no workspace'}."
        )
    return None


def ensure_allowed(settings: Settings, credentials: Credentials) -> None:
    """Raise SignInRequired for credentials that may not be used."""
    problem = restriction(settings, credentials)
    if problem is not None:
        raise SignInRequired(problem, hint=SIGN_IN_ALLOWED)


class _BesideLogin:
    """The key of a provider's own, used only while the login beside it may be used, though it signs nothing."""

    def __init__(self, source: CredentialSource, ensure_login_allowed: Callable[[], Awaitable[None]]) -> None:
        self._source = source
        self._ensure_login_allowed = ensure_login_allowed

    async def fetch(self, reason: Reason, previous: Credentials | None) -> Credentials | None:
        """Look at the login first. Raises SignInRequired and CredentialsUnreadable."""
        await self._ensure_login_allowed()
        return await self._source.fetch(reason, previous)


T = TypeVar("T")

# The CLI's own margins: a JWT is refreshed within five minutes of its end, an opaque token after eight days.
EXPIRY_MARGIN = timedelta(minutes=5)
OPAQUE_LIFETIME = timedelta(days=8)

FIRST_PAUSE = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(minutes=1)


@dataclass(frozen=True)
class _Failure:
    """A failed refresh of one login; ``until`` is None when it is permanent."""

    login: Credentials
    error: RefreshFailed
    until: datetime | None
    pause: timedelta


class RefreshPolicy:
    """Decides whether to refresh, by the clock and by earlier failures of the same login."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failure: _Failure | None = None
        self._just_given: Credentials | None = None

    def reason(self, credentials: Credentials) -> str | None:
        """Name the reason to refresh now (a value of ``refresh_reason`` on the wire); None when there is none."""
        if not can_refresh(credentials) or self.recall(credentials) is not None:
            return None
        now = self._clock()
        if credentials.expires_at is not None:
            is_due = credentials.expires_at <= now + EXPIRY_MARGIN and not self._was_just_given(credentials)
            return "proactive_expiry" if is_due else None
        refreshed_at = credentials.refreshed_at
        return "scheduled" if refreshed_at is not None and refreshed_at < now - OPAQUE_LIFETIME else None

    def is_expired(self, credentials: Credentials) -> bool:
        """Whether the token has expired by its own claim."""
        has_ended = credentials.expires_at is not None and credentials.expires_at <= self._clock()
        return has_ended and not self._was_just_given(credentials)

    def final_failure(self, credentials: Credentials) -> RefreshFailed | None:
        """Return why an expired token can never be refreshed: sending it would only cost a 401."""
        error = self.recall(credentials) if self.is_expired(credentials) else None
        return error if error is not None and error.permanent else None

    def remember(self, login: Credentials, error: RefreshFailed) -> None:
        """Keep a failure: a permanent one while this login lasts, others for a growing pause."""
        before = self._failure
        is_repeated = before is not None and before.login.same_tokens(login)
        pause = min(before.pause * 2, LONGEST_PAUSE) if before is not None and is_repeated else FIRST_PAUSE
        self._failure = _Failure(login, error, None if error.permanent else self._clock() + pause, pause)

    def recall(self, login: Credentials) -> RefreshFailed | None:
        """Return the failure that still applies to this login, as a new error."""
        failure = self._failure
        if failure is None or not failure.login.same_tokens(login):
            return None
        if failure.until is not None and self._clock() >= failure.until:
            return None
        error = failure.error
        return RefreshFailed(str(error), permanent=error.permanent, reason=error.reason, hint=error.hint)

    def forget(self) -> None:
        """Clear the failure, after a success or a sign-in."""
        self._failure = None

    def trust(self, given: Credentials) -> None:
        """Note what a refresh has given: where it seems to end at once, the clock is wrong, and a 401 tells its end."""
        self._just_given = given if self.reason(given) is not None else None

    def _was_just_given(self, credentials: Credentials) -> bool:
        return self._just_given is not None and self._just_given.same_tokens(credentials)


def can_refresh(credentials: Credentials) -> bool:
    """Whether there is a refresh token to spend."""
    return credentials.mode is AuthMode.CHATGPT and credentials.refresh_token is not None


@dataclass(frozen=True)
class RetryCredentials:
    """What to try after a 401: other credentials, or None when nothing helps.

    ``token_used`` tells that a refresh token paid for them, so that no second refresh follows for the same request.
    """

    credentials: Credentials | None = None
    token_used: bool = False


class CredentialManager:
    """Holds the current credentials; replaces them by what is on disk, by a refresh or by a sign-in.

    Runs on the engine's event loop. A session keeps the account it started with; another on disk raises AccountChanged.
    """

    def __init__(
        self,
        settings: Settings,
        stored: StoredCredentials,
        identities: CredentialResolver,
        oauth: OAuthClient,
        *,
        source: CredentialSource | None = None,
        clock: Clock,
        sleep: Sleep,
    ) -> None:
        self.settings = settings
        self.oauth = oauth
        self.stored = stored
        self.clock = clock
        self.sleep = sleep
        self.identities = identities
        self._source = source
        self._policy = RefreshPolicy(clock)
        self._gate = asyncio.Lock()
        self._snapshot: Snapshot | None = None
        self._credentials: Credentials | None = None
        self._pinned: Credentials | None = None
        self._running: set[asyncio.Task[Any]] = set()

    @property
    def is_external(self) -> bool:
        """Whether the credentials come from the environment or the host program, so that sign-out cannot end them."""
        return self._source is not None

    @property
    def external_note(self) -> str:
        """The note for a user who signs in or out while other credentials override the stored login."""
        if not self.is_external:
            return ""
        if self.hub_page is not None:
            return f"Your JupyterHub keeps the login: sign out at {self.hub_page}"
        source = self._credentials.source if self._credentials else "outside"
        return f"Requests still use the credentials from {source}."

    @property
    def hub_page(self) -> str | None:
        """The page of the JupyterHub on which its user signs in; None when the login is not the hub's."""
        return self._source.page if isinstance(self._source, HubSource) else None

    async def take_from_source(self) -> Credentials:
        """Fetch the credentials of a source anew, which may be another account's by now."""
        async with self._gate:
            found = None if self._source is None else await self._source.fetch("start", None)
            if found is None:
                raise SignInRequired("No credentials are available to sign the request.")
            self._pinned = None
            return await self._accept(found)

    def peek(self) -> Credentials | None:
        """Return the credentials in memory; no I/O."""
        return self._credentials

    def auth(self) -> httpx.Auth:
        """Return the ``httpx.Auth`` that signs requests with these credentials."""
        return BearerAuth(self, self.settings)

    async def current(self) -> Credentials:
        """Return the credentials to sign with, refreshed when they are about to expire.

        Raises SignInRequired, CredentialsUnreadable, AccountChanged, or RefreshFailed when the token has
        expired and can never be refreshed.
        """
        if (settled := self._settled()) is not None:
            return settled
        async with self._gate:
            if (settled := self._settled()) is not None:  # another request has read them meanwhile
                return settled
            return await (self._from_store() if self._source is None else self._from_source(self._source))

    async def inspect(self) -> Credentials:
        """Return the credentials as they are, without refreshing anything. Raises like :meth:`current`."""
        async with self._gate:
            if self._source is not None:
                return self._credentials or await self._from_source(self._source)
            return await self._adopt(await self._reload())

    async def retry_after_401(self, rejected: Credentials) -> RetryCredentials:
        """Use newer credentials from the store, else refresh once. Raises like :meth:`current`, and RefreshFailed."""
        async with self._gate:
            held = self._credentials
            if held is not None and not held.same_bearer(rejected):
                # a request begun before a sign-in ends as the account it began with
                ensure_same_account(rejected, held)
                return RetryCredentials(held)
            if rejected.agent is not None:
                return await self._register_again(rejected)
            if self._source is not None:
                return await self._fetch_again(self._source, rejected)
            snapshot = await self._reload()
            present = await self._adopt(snapshot)
            if not present.same_bearer(rejected):
                return RetryCredentials(present)
            if not can_refresh(present):
                return RetryCredentials()
            failure = self._policy.recall(present)
            if failure is not None:
                raise failure
            outcome = await self._refresh(snapshot, "unauthorized_recovery")
            refreshed = await self._adopt(outcome.snapshot)
            return RetryCredentials(
                None if refreshed.same_bearer(rejected) else refreshed, token_used=outcome.token_used
            )

    async def save_login(self, document: AuthFile) -> Credentials:
        """Save a new login in place of the old one, then revoke the old one."""
        return await self._run_to_completion(self._replace_login(document))

    async def _replace_login(self, document: AuthFile) -> Credentials:
        async with self._gate:
            snapshot, old = await self.stored.replace(document)
            self._pinned = None
            self._policy.forget()
            credentials = snapshot.credentials if self.is_external else await self._adopt(snapshot)
        if old is not None and old.refresh_token != snapshot.credentials.refresh_token:
            await self.oauth.revoke(old)  # other requests need not wait for it
        return credentials

    async def stored_login(self) -> Credentials | None:
        """Return the credentials that signing out would delete; None when not found.

        Raises CredentialsUnreadable or SignInRequired when there is a login whose account is unknown.
        """
        snapshot = await self.stored.read()
        return None if snapshot is None else snapshot.credentials

    async def sign_out(self, expected: Credentials | None = None) -> bool:
        """Delete the stored login and revoke it; return whether there was one.

        Another account's login than the ``expected`` stays; raises AccountChanged then.
        """
        async with self._gate:
            had_one, old = await self._run_to_completion(self.stored.remove(expected))
            self._snapshot = self._pinned = None
            self._credentials = None
            self._policy.forget()
        if old is not None:
            await self.oauth.revoke(old)
        return had_one

    async def close(self) -> None:
        """Wait for a running refresh: its refresh token is spent, so the new tokens must reach the store."""
        if self._running:
            await asyncio.wait(self._running)

    def _settled(self) -> Credentials | None:
        """Return the credentials in memory while they can be sent as they are."""
        found, policy = self._credentials, self._policy
        if found is None:
            return None
        if self._source is not None:
            return None if policy.is_expired(found) else found
        unchanged = self._snapshot is not None and self._snapshot.stamp == self.stored.store.stamp()
        is_fit = policy.reason(found) is None and policy.final_failure(found) is None
        return found if unchanged and is_fit and not self.stored.has_unsaved_tokens else None

    async def _from_store(self) -> Credentials:
        if self.stored.has_unsaved_tokens:
            await self.stored.save_unsaved()
        snapshot = await self._reload()
        credentials = await self._adopt(snapshot)
        reason = self._policy.reason(credentials)
        if reason is not None:
            return await self._refresh_early(snapshot, credentials, reason)
        if (error := self._policy.final_failure(credentials)) is not None:
            raise error
        return credentials

    async def _refresh_early(self, snapshot: Snapshot, credentials: Credentials, reason: str) -> Credentials:
        """Refresh before expiry; a failure leaves the old token in use until then."""
        try:
            outcome = await self._refresh(snapshot, reason)
        except RefreshFailed:
            if self._policy.final_failure(credentials) is not None:
                raise
            return credentials
        return await self._adopt(outcome.snapshot)

    async def _from_source(self, source: CredentialSource) -> Credentials:
        previous = self._credentials
        found = await source.fetch("start" if previous is None else "expiring", previous) or previous
        if found is None:
            raise SignInRequired("No credentials are available to sign the request.")
        return await self._accept(found)

    async def _fetch_again(self, source: CredentialSource, rejected: Credentials) -> RetryCredentials:
        found = await source.fetch("unauthorized", rejected)
        if found is None or found.same_bearer(rejected):
            return RetryCredentials()
        return RetryCredentials(await self._accept(found), token_used=True)

    async def _register_again(self, rejected: Credentials) -> RetryCredentials:
        """Register another task: the service may have forgotten the one that was rejected."""
        self.identities.forget(rejected)
        if self._source is None:
            present = await self._adopt(await self._reload())
        else:
            found = await self._source.fetch("start", None)
            present = rejected if found is None else await self._accept(found)
        return RetryCredentials(None if present.same_bearer(rejected) else present, token_used=True)

    async def _reload(self) -> Snapshot:
        snapshot = await self.stored.read()
        if snapshot is None:
            self._snapshot = self._credentials = None
            raise SignInRequired("You are not signed in.")
        return snapshot

    async def _adopt(self, snapshot: Snapshot) -> Credentials:
        credentials = await self._accept(snapshot.credentials, snapshot.document)
        self._snapshot = snapshot
        return credentials

    async def _accept(self, found: Credentials, document: AuthFile | None = None) -> Credentials:
        credentials = await self.identities.complete(found, document)
        if self.settings.provider.uses_login:
            ensure_allowed(self.settings, credentials)
        if self._pinned is not None:
            ensure_same_account(self._pinned, credentials)
        self._pinned = self._pinned or credentials
        self._credentials = credentials
        return credentials

    async def _refresh(self, snapshot: Snapshot, reason: str) -> Refreshed:
        try:
            outcome = await self._run_to_completion(self.stored.refresh(snapshot, reason))
        except RefreshFailed as failure:
            self._policy.remember(snapshot.credentials, failure)
            raise
        refreshed = outcome.snapshot.credentials
        if refreshed.same_bearer(snapshot.credentials):  # the service answered with {}
            unchanged = RefreshFailed(
                "Your session could not be refreshed: the sign-in service returned no new tokens.",
                hint="Run the cell again in a moment, or sign in again with %codex login.",
                reason="unchanged",
            )
            self._policy.remember(refreshed, unchanged)
        else:
            self._policy.forget()
            self._policy.trust(refreshed)
        return outcome

    async def _run_to_completion(self, work: Coroutine[Any, Any, T]) -> T:
        """Finish the work even when its caller is cancelled: new tokens must be saved."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as retrieved: an interrupted caller never reads it


ACCOUNT_HEADER = "chatgpt-account-id"
FEDRAMP_HEADER = "x-openai-fedramp"
IDENTITY_HEADERS = ("authorization", ACCOUNT_HEADER, FEDRAMP_HEADER)
MOST_RECOVERIES = 2
_CREDENTIAL_NAME = re.compile(r"auth|key|token|secret|cookie|password|signature|^code$|^sig$", re.IGNORECASE)


class BearerAuth(httpx.Auth):
    """Signs every request with the current credentials; raises ConfigError for an address that is not secure."""

    def __init__(self, manager: CredentialManager, settings: Settings) -> None:
        self._manager = manager
        self._settings = settings

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Raise RuntimeError: refreshing credentials needs the event loop."""
        del request
        raise RuntimeError("codex_nb signs requests of httpx.AsyncClient only.")

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Sign and send the request; after a 401, repeat it with other credentials if there are any."""
        credentials = await self._manager.current()
        configured = {name: request.headers[name] for name in IDENTITY_HEADERS if name in request.headers}
        self._sign(request, credentials, configured)
        response = yield request
        for _ in range(MOST_RECOVERIES):
            if response.status_code != httpx.codes.UNAUTHORIZED:
                return
            recovery = await self._manager.retry_after_401(credentials)
            if recovery.credentials is None:
                return
            credentials = recovery.credentials
            self._sign(request, credentials, configured)
            response = yield request
            if recovery.token_used:
                return

    def _sign(self, request: httpx.Request, credentials: Credentials, configured: Mapping[str, str]) -> None:
        """Set the identity headers; ``configured`` ones, from config.toml, apply where the credentials set none.

        Raises ConfigError when the credential would be sent unencrypted.
        """
        for name in IDENTITY_HEADERS:
            request.headers.pop(name, None)
        request.headers.update({**configured, **identity_headers(credentials)})
        url = request.url
        if is_secure(str(url)) or not carries_credential(request):
            return
        provider, hint = self._settings.provider, "Use an https address in config.toml."
        if credentials.mode is AuthMode.API_KEY and not provider.is_built_in:
            if provider.id in self._settings.insecure_providers:
                return
            hint += (
                " If you trust the network in between, allow this provider:"
                f" %config CodexMagics.insecure_providers = ['{provider.id}']"
            )
        raise ConfigError(
            f"Nothing was sent to {url.scheme}://{url.netloc.decode('ascii')}: credentials are sent to https"
            " addresses and to this machine only; over http, anyone on the network could read them.",
            key="base_url",
            hint=hint,
        )


def carries_credential(request: httpx.Request) -> bool:
    """Whether a header or a query parameter holds a credential, judged by its name."""
    return any(_CREDENTIAL_NAME.search(name) for name in (*request.headers, *request.url.params))


def _unsendable(what: str, credentials: Credentials) -> SignInRequired:
    return SignInRequired(
        f"The {what} from {credentials.source} contains characters that cannot be sent.",
        hint="Copy the whole value again, or sign in with %codex login.",
    )


def identity_headers(credentials: Credentials) -> dict[str, str]:
    """Return the headers that identify the account, for every auth mode."""
    headers: dict[str, str] = {}
    if credentials.agent is not None:
        headers["authorization"] = f"AgentAssertion {credentials.agent.assertion().get_secret_value()}"
    elif credentials.bearer is not None:
        if not fits_header(credentials.bearer):
            raise _unsendable("credential", credentials)
        headers["authorization"] = f"Bearer {credentials.bearer.get_secret_value()}"
    if credentials.is_chatgpt_backend:
        if account_id := credentials.account.account_id:
            if not is_printable_ascii(account_id):
                raise _unsendable("account id", credentials)
            headers[ACCOUNT_HEADER] = account_id
        if credentials.account.is_fedramp:
            headers[FEDRAMP_HEADER] = "true"
    return headers


def open_credentials(
    settings: Settings,
    environ: Mapping[str, str],
    http: httpx.AsyncClient,
    *,
    external: ExternalTokenProvider | None = None,
    store: CredentialStore | None = None,
    outlive: bool = False,
    clock: Clock = utc_now,
    sleep: Sleep = asyncio.sleep,
) -> CredentialManager:
    """Return the credential manager of one profile, which has read nothing yet.

    With ``outlive`` a refresh runs in a subprocess, which completes it even when this process is killed.
    """
    store = store or open_store(settings)
    home: Path | None = None if isinstance(store, MemoryStore) else settings.codex_home
    oauth = OAuthClient(http, settings)
    refresher: TokenRefresher = DirectRefresher(store, oauth, clock=clock, sleep=sleep)
    if outlive and isinstance(store, FileStore) and os.name == "posix":
        refresher = DetachedRefresher(settings, store, refresher, partial(launch_process, environ=environ))
    stored = StoredCredentials(store, LoginLock(home), refresher, sleep=sleep)
    identities = CredentialResolver(http, settings, clock=clock)
    source = find_source(settings, environ, external, clock, http)

    async def ensure_login_allowed() -> None:
        login, document = environment_login(settings, environ), None
        with suppress(SignInRequired):  # what is no login breaks no rule
            if login is None and (snapshot := await stored.read()) is not None:
                login, document = snapshot.credentials, snapshot.document
        if login is not None:
            ensure_allowed(settings, await identities.complete(login, document))

    if source is not None and not settings.provider.uses_login and settings.restricts_every_login:
        source = _BesideLogin(source, ensure_login_allowed)
    return CredentialManager(settings, stored, identities, oauth, source=source, clock=clock, sleep=sleep)


def address_overrides(settings: Settings) -> dict[str, str]:
    """Return the settings that replace an address to which a login is sent, with the addresses."""
    provider, usual = settings.provider, Settings(codex_home=settings.codex_home)
    found = {
        **{variable: getattr(settings, name) for variable, name in ADDRESS_VARIABLES.items()},
        "chatgpt_base_url": settings.chatgpt_base_url,
        "openai_base_url": provider.base_url if provider.is_built_in else None,
    }
    defaults = {None, usual.issuer, usual.authapi_base_url, usual.chatgpt_base_url}
    return {name: url for name, url in found.items() if url is not None and url not in defaults}
