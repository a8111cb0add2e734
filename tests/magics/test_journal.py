"""A journal: each answer is on disk as soon as it is there, and no later run asks for it again."""

from __future__ import annotations

import concurrent.futures
import gc
import json
import multiprocessing
import os
import random
import re
import signal
import stat
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import codex_nb
from codex_nb.errors import BadRequest, ConfigError
from codex_nb.responses.events import Usage
from codex_nb.session.batch import Journal
from codex_nb.session.events import Answer
from codex_nb.simulator import End, Reply, Say, Simulator, Think, error_replies
from tests.magics import killed_batch

PROMPTS = [f"question number {number}." for number in range(12)]
PARAMETERS = {"model": "m", "instructions": "be brief"}


@dataclass(frozen=True)
class Weight:
    """A value of the notebook's own."""

    grams: int


def asked(sim: Simulator) -> Counter[str]:
    """Count the requests that were answered, by the words of the user in them."""
    return Counter(
        str(request.body["input"][-1]["content"][-1]["text"])
        for request in sim.requests.to("/responses")
        if request.status == 200
    )


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def events(path: Path) -> Counter[str]:
    return Counter(next(iter(entry)) for entry in entries(path))


@contextmanager
def opened(path: Path, prompts: list[str], parameters: object = PARAMETERS) -> Iterator[Journal]:
    journal = Journal(path, parameters, prompts)
    try:
        yield journal
    finally:
        journal.close()


def test_a_second_run_asks_nothing_and_returns_the_same(
    codex_home: object, sim: Simulator, tmp_path: Path
) -> None:
    del codex_home
    file = tmp_path / "answers.jsonl"
    first = codex_nb.map(PROMPTS, journal=file, concurrency=3)
    assert asked(sim) == Counter(PROMPTS)
    assert codex_nb.map(PROMPTS, journal=str(file), concurrency=3) == first
    assert asked(sim) == Counter(PROMPTS)
    assert [PROMPTS[number] in answer.text for number, answer in enumerate(first)] == [True] * len(PROMPTS)


def test_a_second_run_asks_what_is_missing(codex_home: object, sim: Simulator, tmp_path: Path) -> None:
    del codex_home
    file = tmp_path / "answers.jsonl"
    sim.add_replies(replace(error_replies.bad_request("This prompt is poisoned."), skip=5))
    with pytest.raises(BadRequest) as caught:
        codex_nb.map(PROMPTS, journal=file, concurrency=1)
    assert [isinstance(each, Answer) and each.status for each in caught.value.answers] == (
        ["completed"] * 5 + [False] + ["cancelled"] * 6
    )
    answers = codex_nb.map([*reversed(PROMPTS), "one more."], journal=file)
    assert asked(sim) == Counter([*PROMPTS, "one more."])
    assert [answer.status for answer in answers] == ["completed"] * 13
    assert answers[-2] == caught.value.answers[0]


def test_equal_prompts_are_questions_of_their_own(codex_home: object, sim: Simulator, tmp_path: Path) -> None:
    del codex_home
    file = tmp_path / "answers.jsonl"
    codex_nb.map(["roll a die", "roll a die"], journal=file)
    codex_nb.map(["roll a die"] * 3, journal=file)
    assert asked(sim) == Counter({"roll a die": 3})
    assert events(file) == Counter(codex_nb_journal=1, asked=3, answered=3)


@pytest.mark.parametrize(
    "other",
    [{"schema": bool}, {"model": "gpt-6.1-sol"}, {"effort": "high"}],
    ids=lambda other: next(iter(other)),
)
def test_another_question_is_not_answered_from_the_journal(
    other: dict[str, Any], codex_home: object, sim: Simulator, tmp_path: Path
) -> None:
    del codex_home
    file = tmp_path / "answers.jsonl"
    for options in ({}, other, {}, other):
        codex_nb.map(["Is it so?"], journal=file, **options)
    assert asked(sim) == Counter({"Is it so?": 2})


def test_another_kind_of_account_and_other_instructions_are_another_question(
    codex_home: Path, sim: Simulator, tmp_path: Path
) -> None:
    file = tmp_path / "answers.jsonl"
    codex_nb.map(["Is it so?"], journal=file)
    (codex_home / "AGENTS.md").write_text("Answer in French.")
    codex_nb.map(["Is it so?"], journal=file)
    codex_nb.api.close()
    (codex_home / "auth.json").unlink()
    sim.write_api_key(codex_home)
    (codex_home / "config.toml").write_text(sim.config_toml("api"))
    codex_nb.map(["Is it so?"], journal=file)
    assert asked(sim) == Counter({"Is it so?": 3})


def test_values_are_read_from_the_journal(codex_home: object, sim: Simulator, tmp_path: Path) -> None:
    del codex_home
    file = tmp_path / "answers.jsonl"
    first = codex_nb.map(["How heavy is it?"], schema=Weight, journal=file)
    second = codex_nb.map(["How heavy is it?"], schema=Weight, journal=file)
    assert type(second[0].parsed) is Weight
    assert second == first
    assert sum(asked(sim).values()) == 1


