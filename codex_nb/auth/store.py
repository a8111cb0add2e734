"""Credential stores, in a file, the keyring or memory: load, save and delete one ``AuthFile``, and the choice of one.

The login in a store is changed under its lock. In the keyring it has the names that the Codex CLI uses.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import SecretStr

from codex_nb.auth.credentials import AuthFile, Credentials, credentials_from_document, parse_auth_json
from codex_nb.config.settings import CredentialsStore
from codex_nb.errors import AccountChanged, CredentialsUnreadable, RefreshFailed, SignInRequired
from codex_nb.files import file_stamp, remove_leftovers, replace_file
from codex_nb.labels import short_account

if TYPE_CHECKING:
    from collections.abc import Iterator

    from codex_nb.auth.locks import AcquiredLock, LoginLock
    from codex_nb.config.settings import Settings


# A program that truncates and rewrites in place leaves the file torn for some milliseconds.
TORN_READ_PAUSES_S = (0.01, 0.02, 0.05, 0.1, 0.2)
STALE_AFTER_S = 600.0
LARGEST_FILE = 16_000_000
NOT_A_FILE, TOO_LARGE = "it is not an ordinary file", "it is too large for a login"
ENCRYPTED_STORE = "secrets/codex_auth.age"


class CredentialStore(Protocol):
    """Stores one login. ``stamp`` is cheap and changes whenever the login may have changed."""

    def load(self) -> AuthFile | None:
        """Read the login; None when not found. Raises CredentialsUnreadable."""

    def save(self, document: AuthFile) -> None:
        """Write the login in one step. Raises CredentialsUnreadable."""

    def delete(self) -> bool:
        """Remove the login; False when there was none."""

    def stamp(self) -> object:
        """Identify the current state without reading it; None when unknown."""


class MemoryStore:
    """A login in memory, which ends with the process."""

    def __init__(self, document: AuthFile | None = None) -> None:
        self._document = document

    def load(self) -> AuthFile | None:
        """Return the saved login."""
        return self._document

    def save(self, document: AuthFile) -> None:
        """Keep ``document`` until the process ends."""
        self._document = document

    def delete(self) -> bool:
        """Forget the login."""
        had_one, self._document = self._document is not None, None
        return had_one

    def stamp(self) -> object:
        """Return the login itself."""
        return self._document

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
            raise CredentialsUnreadable(
                f"The stored credentials {self.path} cannot be read: {document}. The file was not changed.",
                hint="Fix or remove the file, or sign in again with %codex login.",
                path=self.path,
            )
        if document is None:
            ensure_plaintext(self.path.parent)
        return document

    def save(self, document: AuthFile) -> None:
        """Replace the file in one step, flushed to disk; the caller's lock keeps other writers out."""
        target = Path(os.path.realpath(self.path)) if self.path.is_symlink() else self.path
        problem = None
        try:
            if target.exists() and not target.is_file():  # nobody's device is replaced through a link
                raise OSError(errno.EINVAL, NOT_A_FILE)
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
        """Identify the file's state."""
        return file_stamp(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def _read(self) -> AuthFile | str | None:
        try:
            text = SecretStr(_read_plain_file(self.path).decode("utf-8-sig"))
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            return "it is not UTF-8 text"
        except OSError as error:
            return (error.strerror or type(error).__name__).lower()
        return parse_auth_json(text)


def _read_plain_file(path: Path) -> bytes:
    """Read a file of a bounded size; a pipe or a device, which may never end, is an error. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, NOT_A_FILE)
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise OSError(errno.EFBIG, TOO_LARGE)
    return content


def ensure_plaintext(home: Path) -> None:
    """Raise CredentialsUnreadable when the only login is one that the CLI has encrypted."""
    path = home / ENCRYPTED_STORE
    if path.exists():
        raise CredentialsUnreadable(
            f"The Codex CLI keeps this login in its encrypted store {path}, which only it can open.",
            hint="Turn off the CLI feature secret_auth_storage and sign in again, or sign in with another profile.",
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
        other, own = short_account(theirs.label), short_account(mine.label)
        raise AccountChanged(
            f"A different account is signed in: {other}. "
            f"This session belongs to {'another ' * (own == other)}{own}."
        )


@dataclass(frozen=True)
class Refreshed:
    """A newer login; when it could not be saved, only ``snapshot`` holds it.

    ``token_used`` says whether our own refresh token paid for it, not another program's.
    """

    snapshot: Snapshot
    is_saved: bool = True
    token_used: bool = True


class TokenRefresher(Protocol):
    """Spends refresh tokens."""

    async def refresh(self, present: Snapshot, reason: str, lock: AcquiredLock) -> Refreshed:
        """Refresh the login in the store under ``lock``. Raises RefreshFailed.

        Raises AccountChanged, SignInRequired or CredentialsUnreadable when the login is not to be overwritten.
        """


# How long to look for the tokens of another program that spent the refresh token before us: it may be waiting for our
# lock to save them, or for the network.
CONCURRENT_REFRESH_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5)
RACE_REASONS = frozenset({"reused", "rejected"})


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

    async def refresh(self, seen: Snapshot, reason: str) -> Refreshed:
        """Return a newer login than ``seen``: another program's if there is one, else a refreshed one.

        Raises RefreshFailed, AccountChanged, SignInRequired or CredentialsUnreadable.
        """
        async with self.lock.held() as lock:
            present = same_login(seen, await self.read())
            if not present.credentials.same_tokens(seen.credentials):
                return Refreshed(present, token_used=False)
            try:
                refreshed = await self._refresher.refresh(present, reason, lock)
            except RefreshFailed as error:
                failure = error
            else:
                if not refreshed.is_saved:
                    self._unsaved = _Unsaved(refreshed.snapshot, present.credentials.refresh_token)
                return refreshed
        winner = await self._find_concurrent_refresh(seen, failure)
        if winner is None:
            raise failure
        return Refreshed(winner, token_used=False)

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
            if not present.credentials.same_tokens(seen.credentials):
                return present
        return None

    async def _readable(self) -> Credentials | None:
        try:
            snapshot = await self.read()
        except (CredentialsUnreadable, SignInRequired):
            return None
        return None if snapshot is None else snapshot.credentials


BACKEND = "keyring.backends.SecretService"
CHAIN = "keyring.backends.chainer"
NO_KEYRING = "NoKeyringError"


class SecretServiceEntry:
    """Reads, writes and deletes entries through the ``keyring`` library's Secret Service backend."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def get_password(self, service: str, username: str) -> str | None:
        """Read the entry; the CLI's own when there are several."""
        collection = self._backend.get_preferred_collection()
        with closing(collection.connection):
            for item in self._items(collection, service, username):
                return str(item.get_secret().decode("utf-8"))
        return None

    def set_password(self, service: str, username: str, value: str) -> None:
        """Change every entry of this name, or create one as the CLI does."""
        collection = self._backend.get_preferred_collection()
        with closing(collection.connection):
            items = list(self._items(collection, service, username))
            for item in items:
                item.set_secret(value.encode("utf-8"))
            if not items:
                attributes = {**_query(service, username), "target": "default", "application": "rust-keyring"}
                collection.create_item(f"{username}@{service}:default", attributes, value.encode("utf-8"))

    def delete_password(self, service: str, username: str) -> None:
        """Delete every entry of this name."""
        collection = self._backend.get_preferred_collection()
        with closing(collection.connection):
            for item in list(self._items(collection, service, username)):
                item.delete()

    def _items(self, collection: Any, service: str, username: str) -> Iterator[Any]:
        found = list(collection.search_items(_query(service, username)))
        for item in sorted(found, key=lambda item: "target" not in item.get_attributes()):
            self._backend.unlock(item)
            yield item


def cli_compatible_backend(backend: Any) -> Any:
    """Return the backend, or for the Secret Service one that names entries as the CLI does."""
    candidates = list(backend.backends) if type(backend).__module__ == CHAIN else [backend]
    for candidate in candidates:
        if type(candidate).__module__ == BACKEND:
            return SecretServiceEntry(candidate)
    return backend


def _query(service: str, username: str) -> dict[str, str]:
    return {"service": service, "username": username}


SERVICE = "Codex Auth"
STORE_SETTING = "cli_auth_credentials_store"


class KeyringStore:
    """One login in the keyring; ``backend`` replaces the library's own choice."""

    def __init__(self, home: Path, *, backend: Any = None) -> None:
        self._home = home
        self._backend = backend
        self._last_read: Literal["nothing", "a login", "no answer"] = "no answer"
        self.file = FileStore(home / "auth.json")

    @property
    def account(self) -> str:
        """The entry's account name: the CLI's for the login of one CODEX_HOME."""
        canonical = str(self._home.resolve())
        return f"cli|{sha256(canonical.encode()).hexdigest()[:16]}"

    @property
    def service(self) -> str:
        """The entry's service name, as the keyring has it."""
        return _target(SERVICE, self.account)

    def load(self) -> AuthFile | None:
        """Read the entry; an ``auth.json`` beside it is ignored, as by the CLI."""
        keyring = self._keyring()
        self._last_read = "no answer"
        text = _ask_keyring("read", STORE_SETTING, lambda: keyring.get_password(self.service, self.account))
        self._last_read = "nothing" if text is None else "a login"
        if text is None:
            ensure_plaintext(self._home)
            return None
        document = parse_auth_json(text)
        if isinstance(document, str):
            raise CredentialsUnreadable(
                f"The login in the keyring ({SERVICE}, {self.account}) cannot be read: {document}.",
                hint="Sign in again with %codex login.",
            )
        return document

    def save(self, document: AuthFile) -> None:
        """Write the entry, then remove ``auth.json``, so that there is only one login."""
        keyring, entry = self._keyring(), (self.service, self.account)
        _ask_keyring("written", STORE_SETTING, lambda: keyring.set_password(*entry, document.compact()))
        self.file.delete()

    def delete(self) -> bool:
        """Remove the entry and an ``auth.json`` left beside it."""
        keyring, entry = self._keyring(), (self.service, self.account)
        text = _ask_keyring("changed", STORE_SETTING, lambda: keyring.get_password(*entry))
        if text is not None:
            _ask_keyring("changed", STORE_SETTING, lambda: keyring.delete_password(*entry))
        had_file = self.file.delete()
        return text is not None or had_file

    def stamp(self) -> object:
        """Return a constant: reading a keyring for every request could prompt the user. A 401 reads it again."""
        return SERVICE

    def may_look_again(self) -> bool:
        """Whether another reading asks the user nothing: a locked keyring does, and that of macOS for each entry."""
        return self._last_read == "nothing" or (self._last_read == "a login" and sys.platform != "darwin")

    def __str__(self) -> str:
        return f"keyring ({SERVICE})"

    def _keyring(self) -> Any:
        return self._backend if self._backend is not None else _open_keyring(STORE_SETTING)


class AutoStore(KeyringStore):
    """The keyring where it is available, else ``auth.json``."""

    def load(self) -> AuthFile | None:
        """Read the keyring, and the file when the keyring is missing, locked or empty, or holds older tokens.

        A keyring that was locked while a login was refreshed holds tokens that are spent.
        Only when the library is missing and there is no file it is an error: the login may well be in the keyring.
        """
        try:
            document = super().load()
        except CredentialsUnreadable:
            document = self.file.load()
            if document is None and find_spec("keyring") is None:
                raise
            return document
        return _newer_of(document, self._file_beside()) if document else self.file.load()

    def _file_beside(self) -> AuthFile | None:
        try:
            return self.file.load()
        except CredentialsUnreadable:
            return None

    def save(self, document: AuthFile) -> None:
        """Write the keyring, or the file when the keyring refuses."""
        try:
            super().save(document)
        except CredentialsUnreadable:
            self.file.save(document)

    def delete(self) -> bool:
        """Remove the login from both places."""
        try:
            return super().delete()
        except CredentialsUnreadable:
            return self.file.delete()

    def stamp(self) -> object:
        """Identify the file's state; the keyring's has no cheap stamp."""
        return self.file.stamp()

    def __str__(self) -> str:
        return f"keyring or {self.file}"


def _newer_of(document: AuthFile, other: AuthFile | None) -> AuthFile:
    """Return ``other`` only where it is the same login, refreshed later."""
    if other is None or document.tokens is None or other.tokens is None:
        return document
    owner, refreshed_at = document.tokens.login_owner_id, document.refreshed_at
    is_same = owner is not None and owner == other.tokens.login_owner_id
    is_newer = (
        refreshed_at is not None and other.refreshed_at is not None and other.refreshed_at > refreshed_at
    )
    return other if is_same and is_newer else document


def read_keyring(service: str, account: str, setting: str, *, backend: Any = None) -> SecretStr | None:
    """Read an entry that the CLI has written; None where there is none, or no keyring: the CLI then has a file.

    Raises CredentialsUnreadable, which names the setting of config.toml that chooses a file instead.
    """
    keyring = backend if backend is not None else _open_keyring(setting)
    entry = (_target(service, account), account)
    return _ask_keyring("read", setting, lambda: keyring.get_password(*entry), needs_keyring=False)


def _open_keyring(setting: str) -> Any:
    try:
        import keyring  # (optional)
    except ImportError as error:
        raise CredentialsUnreadable(
            "The credentials are stored in the keyring, which requires the keyring package.",
            hint=f"Install it with: pip install 'codex-nb[keyring]', or set {setting} = \"file\" in config.toml.",
        ) from error
    return cli_compatible_backend(keyring.get_keyring())


def _target(service: str, account: str) -> str:
    """The service name; on Windows, the target name that the CLI's keyring library composes."""
    return f"{account}.{service}" if sys.platform == "win32" else service


def _ask_keyring(
    what: str, setting: str, call: Callable[[], str | None], *, needs_keyring: bool = True
) -> SecretStr | None:
    """Call the keyring. Raises CredentialsUnreadable with only the type of its exception, whose frames hold the secret.

    Where none is needed, an entry of no keyring is None.
    """
    try:
        value = call()
    except Exception as error:  # noqa: BLE001  (every backend has its own)
        problem = type(error).__name__
    else:
        return SecretStr(value) if isinstance(value, str) else None
    if problem == NO_KEYRING and not needs_keyring:
        return None
    raise CredentialsUnreadable(
        f"The keyring could not be {what} ({problem}).",
        hint=f'Unlock the keyring, or set {setting} = "file" in config.toml.',
    )


def open_store(settings: Settings) -> CredentialStore:
    """Choose the store that config.toml's ``cli_auth_credentials_store`` names."""
    match settings.credentials_store:
        case CredentialsStore.FILE:
            return FileStore(settings.codex_home / "auth.json")
        case CredentialsStore.EPHEMERAL:
            return MemoryStore()
        case CredentialsStore.KEYRING:
            return KeyringStore(settings.codex_home)
        case CredentialsStore.AUTO:
            return AutoStore(settings.codex_home)
