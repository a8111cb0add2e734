"""Objects of every kind that could run code when they are looked at; each hook of theirs is counted in ``RAN``."""

from __future__ import annotations

import abc
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import importlib.machinery
import importlib.util
import ipaddress
import pathlib
import re
import sys
import types
import typing
import uuid
import weakref
import zoneinfo
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib.artist
import matplotlib.figure
import matplotlib.lines
import matplotlib.text
import numpy as np
import pandas as pd
import PIL.Image
from pandas.api.extensions import ExtensionArray, ExtensionDtype

from codex_nb.tools.secrets import word_set

RAN: list[str] = []
_armed = False


class HookRanError(Exception):
    """Code of an object was run."""


@contextmanager
def armed() -> Iterator[list[str]]:
    """Count the hooks that run meanwhile; before and after, hooks do what they did in the base class."""
    global _armed  # noqa: PLW0603 -- one switch for every hook
    RAN.clear()
    _armed = True
    try:
        yield RAN
    finally:
        _armed = False


def hook(name: str, original: Callable[..., Any] | None = None) -> Callable[..., Any]:
    def run(*arguments: Any, **more: Any) -> Any:
        if _armed:
            RAN.append(name)
            raise HookRanError(name)
        return None if original is None else original(*arguments, **more)

    return run


_KEPT = word_set(
    "__new__ __init__ __init_subclass__ __subclasshook__ __class_getitem__ __class__ __doc__ __module__ __dict__"
    " __weakref__ __slots__ __del__ __set_name__ __static_attributes__ __firstlineno__"
)
_HOOKS = (
    "repr str lt le gt ge ne eq hash dir getattribute format sizeof reduce reduce_ex copy deepcopy fspath"
    " instancecheck subclasscheck enter exit missing rich_repr"
)
_SIZED = "len iter getitem contains bool bytes int float complex index abs round reversed length_hint call"
_ARRAY = "array array_interface array_struct array_function array_ufunc dataframe arrow_c_stream fields keys"


def hostile(base: type = object, hooks: str = f"{_HOOKS} {_SIZED} {_ARRAY}", **more: Any) -> type:
    """Derive a class that counts every special method and every public one of its base."""
    names = {f"__{name}__" for name in hooks.split()} | set(dir(base)) - _KEPT
    members: dict[str, Any] = {}
    for name in names:
        original = getattr(base, name, None)
        if original is None or callable(original):
            members[name] = hook(f"{base.__name__}.{name}", original)
    members["__class__"] = property(hook(f"{base.__name__}.__class__", type))
    return type(f"Hostile{base.__name__}", (base,), members | more)


def thing() -> Any:
    return hostile()()


def entry() -> Any:
    """Return an object that numpy takes as it is."""
    return hostile(hooks=_HOOKS)()


def _dtype_with_entries() -> np.dtype[Any]:
    """Return a dtype whose entries numpy makes of a class of the user's."""
    return np.dtype((hostile(np.void, _HOOKS + " getitem len iter item"), [("a", "i4")]))


def text(value: str) -> str:
    made: str = hostile(str)(value)
    return made


class Colliding(str):
    """A name that is asked whether it equals another, because it has the hash of one."""

    __slots__ = ()

    def __hash__(self) -> int:
        return str.__hash__(self)

    __eq__ = hook("Colliding.__eq__", str.__eq__)  # type: ignore[assignment]  # a hook takes any arguments


class Zone(dt.tzinfo):
    utcoffset = hook("Zone.utcoffset", lambda *_: dt.timedelta(0))
    tzname = hook("Zone.tzname", lambda *_: "zone")
    dst = hook("Zone.dst", lambda *_: dt.timedelta(0))
    __getattribute__ = hook("Zone.__getattribute__", dt.tzinfo.__getattribute__)
    __str__ = __repr__ = hook("Zone.__str__", lambda _: "zone")
    __deepcopy__ = hook("Zone.__deepcopy__", lambda zone, _: zone)


ZONE = Zone()
Pair = collections.namedtuple("Pair", "first second")  # noqa: PYI024 -- without types, as notebooks have it


@dataclasses.dataclass
class Record:
    a: object
    password: object = None


_META = word_set(
    "__getattribute__ __instancecheck__ __subclasscheck__ __eq__ __hash__ __repr__ __str__ __dir__ __iter__ __len__"
    " __bool__ __contains__ __getitem__ __or__ __ror__ __subclasses__ mro"
)


