"""Data objects described without running the user's code: frames, series, indexes, arrays, datasets and images.

What pandas, polars, xarray and dask keep is read below their public methods, which accessors, attributes of a frame and
derived classes of an index can change. Nothing is computed: a lazy object tells its schema where it has it already.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any

from codex_nb.tools.introspection import (
    class_vars,
    defines,
    exact_text,
    field,
    find,
    has_own_arrow_types,
    instance_vars,
    is_extended,
    is_ndarray,
    library_of,
    mro_of,
    name_of,
    native,
    polars_frame,
    qualified_name,
    slots_of,
    snapshot,
    vars_of,
)
from codex_nb.tools.safe_repr import (
    BY,
    dtype_text,
    is_known,
    is_known_array,
    is_readable_dtype,
    is_void,
    ndarray_base,
    of_ndarray,
    safe_text,
    times,
)
from codex_nb.tools.secrets import is_secret_name, is_withheld

CELL = 40
WITHHELD_CELL = "(withheld)"
UNREAD = "?"
_FIRST_VALUES = 6
_ROWS_OF_FULL = 400
_READ = 200  # values at each end of a column that are looked for elsewhere
_ENDS = (slice(0, _READ), slice(-_READ, None))
_LOOKED_INTO = 400
_DIMENSIONS = 2
_COUNTED = 2_000_000  # cells in which missing values are counted; objects are looked at one by one
_COUNTED_OBJECTS = 50_000
_CATEGORIES = 12
_NO_TIME = -(2**63)  # what pandas stores for a missing period


@dataclass(frozen=True)
class View:
    """How much of a data object is shown: rows, columns, characters of a cell, and bytes altogether."""

    rows: int
    columns: int
    cell: int
    room: int


LINE_VIEW = View(0, 30, CELL, 500)
NORMAL_VIEW = View(5, 30, CELL, 2_800)
FULL_VIEW = View(_ROWS_OF_FULL, 300, 4_000, 16_000)


@dataclass(frozen=True)
class _Column:
    """A column, an index or an array; ``read`` gives None for values whose reading could run code.

    ``type_text`` is asked when the type is shown: in a wide frame only the names are looked through. ``missing`` counts
    the missing values and tells among how many it counted; None where that is not known.
    """

    name: object
    type_text: Callable[[], str]
    length: int
    read: Callable[[slice], list[Any] | None]
    missing: Callable[[int], tuple[int, int] | None] = lambda _: None

    @cached_property
    def kind(self) -> str:
        return self.type_text()

    def first(self, count: int) -> list[Any] | None:
        return self.read(slice(0, count))

    def described(self, others: int = 1) -> str:
        """Return the type with the number of missing values, counted among a share of what may be counted."""
        missing, count = self.missing(max(others, 1)) or (0, self.length)
        if not missing:
            return self.kind
        return f"{self.kind} ({missing:,} missing{f' in the first {count:,}' if count < self.length else ''})"


def describe_data(value: object, view: View) -> list[str] | None:
    """Return lines about a data object, the first with its type and size.

    None for whatever is not a known library's frame, series, array or dataset; raises whatever a broken one raises.
    """
    describe = _describer(value)
    return None if describe is None else describe(value, view)


def _describer(value: object) -> _Describe | None:
    """Return what describes an object of a library: by the name of its class, or of the nearest base that has one."""
    library = library_of(value)
    for base in mro_of(type(value)) if library is not None else ():
        if (describe := _KINDS.get((library, qualified_name(base)))) is not None:
            return describe
    return _array if library in {"numpy", "torch", "jax", "jaxlib", "h5py", "scipy"} else None


def _column(name: object, array: Any) -> _Column:
    """Return a column that an array of numpy or pandas keeps."""
    if is_ndarray(array):
        return _ndarray_column(name, array)
    if library_of(array) == "geopandas" and is_ndarray(shapes := field(array, "_data")):
        return _ndarray_column(name, shapes, f"geometry, CRS {_reference_system(array) or 'not set'}")
    if library_of(array) == "pandas" and is_known_array(array):
        return _Column(
            name,
            lambda: _categories(array.dtype, name) or _dtype(array.dtype, name),
            len(array),
            lambda part: array[part].tolist(),
            lambda others: _missing(array, others),
        )
    return _Column(name, lambda: f"<{name_of(type(array))}>", 0, lambda _: None)


def _ndarray_column(name: object, array: Any, type_text: str = "") -> _Column:
    """Return the entries of an array of numpy; of several dimensions they are read only where they lie in order."""
    dtype = field(array, "dtype")
    flat = array.reshape(-1) if array.flags.contiguous else array
    is_read = is_readable_dtype(dtype) and flat.ndim == 1
    return _Column(
        name,
        lambda: type_text or _dtype(dtype, name),
        array.size,
        lambda part: flat[part].tolist() if is_read else None,
        lambda others: _missing(flat, others),
    )


def _reference_system(array: Any) -> str:
    """Return the coordinate reference system of shapes of geopandas, as its user wrote it; empty without one."""
    system = instance_vars(array).get("_crs")
    return exact_text(instance_vars(system).get("srs"))[:CELL] if library_of(system) == "pyproj" else ""


def _categories(dtype: Any, name: object) -> str:
    """Return a type of categories with the first of them; empty for every other type."""
    if qualified_name(type(dtype)) != "CategoricalDtype" or is_secret_name(name):
        return ""
    held = instance_vars(dtype)
    if held.get("_categories") is None:
        return ""
    labels = _axis(held["_categories"])
    shown = [_cell(label) for label in labels.first(_CATEGORIES) or ()]
    rest = f", … {labels.length - len(shown):,} more" if labels.length > len(shown) else ""
    return f"category[{', '.join(shown)}{rest}]{' ordered' if held.get('_ordered') is True else ''}"


def _missing(array: Any, others: int) -> tuple[int, int] | None:
    """Count the missing values of an array of numpy or pandas, and among how many; no value is asked."""
    if is_ndarray(array):
        kind = field(array, "dtype").kind
        if kind == "O":
            return _missing_objects(array[: _COUNTED_OBJECTS // others])
        part = array[: _COUNTED // others]
        # A missing number is not equal to itself.
        return (int((part != part).sum()), len(part)) if kind in "fcmM" else None  # noqa: PLR0124
    if library_of(values := field(array, "_pa_array")) == "pyarrow":
        return int(values.null_count), len(values)
    mask, inner, left = (field(array, name) for name in ("_mask", "_ndarray", "_left"))
    sign = {"Categorical": -1, "PeriodArray": _NO_TIME}.get(qualified_name(type(array)))
    if sign is not None and is_ndarray(inner):
        mask = inner[: _COUNTED // others] == sign
    if is_ndarray(mask):
        mask = mask[: _COUNTED // others]
        return int(mask.sum()), len(mask)
    return next((_missing(each, others) for each in (inner, left) if is_ndarray(each)), None)


def _missing_objects(array: Any) -> tuple[int, int]:
    pandas = vars_of(sys.modules.get("pandas"))
    unknown, no_time = pandas.get("NA"), pandas.get("NaT")
    values = array.tolist()
    missing = [
        value
        for value in values
        if value is None or value is unknown or value is no_time or (type(value) is float and value != value)  # noqa: PLR0124
    ]
    return len(missing), len(values)


def _manager(value: Any) -> Any:
    manager = instance_vars(value).get("_mgr")
    if library_of(manager) != "pandas":
        raise TypeError(f"its data is kept by a {name_of(type(manager))}")
    return manager


def _pandas_parts(frame: Any, columns: int) -> tuple[list[_Column], _Column, _Column]:
    """Return the first columns of a frame, the index of its rows, and that of its columns."""
    manager = _manager(frame)
    names, index = map(_axis, field(manager, "axes"))
    numbers, rows, blocks = manager.blknos, manager.blklocs, field(manager, "blocks")
    shown = []
    for place, name in enumerate(names.first(columns) or ()):
        array = field(blocks[numbers[place]], "values")
        if is_ndarray(array) or (is_known(array) and array.ndim == _DIMENSIONS):
            array = array[rows[place]]
        shown.append(_column(name, array))
    return shown, index, names


def _axis(index: Any) -> _Column:
    """Return an index: its labels, and its name or names."""
    held = instance_vars(index)
    if type(labels := held.get("_range")) is range:
        return _Column(held.get("_name"), lambda: "int64", len(labels), lambda part: list(labels[part]))
    if "_codes" not in held:
        return _column(held.get("_name"), held.get("_data"))
    levels = [_axis(level) for level in list.__iter__(held["_levels"])]
    codes = [_column("", code) for code in list.__iter__(held["_codes"])]
    names = tuple(list.__iter__(held["_names"]))

    def read(part: slice) -> list[Any] | None:
        columns = []
        for level, code in zip(levels, codes, strict=True):
            labels = [level.read(slice(n, n + 1)) if n >= 0 else [None] for n in code.read(part) or ()]
            columns.append([label[0] if label else UNREAD for label in labels])
        return list(zip(*columns, strict=True))

    def type_text() -> str:
        return ", ".join(
            f"{_label(name)} {level.kind} ({level.length:,} labels)"
            for name, level in zip(names, levels, strict=False)
        )

    return _Column(names, type_text, codes[0].length if codes else 0, read)


def _index_line(index: _Column, word: str = "index") -> list[str]:
    """Return a line about an index that has a name, levels or labels of its own; none for numbers without a name."""
    if type(index.name) is tuple:
        return [f"{word}: {len(index.name)} levels: {index.kind}"]
    if index.name is None and index.kind == "int64":
        return []
    return [
        f"{word}: {_label(index.name)} {index.kind}" if index.name is not None else f"{word}: {index.kind}"
    ]


def _pandas_frame(frame: Any, view: View) -> list[str]:
    shown, index, names = _pandas_parts(frame, view.columns)
    return _table(frame, index.length, names.length, shown, view, index, _names_of_columns(names))


def _names_of_columns(names: _Column) -> str:
    if names.name is None or (type(names.name) is tuple and all(name is None for name in names.name)):
        return ""
    return f" (named {_label(names.name)})"


def _series_parts(series: Any) -> tuple[list[_Column], _Column]:
    """Return the values and the index of a series."""
    manager = _manager(series)
    (axis,), (block,) = field(manager, "axes"), field(manager, "blocks")
    return [_column(instance_vars(series).get("_name"), field(block, "values"))], _axis(axis)


def _pandas_series(series: Any, view: View) -> list[str]:
    (column,), index = _series_parts(series)
    name = "" if column.name is None else f", name {safe_text(column.name)}"
    lines = [
        f"{name_of(type(series))}, {index.length} values, {column.described()}{name}",
        *_index_line(index),
    ]
    count = min(index.length, view.rows * 2)
    values = column.first(count) or [UNREAD] * count
    labels = index.first(count) or [None] * len(values)
    shown = [
        _cells((column.name, label), [value], 0, view.cell)[0]
        for label, value in zip(labels, values, strict=False)
    ]
    if lines[1:]:
        shown = [f"{label} = {cell}" for label, cell in zip(_cells(index.name, labels), shown, strict=False)]
    return lines + _first_values(shown, index.length, view, lines)


def _pandas_index(index: Any, view: View) -> list[str]:
    axis = _axis(index)
    first = f"{name_of(type(index))}, {axis.length} values"
    return [*_values(first, axis, view), *_index_line(axis, "labels")]


def _pandas_array(array: Any, view: View) -> list[str]:
    column = _column(None, array)
    return _values(f"{name_of(type(array))}, {column.length} values, {column.described()}", column, view)


def _values(first: str, column: _Column, view: View) -> list[str]:
    """Return a line about an index, a series or an array, and its first values."""
    cells = _cells(column.name, column.first(view.rows * 2), 0, view.cell)
    return [first, *_first_values(cells, column.length, view, [first])]


def _first_values(shown: list[str], length: int, view: View, before: list[str]) -> list[str]:
    """Return a line of the first values, as many as fit; all of them where they do."""
    room = view.room - sum(map(_bytes, before))
    fitting = shown[: max(_fitting((_bytes(cell) + 2 for cell in shown), room), 1)]
    rest = f", … {length - len(fitting):,} more" if length > len(fitting) else ""
    return [f"first: {', '.join(fitting)}{rest}"] if fitting else []


def _grouped(value: Any, view: View) -> list[str]:
    """Return what a pandas object groups, resamples or rolls over, and by what."""
    held = instance_vars(value)
    keys = held.get("keys") if held.get("keys") is not None else held.get("window")
    lines = describe_data(held.get("obj"), View(0, view.columns, view.cell, view.room))
    by = f", by {safe_text(keys)}" if keys is not None else ""
    return [
        f"{name_of(type(value))}{by}, of {lines[0] if lines else 'an object of another class'}",
        *(lines or [])[1:],
    ]


def _styler(value: Any, view: View) -> list[str] | None:
    lines = describe_data(instance_vars(value).get("data"), view)
    return None if lines is None else [f"{name_of(type(value))} of {lines[0]}", *lines[1:]]


def _polars_columns(value: Any, columns: int) -> list[_Column]:
    """Return the columns of a frame or of a series as Rust knows them: in Python a registered class may be a type."""
    frame = polars_frame(value)
    names, kinds = native(frame, "columns")(), native(frame, "dtype_strings")()
    series = [native(frame, "to_series")(place) for place in range(min(columns, len(names)))]
    return [_polars_column(*each) for each in zip(names, kinds, series, strict=False)]


def _polars_column(name: str, kind: str, series: Any) -> _Column:
    length, is_read = native(series, "len")(), not kind.startswith(("object", "ext["))

    def read(part: slice) -> list[Any] | None:
        start, stop, _ = part.indices(length)
        return native(series, "slice")(start, stop - start).to_list() if is_read else None

    return _Column(
        name,
        lambda: _short_type(kind, name),
        length,
        read,
        lambda _: (native(series, "null_count")(), length),
    )


def _polars_frame(frame: Any, view: View) -> list[str]:
    rust = polars_frame(frame)
    height, width = native(rust, "height")(), native(rust, "width")()
    return _table(frame, height, width, _polars_columns(frame, view.columns), view)


def _polars_series(series: Any, view: View) -> list[str]:
    (column,) = _polars_columns(series, 1)
    first = f"polars.Series, {column.length} values, {column.described()}, name {safe_text(column.name)}"
    return _values(first, column, view)


def _arrow_columns(table: Any, columns: int) -> list[_Column] | None:
    """Return the columns of a table; None when a class extends one of their types."""
    schema = table.schema
    if is_extended(schema):
        return None
    return [_arrow_column(schema.field(i).name, table.column(i)) for i in range(min(len(schema), columns))]


def _arrow_column(name: str, values: Any) -> _Column:
    def read(part: slice) -> list[Any]:
        start, stop, _ = part.indices(len(values))
        entries: list[Any] = values.slice(start, stop - start).to_pylist()
        return entries

    return _Column(
        name,
        lambda: _short_type(str(values.type), name),
        len(values),
        read,
        lambda _: (int(values.null_count), len(values)),
    )


_PLAIN_SCALAR = re.compile(
    r"(?:U?Int\d+|HalfFloat|Float|Double|Boolean|(?:Large)?String|Date\d+|Timestamp|Decimal\d+)Scalar"
)
_EXTENDED = "a class extends a type of its columns, so it is not looked into"


def _arrow_table(table: Any, view: View) -> list[str]:
    shown = _arrow_columns(table, view.columns)
    if shown is None:
        return [*_table(table, table.num_rows, table.num_columns, [], view)[:1], _EXTENDED]
    return _table(table, table.num_rows, table.num_columns, shown, view)


def _arrow_schema(value: Any, view: View) -> list[str]:
    schema = value if qualified_name(type(value)) == "Schema" else value.schema
    first = f"{name_of(type(value))}, {len(schema)} columns"
    if is_extended(schema):
        return [first, _EXTENDED]
    return [
        first,
        *_columns_line([(schema.field(i).name, str(schema.field(i).type)) for i in range(len(schema))], view),
    ]


def _is_own_type(kind: Any) -> bool:
    """Whether a type is one of Arrow's own, of which no part is extended by a class."""
    schema = vars_of(sys.modules.get("pyarrow")).get("schema")
    return schema is not None and library_of(kind) == "pyarrow" and not is_extended(schema([("", kind)]))


