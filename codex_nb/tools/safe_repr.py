"""Values as short texts, without running code of theirs: exact types of Python and of well-known libraries only."""

from __future__ import annotations

import abc
import argparse
import array
import collections
import datetime as dt
import decimal
import enum
import fractions
import functools
import gc
import hashlib
import pathlib
import re
import time
import types
import typing
import uuid
import weakref
import zoneinfo
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from codex_nb.tools.introspection import (
    class_attribute,
    class_vars,
    exact_text,
    field,
    find,
    instance_vars,
    is_ndarray,
    is_one_of,
    library_of,
    library_of_class,
    module_name,
    module_of,
    mro_of,
    name_of,
    native,
    qualified_name,
    slots_of,
    snapshot,
)
from codex_nb.tools.secrets import is_secret_name, is_withheld

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


SHORT = 80
BY = "\N{MULTIPLICATION SIGN}"
_PLAIN = (int, float, complex, bool, type(None), type(Ellipsis), decimal.Decimal, range)
_DATES = (dt.date, dt.timedelta)
_TIMES = (dt.datetime, dt.time)
_ZONE = dt.datetime.__dict__["tzinfo"]
_ARGUMENTS = BaseException.__dict__["args"]
_PATHS = (pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePosixPath, pathlib.PureWindowsPath)
_WRITTEN_BY_PANDAS = {"Timestamp", "Timedelta", "Period", "NAType", "NaTType", "BaseOffset", "ExtensionDtype"}
_EXACT_KEYS = (str, int, float, bool, bytes, type(None))
_LARGEST_INTEGER = 10**60
_DEEPEST = 30
_MAX_REFERENTS = 2_000
_SORTED = 10_000
_AT_LEAST = 12  # entries among which the room is divided


@dataclass(frozen=True)
class SafeRepr:
    """The text of a value, whether that is all of it, and whether it was cut because it is too long."""

    text: str
    whole: bool = False
    cut: bool = False


@dataclass(frozen=True)
class Parts:
    """What a container or a record holds, with the text around its entries.

    ``keys`` is what stands between a key and its entry, empty where the entries have no keys. A record is of a class
    of the user's: two may have the same entries and differ in what they do.
    """

    opening: str
    closing: str
    count: int
    entries: Iterable[tuple[Any, Any]]
    keys: str = ""
    is_record: bool = False


def safe_text(value: object, limit: int = SHORT, depth: int = 2) -> str:
    """Return a value as at most about ``limit`` characters; values of foreign classes only by their type."""
    return safe_repr(value, limit, depth).text


def safe_repr(value: object, limit: int = SHORT, depth: int = 2) -> SafeRepr:
    """Return the text of :func:`safe_text`, and whether it is all of the value.

    What fits is shown as it is, however deeply nested; otherwise ``depth`` levels, and of each as much as fits.
    """
    uncut = _repr(value, limit, _DEEPEST, uncut=True)
    return _repr(value, limit, depth, uncut=False) if uncut.cut else uncut


def fields_text(fields: Mapping[str, Any], limit: int, each: int = 0) -> str:
    """Return named values as ``name=value``, each at most about so long; without those that are secret by name."""
    parts = Parts("", "", len(fields), fields.items(), "=")
    shown = _of_parts(parts, limit, _DEEPEST, uncut=True)
    return (_of_parts(parts, limit, 2, uncut=False, share=each) if shown.cut else shown).text


def _repr(value: object, limit: int, depth: int, *, uncut: bool) -> SafeRepr:
    parts = parts_of(value)
    return _leaf(value, limit) if parts is None else _of_parts(parts, limit, depth, uncut=uncut)


