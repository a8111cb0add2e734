"""Reading files whose contents are sent: the tools ``read_file`` and ``list_files``, and all other reading.

The model reads the notebook's folder, and nothing else. Links are resolved before the path is checked; hidden files and
folders are skipped, and so are files whose name says that they hold credentials. Whatever is sent of a file has been
read by :func:`read_bounded`.
"""

from __future__ import annotations

import asyncio
import fnmatch
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from codex_nb.tools.approval import Approved, Effect
from codex_nb.tools.base import Arguments, Ports, Tool, ToolResult
from codex_nb.tools.hiding import NOTEBOOK_LIMIT, is_notebook
from codex_nb.tools.nbmodel import truncate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from codex_nb.tools.hiding import Hidden

READ_LIMIT = 20_000
MAX_FILES = 300
_MAX_BYTES = 1_000_000
_PRIVATE = (
    "auth.json",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "id_rsa*",
    "id_ed25519*",
    "credentials*",
    "*.keystore",
)
_SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__", "site-packages"})
_PSEUDO_FILE_SYSTEMS = (Path("/proc"), Path("/sys"))
# Opened so, a pipe is not waited for and a link not followed; not every system has each flag.
_FILE_FLAGS = os.O_RDONLY | sum(
    getattr(os, flag, 0)
    for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY", "O_NOINHERIT")
)
_FOLDER_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | sum(
    getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_DIRECTORY", "O_CLOEXEC")
)


_NOT_A_FILE = "is not a file"


class FileRefused(Exception):
    """The file is not one that may be read; the text completes a sentence that begins with its name."""


@dataclass(frozen=True)
class FileContent:
    """The first bytes of a file, and the size of the whole file."""

    data: bytes
    size: int

    @property
    def is_text(self) -> bool:
        """Whether the beginning of the file holds no NUL byte."""
        return b"\0" not in self.data[:8192]

    @property
    def text(self) -> str:
        """The bytes as text; a byte order mark is no part of it."""
        return self.data.decode("utf-8-sig", "replace")


def real_path(path: Path) -> Path:
    """Return the path with all links followed; raises OSError when it leads nowhere."""
    return Path(os.path.realpath(path, strict=True))


def read_bounded(path: Path, max_bytes: int, *, within: Path | None = None) -> FileContent:
    """Read the first bytes of a regular file; never waits for a pipe or a device.

    ``path`` is a :func:`real_path`, and so is ``within``, the folder that it must lie in. Links that appear on the way
    after the path was checked are not followed. Raises FileRefused, or OSError when the file cannot be opened.
    """
    if within is not None and path != within and within not in path.parents:
        raise FileRefused("lies outside the folder")
    if path == within or any(place in path.parents for place in _PSEUDO_FILE_SYSTEMS):
        raise FileRefused(_NOT_A_FILE)
    descriptor = _open_file(path) if within is None else _open_below(within, path)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise FileRefused(_NOT_A_FILE)
        data = file.read(max_bytes) or b""  # None where nothing is there yet
    if data and not status.st_size:
        raise FileRefused(_NOT_A_FILE)  # a pseudo file, wherever it is mounted
    return FileContent(data, status.st_size)


def _open_file(path: str | Path, folder: int | None = None) -> int:
    # Opening a device can act on it, so its kind is asked for first, and once more after the opening.
    if not stat.S_ISREG(os.stat(path, dir_fd=folder, follow_symlinks=False).st_mode):
        raise FileRefused(_NOT_A_FILE)
    return os.open(path, _FILE_FLAGS, dir_fd=folder)


def _open_below(root: Path, path: Path) -> int:
    """Open a file by walking down from ``root``, folder by folder, so that none can be swapped for a link."""
    if os.open not in os.supports_dir_fd:
        return _open_file(path)
    *folders, name = path.relative_to(root).parts
    here = os.open(root, _FOLDER_FLAGS)
    try:
        for folder in folders:
            inner = os.open(folder, _FOLDER_FLAGS, dir_fd=here)
            os.close(here)
            here = inner
        return _open_file(name, here)
    finally:
        os.close(here)


def resolve(folder: Path, name: str) -> Path:
    """Return the file or folder that a name within ``folder`` stands for, links followed.

    Raises FileRefused for what lies outside, is hidden or is private.
    """
    root = folder.resolve()
    path = (root / name).resolve()
    if path != root and root not in path.parents:
        raise FileRefused("lies outside the notebook's folder")
    parts = path.relative_to(root).parts
    if any(part.startswith(".") for part in parts):
        raise FileRefused("is hidden")
    if parts and may_hold_credentials(parts[-1]):
        raise FileRefused("may hold credentials")
    return path