def test_the_file_is_private_and_holds_no_secret_and_no_prompt(
    codex_home: Path, sim: Simulator, tmp_path: Path
) -> None:
    file = tmp_path / "answers.jsonl"
    file.touch(0o666)
    codex_nb.map(["The word is xylophone-4711."], journal=file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    written = file.read_text()
    tokens = json.loads((codex_home / "auth.json").read_text())["tokens"]
    held = [value for value in tokens.values() if isinstance(value, str)]
    assert [value for value in held if value in written] == []
    keys = [entry.get("asked", "") for entry in entries(file)]
    assert re.fullmatch("[0-9a-f]{32}", keys[1])


def test_a_run_that_finds_the_journal_in_use_is_refused(
    codex_home: object, sim: Simulator, tmp_path: Path
) -> None:
    del codex_home
    file = tmp_path / "answers.jsonl"
    with opened(file, PROMPTS), pytest.raises(ConfigError):
        codex_nb.map(PROMPTS, journal=file)
    assert sim.requests.count("/responses") == 0
    codex_nb.map(PROMPTS[:1], journal=file)
    assert sim.requests.count("/responses") == 1


@pytest.mark.parametrize("kind", ["text", "folder", "pipe", "nowhere"])
def test_a_file_that_is_no_journal_is_left_as_it_is(
    kind: str, codex_home: object, sim: Simulator, tmp_path: Path
) -> None:
    del codex_home
    file = tmp_path / "folder" / "answers" if kind == "nowhere" else tmp_path / "answers"
    match kind:
        case "text":
            file.write_text("a,b\n1,2\n")
        case "folder":
            file.mkdir()
        case "pipe" if os.name == "nt":
            return
        case "pipe":
            os.mkfifo(file)
    with pytest.raises(ConfigError):
        codex_nb.map(PROMPTS, journal=file)
    assert sim.requests.count("/responses") == 0
    assert kind != "text" or file.read_text() == "a,b\n1,2\n"


texts = st.text(st.characters(exclude_categories=["Cs"]))
counts = st.integers(min_value=0, max_value=2**53)
answers = st.builds(
    Answer,
    text=texts,
    reasoning=texts,
    status=st.sampled_from(["completed", "incomplete"]),
    usage=st.builds(Usage, counts, counts, counts, counts, counts),
    model=texts,
    request_id=st.none() | texts,
    billing=texts,
)


@given(st.lists(st.tuples(st.text(), answers), max_size=8), st.data())
@settings(max_examples=40)
def test_whatever_is_cut_off_a_journal_costs_no_more_than_what_was_cut(
    tmp_path_factory: pytest.TempPathFactory, given: list[tuple[str, Answer]], data: st.DataObject
) -> None:
    prompts, wanted = [prompt for prompt, _ in given], [answer for _, answer in given]
    file = tmp_path_factory.mktemp("journal") / "answers.jsonl"
    ends = []
    with opened(file, prompts) as journal:
        for index, answer in enumerate(wanted):
            journal.asked(index)
            journal.answered(index, answer)
            ends.append(file.stat().st_size)
    whole = file.read_bytes()
    kept = data.draw(st.integers(0, len(whole)))
    file.write_bytes(whole[:kept])
    surviving = [answer if end - 1 <= kept else None for answer, end in zip(wanted, ends, strict=True)]
    with opened(file, prompts) as journal:
        assert journal.answers == surviving
        assert journal.in_doubt <= 1
        for index, answer in enumerate(wanted):
            if journal.answers[index] is None:
                journal.answered(index, answer)
    with opened(file, prompts) as journal:
        assert (journal.answers, journal.in_doubt) == (wanted, 0)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.binary(max_size=40) | json_values, max_size=6), json_values)
@settings(max_examples=40)
def test_lines_from_elsewhere_are_passed_over(
    tmp_path_factory: pytest.TempPathFactory, lines: list[object], odd: object
) -> None:
    file = tmp_path_factory.mktemp("journal") / "answers.jsonl"
    with opened(file, ["a"]) as journal:
        journal.answered(0, Answer("yes", usage=Usage(1, 0, 1, 0, 2)))
        key = entries(file)[1]["answered"]
    forged = [{**entries(file)[1], name: odd} for name in ("text", "status", "usage", "model", "request_id")]
    with file.open("ab") as journal_file:
        for line in [*lines, *forged, {"answered": key}, {"answered": [key]}]:
            journal_file.write(line if isinstance(line, bytes) else json.dumps(line).encode())
            journal_file.write(b"\n")
    with opened(file, ["a"]) as journal:
        [answer] = journal.answers
    assert isinstance(answer, Answer)
    assert isinstance(answer.text, str)
    assert isinstance(answer.usage.total_tokens, int)


KILLS = 50


def keys(file: Path, event: str) -> Counter[str]:
    if not file.exists():
        return Counter()
    return Counter(entry[event] for entry in entries(file) if event in entry)


