"""Classes and objects read without running code of theirs.

Attribute access, ``isinstance``, ``str`` and even a lookup in a dictionary can call what a class defines. Only the
interpreter's own descriptors are called here, names are compared once they are known to be exact strings, and what an
object refers to is taken from the garbage collector.
"""

from __future__ import annotations

import importlib.machinery
import itertools
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


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
        "sklearn",
        "dask",
        "duckdb",
        "shapely",
        "pyproj",
        "matplotlib",
        "plotly",
        "altair",
        "ipaddress",
    }
)
_SNAPSHOT_ATTEMPTS = 1_000

# A metaclass may define properties under these names; the interpreter's own descriptors pass it by.
_DICT = type.__dict__["__dict__"]
_FLAGS = type.__dict__["__flags__"]
_HEAP_TYPE = 1 << 9
_MODULE = type.__dict__["__module__"]
_MRO = type.__dict__["__mro__"]
_QUALIFIED_NAME = type.__dict__["__qualname__"]
_ATTRIBUTES_OF_NAMESPACES = vars(types.SimpleNamespace)["__dict__"]
_ATTRIBUTES_OF_EXCEPTIONS = BaseException.__dict__["__dict__"]
_ATTRIBUTES_OF_FUNCTIONS = types.FunctionType.__dict__["__dict__"]
_ATTRIBUTES_DOC = type("Plain", (), {}).__dict__["__dict__"].__doc__


def exact_text(value: object) -> str:
    """Return a string, also one of a derived class, as an exact ``str``; empty for everything else."""
    return str.__str__(value) if issubclass(type(value), str) else ""


def snapshot(namespace: object) -> dict[str, Any]:
    """Return what a namespace holds at one moment, although threads change it; without names that are not strings.

    A namespace that is not a dictionary is empty: reading it would run its code.
    """
    if not issubclass(type(namespace), dict):
        return {}
    for attempt in range(_SNAPSHOT_ATTEMPTS):
        try:
            items: list[tuple[Any, Any]] = list(dict.items(namespace))  # type: ignore[arg-type]  # as just checked
            break
        except RuntimeError:  # it has grown meanwhile
            if attempt == _SNAPSHOT_ATTEMPTS - 1:
                raise
    return {name: value for name, value in items if type(name) is str}


def find(held: Mapping[str, Any], name: str) -> Any:
    """Return what stands under a name, None without it; a lookup would ask other keys whether they are equal."""
    for key, value in held.items():
        if key is name or (type(key) is str and key == name):
            return value
    return None


def is_one_of(kind: type, kinds: Iterable[type]) -> bool:
    """Whether a class is one of several; comparing with ``==`` could run code of its metaclass."""
    return id(kind) in map(id, kinds)


def module_of(kind: type) -> str:
    """Return the name of a class's module, whatever its metaclass would say."""
    is_from_python = (
        _FLAGS.__get__(kind) & _HEAP_TYPE
    )  # then the interpreter would look it up in the class as well
    return exact_text(find(class_vars(kind), "__module__") if is_from_python else _MODULE.__get__(kind))


def qualified_name(kind: type) -> str:
    """Return a class's name within its module."""
    return exact_text(_QUALIFIED_NAME.__get__(kind))


def class_vars(kind: type) -> Mapping[str, Any]:
    """Return what a class itself defines."""
    defined: Mapping[str, Any] = _DICT.__get__(kind)
    return defined


