"""``read_file`` and ``list_files``: the model looks at the notebook's folder, and nowhere else.

Links are followed before the place is checked, hidden files and folders are passed over, and so are files that hold
credentials by their name.
"""

from __future__ import annotations

import asyncio
import fnmatch
import os
import stat
from typing import TYPE_CHECKING

from codex_nb.errors import InvalidArguments
from codex_nb.tools.approval import Effect
from codex_nb.tools.hiding import is_notebook
from codex_nb.tools.outputs import shorten
from codex_nb.tools.tool import Arguments, Ports, Tool, ToolResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from codex_nb.tools.hiding import Hidden

READ_LIMIT = 20_000
MOST_FILES = 300
_MOST_BYTES = 1_000_000
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


class _OutsideError(Exception):
    """The file is not one that the model may look at; the text says why."""


def resolve(folder: Path, name: str) -> Path:
    """Return the file or folder that a name within ``folder`` stands for, links followed.

    Raises an exception whose text says why not, for what lies outside, is hidden or is private.
    """
    root = folder.resolve()
    path = (root / name).resolve()
    if path != root and root not in path.parents:
        raise _OutsideError(f"{name} lies outside the notebook's folder")
    parts = path.relative_to(root).parts
    if any(part.startswith(".") for part in parts):
        raise _OutsideError(f"{name} is hidden")
    if parts and any(fnmatch.fnmatch(parts[-1].lower(), pattern) for pattern in _PRIVATE):
        raise _OutsideError(f"{name} may hold credentials")
    return path


def read(folder: Path, name: str, start: int, lines: int | None, hidden: Hidden) -> ToolResult:
    """Return lines of a text file, ``start`` counting from 1; of a notebook, without its skipped cells."""
    path = resolve(folder, name)
    # Opening a pipe would wait for a writer that may never come.
    if not stat.S_ISREG(path.stat().st_mode):
        return ToolResult(f"{name} is not a file", ok=False)
    size = path.stat().st_size
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES)
    if b"\0" in content[:8192]:
        return ToolResult(f"{name} is not a text file ({size:,} bytes)", ok=False)
    text = content.decode("utf-8", "replace")
    if is_notebook(path):
        try:
            text = hidden.notebook(path)[:_MOST_BYTES]
        except ValueError as error:
            return ToolResult(f"{name} {error}", ok=False)
    split = text.splitlines(keepends=True)
    chosen = split[start - 1 : None if lines is None else start - 1 + lines]
    more = f"\n[{size:,} bytes in all, read up to {_MOST_BYTES:,}]" if size > _MOST_BYTES else ""
    return ToolResult((shorten("".join(chosen), READ_LIMIT) or "(empty)") + more)


def listing(folder: Path, name: str, pattern: str) -> ToolResult:
    """Return the files below a folder with their sizes, at most :data:`MOST_FILES`."""
    top = resolve(folder, name)
    if not top.is_dir():
        return ToolResult(f"{name} is not a folder", ok=False)
    lines: list[str] = []
    for path in _walk(top):
        shown = path.relative_to(folder.resolve()).as_posix()
        if fnmatch.fnmatch(shown, pattern) or fnmatch.fnmatch(path.name, pattern):
            if len(lines) == MOST_FILES:
                lines.append(f"… more than {MOST_FILES} files; give a folder or a pattern")
                break
            lines.append(f"{shown}  {path.lstat().st_size:,} bytes")
    return ToolResult("\n".join(lines) or "(no files)")


def _walk(top: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(top):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in _SKIPPED_FOLDERS)
        for name in sorted(files):
            if not name.startswith("."):
                yield top / place / name


def _check_read(arguments: Arguments) -> Arguments:
    path, start, lines = arguments.get("path"), arguments.get("start_line", 1), arguments.get("lines")
    if not isinstance(path, str) or not path:
        raise InvalidArguments('read_file takes "path": a file in the notebook\'s folder')
    if (
        not isinstance(start, int)
        or start < 1
        or not (lines is None or (isinstance(lines, int) and lines > 0))
    ):
        raise InvalidArguments('read_file: "start_line" counts from 1, "lines" must be a positive number')
    return {"path": path, "start_line": start, "lines": lines}


def _check_list(arguments: Arguments) -> Arguments:
    folder, pattern = arguments.get("folder", "."), arguments.get("pattern", "*")
    if not isinstance(folder, str) or not isinstance(pattern, str):
        raise InvalidArguments('list_files takes "folder" and "pattern", both texts')
    return {"folder": folder or ".", "pattern": pattern or "*"}


async def _read(arguments: Arguments, ports: Ports) -> ToolResult:
    folder = ports.folder
    if folder is None:
        return ToolResult("There is no notebook folder here.", ok=False)
    hidden = await ports.main_thread.call(ports.hidden)
    return await _off_the_loop(
        lambda: read(folder, arguments["path"], arguments["start_line"], arguments["lines"], hidden)
    )


async def _list(arguments: Arguments, ports: Ports) -> ToolResult:
    folder = ports.folder
    if folder is None:
        return ToolResult("There is no notebook folder here.", ok=False)
    return await _off_the_loop(lambda: listing(folder, arguments["folder"], arguments["pattern"]))


async def _off_the_loop(work: Callable[[], ToolResult]) -> ToolResult:
    try:
        return await asyncio.to_thread(work)
    except _OutsideError as error:
        return ToolResult(str(error), ok=False)
    except OSError as error:
        return ToolResult(error.strerror or type(error).__name__, ok=False)


read_file = Tool(
    name="read_file",
    description="Reads a text file in the notebook's folder, or some of its lines.",
    parameters={
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "Path relative to the notebook's folder."},
            "start_line": {"type": "integer", "description": "First line, counting from 1."},
            "lines": {"type": ["integer", "null"], "description": "How many lines; null for all."},
        },
        "required": ["path"],
        "additionalProperties": False,
    },
    effect=Effect.LOOKS,
    call=_read,
    check=_check_read,
    available=lambda ports: ports.folder is not None,
)

list_files = Tool(
    name="list_files",
    description="Lists the files in the notebook's folder and below, with their sizes.",
    parameters={
        "type": "object",
        "properties": {
            "folder": {"type": "string", "description": "Folder relative to the notebook's; '.' for itself."},
            "pattern": {"type": "string", "description": "Only names that fit, such as '*.csv'."},
        },
        "required": [],
        "additionalProperties": False,
    },
    effect=Effect.LOOKS,
    call=_list,
    check=_check_list,
    available=lambda ports: ports.folder is not None,
)
