"""Threads: one conversation's history in memory, and on disk as JSON lines readable by their owner only."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codex_nb.files import append_line, replace_file
from codex_nb.session.outbound import (
    Item,
    assistant_message,
    call_output,
    is_call,
    new_uuid,
    received,
    user_message,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from codex_nb.responses.request import Outbound


ABORTED_OUTPUT = "aborted by the user"
ABORTED_NOTE = (
    "<turn_aborted>The previous turn was interrupted; what it was doing may be unfinished.</turn_aborted>"
)


class Thread:
    """A thread: the items of all its turns, and the name by which the user finds it.

    ``turn_lock`` makes turns of one thread follow each other; only its holder begins an exchange. ``sent_digests`` are
    the digests of the notebook parts that the history holds, which need not be sent again. ``store`` saves every
    change.
    """

    def __init__(
        self,
        name: str,
        *,
        thread_id: str | None = None,
        items: Iterable[Outbound] = (),
        store: ThreadStore | None = None,
        sent_digests: Iterable[str] = (),
    ) -> None:
        self.name = name
        self.thread_id = thread_id or new_uuid()
        self.turn_lock = asyncio.Lock()
        self._items = tuple(items)
        self._store = store
        self._sent_digests = frozenset(sent_digests)

    @property
    def items(self) -> tuple[Outbound, ...]:
        """The committed history."""
        return self._items

    @property
    def sent_digests(self) -> frozenset[str]:
        """Digests of the notebook parts in the committed history."""
        return self._sent_digests

    def begin(self, items: Sequence[Outbound], sent_digests: Iterable[str] = ()) -> Exchange:
        """Open an exchange with its first items: instructions, context, the user's message."""
        return Exchange(self, items, frozenset(sent_digests))

    def replace(self, items: Sequence[Outbound], sent_digests: Iterable[str] = ()) -> None:
        """Replace the history by a compacted one, with the digests that still hold."""
        self._items = tuple(items)
        self._sent_digests = frozenset(sent_digests)
        if self._store is not None:
            self._store.rewrite(self)

    def accept(self, items: Sequence[Outbound], sent_digests: frozenset[str]) -> None:
        """Add a finished exchange to the history."""
        new = sent_digests - self._sent_digests
        self._items = (*self._items, *items)
        self._sent_digests |= sent_digests
        if self._store is not None:
            self._store.append(self, items, new)


class Exchange:
    """The items of one turn until they are committed; closed by the first commit or abort."""

    def __init__(self, thread: Thread, items: Sequence[Outbound], sent_digests: frozenset[str]) -> None:
        self._thread = thread
        self._items = list(items)
        self._start = len(self._items)
        self._sent_digests = sent_digests
        self._open = True

    @property
    def input(self) -> tuple[Outbound, ...]:
        """What the next request of the turn sends."""
        return (*self._thread.items, *self._items)

    def add(self, items: Iterable[Outbound]) -> None:
        """Add the model's items, or the outputs of its calls."""
        self._items.extend(items)

    def commit(self) -> None:
        """Make the exchange part of the history; calls without an output are answered as aborted."""
        if self._open:
            self._open = False
            self._thread.accept(answer_orphans(self._items), self._sent_digests)

    def abort(self, partial_text: str = "") -> None:
        """Keep what was complete before an interruption, as a history that the API accepts.

        An exchange without an item of the model leaves no trace. A partial answer is kept as a message of the model;
        trailing reasoning is dropped, because the API demands the item that it led to.
        """
        if not self._open:
            return
        self._open = False
        kept = list(self._items)
        while len(kept) > self._start and kept[-1].get("type") == "reasoning":
            kept.pop()
        items = answer_orphans(kept)
        if partial_text.strip():
            items.append(assistant_message(partial_text))
        if len(items) > self._start:
            self._thread.accept([*items, user_message(ABORTED_NOTE)], self._sent_digests)


def answer_orphans(items: Sequence[Outbound]) -> list[Outbound]:
    """Return the items, followed by an output for every call that has none."""
    answered = {item.get("call_id") for item in items if str(item.get("type", "")).endswith("_output")}
    orphans = [item for item in items if is_call(item) and item["call_id"] not in answered]
    return [*items, *(call_output(orphan, ABORTED_OUTPUT) for orphan in orphans)]


