"""The journal of a batch: a file to which each answer is appended as it comes, so that no run pays for it again.

A line of JSON each: a header, and what became of a question, by its key::

    {"codex_nb_journal": 1}
    {"asked": "9f2c…"}
    {"answered": "9f2c…", "text": "…", "status": "completed", "model": "…", "usage": [12, 0, 3, 0, 15], …}
    {"failed": "9f2c…", "error": "BadRequest"}

A key is a hash: the file holds answers, but no prompt and nothing of a login. A question that was asked and neither
answered nor failed was on its way when its run ended: it may have been paid for.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import fields, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any, BinaryIO

from codex_nb.errors import ConfigError
from codex_nb.files import LockState, try_lock, unlock
from codex_nb.parse import loads
from codex_nb.responses.events import Usage
from codex_nb.session.events import Answer
from codex_nb.session.turn import SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from codex_nb.errors import CodexError

HEADER = b'{"codex_nb_journal": 1}\n'
KEPT_STATUSES = frozenset({"completed", "incomplete"})  # what has been paid for, and would come out the same
_COUNTS = attrgetter(*(count.name for count in fields(Usage)))
_to_json = json.JSONEncoder(separators=(",", ":")).encode
LONGEST_LINE = 64 * 1024 * 1024
OPEN_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class Journal:
    """The answers to the questions of one batch, in a file of mode 0600 that one run at a time may write.

    ``parameters`` is all that an answer depends on besides its prompt. ``answers`` are those of earlier runs, None
    where a question is still to be asked; ``in_doubt`` counts the questions that were on their way when a run ended.
    Lines are appended by one write each: what was written outlives this process, though not a power failure before
    :meth:`close`.
    Raises ConfigError for a file that cannot be used, is no journal, or is being written by another run.
    """

    def __init__(self, path: Path, parameters: object, prompts: Sequence[str]) -> None:
        self._path = path
        self._keys = _keys(parameters, prompts)
        self.answers: list[Answer | None] = [None] * len(prompts)
        self.in_doubt = 0
        self._descriptor = self._open()
        try:
            self._read()
        except BaseException:
            os.close(self._descriptor)
            raise

    def _open(self) -> int:
        descriptor = -1
        try:
            # no open of a pipe may wait for its other end
            descriptor = os.open(self._path, OPEN_FLAGS | getattr(os, "O_NONBLOCK", 0), 0o600)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise self._unusable("it is not a regular file")
            if try_lock(descriptor) is LockState.HELD:
                raise self._unusable(
                    "another run is writing it",
                    hint="Wait for that run, or give each run a journal of its own.",
                )
            if hasattr(os, "fchmod"):
                os.fchmod(descriptor, 0o600)
        except OSError as error:
            if descriptor >= 0:
                os.close(descriptor)
            raise self._unusable(error.strerror or type(error).__name__) from error
        except ConfigError:
            os.close(descriptor)
            raise
        return descriptor

    def _read(self) -> None:
        """Take in what earlier runs have written, and end the line that the last of them may have left open."""
        indexes = {key: index for index, key in enumerate(self._keys)}
        doubtful: set[int] = set()
        ends_open = False
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            lines = _lines(file)
            header = next(lines, b"")
            if header != HEADER and not HEADER.startswith(header):
                raise self._unusable("it is not a journal of codex_nb", hint="Name a new file.")
            for line in lines:
                ends_open = not line.endswith(b"\n")
                self._take_in(line, indexes, doubtful)
        self.in_doubt = len(doubtful)
        if header != HEADER:
            self._write_bytes(HEADER[len(header) :])
        elif ends_open:
            self._write_bytes(b"\n")

    def _take_in(self, line: bytes, indexes: dict[str, int], doubtful: set[int]) -> None:
        try:
            entry = loads(line)
            (event, key), *_ = entry.items()
            index = indexes.get(key)
            if index is None:  # of another batch, or of prompts that are no longer asked
                return
            if event == "answered":
                self.answers[index] = _read_answer(entry)
        except (ValueError, TypeError, KeyError, AttributeError):
            return  # a line that was cut, or written by a program that does not know the format
        (doubtful.add if event == "asked" else doubtful.discard)(index)

    def parse(self, parse: Callable[[str], Any]) -> None:
        """Give the answers of earlier runs their values; one whose text has none is asked again."""
        for index, answer in enumerate(self.answers):
            if answer is not None and answer.status == "completed":
                try:
                    self.answers[index] = replace(answer, parsed=parse(answer.text))
                except SchemaMismatch:
                    self.answers[index] = None

    def asked(self, index: int) -> None:
        """Note that a question is about to be sent."""
        self._write_bytes(b'{"asked":"%s"}\n' % self._keys[index].encode("ascii"))  # a key needs no escapes

    def answered(self, index: int, answer: Answer) -> None:
        """Keep an answer; one that was cancelled stays in doubt."""
        if answer.status in KEPT_STATUSES:
            self._write({"answered": self._keys[index], **_fields(answer)})

    def failed(self, index: int, error: CodexError) -> None:
        """Note that a question has failed: it costs nothing to ask it again."""
        self._write({"failed": self._keys[index], "error": type(error).__name__})

    def close(self) -> None:
        """Let the next run have the file, once it is on disk."""
        with suppress(OSError):  # a file system that cannot flush; what was written is there all the same
            os.fsync(self._descriptor)
        with suppress(OSError):
            unlock(self._descriptor)  # a worker process may hold a copy of the descriptor
        os.close(self._descriptor)

    def _write(self, entry: dict[str, Any]) -> None:
        self._write_bytes(_to_json(entry).encode("ascii") + b"\n")

    def _write_bytes(self, line: bytes) -> None:
        try:
            is_whole = os.write(self._descriptor, line) == len(line)
        except OSError as error:
            raise self._unusable(error.strerror or type(error).__name__) from error
        if not is_whole:
            raise self._unusable("the disk is full", hint="Make room and run the cell again.")

    def _unusable(
        self, reason: str, *, hint: str = "Make room or name another file; the answers so far are kept."
    ) -> ConfigError:
        return ConfigError(
            f"The journal {self._path} cannot be used: {reason}.",
            path=str(self._path),
            key="journal",
            hint=hint,
        )


def kept_answer(answer: Answer) -> Answer:
    """Return an answer as a journal keeps it: without the response's items, which are most of its size."""
    return replace(answer, items=(), model=sys.intern(answer.model))


