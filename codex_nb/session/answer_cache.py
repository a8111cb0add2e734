"""The answer cache: a question that has not changed gets its stored answer, without a request."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codex_nb.responses.request import choose_backend
from codex_nb.session.compaction import account_digest
from codex_nb.session.events import Answer, Notice, ReasoningDone, TextDone, ToolCall, TurnFinished, Usage
from codex_nb.session.items import assistant_message, message_text, reasoning_text, user_message
from codex_nb.words import conversation as words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from codex_nb.session.events import TurnEvent
    from codex_nb.session.resolved_turn import ResolvedTurn


MOST_ANSWERS = 1_000
_VERSION = 2  # also part of every key: answers that older releases stored are not found
_WORDS = frozenset({"message", "reasoning"})


@dataclass(frozen=True)
class CachedAnswer:
    """An answer that was given before; ``at`` is Unix seconds."""

    answer: Answer
    at: float
    key: str


class AnswerCache:
    """Answers by question; ``folder`` None keeps them in memory only. Unreadable files count as absent."""

    def __init__(self, folder: Path | None, *, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock
        self._memory: dict[str, CachedAnswer] = {}

    def find(self, key: str) -> CachedAnswer | None:
        """Return the stored answer of a question."""
        if self._folder is not None:
            with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
                return _read(json.loads((self._folder / f"{key}.json").read_bytes()), key)
        return self._memory.get(key)

    def keep(self, key: str, answer: Answer) -> None:
        """Store an answer, without its value; whatever prevents that costs only the next run's saving."""
        answer = replace(answer, parsed=None)  # the user's object, which need not be one that can be copied
        if self._folder is None:
            self._memory[key] = CachedAnswer(answer, self._clock(), key)
            return
        with suppress(Exception):  # the answer itself is complete, and must not be lost to its copy
            self._write(self._folder, key, answer)

    def forget(self, key: str) -> None:
        """Remove the stored answer of a question."""
        self._memory.pop(key, None)
        if self._folder is not None:
            with suppress(OSError):
                (self._folder / f"{key}.json").unlink(missing_ok=True)

    def _write(self, folder: Path, key: str, answer: Answer) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        stored = {"version": _VERSION, "at": self._clock(), "answer": asdict(answer)}
        content = json.dumps(stored, ensure_ascii=False)
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".answer-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content.encode("utf-8", "replace"))
            Path(temporary).replace(folder / f"{key}.json")
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        kept = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in kept[MOST_ANSWERS:]:
            path.unlink(missing_ok=True)


def _read(stored: dict[str, Any], key: str) -> CachedAnswer | None:
    if stored["version"] != _VERSION:
        return None
    fields = stored["answer"]
    answer = Answer(
        **fields
        | {
            "items": tuple(fields["items"]),
            "tool_calls": tuple(ToolCall(**call) for call in fields["tool_calls"]),
            "usage": Usage(**fields["usage"]),
        }
    )
    return CachedAnswer(answer, float(stored["at"]), key)


def is_cacheable(answer: Answer) -> bool:
    """Whether a complete answer is what the model said and nothing that happened: no call, no search, no code."""
    said = all(item.get("type") in _WORDS for item in answer.items)
    return answer.status == "completed" and not answer.tool_calls and said


def cache_key(
    resolved: ResolvedTurn, *, tools: Sequence[Mapping[str, Any]], schema: object, instructions: str
) -> str:
    """Return the identity of a question: a hash of all that its answer depends on, apart from the model's luck.

    ``tools`` are the declarations of what is offered, ``schema`` the format of the value that is asked for.
    """
    request, template, credentials = resolved.request, resolved.template, resolved.credentials
    backend = choose_backend(resolved.settings, is_chatgpt_auth=credentials.is_chatgpt_backend)
    parts = {
        "version": _VERSION,
        "account": credentials.identity_key,
        "provider": [backend.provider_id, backend.base_url, dict(backend.query), dict(backend.headers)],
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
        "tools": list(tools),
        "schema": schema,
        "prompt": request.prompt,
    }
    written = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(written.encode("utf-8", "replace")).hexdigest()[:40]


def cached_events(stored: CachedAnswer, resolved: ResolvedTurn, prompt: str) -> Iterator[TurnEvent]:
    """Yield the events of a turn that shows a stored answer; a thread that has not heard of it is told.

    No token is used.
    """
    answer, thread = stored.answer, resolved.thread
    fact = f"answered:{stored.key[:16]}"
    if fact not in thread.sent_digests:
        exchange = thread.begin([user_message(prompt)], [fact, account_digest(resolved.credentials)])
        exchange.add([assistant_message(answer.text)])
        exchange.commit()
    yield resolved.started
    yield Notice("cached", words.stored_answer(_when(stored.at)))
    for number, item in enumerate(answer.items):
        if summary := reasoning_text(item):
            yield ReasoningDone(f"stored_{number}", summary)
        elif text := message_text(item):
            yield TextDone(f"stored_{number}", text)
    yield TurnFinished(replace(answer, thread=thread.name, usage=Usage()))


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