def may_hold_credentials(name: str) -> bool:
    """Whether a file of this name usually holds keys or passwords."""
    return any(fnmatch.fnmatch(name.lower(), pattern) for pattern in _PRIVATE)


def read_notebook(path: Path, hidden: Hidden, *, within: Path | None = None) -> str:
    """Return the text of a notebook's file without the skipped cells in it; as :func:`read_bounded`."""
    content = read_bounded(path, NOTEBOOK_LIMIT, within=within)
    if content.size > NOTEBOOK_LIMIT:
        raise FileRefused(f"is too large to be read ({content.size:,} bytes)")
    try:
        return hidden.notebook(content.text)
    except ValueError as error:
        raise FileRefused(str(error)) from None


def read_lines(folder: Path, name: str, start: int, lines: int | None, hidden: Hidden) -> ToolResult:
    """Return lines of a text file, ``start`` counting from 1; of a notebook, without its skipped cells."""
    path, root = resolve(folder, name), folder.resolve()
    content = read_bounded(path, _MAX_BYTES, within=root)
    if not content.is_text:
        return ToolResult(f"{name} is not a text file ({content.size:,} bytes)", ok=False)
    text = read_notebook(path, hidden, within=root)[:_MAX_BYTES] if is_notebook(path) else content.text
    split = text.splitlines(keepends=True)
    chosen = split[start - 1 : None if lines is None else start - 1 + lines]
    more = (
        f"\n[{content.size:,} bytes in all, read up to {_MAX_BYTES:,}]" if content.size > _MAX_BYTES else ""
    )
    return ToolResult((truncate("".join(chosen), READ_LIMIT) or "(empty)") + more)


def list_folder(folder: Path, name: str, pattern: str) -> ToolResult:
    """Return the files below a folder with their sizes, at most :data:`MAX_FILES`."""
    top = resolve(folder, name)
    if not top.is_dir():
        return ToolResult(f"{name} is not a folder", ok=False)
    lines: list[str] = []
    for path in _walk(top):
        shown = path.relative_to(folder.resolve()).as_posix()
        if fnmatch.fnmatch(shown, pattern) or fnmatch.fnmatch(path.name, pattern):
            if len(lines) == MAX_FILES:
                lines.append(f"… more than {MAX_FILES} files; give a folder or a pattern")
                break
            lines.append(f"{shown}  {path.lstat().st_size:,} bytes")
    return ToolResult("\n".join(lines) or "(no files)")


def _walk(top: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(top):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in _SKIPPED_FOLDERS)
        for name in sorted(files):
            if not name.startswith("."):
                yield top / place / name


class ReadFile(Arguments):
    """A file, and the lines of it."""

    path: str = Field(min_length=1, description="Path relative to the notebook's folder.")
    start_line: int = Field(default=1, ge=1, description="First line, counting from 1.")
    lines: int | None = Field(default=None, ge=1, description="How many lines; null for all.")


class ListFiles(Arguments):
    """A folder, and the names in it."""

    folder: str = Field(default=".", description="Folder relative to the notebook's; '.' for itself.")
    pattern: str = Field(default="*", description="Only names that fit, such as '*.csv'.")


async def _read_file(call: Approved[ReadFile], ports: Ports) -> ToolResult:
    folder, wanted = ports.folder, call.arguments
    if folder is None:
        return ToolResult("There is no notebook folder here.", ok=False)
    hidden = await ports.main_thread.call(ports.hidden)
    return await _in_thread(
        wanted.path, lambda: read_lines(folder, wanted.path, wanted.start_line, wanted.lines, hidden)
    )


async def _list_files(call: Approved[ListFiles], ports: Ports) -> ToolResult:
    folder, name, pattern = ports.folder, call.arguments.folder or ".", call.arguments.pattern or "*"
    if folder is None:
        return ToolResult("There is no notebook folder here.", ok=False)
    return await _in_thread(name, lambda: list_folder(folder, name, pattern))


async def _in_thread(name: str, work: Callable[[], ToolResult]) -> ToolResult:
    try:
        return await asyncio.to_thread(work)
    except FileRefused as error:
        return ToolResult(f"{name} {error}", ok=False)
    except OSError as error:
        return ToolResult(error.strerror or type(error).__name__, ok=False)


read_file = Tool(
    name="read_file",
    description="Reads a text file in the notebook's folder, or some of its lines.",
    arguments=ReadFile,
    effect=Effect.READ,
    call=_read_file,
    title="Read a file",
    summary="Reads a file in the notebook's folder. Changes nothing.",
    requires="folder",
)

list_files = Tool(
    name="list_files",
    description="Lists the files in the notebook's folder and below, with their sizes.",
    arguments=ListFiles,
    effect=Effect.READ,
    call=_list_files,
    title="List files",
    summary="Lists the files in the notebook's folder. Changes nothing.",
    requires="folder",
)