def _of_parts(parts: Parts, limit: int, depth: int, *, uncut: bool, share: int = 0) -> SafeRepr:
    too_much = uncut and 2 * parts.count > limit
    if parts.count and (depth <= 0 or too_much):
        return SafeRepr(f"{parts.opening}… {parts.count:,} entries{parts.closing}", cut=True)
    shown: list[SafeRepr] = []
    used = len(parts.opening + parts.closing)
    share = share or max(SHORT // 2, limit // _AT_LEAST, limit // max(parts.count, 1))
    for key, entry in parts.entries:
        each = _entry(parts, key, entry, (limit - used if uncut else share, depth - 1), uncut=uncut)
        used += len(each.text) + 2
        if uncut and (each.cut or used > limit + 2):
            return replace(each, cut=True)
        if shown and used > limit:
            break
        shown.append(each)
    rest = f", … {parts.count - len(shown):,} more" if len(shown) < parts.count else ""
    comma = "," if parts.closing == ")" and parts.opening == "(" and parts.count == 1 else ""
    return SafeRepr(
        f"{parts.opening}{', '.join(each.text for each in shown)}{rest}{comma}{parts.closing}",
        whole=not rest and not parts.is_record and all(each.whole for each in shown),
        cut=bool(rest) or any(each.cut for each in shown),
    )


def _entry(parts: Parts, key: object, value: object, room: tuple[int, int], *, uncut: bool) -> SafeRepr:
    """Return an entry with its key; one whose key says that it is secret, without its value."""
    limit, depth = room
    if is_secret_name(key) and is_withheld(value):
        shown = SafeRepr("(withheld)")
    else:
        shown = _repr(value, limit, depth, uncut=True) if uncut else safe_repr(value, limit, depth)
    if not parts.keys:
        return shown
    if parts.keys == "=":
        return replace(shown, text=f"{key}={shown.text}")
    label = _repr(key, max(30, limit), 3, uncut=True) if uncut else safe_repr(key, max(30, limit // 2), 0)
    return SafeRepr(
        f"{label.text}{parts.keys}{shown.text}", label.whole and shown.whole, label.cut or shown.cut
    )


def is_plain(value: object) -> bool:
    """Whether a value is a text, number or truth value of exactly that type, or None."""
    kind = type(value)
    return kind is str or kind is int or kind is float or kind is bool or value is None


def _is_ordinary(kind: type) -> bool:
    """Whether a class can be compared: that runs code where its metaclass says how classes compare."""
    return type(kind) is type or type(kind) is abc.ABCMeta


def parts_of(value: Any) -> Parts | None:
    """Return what a container or record holds, read without asking it; None for everything else."""
    kind = type(value)
    if is_plain(value):
        return None
    if _is_ordinary(kind):
        if kind in _STANDARD:
            return _STANDARD[kind](value)
        if issubclass(kind, dict) and library_of(value) in {"sklearn", "scipy"}:
            return _mapping(f"{name_of(kind)}({{", value)
        if is_ndarray(value):
            return _small_array(value)
    return _record(value)


def _sequence(opening: str, value: Any, closing: str) -> Parts:
    return Parts(opening, closing, len(value), (("", entry) for entry in value))


def _mapping(opening: str, value: Any, closing: str = "})") -> Parts:
    return Parts(opening, closing, dict.__len__(value), dict.items(value), ": ")


def _counter(value: Any) -> Parts:
    parts = _mapping("Counter({", value)
    counts = dict.values(value)
    if parts.count > _SORTED or not all(type(count) is int for count in counts):
        return parts
    return replace(parts, entries=sorted(parts.entries, key=lambda entry: -entry[1]))


def _ordered(value: Any) -> Parts:
    parts = _mapping("OrderedDict({", value)
    # Its own order is read by looking each key up, which asks the keys whether they are equal.
    is_exact = all(is_one_of(type(key), _EXACT_KEYS) for key in dict.keys(value))
    return replace(parts, entries=value.items()) if is_exact else parts


def _defaulting(value: Any) -> Parts:
    factory = value.default_factory
    is_plain = factory is None or (type(factory) is type and module_of(factory) == "builtins")
    return replace(_mapping(f"defaultdict({safe_text(factory)}, {{", value), is_record=not is_plain)


def _deque(value: Any) -> Parts:
    return _sequence("deque([", value, "])" if value.maxlen is None else f"], maxlen={value.maxlen})")


def _small_array(value: Any) -> Parts | None:
    """Return the numbers or texts of a small array of numpy."""
    kind = value.dtype.kind
    if value.size > _AT_LEAST or value.ndim == 0 or kind not in "biufcUSO":
        return None
    if kind == "O" and not all(type(entry) is str for entry in value.flat):
        return None
    # Not all of it: the type is left out.
    return replace(_sequence("array([", value.tolist(), "])"), is_record=True)


def _wrapped(value: Any) -> Parts | None:
    """Return the parts of a class of collections or types that keeps them in a list or dict of its own."""
    held = instance_vars(value)
    inner = held.get("maps", held.get("data"))
    parts = parts_of(inner) if type(inner) is list or type(inner) is dict else None
    if parts is None:
        return None
    opening = f"{qualified_name(type(value))}({parts.opening}"
    return replace(parts, opening=opening, closing=f"{parts.closing})")


def _namespace(value: Any) -> Parts:
    held = instance_vars(value)
    return Parts(f"{name_of(type(value))}(", ")", len(held), held.items(), "=")


def _view(value: Any) -> Parts | None:
    """Return the parts of a view of a dict; None where it is one of another class."""
    (held,) = gc.get_referents(value)[:1] or (None,)
    if type(held) is not dict:
        return None
    name = qualified_name(type(value))
    if name == "dict_keys":
        return _sequence(f"{name}([", held, "])")
    if name == "dict_values":
        return Parts(f"{name}([", "])", len(held), held.items())
    return _mapping(f"{name}({{", held)


_STANDARD: dict[type, Callable[[Any], Parts | None]] = {
    list: lambda value: _sequence("[", value, "]"),
    tuple: lambda value: _sequence("(", value, ")"),
    set: lambda value: _sequence("{", value, "}"),
    frozenset: lambda value: _sequence("{", value, "}"),
    dict: lambda value: _mapping("{", value, "}"),
    type({}.keys()): _view,
    type({}.values()): _view,
    type({}.items()): _view,
    types.MappingProxyType: _view,
    collections.Counter: _counter,
    collections.OrderedDict: _ordered,
    collections.defaultdict: _defaulting,
    collections.deque: _deque,
    collections.ChainMap: _wrapped,
    collections.UserDict: _wrapped,
    collections.UserList: _wrapped,
    array.array: lambda value: _sequence(f"array('{value.typecode}', [", value, "])"),
    types.SimpleNamespace: _namespace,
    argparse.Namespace: _namespace,
}


def _record(value: Any) -> Parts | None:
    """Return the fields of a namedtuple or a dataclass, of any class."""
    kind = type(value)
    bases = mro_of(kind)
    if len(bases) == 3 and bases[1] is tuple:  # noqa: PLR2004 -- itself, tuple, object
        names = find(class_vars(kind), "_fields")
        entries = list(tuple.__iter__(value))
        if type(names) is tuple and len(names) == len(entries) and all(type(name) is str for name in names):
            return _of_fields(kind, zip(names, entries, strict=True), len(names))
        return None
    declared = class_attribute(kind, "__dataclass_fields__")
    if type(declared) is not dict or issubclass(kind, type):
        return None
    held = slots_of(value) | instance_vars(value)
    fields = {name: held[name] for name in snapshot(declared) if name in held}
    return _of_fields(kind, fields.items(), len(fields))


def _of_fields(kind: type, entries: Iterable[tuple[Any, Any]], count: int) -> Parts:
    return Parts(f"{name_of(kind)}(", ")", count, entries, "=", is_record=True)


def _leaf(value: Any, limit: int) -> SafeRepr:
    kind = type(value)
    if not _is_ordinary(kind):
        return _member(value, limit) or SafeRepr(f"<{_described(value)}>")
    if kind is str:
        return _quoted(value, limit)
    if kind is bytes or kind is bytearray:
        return SafeRepr(f"{name_of(kind)} of {len(value):,} bytes")
    if kind is int and abs(value) >= _LARGEST_INTEGER:
        return SafeRepr(f"an integer of about {value.bit_length():,} bits")
    if kind in _PLAIN:
        return SafeRepr(repr(value), whole=True)
    if kind in _DATES or (kind in _PATHS and is_known(gc.get_referents(value))):
        return _cut(str(value), limit)
    shown = scalar_repr(value, limit) or _of_standard_library(value, limit)
    return shown or SafeRepr(f"<{_described(value)}>")


def _member(value: Any, limit: int) -> SafeRepr | None:
    """Return a member of an enumeration; None for everything else."""
    if type(type(value)) is not enum.EnumMeta:
        return None
    held = instance_vars(value)
    name = exact_text(held.get("_name_"))
    label = f"{name_of(type(value))}.{name or '?'}"
    if is_secret_name(name) and is_withheld(held.get("_value_")):
        return SafeRepr(f"<{label}: (withheld)>")
    return SafeRepr(f"<{label}: {safe_text(held.get('_value_'), limit)}>")


def _of_standard_library(value: Any, limit: int) -> SafeRepr | None:
    """Return a text of a value of the standard library, read from C or its own attributes; not all of the value."""
    kind, text = type(value), ""
    if issubclass(kind, BaseException):
        arguments = [safe_text(each, limit, 1) for each in tuple.__iter__(_ARGUMENTS.__get__(value))]
        text = f"{name_of(kind)}({', '.join(arguments)})"
    elif kind is slice:
        text = (
            f"slice({', '.join(safe_text(each, limit, 0) for each in (value.start, value.stop, value.step))})"
        )
    elif kind is functools.partial:
        parts = [
            _described(value.func),
            *(safe_text(each, SHORT // 2, 1) for each in tuple.__iter__(value.args)),
        ]
        named = fields_text(snapshot(value.keywords), limit)
        text = f"partial({', '.join([*parts, named] if named else parts)})"
    elif kind is types.MethodType:
        name = _described(value.__func__).replace("function ", "")
        text = f"<method {name} of {name_of(type(value.__self__))}>"
    elif kind is re.Pattern and type(value.pattern) is str:
        text = f"re.compile({_quoted(value.pattern, limit).text})"
    elif kind is re.Match and type(value.string) is str:
        text = f"match {value.span()} {_quoted(value.group(), limit).text}"
    elif kind is dt.timezone or (kind is zoneinfo.ZoneInfo and has_known_zone(value)):
        text = str(value)
    elif kind is time.struct_time:
        text = ", ".join(safe_text(each) for each in tuple.__iter__(value))
    elif library_of(value) == "ipaddress" and is_known(value):
        text = str(value)
    return replace(_cut(text, limit), whole=False) if text else None


def scalar_repr(value: Any, limit: int = SHORT) -> SafeRepr | None:
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
    if library == "numpy" and "dtype" in names:
        return replace(_cut(dtype_text(value), limit), whole=False)
    return _pandas_scalar(value, names, limit) if library == "pandas" else None


_LEAVES = (
    *(object, type(None), type(Ellipsis), bool, int, float, complex, str, bytes, bytearray, range, slice),
    *(decimal.Decimal, dt.date, dt.timedelta, dt.timezone, weakref.ReferenceType),
    *(types.FunctionType, types.BuiltinFunctionType, types.ModuleType),
)
_CONTAINERS = (list, tuple, dict, set, frozenset)


def is_known(value: object) -> bool:
    """Whether an object is made of exact classes of Python and of well-known libraries, all the way down.

    The entries of arrays are not looked at: they are handed on as they are.
    """
    waiting, seen = [value], set[int]()
    while waiting:
        held = waiting.pop()
        if id(held) in seen or issubclass(type(held), type):
            continue
        seen.add(id(held))
        if len(seen) > _MAX_REFERENTS:
            return False
        kind = type(held)
        if is_one_of(kind, _CONTAINERS) or library_of(held) is not None:
            waiting += gc.get_referents(held)
        elif not is_one_of(kind, _LEAVES) and not has_known_zone(held):
            return False
    return True


def is_known_array(array: Any) -> bool:
    """Whether an array of pandas is made of exact classes, and of no type of pyarrow that a class extends."""
    arrow = field(field(array, "_dtype"), "pyarrow_dtype")
    return is_known(array) and (arrow is None or (library_of(arrow) == "pyarrow" and arrow.num_fields == 0))


def has_known_zone(value: object) -> bool:
    """Whether an exact date with a time, or a time zone, is written without asking a class that is not Python's own."""
    zone = value
    if type(value) is dt.datetime or type(value) is dt.time:
        zone = value.tzinfo
        if zone is None:
            return True
    is_named = type(zone) is zoneinfo.ZoneInfo and (zone.key is None or type(zone.key) is str)
    return is_named or type(zone) is dt.timezone


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
    if names.isdisjoint(_WRITTEN_BY_PANDAS) or not is_known(value):
        return None
    return replace(_cut(str(value), limit), whole=False)


def is_void(value: object) -> bool:
    """Whether a value is an entry of a structured array, by the class."""
    return library_of(value) == "numpy" and any(
        qualified_name(base) == "void" for base in mro_of(type(value))
    )


def is_readable_dtype(dtype: Any) -> bool:
    """Whether a dtype of numpy has no part whose name, title or entry is of a class that could be asked."""
    if library_of(dtype) != "numpy" or not _has_entries_of_numpy(dtype):
        return False
    if (base := field(dtype, "base")) is not dtype:
        return is_readable_dtype(base)
    fields = field(dtype, "fields")
    if fields is None:
        return True
    parts = list(fields.items())
    return all(type(name) is str and len(part) == 2 and is_readable_dtype(part[0]) for name, part in parts)  # noqa: PLR2004 -- a third is a title


def _has_entries_of_numpy(dtype: Any) -> bool:
    """Whether an entry of an array is of a class of numpy or Python, not of one that is derived from ``np.void``."""
    kind = field(dtype, "type")
    return kind is object or kind is str or library_of_class(kind) == "numpy"


def dtype_text(dtype: Any) -> str:
    """Return a dtype of a library as its own text, of a foreign class its name."""
    kind, library = type(dtype), library_of(dtype)
    if library is None:
        return f"<{name_of(kind)}>"
    if library == "numpy" and qualified_name(kind) == "StringDType":
        return "StringDType"  # its own text includes what stands for a missing value
    return "structured" if library == "numpy" and not is_readable_dtype(dtype) else str(dtype)


def _described(value: object) -> str:
    kind = type(value)
    if kind is types.FunctionType or kind is types.BuiltinFunctionType:
        return f"function {_quoted(_function_name(value), SHORT).text}"
    if issubclass(kind, type):
        return f"class {name_of(value)}"  # type: ignore[arg-type]  # a class, as just checked
    if kind is types.ModuleType:
        return f"module {module_name(value)}"  # type: ignore[arg-type]  # a module, exactly
    return f"{name_of(kind)}{_size(value)}"


def _size(value: Any) -> str:
    """Return the size of a frame, series or array that stands in another value; empty for everything else."""
    if (sizes := shape_of(value)) is None:
        return ""
    kind = f" {dtype_text(of_ndarray(value, 'dtype'))}" if library_of(value) == "numpy" else ""
    return f" {times(sizes) or 'scalar'}{kind}"


def times(sizes: Iterable[object]) -> str:
    """Return lengths along axes as a text."""
    return f" {BY} ".join(map(str, sizes))


def shape_of(value: Any) -> tuple[int, ...] | None:
    """Return the lengths of a frame, series, table or array of a library along its axes; None for everything else."""
    sizes: Any = None
    match library_of(value):
        case "numpy":
            sizes = of_ndarray(value, "shape")
        case "pandas" | "geopandas":
            manager = instance_vars(value).get("_mgr")
            axes = field(manager, "axes") if library_of(manager) == "pandas" else None
            sizes = tuple(map(length_of_axis, axes))[::-1] if type(axes) is list else None
        case "polars" if (rust := instance_vars(value).get("_s")) is not None:
            sizes = (native(rust, "len")(),)
        case "polars" if (rust := instance_vars(value).get("_df")) is not None:
            sizes = (native(rust, "height")(), native(rust, "width")())
        case "pyarrow" if qualified_name(type(value)) in {"Table", "RecordBatch"}:
            sizes = (value.num_rows, value.num_columns)
        case _:
            return None
    return sizes if type(sizes) is tuple and all(type(size) is int for size in sizes) else None


def of_ndarray(value: Any, name: str) -> Any:
    """Return the shape or dtype of an array of numpy as numpy knows it, whatever its class makes of them."""
    base = ndarray_base(type(value))
    return field(value, name) if base is None else class_vars(base)[name].__get__(value)


def ndarray_base(kind: type) -> type | None:
    """Return the class of arrays that a class of numpy is derived from, None for every other."""
    return next((each for each in mro_of(kind) if qualified_name(each) == "ndarray"), None)


def length_of_axis(index: Any) -> int | None:
    """Return the length of an index of pandas, None for one that keeps its labels in another way."""
    held = instance_vars(index)
    labels: Any = held.get("_range", held.get("_data"))
    if labels is None and issubclass(type(held.get("_codes")), list):
        labels = next(list.__iter__(held["_codes"]), None)
    is_read = (
        type(labels) is range or is_ndarray(labels) or (library_of(labels) == "pandas" and is_known(labels))
    )
    return len(labels) if is_read else None


def _function_name(value: object) -> str:
    # The qualified name of a method in C includes the name of its object's class, whose metaclass would be asked.
    name = "__qualname__" if type(value) is types.FunctionType else "__name__"
    return exact_text(getattr(value, name))


def _quoted(value: str, limit: int) -> SafeRepr:
    if len(value) <= limit:
        return SafeRepr(repr(value), whole=True)
    return SafeRepr(f"{value[:limit]!r}… ({len(value):,} characters)", cut=True)


def _cut(text: str, limit: int) -> SafeRepr:
    if len(text) <= limit:
        return SafeRepr(text, whole=True)
    return SafeRepr(f"{text[:limit]}…", cut=True)


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
