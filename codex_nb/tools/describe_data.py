"""Data objects described without running the user's code: frames, series, arrays, tensors and images.

What pandas and polars keep is read below their public methods, which accessors, attributes of a frame and derived
classes of an index can change.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from codex_nb.tools.introspection import (
    class_attribute,
    defines,
    field,
    instance_vars,
    is_known,
    is_ndarray,
    is_of_library,
    library_of,
    mro_of,
    name_of,
    native,
    qualified_name,
    snapshot,
)
from codex_nb.tools.safe_repr import is_readable_dtype, is_void, safe_text
from codex_nb.tools.secrets import is_secret_name, is_withheld

BY = "\N{MULTIPLICATION SIGN}"
ROWS = 5
FULL_ROWS = 20
COLUMNS = 30
FULL_COLUMNS = 200
CELL = 40
WITHHELD_CELL = "(withheld)"
UNREAD = "?"
_FIRST_VALUES = 6
_READ = 200  # values at each end of a column that are looked for elsewhere
_ENDS = (slice(0, _READ), slice(-_READ, None))
_DIMENSIONS = 2


@dataclass(frozen=True)
class _Column:
    """A column, an index or an array; ``read`` gives None for values whose reading could run code."""

    name: object
    kind: str
    length: int
    read: Callable[[slice], list[Any] | None]

    def first(self, count: int) -> list[Any] | None:
        return self.read(slice(0, count))


def describe_data(value: object, *, rows: int, columns: int) -> list[str] | None:
    """Return lines about a data object, the first with its type and size.

    None for whatever is not a known library's frame, series, array or tensor; raises whatever a broken one raises.
    """
    library = library_of(value)
    if library is None:
        return None
    describe = _KINDS.get((library, qualified_name(type(value))))
    if describe is None and library in {"numpy", "torch", "jax", "jaxlib", "h5py", "scipy"}:
        describe = _array
    return None if describe is None else describe(value, rows, columns)


def _column(name: object, array: Any) -> _Column:
    """Return a column that an array of numpy or pandas keeps."""
    if is_ndarray(array):
        dtype = field(array, "dtype")
        is_read = is_readable_dtype(dtype)
    elif library_of(array) in {"pandas", "geopandas"} and is_known(array) and _has_plain_type(array):
        dtype, is_read = array.dtype, True
    else:
        return _Column(name, f"<{name_of(type(array))}>", 0, lambda _: None)
    return _Column(
        name, _dtype(dtype, name), len(array), lambda part: array[part].tolist() if is_read else None
    )


def _has_plain_type(array: Any) -> bool:
    """Whether an array of pandas holds no type of pyarrow that is extended by a class."""
    arrow = field(field(array, "_dtype"), "pyarrow_dtype")
    return arrow is None or (library_of(arrow) == "pyarrow" and arrow.num_fields == 0)


def _manager(value: Any) -> Any:
    manager = instance_vars(value).get("_mgr")
    if library_of(manager) != "pandas":
        message = f"its data is kept by a {name_of(type(manager))}"
        raise TypeError(message)
    return manager


def _pandas_parts(frame: Any, columns: int) -> tuple[list[_Column], _Column, _Column]:
    """Return the first columns of a frame, the index of its columns, and that of its rows."""
    manager = _manager(frame)
    names, index = map(_axis, field(manager, "axes"))
    numbers, rows, blocks = manager.blknos, manager.blklocs, field(manager, "blocks")
    shown = []
    for place, name in enumerate(names.first(columns) or ()):
        array = field(blocks[numbers[place]], "values")
        if is_ndarray(array) or (is_known(array) and array.ndim == _DIMENSIONS):
            array = array[rows[place]]
        shown.append(_column(name, array))
    return shown, names, index


def _axis(index: Any) -> _Column:
    """Return an index: its labels, and its name or names."""
    held = instance_vars(index)
    if type(labels := held.get("_range")) is range:
        return _Column(held.get("_name"), "int64", len(labels), lambda part: list(labels[part]))
    if "_codes" not in held:
        return _column(held.get("_name"), held.get("_data"))
    levels = [_axis(level) for level in list.__iter__(held["_levels"])]
    codes = [_column("", code) for code in list.__iter__(held["_codes"])]

    def read(part: slice) -> list[Any] | None:
        columns = []
        for level, code in zip(levels, codes, strict=True):
            labels = [level.read(slice(n, n + 1)) if n >= 0 else [None] for n in code.read(part) or ()]
            columns.append([label[0] if label else UNREAD for label in labels])
        return list(zip(*columns, strict=True))

    return _Column(tuple(list.__iter__(held["_names"])), "", codes[0].length if codes else 0, read)


def _pandas_frame(frame: Any, rows: int, columns: int) -> list[str]:
    shown, names, index = _pandas_parts(frame, columns)
    lines = _heading(frame, index.length, names.length, shown)
    labels = index.first(rows) or [UNREAD] * min(rows, index.length)
    cells = [_cells(column.name, column.first(rows), min(rows, index.length)) for column in shown]
    for row in [row for row, label in enumerate(labels) if is_secret_name(label)]:
        cells = [[*column[:row], WITHHELD_CELL, *column[row + 1 :]] for column in cells]
    return lines + _table(shown, [_cells(index.name, labels), *cells], index.length, rows)


def _series_parts(series: Any) -> tuple[_Column, _Column]:
    """Return the values and the index of a series."""
    manager = _manager(series)
    (axis,), (block,) = field(manager, "axes"), field(manager, "blocks")
    return _column(instance_vars(series).get("_name"), field(block, "values")), _axis(axis)


def _pandas_series(series: Any, rows: int, columns: int) -> list[str]:
    del columns
    column, index = _series_parts(series)
    name = "" if column.name is None else f", name {safe_text(column.name)}"
    values = column.first(rows)
    labels = index.first(rows) or [None] * len(values or ())
    pairs = zip(labels, values or [UNREAD] * min(rows, index.length), strict=False)
    shown = [_cells((column.name, label), [value])[0] for label, value in pairs]
    return [
        f"{name_of(type(series))}, {index.length} values, {column.kind}{name}",
        f"first: {', '.join(shown)}",
    ]


def _pandas_index(index: Any, rows: int, columns: int) -> list[str]:
    del columns
    axis = _axis(index)
    shown = _cells(axis.name, axis.first(rows), rows)
    return [f"{name_of(type(index))}, {axis.length} values", f"first: {', '.join(shown)}"]


def _polars_columns(value: Any, columns: int) -> list[_Column]:
    """Return the columns of a frame or of a series as Rust knows them: in Python a registered class may be a type."""
    if name_of(type(value)) == "polars.Series":
        to_frame = class_attribute(type(value), "to_frame")
        value = to_frame(value) if type(to_frame) is types.FunctionType and is_of_library(to_frame) else None
    frame = instance_vars(value)["_df"]
    names, kinds = native(frame, "columns")(), native(frame, "dtype_strings")()
    series = [native(frame, "to_series")(place) for place in range(min(columns, len(names)))]
    return [_polars_column(*each) for each in zip(names, kinds, series, strict=False)]


def _polars_column(name: str, kind: str, series: Any) -> _Column:
    length, is_read = native(series, "len")(), not kind.startswith(("object", "ext["))

    def read(part: slice) -> list[Any] | None:
        start, stop, _ = part.indices(length)
        return native(series, "slice")(start, stop - start).to_list() if is_read else None

    return _Column(name, _short_type(kind, name), length, read)


def _polars_frame(frame: Any, rows: int, columns: int) -> list[str]:
    native_frame = instance_vars(frame)["_df"]
    height, width = native(native_frame, "height")(), native(native_frame, "width")()
    shown = _polars_columns(frame, columns)
    return _heading(frame, height, width, shown) + _numbered_table(shown, height, rows)


def _polars_series(series: Any, rows: int, columns: int) -> list[str]:
    del columns
    (column,) = _polars_columns(series, 1)
    lines = [f"polars.Series, {column.length} values, {column.kind}, name {safe_text(column.name)}"]
    values = _cells(column.name, column.first(rows))
    return [*lines, f"first: {', '.join(values)}"] if values else lines


def _arrow_columns(table: Any, columns: int) -> list[_Column] | None:
    """Return the columns of a table; None when a class extends one of their types: each look makes it anew."""
    schema = table.schema
    if b"ARROW:extension:name" in schema.serialize().to_pybytes():
        return None
    return [_arrow_column(schema.field(i), table.column(i)) for i in range(min(len(schema), columns))]


def _arrow_column(column: Any, values: Any) -> _Column:
    def read(part: slice) -> list[Any]:
        start, stop, _ = part.indices(len(values))
        entries: list[Any] = values.slice(start, stop - start).to_pylist()
        return entries

    return _Column(column.name, _short_type(str(column.type), column.name), len(values), read)


def _arrow_table(table: Any, rows: int, columns: int) -> list[str]:
    shown = _arrow_columns(table, columns)
    lines = _heading(table, table.num_rows, table.num_columns, shown or [])
    if shown is None:
        return [lines[0], "a class extends a type of its columns, so it is not looked into"]
    return lines + _numbered_table(shown, table.num_rows, rows)


def _lazy(value: Any, rows: int, columns: int) -> list[str]:
    del rows, columns
    return [f"{name_of(type(value))}, not collected, so its size is not known"]


def _array(array: Any, rows: int, columns: int) -> list[str] | None:
    del columns
    kind = type(array)
    if any(qualified_name(base) == "ndarray" for base in mro_of(kind)):
        shape, dtype, where = field(array, "shape"), field(array, "dtype"), ""
    elif library_of(array) == "scipy":
        shape, dtype, where = field(array, "_shape"), field(field(array, "data"), "dtype"), ""
    elif defines(kind, "shape") and defines(kind, "dtype"):
        where = f", on {array.device}" if library_of(array) == "torch" else ""
        shape, dtype = array.shape, array.dtype
    else:
        return None
    if not issubclass(type(shape), tuple) or not all(type(size) is int for size in tuple.__iter__(shape)):
        return None
    sizes = f" {BY} ".join(map(str, tuple.__iter__(shape))) or "scalar"
    lines = [f"{name_of(kind)}, {sizes}, {_dtype(dtype)}{where}"]
    if is_ndarray(array) and rows and is_readable_dtype(dtype):
        first = _cells(field(dtype, "names"), list(islice(_flat(array), _FIRST_VALUES)))
        lines.append(f"first values: {', '.join(first)}{', …' if array.size > len(first) else ''}")
    return lines


def _flat(array: Any) -> Iterator[Any]:
    """Yield the entries of an array; of a structured one as tuples, in which an object stands as it is."""
    return (each.item() if is_void(each) else each for each in array.flat)


def _numpy_columns(array: Any) -> list[_Column]:
    """Return the parts of a structured array, or its entries, where they are texts or raw data."""
    dtype = field(array, "dtype")
    if not is_readable_dtype(dtype) or dtype.kind not in "USV":
        return []
    entries = list(islice(_flat(array), _READ))
    if not dtype.names:
        return [_column_of("", [each.item() for each in entries])]
    return [_column_of(name, [each[place] for each in entries]) for place, name in enumerate(dtype.names)]


def _column_of(name: str, entries: list[Any]) -> _Column:
    return _Column(name, "", len(entries), lambda part: entries[part])


def _xarray(value: Any, rows: int, columns: int) -> list[str]:
    del rows
    sizes = field(value, "_dims")
    if sizes is None:
        variable = field(value, "_variable")
        data, names = field(variable, "_data"), field(variable, "_dims")
        shape = field(data, "shape") if is_ndarray(data) else [UNREAD] * len(names)
        sizes = dict(zip(tuple.__iter__(names), shape, strict=True))
    shown = ", ".join(
        f"{_cell(name)}: {_cell(size)}" for name, size in islice(snapshot(sizes).items(), columns)
    )
    return [f"{name_of(type(value))}, {shown}"]


def _image(image: Any, rows: int, columns: int) -> list[str] | None:
    del rows, columns
    held = instance_vars(image)
    size, mode = held.get("_size"), held.get("_mode", held.get("mode"))
    if type(size) is not tuple or [type(each) for each in size] != [int, int] or type(mode) is not str:
        return None
    return [f"{name_of(type(image))}, {size[0]} {BY} {size[1]} pixels, {mode}"]


_Describe = Callable[[Any, int, int], list[str] | None]
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


def _dtype(dtype: Any, name: object = None) -> str:
    kind, library = type(dtype), library_of(dtype)
    if library is None:
        return f"<{name_of(kind)}>"
    if library == "numpy" and qualified_name(kind) == "StringDType":
        return "StringDType"  # its own text includes what stands for a missing value
    if library == "numpy" and not is_readable_dtype(dtype):
        return "structured"
    return _short_type(str(dtype), name)


def _short_type(shown: str, name: object) -> str:
    # A type of categories lists the values.
    return shown.partition("(")[0] if is_secret_name(name) else shown[:CELL]


def _cells(name: object, values: list[Any] | None, count: int = 0) -> list[str]:
    """Return values as they are shown, those that are secret by the name of their column not at all."""
    if values is None:
        return [UNREAD] * count
    is_secret = is_secret_name(name)
    return [WITHHELD_CELL if is_secret and is_withheld(value) else _cell(value) for value in values]


def _cell(value: object) -> str:
    if type(value) is float:
        return f"{value:.6g}"
    return value if type(value) is str and len(value) <= CELL else safe_text(value, CELL)


def _heading(value: object, height: int, width: int, shown: list[_Column]) -> list[str]:
    rest = f", … {width - len(shown)} more" if width > len(shown) else ""
    columns = ", ".join(f"{_cell(column.name)} {column.kind}" for column in shown)
    return [f"{name_of(type(value))}, {height} rows {BY} {width} columns", f"columns: {columns}{rest}"]


def _numbered_table(shown: list[_Column], height: int, rows: int) -> list[str]:
    count = min(height, rows)
    cells = [_cells(column.name, column.first(rows), count) for column in shown]
    return _table(shown, [list(map(str, range(count))), *cells], height, rows)


def _table(shown: list[_Column], columns: list[list[str]], height: int, rows: int) -> list[str]:
    count = min(height, rows)
    if not count:
        return []
    lines = [" | ".join(["", *(_cell(column.name) for column in shown)])]
    lines += [" | ".join(" ".join(column[row].split()) for column in columns) for row in range(count)]
    return [f"first {count} rows:" if height > count else "rows:", *lines]


def secret_columns(value: Any, *, everything: bool) -> Iterator[tuple[object, list[Any]]]:
    """Yield the columns with secret names, or all of them, as they lie in memory: beginning and end of long ones."""
    columns, index = _all_columns(value)
    for column in columns if index is None else [*columns, index]:
        if everything or is_secret_name(column.name):
            yield column.name, [entry for part in _ENDS for entry in column.read(part) or ()]
    labels = index.first(_READ) if index is not None else None
    for row, label in enumerate(labels or ()):
        if is_secret_name(label):
            part = slice(row, row + 1)
            yield label, [entry for column in columns for entry in column.read(part) or ()]


def _all_columns(value: Any) -> tuple[list[_Column], _Column | None]:
    """Return the columns of any data object, and the index of its rows where it has one."""
    describe = _KINDS.get((library_of(value), qualified_name(type(value))))
    if describe is _pandas_frame:
        columns, _, index = _pandas_parts(value, FULL_COLUMNS)
        return columns, index
    if describe is _pandas_series:
        column, index = _series_parts(value)
        return [column], index
    if describe is _pandas_index:
        return [_axis(value)], None
    if describe is _polars_frame or describe is _polars_series:
        return _polars_columns(value, FULL_COLUMNS), None
    if describe is _arrow_table:
        return _arrow_columns(value, FULL_COLUMNS) or [], None
    return _numpy_columns(value) if is_ndarray(value) else [], None
