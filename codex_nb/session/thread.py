"""Threads: one conversation's history in memory, and on disk as JSON lines readable by their owner only."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from codex_nb.errors import BadRequest, ContextWindowExceeded
from codex_nb.responses.events import ResponseFinished
from codex_nb.session.events import Notice
from codex_nb.session.outbound import (
    Item,
    answer_text,
    assistant_message,
    call_output,
    compaction_trigger,
    is_call,
    new_uuid,
    received,
    tokens_of,
    user_message,
)
from codex_nb.session.thread_file import (
    ABORTED_NOTE,
    ABORTED_OUTPUT,
    COMPACTION_ITEMS,
    SUMMARY,
    SavedThread,
    ThreadFile,
    ThreadInfo,
    delete_threads,
    first_question,
    saved_questions,
    saved_threads,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Sequence
    from pathlib import Path

    from codex_nb.auth.credentials import Credentials
    from codex_nb.responses.events import ResponseEvent
    from codex_nb.responses.request import Backend, Outbound, ResponsesRequest
    from codex_nb.session.outbound import Redactor, TurnRedactor


class Thread:
    """A thread: the items of all its turns, and the name by which the user finds it.

    ``turn_lock`` makes turns of one thread follow each other; only its holder begins an exchange. ``items`` are the
    committed history, and ``sent_digests`` the digests of the notebook parts in it, which need not be sent again.
    ``file`` saves every change. ``question`` is the beginning of the first question, which a compaction keeps;
    ``model`` answered last.
    """

    def __init__(
        self,
        name: str,
        *,
        thread_id: str | None = None,
        items: Iterable[Outbound] = (),
        file: ThreadFile | None = None,
        sent_digests: Iterable[str] = (),
        question: str = "",
        model: str = "",
    ) -> None:
        self.name = name
        self.model = model
        self.question = question
        self.thread_id = thread_id or new_uuid()
        self.turn_lock = asyncio.Lock()
        self.told: set[str] = set()  # what notices have said of the notebook in this session
        self.items = tuple(items)
        self.sent_digests = frozenset(sent_digests)
        self._file = file
        self._redactor: Redactor | None = None  # has removed what it knows from so many items:
        self._clean_count = 0

    def needs_compaction(self, window: int | None) -> bool:
        """Whether the history fills too much of the model's context window (in tokens)."""
        return size_of(self.items) > FULLNESS * (window or WINDOW)

    def begin(self, items: Sequence[Outbound], sent_digests: Iterable[str] = (), model: str = "") -> Exchange:
        """Open an exchange with its first items: instructions, context, the user's message."""
        return Exchange(self, items, frozenset(sent_digests), model)

    def replace(self, items: Sequence[Outbound], sent_digests: Iterable[str] = ()) -> None:
        """Replace the history by a compacted one, with the digests that still hold."""
        self.items = tuple(items)
        self.sent_digests = frozenset(sent_digests)
        self._clean_count = 0
        if self._file is not None:
            self._file.rewrite(self._saved(self.items, self.sent_digests))

    def _saved(self, items: Sequence[Outbound], sent_digests: Collection[str]) -> SavedThread:
        return SavedThread(self.thread_id, items, sent_digests, self.question, self.model)

    def redact(self, redact: TurnRedactor) -> None:
        """Remove from the history, and from its file, what has been found secret since it was sent."""
        clean = self.items[: self._clean_count] if redact.redactor is self._redactor else ()
        items, before = (*clean, *redact.items(self.items[len(clean) :])), self.question
        self.question = redact.redactor.without_known(before)
        if items != self.items or self.question != before:
            self.replace(items, self.sent_digests)
        self._redactor, self._clean_count = redact.redactor, len(items)

    def accept(self, items: Sequence[Outbound], sent_digests: frozenset[str], model: str) -> None:
        """Add a finished exchange to the history."""
        new = sent_digests - self.sent_digests
        self.model = model or self.model
        self.question = self.question or first_question(items)
        self.items = (*self.items, *items)
        self.sent_digests |= sent_digests
        if self._file is not None:
            self._file.append(self._saved(items, new))

    @property
    def is_saved(self) -> bool:
        """Whether the thread is on disk, and outlasts this process."""
        return self._file is not None

    def take_problem(self) -> str | None:
        """Return, once, why the last exchange could not be saved; the thread goes on in memory."""
        return self._file.take_problem() if self._file is not None else None

    def detach(self) -> None:
        """Save nothing from now on."""
        self._file = None

    @property
    def is_idle(self) -> bool:
        """Whether no turn uses the thread and its file holds all of it."""
        return self._file is not None and not self._file.has_unsaved and not self.turn_lock.locked()


