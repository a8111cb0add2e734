"""The hash of a value: the same for the same content, another for any other, none where not all can be read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_nb.session.known_values import secrets_of_namespace
from codex_nb.tools.content_hash import ContentHasher, Variables
from codex_nb.tools.safe_repr import BY


def digest(value: object) -> str | None:
    """Hash a value, however long it takes."""
    return ContentHasher(60).digest(value)


CATEGORIES = ["low", "high"]
MAKERS: dict[str, Callable[[Any], object]] = {
    "array": lambda n: np.array([0, n, 2]),
    "array of floats": lambda n: np.array([[0.5, n], [2, 3]]),
    "array of texts": lambda n: np.array(["a", f"b{n}"]),
    "array of objects": lambda n: np.array(["a", None, n], dtype=object),
    "array of times": lambda n: np.array(["2024-01-01", f"2024-01-0{n + 2}"], dtype="datetime64[D]"),
    "a part of an array": lambda n: np.array([[7, 9], [n, 9], [2, 9]])[:, 0],
    "every second entry": lambda n: np.arange(100)[::2] + n,
    "transposed": lambda n: (np.arange(100_000).reshape(-1, 10) + n).T,
    "structured array": lambda n: np.array([(1, n)], dtype=[("a", "i4"), ("b", "i4")]),
    "array of another byte order": lambda n: np.array([n], dtype=">f8"),
    "array without axes": np.array,
    "frame": lambda n: pd.DataFrame({"a": [1, n], "b": [0.5, 1.5], "c": ["x", "y"]}),
    "frame with a text": lambda n: pd.DataFrame({"c": ["x" * 50, f"y{n}"]}),
    "frame with a missing text": lambda n: pd.DataFrame({"c": ["x", None if n == 0 else "y"]}),
    "frame of one matrix": lambda n: pd.DataFrame(np.arange(100_000).reshape(-1, 10) + n),
    "frame by its columns": lambda n: pd.DataFrame({"a": [1], f"b{n}": [2]}),
    "frame by its index": lambda n: pd.DataFrame({"a": [1, 2]}, index=["x", f"y{n}"]),
    "frame with groups": lambda n: pd.DataFrame({"a": [1, 2]}, index=[["x", "x"], ["y", f"z{n}"]]),
    "frame of nullable": lambda n: pd.DataFrame({"a": pd.array([1, None, n], dtype="Int64")}),
    "frame of categories": lambda n: pd.DataFrame({"a": pd.Categorical.from_codes([0, n], CATEGORIES)}),
    "other categories": lambda n: pd.DataFrame({"a": pd.Categorical.from_codes([0], ["x", f"y{n}"])}),
    "frame of times": lambda n: pd.DataFrame({"a": pd.to_datetime(["2024-01-01", f"2024-01-0{n + 2}"])}),
    "frame of zoned times": lambda n: pd.DataFrame({"a": pd.to_datetime([f"2024-01-0{n + 2}"], utc=True)}),
    "frame of arrow": lambda n: pd.DataFrame({"a": pd.array([1, n], dtype="int64[pyarrow]")}),
    "frame of lists": lambda n: pd.DataFrame({"a": [[1, 2], [3, n]]}),
    "series": lambda n: pd.Series([1, n]),
    "series by its name": lambda n: pd.Series([1], name=f"n{n}"),
    "index": lambda n: pd.Index(["a", f"b{n}"]),
    "polars frame": lambda n: pl.DataFrame({"a": [1, n], "b": ["x", None]}),
    "polars texts": lambda n: pl.DataFrame({"b": ["x" * 50, f"y{n}"]}),
    "polars by its columns": lambda n: pl.DataFrame({f"a{n}": [1]}),
    "polars series": lambda n: pl.Series("s", [1, n]),
    "table": lambda n: pa.table({"a": [1, n], "b": ["x", None]}),
    "table in pieces": lambda n: pa.chunked_array([[1], [n]]),
    "table of words": lambda n: pa.table({"a": pa.array(["x", f"y{n}"]).dictionary_encode()}),
    "record batch": lambda n: pa.record_batch({"a": [1, n]}),
    "list": lambda n: [*range(100), n, *range(100)],
    "list of lists": lambda n: [[1, [2, [3, n]]]],
    "text": lambda n: "a" * 10_000 + str(n) + "a" * 10_000,
    "bytes": lambda n: bytes(10_000) + bytes([n]),
    "set": lambda n: {f"entry {i}" for i in range(100)} | {n},
    "dict": lambda n: {"a": {"b": np.array([n])}},
    "dict by its keys": lambda n: {n: 1},
    "dict by its order": lambda n: {n: 1, 1 - n: 1},
    "frames in a list": lambda n: [pd.DataFrame({"a": [n]}), 1],
    "large number": lambda n: 10**5_000 + n,
    "numbers": lambda n: [10**5_000 + n],
    "numpy number": lambda n: np.float64(0.1 + n),
    "date": lambda n: [dt.date(2024, 1, n + 1)],
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_the_same_content_has_one_hash_and_other_content_another(make: Callable[[Any], object]) -> None:
    assert digest(make(0)) is not None
    assert digest(make(0)) == digest(make(0))
    assert digest(make(0)) != digest(make(1))


def test_no_two_of_many_values_have_one_hash() -> None:
    values = [make(n) for make in MAKERS.values() for n in (0, 1)]
    values += [
        1,
        1.0,
        "1",
        True,
        None,
        "None",
        b"1",
        [1],
        (1,),
        [[1]],
        ["1"],
        {1},
        frozenset({1}),
        {},
        [],
        "",
    ]
    values += [[["a"], "b"], ["a", ["b"]], [["a", "b"]], ["ab"], ["a", "b"], np.array([1]), np.array([[1]])]
    values += [np.array([1], dtype="i4"), np.array([1], dtype="u4"), pd.Series([1]), pd.DataFrame({0: [1]})]
    digests = [digest(value) for value in values]
    assert len(set(digests)) == len(values)


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner)
)


@given(values, values)
def test_values_have_one_hash_only_if_they_are_written_the_same(one: object, other: object) -> None:
    assert (digest(one) == digest(other)) == (repr(one) == repr(other))


@given(
    st.lists(
        st.tuples(st.integers(-9, 9), st.floats(allow_nan=False), st.text(max_size=3)), min_size=1, max_size=9
    )
)
def test_a_frame_has_one_hash_however_it_lies_in_memory(rows: list[tuple[int, float, str]]) -> None:
    frame = pd.DataFrame(rows, columns=["a", "b", "c"])
    one_by_one = pd.DataFrame({"a": frame["a"]})
    for name in ("b", "c"):
        one_by_one[name] = frame[name]
    turned = pd.concat([frame[["c"]], frame[["b", "a"]]], axis=1)[["a", "b", "c"]]
    assert digest(frame) == digest(one_by_one) == digest(turned) == digest(frame.copy())
    matrix = np.array([row[:2] for row in rows], dtype=float).reshape(-1, 2)
    assert digest(matrix) == digest(np.asfortranarray(matrix)) == digest(np.repeat(matrix, 2, axis=0)[::2])
    assert digest(pd.DataFrame(matrix)) == digest(pd.DataFrame({0: matrix[:, 0], 1: matrix[:, 1]}))


class Loud:
    """A class all of whose methods are the user's code."""

    def __len__(self) -> int:
        raise AssertionError

    __repr__ = __str__ = __bytes__ = __iter__ = __hash__ = __eq__ = __reduce_ex__ = __len__  # type: ignore[assignment]