def _is_plain_scalar(value: Any) -> bool:
    """Whether a scalar of Arrow is no nested one, which may hold values whose type a class extends."""
    return _PLAIN_SCALAR.fullmatch(qualified_name(type(value))) is not None


def _arrow_scalar(value: Any, view: View) -> list[str] | None:
    return (
        [f"{name_of(type(value))} = {safe_text(value.as_py(), view.cell)}"]
        if _is_plain_scalar(value)
        else None
    )


def _arrow_type(value: Any, _view: View) -> list[str] | None:
    kind = value.type if qualified_name(type(value)) == "Field" else value
    return [f"{name_of(type(value))} = {value}"] if _is_own_type(kind) else None


def _arrow_array(array: Any, view: View) -> list[str]:
    first = f"{name_of(type(array))}, {len(array)} values"
    columns = _array_columns(array)
    return _values(f"{first}, {columns[0].described()}", columns[0], view) if columns else [first]


def _array_columns(array: Any) -> list[_Column]:
    """Return the values of an array of Arrow; none where a class may extend their type."""
    is_made_anew = qualified_name(type(array)) == "ChunkedArray" and has_own_arrow_types()
    return [] if is_made_anew or not _is_own_type(array.type) else [_arrow_column("", array)]


def _duckdb(relation: Any, view: View) -> list[str]:
    pairs = list(zip(relation.columns, map(str, relation.types), strict=False))
    return [f"{name_of(type(relation))}, not computed, {len(pairs)} columns", *_columns_line(pairs, view)]


