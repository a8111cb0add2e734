"""Variables described without running the user's code, and the secrets that they hold."""

from __future__ import annotations

import types
from dataclasses import dataclass
from enum import Enum
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from codex_nb.tools.describe_data import COLUMNS, FULL_COLUMNS, FULL_ROWS, ROWS, describe_data, secret_columns
from codex_nb.tools.introspection import (
    class_vars,
    defines,
    exact_text,
    instance_vars,
    library_base,
    library_of,
    module_name,
    module_of,
    mro_of,
    name_of,
    snapshot,
)
from codex_nb.tools.safe_repr import SHORT, code_fingerprint, safe_repr, safe_text
from codex_nb.tools.secrets import MAX_SECRET_LENGTH, is_known_everywhere, is_secret_name, is_withheld

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


WITHHELD = "(withheld: its name says that it is secret)"
_FULL_TEXT = 4_000
_ATTRIBUTES = 8
_FULL_ATTRIBUTES = 40
_SHELL_NAMES = frozenset({"In", "Out", "exit", "quit", "open", "get_ipython", "codex_nb"})
# by their first names: a path comes from pathlib, in Python 3.13 from pathlib._local
_PLAIN_MODULES = frozenset({"builtins", "datetime", "decimal", "pathlib", "fractions", "uuid"})


class Detail(Enum):
    """How much of a variable is shown."""

    LINE = "line"
    NORMAL = "normal"
    FULL = "full"


@dataclass(frozen=True)
class Description:
    """The description of a variable.

    ``whole`` tells whether that is all of its value; for a function or class, whether ``code`` identifies its code.
    """

    text: str
    whole: bool = False
    code: str = ""


def describe(name: str, value: object, detail: Detail = Detail.NORMAL) -> Description:
    """Describe a variable without running code of its own; a value that cannot be read is described by its type."""
    code, is_secret = "", is_secret_name(name) and is_withheld(value)
    try:
        lines = _withheld(value) if is_secret else _lines(value, detail)
        code = "" if is_secret else code_fingerprint(value) or ""
        whole = bool(code) or (not is_secret and safe_repr(value, _limit(detail), 3).whole)
    except Exception as error:  # noqa: BLE001 -- a broken object of a library is described as far as possible
        lines, whole = [f"{name_of(type(value))} (it cannot be read: {name_of(type(error))})"], False
    if detail is Detail.LINE:
        lines = lines[:1]
    return Description("\n".join((f"{name}: {lines[0]}", *(f"  {line}" for line in lines[1:]))), whole, code)


def _limit(detail: Detail) -> int:
    return _FULL_TEXT if detail is Detail.FULL else SHORT


def _withheld(value: Any) -> list[str]:
    """Describe what has a secret name by its type and size, never by its contents."""
    kind = type(value)
    if kind is types.FunctionType or issubclass(kind, type):
        return _lines(value, Detail.LINE)
    data = describe_data(value, rows=0, columns=COLUMNS)
    if data is not None:
        return [f"{data[0]} {WITHHELD}"]
    is_sized = kind is list or kind is tuple or kind is dict or kind is set or kind is frozenset
    size = f" of {len(value):,}" if is_sized else ""
    return [f"{name_of(kind)}{size} {WITHHELD}"]


def _lines(value: object, detail: Detail) -> list[str]:
    full = detail is Detail.FULL
    if library_of(value) is not None and (shown := safe_text(value)) != f"<{name_of(type(value))}>":
        return [f"{name_of(type(value))} = {shown}"]
    rows = 0 if detail is Detail.LINE else FULL_ROWS if full else ROWS
    data = describe_data(value, rows=rows, columns=FULL_COLUMNS if full else COLUMNS)
    if data is not None:
        return data
    kind = type(value)
    if type(kind) is type and module_of(kind).partition(".")[0] in _PLAIN_MODULES:
        return _builtin(value, detail)
    if type(value) is types.FunctionType:
        return [_signature(value)]
    if library_of(value) is None and (base := library_base(value)) is not None:
        return [f"{name_of(kind)}, a kind of {name_of(base)}; not looked into"]
    return _foreign(value, full=full)


def _builtin(value: Any, detail: Detail) -> list[str]:
    kind = type(value)
    if kind is types.FunctionType:
        return [_signature(value)]
    if kind is type:
        bases = ", ".join(name_of(base) for base in mro_of(value)[1:-1])
        return [f"class {name_of(value)}({bases})" if bases else f"class {name_of(value)}"]
    shown = safe_text(value, _limit(detail), 3)
    if shown == f"<{name_of(kind)}>":
        return [name_of(kind)]
    size = f" of {len(value):,}" if kind in {list, tuple, dict, set, frozenset, str, bytes} else ""
    return [f"{name_of(kind)}{size} = {shown}"]


def _signature(function: types.FunctionType) -> str:
    code = function.__code__
    count = code.co_argcount + code.co_kwonlyargcount
    names = list(code.co_varnames[:count])
    if code.co_kwonlyargcount:
        names.insert(code.co_argcount, "*")
    shown = first_line(function.__doc__)
    return f"function {exact_text(function.__name__)}({', '.join(names)}){f': {shown}' if shown else ''}"


