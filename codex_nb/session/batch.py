"""Many questions at once: in order, a few at a time, waiting for rate limits, ended by an error that all would meet.

The questions run on this process's own engine, or on an executor: anything with the ``submit`` of
``concurrent.futures``, such as a cluster's.

The journal of a batch is a file to which each answer is appended as it comes, so that no run pays for it again. A line
of JSON each: a header, and what became of a question, by its key::

    {"codex_nb_journal": 1}
    {"asked": "9f2c…"}
    {"answered": "9f2c…", "text": "…", "status": "completed", "model": "…", "usage": [12, 0, 3, 0, 15], …}
    {"failed": "9f2c…", "error": "BadRequest"}

A key is a hash: the file holds answers, but no prompt and nothing of a login. A question that was asked and neither
answered nor failed was on its way when its run ended: it may have been paid for.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import math
import os
import stat
import sys
from collections import Counter, deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, Protocol

from codex_nb.errors import AuthError, CodexError, ConfigError, QuotaExceeded, UsageLimitReached
from codex_nb.files import LockState, try_lock, unlock
from codex_nb.labels import date_time
from codex_nb.parse import loads
from codex_nb.responses.events import Usage
from codex_nb.session.events import Answer
from codex_nb.session.outbound import tokens_of
from codex_nb.session.structured_output import SchemaMismatch
from codex_nb.tools.introspection import library_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from codex_nb.responses.events import RateLimits
    from codex_nb.responses.models import PriceTable

    Future = concurrent.futures.Future[Any]


TICK_S = 0.1
# Messages in five hours, the upper ends of what OpenAI's page on Codex pricing gives as a guide; a question of a batch
# is rather a small message. Nothing tells it more exactly before the first answers.
QUESTIONS_OF_A_PLAN = {"plus": 225, "team": 225, "business": 225, "edu": 225, "pro": 1_500}
FEWEST_TO_ESTIMATE = 20  # fewer questions are not worth a request for the limits
FEWEST_DOLLARS = 1.0  # less is not worth a word
TOKENS_OF_AN_ANSWER = 300
# After these every other question would fail, too.
_FATAL = (AuthError, UsageLimitReached, QuotaExceeded, ConfigError)
LONGEST_REASON = 200
ASK_AGAIN = "Ask this question again."

Outcome = Answer | CodexError


class Executor(Protocol):
    """Where questions run: ``concurrent.futures.Executor`` and everything that looks like it."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
        """Begin a call and return its future."""
        ...


@dataclass(frozen=True)
class Progress:
    """How far a batch is.

    ``done`` counts the failed ones, too; ``waiting_s`` is how long it still waits for a rate limit; ``tokens`` is what
    its answers have used, those of earlier runs left out.
    """

    done: int
    total: int
    failed: int = 0
    waiting_s: float = 0.0
    tokens: int = 0