def _keys(parameters: object, prompts: Sequence[str]) -> list[str]:
    """Return a key for each prompt; equal prompts are questions of their own, told apart by their order."""
    written = json.dumps(parameters, sort_keys=True, default=str)
    root = hashlib.sha256(written.encode("utf-8", "replace") + b"\n")
    earlier: Counter[bytes] = Counter()
    keys = []
    for prompt in prompts:
        question = root.copy()
        question.update(prompt.encode("utf-8", "surrogatepass"))
        digest = question.digest()[:16]
        number = earlier[digest]
        earlier[digest] += 1
        keys.append(digest.hex() if number == 0 else f"{digest.hex()}.{number}")
    return keys


def _fields(answer: Answer) -> dict[str, Any]:
    written: dict[str, Any] = {
        "text": answer.text,
        "status": answer.status,
        "model": answer.model,
        "billing": answer.billing,
        "request_id": answer.request_id,
        "usage": _COUNTS(answer.usage),
    }
    return written | ({"reasoning": answer.reasoning} if answer.reasoning else {})


def _read_answer(entry: dict[str, Any]) -> Answer:
    """Read an answer; raises for an entry that is none, for the file may come from elsewhere."""
    status, usage, request_id = entry["status"], entry["usage"], entry["request_id"]
    if status not in KEPT_STATUSES or not all(type(count) is int for count in usage):
        raise ValueError(status)
    return Answer(
        text=_text(entry["text"]),
        reasoning=_text(entry.get("reasoning", "")),
        status=status,
        usage=Usage(*usage),
        model=sys.intern(_text(entry["model"])),
        request_id=None if request_id is None else _text(request_id),
        billing=sys.intern(_text(entry["billing"])),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file; of one that is longer than any answer, its pieces."""
    while line := file.readline(LONGEST_LINE):
        yield line
