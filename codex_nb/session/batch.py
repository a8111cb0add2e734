"""Many questions at once: in order, a few at a time, patient with rate limits, and never for nothing.

Where the questions run is an executor's business: anything with the ``submit`` of ``concurrent.futures``, so a
cluster's executor can carry them; :class:`CoroutineExecutor` carries them on this process's own engine.
"""

from __future__ import annotations

import concurrent.futures
import random
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from codex_nb.errors import (
    AuthError,
    BackendOverloaded,
    CodexError,
    ConfigError,
    QuotaExceeded,
    RateLimited,
    UsageLimitReached,
)
from codex_nb.session.answer import Answer
from codex_nb.tools.trust import library_of
from codex_nb.words import batch as words

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterable

    Future = concurrent.futures.Future[Any]

MOST_WAITS = 10
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
TICK_S = 0.1
# After these no other question would fare better.
_HOPELESS = (AuthError, UsageLimitReached, QuotaExceeded, ConfigError)
_PASSING = (RateLimited, BackendOverloaded)

Outcome = Answer | CodexError


class Executor(Protocol):
    """Where questions run: ``concurrent.futures.Executor`` and everything that looks like it."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
        """Begin a call and return its future."""
        ...


class CoroutineExecutor:
    """Carries coroutine functions; ``begin`` hands a coroutine to a loop and returns its future."""

    def __init__(self, begin: Callable[[Coroutine[Any, Any, Any]], Future]) -> None:
        self._begin = begin

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
        """Begin the coroutine."""
        return self._begin(function(*arguments))


@dataclass(frozen=True)
class Progress:
    """How far a batch is; ``waiting_s`` is how long a rate limit still holds it up."""

    done: int
    total: int
    failed: int = 0
    waiting_s: float = 0.0


def wait_for_any(futures: Collection[Future], timeout_s: float) -> None:
    """Wait until one of the futures is done, or for ``timeout_s`` seconds."""
    if futures:
        concurrent.futures.wait(futures, timeout_s, concurrent.futures.FIRST_COMPLETED)
    else:
        time.sleep(timeout_s)


@dataclass
class Batch:
    """The questions of one call, and what has come of them.

    ``ask`` is what the executor calls with a prompt; it gives an Answer or raises a CodexError. ``wait`` is called on
    this thread again and again while nothing can be begun, and may serve widgets and calls meanwhile. An error that
    passes is waited out, all questions together, at most :data:`MOST_WAITS` times for one of them. A KeyboardInterrupt
    ends the batch: what is done is returned, the rest are answers with the status "cancelled".
    """

    prompts: tuple[str, ...]
    ask: Callable[[str], Any]
    executor: Executor
    concurrency: int = 8
    on_error: Literal["raise", "return"] = "raise"
    on_progress: Callable[[Progress], None] = lambda _progress: None
    wait: Callable[[Collection[Future], float], None] = wait_for_any
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random
    _running: dict[Future, int] = field(default_factory=dict, init=False)
    _queue: deque[int] = field(default_factory=deque, init=False)
    _outcomes: dict[int, Outcome] = field(default_factory=dict, init=False)
    _waits: dict[int, int] = field(default_factory=dict, init=False)
    _resume_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ConfigError(words.NO_CONCURRENCY, key="concurrency")

    def run(self) -> list[Outcome]:
        """Ask everything; return the outcomes in the order of the prompts."""
        self._queue.extend(range(len(self.prompts)))
        self._resume_at = self.clock()
        self._tell()
        try:
            while self._queue or self._running:
                self._begin()
                self.wait(tuple(self._running), TICK_S)
                self._collect()
        except KeyboardInterrupt:
            self._collect()
        finally:
            for future in self._running:
                future.cancel()
        return [
            self._outcomes.get(index, Answer("", status="cancelled")) for index in range(len(self.prompts))
        ]

    def _begin(self) -> None:
        while self._queue and len(self._running) < self.concurrency and self.clock() >= self._resume_at:
            index = self._queue.popleft()
            self._running[self.executor.submit(self.ask, self.prompts[index])] = index

    def _collect(self) -> None:
        for future in [future for future in self._running if future.done()]:
            index = self._running.pop(future)
            if future.cancelled():
                self._settle(index, Answer("", status="cancelled"))
                continue
            error = future.exception()
            if error is None:
                self._settle(index, future.result())
            elif isinstance(error, _PASSING) and self._waits.get(index, 0) < MOST_WAITS:
                self._postpone(index, error)
            elif isinstance(error, CodexError):
                self._fail(index, error)
            else:
                raise error

    def _postpone(self, index: int, error: CodexError) -> None:
        waits = self._waits[index] = self._waits.get(index, 0) + 1
        told = getattr(error, "retry_after", None)
        backoff = min(FIRST_WAIT_S * 2 ** (waits - 1), LONGEST_WAIT_S) * (0.5 + self.chance())
        self._resume_at = max(self._resume_at, self.clock() + (backoff if told is None else told))
        self._queue.appendleft(index)
        self._tell()

    def _fail(self, index: int, error: CodexError) -> None:
        if self.on_error == "raise":
            total, answered = len(self.prompts), len(self._outcomes)
            error.add_note(words.failed_at(str(index + 1), str(total), str(answered)))
            raise error
        self._settle(index, error)
        if isinstance(error, _HOPELESS):
            while self._queue:
                self._settle(self._queue.popleft(), error)

    def _settle(self, index: int, outcome: Outcome) -> None:
        self._outcomes[index] = outcome
        self._tell()

    def _tell(self) -> None:
        failed = sum(1 for outcome in self._outcomes.values() if isinstance(outcome, CodexError))
        waiting = max(0.0, self._resume_at - self.clock())
        self.on_progress(Progress(len(self._outcomes), len(self.prompts), failed, waiting))


def prompts_of(given: Iterable[Any]) -> tuple[tuple[str, ...], Callable[[list[Outcome]], Any]]:
    """Return the prompts, and what gives the outcomes the shape of what was given: a Series for a pandas Series.

    Raises ConfigError for what is not many texts, before anything is sent.
    """
    if isinstance(given, str):
        raise ConfigError(words.ONE_TEXT, key="prompts")
    series: Any = given if library_of(given) == "pandas" and type(given).__name__ == "Series" else None
    prompts = tuple(given if series is None else series.tolist())
    for number, prompt in enumerate(prompts, 1):
        if not isinstance(prompt, str):
            raise ConfigError(words.not_a_text(str(number), type(prompt).__name__), key="prompts")
    if series is None:
        return prompts, lambda outcomes: outcomes
    return prompts, lambda outcomes: type(series)(
        outcomes, index=series.index, name=series.name, dtype=object
    )
