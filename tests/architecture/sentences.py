"""Sentences in source code: where text for a reader stands, and what else may look like it.

A literal reads as a sentence when two words stand side by side in it, or when it is a word with a full stop. Docstrings
and log lines are passed over; patterns, markup, programs and the like are told apart by their form.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

WORD = r"(?<![\w.@/$<%-])(?:%{1,2}codex|[A-Za-z][A-Za-z']*)"
TWO_WORDS = re.compile(rf"{WORD}[,;:.]? {WORD}(?![\w=(/<])")
WORD_WITH_FULL_STOP = re.compile(r"[A-Z][a-z]+[.…]")
FORMS = {
    "a pattern": re.compile(r"\\[bsdwSnrZ\[\]]|\(\?|\[\^?[A-Za-z]-"),
    "a head of HTTP": re.compile(r"\r\n"),
    "markup": re.compile(r"</|=\"|\bnoopener\b"),
    "a program": re.compile(r"\bimport \w+;"),
    "a moment's form": re.compile(r"%[YHMdbaS]"),
    "a scope of OAuth": re.compile(r"\bopenid\b"),
    "a repr": re.compile(r"^<.*>$"),
}
PARAMETER = "{…}"
SCRIPT_COMMENT = re.compile(r"/\*.*?\*/|(?:^|\s)//[^\n]*", re.DOTALL)
SCRIPT_TEXT = re.compile(r"\"((?:[^\"\\\n]|\\.)*)\"|`((?:[^`\\]|\\.)*)`|'((?:[^'\\\n]|\\.)*)'")
SELECTOR = re.compile(r"[.\w-]+(?:, [.\w-]+)+")
LOGGERS = {"logger", "_log", "log"}
LOG_METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
MODELS_ERRORS = {"InvalidArguments", "UnknownTool", "ToolError", "Unfit", "_OutsideError"}
SHOWN = {"Notice", "UsageError", "Waiting", "EnterSecret", "Finding", "Remark"}
Function = ast.FunctionDef | ast.AsyncFunctionDef
Literal = ast.Constant | ast.JoinedStr


@dataclass(frozen=True)
class Sentence:
    """One literal that reads as a sentence.

    ``place`` names what it stands in: the method, function or constant. ``is_told`` tells whether a person is shown it
    for certain, because it is raised (as an error that is not the model's) or stands in a notice.
    """

    line: int
    place: str
    text: str
    is_told: bool = False


def sentences(source: str) -> list[Sentence]:
    """Return the literals of a module that read as sentences, in their order."""
    found = [
        Sentence(literal.lineno, where.place, text, where.is_told)
        for literal, where in _literals(ast.parse(source), _Where())
        if reads_as_sentence(text := text_of(literal))
    ]
    return sorted(found, key=lambda sentence: sentence.line)


def script_sentences(source: str) -> list[str]:
    """Return the texts of a JavaScript file that read as sentences; a selector names tags, with commas between them."""
    code = SCRIPT_COMMENT.sub(" ", source)
    texts = [next(filter(None, match.groups()), "") for match in SCRIPT_TEXT.finditer(code)]
    return [text for text in texts if reads_as_sentence(text) and not SELECTOR.fullmatch(text)]


def texts_in(source: str) -> list[str]:
    """Return every text that a module writes down, docstrings left out."""
    return [text_of(literal) for literal, _ in _literals(ast.parse(source), _Where())]


def reads_as_sentence(text: str) -> bool:
    """Whether a text is for a reader, by its form."""
    if any(form.search(text) for form in FORMS.values()):
        return False
    return bool(TWO_WORDS.search(text) or WORD_WITH_FULL_STOP.fullmatch(text))


def text_of(literal: Literal) -> str:
    """Return a literal's text, with a mark where an f-string puts a value."""
    if isinstance(literal, ast.Constant):
        return str(literal.value)
    parts = [part.value if isinstance(part, ast.Constant) else PARAMETER for part in literal.values]
    return "".join(map(str, parts))


@dataclass(frozen=True)
class _Where:
    """Where the walk has come to: in which definition, and which of its names are told to a person."""

    place: str = ""
    told_names: frozenset[str] = frozenset()
    is_told: bool = False

    def below(self, node: ast.AST) -> _Where:
        """Return where the parts of a node stand."""
        match node:
            case ast.ClassDef(name=name):
                return replace(self, place=name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                return replace(self, place=name, told_names=_told_names(node))
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                return replace(self, place=self.place or name, is_told=name in self.told_names)
            case ast.Raise() | ast.Call():
                return replace(self, is_told=self.is_told or _tells(node))
            case _:
                return self


def _literals(node: ast.AST, where: _Where) -> Iterator[tuple[Literal, _Where]]:
    match node:
        case ast.Constant(value=str()):
            yield node, where
        case ast.JoinedStr():
            yield node, where
            for part in node.values:
                if isinstance(part, ast.FormattedValue):
                    yield from _literals(part.value, where)
        case ast.Expr(value=ast.Constant()):
            return  # a docstring
        case ast.Call() if _is_log_call(node):
            return
        case _:
            inner = where.below(node)
            for child in ast.iter_child_nodes(node):
                if not _is_annotation(child, node):
                    yield from _literals(child, inner)


def _tells(node: ast.AST) -> bool:
    """Whether what stands in this statement or call reaches a person, whatever else its module says to the model."""
    match node:
        case ast.Raise(exc=ast.Call(func=ast.Name(id=name))):
            return name not in MODELS_ERRORS
        case ast.Call(func=ast.Name(id=name)):
            return name in SHOWN
        case _:
            return False


def _told_names(function: ast.AST) -> frozenset[str]:
    """Return the names that a function hands to what it raises or shows."""
    telling = [node for node in ast.walk(function) if _tells(node)]
    return frozenset(part.id for node in telling for part in ast.walk(node) if isinstance(part, ast.Name))


def _is_log_call(call: ast.Call) -> bool:
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in LOG_METHODS:
        return False
    owner = call.func.value
    name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
    return name in LOGGERS


def _is_annotation(child: ast.AST, parent: ast.AST) -> bool:
    return child in (getattr(parent, "annotation", None), getattr(parent, "returns", None))
