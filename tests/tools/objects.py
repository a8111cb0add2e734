"""Objects as notebooks hold them, one of each kind, and what a colleague would need to be told of each.

``python -m tests.tools.objects`` prints the size and the time of each description.
"""

from __future__ import annotations

import argparse
import array
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import importlib.util
import io
import ipaddress
import logging
import pathlib
import re
import statistics
import threading
import time
import types
import uuid
import weakref
import zoneinfo
from collections.abc import Callable
from typing import Any

import matplotlib.figure
import numpy as np
import pandas as pd
import PIL.Image

BY = "\N{MULTIPLICATION SIGN}"


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of object: how one is made, its type as users write it, and what must be told of it, by aspect."""

    make: Callable[[], Any]
    type: str
    told: dict[str, str]


KINDS: dict[str, Kind] = {}


def kind(name: str, make: Callable[[], Any], type_: str, **told: str) -> None:
    """Add a kind; ``told`` are the aspects (size, schema, labels, sample, units) with the words that tell each."""
    assert name not in KINDS
    KINDS[name] = Kind(make, type_, told)


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


class Level(enum.IntEnum):
    LOW = 1


class Weekday(enum.StrEnum):
    MONDAY = "mon"


class Permission(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class City:
    name: str
    people: int


@dataclasses.dataclass(slots=True)
class Slotted:
    name: str
    people: int


class Plain:
    def __init__(self) -> None:
        self.width = 3
        self.label = "wide"


class Slots:
    __slots__ = ("height",)

    def __init__(self) -> None:
        self.height = 4


class OwnError(Exception):
    """An error of the notebook's own."""


Pair = collections.namedtuple("Pair", "first second")  # noqa: PYI024 -- without types, as notebooks have it
for _own in (Plain, Slots):
    _own.__module__ = "__main__"


def area(width: int, height: int = 1) -> int:
    """Multiply two lengths."""
    return width * height


