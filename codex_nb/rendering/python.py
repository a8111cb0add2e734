"""Python as Pygments reads it, at a third of the cost: what carries no colour is taken in one piece.

Pygments tries some forty patterns for each name, bracket and space. Most of what stands in a program is nothing else,
and the page shows it in the text's own colour.
"""

from __future__ import annotations

import re

from pygments.lexer import inherit, words  # type: ignore[import-untyped]  # Pygments ships no types
from pygments.lexers.python import PythonLexer  # type: ignore[import-untyped]  # Pygments ships no types
from pygments.token import Name  # type: ignore[import-untyped]  # Pygments ships no types

_KEYWORDS = {"_", "and", "case", "class", "def", "from", "import", "in", "is", "lazy", "match", "not", "or"}
_NAMES = {"Ellipsis", "NotImplemented", "cls", "self"}


def _words_with_a_meaning() -> list[str]:
    """Return every word that Pygments' own patterns treat in some special way."""
    rules = [rule for rules in PythonLexer.tokens.values() for rule in rules]
    listed = {
        word
        for rule in rules
        if isinstance(rule, tuple) and isinstance(rule[0], words)
        for phrase in rule[0].words
        for word in phrase.split()
    }
    return sorted(listed | _KEYWORDS | _NAMES)


# A name before a quote is a string's prefix; space at the beginning of a line may belong to a docstring or a keyword.
_PLAIN = (
    rf"(?:(?!__|(?:{'|'.join(map(re.escape, _words_with_a_meaning()))})\b)[A-Za-z_][A-Za-z0-9_]*+(?![\"']|[^\x00-\x7f])"
    r"|[-+*/%=<>&^|~,:;(){}\[\]]"
    r"|\.(?!\d)"
    r"|(?<=[^\s\\])[ \t]+)+"
)


class PlainFirstPythonLexer(PythonLexer):  # type: ignore[misc]  # Pygments ships no types
    """A lexer whose tokens carry the classes of ``PythonLexer``; those without a colour of their own are all names."""

    tokens = {"root": [(_PLAIN, Name), inherit]}  # noqa: RUF012 -- what Pygments reads from the class
