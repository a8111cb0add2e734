from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from pathlib import PurePosixPath

import matplotlib.figure
import numpy as np
import pandas as pd
import polars as pl
import pytest
from pandas.api.extensions import ExtensionArray, ExtensionDtype

from codex_nb.tools.describe import Detail, describe
from codex_nb.tools.introspection import imported_modules, is_user_variable


def described(name: str, value: object, detail: Detail = Detail.NORMAL) -> str:
    return describe(name, value, detail).text


class Trap(Exception):
    """Code of a user's object was run."""


ran: list[str] = []


def spring(*names: str) -> dict:
    def method(name: str) -> object:
        def touched(*args: object, **kwargs: object) -> None:
            ran.append(name)
            raise Trap(name)

        return touched

    return {name: method(name) for name in names}


_NAMES = (
    "repr str len iter getitem contains bool hash eq lt dir getattribute getattr reduce array sizeof format"
)
EVERYTHING = tuple(f"__{name}__" for name in _NAMES.split(" "))


class LoudMeta(type):
    """A metaclass whose every answer is a trap."""

    def __getattribute__(cls, name: str) -> object:
        ran.append(f"class.{name}")
        raise Trap(name)

    def __eq__(cls, other: object) -> bool:
        ran.append("class ==")
        raise Trap

    def __hash__(cls) -> int:
        ran.append("class hash")
        raise Trap

    def __instancecheck__(cls, instance: object) -> bool:
        ran.append("isinstance")
        raise Trap


def traps() -> dict[str, object]:
    made = {
        "methods": type("Methods", (), spring(*EVERYTHING))(),
        "properties": type(
            "Properties", (), {n: property(spring("p")["p"]) for n in ("shape", "dtype", "__dict__")}
        )(),
        "mapping": type("Mapping", (dict,), spring("__repr__", "items", "__iter__", "__len__"))({"a": 1}),
        "sequence": type("Sequence", (list,), spring("__repr__", "__iter__", "__len__"))([1]),
        "text": type("Text", (str,), spring("__repr__", "__str__", "__len__"))("x"),
        "number": type("Number", (int,), spring("__repr__", "__str__", "__abs__"))(7),
        "frame_like": type(
            "DataFrame", (), {"__module__": "pandas", **spring("__repr__", "__len__", "columns")}
        )(),
        "frame_kind": type("Frame", (pd.DataFrame,), spring("__repr__", "__len__", "shape", "columns"))(
            {"a": [1]}
        ),
        "array_kind": type("Array", (np.ndarray,), spring("__repr__", "__str__", "__iter__"))((2,)),
        "lazy": type("Lazy", (), spring("collect", "__repr__", "__getattr__"))(),
        "loud": LoudMeta("Loud", (), {}),
        "inside": [type("Inside", (), spring(*EVERYTHING))()],
        "in_frame": pd.DataFrame({"o": pd.Series([type("Held", (), spring(*EVERYTHING))()], dtype=object)}),
        "in_array": np.array(
            [type("Held", (), spring("__repr__", "__str__", "__format__"))(), None], dtype=object
        ),
        "attribute": type("Plain", (), {"__module__": "__main__"})(),
    }
    made["loud_instance"] = object.__new__(made["loud"])
    vars(made["attribute"])["held"] = made["methods"]
    return made


@pytest.mark.parametrize("name", sorted(traps()))
@pytest.mark.parametrize("detail", list(Detail))
def test_an_object_that_misbehaves_is_described_without_being_asked(name: str, detail: Detail) -> None:
    value = traps()[name]
    ran.clear()
    text = described("thing", value, detail)
    assert ran == []
    assert text.startswith("thing: ")
    assert "cannot be read" not in text
    assert is_user_variable("thing", value)
    assert ran == []


class Sluggish(ExtensionDtype):
    name = "sluggish"
    type = object

    @classmethod
    def construct_array_type(cls) -> type:
        return SlowArray


class SlowArray(ExtensionArray):
    """A column whose values are made, slowly, when they are asked for."""

    dtype = Sluggish()
    asked = 0

    def __len__(self) -> int:
        return 3

    def __getitem__(self, item: object) -> object:
        type(self).asked += 1
        return self

    def copy(self) -> SlowArray:
        return self

    def isna(self) -> np.ndarray:
        return np.zeros(3, dtype=bool)

    @property
    def nbytes(self) -> int:
        return 0


def test_a_column_of_a_foreign_array_type_is_not_read() -> None:
    frame = pd.DataFrame({"slow": SlowArray(), "x": [1, 2, 3]}, copy=False)
    SlowArray.asked = 0
    text = described("frame", frame)
    assert SlowArray.asked == 0
    assert "slow <tests.tools.test_describe.SlowArray>, x int64" in text
    assert "0 | ? | 1" in text