def of_type(name: str) -> property:
    return property(hook(f"meta.{name}", type.__dict__[name].__get__))


_meta_members: dict[str, Any] = {name: hook(f"meta.{name}", getattr(type, name, None)) for name in _META}
_meta_members |= {name: of_type(name) for name in ("__name__", "__mro__", "__dict__", "__bases__")}
Meta = type("Meta", (type,), _meta_members)
OfMeta: Any = Meta("OfMeta", (), {"x": 1})
ListOfMeta: Any = Meta("ListOfMeta", (list,), {})


class HostileEnumMeta(enum.EnumMeta):
    __getattribute__ = hook("EnumMeta.__getattribute__", enum.EnumMeta.__getattribute__)


class Colour(enum.Enum, metaclass=HostileEnumMeta):
    RED = 1


class HostileDtype(ExtensionDtype):
    name = "hostile"
    type = object
    kind = "O"
    __str__ = __repr__ = hook("dtype.__str__", lambda _: "hostile")
    __getattribute__ = hook("dtype.__getattribute__", object.__getattribute__)

    @classmethod
    def construct_array_type(cls) -> type:
        return HostileArray


class HostileArray(ExtensionArray):
    dtype = property(hook("array.dtype", lambda _: HostileDtype()))
    __len__ = hook("array.__len__", lambda _: 2)
    __getitem__ = hook("array.__getitem__", lambda array, _: array)
    __getattribute__ = hook("array.__getattribute__", object.__getattribute__)
    nbytes = 0

    def copy(self) -> HostileArray:
        return self

    def isna(self) -> Any:
        return np.zeros(2, dtype=bool)


_COLLIDING = word_set("__dict__ shape dtype savefig __module__ __dataclass_fields__")
CASES: dict[str, Callable[[], Any]] = {}


_DERIVED: list[tuple[type, tuple[Any, ...]]] = [
    (str, ("x",)), (int, (7,)), (float, (1.5,)), (complex, (1j,)), (bytes, (b"a",)), (bytearray, (b"a",)),
    (dict, ({"a": 1},)), (list, ([1],)), (tuple, ((1,),)), (set, ({1},)), (frozenset, ({1},)),
    (dt.datetime, (2020, 1, 1)), (dt.date, (2020, 1, 1)), (dt.time, (1,)), (dt.timedelta, (1,)), (dt.tzinfo, ()),
    (uuid.UUID, ("1" * 32,)), (pathlib.PurePosixPath, ("/a",)), (pathlib.PosixPath, ("/a",)),
    (fractions.Fraction, (1, 2)), (decimal.Decimal, ("1",)), (collections.Counter, ("ab",)),
    (collections.OrderedDict, ([("a", 1)],)), (collections.defaultdict, (list,)), (collections.deque, ([1],)),
    (collections.UserDict, ()), (types.SimpleNamespace, ()), (types.ModuleType, ("m",)), (Exception, ("x",)),
    (functools.partial, (print,)), (property, ()), (type, ("X", (), {})), (np.ndarray, ((2,),)),
    (np.float64, (1.5,)), (np.str_, ("x",)), (pd.DataFrame, ({"a": [1]},)), (pd.Series, ([1],)),
    (pd.Index, (["a"],)), (pd.Timestamp, ("2020-01-01",)), (PIL.Image.Image, ()),
]  # fmt: skip
for _base, _arguments in _DERIVED:
    CASES[f"derived from {_base.__name__}"] = functools.partial(hostile(_base), *_arguments)


def instance(members: dict[str, Any]) -> Any:
    """Return an object of a class with these members."""
    return type("Made", (), members)()


def changed(value: Any, **fields: Any) -> Any:
    """Return an object with fields set past its own guard."""
    for name, held in fields.items():
        object.__setattr__(value, name, held)
    return value


def index_of(*values: Any) -> pd.Index:
    held = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        held[place] = value
    return pd.Index(held, dtype=object)


def zoned() -> pd.DatetimeIndex:
    return pd.DatetimeIndex(["2020-01-01"]).tz_localize(ZONE)