class LoudText(str):
    """A text that says itself what is in it."""

    __slots__ = ()
    encode = __repr__ = __str__ = __len__ = Loud.__len__  # type: ignore[assignment]


class LoudList(list):  # type: ignore[type-arg]
    """A list that says itself what is in it."""

    __iter__ = __len__ = __repr__ = Loud.__len__  # type: ignore[assignment]


class LoudFrame(pd.DataFrame):
    """A frame that says itself what is in it."""

    @property
    def _constructor(self) -> type:
        raise AssertionError


class LoudArray(np.ndarray):  # type: ignore[type-arg]
    """An array that says itself what is in it."""

    def __array_finalize__(self, other: object) -> None:
        pass

    def tobytes(self, *_: object) -> bytes:
        raise AssertionError


def boxed(value: object) -> Any:
    """Return an array of objects that holds a value."""
    array = np.empty(2, dtype=object)
    array[0], array[1] = 1, value
    return array


UNREAD = {
    "an object": Loud(),
    "a derived text": LoudText("a"),
    "a derived list": LoudList([1]),
    "a derived frame": LoudFrame({"a": [1]}),
    "a derived array": np.zeros(3).view(LoudArray),
    "an object in a list": [1, Loud()],
    "an object in a dict": {"a": Loud()},
    "an object in an array": boxed(Loud()),
    "an object in a frame": pd.DataFrame({"a": boxed(Loud())}),
    "an object in polars": pl.DataFrame({"a": pl.Series([object()], dtype=pl.Object)}),
    "a masked array": np.ma.array([1, 2], mask=[True, False]),
    "gaps between fields": np.zeros(2, dtype=np.dtype([("a", "i1"), ("b", "i8")], align=True)),
    "a lazy frame": pl.LazyFrame({"a": [1]}),
    "a generator": (n for n in range(3)),
    "a function": lambda: 1,
    "a class": Loud,
}