def sales(count: int = 4) -> pd.DataFrame:
    rows = range(count)
    return pd.DataFrame({"region": ["north", "south"] * (count // 2), "amount": [n * 1.5 for n in rows]})


# Python's own
for _value, _type, _sample in (
    (7, "int", "7"),
    (2.5, "float", "2.5"),
    (1 + 2j, "complex", "(1+2j)"),
    (True, "bool", "True"),
    (None, "NoneType", "None"),
    (..., "ellipsis", "Ellipsis"),
    (range(3), "range", "range(0, 3)"),
    (slice(1, 2), "slice", "slice(1, 2, None)"),
    (decimal.Decimal("1.5"), "decimal.Decimal", "1.5"),
    (fractions.Fraction(1, 3), "fractions.Fraction", "Fraction(1, 3)"),
    (uuid.UUID(int=5), "uuid.UUID", "00000005"),
    (dt.date(2020, 1, 2), "datetime.date", "2020-01-02"),
    (dt.time(1, 2), "datetime.time", "01:02"),
    (dt.timedelta(days=2), "datetime.timedelta", "2 days"),
    (dt.datetime(2020, 1, 2, tzinfo=zoneinfo.ZoneInfo("Europe/Paris")), "datetime.datetime", "+01:00"),
    (dt.timezone(dt.timedelta(hours=1)), "datetime.timezone", "UTC+01:00"),
    (zoneinfo.ZoneInfo("Europe/Paris"), "zoneinfo.ZoneInfo", "Europe/Paris"),
    (pathlib.PurePosixPath("/a/b"), "PurePosixPath", "/a/b"),
    (re.compile("a+"), "re.Pattern", "a+"),
    (re.match("a+", "aab"), "re.Match", "aa"),
    (time.gmtime(0), "time.struct_time", "1970"),
    (ipaddress.ip_address("10.0.0.1"), "ipaddress.IPv4Address", "10.0.0.1"),
    (ipaddress.ip_network("10.0.0.0/8"), "ipaddress.IPv4Network", "10.0.0.0/8"),
    (10**1000, "int", "3,322 bits"),
    (ValueError("bad value"), "ValueError", "bad value"),
    (OwnError("own", 3), "OwnError", "'own', 3"),
    (KeyError("missing"), "KeyError", "missing"),
    (functools.partial(print, "x", sep="-"), "functools.partial", "sep='-'"),
    (Colour.RED, "Colour", "RED: 1"),
    (Level.LOW, "Level", "LOW: 1"),
    (Weekday.MONDAY, "Weekday", "'mon'"),
    (Permission.READ, "Permission", "READ"),
):
    kind(f"{_type} {_sample}", functools.partial(lambda value: value, _value), _type, sample=_sample)

kind("text", lambda: "short", "str", size="5", sample="'short'")
kind("long text", lambda: "word " * 10_000, "str", size="50,000", sample="word word")
kind("text with lone surrogates", lambda: "a\ud800b", "str", size="3", sample="a")
kind("bytes", lambda: b"abc", "bytes", size="3")
kind("bytearray", lambda: bytearray(3), "bytearray", size="3")
kind("list", lambda: [1, "a", None], "list", size="3", sample="[1, 'a', None]")
kind("long list", lambda: list(range(100_000)), "list", size="100,000", sample="0, 1, 2")
kind("list of texts", lambda: ["text " * 20] * 30, "list", size="30", sample="text text")
kind("tuple", lambda: (1,), "tuple", size="1", sample="(1,)")
kind("set", lambda: {1}, "set", size="1", sample="{1}")
kind("frozenset", lambda: frozenset({1}), "frozenset", size="1", sample="1")
kind("dict", lambda: {"a": 1}, "dict", size="1", labels="'a'", sample="1")
kind(
    "nested", lambda: {"orders": [{"items": [{"sku": "x"}]}]}, "dict", size="1", labels="'sku'", sample="'x'"
)
kind(
    "records",
    lambda: [{"id": n, "name": "a"} for n in range(50)],
    "list",
    size="50",
    labels="'id'",
    sample="'a'",
)
kind(
    "Counter", lambda: collections.Counter("abca"), "collections.Counter", size="3", labels="'a'", sample="2"
)
kind(
    "defaultdict",
    lambda: collections.defaultdict(list, {"a": [1]}),
    "collections.defaultdict",
    size="1",
    schema="list",
    labels="'a'",
    sample="[1]",
)
kind(
    "OrderedDict",
    lambda: collections.OrderedDict(b=1, a=2),
    "collections.OrderedDict",
    size="2",
    sample="'b': 1",
)
kind(
    "deque",
    lambda: collections.deque([1, 2], maxlen=5),
    "collections.deque",
    size="2",
    schema="maxlen=5",
    sample="[1, 2]",
)
kind(
    "ChainMap",
    lambda: collections.ChainMap({"a": 1}, {"b": 2}),
    "collections.ChainMap",
    size="2",
    sample="'b': 2",
)
kind("UserDict", lambda: collections.UserDict(a=1), "collections.UserDict", size="1", sample="'a': 1")
kind("UserList", lambda: collections.UserList([1]), "collections.UserList", size="1", sample="[1]")
kind("array", lambda: array.array("d", [1.5]), "array.array", size="1", schema="'d'", sample="1.5")
kind("mappingproxy", lambda: types.MappingProxyType({"a": 1}), "mappingproxy", size="1", sample="'a': 1")
kind("dict keys", {"a": 1}.keys, "dict_keys", size="1", sample="'a'")
kind("dict values", {"a": 7}.values, "dict_values", size="1", sample="7")
kind("dict items", {"a": 7}.items, "dict_items", size="1", sample="'a': 7")
kind(
    "SimpleNamespace",
    lambda: types.SimpleNamespace(rate=0.1),
    "types.SimpleNamespace",
    labels="rate",
    sample="0.1",
)
kind("arguments", lambda: argparse.Namespace(rate=0.1), "argparse.Namespace", labels="rate", sample="0.1")
kind("namedtuple", lambda: Pair(1, "b"), "Pair", labels="first=1", sample="second='b'")
kind("list of namedtuples", lambda: [Pair(1, 2)] * 3, "list", size="3", labels="first=1", sample="second=2")
kind("dataclass", lambda: City("Oslo", 700), "City", labels="name=", sample="'Oslo'")
kind("slotted dataclass", lambda: Slotted("Oslo", 700), "Slotted", labels="people=", sample="700")
kind("list of dataclasses", lambda: [City("Oslo", 7)], "list", size="1", labels="people=7", sample="'Oslo'")
kind("object of the notebook", Plain, "Plain", labels="width=3", sample="'wide'")
kind("object with slots", Slots, "Slots", labels="height=4")
kind(
    "enumeration",
    lambda: Colour,
    "class tests.tools.objects.Colour",
    schema="enum.Enum",
    labels="RED=1",
    sample="GREEN=2",
)
kind("class of records", lambda: City, "class tests.tools.objects.City", labels="name, people")
kind("class", lambda: OwnError, "class tests.tools.objects.OwnError", schema="Exception")
kind("function", lambda: area, "function area", labels="width, height", sample="Multiply two lengths.")
kind("method", lambda: pathlib.PurePosixPath("a").is_absolute, "method", sample="is_absolute")
kind("built-in function", lambda: len, "builtin_function_or_method", sample="len")
kind(
    "tuple of arrays", lambda: (np.zeros((80, 4)), np.zeros(80)), "tuple", size=f"80 {BY} 4", schema="float64"
)
kind(
    "dict of frames",
    lambda: {"jan": sales(), "feb": sales()},
    "dict",
    size=f"4 {BY} 2",
    labels="'jan'",
    schema="pandas.DataFrame",
)
for _name, _make, _type in (
    ("generator", lambda: (n for n in ()), "generator"),
    ("iterator", lambda: iter([]), "list_iterator"),
    ("lock", threading.Lock, "_thread.lock"),
    ("file", io.StringIO, "_io.StringIO"),
    ("event", threading.Event, "threading.Event"),
    ("logger", lambda: logging.getLogger("x"), "logging.Logger"),
    ("weak reference", lambda: weakref.ref(Plain), "weakref.ReferenceType"),
    ("map", lambda: map(str, []), "map"),
    ("zip", lambda: zip((), strict=True), "zip"),
    ("object", object, "object"),
    ("memoryview", lambda: memoryview(b"a"), "memoryview"),
):
    kind(_name, _make, _type)

# pandas
kind(
    "frame",
    sales,
    "pandas.DataFrame",
    size=f"4 rows {BY} 2 columns",
    schema="amount float64",
    labels="region",
    sample="south | 1.5",
)
kind(
    "large frame",
    lambda: pd.DataFrame({"n": range(200_000), "x": np.ones(200_000)}),
    "pandas.DataFrame",
    size=f"200000 rows {BY} 2 columns",
    schema="n int64, x float64",
    sample="0 | 0 | 1",
)
kind(
    "wide frame",
    lambda: pd.DataFrame(np.zeros((3, 5_000))),
    "pandas.DataFrame",
    size="5000 columns",
    schema="4,970 more",
)
kind("empty frame", pd.DataFrame, "pandas.DataFrame", size=f"0 rows {BY} 0 columns")
kind(
    "frame with missing values",
    lambda: pd.DataFrame({"a": [1, None], "b": ["x", None]}),
    "pandas.DataFrame",
    schema="a float64 (1 missing), b str (1 missing)",
)
kind(
    "frame of nullable types",
    lambda: pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}),
    "pandas.DataFrame",
    schema="Int64 (1 missing)",
    sample="<NA>",
)
kind(
    "frame of booleans",
    lambda: pd.DataFrame({"a": pd.array([True, None], dtype="boolean")}),
    "pandas.DataFrame",
    schema="boolean (1 missing)",
)
kind(
    "frame of categories",
    lambda: pd.DataFrame({"size": pd.Categorical(["lo"], ["lo", "hi"], ordered=True)}),
    "pandas.DataFrame",
    schema="size category[lo, hi] ordered",
)
kind(
    "frame of many categories",
    lambda: pd.DataFrame({"a": pd.Categorical([str(n) for n in range(500)])}),
    "pandas.DataFrame",
    schema="488 more",
)
kind(
    "frame of times",
    lambda: pd.DataFrame({"t": pd.date_range("2020", periods=2, tz="Europe/Paris")}),
    "pandas.DataFrame",
    schema="Europe/Paris",
    sample="+01:00",
)
kind(
    "frame of durations",
    lambda: pd.DataFrame({"t": [pd.Timedelta("1D"), pd.NaT]}),
    "pandas.DataFrame",
    schema="timedelta64",
    sample="1 days",
)
kind(
    "frame of periods",
    lambda: pd.DataFrame({"p": pd.period_range("2020", periods=2, freq="M")}),
    "pandas.DataFrame",
    schema="period[M]",
    sample="2020-02",
)
kind(
    "frame of intervals",
    lambda: pd.DataFrame({"i": pd.interval_range(0, 2)}),
    "pandas.DataFrame",
    schema="interval[int64, right]",
)
kind(
    "sparse frame",
    lambda: pd.DataFrame({"s": pd.arrays.SparseArray([0, 1])}),
    "pandas.DataFrame",
    schema="Sparse[int64",
)
kind(
    "wide sparse frame",
    lambda: pd.DataFrame({f"s{n}": pd.arrays.SparseArray([0, n]) for n in range(200)}),
    "pandas.DataFrame",
    size="200 columns",
)
kind(
    "frame of dicts",
    lambda: pd.DataFrame({"o": [{"a": 1}]}),
    "pandas.DataFrame",
    schema="object",
    sample="{'a': 1}",
)
kind("frame of arrays", lambda: pd.DataFrame({"o": [np.zeros(3)]}), "pandas.DataFrame", sample="array(")
kind(
    "frame of frames",
    lambda: pd.DataFrame({"o": [sales()]}),
    "pandas.DataFrame",
    sample=f"<pandas.DataFrame 4 {BY} 2>",
)
kind(
    "frame with long texts",
    lambda: pd.DataFrame({"review": ["good " * 100] * 9}),
    "pandas.DataFrame",
    sample="good good",
)
kind(
    "frame with odd names",
    lambda: pd.DataFrame([[1, 2, 3]], columns=[7, None, b"raw"]),
    "pandas.DataFrame",
    schema="b'raw' int64",
)
kind(
    "frame with a name over lines",
    lambda: pd.DataFrame({"a\nb": [1]}),
    "pandas.DataFrame",
    schema="a b int64",
)
kind(
    "frame with equal names",
    lambda: pd.DataFrame([[1, 2]], columns=["a", "a"]),
    "pandas.DataFrame",
    schema="a int64, a int64",
)
kind(
    "frame with a named index",
    lambda: sales().set_index("region"),
    "pandas.DataFrame",
    labels="index: region str",
    sample="south | 1.5",
)
kind(
    "frame over time",
    lambda: pd.DataFrame({"v": [1]}, index=pd.date_range("2020", periods=1, name="day")),
    "pandas.DataFrame",
    labels="index: day datetime64",
    sample="2020-01-01",
)
kind(
    "frame of levels",
    lambda: pd.DataFrame({"v": [1]}, index=pd.MultiIndex.from_tuples([("a", 2)], names=["store", "day"])),
    "pandas.DataFrame",
    labels="2 levels: store str (1 labels), day int64 (1 labels)",
    sample="('a', 2) | 1",
)
kind(
    "frame of column levels",
    lambda: pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "x")], names=["k", "l"])),
    "pandas.DataFrame",
    labels="('k', 'l')",
    schema="('a', 'x') int64",
)
kind(
    "pivot",
    lambda: pd.DataFrame({"a": ["x"], "b": ["p"], "v": [1]}).pivot_table(index="a", columns="b"),
    "pandas.DataFrame",
    labels="index: a",
    schema="('v', 'p') float64",
)
kind("description", lambda: sales().describe(), "pandas.DataFrame", labels="index: str", sample="mean | 2.25")
kind("correlation", lambda: pd.DataFrame(np.eye(3)).corr(), "pandas.DataFrame", size=f"3 rows {BY} 3 columns")
kind(
    "series",
    lambda: pd.Series([1.5, None], name="x"),
    "pandas.Series",
    size="2 values",
    schema="float64 (1 missing), name 'x'",
    sample="1.5, nan",
)
kind(
    "sums by group",
    sales().groupby("region").amount.sum,
    "pandas.Series",
    size="2 values",
    schema="float64",
    labels="region",
    sample="north = 3, south = 6",
)
kind(
    "counts",
    lambda: pd.Series(["a", "b", "a"]).value_counts(),
    "pandas.Series",
    size="2 values",
    schema="int64",
    labels="a = ",
    sample="a = 2, b = 1",
)
kind(
    "series over time",
    lambda: pd.Series([1], index=pd.date_range("2020", periods=1)),
    "pandas.Series",
    labels="index: datetime64",
    sample="= 1",
)
kind(
    "series of levels",
    lambda: pd.Series([1], index=pd.MultiIndex.from_tuples([("a", 2)], names=["x", "y"])),
    "pandas.Series",
    labels="x str",
    sample="('a', 2) = 1",
)
kind(
    "series of categories",
    lambda: pd.Series(["lo"], dtype="category"),
    "pandas.Series",
    schema="category[lo]",
)
for _name, _index, _schema, _sample in (
    ("Index", pd.Index(["a"], name="n"), "n str", "a"),
    ("RangeIndex", pd.RangeIndex(3), "", "0, 1, 2"),
    ("DatetimeIndex", pd.date_range("2020", periods=1), "datetime64", "2020-01-01"),
    (
        "MultiIndex",
        pd.MultiIndex.from_tuples([(1, "a")], names=["x", "y"]),
        "x int64 (1 labels), y str",
        "(1, 'a')",
    ),
    ("CategoricalIndex", pd.CategoricalIndex(["a"]), "category[a]", "a"),
    ("IntervalIndex", pd.interval_range(0, 1), "interval[int64, right]", "Interval(0, 1"),
    ("TimedeltaIndex", pd.timedelta_range("1D", periods=1), "timedelta64", "1 days"),
    ("PeriodIndex", pd.period_range("2020", periods=1, freq="M"), "period[M]", "2020-01"),
):
    kind(
        _name,
        functools.partial(lambda value: value, _index),
        f"pandas.{_name}",
        size="values",
        schema=_schema,
        sample=_sample,
    )
