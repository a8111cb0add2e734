"""Hashes of all that a value holds, read from its own buffers without running the user's code.

Two values of one hash are the same as far as anything told of them goes. A value of which not everything can be read
this way, because a class of the user's or an unknown library decides what is in it, has no hash.
"""

from __future__ import annotations

import io
import time
import types
from collections import ChainMap, Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import xxhash

from codex_nb.tools.introspection import (
    field,
    has_own_arrow_types,
    instance_vars,
    is_extended,
    is_ndarray,
    is_one_of,
    is_user_variable,
    library_of,
    module_of,
    name_of,
    native,
    polars_frame,
    qualified_name,
)
from codex_nb.tools.safe_repr import is_known_array, is_readable_dtype, safe_repr, shape_of, times

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

BUDGET_S = 0.3
CHANGES_S = 0.1  # before code of the model runs, and after it
_NAMES = 20
_PIECE = 1 << 22  # bytes that are hashed between two looks at the clock
_TILE = 1 << 18  # bytes of a block whose columns are not contiguous
_ENTRIES = 20_000  # of a list, between two looks at the clock
_DEEPEST = 8
_LONGEST = 100_000
_TWO_DIMENSIONS = 2
_MOST_PARTS = 1_000  # of a value that has no hash
_COUNTED = (list, tuple, dict, set, frozenset)
_SEQUENCES = (list, tuple, set, frozenset, deque)
_MAPPINGS = (dict, OrderedDict, defaultdict, Counter)
_SCALARS = (int, float, complex, bool, str, type(None), bytes)
_ORDERED: dict[type, str] = {list: "list", tuple: "tuple"}
_UNORDERED: dict[type, str] = {set: "set", frozenset: "frozenset"}
# What the arrays of pandas are made of, by the names that pandas gives to the parts.
_ARRAY_PARTS = ("_ndarray", "_data", "_mask", "_pa_array", "_left", "_right")


class _NotWhole(Exception):
    """A value holds what cannot be read."""


class _OverBudget(_NotWhole):
    """The time for hashing is used up."""


class ContentHasher:
    """Hashes values within a time that all of them share, in seconds.

    ``over_budget`` tells whether a value has no hash for want of time.
    """

    def __init__(self, seconds: float = BUDGET_S, clock: Callable[[], float] = time.perf_counter) -> None:
        self.over_budget = False
        self._seconds = seconds
        self._clock = clock
        self._known: dict[int, tuple[object, str | None]] = {}  # by ids, whose values are kept

    def digest(self, value: object) -> str | None:
        """Return the hash of a value; None when not all of it can be read, or not within the time left."""
        if id(value) in self._known:
            return self._known[id(value)][1]
        began = self._clock()
        writer = _Writer(self._clock, began + self._seconds)
        try:
            writer.check()
            writer.add(value, _DEEPEST)
            digest = writer.hash.hexdigest()
        except Exception as error:  # noqa: BLE001 -- a broken object of a library has no hash either
            # A library may have wrapped the exception of the sink that it writes to.
            self.over_budget |= isinstance(error, _OverBudget) or writer.is_late
            digest = None
        self._seconds -= self._clock() - began
        self._known[id(value)] = (value, digest)
        return digest


@dataclass(frozen=True)
class _Held:
    """What a variable held at a moment: its value's hash and size, or without a hash the ids of it and its parts."""

    digest: str | None
    size: str
    ids: tuple[int, ...]

    def differs(self, now: _Held) -> bool:
        if self.digest is not None and now.digest is not None:
            return self.digest != now.digest
        are_parts_known = self.digest == now.digest  # to neither moment a hash
        return self.size != now.size or (
            self.ids != now.ids if are_parts_known else self.ids[0] != now.ids[0]
        )


