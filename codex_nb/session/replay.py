"""Run All is safe and free: an answered question that has not changed gets its stored answer, without a request.

A question is the same when its words, its options, and what it depends on of the notebook are the same. The answers lie
in CODEX_HOME, readable by their owner only; like all that is kept, they have passed the redaction.
"""

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

from codex_nb.session.answer import Answer, ToolCall, Usage
from codex_nb.session.events import Notice, TextDone, TurnFinished, TurnStarted
from codex_nb.session.items import assistant_message, new_uuid, user_message
from codex_nb.words import conversation as words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from codex_nb.session.conversation import Conversation
    from codex_nb.session.events import TurnEvent
    from codex_nb.session.request import TurnRequest

MOST_ANSWERS = 1_000
_VERSION = 1


@dataclass(frozen=True)
class StoredAnswer:
    """An answer that was given before; ``at`` is Unix seconds."""

    answer: Answer
    at: float
    key: str


class AnswerStore:
    """Answers by question; ``folder`` None keeps them in memory only. Unreadable files count as absent."""

    def __init__(self, folder: Path | None, *, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock
        self._memory: dict[str, StoredAnswer] = {}

    def find(self, key: str) -> StoredAnswer | None:
        """Return the stored answer of a question."""
        if key not in self._memory and self._folder is not None:
            with suppress(OSError, ValueError, TypeError, KeyError):
                self._memory[key] = _read(json.loads((self._folder / f"{key}.json").read_bytes()), key)
        return self._memory.get(key)

    def keep(self, key: str, answer: Answer) -> None:
        """Store an answer; a disk that cannot be written to costs only the next run's saving."""
        self._memory[key] = StoredAnswer(answer, self._clock(), key)
        if self._folder is not None:
            with suppress(OSError):
                self._write(self._folder, key, answer)

    def _write(self, folder: Path, key: str, answer: Answer) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fields = asdict(answer) | {"parsed": None}
        content = json.dumps({"version": _VERSION, "at": self._clock(), "answer": fields}, ensure_ascii=False)
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".answer-")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode("utf-8", "replace"))
        Path(temporary).replace(folder / f"{key}.json")
        kept = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in kept[MOST_ANSWERS:]:
            path.unlink(missing_ok=True)


def _read(stored: dict[str, Any], key: str) -> StoredAnswer:
    fields = stored["answer"]
    answer = Answer(
        **fields
        | {
            "items": tuple(fields["items"]),
            "tool_calls": tuple(ToolCall(**call) for call in fields["tool_calls"]),
            "usage": Usage(**fields["usage"]),
        }
    )
    return StoredAnswer(answer, float(stored["at"]), key)


def question_key(request: TurnRequest, *, model: str | None, schema: object, instructions: str) -> str:
    """Return the identity of a question: a hash of all that its answer depends on, apart from the model's luck."""
    parts = {
        "prompt": request.prompt,
        "context": request.context.fingerprint if request.context else None,
        "model": request.model or model,
        "effort": request.effort,
        "thread": request.thread,
        "tools": sorted(tool.name for tool in request.tools),
        "images": [hashlib.sha256(image.encode()).hexdigest() for image in request.images],
        "schema": schema,
        "instructions": instructions,
        "data": request.data,
    }
    written = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(written.encode("utf-8", "replace")).hexdigest()[:40]


def replayed(stored: StoredAnswer, conversation: Conversation, prompt: str) -> Iterator[TurnEvent]:
    """Yield the events of a turn that shows a stored answer; a thread that has not heard of it is told.

    Tools that the first run called are not called again, and no token is used.
    """
    answer = stored.answer
    fact = f"answered:{stored.key[:16]}"
    if fact not in conversation.facts:
        exchange = conversation.begin([user_message(prompt)], facts=[fact])
        exchange.add([assistant_message(answer.text)])
        exchange.commit()
    yield TurnStarted(
        new_uuid(), conversation.name, answer.model, effort=None, account="", plan="", billing=answer.billing
    )
    yield Notice("replayed", words.stored_answer(_when(stored.at)))
    yield TextDone("stored", answer.text)
    yield TurnFinished(replace(answer, thread=conversation.name, usage=Usage()))


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