CASES |= {
    "a time zone": lambda: ZONE,
    "datetime with a zone": lambda: dt.datetime(2020, 1, 1, tzinfo=ZONE),
    "time with a zone": lambda: dt.time(1, tzinfo=ZONE),
    "timestamp with a zone": lambda: pd.Timestamp(2020, 1, 1, tzinfo=ZONE),
    "interval of timestamps with a zone": lambda: pd.Interval(
        pd.Timestamp(2020, 1, 1, tz=ZONE), pd.Timestamp(2021, 1, 1, tz=ZONE)
    ),
    "series with a zone": lambda: pd.Series(zoned()),
    "frame with a zone": lambda: pd.DataFrame({"a": zoned()}, index=zoned()),
    "index with a zone": zoned,
    "UUID of a number": lambda: changed(uuid.UUID(int=5), int=hostile(int)(5)),
    "path of a text": lambda: changed(pathlib.PurePosixPath("/a"), _str=text("x")),
    "fraction of a number": lambda: changed(fractions.Fraction(1, 2), _numerator=hostile(int)(1)),
    "range of a number": lambda: range(hostile(int)(3)),
    "slice": lambda: slice(thing(), thing()),
    "list": lambda: [thing(), text("a")],
    "tuple": lambda: (thing(), text("a")),
    "set": lambda: {thing(), text("a")},
    "frozenset": lambda: frozenset({thing()}),
    "dict values": lambda: {"a": thing(), "b": hostile(dict)({"a": 1})},
    "dict keys": lambda: {thing(): 1, text("api_key"): "x", (text("a"), thing()): 1},
    "colliding keys": lambda: {Colliding("a"): 1, Colliding("password"): 2},
    "nested": lambda: {"a": [{"b": [thing()] * 3}] * 3},
    "namedtuple": lambda: Pair(thing(), text("b")),
    "enum": lambda: Colour.__members__["RED"],
    "enum class": lambda: Colour,
    "dataclass": lambda: Record(thing(), thing()),
    "simple namespace": lambda: types.SimpleNamespace(a=thing()),
    "mapping proxy": lambda: types.MappingProxyType(hostile(dict)({"a": 1})),
    "generic alias": lambda: types.GenericAlias(list, (thing(),)),
    "typing alias": lambda: typing.List[hostile()],  # noqa: UP006 -- another class than list[...]
    "partial": lambda: functools.partial(print, thing()),
    "bound method": lambda: types.MethodType(print, thing()),
    "cell of a closure": lambda: types.CellType(thing()),
    "weak reference": lambda: weakref.ref(Zone, hook("weakref")),
    "exception": lambda: changed(type("OwnError", (Exception,), {})(thing()), note=thing()),
    "structured titles": lambda: np.zeros(1, dtype=[((text("title"), "a"), "f8")]),
    "structured names": lambda: np.zeros(1, dtype=[(text("a"), "f8")]),
    "structured dtype": lambda: np.dtype([((text("title"), "a"), "f8")]),
    "nested structured": lambda: np.zeros(1, dtype=[("a", [((text("t"), "b"), "f8")], (2,))]),
    "entries of a class of one's own": lambda: np.zeros(2, dtype=_dtype_with_entries()),
    "an entry of a class of one's own": lambda: np.zeros(2, dtype=_dtype_with_entries())[0],
    "a part of a class of one's own": lambda: np.zeros(2, dtype=[("a", _dtype_with_entries())]),
    "metadata of a dtype": lambda: np.zeros(1, dtype=np.dtype("f8", metadata={text("a"): thing()})),
    "objects in an array": lambda: np.array([entry(), None], dtype=object),
    "array of strings with a missing value": lambda: np.array(["a"], dtype=np.dtypes.StringDType(na_object=thing())),
    "masked array": lambda: np.ma.MaskedArray(np.array([entry(), None], dtype=object), mask=[0, 1]),
    "index of a class": lambda: changed_index(pd.DataFrame({"a": [1]}), "index"),
    "columns of a class": lambda: changed_index(pd.DataFrame({"a": [1]}), "columns"),
    "index of a series": lambda: changed_index(pd.Series([1]), "index"),
    "labels": lambda: pd.DataFrame([[1]], columns=index_of(entry()), index=index_of(text("password"))),
    "names of indexes": lambda: changed(pd.Index(["a"]), _name=thing()),
    "name of a series": lambda: pd.Series([1], name=text("password")),
    "attrs of a frame": lambda: with_attrs(pd.DataFrame({"a": [1]})),
    "attrs of a series": lambda: with_attrs(pd.Series([1])),
    "objects in a frame": lambda: pd.DataFrame({"a": index_of(entry()), "b": index_of(text("x"))}),
    "categories": lambda: pd.Series(pd.Categorical.from_codes([0], categories=index_of(entry()))),
    "index of categories": lambda: pd.CategoricalIndex(pd.Categorical.from_codes([0], categories=index_of(text("q")))),
    "dtype of categories": lambda: pd.CategoricalDtype(index_of(entry())),
    "levels": lambda: pd.DataFrame([[1]], index=pd.MultiIndex(levels=[index_of(entry()), [1]], codes=[[0], [0]])),
    "fill value": lambda: pd.Series(
        changed(pd.arrays.SparseArray([1.0]), _dtype=changed(pd.SparseDtype("f8"), _fill_value=thing()))
    ),
    "extension array": HostileArray,
    "extension dtype": HostileDtype,
    "series of an extension array": lambda: pd.Series(HostileArray()),
    "frame of an extension array": lambda: pd.DataFrame({"a": HostileArray(), "b": [1, 2]}, copy=False),
    "size of an image": lambda: changed(PIL.Image.new("RGB", (2, 2)), _size=hostile(tuple)((2, 2))),
    "parts of an image": lambda: changed(PIL.Image.new("RGB", (2, 2)), _size=(hostile(int)(2), 2), _mode=text("RGB")),
    "figure": lambda: changed(matplotlib.figure.Figure(), _label=thing()),
    "class with a metaclass": lambda: OfMeta,
    "instance of a metaclass's class": lambda: object.__new__(OfMeta),
    "method in C of such a list": lambda: list.__dict__["append"].__get__(list.__new__(ListOfMeta)),
    "several of a metaclass": lambda: [OfMeta, object.__new__(OfMeta), list.__new__(ListOfMeta)],
    "__dict__ as a property": lambda: instance({"__dict__": property(hook("__dict__"))}),
    "__dict__ as a descriptor": lambda: instance({"__dict__": instance({"__get__": hook("__get__")})}),
    "__dict__ of a class": lambda: changed(type("A", (), {})(), __dict__=hostile(dict)({"q": 1})),
    "colliding names in a class": lambda: instance({Colliding(name): 1 for name in _COLLIDING}),
    "names of a class": lambda: instance({"__module__": text("__main__"), "__qualname__": text("Q")}),
    "class with such names": lambda: type("C", (), {"__module__": text("__main__"), "__qualname__": text("Q")}),
    "members of a class": lambda: type(
        "C", (), {"__module__": "__main__", "a": entry(), "p": property(entry()), text("k"): 1}
    ),
    "slots": lambda: changed(type("S", (), {"__slots__": ("a",), "__module__": "__main__"})(), a=thing()),
}  # fmt: skip


