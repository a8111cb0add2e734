"""Many questions through the whole client: in order, none lost or doubled, whatever the backend does meanwhile."""

from __future__ import annotations

import concurrent.futures
import gc
import json
import os
import re
import signal
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, get_args

import pandas as pd
import pexpect
import pytest

import codex_nb
from codex_nb.errors import BadRequest, CodexError, RateLimited
from codex_nb.session import events as turn_events
from codex_nb.session.events import Answer
from codex_nb.simulator import End, Hold, Reply, Say, Simulator, error_replies
from codex_nb.simulator.accounts import Limits, LimitWindow
from tests.magics.conftest import Notebook

PROMPTS = [f"question number {number}." for number in range(200)]
REFUSED_OK = 200


class PoisonedExecutor:
    """An executor that has answered every prompt as soon as it is asked, but for the one that it refuses."""

    def __init__(self, poison: str = "") -> None:
        self.poison = poison

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> concurrent.futures.Future[Answer]:
        future: concurrent.futures.Future[Answer] = concurrent.futures.Future()
        if arguments[-1] == self.poison:
            future.set_exception(BadRequest("This prompt is poison."))
        else:
            future.set_result(ANSWER)
        return future


ANSWER = Answer("yes")


def prompt_of(body: dict) -> str:
    """Return the words of the user in a request."""
    return str(body["input"][-1]["content"][-1]["text"])


def test_200_questions_with_rate_limits_and_a_poisoned_one(codex_home: object, sim: Simulator) -> None:
    del codex_home
    limited = [replace(error_replies.rate_limited(0.01, times=6), skip=at) for at in (40, 80, 120, 150)]
    sim.add_replies(*limited, replace(error_replies.bad_request("This prompt is poisoned."), skip=77))
    answers = codex_nb.map(PROMPTS, on_error="return", concurrency=8)

    answered = Counter(
        prompt_of(request.body) for request in sim.requests.to("/responses") if request.status == REFUSED_OK
    )
    (poisoned,) = [number for number, answer in enumerate(answers) if isinstance(answer, BadRequest)]
    good = {number: answer for number, answer in enumerate(answers) if isinstance(answer, Answer)}
    assert len(good) == len(PROMPTS) - 1
    assert [number for number, answer in good.items() if PROMPTS[number] not in answer.text] == []
    assert answered == Counter(prompt for number, prompt in enumerate(PROMPTS) if number != poisoned)
    refused = Counter(request.status for request in sim.requests.to("/responses"))
    assert refused == {REFUSED_OK: len(PROMPTS) - 1, 429: 4 * 6, 400: 1}


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send an interrupt to itself alone")
def test_an_interrupt_returns_what_is_done(codex_home: object, sim: Simulator) -> None:
    del codex_home
    held = Reply(stream=(Say("Half of"), Hold("never"), End()), times=None, skip=10)
    sim.add_replies(held)

    def interrupt() -> None:
        sim.requests.wait(lambda log: log.count("/responses") == 10 + 4, 30)
        sim.requests.wait(lambda log: sum(r.outcome == "answered" for r in log.to("/responses")) == 10, 30)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    answers = codex_nb.map(PROMPTS[:50], concurrency=4)
    states = Counter(answer.status for answer in answers)
    assert states == {"completed": 10, "cancelled": 40}
    # the tenth request to arrive need not be the tenth prompt's: four travel at once
    done = [number for number, answer in enumerate(answers) if answer.status == "completed"]
    assert max(done) < 10 + 4
    assert all(PROMPTS[number] in answers[number].text for number in done)
    assert sim.requests.wait(
        lambda log: {r.outcome for r in log.to("/responses")} == {"answered", "client_closed"}
    )
    assert sim.requests.count("/responses") == 10 + 4


def states(answers: Any) -> list[str]:
    return [answer.status if isinstance(answer, Answer) else type(answer).__name__ for answer in answers]


def test_the_error_of_a_batch_carries_every_answer_that_was_had(codex_home: object, sim: Simulator) -> None:
    del codex_home
    sim.add_replies(replace(error_replies.bad_request("This prompt is poisoned."), skip=7))
    with pytest.raises(BadRequest) as caught:
        codex_nb.map(PROMPTS[:10], concurrency=1)
    answers = caught.value.answers
    assert states(answers) == ["completed"] * 7 + ["BadRequest"] + ["cancelled"] * 2
    assert [PROMPTS[number] in answers[number].text for number in range(7)] == [True] * 7
    assert answers[7] is caught.value


def test_the_error_of_a_series_carries_a_series(codex_home: object) -> None:
    del codex_home
    prompts = pd.Series(["a", "b", "poison"], index=["x", "y", "z"], name="asked")
    with pytest.raises(BadRequest) as caught:
        codex_nb.map(prompts, executor=PoisonedExecutor("poison"))
    answers = caught.value.answers
    assert (list(answers.index), answers.name) == (["x", "y", "z"], "asked")
    assert states(answers) == ["completed", "completed", "BadRequest"]


