"""Variables described without running the user's code: exact types and well-known libraries only."""

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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Any

from codex_nb.tools.secret_names import is_secret_name, is_withheld

if TYPE_CHECKING:
    from collections.abc import Mapping


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


def known_base(value: object) -> type | None:
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


_NOTEBOOK = "__main__"
_SPECIAL_FORMS = (type(typing.Literal), type(typing.Optional))
_SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType)
_MADE_BY_ABC = "_abc_impl"
_CONSTANTS = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis))


def definition(value: object) -> str | None:
    """Return what tells a function or class from another of its name; None for all other values.

    Also None where a function or class of the notebook holds data that cannot be told whole. Code of an imported module
    counts by its name; of a function also by its own code.
    """
    kind = type(value)
    if kind is types.FunctionType:
        return _function(value)  # type: ignore[arg-type]  # a function, exactly
    if kind is types.BuiltinFunctionType:
        return f"builtin {short_text(value).text}"
    if _is_one_of(kind, _SPECIAL_FORMS):
        return repr(value)
    if issubclass(kind, type):
        return _class(value)  # type: ignore[arg-type]  # a class, as just checked
    return None


def _function(function: types.FunctionType) -> str | None:
    module: object = function.__module__
    code = f"{short_text(module).text} {_digest(function.__code__)}"
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
    """Return values as one text; None when one of them is neither told whole nor code."""
    texts = []
    for value in values:
        said = short_text(value)
        if type(value) is types.FunctionType:
            texts.append(_digest(value.__code__))
        elif said.whole or issubclass(type(value), type):
            texts.append(said.text)
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


BY = "\N{MULTIPLICATION SIGN}"
ROWS = 5
FULL_ROWS = 20
COLUMNS = 30
FULL_COLUMNS = 200
CELL = 40
WITHHELD_CELL = "(withheld)"
_FIRST_VALUES = 6
_READ = 200  # values at each end of a column that are looked for elsewhere
_DIMENSIONS = 2


def describe_data(value: object, *, rows: int, columns: int) -> list[str] | None:
    """Return lines about a data object, the first with its type and size.

    None for whatever is not a known library's frame, series, array or tensor; raises whatever a broken one raises.
    """
    library = library_of(value)
    if library is None:
        return None
    describe = _KINDS.get((library, type(value).__name__))
    if describe is None and library in {"numpy", "torch", "jax", "jaxlib", "h5py", "scipy"}:
        describe = _array if _has_shape(value) else None
    return None if describe is None else describe(value, rows, columns)


def _pandas_frame(frame: Any, rows: int, columns: int) -> list[str]:
    height, width = len(frame.index), len(frame.columns)
    names = frame.columns[:columns].tolist()
    dtypes = frame.dtypes.tolist()[:columns]
    lines = [f"{name_of(type(frame))}, {height} rows {BY} {width} columns"]
    lines.append(_columns(zip(names, dtypes, strict=True), width))
    if not rows:
        return lines
    # An array type of a foreign class would be asked for its values: its column is not even cut out of the frame.
    readable = [i for i, dtype in enumerate(dtypes) if library_of(dtype)]
    head = frame.iloc[:rows] if len(readable) == width else frame.iloc[:rows, readable]
    values = dict(
        zip(
            readable,
            (_cells(names[column], head.iloc[:, i].tolist()) for i, column in enumerate(readable)),
            strict=True,
        )
    )
    unread = ["?"] * min(rows, height)
    labels = frame.index[:rows].tolist()
    shown = [values.get(i, unread) for i in range(len(names))]
    for row in [row for row, label in enumerate(labels) if is_secret_name(label)]:
        shown = [[*column[:row], WITHHELD_CELL, *column[row + 1 :]] for column in shown]
    return lines + _table(names, [_cells(_index_name(frame.index), labels), *shown], height, rows)


def _pandas_series(series: Any, rows: int, columns: int) -> list[str]:
    del columns
    name = "" if series.name is None else f", name {short(series.name)}"
    head = series.iloc[:rows]
    if library_of(series.dtype) is None:
        shown = ["?"] * len(head.index)
    else:
        pairs = zip(head.index.tolist(), head.tolist(), strict=True)
        shown = [_cells((series.name, label), [value])[0] for label, value in pairs]
    values = ", ".join(shown)
    return [
        f"{name_of(type(series))}, {len(series.index)} values, {_dtype(series.dtype)}{name}",
        f"first: {values}",
    ]


def _pandas_index(index: Any, rows: int, columns: int) -> list[str]:
    del columns
    first = _cells(_index_name(index), index[:rows].tolist())
    return [f"{name_of(type(index))}, {len(index)} values", f"first: {', '.join(first)}"]


