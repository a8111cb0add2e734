"""Variables described without running the user's code, and the secrets that they hold."""

from __future__ import annotations

import enum
import types
from dataclasses import dataclass
from enum import Enum
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from codex_nb.tools.describe_data import FULL_VIEW, LINE_VIEW, NORMAL_VIEW, View, describe_data
from codex_nb.tools.introspection import (
    class_attribute,
    class_vars,
    defines,
    exact_text,
    field,
    find,
    instance_vars,
    is_ndarray,
    library_base,
    library_of,
    module_of,
    mro_of,
    name_of,
    qualified_name,
    slots_of,
    snapshot,
)
from codex_nb.tools.outputs import plotly_lines, vega_lines
from codex_nb.tools.safe_repr import (
    SHORT,
    SafeRepr,
    code_fingerprint,
    fields_text,
    is_plain,
    parts_of,
    safe_repr,
    safe_text,
    scalar_repr,
)
from codex_nb.tools.secrets import is_secret_name, is_withheld

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


WITHHELD = "(withheld: its name says that it is secret)"
_ATTRIBUTES = 8
_FULL_ATTRIBUTES = 40


class Detail(Enum):
    """How much of a variable is shown."""

    LINE = "line"
    NORMAL = "normal"
    FULL = "full"


@dataclass(frozen=True)
class _Limits:
    """What a level of detail allows: characters of a value, of an attribute, levels of nesting, bytes altogether."""

    text: int
    attribute: int
    depth: int
    room: int
    view: View


_LIMITS = {
    Detail.LINE: _Limits(SHORT, 40, 3, 400, LINE_VIEW),
    Detail.NORMAL: _Limits(3 * SHORT, 80, 3, 3_000, NORMAL_VIEW),
    Detail.FULL: _Limits(16_000, 2_000, 8, 64_000, FULL_VIEW),
}


@dataclass(frozen=True)
class Description:
    """The description of a variable.

    ``whole`` tells whether that is all of its value; for a function or class, whether ``code`` identifies its code.
    """

    text: str
    whole: bool = False
    code: str = ""


def describe(name: str, value: object, detail: Detail = Detail.NORMAL) -> Description:
    """Describe a variable without running code of its own; a value that cannot be read is described by its type."""
    code, is_secret = "", is_secret_name(name) and is_withheld(value)
    try:
        lines = _withheld(value) if is_secret else _lines(value, detail)
        code = "" if is_secret else code_fingerprint(value) or ""
        whole = bool(code) or (not is_secret and _shown(value, detail).whole)
    except Exception as error:  # noqa: BLE001 -- a broken object of a library is described as far as possible
        lines, whole = [f"{name_of(type(value))} (it cannot be read: {name_of(type(error))})"], False
    if detail is Detail.LINE:
        lines = lines[:1]
    return Description(
        "\n".join(_within(_LIMITS[detail].room, f"{name}: {lines[0]}", lines[1:])), whole, code
    )


def _shown(value: object, detail: Detail) -> SafeRepr:
    return safe_repr(value, _LIMITS[detail].text, _LIMITS[detail].depth)


def _within(room: int, first: str, lines: list[str]) -> Iterator[str]:
    """Yield the lines that fit into so many bytes, and how many are left out."""
    yield first
    room -= len(first.encode("utf-8", "replace"))
    for place, line in enumerate(lines):
        room -= len(line.encode("utf-8", "replace")) + 3
        if room < 0:
            yield f"  [{len(lines) - place:,} more lines left out]"
            return
        yield f"  {line}"


def _withheld(value: Any) -> list[str]:
    """Describe what has a secret name by its type and size, never by its contents."""
    kind = type(value)
    if kind is types.FunctionType or issubclass(kind, type):
        return _lines(value, Detail.LINE)
    data = describe_data(value, LINE_VIEW)
    if data is not None:
        return [f"{data[0]} {WITHHELD}"]
    parts = parts_of(value)
    size = f" of {parts.count:,}" if parts is not None and not parts.is_record else ""
    return [f"{name_of(kind)}{size} {WITHHELD}"]


def _lines(value: Any, detail: Detail) -> list[str]:
    limits, kind = _LIMITS[detail], type(value)
    if is_plain(value):
        size = f" of {len(value):,}" if kind is str else ""
        return [f"{name_of(kind)}{size} = {_shown(value, detail).text}"]
    if library_of(value) is not None:
        if (scalar := scalar_repr(value)) is not None:
            return [f"{name_of(kind)} = {scalar.text}"]
        lines = describe_data(value, limits.view) or describe_model(value, limits.text)
        if lines is not None:
            return lines
    if kind is types.FunctionType:
        return [_signature(value)]
    if issubclass(kind, type):
        return [_class_line(value, limits.text)]
    shown = _shown(value, detail)
    is_opaque = shown.text.startswith("<") and type(kind) is not enum.EnumMeta
    if defines(kind, "__dataclass_fields__") or (is_opaque and module_of(kind) != "builtins"):
        return _foreign(value, limits, full=detail is Detail.FULL)
    if shown.text == f"<{name_of(kind)}>":
        return [name_of(kind)]
    parts = parts_of(value)
    is_sized = (parts is not None and parts.keys != "=") or kind is bytes or kind is bytearray
    size = f" of {len(value) if parts is None else parts.count:,}" if is_sized else ""
    return [f"{name_of(kind)}{size} = {shown.text}"]


