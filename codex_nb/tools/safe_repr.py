"""Values as short texts, without running code of theirs: exact types of Python and of well-known libraries only."""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import gc
import hashlib
import pathlib
import types
import typing
import uuid
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from codex_nb.tools.introspection import (
    class_vars,
    exact_text,
    field,
    has_known_zone,
    is_known,
    is_one_of,
    library_of,
    module_name,
    module_of,
    mro_of,
    name_of,
    native,
    qualified_name,
)
from codex_nb.tools.secrets import is_secret_name, is_withheld

if TYPE_CHECKING:
    from collections.abc import Iterable


SHORT = 80
_PLAIN = (int, float, complex, bool, type(None), decimal.Decimal, range)
_DATES = (dt.date, dt.timedelta)
_TIMES = (dt.datetime, dt.time)
_ZONE = dt.datetime.__dict__["tzinfo"]
_PATHS = (pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePosixPath, pathlib.PureWindowsPath)
_BRACKETS: dict[type, str] = {list: "[]", tuple: "()", set: "{}", frozenset: "{}"}
_LARGEST_INTEGER = 10**60


@dataclass(frozen=True)
class SafeRepr:
    """The text of a value, and whether that is all of it."""

    text: str
    whole: bool = False


def safe_text(value: object, limit: int = SHORT, depth: int = 2) -> str:
    """Return a value as at most about ``limit`` characters; values of foreign classes only by their type."""
    return safe_repr(value, limit, depth).text


def safe_repr(value: object, limit: int = SHORT, depth: int = 2) -> SafeRepr:
    """Return the text of :func:`safe_text`, and whether it is all of the value."""
    kind = type(value)
    if type(kind) is not type:
        # Even comparing a class can run code, when its metaclass says how classes compare.
        return SafeRepr(f"<{_described(value)}>")
    if kind is str:
        return SafeRepr(_quoted(str(value), limit), len(str(value)) <= limit)
    if kind is bytes or kind is bytearray:
        return SafeRepr(f"{name_of(kind)} of {len(value):,} bytes")  # type: ignore[arg-type]  # both kinds have a length
    if kind is int and abs(value) >= _LARGEST_INTEGER:  # type: ignore[arg-type]  # an integer, exactly
        return SafeRepr(f"an integer of about {value.bit_length():,} bits")  # type: ignore[attr-defined]  # as above
    if kind in _PLAIN:
        return SafeRepr(repr(value), whole=True)
    if kind in _DATES or (kind in _PATHS and is_known(gc.get_referents(value))):
        return _cut(str(value), limit)
    if kind in _BRACKETS:
        return _sequence(value, limit, depth)
    if kind is dict:
        return _mapping(value, limit, depth)  # type: ignore[arg-type]  # a dict, exactly
    return _of_parts(value, limit) or SafeRepr(f"<{_described(value)}>")


def _of_parts(value: Any, limit: int) -> SafeRepr | None:
    """Return the text of a value that holds others, which may be of any class; None for what is not written."""
    kind = type(value)
    if kind in _TIMES:
        return _cut(_time(value), limit)
    if kind is fractions.Fraction:
        parts = [field(value, name) for name in ("_numerator", "_denominator")]
        is_exact = all(type(part) is int for part in parts)
        return _cut(f"Fraction({parts[0]}, {parts[1]})", limit) if is_exact else None
    if kind is uuid.UUID:
        number = field(value, "int")
        return SafeRepr(repr(uuid.UUID(int=number)), whole=True) if type(number) is int else None
    library = library_of(value)
    names = {qualified_name(base) for base in mro_of(kind)} if library in {"numpy", "pandas"} else set()
    if library == "numpy" and "generic" in names:
        return _numpy_scalar(value, names, limit)
    return _pandas_scalar(value, names, limit) if library == "pandas" else None


def _time(value: Any) -> str:
    if has_known_zone(value):
        return str(value)
    return f"{value.replace(tzinfo=None)} in a time zone of the class {name_of(type(value.tzinfo))}"