class Exchange:
    """The items of one turn until they are committed; closed by the first commit or abort."""

    def __init__(
        self, thread: Thread, items: Sequence[Outbound], sent_digests: frozenset[str], model: str = ""
    ) -> None:
        self._thread = thread
        self._model = model
        self._items = list(items)
        self._start = len(self._items)
        self._sent_digests = sent_digests
        self._open = True

    @property
    def input(self) -> tuple[Outbound, ...]:
        """What the next request of the turn sends."""
        return (*self._thread.items, *self._items)

    def redact(self, redact: TurnRedactor) -> None:
        """Remove from the exchange and the history what has been found secret since it was sent."""
        self._items = list(redact.items(self._items))
        self._thread.redact(redact)

    def add(self, items: Iterable[Outbound]) -> None:
        """Add the model's items, or the outputs of its calls."""
        self._items.extend(items)

    def commit(self) -> None:
        """Make the exchange part of the history; calls without an output are answered as aborted."""
        if self._open:
            self._open = False
            self._thread.accept(answer_orphans(self._items), self._sent_digests, self._model)

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
            self._thread.accept([*items, user_message(ABORTED_NOTE)], self._sent_digests, self._model)


def answer_orphans(items: Sequence[Outbound]) -> list[Outbound]:
    """Return the items, followed by an output for every call that has none."""
    answered = {item.get("call_id") for item in items if str(item.get("type", "")).endswith("_output")}
    orphans = [item for item in items if is_call(item) and item["call_id"] not in answered]
    return [*items, *(call_output(orphan, ABORTED_OUTPUT) for orphan in orphans)]


SESSION = "session"
MOST_OPEN = 32  # threads in memory that no turn uses and that can be read again