class Variables:
    """What the user's variables held at a moment, to be compared with a later one; those in ``first`` are read first.

    Values that have no hash count by their identity and that of their parts, and are kept until then: another object at
    the address of one would not be told from it.
    """

    def __init__(
        self,
        namespace: Mapping[str, Any],
        hasher: ContentHasher | None = None,
        first: Collection[str] = (),
    ) -> None:
        hasher = hasher or ContentHasher(CHANGES_S)
        self._held: dict[str, _Held] = {}
        self._kept: list[object] = []
        for name in sorted(namespace, key=lambda name: name not in first) if first else namespace:
            value = namespace[name]
            if is_user_variable(name, value):
                digest = hasher.digest(value)
                parts = [value] if digest is not None else _parts_within(value)
                self._held[name] = _Held(digest, size_of(value), tuple(map(id, parts)))
                if digest is None:
                    self._kept += parts

    def changed(self, later: Variables) -> list[str]:
        """Return the names that hold something else now."""
        before = self._held
        return [name for name, held in later._held.items() if name in before and before[name].differs(held)]

    def changes(self, later: Variables) -> str:
        """Return in one line which names are new, changed or deleted since; empty for none."""
        before, now = self._held, later._held
        parts = {
            "new": [name for name in now if name not in before],
            "changed": [f"{name}{_sizes(before[name].size, now[name].size)}" for name in self.changed(later)],
            "deleted": [name for name in before if name not in now],
        }
        return "; ".join(f"{what} {_listed(names)}" for what, names in parts.items() if names)


def _parts_within(value: object) -> list[object]:
    """Return a value and what it holds, the nearest first: entries of containers, attributes of the user's objects."""
    found, seen = [value], {id(value)}
    for held in found:
        for part in islice(_parts_of(held), _MOST_PARTS - len(found)):
            if id(part) not in seen:
                seen.add(id(part))
                found.append(part)
    return found


def _parts_of(value: Any) -> Iterable[object]:
    kind = type(value)
    if is_one_of(kind, _SEQUENCES):
        return list(value)
    if is_one_of(kind, _MAPPINGS):
        return [*dict.keys(value), *dict.values(value)]
    if kind is ChainMap or kind is types.SimpleNamespace or module_of(kind) == "__main__":
        return instance_vars(value).values()
    return ()


def _sizes(before: str, now: str) -> str:
    return f" ({before} → {now})" if before and now and before != now else ""


def _listed(names: list[str]) -> str:
    rest = f" and {len(names) - _NAMES:,} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + rest


def size_of(value: Any) -> str:
    """Return the size of data as text, such as that of a frame of 365 rows; empty for what has none."""
    if is_one_of(type(value), _COUNTED):
        return str(len(value))
    try:
        return times(shape_of(value) or ())
    except Exception:  # noqa: BLE001 -- a broken object of a library has no size
        return ""


