"""Spending a refresh token and saving what it buys; the caller holds the machine-wide lock around it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from codex_nb.auth.claims import Claims, read_claims
from codex_nb.auth.document import AuthDotJson, Tokens, format_time
from codex_nb.auth.snapshots import Snapshot, same_login, snapshot_of, take_snapshot
from codex_nb.errors import AccountChanged, CredentialsUnreadable, RefreshFailed
from codex_nb.words import renewal as words

if TYPE_CHECKING:
    from datetime import datetime

    from codex_nb.auth.credentials import Clock
    from codex_nb.auth.locks import Hold
    from codex_nb.auth.oauth import OAuthClient
    from codex_nb.auth.oauth_replies import TokenReply
    from codex_nb.auth.snapshots import Sleep
    from codex_nb.auth.store import CredentialStore

RETRY_PAUSES_S = (0.5, 2.0)
RETRIED_REASONS = frozenset({"unreachable", "malformed"})


@dataclass(frozen=True)
class Renewed:
    """A login bought with its refresh token; what could not be saved lives in ``snapshot`` only."""

    snapshot: Snapshot
    is_saved: bool = True


class Renewer(Protocol):
    """Spends refresh tokens."""

    async def renew(self, present: Snapshot, reason: str, hold: Hold) -> Renewed | RefreshFailed:
        """Renew the login that the store holds under ``hold``; a refusal of the service is given back.

        Raises AccountChanged, SignInRequired or CredentialsUnreadable when the login is not to be overwritten.
        """


class DirectRenewer:
    """Does it in this process."""

    def __init__(self, store: CredentialStore, oauth: OAuthClient, *, clock: Clock, sleep: Sleep) -> None:
        self._store = store
        self._oauth = oauth
        self._clock = clock
        self._sleep = sleep

    async def renew(self, present: Snapshot, reason: str, hold: Hold) -> Renewed | RefreshFailed:
        """Spend, merge, save."""
        del hold  # the caller's, until this is done
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

    async def _keep(self, spent: Snapshot, reply: TokenReply) -> Renewed:
        _refuse_other_account(spent.document.tokens or Tokens(), reply)
        try:
            latest = same_login(spent, await asyncio.to_thread(take_snapshot, self._store))
        except CredentialsUnreadable:
            latest = (
                spent  # torn by somebody without the lock: whole again in a moment, by what is saved here
            )
        document = _merge(latest.document, reply, self._clock())
        try:
            await asyncio.to_thread(self._store.save, document)
        except CredentialsUnreadable:
            return Renewed(snapshot_of(document, self._store, self._store.stamp()), is_saved=False)
        return Renewed(snapshot_of(document, self._store, self._store.stamp()))


def _merge(document: AuthDotJson, reply: TokenReply, now: datetime) -> AuthDotJson:
    """Put the reply's tokens in; what it leaves out stays, and so do all other keys."""
    found = {name: token.get_secret_value() for name, token in vars(reply).items() if token is not None}
    tokens: Tokens = (document.tokens or Tokens()).changed(**found)
    merged: AuthDotJson = document.changed(tokens=tokens.plain(), last_refresh=format_time(now))
    return merged


def _refuse_other_account(tokens: Tokens, reply: TokenReply) -> None:
    """Never write one account's tokens over another's; the CLI does."""
    pairs = ((tokens.id_token, reply.id_token), (tokens.access_token, reply.access_token))
    for old, new in pairs:
        if new is not None and not _agree(read_claims(old), read_claims(new)):
            raise AccountChanged(words.OTHER_ACCOUNT)


def _agree(old: Claims, new: Claims) -> bool:
    pairs = ((old.account_id, new.account_id), (old.user_id, new.user_id))
    return all(mine is None or theirs is None or mine == theirs for mine, theirs in pairs)