def _class_line(value: type, limit: int) -> str:
    """Return a class with its bases, and its members or fields."""
    bases = ", ".join(name_of(base) for base in mro_of(value)[1:-1])
    line = f"class {name_of(value)}({bases})" if bases else f"class {name_of(value)}"
    members = find(class_vars(value), "_member_map_") if type(value) is enum.EnumMeta else None
    fields = find(class_vars(value), "__dataclass_fields__")
    if type(members) is dict:
        values = {name: find(instance_vars(member), "_value_") for name, member in snapshot(members).items()}
        return f"{line}, members {fields_text(values, limit)}"
    return f"{line}, fields {', '.join(snapshot(fields))[:limit]}" if type(fields) is dict else line


def _signature(function: types.FunctionType) -> str:
    code = function.__code__
    count = code.co_argcount + code.co_kwonlyargcount
    names = list(code.co_varnames[:count])
    if code.co_kwonlyargcount:
        names.insert(code.co_argcount, "*")
    shown = first_line(function.__doc__)
    return f"function {exact_text(function.__name__)}({', '.join(names)}){f': {shown}' if shown else ''}"


def first_line(docstring: object) -> str:
    """Return the first line of a docstring."""
    return docstring.strip().partition("\n")[0][:SHORT] if type(docstring) is str else ""


def _foreign(value: object, limits: _Limits, *, full: bool) -> list[str]:
    kind, base = type(value), library_base(value) if library_of(value) is None else None
    lines = [
        name_of(kind)
        if base is None
        else f"{name_of(kind)}, a kind of {name_of(base)}, which is not looked into"
    ]
    if not full and module_of(kind) != "__main__" and not defines(kind, "__dataclass_fields__"):
        return lines
    held = instance_vars(value)
    if base is None:
        record = parts_of(value)
        held = {
            **dict(record.entries if record is not None and record.is_record else ()),
            **slots_of(value),
            **held,
        }
    attributes = {name: each for name, each in snapshot(held).items() if name[:1] != "_"}
    limit = _FULL_ATTRIBUTES if full else _ATTRIBUTES
    rest = f", … {len(attributes):,} attributes" if len(attributes) > limit else ""
    if attributes:
        shown = fields_text(
            dict(islice(attributes.items(), limit)), limit * limits.attribute, limits.attribute
        )
        lines.append(f"attributes: {shown}{rest}")
    if full:
        methods = [
            name
            for name, held in class_vars(kind).items()
            if type(held) is types.FunctionType and type(name) is str and name[:1] != "_"
        ]
        lines += [f"methods: {', '.join(methods[:_FULL_ATTRIBUTES])}"] if methods else []
    return lines


def describe_model(value: object, limit: int) -> list[str] | None:
    """Return lines about a figure, a chart or an estimator; None for everything else."""
    names = {qualified_name(base) for base in mro_of(type(value))}
    match library_of(value):
        case "sklearn" if "BaseEstimator" in names:
            return _estimator(value, limit)
        case "matplotlib" if "FigureBase" in names:
            held = instance_vars(value)
            shown = [
                _axes(each)
                for each in _exact_list(held.get("_localaxes"))
                if library_of(each) == "matplotlib"
            ]
            return [f"{name_of(type(value))}{_titled(held.get('_suptitle'))}, {len(shown)} axes", *shown]
        case "matplotlib" if "_AxesBase" in names:
            return [f"{name_of(type(value))}: {_axes(value)}"]
        case "plotly" if "BaseFigure" in names:
            held = instance_vars(value)
            return [
                name_of(type(value)),
                *plotly_lines({"data": held.get("_data"), "layout": held.get("_layout")}),
            ]
        case "altair" if "TopLevelMixin" in names:
            data = find(instance_vars(value), "_kwds")
            lines = describe_data(find(data, "data"), LINE_VIEW) if type(data) is dict else None
            source = [f"data: {lines[0]}", *lines[1:]] if lines else []
            return [name_of(type(value)), *vega_lines(_specification(value, _DEEPEST)), *source]
        case _:
            return None