def changed_index(value: Any, axis: str) -> Any:
    setattr(value, axis, hostile(pd.Index)(["a"]))
    return value


def with_attrs(value: Any) -> Any:
    value.attrs["x"] = thing()
    return value


def function(**attributes: Any) -> types.FunctionType:
    """Return a function with attributes of its own."""
    held = thing()

    def made(a: object = 1, *, b: object = 2) -> object:
        """Do something."""
        return a, b, held

    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def from_file(path: str) -> types.FunctionType:
    made = function()
    made.__code__ = made.__code__.replace(co_filename=path, co_firstlineno=1)
    return made


CASES |= {
    "names of a function": lambda: function(__name__=text("n"), __qualname__=text("n"), __module__=text("__main__")),
    "docstring of a function": lambda: function(__doc__=text("doc"), __module__=thing()),
    "defaults of a function": lambda: function(
        __defaults__=hostile(tuple)((thing(),)), __kwdefaults__=hostile(dict)({"b": thing()}), __module__="__main__"
    ),
    "what a function wraps": lambda: function(
        __wrapped__=thing(), __signature__=thing(), __text_signature__=thing(), __annotations__={"a": thing()}
    ),
    "a function that wraps another without end": lambda: _wraps_itself(function()),
    "colliding attributes of a function": lambda: changed_dict(function(), {Colliding("__wrapped__"): thing()}),
    "a closure": lambda: function(__module__="__main__"),
    "a function from a file": lambda: from_file("/etc/passwd"),
    "name of a module": lambda: changed_dict(types.ModuleType("m"), {"__name__": text("n")}),
    "a module without a name": lambda: changed_dict(
        types.ModuleType("m"), {"__getattr__": hook("__getattr__")}, "__name__"
    ),
}  # fmt: skip