@dataclass
class Batch:
    """The questions of one call, and their outcomes.

    ``begin`` begins to ask a prompt; its future has an Answer, or a CodexError as its result or exception, after all
    retries. What else comes of it is the executor's own failure: that question's, and no other's. With ``parse``, which
    raises SchemaMismatch, completed answers are given their values here.
    ``wait`` is called on this thread while nothing can be started, and may serve widgets and calls meanwhile; ``wake``
    is called on any thread, to end such a wait. ``waiting_s`` tells how long a rate limit still lasts. A
    KeyboardInterrupt ends the batch: outcomes so far are returned, the rest are answers with the status "cancelled".
    A ``journal`` has the answers of earlier runs and takes those of this one, each before the next question begins.
    The cost per question does not depend on their number.
    """

    prompts: tuple[str, ...]
    begin: Callable[[str], Future]
    wait: Callable[[Collection[Future], float], None]
    concurrency: int = 8
    on_error: Literal["raise", "return"] = "raise"
    on_progress: Callable[[Progress], None] = lambda _progress: None
    wake: Callable[[], None] = lambda: None
    waiting_s: Callable[[], float] = lambda: 0.0
    journal: Journal | None = None
    parse: Callable[[str], Any] | None = None
    _settled: int = field(default=0, init=False)
    _failed: int = field(default=0, init=False)
    _tokens: int = field(default=0, init=False)
    _to_ask: Iterator[int] = field(init=False)
    _running: dict[Future, int] = field(default_factory=dict, init=False)
    _finished: deque[Future] = field(default_factory=deque, init=False)
    _outcomes: list[Outcome | None] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ConfigError(
                "map: concurrency must be at least 1.",
                key="concurrency",
                hint="Leave it out for the default of 8.",
            )
        answers = [None] * len(self.prompts) if self.journal is None else self.journal.answers
        self._outcomes = list(answers)
        self._settled = sum(known is not None for known in answers)
        self._to_ask = (index for index, known in enumerate(self._outcomes) if known is None)

    def run(self) -> list[Outcome]:
        """Ask everything; return :meth:`outcomes`, which are complete up to an error that is raised."""
        self._report()
        try:
            while self._settled < len(self.prompts):
                self._begin()
                self.wait(self._running.keys(), 0.0 if self._finished else TICK_S)
                self._collect()
        except KeyboardInterrupt:
            pass  # the caller wants what there is
        finally:
            self._stop()
        return self.outcomes()

    def outcomes(self) -> list[Outcome]:
        """Return the outcome of each prompt so far, in order; a prompt without one is "cancelled"."""
        return [Answer("", status="cancelled") if outcome is None else outcome for outcome in self._outcomes]

    def _begin(self) -> None:
        while len(self._running) < self.concurrency and (index := next(self._to_ask, None)) is not None:
            if self.journal is not None:
                self.journal.asked(index)
            try:
                future = self.begin(self.prompts[index])
            except Exception as error:  # noqa: BLE001  (the executor's own, such as a pool that has broken)
                future = concurrent.futures.Future()
                future.set_exception(error)
            self._running[future] = index
            future.add_done_callback(self._note_done)

    def _note_done(self, future: Future) -> None:
        self._finished.append(future)
        self.wake()

    def _collect(self) -> None:
        while self._finished:
            future = self._finished[0]
            index, error = self._running[future], self._settle(future)
            del self._running[self._finished.popleft()]
            self._report()
            if error is not None and self.on_error == "raise":
                answered = self._settled - self._failed
                error.add_note(
                    f"Prompt {index + 1} of {len(self.prompts)} failed. The {answered} answers so far are in the "
                    "error's .answers (in a notebook: sys.last_value.answers)."
                )
                raise error
            if isinstance(error, _FATAL):
                for never_asked in self._to_ask:
                    self._put(never_asked, error)
                self._report()
        if self.waiting_s():
            self._report()

    def _settle(self, future: Future) -> CodexError | None:
        """Store a future's outcome; return the error that it ended with."""
        index, outcome = self._running[future], self._outcome(future)
        if isinstance(outcome, Answer):
            self._answered(index, outcome)
            return None
        self._put(index, outcome if self.on_error == "raise" else outcome.bare())
        if self.journal is not None:
            self.journal.failed(index, outcome)
        return outcome

    def _outcome(self, future: Future) -> Outcome:
        try:
            outcome = future.result()
            if isinstance(outcome, Answer | CodexError):
                return with_value(outcome, self.parse)
        except CodexError as error:
            return error
        except (Exception, SystemExit) as error:  # noqa: BLE001  (the executor's own, such as a worker that died)
            return _lost(error)
        return CodexError(f"The executor gave no Answer, but {type(outcome).__name__}.", hint=ASK_AGAIN)

    def _answered(self, index: int, answer: Answer) -> None:
        """Keep an answer before it is written: a journal that cannot be written loses nothing."""
        self._tokens += answer.usage.total_tokens
        if self.journal is None:
            self._put(index, answer)
        else:  # as a journal keeps it: without the response's items, which are most of its size
            self._put(index, replace(answer, items=(), model=sys.intern(answer.model)))
            self.journal.answered(index, answer)

    def _put(self, index: int, outcome: Outcome) -> None:
        self._settled += self._outcomes[index] is None
        self._failed += isinstance(outcome, CodexError)
        self._outcomes[index] = outcome

    def _stop(self) -> None:
        """Cancel what still runs, and collect what is done."""
        for future in list(self._running):
            if not future.cancel() and future.done():
                with suppress(CodexError):  # of the journal, which has ended the batch already
                    self._settle(future)

    def _report(self) -> None:
        progress = Progress(self._settled, len(self.prompts), self._failed, self.waiting_s(), self._tokens)
        self.on_progress(progress)


def _lost(error: BaseException) -> CodexError:
    """Return the error of a question that its executor gave up."""
    reason = " ".join(f"{type(error).__name__}: {error}".split()).strip(": ")
    lost = CodexError(f"The executor lost this question: {reason[:LONGEST_REASON]}.", hint=ASK_AGAIN)
    lost.__cause__ = error
    return lost


def with_value(outcome: Outcome, parse: Callable[[str], Any] | None) -> Outcome:
    """Return a complete answer with the value of its text, or the error that it has none; others as they are."""
    if parse is None or isinstance(outcome, CodexError) or outcome.status != "completed":
        return outcome
    try:
        return replace(outcome, parsed=parse(outcome.text))
    except SchemaMismatch as mismatch:
        return CodexError(f"The answer does not match the schema: {mismatch}", hint=ASK_AGAIN)


def plan_warning(limits: RateLimits, count: int) -> str:
    """Tell that so many questions are more than what is left of a plan's windows; an empty text when they are not."""
    extra = limits.credits
    if extra is not None and (extra.unlimited or extra.has_credits):
        return ""
    for window in limits.windows:
        left = max(0.0, 1.0 - (window.used_percent or 0.0) / 100.0)
        room = QUESTIONS_OF_A_PLAN.get(limits.plan or "") if window.label == "5 h" else None
        if left and (room is None or count <= room * left):
            continue
        used = f"{100.0 - left * 100.0:.0f} % of the {window.label} limit of your plan is used"
        needed = (
            f", and {count:,} questions take about {math.ceil(count / room):,} such windows" if room else ""
        )
        until = f" It resets {date_time(window.resets_at)}." if window.resets_at else ""
        return (
            f"{count:,} questions are probably more than your plan has left: {used}{needed}.{until} When the limit is "
            "reached, the batch ends with what it has; with journal=… a later run goes on from there."
        )
    return ""