def test_what_the_last_of_500_loses_is_one_question(codex_home: object) -> None:
    del codex_home
    prompts = [f"prompt {number}" for number in range(500)]
    with pytest.raises(BadRequest) as caught:
        codex_nb.map(prompts, executor=PoisonedExecutor("prompt 499"))
    assert states(caught.value.answers) == ["completed"] * 499 + ["BadRequest"]


def test_an_executor_that_is_gone_leaves_the_answers_before_it(codex_home: object) -> None:
    del codex_home

    class Broken(PoisonedExecutor):
        def submit(
            self, function: Callable[..., Any], /, *arguments: Any
        ) -> concurrent.futures.Future[Answer]:
            if arguments[-1] == "c":
                raise RuntimeError("the cluster is gone")
            return super().submit(function, *arguments)

    with pytest.raises(CodexError, match="the cluster is gone") as caught:
        codex_nb.map(list("abcd"), executor=Broken(), concurrency=1)
    assert states(caught.value.answers) == ["completed", "completed", "CodexError", "cancelled"]


def test_the_next_cell_finds_the_answers_of_a_batch_that_failed(notebook: Notebook, sim: Simulator) -> None:
    sim.add_replies(replace(error_replies.bad_request("This prompt is poisoned."), skip=3))
    asked = notebook.run("import codex_nb, sys; codex_nb.map([f'{n}' for n in range(5)], concurrency=1)")
    assert isinstance(asked.failure, BadRequest)
    notebook.run("saved = [a for a in sys.last_value.answers if getattr(a, 'status', '') == 'completed']")
    assert states(notebook.namespace["saved"]) == ["completed"] * 3


THREADS = "threads"


@pytest.mark.parametrize("where", ["engine", THREADS])
@pytest.mark.parametrize(
    "refused",
    [
        error_replies.rate_limited(0.01, times=None),
        replace(error_replies.overloaded(times=None), headers={"retry-after": "0.01"}),
        error_replies.failed("rate_limit_exceeded", "Please try again in 0.01s.", times=None),
    ],
    ids=["429", "503", "limit in a stream"],
)
def test_no_prompt_is_sent_more_than_six_times(
    refused: Reply, where: str, codex_home: object, sim: Simulator
) -> None:
    del codex_home
    sim.add_replies(refused)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        executor = pool if where == THREADS else None
        answers = codex_nb.map(["one", "two", "three"], on_error="return", executor=executor)
    assert [isinstance(answer, CodexError) for answer in answers] == [True] * 3
    asked = Counter(prompt_of(request.body) for request in sim.requests.to("/responses"))
    assert sorted(asked.values()) == [6, 6, 6]


def test_a_provider_that_wants_no_repeats_gets_none(codex_home: Any, sim: Simulator) -> None:
    settings = sim.config_toml("custom") + "request_max_retries = 1\nstream_max_retries = 1\n"
    (codex_home / "config.toml").write_text(settings)
    sim.add_replies(error_replies.rate_limited(0.01, times=None))
    [answer] = codex_nb.map(["one"], on_error="return")
    assert isinstance(answer, RateLimited)
    assert sim.requests.count("/responses") == 2


def test_an_interrupt_puts_failures_in_their_places_too(codex_home: object) -> None:
    del codex_home

    class Interrupted(PoisonedExecutor):
        def submit(
            self, function: Callable[..., Any], /, *arguments: Any
        ) -> concurrent.futures.Future[Answer]:
            if arguments[-1] == "c":
                raise KeyboardInterrupt
            return super().submit(function, *arguments)

    assert states(codex_nb.map(list("abcd"), executor=Interrupted("b"))) == [
        "completed",
        "BadRequest",
        "cancelled",
        "cancelled",
    ]


def calls_made(count: int) -> int:
    """Count the calls, generators' resumptions included, of a batch of that many prompts."""
    made = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal made
        made += event in {"call", "c_call"}

    prompts, desk = [f"prompt {number}" for number in range(count)], PoisonedExecutor()
    sys.setprofile(note)
    try:
        codex_nb.map(prompts, executor=desk)
    finally:
        sys.setprofile(None)
    return made


def test_a_prompt_costs_the_same_in_a_small_batch_and_in_a_large_one(codex_home: object) -> None:
    del codex_home
    calls_made(3000)  # what is imported and opened, and what redaction remembers of these prompts
    small, large = calls_made(300) / 300, calls_made(3000) / 3000
    assert large <= small * 1.1


def test_a_batch_keeps_nothing_but_its_answers(codex_home: object, sim: Simulator) -> None:
    del codex_home, sim
    events = get_args(turn_events.TurnEvent)

    def kept() -> int:
        gc.collect()
        return sum(issubclass(type(each), (*events, concurrent.futures.Future)) for each in gc.get_objects())

    before = kept()
    answers = codex_nb.map(PROMPTS[:20], concurrency=4)
    assert (states(answers), kept() - before) == (["completed"] * 20, 0)