def _estimator(value: object, limit: int) -> list[str]:
    """Return an estimator with the parameters that differ from their defaults, and what fitting it gave."""
    held = instance_vars(value)
    made = class_attribute(type(value), "__init__")
    defaults = _defaults(made) if type(made) is types.FunctionType else {}
    parameters = {name: held[name] for name in defaults if name in held}
    changed = {name: each for name, each in parameters.items() if not _is_same(each, defaults[name])}
    fitted = _fitted(held)
    features = fitted.pop("n_features_in_", None)
    on = f" on {features} features" if type(features) is int else ""
    shown = parameters if limit > FULL_VIEW.cell else changed
    lines = [
        f"{name_of(type(value))}, {f'fitted{on}' if fitted or on or _has_fitted_step(held) else 'not fitted'}"
    ]
    lines += (
        [
            f"parameters: {fields_text(shown, limit)}{'' if len(shown) == len(parameters) else ', others by default'}"
        ]
        if shown
        else []
    )
    return lines + ([f"fitted: {fields_text(fitted, max(limit, 6 * SHORT))}"] if fitted else [])


def _fitted(held: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: each
        for name, each in held.items()
        if name[-1:] == "_" and name[:1] != "_" and name[-2:-1] != "_"
    }


def _has_fitted_step(held: Mapping[str, Any]) -> bool:
    steps = held.get("steps")
    entries = [step[-1] for step in _exact_list(steps) if type(step) is tuple and step]
    return any(_fitted(instance_vars(entry)) for entry in entries)


def _defaults(function: types.FunctionType) -> dict[str, object]:
    """Return the parameters of a function, but its first, with their defaults; one without has itself as one."""
    code = function.__code__
    names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    values = function.__defaults__ or ()
    given = dict(zip(code.co_varnames[: code.co_argcount][::-1], values[::-1], strict=False)) | (
        function.__kwdefaults__ or {}
    )
    return {name: given.get(name, function) for name in names}


def _is_same(value: object, default: object) -> bool:
    is_plain = type(value) in {str, int, float, bool, type(None)} if type(type(value)) is type else False
    return value is default or (is_plain and type(value) is type(default) and value == default)


_MARKS = {
    "Line2D": "line", "PathCollection": "scatter", "Rectangle": "bar", "AxesImage": "image", "QuadMesh": "mesh",
    "PolyCollection": "filled area", "FillBetweenPolyCollection": "filled area", "Wedge": "slice", "Polygon": "polygon",
    "LineCollection": "line collection", "StepPatch": "step line",
}  # fmt: skip


def _axes(value: object) -> str:
    """Return axes by their title, labels and what is drawn, as ``'Sales', x 'month', 2 lines (north, south)``."""
    held = instance_vars(value)
    labels = [(axis[0], find(instance_vars(held.get(axis)), "label")) for axis in ("xaxis", "yaxis", "zaxis")]
    words = [
        _titled(held.get("title")),
        *(f"{name}{_titled(label)}" for name, label in labels if _titled(label)),
    ]
    drawn: dict[str, list[str]] = {}
    for child in chain(_exact_list(held.get("_children")), _exact_list(held.get("containers"))):
        if library_of(child) == "matplotlib":
            name = qualified_name(type(child))
            drawn.setdefault(_MARKS.get(name, ""), []).append(_drawn(instance_vars(child)))
    names_of_bars = drawn.pop("", [])
    for mark, each in drawn.items():
        named = list(filter(None, [*each, *(names_of_bars if mark == "bar" else ())]))
        names = f" ({', '.join(named[:12])})" if named else ""
        words.append(f"{len(each)} {mark}{'s' * (len(each) != 1)}{names}")
    return ", ".join(word.strip() for word in words if word) or "empty"


def _drawn(held: Mapping[str, Any]) -> str:
    """Return what is drawn by its label and number of points; labels with an underscore are matplotlib's own."""
    label, places = exact_text(held.get("_label")), held.get("_xorig")
    points = f" {field(places, 'size')} points" if is_ndarray(places) else ""
    return "" if label[:1] == "_" else f"{label[:SHORT]}{points}".strip()


def _exact_list(value: Any) -> list[Any]:
    return value if type(value) is list else []


def _titled(text: object) -> str:
    """Return a text object of matplotlib as `` 'text'``; empty without one."""
    said = exact_text(instance_vars(text).get("_text")) if library_of(text) == "matplotlib" else ""
    return f" {safe_text(said)}" if said else ""


_DEEPEST = 6


def _specification(value: Any, depth: int) -> Any:
    """Return what an altair object says as plain dicts, lists and texts; everything else, its data too, is left out."""
    if library_of(value) == "altair":
        value = find(instance_vars(value), "_kwds")
    if type(value) is dict and depth:
        return {
            name: _specification(each, depth - 1) for name, each in snapshot(value).items() if name != "data"
        }
    if type(value) is list and depth:
        return [_specification(each, depth - 1) for each in value]
    return value if type(value) is str or type(value) is bool else None