def _lazy(value: Any, _view: View) -> list[str]:
    # Resolving the schema calls functions in the plan and opens the files that it scans.
    return [f"{name_of(type(value))}, not collected: its columns are not known before its plan is resolved"]


def _dask_frame(value: Any, view: View) -> list[str]:
    held = instance_vars(instance_vars(value).get("_expr"))
    first, *lines = describe_data(held.get("_meta"), View(0, view.columns, view.cell, view.room)) or ["", ""]
    kind = first.partition(" 0 values,")[2]  # of a series
    parts = held.get("_divisions", held.get("divisions"))
    blocks = f", in {len(parts) - 1} partitions" if type(parts) is tuple else ""
    return [f"{name_of(type(value))}{f',{kind}' if kind else ''}{blocks}, not computed", *lines]


def _dask_array(value: Any, _view: View) -> list[str]:
    held: Any = slots_of(value)
    chunks, meta = held.get("_Array__chunks"), held.get("_meta")
    if type(chunks) is not tuple or not all(type(each) is tuple for each in chunks):
        chunks = ()
    shape = times(sum(each) if all(type(n) is int for n in each) else UNREAD for each in chunks)
    kind = dtype_text(field(meta, "dtype")) if is_ndarray(meta) else name_of(type(meta))
    blocks = times(map(len, chunks)) or "1"
    return [f"{name_of(type(value))}, {shape or 'scalar'}, {kind}, in {blocks} chunks, not computed"]


