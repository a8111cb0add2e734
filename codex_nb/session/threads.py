"""Threads on disk: one file of JSON lines for each conversation, readable by its owner only.

The first line names the thread; every further line is one committed exchange, written in one piece, so that a crash
can lose the last line but never leave half an exchange. What is kept has passed the same redaction as what is sent.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codex_nb.session.conversation import Conversation
from codex_nb.words import conversation as words

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from codex_nb.session.items import Item

SESSION = "session"
_UNSAFE = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class ThreadInfo:
    """A kept thread: its name, when it was last used (Unix seconds), how many questions it holds, and its size."""

    name: str
    used_at: float
    questions: int
    size: int


class ThreadStore:
    """The conversations of one CODEX_HOME; each is opened once and shared from then on.

    ``folder`` None keeps threads in memory only.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._open: dict[str, Conversation] = {}
        self._problem: str | None = None

    def open(self, name: str) -> Conversation:
        """Return the conversation of this name, as it was left, or a new one."""
        if name not in self._open:
            self._open[name] = self._read(name) or Conversation(name, journal=self)
        return self._open[name]

    def forget(self, name: str) -> None:
        """Remove a thread from disk and memory."""
        self._open.pop(name, None)
        if (path := self._path(name)) is not None:
            path.unlink(missing_ok=True)

    def threads(self) -> tuple[ThreadInfo, ...]:
        """Return the kept threads, the last used one first."""
        infos = {
            name: ThreadInfo(name, 0.0, _questions(c.items), 0) for name, c in self._open.items() if c.items
        }
        for path in self._files():
            lines = list(_lines(path))
            if lines and (name := lines[0].get("name")):
                status = path.stat()
                items = [item for line in lines for item in line.get("items", ())]
                infos[name] = ThreadInfo(name, status.st_mtime, _questions(items), status.st_size)
        return tuple(sorted(infos.values(), key=lambda info: info.used_at, reverse=True))

    def take_problem(self) -> str | None:
        """Return why the last exchange could not be written to disk, once; the thread goes on in memory."""
        problem, self._problem = self._problem, None
        return problem

    def append(self, conversation: Conversation, items: Sequence[Item], facts: Collection[str]) -> None:
        """Write one exchange at the end of the thread's file."""
        if (path := self._path(conversation.name)) is not None:
            with self._noting_problems(path):
                line = _line({"items": list(items), "facts": sorted(facts)})
                _append(path, _line(_header(conversation)), line)

    def rewrite(self, conversation: Conversation) -> None:
        """Write the thread's file anew, in one step."""
        if (path := self._path(conversation.name)) is not None:
            with self._noting_problems(path):
                content = _line({"items": list(conversation.items), "facts": sorted(conversation.facts)})
                _replace(path, _line(_header(conversation)) + content)

    @contextlib.contextmanager
    def _noting_problems(self, path: Path) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 -- the turn is complete, and must not be lost to its copy
            reason = getattr(error, "strerror", None) or type(error).__name__
            self._problem = words.memory_only(str(path.parent), reason)

    def _read(self, name: str) -> Conversation | None:
        path = self._path(name)
        lines = list(_lines(path)) if path is not None and path.is_file() else []
        if not lines or lines[0].get("name") != name:
            if path is not None and path.is_file():
                path.replace(path.with_suffix(".unreadable"))
            return None
        items = [item for line in lines[1:] for item in line.get("items", ())]
        facts = {fact for line in lines[1:] for fact in line.get("facts", ())}
        return Conversation(name, thread_id=lines[0].get("thread_id"), items=items, facts=facts, journal=self)

    def _path(self, name: str) -> Path | None:
        if self._folder is None or _is_of_the_moment(name):
            return None
        digest = hashlib.sha256(name.encode()).hexdigest()[:10]
        return self._folder / f"{_UNSAFE.sub('-', name)[:60]}-{digest}.jsonl"

    def _files(self) -> Iterable[Path]:
        return sorted(self._folder.glob("*.jsonl")) if self._folder and self._folder.is_dir() else ()


def notebook_thread(path: str | None) -> str:
    """Return the name of a notebook's own thread; where there is no notebook it is the session's, which is not kept."""
    if path is None:
        return SESSION
    stem = path.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".ipynb")
    return f"{stem}-{hashlib.sha256(path.encode()).hexdigest()[:6]}"


def _is_of_the_moment(name: str) -> bool:
    # Unrelated sessions without a notebook (a terminal, a headless run) must not go on with each other's talk.
    stem, _, number = name.partition(".")
    return stem == SESSION and (not number or number.isdigit())


def next_name(name: str, taken: Iterable[str]) -> str:
    """Return the name of the thread that follows when a person starts anew: ``name.2``, then ``name.3``."""
    stem, _, number = name.rpartition(".")
    base, count = (stem, int(number)) if stem and number.isdigit() else (name, 1)
    names = set(taken)
    while (candidate := f"{base}.{count + 1}") in names:
        count += 1
    return candidate


def _header(conversation: Conversation) -> dict[str, Any]:
    return {"name": conversation.name, "thread_id": conversation.thread_id, "version": 1}


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def _append(path: Path, header: bytes, line: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        # A line that a crash cut short is closed first: it is lost, what follows is not.
        head = header if file.tell() == 0 else _line_break(path)
        file.write(head + line)
        file.flush()
        os.fsync(file.fileno())


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".thread-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _line_break(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return b"" if file.read(1) == b"\n" else b"\n"


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        content = path.read_bytes()
    except OSError:
        return
    for line in content.split(b"\n"):
        with contextlib.suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict):
                yield value


def _questions(items: Iterable[Item]) -> int:
    return sum(1 for item in items if item.get("type") == "message" and item.get("role") == "assistant")