def _numpy_scalar(value: Any, names: set[str], limit: int) -> SafeRepr | None:
    if is_void(value):
        entries = native(value, "item")() if is_readable_dtype(field(value, "dtype")) else None
        return safe_repr(entries, limit) if type(entries) is tuple else None
    if "object_" in names:
        return None
    shown = _cut(str(value), limit)
    return replace(shown, whole=shown.whole and not names.isdisjoint({"number", "bool", "bool_"}))


def _pandas_scalar(value: Any, names: set[str], limit: int) -> SafeRepr | None:
    if "Timestamp" in names and not has_known_zone(zone := _ZONE.__get__(value)) and zone is not None:
        return _cut(f"a time in a time zone of the class {name_of(type(zone))}", limit)
    if "Interval" in names:
        ends = ", ".join(safe_text(field(value, side), limit, 0) for side in ("left", "right"))
        return _cut(f"{name_of(type(value))}({ends}, closed={safe_text(field(value, 'closed'))})", limit)
    is_written = names & {"Timestamp", "Timedelta", "Period", "NAType", "NaTType"}
    return replace(_cut(str(value), limit), whole=False) if is_written and is_known(value) else None


def is_void(value: object) -> bool:
    """Whether a value is an entry of a structured array, by the class."""
    return library_of(value) == "numpy" and any(
        qualified_name(base) == "void" for base in mro_of(type(value))
    )


def is_readable_dtype(dtype: Any) -> bool:
    """Whether a dtype of numpy has no part whose name or title is of a class that could be asked."""
    if library_of(dtype) != "numpy":
        return False
    if (base := field(dtype, "base")) is not dtype:
        return is_readable_dtype(base)
    fields = field(dtype, "fields")
    if fields is None:
        return True
    parts = list(fields.items())
    return all(type(name) is str and len(part) == 2 and is_readable_dtype(part[0]) for name, part in parts)  # noqa: PLR2004 -- a third is a title


def _described(value: object) -> str:
    kind = type(value)
    if kind is types.FunctionType or kind is types.BuiltinFunctionType:
        return f"function {_quoted(_function_name(value), SHORT)}"
    if issubclass(kind, type):
        return f"class {name_of(value)}"  # type: ignore[arg-type]  # a class, as just checked
    if kind is types.ModuleType:
        return f"module {module_name(value)}"  # type: ignore[arg-type]  # a module, exactly
    return name_of(kind)


def _function_name(value: object) -> str:
    # The qualified name of a method in C includes the name of its object's class, whose metaclass would be asked.
    name = "__qualname__" if type(value) is types.FunctionType else "__name__"
    return exact_text(getattr(value, name))


def _quoted(value: str, limit: int) -> str:
    if len(value) <= limit:
        return repr(value)
    return f"{value[:limit]!r}… ({len(value):,} characters)"


def _cut(text: str, limit: int) -> SafeRepr:
    return SafeRepr(text[:limit], len(text) <= limit)