def _dask_other(value: Any, _view: View) -> list[str]:
    held = slots_of(value) | instance_vars(value)
    told = [
        f"{name} {safe_text(held[name])}"
        for name in ("_key", "name", "npartitions")
        if held.get(name) is not None
    ]
    return [", ".join([name_of(type(value)), *told, "not computed"])]


def _array(array: Any, view: View) -> list[str] | None:
    kind = type(array)
    base, more = ndarray_base(kind), ""
    if base is not None:
        shape, dtype = of_ndarray(array, "shape"), of_ndarray(array, "dtype")
    elif library_of(array) == "scipy":
        shape, dtype = field(array, "_shape"), field(field(array, "data"), "dtype")
        more = f", {array.data.size:,} stored values" if is_ndarray(field(array, "data")) else ""
    elif defines(kind, "shape") and defines(kind, "dtype"):
        more = f", on {array.device}" if library_of(array) == "torch" else ""
        shape, dtype = array.shape, array.dtype
    else:
        return None
    if not issubclass(type(shape), tuple) or not all(type(size) is int for size in tuple.__iter__(shape)):
        return None
    first = f"{name_of(kind)}, {times(tuple.__iter__(shape)) or 'scalar'}, {_dtype(dtype)}{more}"
    if base is None:
        return [first]
    mask = field(array, "_mask")
    if not is_ndarray(mask) or mask.dtype.kind != "b" or mask.shape != shape:
        return [first, *_entries_of_array(array, base, dtype, view)]
    return [f"{first}, {int(mask.sum()):,} masked", *_entries_of_array(array, base, dtype, view, mask)]