def _polars_frame(frame: Any, rows: int, columns: int) -> list[str]:
    height, width = frame.height, frame.width
    names, types = frame.columns[:columns], frame.dtypes[:columns]
    lines = [
        f"polars.DataFrame, {height} rows {BY} {width} columns",
        _columns(zip(names, types, strict=True), width),
    ]
    head = frame.head(rows)
    values = [["<object>"] * rows if kind == "Object" else _cells(name, head[name].to_list())
              for name, kind in zip(names, map(_dtype, types), strict=True)]  # fmt: skip
    return lines + _table(names, [[str(n) for n in range(rows)], *values], height, rows)


def _polars_series(series: Any, rows: int, columns: int) -> list[str]:
    del columns
    kind = _dtype(series.dtype, series.name)
    lines = [f"polars.Series, {len(series)} values, {kind}, name {short(series.name)}"]
    values = [] if kind == "Object" else _cells(series.name, series.head(rows).to_list())
    return [*lines, f"first: {', '.join(values)}"] if values else lines


def _arrow_table(table: Any, rows: int, columns: int) -> list[str]:
    schema = table.schema
    fields = [schema.field(i) for i in range(min(len(schema), columns))]
    lines = [f"{name_of(type(table))}, {table.num_rows} rows {BY} {table.num_columns} columns"]
    lines.append(_columns(((field.name, field.type) for field in fields), table.num_columns))
    unread = ["?"] * min(rows, table.num_rows)
    head = [
        _cells(field.name, table.column(i).slice(0, rows).to_pylist()) if library_of(field.type) else unread
        for i, field in enumerate(fields)
    ]
    names = [field.name for field in fields]
    return lines + _table(names, [[str(n) for n in range(rows)], *head], table.num_rows, rows)


def _lazy(value: Any, rows: int, columns: int) -> list[str]:
    del rows, columns
    return [f"{name_of(type(value))}, not collected, so its size is not known"]


def _array(array: Any, rows: int, columns: int) -> list[str]:
    del columns
    shape = f" {BY} ".join(map(str, array.shape)) or "scalar"
    where = f", on {array.device}" if library_of(array) == "torch" else ""
    lines = [f"{name_of(type(array))}, {shape}, {_dtype(array.dtype)}{where}"]
    if name_of(type(array)) == "numpy.ndarray" and rows:
        first = _cells(array.dtype.names, list(islice(array.flat, _FIRST_VALUES)))
        lines.append(f"first values: {', '.join(first)}{', …' if array.size > len(first) else ''}")
    return lines


def _xarray(value: Any, rows: int, columns: int) -> list[str]:
    del rows
    sizes = ", ".join(f"{_cell(name)}: {size}" for name, size in islice(dict(value.sizes).items(), columns))
    return [f"{name_of(type(value))}, {sizes}"]


def _image(image: Any, rows: int, columns: int) -> list[str]:
    del rows, columns
    return [f"{name_of(type(image))}, {image.width} {BY} {image.height} pixels, {image.mode}"]


_Describe = Callable[[Any, int, int], list[str]]
_KINDS: dict[tuple[str | None, str], _Describe] = {
    ("pandas", "DataFrame"): _pandas_frame,
    ("geopandas", "GeoDataFrame"): _pandas_frame,
    ("pandas", "Series"): _pandas_series,
    ("geopandas", "GeoSeries"): _pandas_series,
    **dict.fromkeys(
        (
            ("pandas", name)
            for name in ("Index", "RangeIndex", "DatetimeIndex", "MultiIndex", "CategoricalIndex")
        ),
        _pandas_index,
    ),
    ("polars", "DataFrame"): _polars_frame,
    ("polars", "Series"): _polars_series,
    ("polars", "LazyFrame"): _lazy,
    ("pyarrow", "Table"): _arrow_table,
    ("pyarrow", "RecordBatch"): _arrow_table,
    ("xarray", "DataArray"): _xarray,
    ("xarray", "Dataset"): _xarray,
    ("PIL", "Image"): _image,
    ("PIL", "PngImageFile"): _image,
    ("PIL", "JpegImageFile"): _image,
}


def _has_shape(value: object) -> bool:
    return any("shape" in vars(base) for base in type(value).__mro__) and any(
        "dtype" in vars(base) for base in type(value).__mro__
    )


def _dtype(dtype: Any, name: object = None) -> str:
    told = str(dtype) if library_of(dtype) else f"<{name_of(type(dtype))}>"
    # A type of categories lists the values.
    return told.partition("(")[0] if is_secret_name(name) else told[:CELL]


