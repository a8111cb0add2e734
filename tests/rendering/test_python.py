"""Our reading of Python gives the page that Pygments' own gives, for all the Python there is here."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import ssl
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pygments.lexers.python import PythonLexer
from pygments.token import STANDARD_TYPES, Token

from codex_nb.rendering.sanitize import _BARE, python_lexer

if TYPE_CHECKING:
    from types import ModuleType

THEIRS, OURS = PythonLexer(), python_lexer()
FRAGMENTS = [
    "name", "weather_1", "_", "__", "__init__", "__mine__", "match",
    "case", "lazy", "type", "print", "self", "None", "in",
    "not", "is", "def ", "class ", "from ", "import ", "as", "async for", "yield from", "lambda", "Exception", "été",
    "aé", "r", "f", "rb", "u", "t", '"', "'", '"""', "'''", "{", "}", "{{", "(",
    ")", "[", "]", ":", ":=", "=", "==", "!=",
    "->", ".", "..", "1", "0x1f", "1e5", ".5", "1.", "1_000j", "@", "@decorated", "\\", "\\\n", "\n", "\n    ", "\n\t",
    " ", "  ", "\t", "\x0c", "\r", "\u00a0", "# note", "#!x", ",", ";", "~", "?", "$", "`", "!", "%s",
    "%(a)s", "\\n", "|",
]  # fmt: skip


def coloured(lexer: Any, code: str) -> list[tuple[str, str]]:
    """Return the classes and their texts; neighbours of one class as one."""
    pieces: list[tuple[str, str]] = []
    for _, kind, text in lexer.get_tokens_unprocessed(code):
        name = class_of(kind)
        if pieces and pieces[-1][0] == name:
            pieces[-1] = (name, pieces[-1][1] + text)
        else:
            pieces.append((name, text))
    return pieces


def class_of(kind: Any) -> str:
    while kind not in STANDARD_TYPES and kind is not Token:
        kind = kind.parent
    name = STANDARD_TYPES[kind]
    return "" if name in _BARE else name


@pytest.mark.parametrize(
    "module", [ast, asyncio.tasks, json.decoder, os, ssl, typing], ids=lambda module: module.__name__
)
def test_programs_look_as_with_pygments(module: ModuleType) -> None:
    code = Path(str(module.__file__)).read_text(encoding="utf-8")
    assert coloured(OURS, code) == coloured(THEIRS, code)


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join))
def test_whatever_is_written_looks_as_with_pygments(code: str) -> None:
    assert coloured(OURS, code) == coloured(THEIRS, code)