SESSION = "session"
_UNSAFE = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class ThreadInfo:
    """A saved thread: its name, when it was last used (Unix seconds), its number of turns, its size in bytes."""

    name: str
    used_at: float
    turns: int
    size: int


class ThreadStore:
    """The threads of one CODEX_HOME; each is opened once and shared from then on.

    ``folder`` None keeps threads in memory only.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._open: dict[str, Thread] = {}
        self._problem: str | None = None

    def open(self, name: str) -> Thread:
        """Return the thread of this name, as it was saved, or a new one."""
        if name not in self._open:
            self._open[name] = self._read(name) or Thread(name, store=self)
        return self._open[name]

    def forget(self, name: str) -> None:
        """Remove a thread from disk and memory."""
        self._open.pop(name, None)
        if (path := self._path(name)) is not None:
            path.unlink(missing_ok=True)

    def threads(self) -> tuple[ThreadInfo, ...]:
        """Return the saved threads, the last used one first."""
        infos = {
            name: ThreadInfo(name, 0.0, _turn_count(c.items), 0) for name, c in self._open.items() if c.items
        }
        for path in self._files():
            lines = list(_lines(path))
            if lines and (name := lines[0].get("name")):
                status = path.stat()
                items = [item for line in lines for item in line.get("items", ())]
                infos[name] = ThreadInfo(name, status.st_mtime, _turn_count(items), status.st_size)
        return tuple(sorted(infos.values(), key=lambda info: info.used_at, reverse=True))

    def take_problem(self) -> str | None:
        """Return, once, why the last exchange could not be saved; the thread goes on in memory."""
        problem, self._problem = self._problem, None
        return problem

    def append(self, thread: Thread, items: Sequence[Item], sent_digests: Collection[str]) -> None:
        """Append one exchange to the thread's file."""
        if (path := self._path(thread.name)) is not None:
            with self._noting_problems(path):
                line = _line({"items": list(items), "facts": sorted(sent_digests)})
                append_line(path, line, header=_line(_header(thread)))

    def rewrite(self, thread: Thread) -> None:
        """Rewrite the thread's file in one step."""
        if (path := self._path(thread.name)) is not None:
            with self._noting_problems(path):
                content = _line({"items": list(thread.items), "facts": sorted(thread.sent_digests)})
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                replace_file(path, _line(_header(thread)) + content)

    @contextlib.contextmanager
    def _noting_problems(self, path: Path) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 -- the turn is complete, and must not be lost to its copy
            reason = getattr(error, "strerror", None) or type(error).__name__
            self._problem = (
                f"This thread is kept in memory only: {path.parent} cannot be written to ({reason}). "
                "Make that folder writable to save the thread."
            )

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
            name,
            thread_id=lines[0].get("thread_id"),
            items=received(items),
            sent_digests=sent_digests,
            store=self,
        )

    def _path(self, name: str) -> Path | None:
        if self._folder is None or _is_unsaved(name):
            return None
        digest = hashlib.sha256(name.encode()).hexdigest()[:10]
        return self._folder / f"{_UNSAFE.sub('-', name)[:60]}-{digest}.jsonl"

    def _files(self) -> Iterable[Path]:
        return sorted(self._folder.glob("*.jsonl")) if self._folder and self._folder.is_dir() else ()


def notebook_thread(path: str | None) -> str:
    """Return the name of a notebook's own thread; without a notebook, the session's, which is not saved."""
    if path is None:
        return SESSION
    stem = path.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".ipynb")
    return f"{stem}-{hashlib.sha256(path.encode()).hexdigest()[:6]}"


def _is_unsaved(name: str) -> bool:
    # Unrelated sessions without a notebook (a terminal, a headless run) must not continue each other's thread.
    stem, _, number = name.partition(".")
    return stem == SESSION and (not number or number.isdigit())


def next_name(name: str, taken: Iterable[str]) -> str:
    """Return the name of the thread after this one: ``name.2``, then ``name.3``."""
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


def _turn_count(items: Iterable[Item]) -> int:
    return sum(1 for item in items if item.get("type") == "message" and item.get("role") == "assistant")