def _wraps_itself(made: types.FunctionType) -> types.FunctionType:
    made.__dict__["__wrapped__"] = made
    return made


def changed_dict(value: Any, held: dict[Any, Any], *gone: str) -> Any:
    value.__dict__.update(held)
    for name in gone:
        del value.__dict__[name]
    return value


def claims(module: str, name: str, *, spec: bool = False) -> Any:
    """Return an object of a class that claims to come from a library, in a module that claims to be it."""
    made = types.ModuleType(module)
    kind = hostile(
        shape=property(hook("shape")), dtype=property(hook("dtype")), __module__=module, __qualname__=name
    )
    made.__dict__[name] = kind
    made.__spec__ = importlib.machinery.ModuleSpec(module, None) if spec else None
    sys.modules[f"{module}.claimed"] = made
    kind.__module__ = f"{module}.claimed"
    return kind()


def claims_pandas() -> Any:
    pd.Claimed = kind = hostile(ExtensionDtype, __module__="pandas", __qualname__="Claimed")
    return [kind(), pd.DataFrame({"a": HostileArray()}, copy=False)]


CASES |= {
    "a class that claims to be of torch": lambda: claims("torch", "Tensor"),
    "a class that claims to be of jax": lambda: claims("jax", "Array", spec=True),
    "a class put into pandas": claims_pandas,
}


class DerivedZone(zoneinfo.ZoneInfo):
    utcoffset = hook("DerivedZone.utcoffset", lambda *_: dt.timedelta(0))
    tzname = dst = hook("DerivedZone.dst", lambda *_: None)
    __str__ = hook("DerivedZone.__str__", lambda _: "zone")


def record_array() -> Any:
    made = np.zeros(1, dtype=[("a", object)])
    made["a"] = entry()
    return made.view(np.recarray)


class HostileABCMeta(abc.ABCMeta):
    __instancecheck__ = hook("ABCMeta.__instancecheck__")
    __subclasscheck__ = hook("ABCMeta.__subclasscheck__")
    __hash__ = hook("ABCMeta.__hash__", type.__hash__)
    __eq__ = hook("ABCMeta.__eq__", type.__eq__)


CASES |= {
    "datetime with a derived zone": lambda: dt.datetime(2020, 1, 1, tzinfo=DerivedZone("UTC")),
    "frame with a derived zone": lambda: pd.DataFrame(
        {"a": pd.to_datetime(["2020"]).tz_localize(DerivedZone("UTC"))}
    ),
    "data of an index": lambda: changed(pd.Index(["a"]), _data=thing()),
    "range of an index": lambda: changed(pd.RangeIndex(3), _range=thing()),
    "cache of an index": lambda: changed(pd.Index(["a"]), _cache=hostile(dict)()),
    "names of levels": lambda: changed(
        pd.MultiIndex.from_tuples([(1, 2)]), _names=[thing(), text("password")]
    ),
    "flags of a frame": lambda: changed(pd.DataFrame({"a": [1]}), _flags=thing()),
    "categories with a zone": lambda: pd.DataFrame({"a": pd.Categorical.from_codes([0], categories=zoned())}),
    "intervals with a zone": lambda: pd.IntervalIndex.from_breaks(zoned().append(zoned())),
    "style of a frame": lambda: pd.DataFrame({"a": [1]}).style.format(hook("format")),
    "record array": record_array,
    "record": lambda: record_array()[0],
    "entry with a title": lambda: np.zeros(1, dtype=[((text("t"), "a"), "f8")])[0],
    "fill value of a masked array": lambda: changed(np.ma.masked_array([1, 2]), _fill_value=thing()),
    "module of a derived class": lambda: hostile(types.ModuleType)("m"),
    "class of an abstract metaclass": lambda: HostileABCMeta("A", (), {}),
    "instance of an abstract class": lambda: object.__new__(
        HostileABCMeta("A", (), {"__module__": "__main__"})
    ),
    "cached property": lambda: instance(
        {"x": functools.cached_property(hook("x")), "__module__": "__main__"}
    ),
    "cached function": lambda: functools.lru_cache(hook("cached")),
    "generator": lambda: (thing() for _ in range(2)),
    "notes of an exception": lambda: ExceptionGroup(
        "x", [changed(ValueError("a"), __notes__=hostile(list)())]
    ),
    "slot for attributes": lambda: instance({"__slots__": ("__dict__", "x")}),
    "a container in itself": lambda: itself([thing()]),
}


