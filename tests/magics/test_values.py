"""Answers as values: what a cell binds, what the Python face gives back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

import codex_nb
from codex_nb.errors import CodexError, SignInRequired
from codex_nb.session.events import Answer, TurnFinished
from codex_nb.simulator import End, Reply, Say, Simulator, error_replies
from tests.magics.conftest import Notebook


@dataclass
class City:
    """What is asked for."""

    name: str
    inhabitants: int


PARIS = Reply(stream=(Say('{"name": "Paris", "inhabitants": 2100000}'), End()))


def test_a_cell_binds_its_answer_and_its_value(notebook: Notebook, sim: Simulator) -> None:
    sim.add_replies(PARIS)
    notebook.namespace["City"] = City
    assert notebook.run("%%codex -o city --schema City\nThe largest city of France").succeeded
    assert notebook.namespace["city"] == City("Paris", 2_100_000)
    assert notebook.namespace["_codex"].parsed == City("Paris", 2_100_000)


SHOWN = [
    ("City", '{"name": "Paris", "inhabitants": 2100000}', "    City(name='Paris', inhabitants=2100000)"),
    ("int", '{"value": 6}', "    6"),
    ("str", '{"value": "two\\nlines"}', "    two\n    lines"),
    ("None | City", '{"value": null}', "    None"),
    ("dict[str, int]", '{"a": 1}', "    {'a': 1}"),
    ("list[int]", '{"value": [1, 2]}', "    [1, 2]"),
    (
        "list[City]",
        '{"value": [{"name": "Pa|ris", "inhabitants": 2}, {"name": "Lyon", "inhabitants": 1}]}',
        "| name | inhabitants |\n| --- | --- |\n| Pa\\|ris | 2 |\n| Lyon | 1 |",
    ),
    ("Loud", '{"n": 1}', "    <Loud, whose repr fails: ZeroDivisionError>"),
]
LOUD = """\
from dataclasses import dataclass
import threading

@dataclass(repr=False)
class Loud:
    n: int
    def __post_init__(self):
        self.lock = threading.Lock()
    def __repr__(self):
        return 1 / 0
    def __deepcopy__(self, memo):
        raise TypeError("cannot be copied")
"""


@pytest.mark.parametrize(("written", "answer", "shown"), SHOWN)
def test_the_value_is_shown_and_not_the_json_that_it_came_in(
    notebook: Notebook, sim: Simulator, written: str, answer: str, shown: str
) -> None:
    notebook.run(LOUD)
    notebook.namespace["City"] = City
    sim.add_replies(Reply(stream=(Say(answer), End())))
    for _ in range(2):
        ran = notebook.run(f"%%codex --no-context -o x --schema '{written}'\nWhich?", cell_id="asking")
        assert ran.succeeded, ran.out + ran.error
        assert shown in ran.out
        assert answer not in ran.out
    assert notebook.namespace["_codex"].text == answer
    assert notebook.namespace["x"] is notebook.namespace["_codex"].parsed


def test_what_no_value_could_be_read_from_is_shown_as_it_came(notebook: Notebook, sim: Simulator) -> None:
    sim.add_replies(*[Reply(stream=(Say('{"value": "many"}'), End()))] * 2)
    ran = notebook.run("%%codex -o x --schema int\nHow many?")
    assert not ran.succeeded
    assert ran.out.count('{"value": "many"}') == 2


def test_a_type_of_pythons_own_needs_no_import_to_be_asked_for(notebook: Notebook, sim: Simulator) -> None:
    sim.add_replies(Reply(stream=(Say('{"value": 42}'), End())))
    assert notebook.run("%%codex -o count --schema int\nHow many?").succeeded
    assert notebook.namespace["count"] == 42


def test_a_cell_without_schema_binds_the_answer_itself(notebook: Notebook) -> None:
    notebook.run("%%codex -o answer\nhello")
    assert isinstance(notebook.namespace["answer"], Answer)
    assert notebook.namespace["answer"] is notebook.namespace["_codex"]


def test_an_answered_cell_run_again_costs_no_request_and_fresh_asks_anew(
    notebook: Notebook, sim: Simulator
) -> None:
    texts = [notebook.run("%%codex\nhello", cell_id="asking").out for _ in range(2)]
    after_two = sim.requests.count("/responses")
    notebook.run("%%codex --fresh\nhello", cell_id="asking")
    assert (after_two, sim.requests.count("/responses")) == (1, 2)
    assert texts[1].splitlines()[0].startswith("Saved answer from ")


def test_ask_works_in_a_script_and_inside_a_running_loop(codex_home: object, sim: Simulator) -> None:
    del codex_home
    sim.add_replies(PARIS, PARIS)

    async def inside_a_loop() -> Answer:
        return codex_nb.ask("The largest city of France", schema=City)

    answers = [codex_nb.ask("The largest city of France", schema=City), asyncio.run(inside_a_loop())]
    assert [answer.parsed for answer in answers] == [City("Paris", 2_100_000)] * 2


def test_a_function_of_the_users_is_called_where_the_user_waits(codex_home: object) -> None:
    del codex_home
    called = []

    @codex_nb.tool(effect="read")
    def weather(city: str) -> str:
        """Tell the weather."""
        called.append(city)
        return "rain"

    answer = codex_nb.ask("hello", tools=[weather], approval="auto")
    assert answer.status == "completed"


def test_astream_ends_with_the_answer(codex_home: object) -> None:
    del codex_home

    async def last_event() -> object:
        return [event async for event in codex_nb.astream("hello")][-1]

    last = asyncio.run(last_event())
    assert isinstance(last, TurnFinished)
    assert last.answer.status == "completed"


def test_errors_keep_their_class(codex_home: object, sim: Simulator) -> None:
    from pathlib import Path

    (Path(str(codex_home)) / "auth.json").unlink()
    with pytest.raises(SignInRequired):
        codex_nb.ask("hello")
    del sim


def test_a_refusal_of_the_backend_is_raised_with_its_words(codex_home: object, sim: Simulator) -> None:
    del codex_home
    sim.add_replies(error_replies.usage_limit_reached())
    with pytest.raises(CodexError, match="usage limit"):
        codex_nb.ask("hello")


def test_many_questions_keep_their_order_and_a_failed_one_its_place(
    codex_home: object, sim: Simulator
) -> None:
    del codex_home
    sim.add_replies(error_replies.rate_limited(0.01, times=2))
    prompts = [f"city {number}" for number in range(6)]
    answers = codex_nb.map(prompts, concurrency=3, on_error="return")
    assert [answer.status for answer in answers] == ["completed"] * 6
    assert [prompt in answer.text for prompt, answer in zip(prompts, answers, strict=True)] == [True] * 6


def test_a_series_of_questions_gives_a_series_of_values(codex_home: object) -> None:
    import pandas as pd

    del codex_home
    answers = codex_nb.map(pd.Series(["Paris", "Lyon"], index=["a", "b"]), schema=City)
    assert list(answers.index) == ["a", "b"]
    assert [type(answer.parsed) for answer in answers] == [City, City]


def test_an_executor_of_the_users_carries_the_questions(codex_home: object) -> None:
    from concurrent.futures import ThreadPoolExecutor

    del codex_home
    with ThreadPoolExecutor(2) as executor:
        answers = codex_nb.map(["one", "two", "three"], executor=executor)
    assert [answer.status for answer in answers] == ["completed"] * 3
