"""Frames, series and arrays of well-known libraries, described by what they hold in memory.

Nothing is computed, collected or fetched: a lazy frame stays lazy, an array on another device stays there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from codex_nb.tools.secrecy import names_a_secret
from codex_nb.tools.trust import library_of, name_of
from codex_nb.tools.values import short

BY = "\N{MULTIPLICATION SIGN}"
ROWS = 5
FULL_ROWS = 20
COLUMNS = 30
FULL_COLUMNS = 200
CELL = 40
_FIRST_VALUES = 6
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
    names = [_cell(name) for name in frame.columns[:columns].tolist()]
    dtypes = frame.dtypes.tolist()[:columns]
    lines = [f"{name_of(type(frame))}, {height} rows {BY} {width} columns"]
    lines.append(_columns(zip(names, map(_dtype, dtypes), strict=True), width))
    if not rows:
        return lines
    # An array type of a foreign class would be asked for its values: its column is not even cut out of the frame.
    readable = [i for i, dtype in enumerate(dtypes) if library_of(dtype)]
    head = frame.iloc[:rows] if len(readable) == width else frame.iloc[:rows, readable]
    values = dict(
        zip(
            readable,
            ([_cell(v) for v in head.iloc[:, i].tolist()] for i in range(len(readable))),
            strict=True,
        )
    )
    unread = ["?"] * min(rows, height)
    return lines + _table(
        names, [_index(frame.index, rows), *(values.get(i, unread) for i in range(len(names)))], height, rows
    )


def _pandas_series(series: Any, rows: int, columns: int) -> list[str]:
    del columns
    name = "" if series.name is None else f", name {short(series.name)}"
    values = ", ".join(_kept(series.name, _column_values(series.iloc[:rows], series.dtype)))
    return [
        f"{name_of(type(series))}, {len(series.index)} values, {_dtype(series.dtype)}{name}",
        f"first: {values}",
    ]


def _pandas_index(index: Any, rows: int, columns: int) -> list[str]:
    del columns
    return [f"{name_of(type(index))}, {len(index)} values", f"first: {', '.join(_index(index, rows))}"]


def _polars_frame(frame: Any, rows: int, columns: int) -> list[str]:
    height, width = frame.height, frame.width
    names, types = frame.columns[:columns], [_dtype(dtype) for dtype in frame.dtypes[:columns]]
    lines = [
        f"polars.DataFrame, {height} rows {BY} {width} columns",
        _columns(zip(names, types, strict=True), width),
    ]
    head = frame.head(rows)
    values = [["<object>"] * rows if kind == "Object" else [_cell(v) for v in head[name].to_list()]
              for name, kind in zip(names, types, strict=True)]  # fmt: skip
    return lines + _table(names, [[str(n) for n in range(rows)], *values], height, rows)


def _polars_series(series: Any, rows: int, columns: int) -> list[str]:
    del columns
    kind = str(series.dtype)
    lines = [f"polars.Series, {len(series)} values, {kind}, name {short(series.name)}"]
    values = [] if kind == "Object" else [_cell(value) for value in series.head(rows).to_list()]
    return [*lines, f"first: {', '.join(_kept(series.name, values))}"] if values else lines


def _arrow_table(table: Any, rows: int, columns: int) -> list[str]:
    schema = table.schema
    fields = [schema.field(i) for i in range(min(len(schema), columns))]
    lines = [f"{name_of(type(table))}, {table.num_rows} rows {BY} {table.num_columns} columns"]
    lines.append(_columns(((field.name, _dtype(field.type)) for field in fields), table.num_columns))
    unread = ["?"] * min(rows, table.num_rows)
    head = [
        [_cell(v) for v in table.column(i).slice(0, rows).to_pylist()] if library_of(field.type) else unread
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
        first = [_cell(entry) for entry in islice(array.flat, _FIRST_VALUES)]
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


def _dtype(dtype: Any) -> str:
    return str(dtype)[:CELL] if library_of(dtype) else f"<{name_of(type(dtype))}>"


def _column_values(series: Any, dtype: Any) -> list[str]:
    return (
        ["?"] * len(series.index)
        if library_of(dtype) is None
        else [_cell(value) for value in series.tolist()]
    )


def _index(index: Any, rows: int) -> list[str]:
    return [_cell(value) for value in index[:rows].tolist()]


def _cell(value: object) -> str:
    if type(value) is float:
        return f"{value:.6g}"
    return value if type(value) is str and len(value) <= CELL else short(value, CELL)


def _kept(name: object, column: list[str]) -> list[str]:
    return ["(withheld)"] * len(column) if names_a_secret(name) else column


def _columns(pairs: Iterable[tuple[str, str]], width: int) -> str:
    told = [f"{name} {kind}" for name, kind in pairs]
    rest = f", … {width - len(told)} more" if width > len(told) else ""
    return f"columns: {', '.join(told)}{rest}"


def _table(names: list[str], columns: list[list[str]], height: int, rows: int) -> list[str]:
    count = min(height, rows)
    if not count:
        return []
    columns = [columns[0], *(_kept(name, column) for name, column in zip(names, columns[1:], strict=True))]
    lines = [" | ".join(["", *names])]
    lines += [" | ".join(" ".join(column[row].split()) for column in columns) for row in range(count)]
    return [f"first {count} rows:" if height > count else "rows:", *lines]