kind(
    "groups",
    lambda: sales().groupby("region"),
    "pandas.api.typing.DataFrameGroupBy",
    size="4 rows",
    labels="'region'",
    schema="amount float64",
)
kind(
    "groups of a column",
    lambda: sales().groupby("region").amount,
    "pandas.api.typing.SeriesGroupBy",
    labels="'region'",
    schema="float64",
)
kind(
    "rolling",
    lambda: pd.Series([1, 2]).rolling(2),
    "pandas.api.typing.Rolling",
    labels="by 2",
    size="2 values",
)
kind(
    "resampled",
    lambda: pd.Series([1], index=pd.date_range("2020", periods=1)).resample("D"),
    "DatetimeIndexResampler",
    size="1 values",
)
kind("style", lambda: sales().style, "Styler", size="4 rows", schema="amount float64", sample="north")
for _array, _type, _schema in (
    (pd.array([1, None]), "IntegerArray", "Int64 (1 missing)"),
    (pd.array([1.5, None]), "FloatingArray", "Float64"),
    (pd.array([True]), "BooleanArray", "boolean"),
    (pd.Categorical(["a"]), "Categorical", "category[a]"),
    (pd.arrays.SparseArray([0, 1]), "SparseArray", "Sparse[int64"),
    (pd.interval_range(0, 1).array, "IntervalArray", "interval"),
    (pd.period_range("2020", periods=1, freq="M").array, "PeriodArray", "period[M]"),
    (pd.date_range("2020", periods=1).array, "DatetimeArray", "datetime64"),
):
    kind(
        _type,
        functools.partial(lambda value: value, _array),
        _type,
        size="values",
        schema=_schema,
        sample="first:",
    )
