"""Files that hold what a user would miss: replaced in one step or appended to line by line, readable by their owner."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def replace_file(path: Path, data: bytes, *, flush: bool = True) -> None:
    """Write a file in one step: readers see the old content or the new one, never a part.

    The folder is created where it is missing. ``flush`` waits until the data is on disk. Raises OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem[:40]}-")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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
