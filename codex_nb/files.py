"""Files that hold what a user would miss: replaced in one step or appended to line by line, readable by their owner."""

from __future__ import annotations

import errno
import glob
import os
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

if sys.platform == "win32":
    import msvcrt

    def try_lock(descriptor: int) -> bool:
        """Lock an open file, without waiting; return whether this process has it now."""
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def unlock(descriptor: int) -> None:
        """Let other processes lock the file."""
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    WITHOUT_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK})

    def try_lock(descriptor: int) -> bool:
        """Lock an open file, without waiting; return whether this process has it now."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            # A file system without locks: no program can hold one there, and the work must still be done.
            return error.errno in WITHOUT_LOCKS
        return True

    def unlock(descriptor: int) -> None:
        """Let other processes lock the file."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)


FILE_MODE = 0o600
TEMPORARY_SUFFIX = ".codex_nb"
REPLACE_ATTEMPTS = 20
REPLACE_PAUSE_S = 0.01
LOCK_PAUSE_S = 0.002
# How file systems say that a directory cannot be flushed there (network and FUSE file systems).
CANNOT_FLUSH = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})


def replace_file(path: Path, data: bytes, *, flush: bool = True) -> None:
    """Write a file of mode 0600 in one step: readers see the old content or the new one, never a part.

    The folder must exist. ``flush`` waits until the file and its directory entry are on disk. Raises OSError.
    """
    descriptor, name = tempfile.mkstemp(
        dir=path.parent, prefix=_temporary_prefix(path), suffix=TEMPORARY_SUFFIX
    )
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if hasattr(os, "fchmod"):
                os.fchmod(descriptor, FILE_MODE)  # the umask may have taken the owner's own bits
            file.write(data)
            if flush:
                file.flush()
                os.fsync(descriptor)
        _replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    if flush:
        _flush_directory(path.parent)


def create_file(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 that did not exist; raises FileExistsError, also for a link that leads nowhere."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def leftovers(path: Path) -> list[Path]:
    """List the temporary files of writes to ``path`` that are under way, or whose process was killed."""
    return list(path.parent.glob(f"{glob.escape(_temporary_prefix(path))}*{TEMPORARY_SUFFIX}"))


def remove_leftovers(path: Path, *, older_than_s: float) -> None:
    """Remove the temporary files that killed processes left beside ``path``."""
    oldest = time.time() - older_than_s
    for leftover in leftovers(path):
        with suppress(OSError):
            if leftover.stat().st_mtime < oldest:
                leftover.unlink()


def append_line(path: Path, line: bytes, *, header: bytes = b"") -> None:
    """Append a line, after ``header`` where the file is new, and wait until it is on disk. Raises OSError.

    A line that a crash truncated is closed first: it is lost, what follows is not.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            header = b"" if file.read(1) == b"\n" else b"\n"
        file.write(header + line)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def locked(path: Path, *, timeout_s: float = 5.0) -> Iterator[None]:
    """Hold the lock of a file, which is created, against other processes and threads; waits for them.

    Raises TimeoutError, or OSError when the file cannot be opened.
    """
    deadline = time.monotonic() + timeout_s
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), FILE_MODE)
    try:
        while not try_lock(descriptor):
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, f"another program holds {path.name}")
            time.sleep(LOCK_PAUSE_S)
        yield
    finally:
        with suppress(OSError):
            unlock(descriptor)  # closing does not suffice: a forked child may hold a copy of the descriptor
        os.close(descriptor)


@dataclass(frozen=True)
class Retention:
    """How many files of a folder are kept, how large they are together, and how long after their last change."""

    files: int
    total_bytes: int
    age_s: float


def remove_excess(folder: Path, patterns: Iterable[str], kept: Retention) -> None:
    """Remove the files that changed longest ago, until the others are within the bounds."""
    found = []
    for path in (path for pattern in patterns for path in folder.glob(pattern)):
        with suppress(OSError):
            found.append(((status := path.stat()).st_mtime, status.st_size, path))
    total, oldest = 0, time.time() - kept.age_s
    for place, (changed, size, path) in enumerate(sorted(found, reverse=True)):
        total += size
        if place and (place >= kept.files or total > kept.total_bytes or changed < oldest):
            with suppress(OSError):
                path.unlink()


def _temporary_prefix(path: Path) -> str:
    return f".{path.stem[:40]}-"


def _replace(temporary: Path, path: Path) -> None:
    for _ in range(REPLACE_ATTEMPTS - 1):
        try:
            temporary.replace(path)
        except PermissionError:
            if os.name != "nt":
                raise
            time.sleep(REPLACE_PAUSE_S)  # Windows: another program is reading the file at this moment
        else:
            return
    temporary.replace(path)


def _flush_directory(directory: Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in CANNOT_FLUSH:
            raise
    finally:
        os.close(descriptor)
