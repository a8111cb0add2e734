"""Token refresh: lock, re-read, adopt what another process wrote, spend the refresh token, merge, save."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from codex_nb.auth.auth_json import AuthFile, Tokens, format_time
from codex_nb.auth.credentials import AuthMode, Claims, Credentials, read_claims
from codex_nb.auth.store import Snapshot, ensure_same_account, same_login, snapshot_of, take_snapshot
from codex_nb.errors import AccountChanged, CredentialsUnreadable, RefreshFailed, SignInRequired

if TYPE_CHECKING:
    from datetime import datetime

    from pydantic import SecretStr

    from codex_nb.auth.credentials import Clock
    from codex_nb.auth.oauth import OAuthClient, TokenReply
    from codex_nb.auth.store import AcquiredLock, CredentialStore, LoginLock, Sleep


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

    def reason(self, credentials: Credentials) -> str | None:
        """Name the reason to refresh now (a value of ``refresh_reason`` on the wire); None when there is none."""
        if not can_refresh(credentials) or self.recall(credentials) is not None:
            return None
        now = self._clock()
        if credentials.expires_at is not None:
            return "proactive_expiry" if credentials.expires_at <= now + EXPIRY_MARGIN else None
        refreshed_at = credentials.refreshed_at
        return "scheduled" if refreshed_at is not None and refreshed_at < now - OPAQUE_LIFETIME else None

    def is_expired(self, credentials: Credentials) -> bool:
        """Whether the token has expired by its own claim."""
        return credentials.expires_at is not None and credentials.expires_at <= self._clock()

    def is_permanently_expired(self, credentials: Credentials) -> bool:
        """Whether the token has expired and can never be refreshed: sending it would only cost a 401."""
        error = self.recall(credentials)
        return error is not None and error.permanent and self.is_expired(credentials)

    def remember(self, login: Credentials, error: RefreshFailed) -> None:
        """Keep a failure: a permanent one while this login lasts, others for a growing pause."""
        before = self._failure
        repeated = before is not None and _is_same(before.login, login)
        pause = min(before.pause * 2, LONGEST_PAUSE) if before is not None and repeated else FIRST_PAUSE
        self._failure = _Failure(login, error, None if error.permanent else self._clock() + pause, pause)

    def recall(self, login: Credentials) -> RefreshFailed | None:
        """Return the failure that still applies to this login, as a new error."""
        failure = self._failure
        if failure is None or not _is_same(failure.login, login):
            return None
        if failure.until is not None and self._clock() >= failure.until:
            return None
        error = failure.error
        return RefreshFailed(str(error), permanent=error.permanent, reason=error.reason, hint=error.hint)

    def forget(self) -> None:
        """Clear the failure, after a success or a sign-in."""
        self._failure = None


def can_refresh(credentials: Credentials) -> bool:
    """Whether there is a refresh token to spend."""
    return credentials.mode is AuthMode.CHATGPT and credentials.refresh_token is not None


def nothing_refreshed() -> RefreshFailed:
    """Return the error for a refresh that the service answered with ``{}``: a success without new tokens."""
    return RefreshFailed(
        ("Your session could not be refreshed: the sign-in service returned no new tokens."),
        hint="Run the cell again in a moment, or sign in again with %codex login.",
        permanent=False,
        reason="unchanged",
    )


def _is_same(one: Credentials, other: Credentials) -> bool:
    return one.same_bearer(other) and one.refresh_token == other.refresh_token


RETRY_PAUSES_S = (0.5, 2.0)
RETRIED_REASONS = frozenset({"unreachable", "malformed"})


@dataclass(frozen=True)
class Refreshed:
    """The refreshed login; when it could not be saved, only ``snapshot`` holds it."""

    snapshot: Snapshot
    is_saved: bool = True


class TokenRefresher(Protocol):
    """Spends refresh tokens."""

    async def refresh(self, present: Snapshot, reason: str, lock: AcquiredLock) -> Refreshed | RefreshFailed:
        """Refresh the login in the store under ``lock``; a failure of the service is returned.

        Raises AccountChanged, SignInRequired or CredentialsUnreadable when the login is not to be overwritten.
        """


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


# How long to look for the tokens of another program that spent the refresh token before us: it may be waiting for our
# lock to save them, or for the network.
CONCURRENT_REFRESH_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5)
RACE_REASONS = frozenset({"reused", "rejected"})


@dataclass(frozen=True)
class RefreshOutcome:
    """The outcome of a refresh; ``token_used`` says whether our own refresh token paid for it."""

    snapshot: Snapshot
    token_used: bool


@dataclass(frozen=True)
class _Unsaved:
    """New tokens that could not be saved; ``parent`` is the refresh token they replace."""

    snapshot: Snapshot
    parent: SecretStr | None


class StoredCredentials:
    """The login in one store; every change goes through here, under the machine-wide lock."""

    def __init__(
        self, store: CredentialStore, lock: LoginLock, refresher: TokenRefresher, *, sleep: Sleep
    ) -> None:
        self.store = store
        self.lock = lock
        self._refresher = refresher
        self._sleep = sleep
        self._unsaved: _Unsaved | None = None

    @property
    def has_unsaved_tokens(self) -> bool:
        """Whether new tokens exist in memory only, because they could not be saved."""
        return self._unsaved is not None

    async def read(self) -> Snapshot | None:
        """Read the login; unsaved tokens in memory come first while the store holds those they replace."""
        snapshot = await asyncio.to_thread(take_snapshot, self.store)
        if snapshot is None:
            return None
        if self._unsaved is not None and snapshot.credentials.refresh_token == self._unsaved.parent:
            return replace(self._unsaved.snapshot, stamp=snapshot.stamp)
        self._unsaved = None
        return snapshot

    async def refresh(self, seen: Snapshot, reason: str) -> RefreshOutcome:
        """Return a newer login than ``seen``: another program's if there is one, else a refreshed one.

        Raises RefreshFailed, AccountChanged, SignInRequired or CredentialsUnreadable.
        """
        async with self.lock.held() as lock:
            present = same_login(seen, await self.read())
            if present.is_newer_than(seen):
                return RefreshOutcome(present, token_used=False)
            outcome = await self._refresher.refresh(present, reason, lock)
            if not isinstance(outcome, RefreshFailed):
                if not outcome.is_saved:
                    self._unsaved = _Unsaved(outcome.snapshot, present.credentials.refresh_token)
                return RefreshOutcome(outcome.snapshot, token_used=True)
        winner = await self._find_concurrent_refresh(seen, outcome)
        if winner is None:
            raise outcome
        return RefreshOutcome(winner, token_used=False)

    async def replace(self, document: AuthFile) -> tuple[Snapshot, Credentials | None]:
        """Save a new login and return it with the old one, which is to be revoked."""
        async with self.lock.held():
            old = await self._readable()
            await asyncio.to_thread(self.store.save, document)
            self._unsaved = None
            return snapshot_of(document, self.store, self.store.stamp()), old

    async def remove(self, expected: Credentials | None = None) -> tuple[bool, Credentials | None]:
        """Delete the login; return whether there was one, and its credentials if they could be read.

        Another account's login than the ``expected`` stays; raises AccountChanged then.
        """
        async with self.lock.held():
            old = await self._readable()
            if expected is not None and old is not None:
                ensure_same_account(expected, old)
            self._unsaved = None
            return await asyncio.to_thread(self.store.delete), old

    async def save_unsaved(self) -> None:
        """Try again to save unsaved tokens; a failure leaves them in memory."""
        try:
            async with self.lock.held():
                present = await self.read()
                if self._unsaved is not None and present is not None:
                    await asyncio.to_thread(self.store.save, self._unsaved.snapshot.document)
                    self._unsaved = None
        except (RefreshFailed, CredentialsUnreadable):
            return

    async def _find_concurrent_refresh(self, seen: Snapshot, failure: RefreshFailed) -> Snapshot | None:
        """Wait for tokens that another program saves; our lock is released, so that it can."""
        pauses = CONCURRENT_REFRESH_PAUSES_S if failure.reason in RACE_REASONS else ()
        for pause in (0.0, *pauses):
            if pause:
                await self._sleep(pause)
            present = same_login(seen, await self.read())
            if present.is_newer_than(seen):
                return present
        return None

    async def _readable(self) -> Credentials | None:
        try:
            snapshot = await self.read()
        except (CredentialsUnreadable, SignInRequired):
            return None
        return None if snapshot is None else snapshot.credentials
