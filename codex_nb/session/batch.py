"""Many questions at once: in order, a few at a time, patient with rate limits, and never for nothing.

Where the questions run is an executor's business: anything with the ``submit`` of ``concurrent.futures``, so a
cluster's executor can carry them; :class:`CoroutineExecutor` carries them on this process's own engine.
"""

from __future__ import annotations

import concurrent.futures
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from codex_nb.errors import AuthError, CodexError, ConfigError, QuotaExceeded, UsageLimitReached
from codex_nb.session.events import Answer
from codex_nb.tools.describe import library_of
from codex_nb.words import batch as words

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterable

    Future = concurrent.futures.Future[Any]

TICK_S = 0.1
# After these no other question would fare better.
_HOPELESS = (AuthError, UsageLimitReached, QuotaExceeded, ConfigError)

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
    concurrent.futures.wait(futures, timeout_s, concurrent.futures.FIRST_COMPLETED)


@dataclass
class Batch:
    """The questions of one call, and what has come of them.

    ``ask`` is what the executor calls with a prompt; it gives an Answer or raises a CodexError, after all repeats that
    it wants to make. ``wait`` is called on this thread again and again while nothing can be begun, and may serve
    widgets and calls meanwhile; ``wake`` is called on any thread, to end such a wait. ``waiting_s`` tells how long a
    rate limit still lasts. A KeyboardInterrupt ends the batch: what is done is returned, the rest are answers with the
    status "cancelled". A question costs the same however many there are.
    """

    prompts: tuple[str, ...]
    ask: Callable[[str], Any]
    executor: Executor
    concurrency: int = 8
    on_error: Literal["raise", "return"] = "raise"
    on_progress: Callable[[Progress], None] = lambda _progress: None
    wait: Callable[[Collection[Future], float], None] = wait_for_any
    wake: Callable[[], None] = lambda: None
    waiting_s: Callable[[], float] = lambda: 0.0
    _begun: int = field(default=0, init=False)
    _settled: int = field(default=0, init=False)
    _failed: int = field(default=0, init=False)
    _running: dict[Future, int] = field(default_factory=dict, init=False)
    _finished: deque[Future] = field(default_factory=deque, init=False)
    _outcomes: list[Outcome | None] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ConfigError(words.NO_CONCURRENCY, key="concurrency")
        self._outcomes = [None] * len(self.prompts)

    def run(self) -> list[Outcome]:
        """Ask everything; return :meth:`outcomes`, which an error that is raised leaves behind as well."""
        self._tell()
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
        """Return what has come of each prompt so far, in their order; "cancelled" is what has no outcome."""
        return [Answer("", status="cancelled") if outcome is None else outcome for outcome in self._outcomes]

    def _begin(self) -> None:
        while self._begun < len(self.prompts) and len(self._running) < self.concurrency:
            future = self.executor.submit(self.ask, self.prompts[self._begun])
            self._running[future] = self._begun
            self._begun += 1
            future.add_done_callback(self._note_done)

    def _note_done(self, future: Future) -> None:
        self._finished.append(future)
        self.wake()

    def _collect(self) -> None:
        while self._finished:
            future = self._finished[0]
            index, error = self._running[future], self._settle(future)
            del self._running[self._finished.popleft()]
            self._tell()
            if error is not None and (self.on_error == "raise" or not isinstance(error, CodexError)):
                answered = self._settled - self._failed
                error.add_note(words.failed_at(str(index + 1), str(len(self.prompts)), str(answered)))
                raise error
            if isinstance(error, _HOPELESS):
                self._give_up(error)
        if self.waiting_s():
            self._tell()

    def _settle(self, future: Future) -> BaseException | None:
        """Put what has come of a future into its place; return the error that it ended with."""
        index = self._running[future]
        if future.cancelled():
            self._put(index, Answer("", status="cancelled"))
            return None
        error = future.exception()
        if error is None:
            self._put(index, future.result())
        elif isinstance(error, CodexError):
            self._put(index, error if self.on_error == "raise" else error.bare())
        return error

    def _put(self, index: int, outcome: Outcome) -> None:
        self._outcomes[index] = outcome
        self._settled += 1
        self._failed += isinstance(outcome, CodexError)

    def _give_up(self, error: CodexError) -> None:
        """Let what was never asked end like the question that says there is no use in asking."""
        while self._begun < len(self.prompts):
            self._put(self._begun, error)
            self._begun += 1
        self._tell()

    def _stop(self) -> None:
        """Cancel what still runs, and take what is done but was not collected."""
        for future, index in self._running.items():
            if not future.cancel() and future.done() and self._outcomes[index] is None:
                self._settle(future)

    def _tell(self) -> None:
        self.on_progress(Progress(self._settled, len(self.prompts), self._failed, self.waiting_s()))


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