def _entries_of_array(array: Any, base: type, dtype: Any, view: View, mask: Any = None) -> list[str]:
    """Return the first entries of an array, and how many numbers in it are missing; files are not read for them."""
    if qualified_name(type(array)) == "memmap":
        return ["memory-mapped, its values are not read"]
    if not view.rows or not is_readable_dtype(dtype):
        return []
    plain = class_vars(base)["view"].__get__(array)(base)
    size = plain.size
    names = field(dtype, "names")
    read = _FIRST_VALUES if view.rows < _ROWS_OF_FULL else _ROWS_OF_FULL
    cells = _cells(names, list(islice(_flat(plain), read)), 0, view.cell)
    if mask is not None:
        cells = ["--" if hidden else cell for hidden, cell in zip(mask.flat, cells, strict=False)]
    lines = _first_values(cells, size, view, [])
    if size <= _COUNTED and plain.dtype.kind in "fcmM" and (missing := int((plain != plain).sum())):  # noqa: PLR0124 -- as above
        lines.insert(0, f"{missing:,} missing")
    return [line.replace("first:", "first values:", 1) for line in lines]


def _flat(array: Any) -> Iterator[Any]:
    """Yield the entries of an array; of a structured one as tuples, in which an object stands as it is."""
    if array.dtype.kind in "biuf":
        return iter(array.flat[:_ROWS_OF_FULL].tolist())
    return (each.item() if is_void(each) else each for each in array.flat)