for _value, _type, _sample in (
    (pd.Timestamp("2020-01-02", tz="UTC"), "Timestamp", "2020-01-02"),
    (pd.Timedelta("1D"), "Timedelta", "1 days"),
    (pd.Period("2020-01"), "Period", "2020-01"),
    (pd.Interval(0, 1), "Interval", "0, 1"),
    (pd.NA, "NAType", "<NA>"),
    (pd.NaT, "NaTType", "NaT"),
    (pd.offsets.MonthEnd(2), "MonthEnd", "2"),
    (pd.CategoricalDtype(["a"]), "CategoricalDtype", "category"),
):
    kind(f"pandas {_type}", functools.partial(lambda value: value, _value), _type, sample=_sample)

# numpy
kind(
    "numbers",
    lambda: np.arange(12.0).reshape(3, 4),
    "numpy.ndarray",
    size=f"3 {BY} 4",
    schema="float64",
    sample="0, 1, 2",
)
kind(
    "numbers with missing ones", lambda: np.array([1, np.nan]), "numpy.ndarray", size="2", schema="1 missing"
)
kind("scalar array", lambda: np.array(3), "numpy.ndarray", size="scalar", sample="3")
kind("empty array", lambda: np.zeros((0, 3)), "numpy.ndarray", size=f"0 {BY} 3")
kind(
    "endless array",
    lambda: np.broadcast_to(1.5, (10**5, 10**5)),
    "numpy.ndarray",
    size=f"100000 {BY} 100000",
    sample="1.5",
)
kind(
    "masked array",
    lambda: np.ma.masked_array([1, 2], [0, 1]),
    "numpy.ma.MaskedArray",
    size="2",
    schema="1 masked",
    sample="1, --",
)
kind(
    "structured array",
    lambda: np.array([(1, "a")], dtype=[("n", "i4"), ("s", "U3")]),
    "numpy.ndarray",
    schema="('n', '<i4')",
    sample="(1, 'a')",
)
kind(
    "record array",
    lambda: np.rec.array([(1, 2.5)], dtype=[("n", "i4"), ("x", "f8")]),
    "numpy",
    schema="'x', '<f8'",
    sample="2.5",
)
kind(
    "array of times",
    lambda: np.array(["2020-01-01"], dtype="M8[D]"),
    "numpy.ndarray",
    schema="datetime64[D]",
    sample="2020-01-01",
)
kind("array of durations", lambda: np.array([1], dtype="m8[D]"), "numpy.ndarray", schema="timedelta64[D]")
kind("array of texts", lambda: np.array(["ab"]), "numpy.ndarray", schema="<U2", sample="ab")
kind("array of booleans", lambda: np.array([True]), "numpy.ndarray", schema="bool", sample="True")
kind("array of complex numbers", lambda: np.array([1j]), "numpy.ndarray", schema="complex128", sample="1j")
kind(
    "array of objects",
    lambda: np.array([{"a": 1}, None], dtype=object),
    "numpy.ndarray",
    schema="object",
    sample="{'a': 1}",
)
kind(
    "image array",
    lambda: np.zeros((64, 64, 3), dtype="uint8"),
    "numpy.ndarray",
    size=f"64 {BY} 64 {BY} 3",
    schema="uint8",
)
kind("numpy dtype", lambda: np.dtype("f8"), "numpy", sample="float64")
kind("numpy generator", np.random.default_rng, "numpy.random.Generator")
kind("polynomial", lambda: np.poly1d([1, 2]), "numpy.poly1d")
for _number in (
    np.float64(1.5),
    np.float32(1.5),
    np.int64(7),
    np.uint8(7),
    np.bool_(True),
    np.str_("x"),
    np.datetime64("2020-01-01"),
    np.complex128(1j),
):
    kind(
        f"numpy {type(_number).__name__}",
        functools.partial(lambda value: value, _number),
        f"numpy.{type(_number).__name__}",
        sample=str(_number),
    )

