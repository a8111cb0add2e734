"""``@name``, ``@cell:N`` and ``@file:path`` in a question: what the user points at, told in full."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from codex_nb.session.cells import FULL, cell_images, cell_text, is_skipped
from codex_nb.session.sections import Section
from codex_nb.tools.outputs import shorten
from codex_nb.tools.variables import Detail, describe
from codex_nb.words import context as words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from codex_nb.notebook import Cell, NotebookSnapshot

FILE_LIMIT = 40_000
IMAGE_FILE_LIMIT = 8_000_000
_MENTION = re.compile(
    r"(?<![\w@.])@(?:cell:(?P<cell>\d{1,9})(?!\d)|file:(?:\"(?P<quoted>[^\"]+)\"|(?P<file>[^\s,;]+))|(?P<name>[A-Za-z_]\w*))"
)
_IMAGE_SUFFIXES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".gif": "gif", ".webp": "webp"}


@dataclass(frozen=True)
class Mention:
    """One thing that a question points at, by the words that follow the ``@``."""

    kind: Literal["cell", "file", "variable"]
    target: str


@dataclass(frozen=True)
class Mentioned:
    """What mentions brought: sections, images as data URLs, and sentences on what could not be brought."""

    sections: tuple[Section, ...] = ()
    images: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def mentions_in(prompt: str) -> tuple[Mention, ...]:
    """Return what a question points at, each thing once, in its order."""
    found: dict[Mention, None] = {}
    for match in _MENTION.finditer(prompt):
        if match["cell"]:
            found[Mention("cell", match["cell"])] = None
        elif match["quoted"] or match["file"]:
            found[Mention("file", match["quoted"] or match["file"].rstrip(".?!:)"))] = None
        else:
            found[Mention("variable", match["name"])] = None
    return tuple(found)


def bring(
    prompt: str, snapshot: NotebookSnapshot | None, namespace: Mapping[str, Any], folder: Path | None
) -> Mentioned:
    """Return everything that a question points at, in full; a name that is no variable is an ordinary word."""
    parts = []
    for mention in mentions_in(prompt):
        match mention.kind:
            case "variable":
                parts.append(_variable(mention.target, namespace))
            case "cell":
                parts.append(_cell(int(mention.target), snapshot))
            case "file":
                parts.append(_file(mention.target, folder))
    return Mentioned(
        tuple(section for part in parts for section in part.sections),
        tuple(image for part in parts for image in part.images),
        tuple(problem for part in parts for problem in part.problems),
    )


def _variable(name: str, namespace: Mapping[str, Any]) -> Mentioned:
    if name not in namespace:
        return Mentioned()
    return Mentioned((Section("mention", f"@{name}", describe(name, namespace[name], Detail.FULL)),))


def _cell(number: int, snapshot: NotebookSnapshot | None) -> Mentioned:
    cell = next(_cells_numbered(number, snapshot), None)
    if cell is None:
        return Mentioned(problems=(words.no_cell(str(number)),))
    if is_skipped(cell):
        return Mentioned(problems=(words.marked_cell(str(number)),))
    return Mentioned((Section("mention", f"@cell:{number}", cell_text(cell, FULL)),), cell_images(cell))


def _cells_numbered(number: int, snapshot: NotebookSnapshot | None) -> Iterator[Cell]:
    """Yield the cell that shows this number in brackets, then the one at this place."""
    cells = snapshot.cells if snapshot else ()
    yield from (cell for cell in cells if cell.execution_count == number)
    yield from cells[number - 1 : number] if number > 0 else ()


def _file(name: str, folder: Path | None) -> Mentioned:
    path = Path(name).expanduser()
    path = path if path.is_absolute() or folder is None else folder / path
    try:
        if kind := _IMAGE_SUFFIXES.get(path.suffix.lower()):
            return _image_file(name, path, kind)
        with path.open("rb") as file:
            content = file.read(4 * FILE_LIMIT)
        size = path.stat().st_size
    except OSError as error:
        return Mentioned(problems=(words.unreadable(name, error.strerror or type(error).__name__),))
    if b"\0" in content[:8192]:
        return Mentioned(problems=(words.not_text(name),))
    text = shorten(content.decode("utf-8", "replace"), FILE_LIMIT)
    more = f"\n[the file goes on: {size:,} bytes in all]" if size > len(content) else ""
    return Mentioned((Section("mention", f"@file:{name}", text + more),))


def _image_file(name: str, path: Path, kind: str) -> Mentioned:
    if path.stat().st_size > IMAGE_FILE_LIMIT:
        return Mentioned(problems=(words.too_large(name),))
    encoded = base64.b64encode(path.read_bytes()).decode()
    section = Section("mention", f"@file:{name}", "(the image is attached)")
    return Mentioned((section,), (f"data:image/{kind};base64,{encoded}",))
