"""The stored login at one moment, and when two of them are the same login."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codex_nb.auth.credentials import Credentials, credentials_from_document
from codex_nb.errors import AccountChanged, SignInRequired
from codex_nb.words import stored_login as words

if TYPE_CHECKING:
    from codex_nb.auth.document import AuthDotJson
    from codex_nb.auth.store import CredentialStore

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True)
class Snapshot:
    """What the store holds, what it means, and the store's stamp."""

    document: AuthDotJson
    credentials: Credentials
    stamp: object

    def is_newer_than(self, seen: Snapshot) -> bool:
        """Whether somebody has changed the tokens since ``seen``."""
        mine, theirs = self.credentials, seen.credentials
        return not mine.same_bearer(theirs) or mine.refresh_token != theirs.refresh_token


def take_snapshot(store: CredentialStore) -> Snapshot | None:
    """Read the store; None when it holds no login. Raises CredentialsUnreadable or SignInRequired."""
    stamp = store.stamp()  # before the content: what changes in between is seen the next time
    document = store.load()
    return None if document is None else snapshot_of(document, store, stamp)


def snapshot_of(document: AuthDotJson, store: CredentialStore, stamp: object) -> Snapshot:
    """The snapshot of a document in this store."""
    path = getattr(store, "path", None)
    return Snapshot(document, credentials_from_document(document, source=str(store), path=path), stamp)


def same_login(seen: Snapshot, present: Snapshot | None) -> Snapshot:
    """Give ``present`` if it is the login that ``seen`` was. Raises SignInRequired or AccountChanged."""
    if present is None:
        raise SignInRequired(words.SIGNED_OUT_ELSEWHERE)
    refuse_other(seen.credentials, present.credentials)
    return present


def refuse_other(mine: Credentials, theirs: Credentials) -> None:
    """Raise AccountChanged when the login found is not the one this session answers with."""
    if not mine.same_account(theirs):
        raise AccountChanged(words.account_changed(mine.label, theirs.label))