# pictures and figures
for _mode in ("RGB", "RGBA", "L", "P", "CMYK", "F"):
    kind(
        f"picture {_mode}",
        functools.partial(PIL.Image.new, _mode, (4, 3)),
        "PIL.Image.Image",
        size=f"4 {BY} 3 pixels",
        schema=_mode,
    )


def imshow() -> Any:
    axes = matplotlib.figure.Figure().subplots()
    axes.imshow([[1, 2], [3, 4]])
    return axes


def figure() -> matplotlib.figure.Figure:
    made = matplotlib.figure.Figure()
    left, right = made.subplots(1, 2)
    left.plot([1, 2, 3], [3, 4, 5], label="north")
    left.set(title="Sales", xlabel="month", ylabel="EUR")
    right.bar([1, 2], [3, 4], label="cost")
    right.scatter([1], [2])
    made.suptitle("Report")
    return made


kind(
    "figure",
    figure,
    "matplotlib.figure.Figure",
    size="2 axes",
    labels="x 'month', y 'EUR'",
    sample="north 3 points",
    schema="2 bars (cost), 1 scatter",
    units="'Sales'",
)
kind("empty figure", matplotlib.figure.Figure, "matplotlib.figure.Figure", size="0 axes")
kind(
    "axes",
    lambda: figure().axes[0],
    "matplotlib.axes.Axes",
    labels="'Sales', x 'month', y 'EUR'",
    schema="1 line",
)
kind("picture in axes", imshow, "matplotlib.axes.Axes", schema="1 image")
kind(
    "axes of a figure",
    lambda: np.array(figure().axes),
    "numpy.ndarray",
    size="2",
    sample="<matplotlib.axes.Axes>",
)
kind("line", lambda: figure().axes[0].lines[0], "matplotlib.lines.Line2D")