def _index_name(index: Any) -> object:
    return tuple(index.names) if hasattr(index, "names") else index.name


def _cells(name: object, values: list[Any]) -> list[str]:
    """Return values as they are shown, those that are secret by the name of their column not at all."""
    is_secret = is_secret_name(name)
    return [WITHHELD_CELL if is_secret and is_withheld(value) else _cell(value) for value in values]


def _cell(value: object) -> str:
    if type(value) is float:
        return f"{value:.6g}"
    return value if type(value) is str and len(value) <= CELL else short(value, CELL)


def _columns(pairs: Iterable[tuple[object, Any]], width: int) -> str:
    told = [f"{_cell(name)} {_dtype(kind, name)}" for name, kind in pairs]
    rest = f", … {width - len(told)} more" if width > len(told) else ""
    return f"columns: {', '.join(told)}{rest}"


def _table(names: list[Any], columns: list[list[str]], height: int, rows: int) -> list[str]:
    count = min(height, rows)
    if not count:
        return []
    lines = [" | ".join(["", *map(_cell, names)])]
    lines += [" | ".join(" ".join(column[row].split()) for column in columns) for row in range(count)]
    return [f"first {count} rows:" if height > count else "rows:", *lines]


def secret_columns(value: Any, *, everything: bool) -> Iterator[tuple[object, list[Any]]]:
    """Yield the columns with secret names, or all of them, as they lie in memory: beginning and end of long ones."""
    library, kind = library_of(value), type(value).__name__
    if library in {"pandas", "geopandas"} and kind in {"DataFrame", "GeoDataFrame"}:
        names = value.columns[:FULL_COLUMNS].tolist()
        yield from _pandas_columns(value, names, everything=everything)
    elif library in {"pandas", "geopandas"} and kind in {"Series", "GeoSeries"} and library_of(value.dtype):
        for label, entry in zip(value.index[:_READ].tolist(), value.iloc[:_READ].tolist(), strict=True):
            if is_secret_name(label):
                yield label, [entry]
        if everything or is_secret_name(value.name):
            yield value.name, value.iloc[:_READ].tolist() + value.iloc[-_READ:].tolist()
    elif _KINDS.get((library, kind)) is _pandas_index and (everything or is_secret_name(_index_name(value))):
        yield _index_name(value), value[:_READ].tolist() + value[-_READ:].tolist()
    elif library == "polars" and kind in {"DataFrame", "Series"}:
        for series in value.get_columns() if kind == "DataFrame" else [value]:
            if (everything or is_secret_name(series.name)) and str(series.dtype) != "Object":
                yield series.name, series.head(_READ).to_list() + series.tail(_READ).to_list()
    elif library == "pyarrow" and kind in {"Table", "RecordBatch"}:
        for field in value.schema:
            if (everything or is_secret_name(field.name)) and library_of(field.type):
                yield field.name, value.column(field.name).slice(0, _READ).to_pylist()
    elif name_of(type(value)) == "numpy.ndarray" and value.dtype.kind in "USV":
        for name in value.dtype.names or ():
            if everything or is_secret_name(name):
                yield name, [entry[name].item() for entry in islice(value.flat, _READ)]
        if everything and not value.dtype.names:
            yield "", [entry.item() for entry in islice(value.flat, _READ)]


def _pandas_columns(frame: Any, names: list[Any], *, everything: bool) -> Iterator[tuple[object, list[Any]]]:
    readable = [bool(library_of(dtype)) for dtype in frame.dtypes.tolist()[: len(names)]]
    for place, name in enumerate(names):
        if readable[place] and (everything or is_secret_name(name)):
            column = frame.iloc[:, place]
            yield name, column.iloc[:_READ].tolist() + column.iloc[-_READ:].tolist()
    labels = frame.index[:_READ].tolist()
    if everything or is_secret_name(_index_name(frame.index)):
        yield _index_name(frame.index), labels + frame.index[-_READ:].tolist()
    for row in [row for row, label in enumerate(labels) if is_secret_name(label)]:
        yield labels[row], [frame.iloc[row, place] for place, can_be in enumerate(readable) if can_be]


WITHHELD = "(withheld: its name says that it is secret)"
_FULL_TEXT = 4_000
_ATTRIBUTES = 8
_FULL_ATTRIBUTES = 40
_SHELL_NAMES = frozenset({"In", "Out", "exit", "quit", "open", "get_ipython", "codex_nb"})
# by their first names: a path comes from pathlib, in Python 3.13 from pathlib._local
_PLAIN_MODULES = frozenset({"builtins", "datetime", "decimal", "pathlib", "fractions", "uuid"})