def test_the_book_keeping_of_a_large_batch_is_gone_at_its_end(codex_home: object) -> None:
    del codex_home
    prompts = [f"prompt {number % 1000}" for number in range(6000)]
    codex_nb.map(prompts[:1000], executor=PoisonedExecutor())  # redaction remembers some thousand texts
    tracemalloc.start()
    try:
        answers = codex_nb.map(prompts, executor=PoisonedExecutor())
        gc.collect()
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(answers) == len(prompts)
    assert kept <= 16 * len(prompts)  # the list of the answers
    assert most <= 64 * len(prompts)


def test_all_questions_of_a_batch_have_the_instructions_with_which_it_began(
    codex_home: Path, sim: Simulator
) -> None:
    instructions = codex_home / "AGENTS.md"
    instructions.write_text("Answer in French.")
    sim.add_replies(Reply(stream=(Say("One."), Hold("changed"), End())))

    def change() -> None:
        sim.requests.wait(lambda log: log.count("/responses") == 1, 30)
        instructions.write_text("Answer in German.")
        sim.release("changed")

    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        changing = threads.submit(change)
        codex_nb.map(["one", "two"], concurrency=1)
        changing.result()
    codex_nb.map(["three"])
    sent = [json.dumps(request.body) for request in sim.requests.to("/responses")]
    languages = [[each for each in ("French", "German") if each in body] for body in sent]
    assert languages == [["French"], ["French"], ["German"]]


@pytest.fixture
def limits_of_plan(sim: Simulator) -> Callable[[float], None]:
    """Set how much of the five hours of the plan is used."""
    return lambda used: sim.change(limits=Limits(primary=LimitWindow(used, 300, 9_000)))


def test_a_batch_that_does_not_fit_the_plan_is_told_before_it_starts(
    codex_home: object, sim: Simulator, capsys: pytest.CaptureFixture[str], limits_of_plan: Any
) -> None:
    del codex_home
    limits_of_plan(92.0)
    assert states(codex_nb.map(PROMPTS[:30])) == ["completed"] * 30
    told = capsys.readouterr().err
    assert [word in told for word in ("30", "92 %", "5 h")] == [True] * 3
    assert sim.requests[0].path.endswith("/usage")
    limits_of_plan(10.0)
    capsys.readouterr()
    codex_nb.map(PROMPTS[:30])
    assert capsys.readouterr().err == ""


def dollars_told(capsys: pytest.CaptureFixture[str]) -> list[float]:
    """Return the dollars of the lines that were printed since the last look."""
    return [float(found.replace(",", "")) for found in re.findall(r"\$([\d.,]+\d)", capsys.readouterr().err)]


def test_a_batch_that_a_key_pays_for_tells_its_price_before_it_starts(
    key_home: Path, sim: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del key_home
    long = [
        f"{number} {'word ' * 20_000}" for number in range(20)
    ]  # 25,000 tokens each, at 2 dollars a million
    spent = {"input_tokens": 400_000, "output_tokens": 10_000, "total_tokens": 410_000}
    sim.add_replies(Reply(stream=(Say("So."), End(usage=spent)), times=None))

    def told(prompts: list[str], **options: Any) -> list[float]:
        answers = codex_nb.map(prompts, **{"model": "gpt-6.2-sol"} | options)
        assert states(answers) == ["completed"] * len(prompts)
        return dollars_told(capsys)

    [guessed] = told(long)
    assert 20 * 25_000 * 2e-6 < guessed < 1.5 * 20 * 25_000 * 2e-6
    same_bytes = [f"{number} {'語 ' * 25_000}" for number in range(20)]
    assert told(same_bytes) == [guessed]  # as the context is estimated
    assert told(long, model="a-new-model") == []  # its price is not known
    assert told(PROMPTS[:20]) == []  # a few cents

    file = tmp_path / "answers.jsonl"
    assert told(PROMPTS[:10], journal=file) == []
    by_answers = told(PROMPTS[:30], journal=file)  # 20 are left, each for 0.80 + 0.10 dollars
    assert by_answers == [18.0]


@pytest.mark.parametrize(("reply", "asked"), [("y", 30), ("", 0), ("no", 0)])
def test_whoever_can_answer_is_asked_whether_a_batch_shall_start(
    reply: str,
    asked: int,
    codex_home: object,
    sim: Simulator,
    tmp_path: Any,
    limits_of_plan: Any,
) -> None:
    """At a terminal: IPython in a process of its own, on a pseudo terminal."""
    del codex_home
    limits_of_plan(92.0)
    program = "import codex_nb; print([a.status for a in codex_nb.map([f'{n}' for n in range(30)])])"
    child = pexpect.spawn(sys.executable, ["-m", "IPython", "--simple-prompt", "-c", program], timeout=60)
    child.expect("y/N")
    assert sim.requests.count("/responses") == 0
    child.sendline(reply)
    child.expect(pexpect.EOF)
    assert sim.requests.count("/responses") == asked
