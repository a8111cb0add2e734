from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any

import pandas as pd
import pytest

from codex_nb.errors import BadRequest, CodexError, ConfigError, RateLimited, UsageLimitReached
from codex_nb.session.batch import Batch, Progress, prompts_of
from codex_nb.session.events import Answer
from codex_nb.session.structured_output import SchemaMismatch


class Harness:
    """An executor that finishes calls when its script says so, and counts them."""

    def __init__(self, answer: Callable[[str, int], Answer | Exception]) -> None:
        self.asked: Counter[str] = Counter()
        self.most_at_once = 0
        self._answer = answer
        self._open: list[concurrent.futures.Future[Answer]] = []

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> concurrent.futures.Future[Answer]:
        [prompt] = arguments
        self.asked[prompt] += 1
        self._open = [future for future in self._open if not future.done()]
        future: concurrent.futures.Future[Answer] = concurrent.futures.Future()
        self._open.append(future)
        self.most_at_once = max(self.most_at_once, len(self._open))
        future.set_running_or_notify_cancel()
        outcome = self._answer(prompt, self.asked[prompt])
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
        return future


def wait_for_any(futures: Collection[concurrent.futures.Future[Any]], timeout_s: float) -> None:
    concurrent.futures.wait(futures, timeout_s, concurrent.futures.FIRST_COMPLETED)


def batch(prompts: list[str], harness: Any, **more: Any) -> Batch:
    begin = partial(harness.submit, str)
    return Batch(tuple(prompts), begin, **{"on_error": "return", "wait": wait_for_any} | more)


def test_200_prompts_with_a_poisoned_one() -> None:
    prompts = [f"prompt {n}" for n in range(200)]

    def answer(prompt: str, times: int) -> Answer | Exception:
        number = int(prompt.split()[1])
        return BadRequest("This prompt is poison.") if number == 117 else Answer(f"answer {number}")

    harness = Harness(answer)
    seen: list[Progress] = []
    outcomes = batch(prompts, harness, on_progress=seen.append).run()
    assert [outcome.text if isinstance(outcome, Answer) else "error" for outcome in outcomes] == [
        "error" if n == 117 else f"answer {n}" for n in range(200)
    ]
    assert isinstance(outcomes[117], BadRequest)
    assert harness.asked == Counter(prompts)
    assert seen == [Progress(n, 200, failed=int(n > 117)) for n in range(201)]


def test_how_long_a_rate_limit_lasts_is_told_while_nothing_else_happens() -> None:
    seen: list[Progress] = []
    left = [0.0, 3.0, 2.0, 1.0]
    future: concurrent.futures.Future[Answer] = concurrent.futures.Future()

    class Waiting(Harness):
        def submit(
            self, function: Callable[..., Any], /, *arguments: Any
        ) -> concurrent.futures.Future[Answer]:
            return future

    def wait(futures: Collection[Any], timeout_s: float) -> None:
        if len(left) > 1:
            left.pop(0)
        else:
            left[0] = 0.0
            future.set_result(Answer("late"))

    batch(
        ["a"],
        Waiting(lambda p, _t: Answer(p)),
        on_progress=seen.append,
        wait=wait,
        waiting_s=lambda: left[0],
    ).run()
    assert seen == [Progress(0, 1, waiting_s=n) for n in (0.0, 3.0, 2.0, 1.0)] + [Progress(1, 1)]


def test_a_rate_limit_is_the_clients_to_repeat() -> None:
    harness = Harness(lambda _prompt, _times: RateLimited("Too many requests.", status=429))
    [outcome] = batch(["a"], harness).run()
    assert isinstance(outcome, RateLimited)
    assert harness.asked["a"] == 1


def test_when_the_plan_is_used_up_nothing_more_is_sent() -> None:
    harness = Harness(lambda _prompt, _times: UsageLimitReached("Used up."))
    outcomes = batch([str(n) for n in range(50)], harness, concurrency=2).run()
    assert all(isinstance(outcome, UsageLimitReached) for outcome in outcomes)
    assert len(harness.asked) == 2


def test_the_first_error_is_raised_where_that_is_asked_for() -> None:
    harness = Harness(lambda prompt, _times: BadRequest("No.") if prompt == "b" else Answer(prompt))
    with pytest.raises(BadRequest) as caught:
        batch(["a", "b", "c"], harness, on_error="raise", concurrency=1).run()
    assert len(caught.value.__notes__) == 1
    assert harness.asked == Counter("ab")


def test_an_interrupt_returns_what_is_done_and_cancels_the_rest() -> None:
    gate = threading.Event()
    started: list[concurrent.futures.Future[Answer]] = []

    class Slow(Harness):
        def submit(
            self, function: Callable[..., Any], /, *arguments: Any
        ) -> concurrent.futures.Future[Answer]:
            if len(started) >= 2:
                future: concurrent.futures.Future[Answer] = concurrent.futures.Future()
            else:
                future = super().submit(function, *arguments)
            started.append(future)
            return future

    rounds = 0

    def wait(futures: Collection[Any], timeout_s: float) -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 3:
            raise KeyboardInterrupt

    outcomes = batch(list("abcdef"), Slow(lambda p, _t: Answer(p)), concurrency=2, wait=wait).run()
    assert [(o.text, o.status) for o in outcomes if isinstance(o, Answer)] == [
        ("a", "completed"),
        ("b", "completed"),
        *[("", "cancelled")] * 4,
    ]
    assert [future.cancelled() for future in started] == [False, False, True, True]
    assert not gate.is_set()


