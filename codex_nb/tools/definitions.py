"""Functions and classes: a text that changes when their code does, made without running any of it.

What a notebook's own code holds as data (a default, a closure, an attribute of a class) is part of the text; where such
data cannot be told whole, nothing tells one state of the object from another.
"""

from __future__ import annotations

import hashlib
import types
import typing
from typing import TYPE_CHECKING, Any

from codex_nb.tools.trust import class_vars, module_of, name_of
from codex_nb.tools.values import short_text

if TYPE_CHECKING:
    from collections.abc import Iterable

_NOTEBOOK = "__main__"
_SPECIAL_FORMS = (type(typing.Literal), type(typing.Optional))
_SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType)
_MADE_BY_ABC = "_abc_impl"
_CONSTANTS = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis))


def definition(value: object) -> str | None:
    """Return what tells a function or class from another of its name; None for all other values.

    Also None where a function or class of the notebook holds data that cannot be told whole. Code of an imported module
    counts by its name; of a function also by its own code.
    """
    kind = type(value)
    if kind is types.FunctionType:
        return _function(value)  # type: ignore[arg-type]  # a function, exactly
    if kind is types.BuiltinFunctionType:
        return f"builtin {short_text(value).text}"
    if _is_one_of(kind, _SPECIAL_FORMS):
        return repr(value)
    if issubclass(kind, type):
        return _class(value)  # type: ignore[arg-type]  # a class, as just checked
    return None


def _function(function: types.FunctionType) -> str | None:
    module: object = function.__module__
    code = f"{short_text(module).text} {_digest(function.__code__)}"
    if type(module) is str and module != _NOTEBOOK:
        return code
    try:
        closure = [cell.cell_contents for cell in function.__closure__ or ()]
    except ValueError:  # a name that its function has not bound yet
        return None
    defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    held = _texts((*defaults, *closure))
    return None if held is None else f"{code} {held}"


def _class(kind: type) -> str | None:
    if module_of(kind) != _NOTEBOOK:
        return f"class {name_of(kind)}"
    attributes: list[object] = []
    for name, value in class_vars(kind).items():
        if functions := _functions(value):
            attributes += [name, *functions]
        elif not (name.startswith("__") or name == _MADE_BY_ABC or _is_one_of(type(value), _SLOTS)):
            attributes += [name, value]
    held = _texts(attributes)
    return None if held is None else f"class {name_of(kind)} {held}"


def _functions(value: Any) -> list[types.FunctionType]:
    """Return the functions that an attribute of a class is made of."""
    kind = type(value)
    if kind is property:
        parts = [value.fget, value.fset, value.fdel]
    elif kind is classmethod or kind is staticmethod:
        parts = [value.__func__]
    else:
        parts = [value]
    return [part for part in parts if type(part) is types.FunctionType]


def _texts(values: Iterable[object]) -> str | None:
    """Return values as one text; None when one of them is neither told whole nor code."""
    texts = []
    for value in values:
        said = short_text(value)
        if type(value) is types.FunctionType:
            texts.append(_digest(value.__code__))
        elif said.whole or issubclass(type(value), type):
            texts.append(said.text)
        else:
            return None
    return "; ".join(texts)


def _digest(code: types.CodeType) -> str:
    constants = [_constant(each) for each in code.co_consts]
    parts = (code.co_code, code.co_names, code.co_varnames, code.co_flags, constants)
    return hashlib.sha256(repr(parts).encode("utf-8", "replace")).hexdigest()[:16]


def _constant(value: Any) -> str:
    kind = type(value)
    if kind is types.CodeType:
        return _digest(value)
    if _is_one_of(kind, _CONSTANTS):
        return repr(value)
    if kind is tuple or kind is frozenset:
        entries = map(_constant, value)
        return f"{name_of(kind)}({', '.join(entries if kind is tuple else sorted(entries))})"
    return name_of(kind)


def _is_one_of(kind: type, kinds: Iterable[type]) -> bool:
    return any(kind is each for each in kinds)  # comparing classes can run code of their metaclass
