"""``--schema`` takes a type as Python writes it, and refuses what is none before anything is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from codex_nb.simulator import End, Reply, Say, Simulator
from tests.magics.conftest import Notebook

DEFINITIONS = """\
from dataclasses import dataclass
import datetime
import types

@dataclass
class City:
    name: str

class Outer:
    class Inner(dict):
        pass

import enum
class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"

places = types.SimpleNamespace(City=City)
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
Cities = list[City]
"""
PARIS = {"name": "Paris"}
TYPES = [
    ("list[City]", {"value": [PARIS]}, "[City(name='Paris')]"),
    ("'list[City]'", {"value": [PARIS]}, "[City(name='Paris')]"),
    ('"list[City]"', {"value": [PARIS]}, "[City(name='Paris')]"),
    ("list['City']", {"value": [PARIS]}, "[City(name='Paris')]"),
    ("list [City]", {"value": [PARIS]}, "[City(name='Paris')]"),
    ("Cities", {"value": [PARIS]}, "[City(name='Paris')]"),
    ("list[places.City]", {"value": [PARIS]}, "[City(name='Paris')]"),
    ("list[datetime.date]", {"value": ["2024-01-02"]}, "[datetime.date(2024, 1, 2)]"),
    ("Size", {"value": "l"}, "<Size.LARGE: 'l'>"),
    ("dict[str, int]", {"a": 1}, "{'a': 1}"),
    ("dict[str,int]", {"a": 1}, "{'a': 1}"),
    ("dict[str, list[City | None]]", {"a": [None]}, "{'a': [None]}"),
    ("City | None", {"value": None}, "None"),
    ("City|None", {"value": None}, "None"),
    ("City| None", {"value": None}, "None"),
    ("City |None", {"value": PARIS}, "City(name='Paris')"),
    ("'City | None'", {"value": PARIS}, "City(name='Paris')"),
    ("None | City | int", {"value": 3}, "3"),
    ("Optional[City]", {"value": None}, "None"),
    ("Union[City, int]", {"value": 3}, "3"),
    ("Literal['a','b']", {"value": "b"}, "'b'"),
    ("Literal['a b', 2, -3, True, None]", {"value": -3}, "-3"),
    ("\"Literal['a', 'b']\"", {"value": "a"}, "'a'"),
    ("tuple[int, str]", {"value": [1, "one"]}, "(1, 'one')"),
    ("tuple[int, ...]", {"value": [1, 2]}, "(1, 2)"),
    ("List[Dict[str, Any]]", {"value": [{"a": 1}]}, "[{'a': 1}]"),
    ("set[int]", {"value": [1]}, "{1}"),
    ("int", {"value": 3}, "3"),
    ("SCHEMA", {"n": 1}, "{'n': 1}"),
]


IN_A_CELL = "%%codex -o x --schema {}\nWhich?"
ON_A_LINE = ("%codex -o x --schema {} Which?", "%codex --schema={} -o x Which?")
CASES = [(IN_A_CELL, *case) for case in TYPES]
CASES += [(form, *case) for form in ON_A_LINE for case in TYPES if " " in case[0]]


@pytest.mark.parametrize(("form", "written", "answer", "value"), CASES)
def test_a_type_is_taken_as_it_is_written(
    notebook: Notebook, sim: Simulator, form: str, written: str, answer: Any, value: str
) -> None:
    notebook.run(DEFINITIONS)
    sim.add_replies(Reply(stream=(Say(json.dumps(answer)), End())))
    ran = notebook.run(form.format(written))
    assert ran.succeeded, ran.error + ran.out
    assert repr(notebook.namespace["x"]) == value
    (request,) = sim.requests.to("/responses")
    assert request.body["input"][-1]["content"][-1]["text"] == "Which?"


REFUSED = [
    ("Nope", "'Nope' is not in your namespace"),
    ("list[Nope]", "'Nope' is not in your namespace"),
    ("list['Nope']", "'Nope' is not in your namespace"),
    ("Outer.Nope", "'Outer' has no 'Nope'"),
    ("acts.City", "'acts' has no 'City'"),
    ("acts.Other", "'acts' has no 'Other'"),
    ("City |", ""),
    ("list[City", ""),
    ("list[City]]", ""),
    ("'City' | None", ""),
    ('"City" | None', ""),
    ("list[make()]", ""),
    ("make()", ""),
    ("list[[City for City in make()]]", ""),
    ("(lambda: City)", ""),
    ("'City + None'", ""),
    ("'City if City else None'", ""),
    ("City[int]", ""),
    ("int[str]", ""),
    ("list[City].__class__", ""),
    ("__import__('os')", ""),
    ("[City]", ""),
    ("3", ""),
    ("Outer().Inner", ""),
    ("[" * 500 + "int" + "]" * 500, ""),
    ("|".join(["int"] * 5_000), ""),
    ("places['City']", ""),
    ("odd[int]", "Odd is not a type with parameters"),
]  # fmt: skip


@pytest.mark.parametrize(("written", "reason"), REFUSED, ids=[written[:40] for written, _ in REFUSED])
def test_what_is_no_type_is_refused_in_one_line_and_nothing_is_sent_or_run(
    notebook: Notebook, sim: Simulator, written: str, reason: str
) -> None:
    notebook.run(DEFINITIONS)
    notebook.run("made = []\ndef make():\n    made.append(1)\n    return [City]")
    notebook.run(
        "class Acts:\n    City = property(lambda self: make()[0])\n    def __getattr__(self, name):\n        make()\n"
        "acts = Acts()\n"
        "class Kind(type):\n    __module__ = __name__ = property(lambda self: make())\n"
        "class Odd(metaclass=Kind): ...\n"
        "odd = Odd()"
    )
    ran = notebook.run(f"%%codex -o x --schema {written}\nWhich?")
    (line,) = [line for line in (ran.out + ran.error).splitlines() if line.strip()]
    assert line.startswith("UsageError: ")
    assert "--schema" in line
    assert reason in line
    assert len(line) < 1_000
    assert (sim.requests.count("/responses"), notebook.namespace["made"]) == (0, [])
    assert "x" not in notebook.namespace


@pytest.mark.parametrize(
    "name",
    ["class", "None", "await", "__builtins__", "__name__", "__x__", "list", "print", "get_ipython", "In", "Out",
     "_", "__", "_3", "codex_nb", "\N{FULLWIDTH LATIN SMALL LETTER C}lass", "a.b", "1x", "a-b"],
)  # fmt: skip
def test_a_name_that_must_not_be_bound_is_refused_before_anything_is_sent(
    notebook: Notebook, sim: Simulator, name: str
) -> None:
    before = notebook.namespace.get(name)
    ran = notebook.run(f"%%codex -o {name}\nhello")
    (line,) = [line for line in (ran.out + ran.error).splitlines() if line.strip()]
    assert line.startswith(f"UsageError: %%codex: {name!r}")
    assert (sim.requests.count("/responses"), notebook.namespace.get(name)) == (0, before)


@pytest.mark.parametrize("name", ["answer", "match", "_private", "übersicht", "df"])
def test_an_ordinary_name_is_bound(notebook: Notebook, name: str) -> None:
    assert notebook.run(f"%%codex -o {name}\nhello").succeeded
    assert notebook.namespace[name] is notebook.namespace["_codex"]


@pytest.mark.parametrize(
    ("line", "thread"),
    [
        ('--thread "two words" Hello', "two words"),
        ('--thread="two words" Hello', "two words"),
        ("-t=a Hello", "a"),
    ],
)
def test_a_quoted_value_is_one_value_in_both_spellings(notebook: Notebook, line: str, thread: str) -> None:
    assert notebook.run(f"%codex {line}").succeeded
    assert notebook.namespace["_codex"].thread == thread
