"""``@name``, ``@cell:N`` and ``@file:path`` in a question: what the user points at, told in full."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from codex_nb.session.cells import FULL, cell_images, cell_text
from codex_nb.session.sections import Section
from codex_nb.tools.files import FileContent, FileRefused, read_bounded, read_notebook, real_path
from codex_nb.tools.hiding import is_notebook
from codex_nb.tools.outputs import shorten
from codex_nb.tools.variables import Description, Detail, description
from codex_nb.words import context as words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from codex_nb.notebook import Cell, NotebookSnapshot
    from codex_nb.tools.hiding import Hidden

FILE_LIMIT = 40_000
IMAGE_FILE_LIMIT = 8_000_000
LARGEST_HASHED = 64_000_000
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


def variables_in(prompt: str) -> tuple[str, ...]:
    """Return the names of variables that a question points at."""
    return tuple(mention.target for mention in mentions_in(prompt) if mention.kind == "variable")


def bring(
    prompt: str,
    snapshot: NotebookSnapshot | None,
    namespace: Mapping[str, Any],
    folder: Path | None,
    hidden: Hidden,
) -> Mentioned:
    """Return everything that a question points at, in full; a name that is no variable is an ordinary word."""
    parts = []
    for mention in mentions_in(prompt):
        match mention.kind:
            case "variable":
                parts.append(_variable(mention.target, namespace))
            case "cell":
                parts.append(_cell(int(mention.target), snapshot, hidden))
            case "file":
                parts.append(_file(mention.target, folder, hidden))
    return Mentioned(
        tuple(section for part in parts for section in part.sections),
        tuple(image for part in parts for image in part.images),
        tuple(problem for part in parts for problem in part.problems),
    )


def _variable(name: str, namespace: Mapping[str, Any]) -> Mentioned:
    if name not in namespace:
        return Mentioned()
    said = description(name, namespace[name], Detail.FULL)
    return Mentioned((variable_section("mention", f"@{name}", said),))


def variable_section(kind: Literal["mention", "variable"], title: str, said: Description) -> Section:
    """Return a variable as a section; code counts by what it does, not only by what is said of it."""
    basis = f"{said.text}\n{said.code}" if said.code else None
    return Section(kind, title, said.text, basis=basis, whole=said.whole)


def _cell(number: int, snapshot: NotebookSnapshot | None, hidden: Hidden) -> Mentioned:
    cell = next(_cells_numbered(number, snapshot), None)
    if cell is None:
        return Mentioned(problems=(words.no_cell(str(number)),))
    if hidden.skips(cell):
        return Mentioned(problems=(words.marked_cell(str(number)),))
    said = cell_text(replace(cell, outputs=hidden.outputs(cell.outputs)), FULL)
    return Mentioned((Section("mention", f"@cell:{number}", said.text, whole=said.whole),), cell_images(cell))


def _cells_numbered(number: int, snapshot: NotebookSnapshot | None) -> Iterator[Cell]:
    """Yield the cell that shows this number in brackets, then the one at this place."""
    cells = snapshot.cells if snapshot else ()
    yield from (cell for cell in cells if cell.execution_count == number)
    yield from cells[number - 1 : number] if number > 0 else ()


def _file(name: str, folder: Path | None, hidden: Hidden) -> Mentioned:
    path = Path(name).expanduser()
    path = path if path.is_absolute() or folder is None else folder / path
    kind = _IMAGE_SUFFIXES.get(path.suffix.lower())
    try:
        if is_notebook(path):
            return _notebook_file(name, read_notebook(real_path(path), hidden))
        content = read_bounded(real_path(path), IMAGE_FILE_LIMIT if kind else LARGEST_HASHED)
    except FileRefused as refusal:
        return Mentioned(problems=(f"{name} {refusal}",))
    except OSError as error:
        return Mentioned(problems=(words.unreadable(name, error.strerror or type(error).__name__),))
    return _image_file(name, content, kind) if kind else _text_file(name, content)


def _text_file(name: str, content: FileContent) -> Mentioned:
    if not content.is_text:
        return Mentioned(problems=(words.not_text(name),))
    text = replace(content, data=content.data[: 4 * FILE_LIMIT]).text
    more = "" if content.size <= 4 * FILE_LIMIT else f"\n[the file goes on: {content.size:,} bytes in all]"
    digest = hashlib.sha256(content.data).hexdigest() if content.size <= len(content.data) else None
    section = Section(
        "mention", f"@file:{name}", shorten(text, FILE_LIMIT) + more, basis=digest, whole=digest is not None
    )
    return Mentioned((section,))


def _notebook_file(name: str, text: str) -> Mentioned:
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    return Mentioned((Section("mention", f"@file:{name}", shorten(text, FILE_LIMIT), basis=digest),))


def _image_file(name: str, content: FileContent, kind: str) -> Mentioned:
    if content.size > IMAGE_FILE_LIMIT:
        return Mentioned(problems=(words.too_large(name),))
    encoded = base64.b64encode(content.data).decode()
    section = Section("mention", f"@file:{name}", "(the image is attached)")
    return Mentioned((section,), (f"data:image/{kind};base64,{encoded}",))
