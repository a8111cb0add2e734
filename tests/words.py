"""Every word that a person reads, as a catalog: ``python -m tests.words`` writes ``docs/messages.md``.

A constant is shown as it stands, a function with its parameters' names in braces. What to do next is the message's own
hint, or that of the error as which it is raised.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from codex_nb.errors import CodexError
from codex_nb.session import repair, values
from codex_nb.words.message import Message
from tests.tiers import ROOT

PACKAGE = ROOT / "codex_nb"
WORDS = PACKAGE / "words"
PAGE = ROOT / "docs" / "messages.md"
RAISED_ELSEWHERE = (repair, values)  # their errors have advice of their own

CODE = re.compile(
    r"(`[^`]*`"
    r"|%{1,2}codex(?: (?:login(?: browser)?|usage|models|status|help|new|fix|last|effort|context|config|subcommand))?\b"
    r"|%reload_ext codex_nb|%config CodexMagics|pip install [^,]*|chmod 600 \{path\}|codex-nb(?: login)?\b"
    r"|--[a-z][a-z-]*(?: all)?|\b[A-Za-z]+(?:_[A-Za-z]+)+\b|\bconfig\.toml\b|\bauth\.json\b|(?<= )-[mo]\b)"
)
CHAPTERS: Mapping[str, tuple[str, ...]] = {
    "Asking": ("question", "transcript", "approval", "conversation", "context", "secret_names", "rendering"),
    "Values, many questions, tools": ("schemas", "batch", "tools", "kernel"),
    "The magics": ("commands", "preview", "reference"),
    "Signing in": ("sign_in", "login_flows", "account"),
    "The login": ("stored_login", "renewal", "restrictions", "identities", "workspace", "doctor"),
    "The service": ("api_errors", "network", "models", "limits"),
    "Settings and the command line": ("settings", "files", "command_line", "demo"),
    "What to do next, in one place": ("next_steps",),
}
INTRODUCTION = """\
# Every message

What codex_nb itself says to a person, and what to do next. Names in braces stand for what is known only when it is
said; `%codex` stands for the magic, `codex-nb` for the command line.

`python -m tests.words` writes this page from `codex_nb/words/`, and a test compares the two.
"""


@dataclass(frozen=True)
class Entry:
    """One text: its module, its name there, and what it says; a message is what an error says, with its own hint."""

    module: str
    name: str
    text: str
    hint: str | None = None
    is_message: bool = False

    @property
    def place(self) -> str:
        """The entry as it is named in code."""
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Use:
    """One place that uses a text; ``error`` is the class that it is raised as, ``hint`` the text given as its hint."""

    place: str
    error: str | None = None
    hint: str | None = None


def module_names() -> list[str]:
    """Return the modules that hold words."""
    return sorted(path.stem for path in WORDS.glob("*.py") if path.stem not in {"__init__", "message"})


def definitions(name: str) -> Iterator[tuple[str, Any]]:
    """Yield what a module of words defines for others, in its order."""
    module = importlib.import_module(f"codex_nb.words.{name}")
    for node in ast.parse(inspect.getsource(module)).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=defined)]) | ast.AnnAssign(target=ast.Name(id=defined)):
                pass
            case ast.FunctionDef(name=defined):
                pass
            case _:
                continue
        if not defined.startswith("_"):
            yield defined, getattr(module, defined)


@cache
def entries() -> tuple[Entry, ...]:
    """Return every text."""
    return tuple(
        entry
        for module in module_names()
        for name, value in definitions(module)
        for entry in _entries(module, name, value)
    )


def _entries(module: str, name: str, value: Any) -> Iterator[Entry]:
    match value:
        case Message():
            yield Entry(module, name, value.text, value.hint, is_message=True)
        case str():
            yield Entry(module, name, value)
        case dict():
            yield from (Entry(module, f"{name}[{key}]", text) for key, text in value.items())
        case tuple():
            yield from (Entry(module, f"{name}[{number}]", text) for number, text in enumerate(value))
        case _:
            yield from _entries(module, f"{name}()", shown(value))


def shown(function: Callable[..., Any]) -> Any:
    """Return what a function of words says, with its parameters' names in braces."""
    return function(**{name: braced(name) for name in inspect.signature(function).parameters})


def braced(parameter: str) -> str:
    """Return what stands in the place of a value."""
    return f"{{{parameter.replace('_', ' ')}}}"


