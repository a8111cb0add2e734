"""The answer cache: an unchanged question gets its cached answer, without a request."""

from __future__ import annotations

import functools
import hashlib
import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from codex_nb.files import TEMPORARY_SUFFIX, Retention, remove_excess, replace_file
from codex_nb.parse import loads
from codex_nb.responses.events import Usage
from codex_nb.session.events import Answer, Notice, ReasoningDone, TextDone, TurnFinished
from codex_nb.session.outbound import assistant_message, message_text, reasoning_text, user_message
from codex_nb.session.thread import account_digest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from pydantic import TypeAdapter

    from codex_nb.auth.credentials import Credentials
    from codex_nb.responses.request import Backend, ResponsesRequest
    from codex_nb.session.events import TurnEvent, TurnStarted
    from codex_nb.session.prompt import TurnRequest
    from codex_nb.session.thread import Thread


KEPT = Retention(files=1_000, total_bytes=200_000_000, age_s=90 * 86_400)
LARGEST = 64_000_000
_VERSION = 2  # also part of every key: answers of older releases are not found
_CACHED_ITEMS = frozenset({"message", "reasoning"})


@dataclass(frozen=True)
class CacheKey:
    """The identity of a question: a hash of all that its answer depends on, apart from the model's randomness.

    Only :func:`cache_key` makes one: from the content, the account, the provider, the model and the instructions.
    """

    value: str

    @property
    def digest(self) -> str:
        """What a thread that holds the answer notes of it."""
        return f"answered:{self.value[:16]}"


@dataclass(frozen=True)
class CachedAnswer:
    """An answer given before; ``at`` is Unix seconds."""

    answer: Answer
    at: float
    key: CacheKey


class AnswerCache:
    """Answers by key; ``folder`` None keeps them in memory only. Unreadable files count as absent."""

    def __init__(self, folder: Path | None, *, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock
        self._memory: dict[CacheKey, CachedAnswer] = {}

    def find(self, key: CacheKey) -> CachedAnswer | None:
        """Return the cached answer to a question."""
        if (path := self._path(key)) is None:
            return self._memory.get(key)
        return _read(path, key)

    def update(self, key: CacheKey, answer: Answer) -> None:
        """Cache a completed answer; one that did more than write text removes what an earlier run cached."""
        if answer.status != "completed":
            return
        if not is_cacheable(answer):
            self._forget(key)
            return
        answer = replace(answer, parsed=None)  # the user's object, which need not be one that can be copied
        if (path := self._path(key)) is None:
            self._memory[key] = CachedAnswer(answer, self._clock(), key)
            for oldest in list(self._memory)[: -KEPT.files]:
                del self._memory[oldest]
            return
        with suppress(Exception):  # the answer itself is complete, and must not be lost to its copy
            self._write(path, answer)

    def forget(self, thread: str | None) -> int:
        """Delete the answers given in a thread, None for all; return how many there were. Raises OSError."""

        def is_meant(cached: CachedAnswer | None) -> bool:
            return thread is None or (cached is not None and cached.answer.thread == thread)

        in_memory = [key for key, cached in self._memory.items() if is_meant(cached)]
        for key in in_memory:
            del self._memory[key]
        folder = self._folder
        files = list(folder.glob("*.json")) if folder is not None else []
        on_disk = [path for path in files if is_meant(_read(path, CacheKey(path.stem)))]
        torn = folder.glob(f".*{TEMPORARY_SUFFIX}") if folder is not None and thread is None else ()
        for path in (*on_disk, *torn):
            path.unlink(missing_ok=True)
        return len(in_memory) + len(on_disk)

    def _forget(self, key: CacheKey) -> None:
        self._memory.pop(key, None)
        if (path := self._path(key)) is not None:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _path(self, key: CacheKey) -> Path | None:
        return None if self._folder is None else self._folder / f"{key.value}.json"

    def _write(self, path: Path, answer: Answer) -> None:
        stored = {"version": _VERSION, "at": self._clock(), "answer": asdict(answer)}
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, json.dumps(stored, ensure_ascii=False).encode("utf-8", "replace"), flush=False)
        remove_excess(path.parent, ("*.json",), KEPT)


def _read(path: Path, key: CacheKey) -> CachedAnswer | None:
    """Return the answer in a file; None for a file that is torn, too large, too deep or of another shape."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        if path.stat().st_size > LARGEST:
            return None
        stored = loads(path.read_bytes())
        if stored["version"] == _VERSION:
            return CachedAnswer(_adapter().validate_python(stored["answer"]), float(stored["at"]), key)
    return None


@functools.cache
def _adapter() -> TypeAdapter[Answer]:
    from pydantic import TypeAdapter

    return TypeAdapter(Answer)


def is_cacheable(answer: Answer) -> bool:
    """Whether an answer is text alone: no tool call, no search, no code."""
    is_text = all(item.get("type") in _CACHED_ITEMS for item in answer.items)
    return answer.status == "completed" and not answer.tool_calls and is_text


def cache_key(
    request: TurnRequest,
    template: ResponsesRequest,
    *,
    account: Credentials,
    provider: Backend,
    instructions: str,
) -> CacheKey:
    """Return the key of a question; ``template`` has the model, the offered tools and the requested text format."""
    parts = {
        "version": _VERSION,
        "account": account.identity_key,
        "provider": [provider.provider_id, provider.base_url, dict(provider.query), dict(provider.headers)],
        "model": [
            request.model,
            template.model,
            template.effort,
            template.summary,
            template.verbosity,
            template.service_tier,
        ],
        "thread": request.thread,
        "earlier": request.earlier,
        "instructions": instructions,
        "context": request.context.fingerprint if request.context else None,
        "images": [hashlib.sha256(image.encode()).hexdigest() for image in request.images],
        "data": request.data,
        "tools": list(template.tools),
        "schema": template.text_format,
        "prompt": request.prompt,
    }
    written = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return CacheKey(hashlib.sha256(written.encode("utf-8", "replace")).hexdigest()[:40])


async def cached_events(
    cached: CachedAnswer, started: TurnStarted, thread: Thread, *, prompt: str, account: Credentials
) -> AsyncGenerator[TurnEvent, None]:
    """Yield the events of a turn that shows a cached answer, and add it to a thread that does not hold it."""
    answer, digest = cached.answer, cached.key.digest
    if digest not in thread.sent_digests:
        exchange = thread.begin([user_message(prompt)], [digest, account_digest(account)], started.model)
        exchange.add([assistant_message(answer.text)])
        exchange.commit()
    yield started
    moment = time.strftime("%Y-%m-%d %H:%M", time.localtime(cached.at))
    yield Notice("cached", f"Saved answer from {moment}; no request was made. Use --fresh to ask again.")
    for number, item in enumerate(answer.items):
        if summary := reasoning_text(item):
            yield ReasoningDone(f"stored_{number}", summary)
        elif text := message_text(item):
            yield TextDone(f"stored_{number}", text)
    yield TurnFinished(replace(answer, thread=thread.name, usage=Usage()))
