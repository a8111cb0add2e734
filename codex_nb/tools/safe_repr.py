"""Values as short texts, without running code of theirs: exact types of Python and of well-known libraries only."""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import hashlib
import pathlib
import sys
import types
import typing
import uuid
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from codex_nb.tools.secret_names import is_secret_name, is_withheld

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


LIBRARIES = frozenset(
    {
        "pandas",
        "numpy",
        "polars",
        "pyarrow",
        "torch",
        "xarray",
        "scipy",
        "PIL",
        "h5py",
        "geopandas",
        "jax",
        "jaxlib",
    }
)

# A metaclass may define properties under these names; the interpreter's own descriptors pass it by.
_DICT = type.__dict__["__dict__"]
_MODULE = type.__dict__["__module__"]
_MRO = type.__dict__["__mro__"]
_QUALIFIED_NAME = type.__dict__["__qualname__"]


def module_of(kind: type) -> str:
    """Return the name of a class's module, whatever its metaclass would say."""
    module = _MODULE.__get__(kind)
    return module if type(module) is str else ""


def qualified_name(kind: type) -> str:
    """Return a class's name within its module."""
    name: str = _QUALIFIED_NAME.__get__(kind)
    return name


def class_vars(kind: type) -> Mapping[str, Any]:
    """Return what a class itself defines."""
    defined: Mapping[str, Any] = _DICT.__get__(kind)
    return defined


def name_of(kind: type) -> str:
    """Return a class's name as its users write it: ``pandas.DataFrame``, ``int``, ``Model``."""
    qualified = qualified_name(kind)
    module = module_of(kind)
    if module in {"builtins", "__main__", ""}:
        return qualified
    root = module.partition(".")[0]
    public = vars_of(sys.modules.get(root)).get(qualified)
    return f"{root if public is kind else module}.{qualified}"


def vars_of(module: types.ModuleType | None) -> dict[str, Any]:
    """Return what a module holds, without triggering its lazy attributes."""
    return module.__dict__ if type(module) is types.ModuleType else {}


def mro_of(kind: type) -> tuple[type, ...]:
    """Return a class's bases in their order, itself first."""
    bases: tuple[type, ...] = _MRO.__get__(kind)
    return bases


def defines(kind: type, name: str) -> bool:
    """Whether a class or one of its bases defines an attribute, whatever its metaclass would say."""
    return any(name in class_vars(base) for base in mro_of(kind))


def library_of(value: object) -> str | None:
    """Return the well-known library that made this very class, None for every other class.

    The class must be found in the library's own module under its own name: a class that merely claims to come from
    there is not believed.
    """
    kind = type(value)
    module = module_of(kind)
    root = module.partition(".")[0]
    if root not in LIBRARIES:
        return None
    held: Any = sys.modules.get(module)
    for step in qualified_name(kind).split("."):
        if type(held) is types.ModuleType:
            held = held.__dict__.get(step)
        else:
            held = class_vars(held).get(step) if type(held) is type else None
    return root if held is kind else None


def library_base(value: object) -> type | None:
    """Return the nearest base class that a well-known library made, for a class that a user derived from it."""
    for base in mro_of(type(value))[1:]:
        if module_of(base).partition(".")[0] in LIBRARIES:
            return base
    return None


def instance_vars(value: object) -> dict[str, Any]:
    """Return an object's own attributes without asking the object; empty where they cannot be had that way."""
    for base in mro_of(type(value)):
        descriptor = class_vars(base).get("__dict__")
        if descriptor is not None:
            found = descriptor.__get__(value) if type(descriptor) is types.GetSetDescriptorType else None
            return found if type(found) is dict else {}
    return {}


SHORT = 80
_PLAIN = (int, float, complex, bool, type(None), decimal.Decimal, fractions.Fraction, uuid.UUID, range)
_DATES = (dt.datetime, dt.date, dt.time, dt.timedelta)
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
    if kind in _DATES or kind in _PATHS:
        return _cut(str(value), limit)
    if kind in _BRACKETS:
        return _sequence(value, limit, depth)
    if kind is dict:
        return _mapping(value, limit, depth)  # type: ignore[arg-type]  # a dict, exactly
    if library_of(value) in {"numpy", "pandas"} and _is_scalar(kind):
        shown = _cut(str(value), limit)
        return replace(shown, whole=shown.whole and _is_number(kind))
    return SafeRepr(f"<{_described(value)}>")


def _described(value: object) -> str:
    kind = type(value)
    if kind is types.FunctionType or kind is types.BuiltinFunctionType:
        return f"function {_quoted(_function_name(value), SHORT)}"
    if isinstance(kind, type) and issubclass(kind, type):
        return f"class {name_of(value)}"  # type: ignore[arg-type]  # a class, as just checked
    if kind is types.ModuleType:
        return f"module {value.__name__}"  # type: ignore[attr-defined]  # a module, exactly
    return name_of(kind)


def _function_name(value: object) -> str:
    name: Any = getattr(value, "__qualname__", "")
    return name if type(name) is str else ""


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


def _is_scalar(kind: type) -> bool:
    names = {qualified_name(base) for base in mro_of(kind)}
    if module_of(kind).startswith("pandas"):
        return bool(names & {"Timestamp", "Timedelta", "Period", "Interval", "NAType", "NaTType"})
    return "generic" in names and "object_" not in names


def _is_number(kind: type) -> bool:
    return bool({qualified_name(base) for base in mro_of(kind)} & {"number", "bool", "bool_"})


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
    if _is_one_of(kind, _SPECIAL_FORMS):
        return repr(value)
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
    defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    held = _texts((*defaults, *closure))
    return None if held is None else f"{code} {held}"


def _class(kind: type) -> str | None:
    if module_of(kind) != _NOTEBOOK:
        return f"class {name_of(kind)}"
    attributes: list[object] = []
    for name, value in class_vars(kind).items():
        if functions := _functions(value):
            attributes += [name, *functions]
        elif not (name.startswith("__") or name == _MADE_BY_ABC or _is_one_of(type(value), _SLOTS)):
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
    if _is_one_of(kind, _CONSTANTS):
        return repr(value)
    if kind is tuple or kind is frozenset:
        entries = map(_constant, value)
        return f"{name_of(kind)}({', '.join(entries if kind is tuple else sorted(entries))})"
    return name_of(kind)


def _is_one_of(kind: type, kinds: Iterable[type]) -> bool:
    return any(kind is each for each in kinds)  # comparing classes can run code of their metaclass
