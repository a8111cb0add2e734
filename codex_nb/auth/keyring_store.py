"""Credentials in the operating system's keyring, under the names that the Codex CLI uses; choice of the store."""

from __future__ import annotations

import sys
from contextlib import closing
from hashlib import sha256
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from codex_nb.auth.auth_json import AuthFile, parse_auth_json
from codex_nb.auth.store import FileStore, MemoryStore, ensure_plaintext
from codex_nb.config.settings import CredentialsStore
from codex_nb.errors import CredentialsUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from codex_nb.auth.store import CredentialStore
    from codex_nb.config.settings import Settings


BACKEND = "keyring.backends.SecretService"
CHAIN = "keyring.backends.chainer"


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


class KeyringStore:
    """One login in the keyring; ``backend`` replaces the library's own choice."""

    def __init__(self, home: Path, *, backend: Any = None) -> None:
        self._home = home
        self._backend = backend
        self.file = FileStore(home / "auth.json")

    @property
    def account(self) -> str:
        """The entry's account name."""
        return account_name(self._home)

    @property
    def service(self) -> str:
        """The entry's service name; on Windows, the target name that the CLI's keyring library composes."""
        return f"{self.account}.{SERVICE}" if sys.platform == "win32" else SERVICE

    def load(self) -> AuthFile | None:
        """Read the entry; an ``auth.json`` beside it is ignored, as by the CLI."""
        keyring = self._keyring()
        text, problem = _guarded(lambda: keyring.get_password(self.service, self.account))
        if problem is not None:
            raise self._unusable("read", problem)
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

    def save(self, document: AuthFile) -> str:
        """Write the entry, then remove ``auth.json``, so that there is only one login."""
        keyring = self._keyring()
        _, problem = _guarded(lambda: keyring.set_password(self.service, self.account, document.compact()))
        if problem is not None:
            raise self._unusable("written", problem)
        self.file.delete()
        return str(self)

    def delete(self) -> bool:
        """Remove the entry and an ``auth.json`` left beside it."""
        keyring = self._keyring()
        text, problem = _guarded(lambda: keyring.get_password(self.service, self.account))
        if problem is None and text is not None:
            _, problem = _guarded(lambda: keyring.delete_password(self.service, self.account))
        if problem is not None:
            raise self._unusable("changed", problem)
        had_file = self.file.delete()
        return text is not None or had_file

    def stamp(self) -> object:
        """Return a constant: reading a keyring for every request could prompt the user. A 401 reads it again."""
        return SERVICE

    def __str__(self) -> str:
        return f"keyring ({SERVICE})"

    def _keyring(self) -> Any:
        if self._backend is not None:
            return self._backend
        try:
            import keyring  # (optional)
        except ImportError as error:
            raise CredentialsUnreadable(
                "The credentials are stored in the keyring, which requires the keyring package.",
                hint=(
                    "Install it with: pip install 'codex-nb[keyring]', or set cli_auth_credentials_store "
                    '= "file" in config.toml.'
                ),
            ) from error
        return cli_compatible_backend(keyring.get_keyring())

    def _unusable(self, what: str, problem: str) -> CredentialsUnreadable:
        return CredentialsUnreadable(
            f"The keyring could not be {what} ({problem}).",
            hint='Unlock the keyring, or set cli_auth_credentials_store = "file" in config.toml.',
        )


class AutoStore:
    """The keyring where it is available, else ``auth.json``."""

    def __init__(self, keyring: KeyringStore) -> None:
        self._keyring = keyring
        self._file = keyring.file
        self.path = keyring.file.path

    def load(self) -> AuthFile | None:
        """Read the keyring, and the file when the keyring is missing, locked or empty.

        Only when the library is missing and there is no file it is an error: the login may well be in the keyring.
        """
        try:
            document = self._keyring.load()
        except CredentialsUnreadable:
            document = self._file.load()
            if document is None and find_spec("keyring") is None:
                raise
            return document
        return document or self._file.load()

    def save(self, document: AuthFile) -> str:
        """Write the keyring, or the file when the keyring refuses."""
        try:
            return self._keyring.save(document)
        except CredentialsUnreadable:
            return self._file.save(document)

    def delete(self) -> bool:
        """Remove the login from both places."""
        try:
            return self._keyring.delete()
        except CredentialsUnreadable:
            return self._file.delete()

    def stamp(self) -> object:
        """Identify the file's state; the keyring's has no cheap stamp."""
        return self._file.stamp()

    def __str__(self) -> str:
        return f"keyring or {self._file}"


def account_name(home: Path) -> str:
    """The CLI's name for the login of one CODEX_HOME."""
    canonical = str(home.resolve())
    return f"cli|{sha256(canonical.encode()).hexdigest()[:16]}"


def _guarded(call: Any) -> tuple[SecretStr | None, str | None]:
    """Call the keyring; only an exception's type is returned, because its frames hold the secret."""
    try:
        value = call()
    except Exception as error:  # noqa: BLE001  (every backend has its own)
        return None, type(error).__name__
    return (SecretStr(value) if isinstance(value, str) else None), None


def open_store(settings: Settings) -> CredentialStore:
    """Choose the store that config.toml's ``cli_auth_credentials_store`` names."""
    match settings.credentials_store:
        case CredentialsStore.FILE:
            return FileStore(settings.codex_home / "auth.json")
        case CredentialsStore.EPHEMERAL:
            return MemoryStore()
        case CredentialsStore.KEYRING | CredentialsStore.AUTO:
            keyring = KeyringStore(settings.codex_home)
            return keyring if settings.credentials_store is CredentialsStore.KEYRING else AutoStore(keyring)