@cache
def uses() -> dict[str, list[Use]]:
    """Return where each name of a module of words is used, by ``module.name``."""
    found: dict[str, list[Use]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        place = str(path.relative_to(PACKAGE))
        if place.startswith("simulator/"):
            continue
        tree = ast.parse(path.read_text())
        names = _imported(tree)
        own = path.stem if path.parent == WORDS else None
        for node in ast.walk(tree):
            for word in _named(node, names, own):
                found.setdefault(word, []).append(Use(place))
        for word, error, hint in _raised(tree, names):
            found.setdefault(word, []).append(Use(place, error, hint))
    return found


def _imported(tree: ast.AST) -> dict[str, str]:
    """Return what a file's names stand for: a module of words, or ``module.name``."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        if node.module == "codex_nb.words":
            names |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif node.module.startswith("codex_nb.words."):
            module = node.module.rpartition(".")[2]
            names |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in node.names}
    return names


def _named(node: ast.AST, names: Mapping[str, str], own: str | None = None) -> Iterator[str]:
    match node:
        case ast.Attribute(value=ast.Name(id=alias), attr=name) if alias in names:
            yield f"{names[alias]}.{name}"
        case ast.Name(id=name, ctx=ast.Load()) if "." in names.get(name, ""):
            yield names[name]
        case ast.Name(id=name, ctx=ast.Load()) if own is not None:
            yield f"{own}.{name}"
        case _:
            return


def _raised(tree: ast.AST, names: Mapping[str, str]) -> Iterator[tuple[str, str, str | None]]:
    """Yield each text that an error is made of, directly or through a variable, with the error's class and hint."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        assigned: dict[str, list[ast.AST]] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                assigned.setdefault(node.targets[0].id, []).append(node.value)
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                hint = next((keyword.value for keyword in node.keywords if keyword.arg == "hint"), None)
                hints = _texts_in(hint, assigned, names)
                for text in _texts_in(node.args[0], assigned, names):
                    yield text, node.func.id, next(iter(hints), None)


def _texts_in(
    node: ast.AST | None, assigned: Mapping[str, list[ast.AST]], names: Mapping[str, str]
) -> list[str]:
    if node is None:
        return []
    sources = [node, *assigned.get(node.id if isinstance(node, ast.Name) else "", [])]
    return sorted({text for source in sources for part in ast.walk(source) for text in _named(part, names)})


def error_classes() -> dict[str, type[CodexError]]:
    """Return every class of the error tree, by its name."""
    found: dict[str, type[CodexError]] = {}
    waiting: list[type[CodexError]] = [CodexError]
    while waiting:
        kind = waiting.pop()
        found[kind.__name__] = kind
        waiting += kind.__subclasses__()
    return found


def advice(entry: Entry, used: Mapping[str, list[Use]]) -> str:
    """Return what a person is told to do next.

    That is what the place that raises the error says, else the message's own hint, else that of the error's class.
    """
    places = used.get(entry.place.removesuffix("()"), ())
    given = [text_of(use.hint) for use in places if use.hint]
    if entry.hint is not None or given:
        return " ".join(dict.fromkeys([*given, *([entry.hint] if entry.hint else [])]))
    classes = error_classes()
    raised = {use.error for use in places if use.error in classes}
    return " ".join(sorted({classes[name].default_hint for name in raised if name})).strip()


def text_of(place: str) -> str:
    """Return the text that stands at ``module.name``."""
    module, _, name = place.partition(".")
    return next(
        entry.text for entry in entries() if (entry.module, entry.name.partition("(")[0]) == (module, name)
    )


def page() -> str:
    """Return the catalog as a page of the documentation."""
    used, texts = uses(), entries()
    hints = {entry.hint for entry in texts if entry.hint}
    parts = [INTRODUCTION]
    for chapter, modules in CHAPTERS.items():
        parts.append(f"## {chapter}\n")
        for module in modules:
            own = [e for e in texts if e.module == module and (e.text not in hints or module == "next_steps")]
            parts.append(f"### `words/{module}.py`\n\n{_title(module)}\n\n{_told(own, used)}\n")
    return "\n".join(parts)


def _title(module: str) -> str:
    loaded: ModuleType = importlib.import_module(f"codex_nb.words.{module}")
    return (loaded.__doc__ or "").split("\n\n")[0].strip().replace("``", "`")


def _told(own: list[Entry], used: Mapping[str, list[Use]]) -> str:
    """Return a table of what comes with advice, a list of the other sentences, and one paragraph of the rest."""
    rows = {(_cell(entry.text), _cell(advice(entry, used))): None for entry in own if is_sentence(entry)}
    advised = [f"| {text} | {hint} |" for text, hint in rows if hint]
    plain = [f"- {text}" for text, hint in rows if not hint]
    rest = dict.fromkeys(_cell(entry.text) for entry in own if not is_sentence(entry))
    parts = [
        "\n".join(["| message | what to do next |", "|---|---|", *advised]) if advised else "",
        "\n".join(plain),
        f"Labels and parts of sentences: {' · '.join(rest)}" if rest else "",
    ]
    return "\n\n".join(filter(None, parts))


def is_sentence(entry: Entry) -> bool:
    """Whether a text stands by itself: an error's message, or what ends as a sentence does."""
    return entry.is_message or entry.text.rstrip().endswith((".", "?", ":", "!"))


def _cell(text: str) -> str:
    """Return a text as it is read, whatever Markdown would make of it; what is typed is set as code."""
    pieces = CODE.split(text.strip())  # what is typed stands at the odd places
    shown = [_code(piece) if place % 2 else _escaped(piece) for place, piece in enumerate(pieces)]
    return re.sub(r"\s*\n\s*", "<br>", "".join(shown))


def _code(text: str) -> str:
    return text if text.startswith("`") else f"`{text}`"


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|~$#])", r"\\\1", text)


def write(path: Path = PAGE) -> None:
    """Write the page."""
    path.write_text(page())


if __name__ == "__main__":
    write()
