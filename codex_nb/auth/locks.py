"""The machine-wide lock around a login: the Codex CLI's own two lock files, so that both programs wait for each other.

The CLI takes ``CODEX_HOME/auth.lock`` and then ``CODEX_HOME/auth.json.lock``, both with BSD ``flock`` (POSIX locks are
invisible to it). The files are never truncated or removed: that would split waiters over two inodes.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from codex_nb.errors import RefreshFailed
from codex_nb.words import renewal as words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import errno
    import fcntl

    WITHOUT_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            # A file system without locks: nobody can hold one there, and a login that is never renewed helps nobody.
            return error.errno in WITHOUT_LOCKS
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


# In the CLI's order and with the CLI's modes.
LOCK_FILES = (("auth.lock", 0o644), ("auth.json.lock", 0o600))
FIRST_PAUSE_S = 0.005
LONGEST_PAUSE_S = 0.1


@dataclass
class Hold:
    """A lock that is held: its open files, and whether another process shares them and may need them for longer."""

    descriptors: list[int] = field(default_factory=list)
    is_shared: bool = False

    def release(self) -> None:
        """Let go, unless somebody else still holds on."""
        while self.descriptors:
            descriptor = self.descriptors.pop()
            if not self.is_shared:
                # Unlocked by name, not only by closing: a forked child may hold a copy of the descriptor.
                with suppress(OSError):  # never acquired, or on a file system that forgot it
                    _unlock(descriptor)
            os.close(descriptor)


class LoginLock:
    """Mutual exclusion between all programs that change the login of one CODEX_HOME.

    A home of None belongs to this process alone and needs no lock. ``timeout_s`` bounds the wait for other programs.
    """

    def __init__(self, home: Path | None, *, timeout_s: float = 60.0) -> None:
        self._home = home
        self._timeout_s = timeout_s

    @asynccontextmanager
    async def held(self) -> AsyncIterator[Hold]:
        """Hold the lock; raises RefreshFailed (transient) when it is not to be had."""
        hold = Hold()
        deadline = time.monotonic() + self._timeout_s
        try:
            if self._home is not None:
                await _take(self._home, hold, deadline)
            yield hold
        finally:
            hold.release()


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
    """Say that the login cannot be changed there, before anything is spent that could not be saved."""
    reason = f" ({error.strerror})" if error is not None and error.strerror else ""
    return RefreshFailed(words.not_writable(str(home), reason), permanent=False, reason="unwritable")


async def _take(home: Path, hold: Hold, deadline: float) -> None:
    for name, mode in LOCK_FILES:
        hold.descriptors.append(_open(home, name, mode))
        await _acquire(hold.descriptors[-1], deadline, home / name)


async def _acquire(descriptor: int, deadline: float, path: Path) -> None:
    pause = FIRST_PAUSE_S
    while not _try_lock(descriptor):
        if time.monotonic() > deadline:
            raise RefreshFailed(words.locked(str(path)), permanent=False, reason="locked")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE_S)


def is_held(path: Path) -> bool:
    """Whether another program holds the lock file at this moment; the file is not made."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        if not _try_lock(descriptor):
            return True
        _unlock(descriptor)
        return False
    finally:
        os.close(descriptor)