def has(*names: str) -> bool:
    return all(map(importlib.util.find_spec, names))


if has("polars"):
    import polars as pl

    kind(
        "polars frame",
        lambda: pl.DataFrame({"a": [1, None], "s": [{"q": 1}, None]}),
        "polars.DataFrame",
        size=f"2 rows {BY} 2 columns",
        schema="a i64 (1 missing)",
        sample="1 | {'q': 1}",
    )
    kind(
        "polars series",
        lambda: pl.Series("a", [1, None]),
        "polars.Series",
        size="2 values",
        schema="i64 (1 missing), name 'a'",
        sample="1, None",
    )
    kind(
        "polars categories",
        lambda: pl.DataFrame({"c": pl.Series(["a"], dtype=pl.Enum(["a", "b"]))}),
        "polars.DataFrame",
        schema="c enum",
        sample="0 | a",
    )
    kind(
        "polars times",
        lambda: pl.DataFrame({"t": [dt.date(2020, 1, 2)]}),
        "polars.DataFrame",
        schema="t date",
        sample="2020-01-02",
    )
    kind(
        "polars lists",
        lambda: pl.DataFrame({"l": [[1, 2]]}),
        "polars.DataFrame",
        schema="l list[i64]",
        sample="[1, 2]",
    )
    kind("lazy frame", lambda: pl.DataFrame({"a": [1]}).lazy(), "polars.LazyFrame", schema="not collected")
    kind("scan", lambda: pl.scan_csv("nowhere.csv"), "polars.LazyFrame", schema="not collected")

if has("pyarrow"):
    import pyarrow as pa

    kind(
        "arrow table",
        lambda: pa.table({"a": [1, None], "b": ["x", "y"]}),
        "pyarrow.Table",
        size="2 rows",
        schema="a int64 (1 missing), b string",
        sample="1 | x",
    )
    kind(
        "arrow batch",
        lambda: pa.record_batch({"a": [1]}),
        "pyarrow.RecordBatch",
        size="1 rows",
        schema="a int64",
        sample="0 | 1",
    )
    kind(
        "arrow array",
        lambda: pa.array([1, None]),
        "pyarrow.Int64Array",
        size="2 values",
        schema="int64 (1 missing)",
        sample="1, None",
    )
    kind(
        "arrow lists",
        lambda: pa.array([[1]]),
        "pyarrow.ListArray",
        size="1 values",
        schema="list<",
        sample="[1]",
    )
    kind(
        "arrow records",
        lambda: pa.array([{"q": 1}]),
        "pyarrow.StructArray",
        schema="struct<q: int64>",
        sample="{'q': 1}",
    )
    kind(
        "arrow schema",
        lambda: pa.schema([("a", pa.int64())]),
        "pyarrow.Schema",
        size="1 columns",
        schema="a int64",
    )
    kind("arrow type", pa.int64, "pyarrow.DataType", schema="int64")
    kind("arrow field", lambda: pa.field("a", pa.int64()), "pyarrow.Field", schema="a: int64")
    kind("arrow scalar", lambda: pa.scalar(7), "pyarrow.Int64Scalar", sample="7")
    kind(
        "arrow in pandas",
        lambda: pd.DataFrame({"a": pd.array([1, None], dtype="int64[pyarrow]")}),
        "pandas.DataFrame",
        schema="a int64[pyarrow] (1 missing)",
        sample="<NA>",
    )

