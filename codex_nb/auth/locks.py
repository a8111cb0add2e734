"""The lock around a stored login: the CLI's own lock files, and a lease where locks do not reach other machines."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
import uuid
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from codex_nb.errors import RefreshFailed
from codex_nb.files import FileSystem, LockState, create_file, file_system_of, replace_file, try_lock, unlock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


# In the CLI's order and with the CLI's modes.
LOCK_FILES = (("auth.lock", 0o644), ("auth.json.lock", 0o600))
FIRST_PAUSE_S = 0.005
LONGEST_PAUSE_S = 0.1

LEASE_FILE = "auth.lease"
LEASE_S = 120.0  # longer than a refresh takes, with its repeats and the start of its process
LONGEST_LEASE_S = 600.0  # of another program's
TAKEOVER_PAUSE_S = 1.0


def this_machine() -> str:
    """Return the name of this machine, with what tells it from others of the same name."""
    try:
        running = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        running = f"{uuid.getnode():x}"
    return f"{socket.gethostname()} ({running[:8]})"


@dataclass(frozen=True)
class Lease:
    """Who changes the login, as a file beside it says where the locks of the file system do not reach.

    ``expires_at`` is in seconds of the clock of the file system, so that those of machines may differ. An owner that
    died leaves its lease to expire.
    """

    host: str
    pid: int
    token: str
    expires_at: float


def read_lease(home: Path) -> Lease | None:
    """Return the lease in a CODEX_HOME; None without one. Raises OSError."""
    path = home / LEASE_FILE
    try:
        with path.open("rb") as file:
            content, written = file.read(1000), os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None
    try:
        found = json.loads(content)
        lasts_s = min(float(found["lasts_s"]), LONGEST_LEASE_S)
        return Lease(str(found["host"]), int(found["pid"]), str(found["token"]), written + lasts_s)
    except (ValueError, TypeError, KeyError):
        return Lease("another machine", 0, "", written + LEASE_S)  # is being written


def _has_expired(lease: Lease, home: Path) -> bool:
    """Compare with the time of the file system, which is what it notes for a file that is touched."""
    lock_file = home / LOCK_FILES[0][0]
    os.utime(lock_file)
    return lease.expires_at <= lock_file.stat().st_mtime


@dataclass
class AcquiredLock:
    """A held lock: its open files, and whether a subprocess shares them and may hold them longer.

    With a ``lease_token``, the lease of ``home`` is held, too.
    """

    descriptors: list[int] = field(default_factory=list)
    is_inherited: bool = False
    home: Path | None = None
    lease_token: str = ""

    def release(self) -> None:
        """Release the lock, unless a subprocess still holds it."""
        if self.home is not None and self.lease_token and not self.is_inherited:
            with suppress(OSError):  # it expires
                lease = read_lease(self.home)
                if lease is not None and lease.token == self.lease_token:
                    (self.home / LEASE_FILE).unlink()
        while self.descriptors:
            descriptor = self.descriptors.pop()
            if not self.is_inherited:
                # Unlocked by name, not only by closing: a forked child may hold a copy of the descriptor.
                with suppress(OSError):  # never acquired, or on a file system that forgot it
                    unlock(descriptor)
            os.close(descriptor)


class LoginLock:
    """Mutual exclusion between all programs that change the login of one CODEX_HOME.

    They are the locks of the CLI. On a file system without locks, or whose locks other machines do not see, a lease is
    taken after them. A home of None belongs to this process alone and needs no lock. ``timeout_s`` bounds the wait for
    other programs.
    """

    def __init__(
        self,
        home: Path | None,
        *,
        timeout_s: float = 60.0,
        try_lock: Callable[[int], LockState] = try_lock,
        file_system_of: Callable[[Path], FileSystem] = file_system_of,
        machine: str | None = None,
    ) -> None:
        self._home = home
        self._timeout_s = timeout_s
        self._try_lock = try_lock
        self._file_system_of = file_system_of
        self._machine = machine

    @asynccontextmanager
    async def held(self) -> AsyncIterator[AcquiredLock]:
        """Hold the lock. Raises RefreshFailed (transient) when it cannot be acquired in time."""
        lock = AcquiredLock(home=self._home)
        deadline = time.monotonic() + self._timeout_s
        try:
            if self._home is not None:
                await self._take(self._home, lock, deadline)
            yield lock
        finally:
            lock.release()

    async def _take(self, home: Path, lock: AcquiredLock, deadline: float) -> None:
        states = []
        for name, mode in LOCK_FILES:
            lock.descriptors.append(_open(home, name, mode))
            states.append(await self._acquire(lock.descriptors[-1], deadline, home / name))
        is_locked_here = LockState.UNAVAILABLE not in states
        if not is_locked_here or not self._file_system_of(home).is_locked_for_all:
            await self._take_lease(home, lock, deadline, is_locked_here=is_locked_here)

    async def _acquire(self, descriptor: int, deadline: float, path: Path) -> LockState:
        pause = FIRST_PAUSE_S
        while (state := self._try_lock(descriptor)) is LockState.HELD:
            if time.monotonic() > deadline:
                raise _busy(f"Another program is holding the lock on the credentials ({path}).")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_S)
        return state

    async def _take_lease(
        self, home: Path, lock: AcquiredLock, deadline: float, *, is_locked_here: bool
    ) -> None:
        """Wait for the lease; that of a program of this machine that is gone, as the lock shows, is not waited for."""
        machine, token = self._machine or this_machine(), uuid.uuid4().hex
        content = json.dumps(
            {"host": machine, "pid": os.getpid(), "token": token, "lasts_s": LEASE_S}
        ).encode()
        pause = FIRST_PAUSE_S
        while not await self._has_taken(home, content, token, machine if is_locked_here else None):
            if time.monotonic() > deadline:
                raise _busy(await asyncio.to_thread(_owner, home))
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_S)
        lock.lease_token = token

    @staticmethod
    async def _has_taken(home: Path, content: bytes, token: str, gone: str | None) -> bool:
        """Take the lease where there is none, or one that has expired or is of the machine that it is gone from."""
        try:
            present = await asyncio.to_thread(read_lease, home)
            if present is None:
                await asyncio.to_thread(create_file, home / LEASE_FILE, content)
            else:
                has_expired = await asyncio.to_thread(_has_expired, present, home)
                if present.host != gone and not has_expired:
                    return False
                await asyncio.to_thread(replace_file, home / LEASE_FILE, content)
                if has_expired:  # other machines may replace it as well: the last one has it
                    await asyncio.sleep(TAKEOVER_PAUSE_S)
            present = await asyncio.to_thread(read_lease, home)
        except FileExistsError:
            return False
        except OSError as error:
            raise not_writable(home, error) from error
        return present is not None and present.token == token


def _owner(home: Path) -> str:
    with suppress(OSError):
        if (lease := read_lease(home)) is not None:
            return f"Process {lease.pid} on {lease.host} is changing the credentials (its lease: {home / LEASE_FILE})."
    return f"Another machine is changing the credentials in {home}."


def _busy(message: str) -> RefreshFailed:
    return RefreshFailed(
        message,
        hint="Wait for it or stop it, then run the cell again.",
        reason="locked",
    )


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
        reason="unwritable",
    )


def state_of_lock(path: Path, try_lock: Callable[[int], LockState] = try_lock) -> LockState | None:
    """Return what becomes of an attempt to take a lock file, which is let go at once; None when it does not exist."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        state = try_lock(descriptor)
        if state is LockState.TAKEN:
            unlock(descriptor)
        return state
    finally:
        os.close(descriptor)
