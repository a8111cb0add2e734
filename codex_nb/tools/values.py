"""Short texts for values, made without asking a value of a foreign class for anything."""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import pathlib
import types
import uuid
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from codex_nb.tools.secret_names import is_secret_name, is_withheld
from codex_nb.tools.trust import library_of, module_of, mro_of, name_of, qualified_name

if TYPE_CHECKING:
    from collections.abc import Iterable

SHORT = 80
_PLAIN = (int, float, complex, bool, type(None), decimal.Decimal, fractions.Fraction, uuid.UUID, range)
_DATES = (dt.datetime, dt.date, dt.time, dt.timedelta)
_PATHS = (pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePosixPath, pathlib.PureWindowsPath)
_BRACKETS: dict[type, str] = {list: "[]", tuple: "()", set: "{}", frozenset: "{}"}
_LARGEST_INTEGER = 10**60


@dataclass(frozen=True)
class ShortText:
    """What is said of a value, and whether that is all of it."""

    text: str
    whole: bool = False


def short(value: object, limit: int = SHORT, depth: int = 2) -> str:
    """Return a value as at most about ``limit`` characters; values of foreign classes only by their type."""
    return short_text(value, limit, depth).text


def short_text(value: object, limit: int = SHORT, depth: int = 2) -> ShortText:
    """Return what :func:`short` says, and whether it says all of the value."""
    kind = type(value)
    if type(kind) is not type:
        # Even comparing a class can run code, when its metaclass says how classes compare.
        return ShortText(f"<{_described(value)}>")
    if kind is str:
        return ShortText(_text(str(value), limit), len(str(value)) <= limit)
    if kind is bytes or kind is bytearray:
        return ShortText(f"{name_of(kind)} of {len(value):,} bytes")  # type: ignore[arg-type]  # both kinds have a length
    if kind is int and abs(value) >= _LARGEST_INTEGER:  # type: ignore[arg-type]  # an integer, exactly
        return ShortText(f"an integer of about {value.bit_length():,} bits")  # type: ignore[attr-defined]  # as above
    if kind in _PLAIN:
        return ShortText(repr(value), whole=True)
    if kind in _DATES or kind in _PATHS:
        return _cut(str(value), limit)
    if kind in _BRACKETS:
        return _sequence(value, limit, depth)
    if kind is dict:
        return _mapping(value, limit, depth)  # type: ignore[arg-type]  # a dict, exactly
    if library_of(value) in {"numpy", "pandas"} and _is_scalar(kind):
        said = _cut(str(value), limit)
        return replace(said, whole=said.whole and _is_number(kind))
    return ShortText(f"<{_described(value)}>")


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


def _cut(text: str, limit: int) -> ShortText:
    return ShortText(text[:limit], len(text) <= limit)


def _sequence(value: Any, limit: int, depth: int) -> ShortText:
    brackets = _BRACKETS[type(value)]
    said = _entries((short_text(entry, SHORT // 2, depth - 1) for entry in value), len(value), limit, depth)
    return replace(said, text=f"{brackets[0]}{said.text}{brackets[1]}")


def _mapping(value: dict[Any, Any], limit: int, depth: int) -> ShortText:
    pairs = (_pair(short_text(key, 30, 0), _entry(key, entry, depth - 1)) for key, entry in value.items())
    said = _entries(pairs, len(value), limit, depth)
    return replace(said, text=f"{{{said.text}}}")


def _pair(key: ShortText, entry: ShortText) -> ShortText:
    return ShortText(f"{key.text}: {entry.text}", key.whole and entry.whole)


def _entry(key: object, value: object, depth: int) -> ShortText:
    if is_secret_name(key) and is_withheld(value):
        return ShortText("(withheld)")
    return short_text(value, SHORT // 2, depth)


def _entries(entries: Iterable[ShortText], count: int, limit: int, depth: int) -> ShortText:
    if depth <= 0 and count:
        return ShortText(f"… {count:,} entries")
    shown: list[ShortText] = []
    size = 0
    for entry in islice(entries, 12):
        size += len(entry.text) + 2
        if shown and size > limit:
            break
        shown.append(entry)
    rest = f", … {count:,} entries" if len(shown) < count else ""
    return ShortText(
        ", ".join(entry.text for entry in shown) + rest, not rest and all(entry.whole for entry in shown)
    )


def _is_scalar(kind: type) -> bool:
    names = {qualified_name(base) for base in mro_of(kind)}
    if module_of(kind).startswith("pandas"):
        return bool(names & {"Timestamp", "Timedelta", "Period", "Interval", "NAType", "NaTType"})
    return "generic" in names and "object_" not in names


def _is_number(kind: type) -> bool:
    return bool({qualified_name(base) for base in mro_of(kind)} & {"number", "bool", "bool_"})
