"""The stored login and its renewal: lock, re-read, adopt, spend the refresh token, merge, save.

Why in this order: refresh tokens are good for one use, and every notebook kernel and Codex CLI on the machine shares
one. So whoever finds the file changed takes what is there, and only the one who holds the lock spends.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from codex_nb.auth.claims import Claims, read_claims
from codex_nb.auth.credentials import Credentials, credentials_from_document
from codex_nb.auth.document import AuthDotJson, Tokens, format_time
from codex_nb.errors import AccountChanged, CredentialsUnreadable, RefreshFailed, SignInRequired

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from pydantic import SecretStr

    from codex_nb.auth.locks import LoginLock
    from codex_nb.auth.oauth import OAuthClient
    from codex_nb.auth.oauth_replies import TokenReply
    from codex_nb.auth.store import CredentialStore

    Clock = Callable[[], datetime]
    Sleep = Callable[[float], Awaitable[None]]

RETRY_PAUSES_S = (0.5, 2.0)
# How long to look for the tokens of another program that spent the refresh token before us: it may be waiting for our
# lock to save them, or for the network.
WINNER_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5)
RACE_REASONS = frozenset({"reused", "rejected"})
RETRIED_REASONS = frozenset({"unreachable", "malformed"})


@dataclass(frozen=True)
class Snapshot:
    """The stored login at one moment: the file's content, what it means, and the store's stamp."""

    document: AuthDotJson
    credentials: Credentials
    stamp: object


@dataclass(frozen=True)
class Renewal:
    """The outcome of a renewal; ``spent`` says whether our own refresh token paid for it."""

    snapshot: Snapshot
    spent: bool


@dataclass(frozen=True)
class _Unsaved:
    """Tokens that were bought and could not be written: ``parent`` is the refresh token they replace."""

    snapshot: Snapshot
    parent: SecretStr | None


class StoredLogin:
    """One store's login. Every change of it goes through here, under the machine-wide lock."""

    def __init__(
        self, store: CredentialStore, lock: LoginLock, oauth: OAuthClient, *, clock: Clock, sleep: Sleep
    ) -> None:
        self.store = store
        self._lock = lock
        self._oauth = oauth
        self._clock = clock
        self._sleep = sleep
        self._unsaved: _Unsaved | None = None

    @property
    def has_unsaved(self) -> bool:
        """Whether tokens live in memory only, because the store refused them."""
        return self._unsaved is not None

    async def read(self) -> Snapshot | None:
        """Read the login, or give the newer tokens in memory while the store holds those they replace."""
        stamp = self.store.stamp()
        document = await asyncio.to_thread(self.store.load)
        if document is None:
            return None
        source = str(self.store)
        credentials = credentials_from_document(
            document, source=source, path=getattr(self.store, "path", None)
        )
        if self._unsaved is not None and credentials.refresh_token == self._unsaved.parent:
            return replace(self._unsaved.snapshot, stamp=stamp)
        self._unsaved = None
        return Snapshot(document, credentials, stamp)

    async def renew(self, seen: Snapshot, reason: str) -> Renewal:
        """Replace the login that ``seen`` holds by a newer one, another program's if there is one.

        Raises RefreshFailed, AccountChanged, SignInRequired or CredentialsUnreadable.
        """
        async with self._lock.held():
            present = self._same_login(seen, await self.read())
            if _is_newer(present, seen):
                return Renewal(present, spent=False)
            outcome = await self._spend(present, reason)
            if not isinstance(outcome, RefreshFailed):
                return Renewal(await self._keep(present, outcome), spent=True)
        winner = await self._winner(seen, outcome)
        if winner is None:
            raise outcome
        return Renewal(winner, spent=False)

    async def replace(self, document: AuthDotJson) -> tuple[Snapshot, Credentials | None]:
        """Put a new login in place of the old one, which is given back so that it can be revoked."""
        async with self._lock.held():
            old = await self._readable()
            await asyncio.to_thread(self.store.save, document)
            self._unsaved = None
            credentials = credentials_from_document(document, source=str(self.store))
            return Snapshot(document, credentials, self.store.stamp()), old

    async def remove(self) -> tuple[bool, Credentials | None]:
        """Delete the login; whether there was one, and which when it could be read."""
        async with self._lock.held():
            old = await self._readable()
            self._unsaved = None
            return await asyncio.to_thread(self.store.delete), old

    async def save_unsaved(self) -> None:
        """Try again to write tokens that could not be written; a failure leaves them in memory."""
        try:
            async with self._lock.held():
                present = await self.read()
                if self._unsaved is not None and present is not None:
                    await asyncio.to_thread(self.store.save, self._unsaved.snapshot.document)
                    self._unsaved = None
        except (RefreshFailed, CredentialsUnreadable):
            return

    async def _spend(self, present: Snapshot, reason: str) -> TokenReply | RefreshFailed:
        for pause in (*RETRY_PAUSES_S, None):
            try:
                return await self._oauth.refresh(present.credentials, reason)
            except RefreshFailed as failure:
                if pause is None or failure.reason not in RETRIED_REASONS:
                    return failure
            await self._sleep(pause)
        raise AssertionError  # the last pause is None, and both ways out of that round return

    async def _keep(self, spent: Snapshot, reply: TokenReply) -> Snapshot:
        """Merge the reply into the login and save it; what cannot be saved is kept in memory."""
        tokens = spent.document.tokens or Tokens()
        _refuse_other_account(tokens, reply)
        try:
            latest = self._same_login(spent, await self.read())
        except CredentialsUnreadable:
            latest = spent
        document = _merge(latest.document, reply, self._clock())
        credentials = credentials_from_document(document, source=spent.credentials.source)
        try:
            await asyncio.to_thread(self.store.save, document)
        except CredentialsUnreadable:
            snapshot = Snapshot(document, credentials, self.store.stamp())
            self._unsaved = _Unsaved(snapshot, spent.credentials.refresh_token)
            return snapshot
        return Snapshot(document, credentials, self.store.stamp())

    async def _winner(self, seen: Snapshot, failure: RefreshFailed) -> Snapshot | None:
        """Look for what another program saved; our lock is free now, so that it can."""
        pauses = WINNER_PAUSES_S if failure.reason in RACE_REASONS else ()
        for pause in (0.0, *pauses):
            if pause:
                await self._sleep(pause)
            present = self._same_login(seen, await self.read())
            if _is_newer(present, seen):
                return present
        return None

    async def _readable(self) -> Credentials | None:
        try:
            snapshot = await self.read()
        except (CredentialsUnreadable, SignInRequired):
            return None
        return None if snapshot is None else snapshot.credentials

    def _same_login(self, seen: Snapshot, present: Snapshot | None) -> Snapshot:
        if present is None:
            raise SignInRequired("You have been signed out by another program.")
        refuse_other(seen.credentials, present.credentials)
        return present


