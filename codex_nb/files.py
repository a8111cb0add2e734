"""Files that hold what a user would miss: replaced in one step or appended to line by line, readable by their owner."""

from __future__ import annotations

import errno
import glob
import os
import re
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class LockState(Enum):
    """What became of an attempt to lock a file: HELD is by another; where there are no locks, none is UNAVAILABLE."""

    TAKEN = auto()
    HELD = auto()
    UNAVAILABLE = auto()


HELD_BY_ANOTHER = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK})

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def unlock(descriptor: int) -> None:
        """Let other processes lock the file."""
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def unlock(descriptor: int) -> None:
        """Let other processes lock the file."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def try_lock(descriptor: int) -> LockState:
    """Lock an open file, without waiting."""
    try:
        _lock(descriptor)
    except OSError as error:
        # ENOLCK, ENOSYS, … of a file system without a lock manager: nobody can hold a lock there
        return LockState.HELD if error.errno in HELD_BY_ANOTHER else LockState.UNAVAILABLE
    return LockState.TAKEN


@dataclass(frozen=True)
class FileSystem:
    """A file system as the system has mounted it; an empty ``kind`` is unknown."""

    kind: str = ""
    options: frozenset[str] = frozenset()

    @property
    def is_shared(self) -> bool:
        """Whether other machines may use it at the same time."""
        return self.kind in _LOCKS_STAY_HERE

    @property
    def is_locked_for_all(self) -> bool:
        """Whether the locks of this machine are seen by all others that use it.

        nfs(5), mount.cifs(8), mount.lustre(8); file systems that leave it to their servers are taken for those that do
        not.
        """
        staying_here = _LOCKS_STAY_HERE.get(self.kind, frozenset())
        if self.kind == "lustre":
            return "flock" in self.options
        return staying_here is not None and not staying_here & self.options


# Of each shared file system, the options with which locks are those of one machine; None: always.
_LOCKS_STAY_HERE: dict[str, frozenset[str] | None] = {
    **dict.fromkeys(("nfs", "nfs4"), frozenset({"nolock", "local_lock=flock", "local_lock=all"})),
    **dict.fromkeys(("cifs", "smb3"), frozenset({"nobrl"})),
    **dict.fromkeys(("ceph", "fuse.ceph", "fuse.glusterfs", "gfs2", "lustre", "ocfs2"), frozenset()),
    **dict.fromkeys(("9p", "afs", "beegfs", "fuse.gcsfuse", "fuse.juicefs", "fuse.rclone", "fuse.s3fs")),
    **dict.fromkeys(("fuse.sshfs", "gpfs", "ncpfs", "smbfs", "virtiofs")),
}
MOUNTS = Path("/proc/self/mounts")


def file_system_of(path: Path, mounts: Path = MOUNTS) -> FileSystem:
    """Return the file system that holds a path, as Linux tells it; elsewhere an unknown one."""
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return FileSystem()
    real, found, longest = path.resolve(), FileSystem(), -1
    for line in lines:
        _, place, kind, options, *_ = (*line.split(" "), "", "", "", "")
        place = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), place)
        if place and real.is_relative_to(place) and len(place) >= longest:
            # a later one is above an earlier one
            found, longest = FileSystem(kind, frozenset(options.split(","))), len(place)
    return found


FILE_MODE = 0o600
TEMPORARY_SUFFIX = ".codex_nb"
TEMPORARY_NAME = rf"\..*{re.escape(TEMPORARY_SUFFIX)}"  # a pattern of what a write that was cut off leaves
REPLACE_ATTEMPTS = 20
REPLACE_PAUSE_S = 0.01
LOCK_PAUSE_S = 0.002
# How file systems say that a directory cannot be flushed there (network and FUSE file systems).
CANNOT_FLUSH = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})


def file_stamp(path: Path) -> object:
    """Return what tells one state of a file from another: its inode, size and time of change; None without a file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


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
        while try_lock(descriptor) is LockState.HELD:
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


def own_files(folder: Path, names: re.Pattern[str]) -> list[Path]:
    """List the files of a folder whose names are such as we give; others may lie there, as it may be a link."""
    listed = folder.iterdir() if folder.is_dir() else ()
    return [path for path in listed if names.fullmatch(path.name) and (path.is_file() or path.is_symlink())]


def remove_excess(folder: Path, names: re.Pattern[str], kept: Retention) -> None:
    """Remove the files so named that changed longest ago, until the others are within the bounds."""
    found = []
    for path in own_files(folder, names):
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
    for left in reversed(range(REPLACE_ATTEMPTS)):
        try:
            temporary.replace(path)
        except PermissionError:
            if os.name != "nt" or not left:
                raise
            time.sleep(REPLACE_PAUSE_S)  # Windows: another program is reading the file at this moment
        else:
            return


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