def _numpy_columns(array: Any) -> list[_Column]:
    """Return the parts of a structured array, or its entries, where they are no numbers; no file is read for them."""
    dtype, base = of_ndarray(array, "dtype"), ndarray_base(type(array))
    if base is None or qualified_name(type(array)) == "memmap" or not is_readable_dtype(dtype):
        return []
    if dtype.kind not in "USVOT":
        return []
    entries = list(islice(_flat(class_vars(base)["view"].__get__(array)(base)), _READ))
    if dtype.names:
        return [_column_of(name, [each[place] for each in entries]) for place, name in enumerate(dtype.names)]
    return [_column_of("", [each.item() for each in entries] if dtype.kind in "US" else entries)]


def _column_of(name: str, entries: list[Any]) -> _Column:
    return _Column(name, str, len(entries), lambda part: entries[part])


def _dataset(value: Any, view: View) -> list[str]:
    """Return the dimensions, coordinates and variables of an xarray dataset, with their units."""
    held = slots_of(value)
    coordinates = held.get("_coord_names")
    names = coordinates if type(coordinates) is set else set()
    variables = [(name, *_variable(variable)) for name, variable in snapshot(held.get("_variables")).items()]
    shown = ", ".join(f"{_label(name)}: {_cell(size)}" for name, size in snapshot(held.get("_dims")).items())
    lines = [f"{name_of(type(value))}, {shown or 'no dimensions'}"]
    known = {name for name in names if type(name) is str}
    for word, is_coordinate in (("coordinates", True), ("variables", False)):
        those = [each for each in variables if (each[0] in known) is is_coordinate]
        lines += [f"{word}: {len(those)}"] if those else []
        lines += [
            f"  {_label(name)} {text}{_sample(name, column, view)}"
            for name, text, column in those[: view.columns]
        ]
    return lines + _attributes(held.get("_attrs"))


def _data_array(value: Any, view: View) -> list[str]:
    held = slots_of(value)
    text, column = _variable(held.get("_variable"))
    name = f", name {safe_text(held['_name'])}" if held.get("_name") is not None else ""
    lines = [f"{name_of(type(value))}{name}, {text}{_sample(held.get('_name'), column, view)}"]
    for label, variable in islice(snapshot(held.get("_coords")).items(), view.columns):
        said, column = _variable(variable)
        lines.append(f"coordinate {_label(label)} {said}{_sample(label, column, view)}")
    return lines + _attributes(slots_of(held.get("_variable")).get("_attrs"))


def _in_memory(variable: Any) -> tuple[Any, _Column | None]:
    """Return what an xarray variable keeps its values in, and the values where they are in memory."""
    data = slots_of(variable).get("_data")
    while library_of(data) == "xarray":
        inner = (slots_of(data) | instance_vars(data)).get("array")
        if inner is None:
            break
        data = inner
    if library_of(data) == "pandas":
        return data, _axis(data)
    return data, _ndarray_column(None, data) if is_ndarray(data) else None


def _variable(variable: Any) -> tuple[str, _Column | None]:
    """Return the dimensions, type and units of an xarray variable, and its values where they are in memory."""
    held: Any = slots_of(variable)
    names, attributes = held.get("_dims"), held.get("_attrs")
    data, column = _in_memory(variable)
    sizes = field(data, "shape") if is_ndarray(data) else (column.length,) if column else None
    if library_of(data) == "dask":
        kind = _dask_array(data, NORMAL_VIEW)[0].partition(", ")[2]
    else:
        kind = column.kind if column else name_of(type(data))
    labels = [_label(name) for name in (tuple.__iter__(names) if issubclass(type(names), tuple) else ())]
    shape = (
        [f"{label}: {size}" for label, size in zip(labels, sizes, strict=False)]
        if sizes is not None
        else labels
    )
    units = (
        attributes.get("units") if type(attributes) is dict and type(attributes.get("units")) is str else ""
    )
    unit = f", in {units[:CELL]}" if units else ""
    missing = column.described().removeprefix(column.kind) if column else ""
    return f"({', '.join(shape)}) {kind}{unit}{missing}", column


