"""The file of a thread: JSON lines that only their owner may read, shared by all kernels that use the thread's name.

A header, then a line for each exchange, or for what a compaction made of the exchanges before::

    {"name": "Sales-1a2b3c", "thread_id": "…", "version": 1, "question": "the beginning of the first question"}
    {"id": "…", "model": "…", "items": […], "facts": […]}

Files without ``question`` and ``model`` are read as well.

Changes are made under a lock. Who rewrites the file reads it first, and keeps the lines that others have added since.
Lines that are torn, nested too deeply or of another shape are skipped.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codex_nb.files import TEMPORARY_SUFFIX, Retention, append_line, locked, remove_excess, replace_file
from codex_nb.parse import loads
from codex_nb.session.history import first_question

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    Item = dict[str, Any]

KEPT = Retention(files=500, total_bytes=500_000_000, age_s=365 * 86_400)
LARGEST = 500_000_000
_LONGEST_HEADER = 64_000
_UNSAFE = re.compile(r"[^\w.-]+")
_LONGEST_FIRST_LINE = 1_000_000
_ANSWERED = b'"role":"assistant"'  # in a text, its quotes would be escaped
_MODEL = re.compile(rb'\{"id":"[^"\\]*","model":("(?:[^"\\]|\\.){1,200}")')


@dataclass(frozen=True)
class Header:
    """What a file says of its thread; each line says with which model it was answered, and the last one counts."""

    thread_id: str
    question: str = ""
    model: str = ""


@dataclass(frozen=True)
class ThreadInfo:
    """A saved thread: its name, when it was last used (Unix seconds), its number of answers, its size in bytes.

    ``question`` is the beginning of the first question, ``model`` the last one that answered; empty if unknown.
    """

    name: str
    used_at: float
    turns: int
    size: int
    question: str = ""
    model: str = ""


@dataclass(frozen=True)
class SavedThread:
    """What a thread's file holds."""

    header: Header
    items: tuple[Item, ...]
    sent_digests: frozenset[str]