def test_no_more_run_at_once_than_allowed() -> None:
    at_once, most = 0, 0
    lock = threading.Lock()

    def ask(prompt: str) -> Answer:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        barrier.wait(5)
        with lock:
            at_once -= 1
        return Answer(prompt)

    barrier = threading.Barrier(3)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        outcomes = Batch(tuple("abcdef"), partial(pool.submit, ask), wait_for_any, concurrency=3).run()
    assert [outcome.text for outcome in outcomes if isinstance(outcome, Answer)] == list("abcdef")
    assert most == 3


def test_coroutines_run_on_a_loop_of_their_own() -> None:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def ask(prompt: str) -> Answer:
        await asyncio.sleep(0)
        return Answer(prompt.upper())

    try:
        outcomes = Batch(
            ("a", "b"), lambda prompt: asyncio.run_coroutine_threadsafe(ask(prompt), loop), wait_for_any
        ).run()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    assert [outcome.text for outcome in outcomes if isinstance(outcome, Answer)] == ["A", "B"]


def cancelled() -> concurrent.futures.Future[Answer]:
    future: concurrent.futures.Future[Answer] = concurrent.futures.Future()
    future.cancel()
    return future


def failed(error: BaseException) -> concurrent.futures.Future[Answer]:
    future: concurrent.futures.Future[Answer] = concurrent.futures.Future()
    future.set_exception(error)
    return future


def answered(outcome: Any) -> concurrent.futures.Future[Any]:
    future: concurrent.futures.Future[Any] = concurrent.futures.Future()
    future.set_result(outcome)
    return future


def refused() -> concurrent.futures.Future[Answer]:
    raise RuntimeError("cannot schedule new futures after shutdown")


# what an executor may do to a question besides answering it, and the type of the error's cause
FAILURES_OF_AN_ENGINE: dict[str, tuple[Callable[[], concurrent.futures.Future[Any]], type]] = {
    "an exception": (lambda: failed(ZeroDivisionError("division by zero")), ZeroDivisionError),
    "a broken pool": (
        lambda: failed(BrokenProcessPool("A process was terminated.")),
        BrokenProcessPool,
    ),
    "an exit": (lambda: failed(SystemExit(3)), SystemExit),
    "a cancellation": (cancelled, concurrent.futures.CancelledError),
    "an end of time": (lambda: failed(TimeoutError()), TimeoutError),
    "no submission": (refused, RuntimeError),
    "nothing": (lambda: answered(None), type(None)),
    "something else": (lambda: answered("yes"), type(None)),
    "an error of ours": (lambda: answered(BadRequest("No.")), type(None)),
}


class Failing(Harness):
    """An engine that answers each question but "b"."""

    def __init__(self, fail: Callable[[], concurrent.futures.Future[Any]]) -> None:
        super().__init__(lambda prompt, _times: Answer(prompt))
        self._fail = fail

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> concurrent.futures.Future[Answer]:
        return self._fail() if arguments == ("b",) else super().submit(function, *arguments)


@pytest.mark.parametrize(("fail", "cause"), FAILURES_OF_AN_ENGINE.values(), ids=list(FAILURES_OF_AN_ENGINE))
def test_what_an_engine_loses_is_an_error_in_its_place_and_no_others(
    fail: Callable[[], concurrent.futures.Future[Any]], cause: type
) -> None:
    first, lost, last = batch(["a", "b", "c"], Failing(fail)).run()
    assert (first, last) == (Answer("a"), Answer("c"))
    assert isinstance(lost, CodexError)
    assert type(lost.__cause__) is cause


@pytest.mark.parametrize(("fail", "cause"), FAILURES_OF_AN_ENGINE.values(), ids=list(FAILURES_OF_AN_ENGINE))
def test_what_an_engine_loses_ends_a_batch_only_where_that_is_asked_for(
    fail: Callable[[], concurrent.futures.Future[Any]], cause: type
) -> None:
    asked = batch(["a", "b", "c"], Failing(fail), on_error="raise", concurrency=1)
    with pytest.raises(CodexError) as caught:
        asked.run()
    assert type(caught.value.__cause__) is cause
    assert asked.outcomes() == [Answer("a"), caught.value, Answer("", status="cancelled")]


def test_a_text_without_the_value_that_is_wanted_is_a_failure_of_its_question() -> None:
    def parse(text: str) -> int:
        if not text.isdecimal():
            raise SchemaMismatch("not a number")
        return int(text)

    outcomes = batch(["1", "two", "3"], Harness(lambda p, _t: Answer(p)), parse=parse).run()
    assert [outcomes[0], outcomes[2]] == [Answer("1", parsed=1), Answer("3", parsed=3)]
    assert isinstance(outcomes[1], CodexError)


def test_a_series_goes_in_and_a_series_comes_out() -> None:
    series = pd.Series(["one", "two"], index=["x", "y"], name="questions")
    prompts, shaped = prompts_of(series)
    assert prompts == ("one", "two")
    result = shaped([Answer("1"), BadRequest("no")])
    assert list(result.index) == ["x", "y"]
    assert result.name == "questions"
    assert result["x"] == Answer("1")
    assert isinstance(result["y"], CodexError)
    assert prompts_of(iter(["a"]))[0] == ("a",)
    assert shaped([Answer("1"), Answer("2")]).dtype == object


@pytest.mark.parametrize("prompts", [["a", 7], ["a", None]])
def test_prompts_that_are_no_texts_are_refused_before_anything_is_sent(prompts: list[Any]) -> None:
    with pytest.raises(ConfigError):
        prompts_of(prompts)


def test_one_text_is_not_many_prompts() -> None:
    with pytest.raises(ConfigError):
        prompts_of("one question")
    with pytest.raises(ConfigError):
        batch(["a"], Harness(lambda p, _t: Answer(p)), concurrency=0)
