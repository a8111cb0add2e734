"""Threads: one conversation's history in memory, and on disk as JSON lines readable by their owner only."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from codex_nb.session.items import Item, assistant_message, call_output, is_call, new_uuid, user_message
from codex_nb.words import conversation as words

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence


ABORTED_OUTPUT = "aborted by the user"
ABORTED_NOTE = (
    "<turn_aborted>The previous turn was interrupted; what it was doing may be unfinished.</turn_aborted>"
)


class Journal(Protocol):
    """Keeps what a conversation commits."""

    def append(self, thread: Thread, items: Sequence[Item], sent_digests: Collection[str]) -> None:
        """Add an exchange, and what is new of what it tells, to the kept thread."""
        ...

    def rewrite(self, thread: Thread) -> None:
        """Keep the conversation as it is now instead of what was kept before."""
        ...


class Thread:
    """A thread: the items of all its turns, and the name under which the user finds it.

    ``turn_lock`` lets turns of one thread follow each other; only its holder begins an exchange.
    ``sent_digests`` are the digests of the notebook parts that the history holds, which need not be sent again.
    """

    def __init__(
        self,
        name: str,
        *,
        thread_id: str | None = None,
        items: Iterable[Item] = (),
        journal: Journal | None = None,
        sent_digests: Iterable[str] = (),
    ) -> None:
        self.name = name
        self.thread_id = thread_id or new_uuid()
        self.turn_lock = asyncio.Lock()
        self._items = tuple(items)
        self._journal = journal
        self._sent_digests = frozenset(sent_digests)

    @property
    def items(self) -> tuple[Item, ...]:
        """The committed history."""
        return self._items

    @property
    def sent_digests(self) -> frozenset[str]:
        """Digests of the notebook's parts that the committed history tells of."""
        return self._sent_digests

    def begin(self, opening: Sequence[Item], sent_digests: Iterable[str] = ()) -> Exchange:
        """Open an exchange with its first items: instructions, context, the user's words."""
        return Exchange(self, opening, frozenset(sent_digests))

    def replace(self, items: Sequence[Item], sent_digests: Iterable[str] = ()) -> None:
        """Put a compacted history, and the facts that it still tells, in the place of the present one."""
        self._items = tuple(items)
        self._sent_digests = frozenset(sent_digests)
        if self._journal is not None:
            self._journal.rewrite(self)

    def _accept(self, items: Sequence[Item], sent_digests: frozenset[str]) -> None:
        new = sent_digests - self._sent_digests
        self._items = (*self._items, *items)
        self._sent_digests |= sent_digests
        if self._journal is not None:
            self._journal.append(self, items, new)


class Exchange:
    """The items of one turn until they are committed; closed by the first commit, abort or roll back."""

    def __init__(self, thread: Thread, opening: Sequence[Item], sent_digests: frozenset[str]) -> None:
        self._conversation = thread
        self._items = list(opening)
        self._opening = len(self._items)
        self._sent_digests = sent_digests
        self._open = True

    @property
    def input(self) -> tuple[Item, ...]:
        """What the next request of the turn sends."""
        return (*self._conversation.items, *self._items)

    @property
    def is_open(self) -> bool:
        """Whether the exchange still waits for its end."""
        return self._open

    def add(self, items: Iterable[Item]) -> None:
        """Add what the model said, or what its calls gave."""
        self._items.extend(items)

    def commit(self) -> None:
        """Make the exchange part of the history; calls that were never answered are answered as aborted."""
        if self._open:
            self._open = False
            self._conversation._accept(answer_orphans(self._items), self._sent_digests)  # noqa: SLF001 -- its own half

    def abort(self, partial_text: str = "") -> None:
        """Keep what was finished before an interruption, as a history that the API accepts.

        An exchange in which the model said nothing yet leaves no trace. A partial answer is kept as words of the
        model; reasoning that nothing followed is dropped, because the API demands the item that it led to.
        """
        if not self._open:
            return
        kept = list(self._items)
        while len(kept) > self._opening and kept[-1].get("type") == "reasoning":
            kept.pop()
        items = answer_orphans(kept)
        if partial_text.strip():
            items.append(assistant_message(partial_text))
        self._open = False
        if len(items) > self._opening:
            self._conversation._accept([*items, user_message(ABORTED_NOTE)], self._sent_digests)  # noqa: SLF001 -- its own half

    def roll_back(self) -> None:
        """Forget the exchange."""
        self._open = False


def answer_orphans(items: Sequence[Item]) -> list[Item]:
    """Return the items with an output for every call that has none, after the last item."""
    answered = {item.get("call_id") for item in items if str(item.get("type", "")).endswith("_output")}
    orphans = [item for item in items if is_call(item) and item["call_id"] not in answered]
    return [*items, *(call_output(orphan, ABORTED_OUTPUT) for orphan in orphans)]


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
        self._open: dict[str, Thread] = {}
        self._problem: str | None = None

    def open(self, name: str) -> Thread:
        """Return the conversation of this name, as it was left, or a new one."""
        if name not in self._open:
            self._open[name] = self._read(name) or Thread(name, journal=self)
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

    def append(self, thread: Thread, items: Sequence[Item], sent_digests: Collection[str]) -> None:
        """Write one exchange at the end of the thread's file."""
        if (path := self._path(thread.name)) is not None:
            with self._noting_problems(path):
                line = _line({"items": list(items), "facts": sorted(sent_digests)})
                _append(path, _line(_header(thread)), line)

    def rewrite(self, thread: Thread) -> None:
        """Write the thread's file anew, in one step."""
        if (path := self._path(thread.name)) is not None:
            with self._noting_problems(path):
                content = _line({"items": list(thread.items), "facts": sorted(thread.sent_digests)})
                _replace(path, _line(_header(thread)) + content)

    @contextlib.contextmanager
    def _noting_problems(self, path: Path) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 -- the turn is complete, and must not be lost to its copy
            reason = getattr(error, "strerror", None) or type(error).__name__
            self._problem = words.memory_only(str(path.parent), reason)

    def _read(self, name: str) -> Thread | None:
        path = self._path(name)
        lines = list(_lines(path)) if path is not None and path.is_file() else []
        if not lines or lines[0].get("name") != name:
            if path is not None and path.is_file():
                path.replace(path.with_suffix(".unreadable"))
            return None
        items = [item for line in lines[1:] for item in line.get("items", ())]
        sent_digests = {fact for line in lines[1:] for fact in line.get("facts", ())}
        return Thread(
            name, thread_id=lines[0].get("thread_id"), items=items, sent_digests=sent_digests, journal=self
        )

    def _path(self, name: str) -> Path | None:
        if self._folder is None or _is_unsaved(name):
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


def _is_unsaved(name: str) -> bool:
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


def _header(thread: Thread) -> dict[str, Any]:
    return {"name": thread.name, "thread_id": thread.thread_id, "version": 1}


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