def first_line(docstring: object) -> str:
    """Return the first line of a docstring."""
    return docstring.strip().partition("\n")[0][:SHORT] if type(docstring) is str else ""


def _foreign(value: object, *, full: bool) -> list[str]:
    kind = type(value)
    if issubclass(kind, type):
        return [f"class {name_of(value)}"]  # type: ignore[arg-type]  # a class, as just checked
    lines = [name_of(kind)]
    if not full and module_of(kind) != "__main__" and not defines(kind, "__dataclass_fields__"):
        return lines
    attributes = {k: v for k, v in instance_vars(value).items() if type(k) is str and k[:1] != "_"}
    limit = _FULL_ATTRIBUTES if full else _ATTRIBUTES
    shown = [f"{name}={_attribute(name, held)}" for name, held in list(attributes.items())[:limit]]
    rest = f", … {len(attributes):,} attributes" if len(attributes) > limit else ""
    if shown:
        lines.append(f"attributes: {', '.join(shown)}{rest}")
    if full:
        methods = [
            name
            for name, held in class_vars(kind).items()
            if type(held) is types.FunctionType and type(name) is str and name[:1] != "_"
        ]
        lines += [f"methods: {', '.join(methods[:_FULL_ATTRIBUTES])}"] if methods else []
    return lines


def _attribute(name: str, value: object) -> str:
    return "(withheld)" if is_secret_name(name) and is_withheld(value) else safe_text(value, 40, 1)


def is_user_variable(name: str, value: object) -> bool:
    """Whether a name of the namespace is the user's own: not the shell's, not private, not a module."""
    if type(name) is not str or name.startswith("_") or name in _SHELL_NAMES:
        return False
    return type(value) is not types.ModuleType and module_of(type(value)).partition(".")[0] not in {
        "IPython",
        "codex_nb",
    }


def imported_modules(namespace: Mapping[str, Any]) -> str:
    """Return the imported modules as ``pandas as pd, numpy``; empty without any."""
    modules = []
    for name, value in snapshot(namespace).items():
        if type(value) is types.ModuleType and not name.startswith("_"):
            real = module_name(value)
            modules.append(name if real == name else f"{real} as {name}")
    return ", ".join(sorted(modules))


_LARGEST_NUMBER = 10**60
_MAX_VISITED = 5_000
_FIRST_ENTRIES = 50
_MAX_ENTRIES = 500
_DEEPEST = 6


def secrets_of_namespace(namespace: Mapping[str, Any]) -> set[str]:
    """Return the values that variables, columns, keys and attributes with secret names hold."""
    namespace = snapshot(namespace)
    names = sorted(namespace, key=is_secret_name, reverse=True)
    named = chain.from_iterable(_named(name, namespace[name], "", _DEEPEST) for name in names)
    found = set()
    for secret, value in islice(named, _MAX_VISITED):
        text = _as_text(value)
        if text is not None and is_known_everywhere(secret, text):
            found.add(text)
    return found


def _named(name: object, value: Any, secret: str, depth: int) -> Iterator[tuple[str, object]]:
    """Yield what stands under a secret name, with that name, and a None for each container that was looked into."""
    if is_secret_name(name):
        secret = name_text(name)
    kind = type(value)
    if _is_plain(kind):
        if secret:
            yield secret, value
        return
    yield "", None
    if depth:
        try:
            for key, entry in islice(
                _entries(kind, value, secret), _MAX_ENTRIES if secret else _FIRST_ENTRIES
            ):
                if secret or not _is_plain(type(entry)) or is_secret_name(key):
                    yield from _named(key, entry, secret, depth - 1)
        except Exception:  # noqa: BLE001 -- a broken object of a library holds nothing that could be modules either
            return


def _is_plain(kind: type) -> bool:
    return kind is str or kind is int or kind is float or kind is bytes or kind is bytearray or kind is bool


def _entries(kind: type, value: Any, secret: str) -> Iterable[tuple[object, Any]]:
    if kind is list or kind is tuple or kind is set or kind is frozenset:
        return (("", entry) for entry in value)
    if kind is dict:
        items: Iterable[tuple[object, Any]] = value.items()
        return items
    if library_of(value) is not None:
        return secret_columns(value, everything=bool(secret))
    return instance_vars(value).items() if module_of(kind) != "builtins" else ()


def name_text(name: Any) -> str:
    """Return a name as text; the parts of a name of several parts are joined."""
    if type(name) is tuple:
        return " ".join(map(name_text, name))
    if type(name) is bytes:
        return name.decode("latin-1")
    return str.__str__(name) if issubclass(type(name), str) else ""


def _as_text(value: Any) -> str | None:
    if type(value) is bytes or type(value) is bytearray:
        return bytes(value[:MAX_SECRET_LENGTH]).decode("latin-1")
    if type(value) is int and abs(value) < _LARGEST_NUMBER:
        return str(value)
    return str.__str__(value) if issubclass(type(value), str) else None