class _Writer:
    """Writes values into one hash, each so that what follows cannot be taken for a part of it."""

    def __init__(self, clock: Callable[[], float], deadline: float) -> None:
        self.hash = xxhash.xxh3_128()
        self._clock = clock
        self._deadline = deadline

    @property
    def is_late(self) -> bool:
        """Whether the time is over."""
        return self._clock() > self._deadline

    def check(self) -> None:
        """Raise _OverBudget when the time is over."""
        if self.is_late:
            raise _OverBudget

    def _mark(self, text: str) -> None:
        data = text.encode("utf-8", "surrogatepass")
        self.hash.update(b"%d:" % len(data) + data)

    def _bytes(self, data: Any) -> None:
        self._mark(f"{memoryview(data).nbytes} bytes")
        self.write(data)

    def write(self, data: Any) -> int:
        """Write a buffer of bytes as it is, as a file does; return how many they are."""
        view = memoryview(data).cast("B")
        for start in range(0, len(view), _PIECE):
            self.check()
            self.hash.update(view[start : start + _PIECE])
        return len(view)

    def add(self, value: Any, depth: int) -> None:
        """Write a value; raises _NotWhole."""
        kind = type(value)
        if depth < 0:
            raise _NotWhole
        if (write := _DATA.get((library_of(value), qualified_name(kind)))) is not None:
            self._mark(name_of(kind))
            write(self, value)
            return
        if type(kind) is not type:
            raise _NotWhole  # even comparing a class with a metaclass could run code
        if kind is str or kind is bytes or kind is bytearray:
            self._mark(kind.__name__)
            self._bytes(value.encode("utf-8", "surrogatepass") if kind is str else value)
        elif kind in _ORDERED:
            self._mark(f"{_ORDERED[kind]} of {len(value)}")
            self._entries(value, depth)
        elif kind is dict:
            self._mark(f"dict of {len(value)}")
            self._entries(list(value.keys()), depth)
            self._entries(list(value.values()), depth)
        elif kind in _UNORDERED:
            self._unordered(_UNORDERED[kind], value)
        else:
            self._plain(value)

    def _plain(self, value: Any) -> None:
        """Write a value that a text tells whole: a number, a date, a path."""
        if type(value) is int:
            self._mark(hex(value))
            return
        shown = safe_repr(value, _LONGEST, 0)
        if not shown.whole:
            raise _NotWhole
        self._mark(f"{name_of(type(value))} {shown.text}")

    def _entries(self, entries: Any, depth: int) -> None:
        """Write the entries of a list, a tuple or an array of objects."""
        for start in range(0, len(entries), _ENTRIES):
            self.check()
            piece = list(entries[start : start + _ENTRIES])
            if _are_scalars(piece):
                self._mark(_scalars_text(piece))
            else:
                for count, entry in enumerate(piece):
                    if count % 100 == 0:
                        self.check()
                    self.add(entry, depth - 1)

    def _unordered(self, name: str, value: Any) -> None:
        entries = []
        for start, entry in enumerate(value):
            if start % _ENTRIES == 0:
                self.check()
            if not is_one_of(type(entry), _SCALARS):
                raise _NotWhole
            entries.append(_scalars_text([entry]))
        self.check()
        self._mark(f"{name} of {len(entries)}: {sorted(entries)}")

    # numpy

    def array(self, array: Any) -> None:
        """Write an array of numpy."""
        dtype = field(array, "dtype")
        if not is_readable_dtype(dtype) or dtype.kind == "T":
            raise _NotWhole  # the text of a type of strings includes what stands for a missing value
        self._mark(f"{array.shape} {dtype}")
        if dtype.kind == "O":
            self._entries(array.reshape(-1), 1)
        elif dtype.hasobject or not _is_packed(dtype):
            raise _NotWhole
        else:
            self._numbers(array)

    def _numbers(self, array: Any) -> None:
        if array.flags.c_contiguous:
            if array.size:
                self._bytes(array.reshape(-1).view("u1"))
            return
        step = max(1, _PIECE // max(1, array[:1].nbytes))
        self._mark(f"{array.nbytes} bytes")
        for start in range(0, len(array), step):
            self.check()
            self.hash.update(array[start : start + step].copy(order="C").reshape(-1).view("u1"))

    # pandas

    def frame(self, frame: Any) -> None:
        """Write a frame or a series of pandas column by column, however pandas keeps them together."""
        manager = instance_vars(frame).get("_mgr")
        if library_of(manager) != "pandas":
            raise _NotWhole
        for axis in field(manager, "axes"):
            self.index(axis)
        blocks = field(manager, "blocks")
        if len(field(manager, "axes")) < _TWO_DIMENSIONS:
            self.add(instance_vars(frame).get("_name"), 1)
            self.pandas_array(field(blocks[0], "values"))
            return
        columns: dict[int, str] = {}
        for block in blocks:
            places = [int(place) for place in field(block, "_mgr_locs").as_array]
            columns.update(zip(places, self._block(field(block, "values"), len(places)), strict=True))
        self._mark(str([columns[place] for place in sorted(columns)]))

    def _block(self, values: Any, count: int) -> list[str]:
        """Return the hash of each column of a block."""
        if not is_ndarray(values):
            one = count == 1 and field(values, "ndim") != _TWO_DIMENSIONS
            return [self._apart(values if one else values[row]) for row in range(count)]
        if values.dtype.kind == "O" or not values[:1].size or values[0].flags.c_contiguous:
            return [self._apart(values[row]) for row in range(count)]
        parts = [xxhash.xxh3_128(f"{values.shape[1:]} {values.dtype}".encode()) for _ in range(count)]
        step = max(1, _TILE // (count * values.itemsize))
        for start in range(0, values.shape[1], step):
            self.check()
            tile = values[:, start : start + step].copy(order="C").view("u1")
            for part, row in zip(parts, tile, strict=True):
                part.update(row)
        return [part.hexdigest() for part in parts]

    def _apart(self, array: Any) -> str:
        writer = _Writer(self._clock, self._deadline)
        writer.pandas_array(array)
        return writer.hash.hexdigest()

    def pandas_array(self, array: Any) -> None:
        """Write what a column or an index keeps its values in."""
        if is_ndarray(array):
            self.array(array)
            return
        if library_of(array) == "pandas" and is_known_array(array):
            dtype = field(array, "_dtype")
            self._mark(
                f"{name_of(type(array))} {dtype if qualified_name(type(dtype)) != 'CategoricalDtype' else ''}"
            )
            if (categories := field(dtype, "_categories")) is not None:
                self._mark(str(field(dtype, "_ordered")))
                self.index(categories)
            parts = [part for name in _ARRAY_PARTS if (part := field(array, name)) is not None]
            if parts and qualified_name(type(array)) != "SparseArray":
                for part in parts:
                    self._array_part(part)
                return
        raise _NotWhole

    def _array_part(self, part: Any) -> None:
        if library_of(part) == "pyarrow":
            self.arrow_array(part)
        elif name_of(type(part)).endswith("Index"):
            self.index(part)
        else:
            self.pandas_array(part)

    def index(self, index: Any) -> None:
        """Write an index of pandas with its names."""
        if library_of(index) != "pandas":
            raise _NotWhole
        held = instance_vars(index)
        if type(labels := held.get("_range")) is range:
            self._mark(repr(labels))
            self.add(held.get("_name"), 1)
        elif "_codes" in held:
            self.add(list(list.__iter__(held["_names"])), 2)
            for level in list.__iter__(held["_levels"]):
                self.index(level)
            for codes in list.__iter__(held["_codes"]):
                self.array(codes)
        else:
            self.add(held.get("_name"), 1)
            self.pandas_array(held.get("_data"))

    # polars and pyarrow: the Arrow stream that they write themselves

    def polars(self, frame: Any) -> None:
        """Write a frame or a series of polars."""
        rust = polars_frame(frame)
        if any(kind.startswith(("object", "ext[")) for kind in native(rust, "dtype_strings")()):
            raise _NotWhole
        native(rust, "write_ipc_stream")(_Sink(self), "uncompressed", True)

    def arrow_table(self, table: Any) -> None:
        """Write a table or a batch of pyarrow."""
        schema = table.schema
        if is_extended(schema):
            raise _NotWhole
        if qualified_name(type(table)) == "Table":
            table = table.combine_chunks()  # in how many pieces it was made is not told
        from pyarrow import PythonFile, ipc

        with ipc.new_stream(PythonFile(_Sink(self), mode="w"), schema) as stream:
            stream.write(table)

    def arrow_array(self, array: Any) -> None:
        """Write an array of pyarrow, in one piece or several."""
        from pyarrow import Table

        if has_own_arrow_types():
            raise _NotWhole
        self.arrow_table(Table.from_arrays([array], names=[""]))


class _Sink(io.RawIOBase):
    """A file that hashes what is written to it."""

    def __init__(self, writer: _Writer) -> None:
        self._writer = writer

    def writable(self) -> bool:
        """Say that it takes bytes."""
        return True

    def write(self, data: Any) -> int:
        """Hash bytes."""
        return self._writer.write(data)


_DATA: dict[tuple[str | None, str], Callable[[_Writer, Any], None]] = {
    ("numpy", "ndarray"): _Writer.array,
    ("pandas", "DataFrame"): _Writer.frame,
    ("pandas", "Series"): _Writer.frame,
    **{
        ("pandas", name): _Writer.index
        for name in (
            *("Index", "RangeIndex", "DatetimeIndex", "TimedeltaIndex", "PeriodIndex", "IntervalIndex"),
            *("MultiIndex", "CategoricalIndex"),
        )
    },
    ("polars", "DataFrame"): _Writer.polars,
    ("polars", "Series"): _Writer.polars,
    ("pyarrow", "Table"): _Writer.arrow_table,
    ("pyarrow", "RecordBatch"): _Writer.arrow_table,
    ("pyarrow", "ChunkedArray"): _Writer.arrow_array,
}


def _is_packed(dtype: Any) -> bool:
    """Whether every byte of an entry belongs to a value; between the fields of a structure lies anything."""
    if dtype.names is None:
        return True
    parts = [part[0] for part in dtype.fields.values()]
    return sum(part.itemsize for part in parts) == dtype.itemsize and all(map(_is_packed, parts))


def _are_scalars(entries: Sequence[Any]) -> bool:
    kinds = {id(type(entry)): type(entry) for entry in entries}  # a class could say itself what it equals
    return all(is_one_of(kind, _SCALARS) for kind in kinds.values())


def _scalars_text(entries: Sequence[Any]) -> str:
    try:
        return repr(list(entries))
    except ValueError:  # an integer with more digits than Python writes
        return repr([hex(entry) if type(entry) is int else repr(entry) for entry in entries])
