"""Where a login is kept: a store loads, saves and deletes one :class:`AuthDotJson`.

``FileStore`` shares ``auth.json`` with the Codex CLI. Stores do not lock: whoever reads, changes and writes holds
:class:`codex_nb.auth.locks.LoginLock` around all of it.
"""

from __future__ import annotations

import os
import secrets
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from pydantic import SecretStr

from codex_nb.auth.document import AuthDotJson, parse_auth_json
from codex_nb.errors import CredentialsUnreadable
from codex_nb.words import files
from codex_nb.words import stored_login as words

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILE_MODE = 0o600
# A program that truncates and rewrites in place leaves the file torn for some milliseconds.
TORN_READ_PAUSES_S = (0.01, 0.02, 0.05, 0.1, 0.2)
TEMPORARY_PREFIX = ".auth-"
TEMPORARY_SUFFIX = ".codex_nb"
STALE_AFTER_S = 600.0
REPLACE_ATTEMPTS = 20
ENCRYPTED_STORE = "secrets/codex_auth.age"


class CredentialStore(Protocol):
    """Keeps one login. ``stamp`` is cheap and changes whenever another program may have changed the login."""

    def load(self) -> AuthDotJson | None:
        """Read the login; None when there is none. Raises CredentialsUnreadable."""

    def save(self, document: AuthDotJson) -> str:
        """Write the whole login in one step and say in words where it now is. Raises CredentialsUnreadable."""

    def delete(self) -> bool:
        """Remove the login; False when there was none."""

    def stamp(self) -> object:
        """Identify the present state without reading it; None when there is nothing or no telling."""


class MemoryStore:
    """A login that ends with the process."""

    def __init__(self, document: AuthDotJson | None = None) -> None:
        self._document = document
        self._version = 0

    def load(self) -> AuthDotJson | None:
        """Give what was saved last."""
        return self._document

    def save(self, document: AuthDotJson) -> str:
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
    """``auth.json`` in one CODEX_HOME: read with patience, replaced atomically, mode 0600, symlinks kept."""

    def __init__(self, path: Path, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.path = path
        self._sleep = sleep

    def load(self) -> AuthDotJson | None:
        """Read the file; a torn read is tried again for a third of a second."""
        document = self._read()
        for pause in TORN_READ_PAUSES_S:
            if not isinstance(document, str):
                break
            self._sleep(pause)
            document = self._read()
        if isinstance(document, str):
            raise self._unreadable(document)
        if document is None:
            refuse_encrypted(self.path.parent)
        return document

    def save(self, document: AuthDotJson) -> str:
        """Write a temporary file beside the target (0600, flushed to disk) and rename it over the target."""
        target = self._target()
        temporary = target.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}{TEMPORARY_SUFFIX}")
        problem = None
        try:
            self._sweep(target.parent)
            _write_flushed(temporary, document)
            self._replace(temporary, target)
            _flush_directory(target.parent)
        except OSError as error:
            problem = error.strerror or type(error).__name__
            with suppress(OSError):
                temporary.unlink()
        if problem is not None:
            raise CredentialsUnreadable(words.not_saved(str(self.path), problem), path=self.path)
        return str(self.path)

    def delete(self) -> bool:
        """Remove the file (the link itself when it is one)."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            message = words.not_removed(str(self.path), error.strerror or type(error).__name__)
            raise CredentialsUnreadable(message, path=self.path) from error
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

    def _read(self) -> AuthDotJson | str | None:
        try:
            text = SecretStr(self.path.read_text(encoding="utf-8-sig"))
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            return files.NOT_TEXT
        except OSError as error:
            return (error.strerror or type(error).__name__).lower()
        return parse_auth_json(text)

    def _unreadable(self, problem: str) -> CredentialsUnreadable:
        return CredentialsUnreadable(words.unreadable(str(self.path), problem), path=self.path)

    def _target(self) -> Path:
        return self.path.resolve() if self.path.is_symlink() else self.path

    def _replace(self, temporary: Path, target: Path) -> None:
        for _attempt in range(REPLACE_ATTEMPTS - 1):
            try:
                os.replace(temporary, target)  # noqa: PTH105  (the atomic primitive by its own name)
            except PermissionError:
                if os.name != "nt":
                    raise
                self._sleep(0.01)  # Windows: somebody is reading the file at this moment
            else:
                return
        os.replace(temporary, target)  # noqa: PTH105  (as above)

    def _sweep(self, directory: Path) -> None:
        """Remove what a killed process left half-written; the caller's lock keeps writers of today out."""
        oldest = time.time() - STALE_AFTER_S
        for leftover in directory.glob(f"{TEMPORARY_PREFIX}*{TEMPORARY_SUFFIX}"):
            with suppress(OSError):
                if leftover.stat().st_mtime < oldest:
                    leftover.unlink()


def refuse_encrypted(home: Path) -> None:
    """Say so when the only login there is one that the CLI has encrypted, rather than "not signed in"."""
    path = home / ENCRYPTED_STORE
    if path.exists():
        raise CredentialsUnreadable(words.encrypted(str(path)), path=path)


def file_mode(path: Path) -> int | None:
    """The permission bits of ``path``; None when it does not exist."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None


def _write_flushed(path: Path, document: AuthDotJson) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags, FILE_MODE)
    try:
        if hasattr(os, "fchmod"):
            os.fchmod(descriptor, FILE_MODE)  # a umask may have taken the owner's own bits
        _write_all(descriptor, document)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, document: AuthDotJson) -> None:
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(document.pretty().encode("utf-8"))


def _flush_directory(directory: Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
