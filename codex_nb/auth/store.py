"""Credential stores and the lock around them: load, save and delete one ``AuthFile``."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pydantic import SecretStr

from codex_nb.auth.auth_json import AuthFile, parse_auth_json
from codex_nb.auth.credentials import Credentials, credentials_from_document
from codex_nb.errors import AccountChanged, CredentialsUnreadable, RefreshFailed, SignInRequired
from codex_nb.files import remove_leftovers, replace_file, try_lock, unlock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


# In the CLI's order and with the CLI's modes.
LOCK_FILES = (("auth.lock", 0o644), ("auth.json.lock", 0o600))
FIRST_PAUSE_S = 0.005
LONGEST_PAUSE_S = 0.1


@dataclass
class AcquiredLock:
    """A held lock: its open files, and whether a subprocess shares them and may hold them longer."""

    descriptors: list[int] = field(default_factory=list)
    is_inherited: bool = False

    def release(self) -> None:
        """Release the lock, unless a subprocess still holds it."""
        while self.descriptors:
            descriptor = self.descriptors.pop()
            if not self.is_inherited:
                # Unlocked by name, not only by closing: a forked child may hold a copy of the descriptor.
                with suppress(OSError):  # never acquired, or on a file system that forgot it
                    unlock(descriptor)
            os.close(descriptor)


class LoginLock:
    """Mutual exclusion between all programs that change the login of one CODEX_HOME.

    A home of None belongs to this process alone and needs no lock. ``timeout_s`` bounds the wait for other programs.
    """

    def __init__(self, home: Path | None, *, timeout_s: float = 60.0) -> None:
        self._home = home
        self._timeout_s = timeout_s

    @asynccontextmanager
    async def held(self) -> AsyncIterator[AcquiredLock]:
        """Hold the lock. Raises RefreshFailed (transient) when it cannot be acquired in time."""
        lock = AcquiredLock()
        deadline = time.monotonic() + self._timeout_s
        try:
            if self._home is not None:
                await _take(self._home, lock, deadline)
            yield lock
        finally:
            lock.release()


def _open(home: Path, name: str, mode: int) -> int:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(home / name, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), mode)
    except OSError as error:
        raise not_writable(home, error) from error
    if not os.access(home, os.W_OK | os.X_OK):
        os.close(descriptor)
        raise not_writable(home, None)
    return descriptor


def not_writable(home: Path, error: OSError | None) -> RefreshFailed:
    """Return the error for a read-only home, raised before a refresh token is spent."""
    reason = f" ({error.strerror})" if error is not None and error.strerror else ""
    return RefreshFailed(
        f"Your session cannot be refreshed: {home} is not writable{reason}.",
        hint="Make the directory writable, or sign in where the credentials are stored.",
        permanent=False,
        reason="unwritable",
    )


async def _take(home: Path, lock: AcquiredLock, deadline: float) -> None:
    for name, mode in LOCK_FILES:
        lock.descriptors.append(_open(home, name, mode))
        await _acquire(lock.descriptors[-1], deadline, home / name)


async def _acquire(descriptor: int, deadline: float, path: Path) -> None:
    pause = FIRST_PAUSE_S
    while not try_lock(descriptor):
        if time.monotonic() > deadline:
            raise RefreshFailed(
                f"Another program is holding the lock on the credentials ({path}).",
                hint="Wait for it or stop it, then run the cell again.",
                permanent=False,
                reason="locked",
            )
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE_S)


def is_held(path: Path) -> bool:
    """Whether another program holds the lock file; the file is not created."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        if not try_lock(descriptor):
            return True
        unlock(descriptor)
        return False
    finally:
        os.close(descriptor)


# A program that truncates and rewrites in place leaves the file torn for some milliseconds.
TORN_READ_PAUSES_S = (0.01, 0.02, 0.05, 0.1, 0.2)
STALE_AFTER_S = 600.0
ENCRYPTED_STORE = "secrets/codex_auth.age"


class CredentialStore(Protocol):
    """Stores one login. ``stamp`` is cheap and changes whenever the login may have changed."""

    def load(self) -> AuthFile | None:
        """Read the login; None when not found. Raises CredentialsUnreadable."""

    def save(self, document: AuthFile) -> str:
        """Write the login in one step and return its location, for messages. Raises CredentialsUnreadable."""

    def delete(self) -> bool:
        """Remove the login; False when there was none."""

    def stamp(self) -> object:
        """Identify the current state without reading it; None when unknown."""