if has("xarray"):
    import xarray as xr

    def climate() -> Any:
        return xr.Dataset(
            {"t": (("time", "lat"), np.array([[1.0, np.nan]]), {"units": "K"})},
            coords={
                "time": pd.date_range("2000", periods=1),
                "lat": ("lat", [50.0, 60.0], {"units": "degrees_north"}),
            },
            attrs={"title": "Reanalysis"},
        )

    kind(
        "dataset",
        climate,
        "xarray.Dataset",
        size="time: 1, lat: 2",
        schema="t (time: 1, lat: 2) float64",
        labels="time (time: 1) datetime64",
        sample="2000-01-01",
        units="in K (1 missing)",
    )
    kind(
        "data array",
        lambda: climate().t,
        "xarray.DataArray",
        size="lat: 2",
        schema="name 't'",
        labels="coordinate lat",
        sample="= 1, nan",
        units="degrees_north",
    )
    kind("empty dataset", xr.Dataset, "xarray.Dataset", size="no dimensions")

if has("dask", "pyarrow"):
    import dask
    import dask.array
    import dask.bag
    import dask.dataframe

    def parts() -> Any:
        return dask.dataframe.from_pandas(sales(), npartitions=2)

    kind(
        "dask frame",
        parts,
        "dask.dataframe.DataFrame",
        schema="region string, amount float64",
        size="not computed",
    )
    kind("dask series", lambda: parts().amount, "dask.dataframe.Series", schema="float64, name 'amount'")
    kind(
        "dask sums",
        parts().groupby("region").amount.sum,
        "dask.dataframe.Series",
        labels="index: region string",
        schema="float64",
    )
    kind(
        "dask array",
        lambda: dask.array.ones((100, 100), chunks=10),
        "dask.array.Array",
        size=f"100 {BY} 100, float64, in 10 {BY} 10 chunks",
    )
    kind("bag", lambda: dask.bag.from_sequence([1, 2]), "dask.bag.Bag", size="npartitions 2")
    kind(
        "delayed",
        lambda: dask.delayed(len)([1]),
        "dask.delayed.Delayed",
        labels="len-",
        schema="not computed",
    )
    if has("xarray"):
        kind(
            "dataset in parts",
            lambda: climate().chunk({"lat": 1}),
            "xarray.Dataset",
            schema="not computed, in K",
            labels="lat (lat: 2)",
        )

if has("duckdb"):
    import duckdb

    kind(
        "relation",
        lambda: duckdb.sql("select 1 as a, 'x' as b, range(3) as l"),
        "duckdb.DuckDBPyRelation",
        size="3 columns",
        schema="a INTEGER, b VARCHAR, l BIGINT[]",
    )
    kind(
        "endless relation",
        lambda: duckdb.sql("select i from range(1000000000) t(i)"),
        "duckdb.DuckDBPyRelation",
        schema="i BIGINT",
    )

if has("geopandas"):
    import geopandas
    import shapely

    def places() -> Any:
        return geopandas.GeoDataFrame({"n": [1, 2]}, geometry=[shapely.Point(1, 2), None], crs=4326)

    kind(
        "places",
        places,
        "geopandas.GeoDataFrame",
        size="2 rows",
        schema="geometry geometry, CRS EPSG:4326 (1 missing)",
        sample="POINT (1 2)",
    )
    kind(
        "shapes",
        lambda: places().geometry,
        "geopandas.GeoSeries",
        size="2 values",
        schema="CRS EPSG:4326",
        sample="POINT (1 2)",
    )
    kind("point", lambda: shapely.Point(1, 2), "shapely.Point", sample="POINT (1 2)")
    kind(
        "large polygon",
        lambda: shapely.Point(0, 0).buffer(1, quad_segs=200),
        "shapely.Polygon",
        size="801 points",
    )

