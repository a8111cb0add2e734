"""The stored login and its changes: lock, re-read, adopt, spend the refresh token, merge, save.

Why in this order: refresh tokens are good for one use, and every notebook kernel and Codex CLI on the machine shares
one. So whoever finds the file changed takes what is there, and only the one who holds the lock spends.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from codex_nb.auth.snapshots import Snapshot, refuse_other, same_login, snapshot_of, take_snapshot
from codex_nb.errors import CredentialsUnreadable, RefreshFailed, SignInRequired

if TYPE_CHECKING:
    from pydantic import SecretStr

    from codex_nb.auth.credentials import Credentials
    from codex_nb.auth.document import AuthDotJson
    from codex_nb.auth.locks import LoginLock
    from codex_nb.auth.renewer import Renewer
    from codex_nb.auth.snapshots import Sleep
    from codex_nb.auth.store import CredentialStore

# How long to look for the tokens of another program that spent the refresh token before us: it may be waiting for our
# lock to save them, or for the network.
WINNER_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5)
RACE_REASONS = frozenset({"reused", "rejected"})


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

    def __init__(self, store: CredentialStore, lock: LoginLock, renewer: Renewer, *, sleep: Sleep) -> None:
        self.store = store
        self.lock = lock
        self._renewer = renewer
        self._sleep = sleep
        self._unsaved: _Unsaved | None = None

    @property
    def has_unsaved(self) -> bool:
        """Whether tokens live in memory only, because the store refused them."""
        return self._unsaved is not None

    async def read(self) -> Snapshot | None:
        """Read the login, or give the newer tokens in memory while the store holds those they replace."""
        snapshot = await asyncio.to_thread(take_snapshot, self.store)
        if snapshot is None:
            return None
        if self._unsaved is not None and snapshot.credentials.refresh_token == self._unsaved.parent:
            return replace(self._unsaved.snapshot, stamp=snapshot.stamp)
        self._unsaved = None
        return snapshot

    async def renew(self, seen: Snapshot, reason: str) -> Renewal:
        """Replace the login that ``seen`` holds by a newer one, another program's if there is one.

        Raises RefreshFailed, AccountChanged, SignInRequired or CredentialsUnreadable.
        """
        async with self.lock.held() as hold:
            present = same_login(seen, await self.read())
            if present.is_newer_than(seen):
                return Renewal(present, spent=False)
            outcome = await self._renewer.renew(present, reason, hold)
            if not isinstance(outcome, RefreshFailed):
                if not outcome.is_saved:
                    self._unsaved = _Unsaved(outcome.snapshot, present.credentials.refresh_token)
                return Renewal(outcome.snapshot, spent=True)
        winner = await self._winner(seen, outcome)
        if winner is None:
            raise outcome
        return Renewal(winner, spent=False)

    async def replace(self, document: AuthDotJson) -> tuple[Snapshot, Credentials | None]:
        """Put a new login in place of the old one, which is given back so that it can be revoked."""
        async with self.lock.held():
            old = await self._readable()
            await asyncio.to_thread(self.store.save, document)
            self._unsaved = None
            return snapshot_of(document, self.store, self.store.stamp()), old

    async def remove(self, expected: Credentials | None = None) -> tuple[bool, Credentials | None]:
        """Delete the login; whether there was one, and which when it could be read.

        Another account's login than the ``expected`` stays; raises AccountChanged then.
        """
        async with self.lock.held():
            old = await self._readable()
            if expected is not None and old is not None:
                refuse_other(expected, old)
            self._unsaved = None
            return await asyncio.to_thread(self.store.delete), old

    async def save_unsaved(self) -> None:
        """Try again to write tokens that could not be written; a failure leaves them in memory."""
        try:
            async with self.lock.held():
                present = await self.read()
                if self._unsaved is not None and present is not None:
                    await asyncio.to_thread(self.store.save, self._unsaved.snapshot.document)
                    self._unsaved = None
        except (RefreshFailed, CredentialsUnreadable):
            return

    async def _winner(self, seen: Snapshot, failure: RefreshFailed) -> Snapshot | None:
        """Look for what another program saved; our lock is free now, so that it can."""
        pauses = WINNER_PAUSES_S if failure.reason in RACE_REASONS else ()
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