def _sequence(value: Any, limit: int, depth: int) -> SafeRepr:
    brackets = _BRACKETS[type(value)]
    shown = _entries((safe_repr(entry, SHORT // 2, depth - 1) for entry in value), len(value), limit, depth)
    return replace(shown, text=f"{brackets[0]}{shown.text}{brackets[1]}")


def _mapping(value: dict[Any, Any], limit: int, depth: int) -> SafeRepr:
    pairs = (_pair(safe_repr(key, 30, 0), _entry(key, entry, depth - 1)) for key, entry in value.items())
    shown = _entries(pairs, len(value), limit, depth)
    return replace(shown, text=f"{{{shown.text}}}")


def _pair(key: SafeRepr, entry: SafeRepr) -> SafeRepr:
    return SafeRepr(f"{key.text}: {entry.text}", key.whole and entry.whole)


def _entry(key: object, value: object, depth: int) -> SafeRepr:
    if is_secret_name(key) and is_withheld(value):
        return SafeRepr("(withheld)")
    return safe_repr(value, SHORT // 2, depth)


def _entries(entries: Iterable[SafeRepr], count: int, limit: int, depth: int) -> SafeRepr:
    if depth <= 0 and count:
        return SafeRepr(f"… {count:,} entries")
    shown: list[SafeRepr] = []
    size = 0
    for entry in islice(entries, 12):
        size += len(entry.text) + 2
        if shown and size > limit:
            break
        shown.append(entry)
    rest = f", … {count:,} entries" if len(shown) < count else ""
    return SafeRepr(
        ", ".join(entry.text for entry in shown) + rest, not rest and all(entry.whole for entry in shown)
    )


_NOTEBOOK = "__main__"
_SPECIAL_FORMS = (type(typing.Literal), type(typing.Optional))
_SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType)
_MADE_BY_ABC = "_abc_impl"
_CONSTANTS = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis))


def code_fingerprint(value: object) -> str | None:
    """Return what distinguishes a function or class from another of its name; None for all other values.

    Also None where a function or class of the notebook holds data that cannot be shown whole. Code of an imported
    module counts by its name; of a function also by its own code.
    """
    kind = type(value)
    if kind is types.FunctionType:
        return _function(value)  # type: ignore[arg-type]  # a function, exactly
    if kind is types.BuiltinFunctionType:
        return f"builtin {safe_repr(value).text}"
    if is_one_of(kind, _SPECIAL_FORMS):
        return exact_text(field(value, "_name")) or None
    if issubclass(kind, type):
        return _class(value)  # type: ignore[arg-type]  # a class, as just checked
    return None


def _function(function: types.FunctionType) -> str | None:
    module: object = function.__module__
    code = f"{safe_repr(module).text} {_digest(function.__code__)}"
    if type(module) is str and module != _NOTEBOOK:
        return code
    try:
        closure = [cell.cell_contents for cell in function.__closure__ or ()]
    except ValueError:  # a name that its function has not bound yet
        return None
    # Both may be of derived classes, which say themselves what is in them.
    defaults = [] if function.__defaults__ is None else list(tuple.__iter__(function.__defaults__))
    defaults += [] if function.__kwdefaults__ is None else dict.values(function.__kwdefaults__)
    held = _texts((*defaults, *closure))
    return None if held is None else f"{code} {held}"


def _class(kind: type) -> str | None:
    if module_of(kind) != _NOTEBOOK:
        return f"class {name_of(kind)}"
    attributes: list[object] = []
    for name, value in class_vars(kind).items():
        if type(name) is not str:
            return None
        if functions := _functions(value):
            attributes += [name, *functions]
        elif not (name.startswith("__") or name == _MADE_BY_ABC or is_one_of(type(value), _SLOTS)):
            attributes += [name, value]
    held = _texts(attributes)
    return None if held is None else f"class {name_of(kind)} {held}"


def _functions(value: Any) -> list[types.FunctionType]:
    """Return the functions that an attribute of a class is made of."""
    kind = type(value)
    if kind is property:
        parts = [value.fget, value.fset, value.fdel]
    elif kind is classmethod or kind is staticmethod:
        parts = [value.__func__]
    else:
        parts = [value]
    return [part for part in parts if type(part) is types.FunctionType]


def _texts(values: Iterable[object]) -> str | None:
    """Return values as one text; None when one of them is neither shown whole nor code."""
    texts = []
    for value in values:
        shown = safe_repr(value)
        if type(value) is types.FunctionType:
            texts.append(_digest(value.__code__))
        elif shown.whole or issubclass(type(value), type):
            texts.append(shown.text)
        else:
            return None
    return "; ".join(texts)


def _digest(code: types.CodeType) -> str:
    constants = [_constant(each) for each in code.co_consts]
    parts = (code.co_code, code.co_names, code.co_varnames, code.co_flags, constants)
    return hashlib.sha256(repr(parts).encode("utf-8", "replace")).hexdigest()[:16]


def _constant(value: Any) -> str:
    kind = type(value)
    if kind is types.CodeType:
        return _digest(value)
    if is_one_of(kind, _CONSTANTS):
        return repr(value)
    if kind is tuple or kind is frozenset:
        entries = map(_constant, value)
        return f"{name_of(kind)}({', '.join(entries if kind is tuple else sorted(entries))})"
    return name_of(kind)
