from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_nb.ui.part_views import ArgumentsReader, readable_arguments

characters = st.characters(exclude_categories=["Cs"])


@given(st.text(characters, max_size=40), st.booleans(), st.integers(1, 9), st.sampled_from(["", " ", "\n"]))
def test_the_code_of_a_call_is_read_however_its_json_is_cut(
    code: str, is_ascii: bool, size: int, space: str
) -> None:
    arguments = f'{{{space}"code"{space}:{space}{json.dumps(code, ensure_ascii=is_ascii)}{space}}}'
    reader = ArgumentsReader(takes_code=True)
    pieces = [arguments[at : at + size] for at in range(0, len(arguments), size)]
    assert ("".join(map(reader.feed, pieces)), reader.language) == (code, "python")


@pytest.mark.parametrize(
    "arguments", ['{"path": "a"}', '{"coder": 1}', "[1]", "{}", '{"code": 1}', "no json"]
)
def test_arguments_without_code_are_shown_as_they_are(arguments: str) -> None:
    reader = ArgumentsReader(takes_code=True)
    assert "".join(map(reader.feed, arguments)) == arguments
    assert reader.language == "json"


def test_of_a_tool_that_does_not_take_code_every_argument_is_shown() -> None:
    arguments = '{"code": "drop table x", "database": "live"}'
    reader = ArgumentsReader(takes_code=False)
    assert ("".join(map(reader.feed, arguments)), reader.language) == (arguments, "json")
    assert readable_arguments(arguments) == ('{\n  "code": "drop table x",\n  "database": "live"\n}', "json")


@pytest.mark.parametrize(
    ("arguments", "readable"),
    [
        ('{"code": "1 + 1"}', ('{\n  "code": "1 + 1"\n}', "json")),
        ('{"path": "ä.csv", "n": 3}', ('{\n  "path": "ä.csv",\n  "n": 3\n}', "json")),
        ("{}", ("", "json")),
        ("half a {", ("half a {", "")),
    ],
)
def test_finished_arguments_are_set_out_to_read(arguments: str, readable: tuple[str, str]) -> None:
    assert readable_arguments(arguments) == readable
