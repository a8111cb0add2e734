"""The examples in the docstrings of the Python face run as they stand."""

from __future__ import annotations

import asyncio
import builtins
import doctest

import pytest

import codex_nb

FUNCTIONS = ("aask", "ask", "astream", "map", "status", "tool")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_examples_of_a_public_function_run(
    name: str, codex_home: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    del codex_home
    monkeypatch.setattr(
        builtins, "_", None, raising=False
    )  # doctest binds it, and IPython keeps away from it then
    known = {"codex_nb": codex_nb, "asyncio": asyncio}
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(codex_nb, name), name, globs=known)
    outcome = doctest.DocTestRunner().run(example)
    assert outcome.attempted > 0
    assert outcome.failed == 0