class ThreadStore:
    """The threads of one CODEX_HOME; each is opened once and shared while it is in use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, Thread] = {}  # the last used one last

    def open(self, name: str) -> Thread:
        """Return the thread of this name, as it was saved, or a new one."""
        thread = self._open.pop(name, None) or self._read(name)
        self._open[name] = thread
        for idle in [each for each in self._open.values() if each.is_idle][:-MOST_OPEN]:
            del self._open[idle.name]
        return thread

    def names(self) -> tuple[str, ...]:
        """Return the names of all threads, the saved ones and those in memory."""
        return tuple(self.questions())

    def questions(self) -> dict[str, str]:
        """Return the first question of each thread, by its name."""
        return {each.name: each.question for each in self._used()} | dict(saved_questions(self._folder))

    def threads(self) -> tuple[ThreadInfo, ...]:
        """Return all threads, the last used one first."""
        infos = {
            each.name: ThreadInfo(each.name, 0.0, _turn_count(each.items), 0, each.question, each.model)
            for each in self._used()
        } | {info.name: info for info in saved_threads(self._folder)}
        return tuple(sorted(infos.values(), key=lambda info: info.used_at, reverse=True))

    def fork(self, name: str, new_name: str) -> None:
        """Copy a thread as it is now to a name that no thread has."""
        copy, original = self.open(new_name), self.open(name)
        copy.question, copy.model = original.question, original.model
        copy.replace(original.items, original.sent_digests)

    def forget(self, name: str | None) -> None:
        """Delete a thread, None for all; a turn that still uses it is not saved. Raises OSError."""
        for each in [name] if name is not None else list(self._open):
            if (thread := self._open.pop(each, None)) is not None:
                thread.detach()
        delete_threads(self._folder, name)

    def _used(self) -> list[Thread]:
        # a copy: the engine's thread may open a thread meanwhile
        return [thread for thread in self._open.copy().values() if _turn_count(thread.items)]

    def _read(self, name: str) -> Thread:
        if _is_unsaved(name):
            return Thread(name)
        file = ThreadFile(self._folder, name)
        saved = file.read()
        if saved is None:
            return Thread(name, file=file)
        return Thread(
            name,
            thread_id=saved.thread_id,
            items=received(saved.items),
            sent_digests=saved.sent_digests,
            question=saved.question,
            model=saved.model,
            file=file,
        )


def notebook_thread(path: str | None) -> str:
    """Return the name of a notebook's own thread; without a notebook, the session's, which is not saved."""
    if path is None:
        return SESSION
    stem = path.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".ipynb")
    # a path that is not UTF-8 comes with surrogates
    digest = hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{stem.encode('utf-8', 'replace').decode()}-{digest[:6]}"


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


def _turn_count(items: Iterable[Item]) -> int:
    return sum(1 for item in items if item.get("type") == "message" and item.get("role") == "assistant")


FULLNESS = 0.75
WINDOW = 200_000
IMAGE_TOKENS = 1_500
_KEPT_DIGESTS = ("instructions:", "AGENTS.md:", "answered:", "account:")
_ASK = """\
Context checkpoint compaction: write a summary of this conversation for the assistant that takes it over and sees \
nothing else of it. Name what was asked, what was found (with the numbers that matter), what was decided, which \
variables and cells matter, and what is still open. No preamble."""


def size_of(items: Sequence[Item]) -> int:
    """Estimate the tokens of a history; an image counts as a fixed number."""
    total = 0
    for item in items:
        content = item.get("content")
        parts = content if isinstance(content, list) else []
        images = [part for part in parts if isinstance(part, dict) and part.get("type") == "input_image"]
        slim = {**item, "content": [part for part in parts if part not in images]} if images else item
        total += tokens_of(json.dumps(slim, ensure_ascii=False)) + IMAGE_TOKENS * len(images)
    return total


class Compactor:
    """Compacts threads; remembers whether the backend supports the compaction trigger.

    ``stream`` sends a request and yields the events of its response.
    """

    def __init__(self, stream: Callable[[ResponsesRequest], AsyncGenerator[ResponseEvent, None]]) -> None:
        self._stream = stream
        self._supports_trigger = True

    async def compact(self, thread: Thread, template: ResponsesRequest) -> Notice:
        """Replace a thread's history by a short one; return the notice of it."""
        items = thread.items
        compacted = await self._by_backend(items, template) if self._supports_trigger else None
        if compacted is None:
            compacted = await self._by_summary(items, template)
        instructions = [item for item in items if item.get("role") == "developer"]
        thread.replace(
            [*instructions, compacted],
            [each for each in thread.sent_digests if each.startswith(_KEPT_DIGESTS)],
        )
        before, after = size_of(items), size_of(thread.items)
        return Notice("compacted", f"The thread was compacted: about {before:,} → {after:,} tokens.")

    async def _by_backend(self, items: Sequence[Outbound], template: ResponsesRequest) -> Outbound | None:
        request = replace(template, input=(*items, compaction_trigger()), text_format=None)
        try:
            finished = await self._finish(request)
        except ContextWindowExceeded:
            return None
        except BadRequest:
            self._supports_trigger = False
            return None
        compacted = received(item for item in finished.items if item.get("type") in COMPACTION_ITEMS)
        self._supports_trigger = len(compacted) == 1
        return compacted[0] if self._supports_trigger else None

    async def _by_summary(self, items: Sequence[Outbound], template: ResponsesRequest) -> Outbound:
        """Ask for a summary; where even that does not fit, of the newer half, and so on."""
        while True:
            request = replace(template, input=(*items, user_message(_ASK)), tools=(), text_format=None)
            try:
                finished = await self._finish(request)
            except ContextWindowExceeded:
                items = newer_half(items)
                if not items:
                    raise
                continue
            text = answer_text(finished.items) or finished.text
            return user_message(SUMMARY.format(summary=text.strip()))

    async def _finish(self, request: ResponsesRequest) -> ResponseFinished:
        async with aclosing(self._stream(request)) as events:
            async for event in events:
                if isinstance(event, ResponseFinished):
                    return event
        raise BadRequest(
            "The thread is too long, and the request for a summary of it got no response.",
            hint="Start a new thread with %codex new, or ask again.",
        )


def newer_half(items: Sequence[Outbound]) -> tuple[Outbound, ...]:
    """Return the newer half of a history, from a user message on, so that no call loses its output."""
    middle = len(items) // 2
    for index in range(max(1, middle), len(items)):
        if items[index].get("type") == "message" and items[index].get("role") == "user":
            return tuple(items[index:])
    return ()


def account_digest(credentials: Credentials, provider: Backend) -> str:
    """Return the digest that marks a thread as used by this account of this provider."""
    whose = f"{credentials.identity_key} {provider.provider_id} {provider.base_url}"
    return f"account:{hashlib.sha256(whose.encode('utf-8', 'replace')).hexdigest()[:16]}"


def switch_account(thread: Thread, own: str) -> list[Notice]:
    """Let an account, given by its digest, continue a thread that another one began; return the notice of it."""
    known = {each for each in thread.sent_digests if each.startswith("account:")}
    if not known or known == {own}:
        return []
    thread.replace(strip_encrypted_items(thread.items), [*(thread.sent_digests - known), own])
    return [
        Notice("hint", "A different account or provider began this thread: its encrypted items were removed.")
    ]


def strip_encrypted_items(items: Sequence[Item]) -> tuple[Outbound, ...]:
    """Return a history without what is encrypted for the account that it was begun with.

    The ids of the other items go, too: the backend would look for the reasoning that belonged to them.
    """
    encrypted = {"reasoning", *COMPACTION_ITEMS}
    return received(
        {key: value for key, value in item.items() if key != "id"}
        for item in items
        if item.get("type") not in encrypted
    )
