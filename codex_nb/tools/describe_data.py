"""Data objects described without running the user's code: frames, series, arrays, tensors and images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from codex_nb.tools.safe_repr import defines, library_of, name_of, safe_text
from codex_nb.tools.secret_names import is_secret_name, is_withheld

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
    name = "" if series.name is None else f", name {safe_text(series.name)}"
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
    lines = [f"polars.Series, {len(series)} values, {kind}, name {safe_text(series.name)}"]
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
    return defines(type(value), "shape") and defines(type(value), "dtype")


def _dtype(dtype: Any, name: object = None) -> str:
    shown = str(dtype) if library_of(dtype) else f"<{name_of(type(dtype))}>"
    # A type of categories lists the values.
    return shown.partition("(")[0] if is_secret_name(name) else shown[:CELL]


def _index_name(index: Any) -> object:
    return tuple(index.names) if hasattr(index, "names") else index.name


def _cells(name: object, values: list[Any]) -> list[str]:
    """Return values as they are shown, those that are secret by the name of their column not at all."""
    is_secret = is_secret_name(name)
    return [WITHHELD_CELL if is_secret and is_withheld(value) else _cell(value) for value in values]


def _cell(value: object) -> str:
    if type(value) is float:
        return f"{value:.6g}"
    return value if type(value) is str and len(value) <= CELL else safe_text(value, CELL)


def _columns(pairs: Iterable[tuple[object, Any]], width: int) -> str:
    columns = [f"{_cell(name)} {_dtype(kind, name)}" for name, kind in pairs]
    rest = f", … {width - len(columns)} more" if width > len(columns) else ""
    return f"columns: {', '.join(columns)}{rest}"


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