class Detail(Enum):
    """How much is said of a variable."""

    LINE = "line"
    NORMAL = "normal"
    FULL = "full"


@dataclass(frozen=True)
class Description:
    """What is said of a variable.

    ``whole`` tells whether that is all of its value; of a function or class it is when ``code`` tells its code apart.
    """

    text: str
    whole: bool = False
    code: str = ""


def describe(name: str, value: object, detail: Detail = Detail.NORMAL) -> str:
    """Say what a variable is; nothing of its own code is run, and a value that cannot be read is named all the same."""
    return description(name, value, detail).text


def description(name: str, value: object, detail: Detail = Detail.NORMAL) -> Description:
    """Return what :func:`describe` says, and whether it says all of the value."""
    code, is_secret = "", is_secret_name(name) and is_withheld(value)
    try:
        lines = _withheld(value) if is_secret else _lines(value, detail)
        code = "" if is_secret else definition(value) or ""
        whole = bool(code) or (not is_secret and short_text(value, _limit(detail), 3).whole)
    except Exception as error:  # noqa: BLE001 -- a broken object of a library is described as far as possible
        lines, whole = [f"{name_of(type(value))} (it cannot be read: {name_of(type(error))})"], False
    if detail is Detail.LINE:
        lines = lines[:1]
    return Description("\n".join((f"{name}: {lines[0]}", *(f"  {line}" for line in lines[1:]))), whole, code)


def _limit(detail: Detail) -> int:
    return _FULL_TEXT if detail is Detail.FULL else SHORT


def _withheld(value: Any) -> list[str]:
    """Say what kind of thing has a secret name: its size, never what it holds."""
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
    if library_of(value) is not None and (said := short(value)) != f"<{name_of(type(value))}>":
        return [f"{name_of(type(value))} = {said}"]
    rows = 0 if detail is Detail.LINE else FULL_ROWS if full else ROWS
    data = describe_data(value, rows=rows, columns=FULL_COLUMNS if full else COLUMNS)
    if data is not None:
        return data
    kind = type(value)
    if type(kind) is type and module_of(kind).partition(".")[0] in _PLAIN_MODULES:
        return _builtin(value, detail)
    if type(value) is types.FunctionType:
        return [_signature(value)]
    if library_of(value) is None and (base := known_base(value)) is not None:
        return [f"{name_of(kind)}, a kind of {name_of(base)}; not looked into"]
    return _foreign(value, full=full)


def _builtin(value: Any, detail: Detail) -> list[str]:
    kind = type(value)
    if kind is types.FunctionType:
        return [_signature(value)]
    if kind is type:
        bases = ", ".join(name_of(base) for base in mro_of(value)[1:-1])
        return [f"class {name_of(value)}({bases})" if bases else f"class {name_of(value)}"]
    said = short(value, _limit(detail), 3)
    if said == f"<{name_of(kind)}>":
        return [name_of(kind)]
    size = f" of {len(value):,}" if kind in {list, tuple, dict, set, frozenset, str, bytes} else ""
    return [f"{name_of(kind)}{size} = {said}"]


def _signature(function: types.FunctionType) -> str:
    code = function.__code__
    count = code.co_argcount + code.co_kwonlyargcount
    names = list(code.co_varnames[:count])
    if code.co_kwonlyargcount:
        names.insert(code.co_argcount, "*")
    said = class_text(function.__doc__)
    return f"function {function.__name__}({', '.join(names)}){f': {said}' if said else ''}"


def class_text(docstring: object) -> str:
    """Return the first line of a docstring."""
    return docstring.strip().partition("\n")[0][:SHORT] if type(docstring) is str else ""


def _foreign(value: object, *, full: bool) -> list[str]:
    kind = type(value)
    if issubclass(kind, type):
        return [f"class {name_of(value)}"]  # type: ignore[arg-type]  # a class, as just checked
    lines = [name_of(kind)]
    if not full and module_of(kind) != "__main__" and "__dataclass_fields__" not in class_vars(kind):
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
            if type(held) is types.FunctionType and name[0] != "_"
        ]
        lines += [f"methods: {', '.join(methods[:_FULL_ATTRIBUTES])}"] if methods else []
    return lines


def _attribute(name: str, value: object) -> str:
    return "(withheld)" if is_secret_name(name) and is_withheld(value) else short(value, 40, 1)


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
    told = []
    for name, value in namespace.items():
        if type(value) is types.ModuleType and type(name) is str and not name.startswith("_"):
            real = value.__name__
            told.append(name if real == name else f"{real} as {name}")
    return ", ".join(sorted(told))