def itself(held: list[Any]) -> list[Any]:
    held.append(held)
    return held


if importlib.util.find_spec("wrapt"):
    import wrapt

    CASES |= {
        "lazy proxy in C": lambda: wrapt.LazyObjectProxy(hook("factory")),
        "derived lazy proxy": lambda: type("P", (wrapt.LazyObjectProxy,), {"__module__": "__main__"})(
            hook("factory")
        ),
        "mixed lazy proxy": lambda: type(
            "P", (type("M", (), {}), wrapt.LazyObjectProxy), {"__module__": "__main__"}
        )(hook("factory")),
        "proxy in C": lambda: wrapt.ObjectProxy(thing()),
    }

if importlib.util.find_spec("polars"):
    import polars as pl

    CASES |= {
        "objects in polars": lambda: pl.DataFrame({"a": pl.Series([entry()], dtype=pl.Object)}),
        "lazy frame": lambda: pl.DataFrame({"a": [1]}).lazy().map_batches(hook("map_batches")),
    }

if importlib.util.find_spec("pyarrow"):
    import pyarrow as pa

    def arrow_type() -> Any:
        """Return a type of a new class: while one exists, nothing of Arrow is looked into."""

        class ArrowType(pa.ExtensionType):
            def __init__(self) -> None:
                super().__init__(pa.int64(), "hostile")

            __arrow_ext_serialize__ = hook("serialize", lambda _: b"")
            __arrow_ext_deserialize__ = classmethod(hook("deserialize", lambda kind, *_: kind()))
            __getattribute__ = hook("arrow.__getattribute__", object.__getattribute__)

        return ArrowType()

    def extended() -> Any:
        return pa.ExtensionArray.from_storage(arrow_type(), pa.array([1, 2]))

    CASES |= {
        "extension type": lambda: pa.table({"a": extended(), "b": [1, 2]}),
        "nested extension type": lambda: pa.table({"a": pa.StructArray.from_arrays([extended()], names=["q"])}),
        "extension type in pandas": lambda: pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([extended()]))),
    }  # fmt: skip


class Level(enum.IntEnum):
    LOW = 1


@dataclasses.dataclass(slots=True)
class Slotted:
    a: object
    password: object = None


def figure(**fields: Any) -> Any:
    """Return a figure of matplotlib with one plot, whose axes hold these fields as well."""
    made = matplotlib.figure.Figure()
    axes = made.subplots()
    axes.plot([1, 2], [3, 4], label="a")
    changed(axes, **fields)
    return made


