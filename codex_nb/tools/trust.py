"""Which objects may be asked about themselves: only those whose class is, provably, a well-known library's own.

Asking any other object for anything (its ``repr``, a property, even ``__class__``) may run code that sleeps, fetches or
changes things. So types are read with the interpreter's own means, and nothing of an unknown type is called.
"""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    }
)

# A metaclass may define properties under these names; the interpreter's own descriptors pass it by.
_DICT = type.__dict__["__dict__"]
_MODULE = type.__dict__["__module__"]
_MRO = type.__dict__["__mro__"]
_QUALIFIED_NAME = type.__dict__["__qualname__"]


def module_of(kind: type) -> str:
    """Return the name of a class's module, whatever its metaclass would say."""
    module = _MODULE.__get__(kind)
    return module if type(module) is str else ""


def qualified_name(kind: type) -> str:
    """Return a class's name within its module."""
    name: str = _QUALIFIED_NAME.__get__(kind)
    return name


def class_vars(kind: type) -> Mapping[str, Any]:
    """Return what a class itself defines."""
    defined: Mapping[str, Any] = _DICT.__get__(kind)
    return defined


def name_of(kind: type) -> str:
    """Return a class's name as its users write it: ``pandas.DataFrame``, ``int``, ``Model``."""
    qualified = qualified_name(kind)
    module = module_of(kind)
    if module in {"builtins", "__main__", ""}:
        return qualified
    root = module.partition(".")[0]
    public = vars_of(sys.modules.get(root)).get(qualified)
    return f"{root if public is kind else module}.{qualified}"


def vars_of(module: types.ModuleType | None) -> dict[str, Any]:
    """Return what a module holds, without triggering its lazy attributes."""
    return module.__dict__ if type(module) is types.ModuleType else {}


def mro_of(kind: type) -> tuple[type, ...]:
    """Return a class's bases in their order, itself first."""
    bases: tuple[type, ...] = _MRO.__get__(kind)
    return bases


def library_of(value: object) -> str | None:
    """Return the well-known library that made this very class, None for every other class.

    The class must be found in the library's own module under its own name: a class that merely claims to come from
    there is not believed.
    """
    kind = type(value)
    module = module_of(kind)
    root = module.partition(".")[0]
    if root not in LIBRARIES:
        return None
    held: Any = sys.modules.get(module)
    for step in qualified_name(kind).split("."):
        if type(held) is types.ModuleType:
            held = held.__dict__.get(step)
        else:
            held = class_vars(held).get(step) if type(held) is type else None
    return root if held is kind else None


def known_base(value: object) -> type | None:
    """Return the nearest base class that a well-known library made, for a class that a user derived from it."""
    for base in mro_of(type(value))[1:]:
        if module_of(base).partition(".")[0] in LIBRARIES:
            return base
    return None


def instance_vars(value: object) -> dict[str, Any]:
    """Return an object's own attributes without asking the object; empty where they cannot be had that way."""
    for base in mro_of(type(value)):
        descriptor = class_vars(base).get("__dict__")
        if descriptor is not None:
            found = descriptor.__get__(value) if type(descriptor) is types.GetSetDescriptorType else None
            return found if type(found) is dict else {}
    return {}