def test_a_frame_is_told_by_size_columns_and_first_rows() -> None:
    days = pd.date_range("2020-01-01", periods=1000)
    frame = pd.DataFrame({"a": range(1000), "b": [0.1 + 0.2] * 1000, "c": ["x"] * 1000, "day": days})
    assert described("df", frame) == "\n".join(
        [
            f"df: pandas.DataFrame, 1000 rows {chr(215)} 4 columns",
            f"  columns: a int64, b float64, c {frame.dtypes['c']}, day {frame.dtypes['day']}",
            "  first 5 rows:",
            "   | a | b | c | day",
            *(f"  {n} | {n} | 0.3 | x | 2020-01-0{n + 1} 00:00:00" for n in range(5)),
        ]
    )
    assert described("df", frame, Detail.LINE) == f"df: pandas.DataFrame, 1000 rows {chr(215)} 4 columns"
    full = described("df", frame, Detail.FULL)
    assert f"first {len(full.splitlines()) - 4} rows:" in full
    assert 15_000 < len(full) < 17_000


def test_a_name_of_several_lines_breaks_no_line() -> None:
    name = "a\nb\u2028c"
    frame = pd.DataFrame({name: [1, 2]}, index=pd.Index([1, 2], name=name))
    plain = frame.rename(columns={name: "a b c"}).rename_axis("a b c")
    for broken, whole in (
        (frame, plain),
        (frame[name], plain["a b c"]),
        (pl.from_pandas(frame), pl.from_pandas(plain)),
    ):
        assert len(described("x", broken).splitlines()) == len(described("x", whole).splitlines())


def test_a_wide_frame_says_how_many_columns_are_not_named() -> None:
    text = described("wide", pd.DataFrame(np.zeros((2, 500))))
    assert "columns: 0 float64, 1 float64" in text
    assert ", … 470 more" in text


def test_an_array_of_any_size_costs_no_memory() -> None:
    huge = np.broadcast_to(np.float64(1.5), (50_000, 50_000))
    text = described("huge", huge)
    assert text.startswith(f"huge: numpy.ndarray, 50000 {chr(215)} 50000, float64")
    assert text.endswith("first values: 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, … 2,499,999,994 more")


@dataclass
class Point:
    x: int
    api_key: str = "hidden value 1"


def area(width: int, height: int = 1, *, unit: str = "m") -> int:
    """Give the area.

    Of a rectangle.
    """
    return width * height


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "int = 7"),
        (10**1000, "int = an integer of about 3,322 bits"),
        (None, "NoneType = None"),
        ("short", "str of 5 = 'short'"),
        ([1, {"a": (2.5, None)}], "list of 2 = [1, {'a': (2.5, None)}]"),
        (dict.fromkeys(range(1000)), "dict of 1,000 = {0: None, 1: None, "),
        (b"abc", "bytes of 3 = bytes of 3 bytes"),
        (dt.date(2020, 1, 2), "datetime.date = 2020-01-02"),
        (PurePosixPath("/a/b"), "pathlib.PurePosixPath = /a/b"),
        (Point(1), "tests.tools.test_describe.Point\n  attributes: x=1, api_key=(withheld)"),
        (Point, "class tests.tools.test_describe.Point"),
        (area, "function area(width, height, *, unit): Give the area."),
        (ValueError("no"), "ValueError"),
        (np.float64(1.5), "numpy.float64 = 1.5"),
        (pd.Timestamp("2020-01-02"), "pandas.Timestamp = 2020-01-02 00:00:00"),
        (pd.Series([1, 2], name="n"), "pandas.Series, 2 values, int64, name 'n'\n  first: 1, 2"),
        (pd.Index(["a"]), "pandas.Index, 1 values\n  first: a"),
        (matplotlib.figure.Figure(), "matplotlib.figure.Figure"),
        (time, "module = <module time>"),
    ],
)
def test_a_value_is_told_by_its_type_and_a_little_of_it(value: object, text: str) -> None:
    assert described("v", value).startswith(f"v: {text}")


def test_what_its_name_calls_secret_is_withheld() -> None:
    assert described("api_key", "abc") == "api_key: str (withheld: its name says that it is secret)"
    frame = pd.DataFrame({"user": ["ada"], "password": ["hunter22"]})
    assert "hunter22" not in described("accounts", frame)
    assert "ada" in described("accounts", frame)


def test_a_broken_object_of_a_library_is_named_all_the_same() -> None:
    frame = pd.DataFrame({"a": [1]})
    object.__setattr__(frame, "_mgr", None)
    assert described("broken", frame) == "broken: pandas.DataFrame (it cannot be read: TypeError)"


def test_the_shells_own_names_and_modules_are_not_the_users() -> None:
    namespace = {
        "_": 1,
        "In": [],
        "exit": print,
        "pd": pd,
        "np": np,
        "time": time,
        "x": 1,
        "describe": describe,
    }
    assert [name for name, value in namespace.items() if is_user_variable(name, value)] == ["x", "describe"]
    assert imported_modules(namespace) == "numpy as np, pandas as pd, time"


def test_a_function_without_a_docstring_is_told_by_its_signature() -> None:
    assert described("f", lambda x, *, y: (x, y)) == "f: function <lambda>(x, *, y)"