CASES |= {
    "Counter": lambda: collections.Counter({thing(): 1, text("password"): thing()}),
    "Counter of numbers": lambda: collections.Counter({"a": hostile(int)(3), "b": 1}),
    "OrderedDict": lambda: collections.OrderedDict({Colliding("a"): thing(), Colliding("password"): 2}),
    "defaultdict": lambda: collections.defaultdict(hook("factory"), {"a": thing(), text("b"): 1}),
    "deque": lambda: collections.deque([thing(), text("a")], maxlen=3),
    "ChainMap": lambda: collections.ChainMap(hostile(dict)({"a": 1}), {"b": thing()}),
    "maps of a ChainMap": lambda: changed(collections.ChainMap(), maps=hostile(list)([{"a": 1}])),
    "data of a UserDict": lambda: changed(collections.UserDict(), data=hostile(dict)({"a": 1})),
    "data of a UserList": lambda: changed(collections.UserList(), data=[thing()]),
    "mapping proxy of a dict": lambda: types.MappingProxyType({thing(): thing()}),
    "views of a dict": lambda: [
        {thing(): 1}.keys(),
        {"a": thing()}.values(),
        {text("password"): thing()}.items(),
    ],
    "views of a derived dict": lambda: [
        dict.keys(hostile(dict)({"a": 1})),
        dict.values(hostile(dict)({"a": 1})),
    ],
    "partial with names": lambda: functools.partial(thing(), thing(), password=thing(), a=text("b")),
    "arguments of an exception": lambda: [
        ValueError(thing()),
        type("E", (KeyError,), {})(text("x"), thing()),
    ],
    "pattern of a text": lambda: re.compile(text("a+")),
    "match in a text": lambda: re.match("a", text("ab")),
    "slotted dataclass": lambda: Slotted(thing(), text("x")),
    "list of dataclasses": lambda: [Slotted(thing()), Record(text("x")), Pair(thing(), 1)],
    "fields of a dataclass": lambda: instance(
        {"__dataclass_fields__": hostile(dict)({"a": 1}), "a": thing()}
    ),
    "fields of a namedtuple": lambda: type("P", (tuple,), {"_fields": (text("a"), text("b"))})((1, 2)),
    "member of a plain enumeration": lambda: changed(
        enum.Enum("E", "A B").A, _value_=thing(), _name_=text("A")
    ),
    "members of an enumeration": lambda: enum.Enum("E", {"A": thing(), "PASSWORD": text("x")}),
    "member of numbers": lambda: Level.LOW,
    "address": lambda: changed(ipaddress.IPv4Address("10.0.0.1"), _ip=hostile(int)(7)),
    "keys of a group": lambda: pd.DataFrame({"a": [1]}).groupby(hook("key", lambda _: 1)),
    "by what is grouped": lambda: changed(pd.DataFrame({"a": [1]}).groupby("a"), keys=thing()),
    "window": lambda: changed(pd.Series([1, 2]).rolling(2), window=thing(), obj=hostile(pd.Series)([1])),
    "data of a style": lambda: changed(pd.DataFrame({"a": [1]}).style, data=thing()),
    "array of categories": lambda: pd.Categorical.from_codes([0], categories=index_of(entry())),
    "a small array of objects": lambda: [
        np.array([entry()], dtype=object),
        np.array([text("a")], dtype=object),
    ],
    "arrays in a container": lambda: {
        "a": HostileArray(),
        "b": pd.Series(HostileArray()),
        "c": hostile(np.ndarray)((2,)),
    },
    "mask of an array": lambda: changed(np.ma.masked_array([1, 2]), _mask=thing()),
    "title of a figure": lambda: changed(figure(), _suptitle=thing()),
    "text of a title": lambda: changed(figure(), _suptitle=changed(matplotlib.text.Text(), _text=text("x"))),
    "axes of a figure": lambda: changed(figure(), _localaxes=[thing(), hostile(matplotlib.artist.Artist)()]),
    "title of axes": lambda: figure(title=thing(), xaxis=thing()),
    "what is drawn": lambda: figure(
        _children=[thing(), changed(matplotlib.lines.Line2D([1], [2]), _label=text("x"), _xorig=thing())]
    ),
    "containers of axes": lambda: figure(containers=hostile(list)([1])),
}

if importlib.util.find_spec("sklearn"):
    from sklearn.base import BaseEstimator
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import Pipeline
    from sklearn.utils import Bunch

    CASES |= {
        "parameters of an estimator": lambda: LinearRegression(fit_intercept=thing(), copy_X=hostile(int)(1)),
        "fitted estimator": lambda: changed(
            LinearRegression(), coef_=thing(), n_features_in_=hostile(int)(2)
        ),
        "derived estimator": hostile(BaseEstimator),
        "steps": lambda: Pipeline([("a", thing()), (text("b"), hostile(LinearRegression)())]),
        "steps of a class": lambda: changed(Pipeline([]), steps=hostile(list)([("a", thing())])),
        "bunch": lambda: Bunch(a=thing(), password=text("x")),
    }

if importlib.util.find_spec("xarray"):
    import xarray as xr

    def dataset(**fields: Any) -> Any:
        made = xr.Dataset({"a": ("x", [1.0, 2.0], {"units": "K"})}, coords={"x": [1, 2]})
        changed(made._variables["a"], **fields)
        return made

    CASES |= {
        "units": lambda: dataset(_attrs={"units": text("K"), "password": thing()}),
        "attributes of a variable": lambda: dataset(_attrs=hostile(dict)({"units": "K"})),
        "data of a variable": lambda: dataset(_data=thing()),
        "dimensions of a variable": lambda: dataset(_dims=hostile(tuple)(("x",))),
        "attributes of a dataset": lambda: changed(dataset(), _attrs={thing(): thing()}),
        "variables of a dataset": lambda: changed(dataset(), _variables=hostile(dict)({"a": thing()})),
        "objects in a variable": lambda: xr.DataArray(np.array([entry()], dtype=object), name=text("n")),
        "derived dataset": hostile(xr.Dataset, __slots__=()),
        "data array": lambda: dataset(_attrs={"units": text("K")})["a"],
    }