def price_warning(
    prices: PriceTable, model: str, prompts: Sequence[str], instructions: str, earlier: Sequence[Answer] = ()
) -> str:
    """Tell what a batch is about to cost at a key's prices; an empty text when that is little, or unknown.

    What an answer takes is known from the ``earlier`` ones of the same batch, and is a guess where there are none.
    """
    used = sum((answer.usage for answer in earlier), Usage())
    if used.total_tokens:
        told, share = "by the answers that its journal has", len(prompts) / len(earlier)
    else:
        told, share = f"with about {TOKENS_OF_AN_ANSWER} tokens for an answer", 1.0
        given = sum(map(tokens_of, prompts)) + tokens_of(instructions) * len(prompts)
        used = Usage(given, output_tokens=TOKENS_OF_AN_ANSWER * len(prompts))
    dollars = (prices.dollars(model, used) or 0.0) * share
    if dollars < FEWEST_DOLLARS:
        return ""
    return (
        f"{len(prompts):,} questions cost about ${dollars:,.2f} at {prices.source}'s prices of {prices.date} for "
        f"{model}, {told}. They are paid for by your API key; batch=True asks them within a day for half of it."
    )


def prompts_of(given: Iterable[Any]) -> tuple[tuple[str, ...], Callable[[list[Outcome]], Any]]:
    """Return the prompts, and a function that shapes the outcomes like the input: a Series for a pandas Series.

    Raises ConfigError unless all prompts are texts, before anything is sent.
    """
    if isinstance(given, str):
        raise ConfigError(
            "map takes many prompts, not one text.",
            key="prompts",
            hint="Use ask for one prompt, or put it into a list.",
        )
    series: Any = given if library_of(given) == "pandas" and type(given).__name__ == "Series" else None
    prompts = tuple(given if series is None else series.tolist())
    for number, prompt in enumerate(prompts, 1):
        if not isinstance(prompt, str):
            raise ConfigError(
                f"map: prompt {number} must be a text, not {type(prompt).__name__}.",
                key="prompts",
                hint="Turn it into a text with str().",
            )
    if series is None:
        return prompts, lambda outcomes: outcomes
    return prompts, lambda outcomes: type(series)(
        outcomes, index=series.index, name=series.name, dtype=object
    )


HEADER = b'{"codex_nb_journal": 1}\n'
KEPT_STATUSES = frozenset({"completed", "incomplete"})  # what has been paid for, and would come out the same
_COUNTS = attrgetter(*(count.name for count in fields(Usage)))
_to_json = json.JSONEncoder(separators=(",", ":")).encode
LONGEST_LINE = 64 * 1024 * 1024
# Opened so, a pipe is not waited for; not every system has each flag.
OPEN_FLAGS = (
    os.O_RDWR
    | os.O_CREAT
    | os.O_APPEND
    | sum(getattr(os, flag, 0) for flag in ("O_BINARY", "O_CLOEXEC", "O_NONBLOCK"))
)


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
        with self._using_file():
            self._descriptor = os.open(path, OPEN_FLAGS, 0o600)
        try:
            with self._using_file():
                self._claim()
                self._read()
        except BaseException:
            os.close(self._descriptor)
            raise

    def _claim(self) -> None:
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            raise self._unusable("it is not a regular file")
        if try_lock(self._descriptor) is LockState.HELD:
            raise self._unusable(
                "another run is writing it",
                hint="Wait for that run, or give each run a journal of its own.",
            )
        if hasattr(os, "fchmod"):
            os.fchmod(self._descriptor, 0o600)

    def _read(self) -> None:
        """Take in what earlier runs have written, and end the line that the last of them may have left open."""
        indexes = {key: index for index, key in enumerate(self._keys)}
        doubtful: set[int] = set()
        ends_open = False
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            # of a line that is longer than any answer, its pieces
            lines = iter(partial(file.readline, LONGEST_LINE), b"")
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
            if answer is not None:
                outcome = with_value(answer, parse)
                self.answers[index] = None if isinstance(outcome, CodexError) else outcome

    def asked(self, index: int) -> None:
        """Note that a question is about to be sent."""
        self._write({"asked": self._keys[index]})

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
        with self._using_file():
            if os.write(self._descriptor, line) < len(line):
                raise self._unusable("the disk is full", hint="Make room and run the cell again.")

    @contextmanager
    def _using_file(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unusable(error.strerror or type(error).__name__) from error

    def _unusable(
        self, reason: str, *, hint: str = "Make room or name another file; the answers so far are kept."
    ) -> ConfigError:
        return ConfigError(
            f"The journal {self._path} cannot be used: {reason}.",
            path=str(self._path),
            key="journal",
            hint=hint,
        )


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
