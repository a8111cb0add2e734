"""Short texts for values, made without asking a value of a foreign class for anything."""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import pathlib
import types
import uuid
from itertools import islice
from typing import Any

from codex_nb.tools.secret_names import is_secret_name, is_withheld
from codex_nb.tools.trust import library_of, module_of, mro_of, name_of, qualified_name

SHORT = 80
_PLAIN = (int, float, complex, bool, type(None), decimal.Decimal, fractions.Fraction, uuid.UUID, range)
_DATES = (dt.datetime, dt.date, dt.time, dt.timedelta)
_PATHS = (pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePosixPath, pathlib.PureWindowsPath)
_BRACKETS: dict[type, str] = {list: "[]", tuple: "()", set: "{}", frozenset: "{}"}
_LARGEST_INTEGER = 10**60


def short(value: object, limit: int = SHORT, depth: int = 2) -> str:
    """Return a value as at most about ``limit`` characters; values of foreign classes only by their type."""
    kind = type(value)
    if type(kind) is not type:
        # Even comparing a class can run code, when its metaclass says how classes compare.
        return f"<{_described(value)}>"
    if kind is str:
        return _text(str(value), limit)
    if kind is bytes or kind is bytearray:
        return f"{name_of(kind)} of {len(value):,} bytes"  # type: ignore[arg-type]  # both kinds have a length
    if kind is int and abs(value) >= _LARGEST_INTEGER:  # type: ignore[arg-type]  # an integer, exactly
        return f"an integer of about {value.bit_length():,} bits"  # type: ignore[attr-defined]  # as above
    if kind in _PLAIN:
        return repr(value)
    if kind in _DATES or kind in _PATHS:
        return str(value)[:limit]
    if kind in _BRACKETS:
        return _sequence(value, limit, depth)
    if kind is dict:
        return _mapping(value, limit, depth)  # type: ignore[arg-type]  # a dict, exactly
    if library_of(value) in {"numpy", "pandas"} and _is_scalar(kind):
        return str(value)[:limit]
    return f"<{_described(value)}>"


def _described(value: object) -> str:
    kind = type(value)
    if kind is types.FunctionType or kind is types.BuiltinFunctionType:
        return f"function {_text(_function_name(value), SHORT)}"
    if isinstance(kind, type) and issubclass(kind, type):
        return f"class {name_of(value)}"  # type: ignore[arg-type]  # a class, as just checked
    if kind is types.ModuleType:
        return f"module {value.__name__}"  # type: ignore[attr-defined]  # a module, exactly
    return name_of(kind)


def _function_name(value: object) -> str:
    name: Any = getattr(value, "__qualname__", "")
    return name if type(name) is str else ""


def _text(value: str, limit: int) -> str:
    if len(value) <= limit:
        return repr(value)
    return f"{value[:limit]!r}… ({len(value):,} characters)"


def _sequence(value: Any, limit: int, depth: int) -> str:
    brackets = _BRACKETS[type(value)]
    entries = _entries((short(entry, SHORT // 2, depth - 1) for entry in value), len(value), limit, depth)
    return f"{brackets[0]}{entries}{brackets[1]}"


def _mapping(value: dict[Any, Any], limit: int, depth: int) -> str:
    pairs = (f"{short(key, 30, 0)}: {_entry(key, entry, depth - 1)}" for key, entry in value.items())
    return f"{{{_entries(pairs, len(value), limit, depth)}}}"


def _entry(key: object, value: object, depth: int) -> str:
    if is_secret_name(key) and is_withheld(value):
        return "(withheld)"
    return short(value, SHORT // 2, depth)


def _entries(texts: Any, count: int, limit: int, depth: int) -> str:
    if depth <= 0 and count:
        return f"… {count:,} entries"
    shown: list[str] = []
    size = 0
    for text in islice(texts, 12):
        size += len(text) + 2
        if shown and size > limit:
            break
        shown.append(text)
    rest = f", … {count:,} entries" if len(shown) < count else ""
    return ", ".join(shown) + rest


def _is_scalar(kind: type) -> bool:
    names = {qualified_name(base) for base in mro_of(kind)}
    if module_of(kind).startswith("pandas"):
        return bool(names & {"Timestamp", "Timedelta", "Period", "Interval", "NAType", "NaTType"})
    return "generic" in names and "object_" not in names