def _dataset_columns(value: Any) -> list[_Column]:
    """Return the variables of an xarray object that are in memory, by their names."""
    held = slots_of(value)
    variables: list[tuple[object, Any]] = [*snapshot(held.get("_variables", held.get("_coords"))).items()]
    if "_variable" in held:
        variables.append((held.get("_name"), held["_variable"]))
    columns = [(name, _in_memory(variable)[1]) for name, variable in variables]
    return [replace(column, name=name) for name, column in columns if column is not None]


def _sample(name: object, column: _Column | None, view: View) -> str:
    if column is None or not (cells := _cells(name, column.first(min(view.rows, _FIRST_VALUES)))):
        return ""
    return f" = {', '.join(cells)}{', …' if column.length > len(cells) else ''}"


def _attributes(held: object) -> list[str]:
    shown = safe_text(held, 200, 1) if type(held) is dict and held else ""
    return [f"attributes: {shown}"] if shown else []


def _image(image: Any, _view: View) -> list[str] | None:
    held = instance_vars(image)
    size, mode = held.get("_size"), held.get("_mode", held.get("mode"))
    if type(size) is not tuple or [type(each) for each in size] != [int, int] or type(mode) is not str:
        return None
    return [f"{name_of(type(image))}, {size[0]} {BY} {size[1]} pixels, {mode}"]


_Describe = Callable[[Any, View], list[str] | None]
_KINDS: dict[tuple[str | None, str], _Describe] = {
    ("pandas", "DataFrame"): _pandas_frame,
    ("geopandas", "GeoDataFrame"): _pandas_frame,
    ("pandas", "Series"): _pandas_series,
    ("geopandas", "GeoSeries"): _pandas_series,
    ("pandas", "Index"): _pandas_index,
    ("pandas", "ExtensionArray"): _pandas_array,
    ("pandas", "BaseGroupBy"): _grouped,
    ("pandas", "BaseWindow"): _grouped,
    ("pandas", "Styler"): _styler,
    ("polars", "DataFrame"): _polars_frame,
    ("polars", "Series"): _polars_series,
    ("polars", "LazyFrame"): _lazy,
    ("pyarrow", "Table"): _arrow_table,
    ("pyarrow", "RecordBatch"): _arrow_table,
    ("pyarrow", "Schema"): _arrow_schema,
    ("pyarrow", "Dataset"): _arrow_schema,
    ("pyarrow", "Array"): _arrow_array,
    ("pyarrow", "ChunkedArray"): _arrow_array,
    ("pyarrow", "Scalar"): _arrow_scalar,
    ("pyarrow", "DataType"): _arrow_type,
    ("pyarrow", "Field"): _arrow_type,
    ("duckdb", "DuckDBPyRelation"): _duckdb,
    ("dask", "FrameBase"): _dask_frame,
    ("dask", "Array"): _dask_array,
    ("dask", "Bag"): _dask_other,
    ("dask", "Delayed"): _dask_other,
    ("xarray", "DataArray"): _data_array,
    ("xarray", "Dataset"): _dataset,
    ("shapely", "BaseGeometry"): lambda value, view: [f"{name_of(type(value))} = {_shape(value, view.cell)}"],
    ("PIL", "Image"): _image,
}


def _dtype(dtype: Any, name: object = None) -> str:
    return _short_type(dtype_text(dtype), name)


def _short_type(shown: str, name: object) -> str:
    # A type of categories lists the values.
    if is_secret_name(name):
        return shown.partition("(")[0]
    return shown if len(shown) <= 3 * CELL else f"{shown[: 3 * CELL]}…"


def _cells(name: object, values: list[Any] | None, count: int = 0, limit: int = CELL) -> list[str]:
    """Return values as they are shown, those that are secret by the name of their column not at all."""
    if values is None:
        return [UNREAD] * count
    is_secret = is_secret_name(name)
    return [WITHHELD_CELL if is_secret and is_withheld(value) else _cell(value, limit) for value in values]


def _cell(value: object, limit: int = CELL) -> str:
    if type(value) is float:
        return f"{value:.6g}"
    if library_of(value) == "shapely":
        return _shape(value, limit)
    return value if type(value) is str and len(value) <= limit else safe_text(value, limit)