if importlib.util.find_spec("dask"):
    import dask

    CASES |= {"delayed": lambda: dask.delayed(hook("delayed"))(thing())}
    if importlib.util.find_spec("pyarrow"):
        import dask.array
        import dask.dataframe

        CASES |= {
            "mapped partitions": lambda: dask.dataframe.from_pandas(
                pd.DataFrame({"a": [1]}), npartitions=1
            ).map_partitions(hook("partition", lambda frame: frame), meta={"a": "i8"}),
            "expression": lambda: changed(
                dask.dataframe.from_pandas(pd.DataFrame({"a": [1]}), npartitions=1), _expr=thing()
            ),
            "chunks": lambda: changed(
                dask.array.ones((2,)), _Array__chunks=((hostile(int)(2),),), _meta=thing()
            ),
            "mapped blocks": lambda: dask.array.ones((2,)).map_blocks(
                hook("block", lambda part: part), dtype="f8"
            ),
        }

if importlib.util.find_spec("plotly"):
    import plotly.graph_objects as go

    CASES |= {
        "traces": lambda: changed(
            go.Figure(), _data=[thing(), {"type": text("bar"), "x": thing(), "name": text("n")}]
        ),
        "layout": lambda: changed(
            go.Figure(), _layout={"title": {"text": text("x")}, "xaxis": hostile(dict)({"title": "x"})}
        ),
        "parts of a chart": lambda: changed(
            go.Figure(), _data=hostile(list)([1]), _layout=hostile(dict)({"title": "x"})
        ),
        "derived figure": hostile(go.Figure),
    }

if importlib.util.find_spec("altair"):
    import altair as alt

    CASES |= {
        "chart": lambda: alt.Chart(pd.DataFrame({"a": [1]})).mark_bar().encode(x=alt.X("a", title="t")),
        "parts of a vega chart": lambda: changed(
            alt.Chart(),
            _kwds={
                "title": text("x"),
                "mark": thing(),
                "encoding": hostile(dict)({"x": 1}),
                "layer": [thing()],
            },
        ),
        "data of a vega chart": lambda: changed(
            alt.Chart(), _kwds={"data": hostile(pd.DataFrame)({"a": [1]})}
        ),
        "derived vega chart": lambda: changed(type("C", (alt.Chart,), {})(), _kwds=hostile(dict)({})),
    }

if importlib.util.find_spec("duckdb"):
    import duckdb

    counted = hook("function of SQL", lambda number: number)

    def function_of_sql(number: int) -> int:
        result: int = counted(number)
        return result

    CASES |= {
        "relation": lambda: (
            duckdb.connect()
            .create_function("f", function_of_sql, ["BIGINT"], "BIGINT")
            .sql("select f(1) as a")
        )
    }

if importlib.util.find_spec("geopandas"):
    import geopandas
    import shapely

    def places(**fields: Any) -> Any:
        made = geopandas.GeoDataFrame({"a": [1]}, geometry=[shapely.Point(1, 2)], crs=4326)
        changed(made._mgr.blocks[1].values, **fields)
        return made

    CASES |= {
        "places": places,
        "coordinate system": lambda: places(_crs=thing()),
        "name of a coordinate system": lambda: places(_crs=changed(places().crs, srs=text("EPSG:4326"))),
        "shapes": lambda: places(_data=thing()),
        "objects among shapes": lambda: places(_data=np.array([entry()], dtype=object)),
    }

if importlib.util.find_spec("polars"):
    CASES |= {
        "functions in a lazy frame": lambda: (
            pl.DataFrame({"a": [1]})
            .lazy()
            .with_columns(pl.col("a").map_elements(hook("element", lambda n: n)).alias("b"))
        ),
    }

if importlib.util.find_spec("pyarrow"):
    CASES |= {
        "extended array": extended,
        "extended scalar": lambda: extended()[0],
        "extended list": lambda: pa.ListArray.from_arrays([0, 2], extended()),
        "extended schema": lambda: pa.schema([("a", arrow_type()), ("b", pa.list_(arrow_type()))]),
        "extended type": lambda: [pa.list_(arrow_type()), pa.field("a", arrow_type())],
        "extended chunks": lambda: pa.chunked_array([extended()]),
    }