@pytest.mark.parametrize("value", UNREAD.values(), ids=UNREAD)
def test_what_only_code_could_tell_has_no_hash_and_runs_no_code(value: object) -> None:
    hasher = ContentHasher(60)
    assert (hasher.digest(value), hasher.over_budget) == (None, False)


def test_a_list_that_holds_itself_has_no_hash() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert digest(endless) is None


LARGE = {
    "array": np.zeros(8_000_000),
    "transposed": np.zeros((1_000_000, 8)).T,
    "frame": pd.DataFrame({"a": np.zeros(8_000_000)}),
    "polars": pl.DataFrame({"a": np.zeros(8_000_000)}),
    "table": pa.table({"a": np.zeros(8_000_000)}),
    "objects": np.array(["a"] * 100_000, dtype=object),
    "list": ["a"] * 100_000,
    "list of lists": [[1]] * 10_000,
    "bytes": bytes(50_000_000),
    "set": set(range(100_000)),
}


@pytest.mark.parametrize("value", LARGE.values(), ids=LARGE)
def test_hashing_ends_when_the_time_is_up(value: object) -> None:
    looks: list[float] = []

    def clock() -> float:
        looks.append(0.1)
        return sum(looks)

    hasher = ContentHasher(0.35, clock)
    assert (hasher.digest(value), hasher.over_budget) == (None, True)
    assert len(looks) < 10


def test_values_share_one_budget_and_the_same_value_costs_once() -> None:
    ticks = iter(range(100))
    hasher = ContentHasher(20, lambda: float(next(ticks)))
    value = np.zeros(3)
    assert [hasher.digest(value) == digest(value) for _ in range(50)] == [True] * 50
    assert not hasher.over_budget
    others = [hasher.digest(np.zeros(n)) for n in range(4, 30)]
    assert (others[0], others[-1], hasher.over_budget) == (digest(np.zeros(4)), None, True)


def frame(rows: int) -> pd.DataFrame:
    return pd.DataFrame({"a": range(rows), "b": 1.5, "c": "text"})


BOX = Loud()
CHANGES: dict[str, tuple[dict[str, object], dict[str, object], str]] = {
    "nothing": ({"a": 1, "df": frame(3)}, {"a": 1, "df": frame(3)}, ""),
    "new": ({}, {"a": 1, "b": None, "_c": 1, "np": np}, "new a, b"),
    "deleted": ({"tmp": 1, "a": 2}, {"a": 2}, "deleted tmp"),
    "rows": ({"df": frame(365)}, {"df": frame(353)}, f"changed df (365 {BY} 3 → 353 {BY} 3)"),
    "a value": ({"df": frame(3)}, {"df": frame(3).replace(2, 9)}, "changed df"),
    "polars": (
        {"f": pl.DataFrame({"a": [1]})},
        {"f": pl.DataFrame({"a": [1, 2]})},
        f"changed f (1 {BY} 1 → 2 {BY} 1)",
    ),
    "arrow": ({"t": pa.table({"a": [1]})}, {"t": pa.table({"b": [1]})}, "changed t"),
    "an array": ({"x": np.zeros((2, 3))}, {"x": np.zeros(4)}, f"changed x (2 {BY} 3 → 4)"),
    "entries": ({"x": [1, 2]}, {"x": [1]}, "changed x (2 → 1)"),
    "another type": ({"x": 1}, {"x": "1"}, "changed x"),
    "the same object": ({"box": BOX}, {"box": BOX}, ""),
    "another object": ({"box": BOX}, {"box": Loud()}, "changed box"),
    "all at once": ({"a": 1, "tmp": 1}, {"a": 2, "b": 1}, "new b; changed a; deleted tmp"),
    "many": ({}, {f"x{n}": n for n in range(23)}, f"new {', '.join(f'x{n}' for n in range(20))} and 3 more"),
}


@pytest.mark.parametrize(("before", "after", "told"), CHANGES.values(), ids=CHANGES)
def test_changes_are_told_by_name_and_size(
    before: dict[str, object], after: dict[str, object], told: str
) -> None:
    assert Variables(before).changes(Variables(after)) == told


def test_a_change_in_place_is_seen() -> None:
    values: dict[str, Any] = {"array": np.zeros(9), "listed": [1, 2], "df": frame(3), "kept": {"a": [1]}}
    before = Variables(values)
    values["array"][4] = 1
    values["listed"].append(3)
    values["df"].loc[1, "b"] = 2
    assert before.changes(Variables(values)) == "changed array, listed (2 → 3), df"


def test_hashing_reads_no_secret_into_what_is_known() -> None:
    frame = pd.DataFrame({"password": ["hunter2hunter2"]})
    digest(frame)
    assert secrets_of_namespace({"frame": frame}) == {"hunter2hunter2"}