def notebook_vars(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield what a class of the notebook itself defines, without special names; nothing of any other class."""
    if module_of(kind) == "__main__":
        for name, value in class_vars(kind).items():
            if not exact_text(name).startswith("__"):
                yield name, value


def mro_of(kind: type) -> tuple[type, ...]:
    """Return a class's bases in their order, itself first."""
    bases: tuple[type, ...] = _MRO.__get__(kind)
    return bases


def _definitions(kind: type, name: str) -> list[Any]:
    """Return what a class and its bases define under a name, the nearest first."""
    # The names of a library's classes, and of those that are written in C, are ordinary strings.
    is_from_library = library_of_class(kind) is not None
    return [
        found
        for base in mro_of(kind)
        if (
            found := class_vars(base).get(name)
            if is_from_library or not _FLAGS.__get__(base) & _HEAP_TYPE
            else find(class_vars(base), name)
        )
        is not None
    ]


def class_attribute(kind: type, name: str) -> Any:
    """Return what a class or the nearest of its bases defines under a name, None where none does."""
    return next(iter(_definitions(kind, name)), None)


def defines(kind: type, name: str) -> bool:
    """Whether a class or one of its bases defines an attribute, whatever its metaclass would say."""
    return class_attribute(kind, name) is not None


def name_of(kind: type) -> str:
    """Return a class's name as its users write it: ``pandas.DataFrame``, ``int``, ``Model``."""
    qualified, module = qualified_name(kind), module_of(kind)
    if module in {"builtins", "__main__", ""}:
        return qualified
    packages = itertools.accumulate(module.split("."), "{}.{}".format)
    public = (name for name in packages if find(vars_of(_imported(name)), qualified) is kind)
    package, _, last = next(public, module).rpartition(".")
    return (
        f"{package}.{qualified}"
        if package and last[:1] == "_"
        else ".".join(filter(None, (package, last, qualified)))
    )


def vars_of(module: object) -> dict[str, Any]:
    """Return what a module holds, without triggering its lazy attributes; empty for everything else."""
    return module.__dict__ if type(module) is types.ModuleType else {}


def module_name(module: types.ModuleType) -> str:
    """Return a module's name."""
    return exact_text(find(vars_of(module), "__name__"))


def _imported(name: str) -> Any:
    return sys.modules.get(name) if type(sys.modules) is dict else None


def library_of(value: object) -> str | None:
    """Return the well-known library that made this very class, None for every other class.

    The class must be found in the library's own module under its own name, the module must have been imported from a
    file, and the methods must be written there: a class that merely claims to come from there is not believed.
    """
    return library_of_class(type(value))


def library_of_class(kind: type) -> str | None:
    """Return the well-known library that made a class, None for every other class."""
    if id(kind) in _of_libraries:
        return _of_libraries[id(kind)][0]
    module = module_of(kind)
    root = module.partition(".")[0]
    if root not in LIBRARIES:
        return None
    held = _imported(module)
    if type(find(vars_of(held), "__spec__")) is not importlib.machinery.ModuleSpec:
        return None
    for step in qualified_name(kind).split("."):
        parts = (
            vars_of(held)
            if type(held) is types.ModuleType
            else class_vars(held)
            if type(held) is type
            else {}
        )
        held = find(parts, step)
    if held is not kind or not all(map(is_of_library, class_vars(kind).values())):
        return None
    _of_libraries[id(kind)] = (root, kind)
    return root


# By their ids, with what keeps these: hashing a class could run code.
_of_libraries: dict[int, tuple[str, type]] = {}


def has_own_arrow_types() -> bool:
    """Whether a class of the user's extends a type of Arrow: some objects make their type anew at each look."""
    waiting = [find(vars_of(_imported("pyarrow.lib")), "ExtensionType")]
    while waiting:
        derived = type.__subclasses__(waiting.pop())
        if not all(map(library_of_class, derived)):
            return True
        waiting += derived
    return False


def is_extended(schema: Any) -> bool:
    """Whether a class extends a type of an Arrow schema: each look at it makes it anew."""
    return b"ARROW:extension:name" in schema.serialize().to_pybytes()


def polars_frame(value: Any) -> Any:
    """Return a frame or a series of polars as the frame that Rust knows; raises TypeError or KeyError for others."""
    if qualified_name(type(value)) == "Series":
        to_frame = class_attribute(type(value), "to_frame")
        if type(to_frame) is not types.FunctionType or not is_of_library(to_frame):
            raise TypeError("to_frame is not a method of polars")
        value = to_frame(value)
    return instance_vars(value)["_df"]


def is_of_library(member: Any) -> bool:
    """Whether a member of a class is no function, or one that is written in an installed library."""
    if type(member) is property:
        member = member.fget
    if type(member) is not types.FunctionType:
        return True
    root = exact_text(find(member.__globals__, "__name__")).partition(".")[0]
    return root in LIBRARIES or root in sys.stdlib_module_names or root == "typing_extensions"


def is_ndarray(value: object) -> bool:
    """Whether a value is an array of numpy's own class."""
    return library_of(value) == "numpy" and qualified_name(type(value)) == "ndarray"


def library_base(value: object) -> type | None:
    """Return the nearest base class that a well-known library made, for a class that a user derived from it."""
    for base in mro_of(type(value))[1:]:
        if module_of(base).partition(".")[0] in LIBRARIES:
            return base
    return None


def instance_vars(value: object) -> dict[str, Any]:
    """Return an object's own attributes without asking the object; empty where they cannot be had that way."""
    descriptors = _definitions(type(value), "__dict__")
    if not descriptors or not all(map(_is_interpreters, descriptors)):
        return {}
    found = descriptors[0].__get__(value)
    return snapshot(found) if type(found) is dict else {}


def slots_of(value: object) -> dict[str, Any]:
    """Return what the slots of an object hold, those of its nearest class first."""
    held: dict[str, Any] = {}
    for kind in mro_of(type(value)):
        for name, descriptor in class_vars(kind).items():
            if type(name) is str and type(descriptor) is types.MemberDescriptorType and name not in held:
                try:
                    held[name] = descriptor.__get__(value)
                except AttributeError:  # nothing is in it
                    continue
    return held


def _is_interpreters(descriptor: Any) -> bool:
    """Whether a ``__dict__`` is the interpreter's own: extension modules make descriptors that run anything."""
    if type(descriptor) is not types.GetSetDescriptorType:
        return descriptor is _ATTRIBUTES_OF_NAMESPACES
    known = (_ATTRIBUTES_OF_EXCEPTIONS, _ATTRIBUTES_OF_FUNCTIONS)
    return descriptor.__doc__ == _ATTRIBUTES_DOC or any(descriptor is each for each in known)


def field(value: object, name: str) -> Any:
    """Return a field of a library's object: its own attribute, a slot, or what its C code keeps; None without it."""
    held = instance_vars(value)
    if name in held:
        return held[name]
    descriptor = class_attribute(type(value), name)
    is_native = is_one_of(type(descriptor), (types.MemberDescriptorType, types.GetSetDescriptorType))
    return descriptor.__get__(value) if is_native else None


def native(value: object, name: str) -> Callable[..., Any]:
    """Return a method of an object that is written in C or Rust; raises TypeError for any other."""
    method = class_attribute(type(value), name)
    if type(method) is not types.MethodDescriptorType:
        raise TypeError(f"{name} is not a native method")
    bound: Callable[..., Any] = method.__get__(value)
    return bound


_SHELL_NAMES = frozenset({"In", "Out", "exit", "quit", "open", "get_ipython", "codex_nb"})


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
    modules = []
    for name, value in snapshot(namespace).items():
        if type(value) is types.ModuleType and not name.startswith("_"):
            real = module_name(value)
            modules.append(name if real == name else f"{real} as {name}")
    return ", ".join(sorted(modules))
