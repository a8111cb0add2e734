from __future__ import annotations

import json

from codex_nb.session.prompt import explain_prompt, failure_data, fix_prompt
from codex_nb.tools.describe import format_error
from codex_nb.tools.hiding import Hidden
from codex_nb.tools.nbmodel import Cell, Run


def caught(text: str) -> BaseException:
    def inner() -> None:
        json.loads(text)

    try:
        inner()
    except ValueError as error:
        return error
    raise AssertionError


def test_the_failed_cell_and_its_error_are_data_and_the_users_wish_ends_the_question() -> None:
    failed = Run(Cell("code", "1/0"), error="\x1b[31mZeroDivisionError\x1b[0m: division by zero")
    data = failure_data(failed, Hidden())
    assert "```python\n1/0\n```" in data
    assert "ZeroDivisionError: division by zero" in data
    assert fix_prompt("Use numpy.") == f"{fix_prompt()}\n\nUse numpy."


def test_a_long_error_keeps_its_ends() -> None:
    data = failure_data(Run(Cell("code", "x" * 50_000), error="y" * 50_000), Hidden())
    assert len(data) < 16_000


def test_the_traceback_keeps_the_users_frames_and_the_innermost_ones() -> None:
    words = format_error(caught("{"))
    assert words.splitlines()[0].startswith("… ")
    assert "json.loads(text)" in words
    assert words.splitlines()[-1].startswith("json.decoder.JSONDecodeError: Expecting property name")


def test_an_error_that_cannot_be_put_into_words_is_named() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert "Mute" in format_error(Mute())


def test_an_explanation_is_asked_of_the_cell_above_or_of_what_is_named() -> None:
    assert explain_prompt("  ") == explain_prompt()
    assert explain_prompt("line 3").endswith("The question is about: line 3")