class MemoryStore:
    """A login in memory, which ends with the process."""

    def __init__(self, document: AuthFile | None = None) -> None:
        self._document = document
        self._version = 0

    def load(self) -> AuthFile | None:
        """Return the saved login."""
        return self._document

    def save(self, document: AuthFile) -> str:
        """Keep ``document`` until the process ends."""
        self._document, self._version = document, self._version + 1
        return "memory"

    def delete(self) -> bool:
        """Forget the login."""
        had_one, self._document = self._document is not None, None
        self._version += 1
        return had_one

    def stamp(self) -> object:
        """Count the changes."""
        return self._version

    def __str__(self) -> str:
        return "memory"


class FileStore:
    """``auth.json`` in one CODEX_HOME: replaced atomically, mode 0600, symlinks kept."""

    def __init__(self, path: Path, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.path = path
        self._sleep = sleep

    def load(self) -> AuthFile | None:
        """Read the file; a file that another program is writing is read again for a third of a second."""
        document = self._read()
        for pause in TORN_READ_PAUSES_S:
            if not isinstance(document, str):
                break
            self._sleep(pause)
            document = self._read()
        if isinstance(document, str):
            raise self._unreadable(document)
        if document is None:
            ensure_plaintext(self.path.parent)
        return document

    def save(self, document: AuthFile) -> str:
        """Replace the file in one step, flushed to disk; the caller's lock keeps other writers out."""
        target = self.path.resolve() if self.path.is_symlink() else self.path
        problem = None
        try:
            remove_leftovers(target, older_than_s=STALE_AFTER_S)
            replace_file(target, document.pretty().encode("utf-8"))
        except OSError as error:
            problem = error.strerror or type(error).__name__
        if problem is not None:
            raise CredentialsUnreadable(
                f"The credentials could not be saved in {self.path}: {problem}.",
                hint="Fix that, then sign in again with %codex login.",
                path=self.path,
            )
        return str(self.path)

    def delete(self) -> bool:
        """Remove the file (the link itself when it is one)."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise CredentialsUnreadable(
                f"The login in {self.path} could not be removed: {error.strerror or type(error).__name__}.",
                hint="Remove the file yourself.",
                path=self.path,
            ) from error
        return True

    def stamp(self) -> object:
        """Identify the file's state by inode, size and time of change."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

    def __str__(self) -> str:
        return str(self.path)

    def _read(self) -> AuthFile | str | None:
        try:
            text = SecretStr(self.path.read_text(encoding="utf-8-sig"))
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            return "it is not UTF-8 text"
        except OSError as error:
            return (error.strerror or type(error).__name__).lower()
        return parse_auth_json(text)

    def _unreadable(self, problem: str) -> CredentialsUnreadable:
        return CredentialsUnreadable(
            f"The stored credentials {self.path} cannot be read: {problem}. The file was not changed.",
            hint="Fix or remove the file, or sign in again with %codex login.",
            path=self.path,
        )


def ensure_plaintext(home: Path) -> None:
    """Raise CredentialsUnreadable when the only login is one that the CLI has encrypted."""
    path = home / ENCRYPTED_STORE
    if path.exists():
        raise CredentialsUnreadable(
            (f"The Codex CLI keeps this login in its encrypted store {path}, which only it can open."),
            hint=(
                "Turn off the CLI feature secret_auth_storage and sign in again, or sign in with another profile."
            ),
            path=path,
        )


def file_mode(path: Path) -> int | None:
    """The permission bits of ``path``; None when it does not exist."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None


Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True)
class Snapshot:
    """The document in a store, its credentials, and the store's stamp."""

    document: AuthFile
    credentials: Credentials
    stamp: object

    def is_newer_than(self, seen: Snapshot) -> bool:
        """Whether the tokens have changed since ``seen``."""
        mine, theirs = self.credentials, seen.credentials
        return not mine.same_bearer(theirs) or mine.refresh_token != theirs.refresh_token


def take_snapshot(store: CredentialStore) -> Snapshot | None:
    """Read the store; None when it holds no login. Raises CredentialsUnreadable or SignInRequired."""
    stamp = store.stamp()  # before the content: what changes in between is seen the next time
    document = store.load()
    return None if document is None else snapshot_of(document, store, stamp)


def snapshot_of(document: AuthFile, store: CredentialStore, stamp: object) -> Snapshot:
    """Return the snapshot of a document in this store."""
    path = getattr(store, "path", None)
    return Snapshot(document, credentials_from_document(document, source=str(store), path=path), stamp)


def same_login(seen: Snapshot, present: Snapshot | None) -> Snapshot:
    """Return ``present`` if it has the account of ``seen``. Raises SignInRequired or AccountChanged."""
    if present is None:
        raise SignInRequired("Another program signed you out.")
    ensure_same_account(seen.credentials, present.credentials)
    return present


def ensure_same_account(mine: Credentials, theirs: Credentials) -> None:
    """Raise AccountChanged when the login is another account's than this session's."""
    if not mine.same_account(theirs):
        raise AccountChanged(
            f"A different account is signed in: {theirs.label}. This session belongs to {mine.label}."
        )