@pytest.mark.skipif(os.name == "nt", reason="no kill -9 on Windows")
def test_a_run_that_is_killed_at_any_instant_is_resumed(
    codex_home: Path,
    sim: Simulator,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fifty runs are killed at whatever they do at that instant; one more completes the batch."""
    del codex_home
    file = tmp_path / "answers.jsonl"
    chance = random.Random(20261129)
    # An IPython shell of an earlier test may have put its own main module there, which has no __spec__.
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.magics.killed_batch"])
    lost = in_doubt = 0
    for _ in range(KILLS):
        sent = sim.requests.count("/responses") + chance.randrange(1, 5)
        child = processes.Process(target=killed_batch.run, args=(str(file),))
        child.start()
        sim.requests.wait(lambda log, sent=sent: log.count("/responses") >= sent, 60)
        for _ in range(chance.randrange(20_000)):
            pass
        child.kill()
        child.join()
        asks, answered = keys(file, "asked"), keys(file, "answered")
        assert max(answered.values(), default=1) == 1
        in_doubt = len(set(asks) - set(answered))
        assert in_doubt <= killed_batch.CONCURRENCY
        lost += in_doubt
    prompts = killed_batch.PROMPTS
    capsys.readouterr()
    answers = codex_nb.map(prompts, journal=file, concurrency=killed_batch.CONCURRENCY)
    assert str(in_doubt or "") in capsys.readouterr().err
    assert [prompt in answer.text for prompt, answer in zip(prompts, answers, strict=True)] == [True] * len(
        prompts
    )
    assert set(asked(sim)) == set(prompts)
    assert sum(asked(sim).values()) - len(prompts) <= lost


@pytest.mark.skipif(os.name == "nt", reason="no file size limit on Windows")
def test_a_full_disk_loses_no_answer_that_was_had(codex_home: object, sim: Simulator, tmp_path: Path) -> None:
    del codex_home
    import resource

    file = tmp_path / "answers.jsonl"
    codex_nb.map(PROMPTS[:2], journal=file)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 150, limits[1]))
    try:
        with pytest.raises(ConfigError) as caught:
            codex_nb.map(PROMPTS, journal=file, concurrency=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    had = [answer.status for answer in caught.value.answers]
    paid = sum(asked(sim).values())
    assert had == ["completed"] * paid + ["cancelled"] * (len(PROMPTS) - paid)
    codex_nb.map(PROMPTS, journal=file)
    assert sum(asked(sim).values()) == len(PROMPTS) + 1


def test_an_interrupt_leaves_a_journal_to_go_on_with(codex_home: object, tmp_path: Path) -> None:
    del codex_home
    file = tmp_path / "answers.jsonl"
    ready = Prepared(interrupted_at=PROMPTS[6])
    states = [answer.status for answer in codex_nb.map(PROMPTS, journal=file, executor=ready, concurrency=1)]
    assert states == ["completed"] * 6 + ["cancelled"] * 6
    ready.interrupted_at = ""
    assert codex_nb.map(PROMPTS, journal=file, executor=ready) == [Answer(prompt) for prompt in PROMPTS]
    assert ready.asked == Counter(PROMPTS)


@dataclass
class Prepared:
    """An executor that repeats each prompt at once."""

    interrupted_at: str = ""
    asked: Counter[str] = field(default_factory=Counter)

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> concurrent.futures.Future[Answer]:
        if arguments[-1] == self.interrupted_at:
            raise KeyboardInterrupt
        self.asked[arguments[-1]] += 1
        future: concurrent.futures.Future[Answer] = concurrent.futures.Future()
        future.set_result(Answer(arguments[-1]))
        return future


def reachable_bytes(root: object) -> int:
    """Add up the sizes of all objects that a value holds, classes left out."""
    seen: dict[int, object] = {}
    found = [root]
    while found:
        each = found.pop()
        if id(each) not in seen and not isinstance(each, type | ModuleType):
            seen[id(each)] = each
            found += gc.get_referents(each)
    return sum(map(sys.getsizeof, seen.values()))


def test_a_short_answer_of_a_journal_occupies_less_than_a_kilobyte(
    codex_home: object, sim: Simulator, tmp_path: Path
) -> None:
    del codex_home
    sim.add_replies(Reply(stream=(Think(("Numbers …",)), Say("Yes, it is even."), End()), times=None))
    prompts = [f"Is {number} even?" for number in range(50)]
    for _ in ("the answers of this run", "those of an earlier one"):
        answers = codex_nb.map(prompts, journal=tmp_path / "answers.jsonl")
        assert reachable_bytes(answers) <= 1000 * len(prompts)


def test_a_large_batch_never_needs_more_than_a_kilobyte_for_a_prompt(
    codex_home: object, tmp_path: Path
) -> None:
    del codex_home
    prompts = [f"prompt {number}" for number in range(3000)]
    codex_nb.map(prompts[:10], journal=tmp_path / "first.jsonl", executor=Prepared())
    for _ in ("asked", "read"):
        tracemalloc.start()
        try:
            answers = codex_nb.map(prompts, journal=tmp_path / "answers.jsonl", executor=Prepared())
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert [answer.text for answer in answers] == prompts
        assert most <= 1000 * len(prompts)
