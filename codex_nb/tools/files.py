"""The tools ``read_file`` and ``list_files``: the model reads the notebook's folder, and nothing else.

Links are resolved before the path is checked; hidden files and folders are skipped, and so are files whose name says
that they hold credentials.
"""

from __future__ import annotations

import fnmatch
import io
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, BinaryIO

from pydantic import Field

from codex_nb.tools.approval import Approved, Effect
from codex_nb.tools.base import Arguments, Ports, Tool, ToolResult
from codex_nb.tools.file_access import (
    FileContent,
    FileRefused,
    Folder,
    open_file,
    open_folder,
    open_inner,
    path_in_folder,
    read_notebook,
    read_off_loop,
)
from codex_nb.tools.hiding import is_notebook
from codex_nb.tools.nbmodel import truncate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from codex_nb.tools.hiding import Hidden

READ_LIMIT = 20_000
_PIECE = 1_000_000
_SEARCHED = 256_000_000  # bytes in which the first line is looked for
_LONGEST_PATTERN = 200
_SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__", "site-packages"})


def read_lines(folder: Path, name: str, start: int, lines: int | None, hidden: Hidden) -> ToolResult:
    """Return lines of a text file, ``start`` counting from 1; of a notebook, without its skipped cells."""
    checked = path_in_folder(folder, name)
    if is_notebook(checked.path):
        data = read_notebook(checked, hidden).encode("utf-8", "replace")
        return _lines_of(io.BytesIO(data), len(data), start, lines)
    with open_file(checked) as (file, size):
        if not FileContent(file.read(8192), size).is_text:
            return ToolResult(f"{name} is not a text file ({size:,} bytes)", ok=False)
        file.seek(0)
        return _lines_of(file, size, start, lines)


def _lines_of(file: BinaryIO, size: int, start: int, lines: int | None) -> ToolResult:
    _skip_lines(file, start - 1)
    data = file.read(_PIECE)
    pieces = data.split(b"\n", -1 if lines is None else lines)
    is_enough = lines is not None and len(pieces) > lines
    chosen = b"\n".join([*pieces[:lines], b""]) if is_enough else data
    text = truncate(chosen.decode("utf-8-sig" if start == 1 else "utf-8", "replace"), READ_LIMIT) or "(empty)"
    if not is_enough and file.tell() < size:
        following = start + data.count(b"\n")
        text += f"\n[{size:,} bytes in all; continue with line {following:,}]"
    return ToolResult(text)


def _skip_lines(file: BinaryIO, missing: int) -> None:
    while missing and (chunk := file.read(1 << 16)):
        count = chunk.count(b"\n")
        if count >= missing:
            position = -1
            for _ in range(missing):
                position = chunk.index(b"\n", position + 1)
            file.seek(position + 1 - len(chunk), os.SEEK_CUR)
            return
        missing -= count
        if file.tell() > _SEARCHED:
            raise FileRefused(f"has too few lines in its first {_SEARCHED // 1_000_000} MB")


@dataclass
class ListingBounds:
    """What a listing may still look at: files to name, entries to visit, folders to descend, seconds.

    ``stop`` ends it at once.
    """

    files: int = 300
    entries: int = 100_000
    depth: int = 32
    seconds: float = 5.0
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._deadline = time.monotonic() + self.seconds

    def visit(self) -> bool:
        """Count an entry; whether it may still be looked at."""
        self.entries -= 1
        return not self.is_used_up

    @property
    def is_used_up(self) -> bool:
        """Whether nothing more may be looked at."""
        return self.entries < 0 or self.stop.is_set() or time.monotonic() > self._deadline


def list_folder(folder: Path, name: str, pattern: str, bounds: ListingBounds) -> ToolResult:
    """Return the files below a folder with their sizes, as many as the bounds allow."""
    if len(pattern) > _LONGEST_PATTERN:
        return ToolResult(f"The pattern is longer than {_LONGEST_PATTERN} characters.", ok=False)
    checked, most = path_in_folder(folder, name), bounds.files
    inside = checked.path.relative_to(path_in_folder(folder, ".").path).as_posix()
    lines: list[str] = []
    try:
        with open_folder(checked) as top:
            for shown, size in _files_in(top, "" if inside == "." else f"{inside}/", bounds):
                if fnmatch.fnmatch(shown, pattern) or fnmatch.fnmatch(shown.rpartition("/")[2], pattern):
                    if len(lines) == most:
                        lines.append(f"… more than {most} files; give a folder or a pattern")
                        break
                    lines.append(f"{shown}  {size:,} bytes".encode("utf-8", "replace").decode())
    except NotADirectoryError:
        return ToolResult(f"{name} is not a folder", ok=False)
    if bounds.is_used_up:
        lines.append("… not all was looked at; give a folder with fewer files in it")
    return ToolResult("\n".join(lines) or "(no files)")


def _files_in(here: Folder, prefix: str, bounds: ListingBounds, depth: int = 0) -> Iterator[tuple[str, int]]:
    with os.scandir(here) as entries:
        visited = (entry for entry in entries if not entry.name.startswith("."))
        found = sorted(takewhile(lambda _: bounds.visit(), visited), key=lambda entry: entry.name)
    folders = []
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            folders.append(entry.name)
            continue
        with suppress(OSError):  # it has gone in the meantime
            yield prefix + entry.name, entry.stat(follow_symlinks=False).st_size
    for folder in folders if depth < bounds.depth else ():
        if folder not in _SKIPPED_FOLDERS and not bounds.is_used_up:
            with suppress(OSError), open_inner(here, folder) as inner:  # not ours to list, or a link by now
                yield from _files_in(inner, f"{prefix}{folder}/", bounds, depth + 1)


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
    return await read_result(
        wanted.path, lambda: read_lines(folder, wanted.path, wanted.start_line, wanted.lines, hidden)
    )


async def _list_files(call: Approved[ListFiles], ports: Ports) -> ToolResult:
    folder, name, pattern = ports.folder, call.arguments.folder or ".", call.arguments.pattern or "*"
    if folder is None:
        return ToolResult("There is no notebook folder here.", ok=False)
    bounds = ListingBounds()
    try:
        return await read_result(name, lambda: list_folder(folder, name, pattern, bounds))
    finally:
        bounds.stop.set()


async def read_result(name: str, read: Callable[[], ToolResult]) -> ToolResult:
    """Read off the event loop; what cannot be read is a result that says so, with the name that was asked for."""
    try:
        return await read_off_loop(read)
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