class ThreadFile:
    """The file of one thread, as one kernel sees it: it knows which lines it has read or written."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = _path(folder, name)
        self._name = name.encode("utf-8", "replace").decode()  # as it is written
        self._known: set[str] = set()
        self._unsaved: list[bytes] = []
        self._is_saved = False
        self._problem: str | None = None

    def read(self) -> SavedThread | None:
        """Return what is saved, None where there is nothing; a file that is no thread is moved aside."""
        with suppress(OSError):
            if not self._path.is_file():
                return None
            if (saved := self._parsed()) is None:
                with _locked(self._path.parent):  # another kernel may be about to write it
                    if (saved := self._parsed()) is None:
                        self._path.replace(self._path.with_suffix(".unreadable"))
            return saved
        return None

    def _parsed(self) -> SavedThread | None:
        lines = dict(_lines(self._path))
        first: Item = next(iter(lines.values()), {})
        thread_id = first.get("thread_id")
        if first.get("name") != self._name or not isinstance(thread_id, str):
            return None
        self._known, self._is_saved = set(lines), True
        items = [item for line in lines.values() for item in _list(line, "items") if _is_item(item)]
        facts = [fact for line in lines.values() for fact in _list(line, "facts") if isinstance(fact, str)]
        model = next((each for line in reversed(lines.values()) if (each := _str(line, "model"))), "")
        return SavedThread(Header(thread_id, _str(first, "question"), model), tuple(items), frozenset(facts))

    def append(
        self, header: Header, line_id: str, items: Sequence[Item], sent_digests: Collection[str]
    ) -> None:
        """Add one exchange, with those that could not be saved before."""
        with self._noting_problems():
            self._unsaved.append(_line(line_id, header.model, items, sent_digests))
            self._known.add(line_id)
            with self._writable():
                is_new = not self._path.exists()
                append_line(self._path, b"".join(self._unsaved), header=self._header(header))
            self._unsaved.clear()
            self._is_saved = True
            if is_new:
                remove_excess(self._path.parent, ("*.jsonl", "*.unreadable", f".*{TEMPORARY_SUFFIX}"), KEPT)

    def rewrite(
        self, header: Header, line_id: str, items: Sequence[Item], sent_digests: Collection[str]
    ) -> None:
        """Replace all that this kernel has read and written, in one step; what others wrote stays.

        A thread that another kernel has deleted is not written again.
        """
        with self._noting_problems(), self._writable():
            if self._is_saved and not self._path.exists():
                return
            others = [
                _dumped(entry)
                for key, entry in _lines(self._path)
                if key not in self._known and "name" not in entry
            ]
            content = [self._header(header), _line(line_id, header.model, items, sent_digests), *others]
            replace_file(self._path, b"".join(content))
            self._known, self._is_saved = {line_id}, True
            self._unsaved.clear()

    @property
    def has_unsaved(self) -> bool:
        """Whether something could not be saved yet."""
        return bool(self._unsaved)

    def take_problem(self) -> str | None:
        """Return, once, why the last change could not be saved."""
        problem, self._problem = self._problem, None
        return problem

    def _header(self, header: Header) -> bytes:
        return _dumped(
            {
                "name": self._name,
                "thread_id": header.thread_id,
                "version": 1,
                "question": header.question,
            }
        )

    @contextmanager
    def _writable(self) -> Iterator[None]:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(self._path.parent):
            yield

    @contextmanager
    def _noting_problems(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 -- the turn is complete, and must not be lost to its copy
            folder, reason = self._path.parent, getattr(error, "strerror", None) or type(error).__name__
            self._problem = (
                f"This thread is kept in memory only: {folder} cannot be written to ({reason}). "
                "Make that folder writable to save the thread."
            )


def saved_names(folder: Path) -> Iterator[str]:
    """Yield the names of the saved threads; reads no more than the beginning of each file."""
    for path in folder.glob("*.jsonl"):
        with suppress(OSError), path.open("rb") as file:
            if (name := _name_in(file.readline(_LONGEST_HEADER), path)) is not None:
                yield name


def saved_threads(folder: Path) -> Iterator[ThreadInfo]:
    """Yield the saved threads; no more of them is parsed than the header, and where that is old, the first line."""
    for path in folder.glob("*.jsonl"):
        with suppress(OSError), path.open("rb") as file:
            header = file.readline(_LONGEST_HEADER)
            if (name := _name_in(header, path)) is not None:
                question, model, turns = _str(loads(header), "question"), "", 0
                for line in file:
                    turns += line.count(_ANSWERED)
                    question = question or _question_in(line)
                    model = _model_in(line) or model
                status = path.stat()
                yield ThreadInfo(name, status.st_mtime, turns, status.st_size, question, model)


def _question_in(line: bytes) -> str:
    with suppress(ValueError):
        value = loads(line) if len(line) <= _LONGEST_FIRST_LINE else None
        if isinstance(value, dict):
            return first_question(item for item in _list(value, "items") if _is_item(item))
    return ""


def _model_in(line: bytes) -> str:
    with suppress(ValueError):
        return str(loads(found[1])) if (found := _MODEL.match(line)) else ""
    return ""


def delete_threads(folder: Path, name: str | None) -> None:
    """Delete a thread's file with what was moved aside of it, None for all that is in the folder. Raises OSError."""
    if folder.is_dir():
        with _locked(folder):
            own = (path := _path(folder, name), path.with_suffix(".unreadable")) if name is not None else None
            for file in own or [each for each in folder.iterdir() if each.is_file()]:
                file.unlink(missing_ok=True)


def _locked(folder: Path) -> AbstractContextManager[None]:
    return locked(folder.with_name(f"{folder.name}.lock"))  # outside, so that it outlives the folder's files


def _path(folder: Path, name: str) -> Path:
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:10]
    return folder / f"{_UNSAFE.sub('-', name)[:60]}-{digest}.jsonl"


def _name_in(header: bytes, path: Path) -> str | None:
    with suppress(ValueError):
        value = loads(header)
        name = value.get("name") if isinstance(value, dict) else None
        if isinstance(name, str) and _path(path.parent, name) == path:
            return name
    return None


def _lines(path: Path) -> Iterator[tuple[str, Item]]:
    """Yield the lines that can be read, each with its id."""
    try:
        content = path.read_bytes() if path.stat().st_size <= LARGEST else b""
    except FileNotFoundError:
        return
    for line in content.split(b"\n"):
        with suppress(ValueError):
            value = loads(line)
            if isinstance(value, dict):
                line_id = value.get("id")
                yield line_id if isinstance(line_id, str) else hashlib.sha256(line).hexdigest(), value


def _line(line_id: str, model: str, items: Sequence[Item], sent_digests: Collection[str]) -> bytes:
    return _dumped({"id": line_id, "model": model, "items": list(items), "facts": sorted(sent_digests)})


def _dumped(value: Item) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def _list(entry: Item, key: str) -> list[Any]:
    value = entry.get(key)
    return value if isinstance(value, list) else []


def _str(entry: Item, key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""


def _is_item(item: Any) -> bool:
    if not isinstance(item, dict) or not isinstance(item.get("type"), str):
        return False
    content = item.get("content", [])
    return content is None or (isinstance(content, list) and all(isinstance(part, dict) for part in content))