def _shape(value: Any, limit: int) -> str:
    """Return a geometry as its well-known text, a long one by its kind."""
    points = find(vars_of(sys.modules.get("shapely.lib")), "get_num_coordinates")(value)
    text = value.wkt if points <= _FIRST_VALUES else f"{qualified_name(type(value))} of {points:,} points"
    return text if len(text) <= limit else f"{text[:limit]}…"


def _label(name: object) -> str:
    """Return the name of a column or an index on one line."""
    shown = repr(name) if type(name) is bytes and len(name) <= CELL else _cell(name)
    return " ".join(shown.split()) or "''"


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _table(
    value: object,
    height: int,
    width: int,
    shown: list[_Column],
    view: View,
    index: _Column | None = None,
    names: str = "",
) -> list[str]:
    """Return the size of a frame, its columns (as many as fit into half of the room), its index and its first rows."""
    pairs = [(column.name, column.described(len(shown)) if view.rows else column.kind) for column in shown]
    lines = [f"{name_of(type(value))}, {height} rows {BY} {width} columns"]
    lines += _columns_line(pairs, view, width, names)
    count = min(height, view.rows)
    labels: list[Any] = list(range(count))
    if index is not None:
        lines += _index_line(index)
        labels = index.first(count) or [UNREAD] * count
    secret = [is_secret_name(label) for label in labels]
    cells = [_cells(index.name if index is not None else None, labels, count, view.cell)]
    for column in shown:
        entries = zip(secret, _cells(column.name, column.first(count), count, view.cell), strict=False)
        cells.append([WITHHELD_CELL if is_secret else entry for is_secret, entry in entries])
    return lines + _rows(shown, cells, height, view, lines)


def _columns_line(pairs: list[tuple[Any, str]], view: View, width: int = 0, names: str = "") -> list[str]:
    texts = [f"{_label(name)} {kind}" for name, kind in pairs[: view.columns]]
    fitting = texts[: _fitting((_bytes(text) + 2 for text in texts), view.room // 2) + 1]
    rest = max(width, len(pairs)) - len(fitting)
    return [f"columns{names}: {', '.join(fitting)}{f', … {rest:,} more' if rest > 0 else ''}"]


def _rows(
    shown: list[_Column], columns: list[list[str]], height: int, view: View, before: list[str]
) -> list[str]:
    """Return the first rows, as many as fit; of rows that are too wide, the first columns."""
    room = view.room - sum(map(_bytes, before))
    rows = [[" ".join(cell.split()) for cell in row] for row in zip(*columns, strict=False)]
    names = ["", *(_label(column.name) for column in shown)]
    widths = (max(map(_bytes, cells)) + 3 for cells in zip(names, *rows[:1], strict=False))
    width = max(_fitting(widths, room // 2), 2)
    lines = [" | ".join(row[:width]) for row in (names, *rows)]
    count = max(_fitting((_bytes(line) + 1 for line in lines), room) - 1, min(len(rows), 1))
    if not count:
        return []
    of = f" of the first {width - 1} columns" if width <= len(shown) else ""
    return [f"{f'first {count} rows' if height > count else 'rows'}{of}:", *lines[: count + 1]]


def _fitting(sizes: Iterable[int], room: int) -> int:
    """Return how many of the first fit into so many bytes."""
    return sum(total <= room for total in itertools.accumulate(sizes))


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
    describe = _describer(value)
    if describe is _pandas_frame:
        return _pandas_parts(value, _LOOKED_INTO)[:2]
    if describe is _pandas_series:
        return _series_parts(value)
    read = _COLUMNS.get(describe)
    return [] if read is None else read(value), None


_COLUMNS: dict[_Describe | None, Callable[[Any], list[_Column]]] = {
    _pandas_index: lambda index: [_axis(index)],
    _pandas_array: lambda array: [_column(None, array)],
    _grouped: lambda value: _all_columns(instance_vars(value).get("obj"))[0],
    _styler: lambda value: _all_columns(instance_vars(value).get("data"))[0],
    _polars_frame: lambda frame: _polars_columns(frame, _LOOKED_INTO),
    _polars_series: lambda series: _polars_columns(series, 1),
    _arrow_table: lambda table: _arrow_columns(table, _LOOKED_INTO) or [],
    _arrow_array: _array_columns,
    _arrow_scalar: lambda value: [_column_of("", [value.as_py()])] if _is_plain_scalar(value) else [],
    _array: _numpy_columns,
    _dataset: _dataset_columns,
    _data_array: _dataset_columns,
}
