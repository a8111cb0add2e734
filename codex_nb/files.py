"""Files that hold what a user would miss: replaced in one step or appended to line by line, readable by their owner."""

from __future__ import annotations

import errno
import glob
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

FILE_MODE = 0o600
TEMPORARY_SUFFIX = ".codex_nb"
REPLACE_ATTEMPTS = 20
REPLACE_PAUSE_S = 0.01
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