if has("sklearn"):
    import scipy.sparse
    from scipy.optimize import minimize
    from sklearn.base import BaseEstimator
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils import Bunch

    X = pd.DataFrame({"age": [0.0, 1, 2, 3], "income": [1.0, 0, 1, 0]})
    Y = [0, 0, 1, 1]

    class OwnEstimator(BaseEstimator):
        def __init__(self, depth: int = 3) -> None:
            self.depth = depth

    OwnEstimator.__module__ = "__main__"
    kind(
        "estimator",
        lambda: LogisticRegression(C=2.0),
        "sklearn.linear_model.LogisticRegression",
        labels="not fitted",
        schema="C=2.0, others by default",
    )
    kind(
        "fitted estimator",
        lambda: LinearRegression().fit(X, Y),
        "sklearn.linear_model.LinearRegression",
        size="fitted on 2 features",
        labels="'age', 'income'",
        sample="coef_=array(",
    )
    kind(
        "classifier",
        lambda: LogisticRegression().fit(X, Y),
        "sklearn.linear_model.LogisticRegression",
        size="fitted on 2 features",
        labels="classes_=array([0, 1])",
    )
    kind(
        "scaler",
        lambda: StandardScaler().fit(X),
        "sklearn.preprocessing.StandardScaler",
        size="fitted on 2 features",
        sample="mean_=array([1.5, 0.5])",
    )
    kind(
        "pipeline",
        lambda: make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y),
        "sklearn.pipeline.Pipeline",
        labels="fitted",
        schema="'standardscaler', <sklearn.preprocessing.StandardScaler>",
    )
    kind(
        "forest",
        lambda: RandomForestClassifier(n_estimators=3).fit(X, Y),
        "sklearn.ensemble.RandomForestClassifier",
        schema="n_estimators=3",
        labels="fitted on 2 features",
    )
    kind(
        "search",
        lambda: GridSearchCV(LogisticRegression(), {"C": [1, 2]}, cv=2).fit(X, Y),
        "sklearn.model_selection.GridSearchCV",
        schema="param_grid={'C': [1, 2]}",
        sample="best_params_={'C':",
    )
    kind(
        "estimator of the notebook",
        lambda: OwnEstimator(5),
        "OwnEstimator, a kind of sklearn.base.BaseEstimator",
        sample="depth=5",
    )
    kind(
        "bunch",
        lambda: Bunch(data=np.zeros((150, 4)), names=["a"]),
        "sklearn.utils.Bunch",
        size=f"150 {BY} 4",
        labels="'names'",
        sample="['a']",
    )
    kind(
        "sparse matrix",
        lambda: scipy.sparse.csr_matrix(np.eye(3)),
        "scipy.sparse.csr_matrix",
        size=f"3 {BY} 3",
        schema="float64, 3 stored values",
    )
    kind(
        "optimum",
        lambda: minimize(lambda x: (x**2).sum(), [1.0]),
        "scipy.optimize.OptimizeResult",
        labels="'success': True",
        sample="'fun': ",
    )

if has("plotly"):
    import plotly.graph_objects as go

    def chart() -> Any:
        made = go.Figure([go.Bar(x=["a", "b"], y=[1, 2], name="cost")])
        return made.update_layout(title="Costs", xaxis_title="place", yaxis_title="EUR")

    kind(
        "plotly figure",
        chart,
        "plotly.graph_objs.Figure",
        size="2 points",
        schema="bar trace 'cost'",
        labels="title 'Costs', xaxis 'place', yaxis 'EUR'",
    )
    kind("empty plotly figure", go.Figure, "plotly.graph_objs.Figure", schema="an empty figure")

if has("altair"):
    import altair as alt

    def vega() -> Any:
        return (
            alt.Chart(sales(), title="Sales")
            .mark_bar()
            .encode(x="region:N", y=alt.Y("sum(amount):Q", title="EUR"))
        )

    kind(
        "altair chart",
        vega,
        "altair.Chart",
        size=f"data: pandas.DataFrame, 4 rows {BY} 2 columns",
        schema="bar marks, x region:N",
        labels="title 'Sales'",
        units="y sum(amount):Q 'EUR'",
    )
    kind("altair layers", lambda: vega() + vega(), "altair.LayerChart", schema="bar marks, x region:N")
    kind(
        "altair charts", lambda: vega() | vega(), "altair.HConcatChart", schema="bar marks", labels="'Sales'"
    )


def main() -> None:
    """Print the bytes and the milliseconds of each kind, as a line and with an ``@``."""
    from codex_nb.tools.describe import Detail, describe

    times = []
    for name, each in KINDS.items():
        value, figures = each.make(), []
        describe("value", value)  # the first of a class looks its library up
        for detail in (Detail.NORMAL, Detail.FULL):
            start = time.perf_counter()
            size = len(describe("value", value, detail).text.encode("utf-8", "replace"))
            figures += [size, (time.perf_counter() - start) * 1e3]
        times.append(figures[1])
        print("{:32} {:6,} B {:6.1f} ms   @ {:7,} B {:6.1f} ms".format(name, *figures))  # noqa: T201 -- what it is for
    print(f"{len(times)} kinds, median {statistics.median(times):.2f} ms, slowest {max(times):.1f} ms")  # noqa: T201 -- as above


if __name__ == "__main__":
    main()