def refuse_other(mine: Credentials, theirs: Credentials) -> None:
    """Raise AccountChanged when the login found is not the one this session answers with."""
    if not mine.same_account(theirs):
        raise AccountChanged(f"This session belongs to {mine.label}, but the login is now {theirs.label}.")


def _is_newer(present: Snapshot, seen: Snapshot) -> bool:
    mine, theirs = seen.credentials, present.credentials
    return not theirs.same_bearer(mine) or theirs.refresh_token != mine.refresh_token


def _merge(document: AuthDotJson, reply: TokenReply, now: datetime) -> AuthDotJson:
    found = {
        name: token.get_secret_value()
        for name, token in vars(reply).items()
        if token is not None  # what the reply leaves out stays
    }
    tokens: Tokens = (document.tokens or Tokens()).changed(**found)
    merged: AuthDotJson = document.changed(tokens=tokens.plain(), last_refresh=format_time(now))
    return merged


def _refuse_other_account(tokens: Tokens, reply: TokenReply) -> None:
    """Never write one account's tokens over another's; the CLI does."""
    pairs = ((tokens.id_token, reply.id_token), (tokens.access_token, reply.access_token))
    for old, new in pairs:
        if new is not None and not _agree(read_claims(old), read_claims(new)):
            raise AccountChanged(
                "The sign-in service answered with the tokens of another account; the stored login was left as it is.",
                hint="Sign in again with %codex login.",
            )


def _agree(old: Claims, new: Claims) -> bool:
    pairs = ((old.account_id, new.account_id), (old.user_id, new.user_id))
    return all(mine is None or theirs is None or mine == theirs for mine, theirs in pairs)
