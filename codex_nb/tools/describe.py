"""What cells gave and variables hold, described for the model: as text and images, without running the user's code.

An exception is a short traceback. What a variable holds under a secret name is withheld.
"""

from __future__ import annotations

import enum
import hashlib
import html
import json
import re
import sys
import traceback
import types
from collections.abc import Mapping  # noqa: TC003 -- saved answers are read by these types
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Literal

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
from codex_nb.tools.nbmodel import join_multiline, truncate
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
    from collections.abc import Iterable, Iterator
    from types import TracebackType


@dataclass(frozen=True)
class NewCell:
    """A cell to insert; ``outputs`` are nbformat output dicts that it is to show."""

    kind: Literal["code", "markdown"]
    source: str
    outputs: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class RunResult:
    """What running code in the user's kernel gave.

    ``outputs`` are nbformat output dicts in the order they appeared (they were shown in the notebook as well);
    ``error`` is the exception's one-line summary, None on success.
    """

    outputs: tuple[Mapping[str, Any], ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class CellState:
    """A cell of the notebook as a call left it; ``source`` None tells that the call deleted it.

    ``run`` is what running it gave, None where the call did not run it.
    """

    cell_id: str
    source: str | None
    run: RunResult | None = None


KEPT_OUTPUTS_LIMIT = 1_000_000  # characters, over all cells


def cells_that_ran(runs: Iterable[tuple[str, RunResult]]) -> tuple[NewCell, ...]:
    """Return a cell for each code that ran without an error, with its outputs as far as they are not too large."""
    cells: list[NewCell] = []
    left = KEPT_OUTPUTS_LIMIT
    for code, result in runs:
        if result.error is not None:
            continue
        size = len(json.dumps(result.outputs, default=str))
        is_small = size <= left
        left -= size if is_small else 0
        cells.append(NewCell("code", code.strip("\n"), result.outputs if is_small else ()))
    return tuple(cells)


_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_IMAGE_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif")
_TRACES = 20
_LONGEST_TITLE = 120
_INNER_FRAMES = 4  # of a stored traceback
_USER_FRAMES = 3
_LIBRARY_FRAMES = 2
_LIBRARY_PATHS = ("site-packages", "dist-packages", "/lib/python", "\\lib\\")
_CARRIERS = ("text/markdown", "text/latex", "application/json", "text/html")
_BARE = re.compile(r"<[^<>\n]{1,200}(?: object| at 0x[0-9A-Fa-f]+)[^<>\n]{0,200}>")
_LONGEST_HTML = 1_000_000
_ELISIONS = ("..", "…")  # what stands for the middle of a printed table or array
_MAX_CACHED = 20_000  # characters of outputs whose digest is remembered
_PLAIN_TYPES = ("text/plain", "text/markdown", "text/latex")
_HASHED_TYPES = frozenset({*_PLAIN_TYPES, *_IMAGE_TYPES, "image/svg+xml", "text/html"})

_MADE_UP = re.compile(
    r" at 0x[0-9A-Fa-f]{6,}|\bT_[0-9a-f]{5}|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"
)
_INSIDE_UUID = re.compile(r"-[0-9a-f]{4}-[0-9a-f]{4}-")


def without_ids(text: str) -> str:
    """Return a text without addresses of objects and ids that renderers make up anew each time they write it."""
    # most texts hold none, which is seen at once
    if " at 0x" not in text and "T_" not in text and not _INSIDE_UUID.search(text):
        return text
    return _MADE_UP.sub("", text)


def strip_ansi(text: str) -> str:
    """Remove terminal colours and the lines that a progress bar has overwritten."""
    if "\x1b" not in text and "\r" not in text:
        return text
    lines = _ANSI.sub("", text).replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)


def output_text(output: Mapping[str, Any], limit: int) -> str:
    """Return an output as text of at most about ``limit`` characters; empty for an image alone."""
    match output.get("output_type"):
        case "stream":
            return _plain_text(output.get("text", ""), limit)
        case "error":
            return error_text(output, limit)
        case "execute_result" | "display_data" | "update_display_data":
            return _data_text(output.get("data") or {}, limit)
        case _:
            return ""


def shows_everything(output: Mapping[str, Any], text: str) -> bool:
    """Whether the text of an output and its other forms, hashed, are all that it shows: no table is elided.

    An open document gives an empty text for a form that it leaves out.
    """
    data = output.get("data") or {}
    is_whole = all(data[kind] != "" for kind in data if kind != "text/plain")
    return is_whole and _HASHED_TYPES.issuperset(data) and not any(sign in text for sign in _ELISIONS)


def other_forms_digest(outputs: Iterable[Mapping[str, Any]]) -> str:
    """Return a hash of what outputs show besides one plain text each; empty where that is nothing."""
    forms = tuple(
        (kind, exact_text(join_multiline(each, sys.maxsize)))
        for output in outputs
        if (data := output.get("data") or {}).keys() - {"text/plain"}
        for kind, each in data.items()
    )
    if sum(len(text) for _, text in forms) > _MAX_CACHED:
        return _forms_digest.__wrapped__(forms)
    return _forms_digest(forms) if forms else ""


@lru_cache(maxsize=512)
def _forms_digest(forms: tuple[tuple[str, str], ...]) -> str:
    """Return a hash of kinds and texts; the cells above come again with each question."""
    written = [(kind, without_ids(text)) for kind, text in forms]
    return hashlib.sha256(json.dumps(written).encode()).hexdigest()


def error_text(output: Mapping[str, Any], limit: int) -> str:
    """Return an exception with the end of its traceback, where the failing line is."""
    summary = f"{output.get('ename', 'Error')}: {join_multiline(output.get('evalue', ''), limit)}"
    frames = output.get("traceback") or []
    if not isinstance(frames, list | tuple) or not frames:
        return summary
    text = strip_ansi("\n".join(str(frame)[-limit:] for frame in frames[-_INNER_FRAMES:]))
    if len(frames) > _INNER_FRAMES:
        text = f"… [{len(frames) - _INNER_FRAMES} outer frames left out]\n{text}"
    return (
        truncate(text, limit) if str(output.get("ename")) in text else f"{truncate(text, limit)}\n{summary}"
    )


def _data_text(data: Mapping[str, Any], limit: int) -> str:
    """Return a bundle's text in the form that carries its content; without any, a mark that says what it shows."""
    for kind, value in data.items():
        if kind.startswith(("application/vnd.plotly.", "application/vnd.vega")):
            lines = _plotly_lines(value) if "plotly" in kind else _vega_lines(value)
            return truncate("\n".join(["[a chart]", *lines]), limit)
    plain = _plain_text(data.get("text/plain", ""), limit)
    if plain and not _BARE.fullmatch(plain):
        return plain
    for kind in _CARRIERS:
        if kind in data and (text := _text_of(kind, data[kind], limit)):
            return text
    shown = [kind for kind in data if kind != "text/plain" and not kind.startswith("image/")]
    return plain or (
        f"[an output of the type {', '.join(shown)[:_LONGEST_TITLE]}, not sent]" if shown else ""
    )


def _text_of(kind: str, value: Any, limit: int) -> str:
    if kind == "text/html":
        return _html_text(join_multiline(value, _LONGEST_HTML), limit)
    if kind == "application/json" and not isinstance(value, str):
        return truncate(json.dumps(value, ensure_ascii=False, default=str), limit)
    return _plain_text(value, limit)


def _plain_text(value: Any, limit: int) -> str:
    return strip_ansi(join_multiline(value, limit)).rstrip("\n")


_BREAKS = frozenset(
    {"p", "div", "br", "tr", "li", "table", "pre", "caption", *(f"h{n}" for n in range(1, 7))}
)
_HTML_MARKUP = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|<(script|style|head|template|svg|math)\b(?![^<>]*+(?<=/)>).*?(?:</\1\b[^<>]*+>|\Z)"
    r"|<[!?/][^<>]*+(?:>|\Z)"
    r"|<(?P<tag>[a-z][^\s/<>]*+)(?:\"[^\"]*+\"|'[^']*+'|[^<>])*+(?:>|\Z)",
    re.IGNORECASE | re.DOTALL,
)


def _html_text(page: str, limit: int) -> str:
    """Return the text of HTML: a row of a table as one line, nothing of scripts and styles."""
    marked = _HTML_MARKUP.sub(_separator, page.replace("\n", " ").replace("\t", " "))
    lines = (
        [" ".join(html.unescape(cell).split()) for cell in line.split("\t")] for line in marked.split("\n")
    )
    rows = (" | ".join(cells if cells[0] or len(cells) == 1 else cells[1:]) for cells in lines)
    return truncate("\n".join(row for row in rows if row.strip(" |")), limit)


def _separator(markup: re.Match[str]) -> str:
    tag = (markup["tag"] or "").lower()
    return "\n" if tag in _BREAKS else "\t" if tag in {"td", "th"} else ""


def _plotly_lines(figure: Any) -> list[str]:
    """Return a plotly figure, as the dict that it is sent as, by its title, axes and traces."""
    data, layout = _exactly(list, _under(figure, "data")), _exactly(dict, _under(figure, "layout"))
    titles = {name: _title(_under(layout, name)) for name in layout if str(name)[1:5] == "axis"}
    words = [f"title {_title(layout)!r}"] * bool(_title(layout))
    words += [f"{name} {title!r}" for name, title in titles.items() if title]
    lines = [", ".join(words), *map(_trace, data[:_TRACES])]
    lines += [f"{len(data) - _TRACES} more traces"] if len(data) > _TRACES else []
    return list(filter(None, lines)) or ["an empty figure"]


def _trace(trace: Any) -> str:
    columns = [_under(trace, name) for name in ("x", "y", "values", "z", "lat", "labels")]
    counts = [f", {len(each)} points" for each in columns if type(each) in {list, tuple}]
    words = [_text_under(trace, "type") or "scatter", _text_under(trace, "mode")]
    name = _text_under(trace, "name")
    return f"{' '.join(filter(None, words))} trace{f' {name!r}' if name else ''}{''.join(counts[:1])}"


def _vega_lines(chart: Any) -> list[str]:
    """Return a Vega-Lite chart, as the dict that it is sent as, by its title, marks and encodings."""
    mark = _under(chart, "mark")
    kind = mark if type(mark) is str else _text_under(mark, "type")
    title = _title(chart)
    encodings = _exactly(dict, _under(chart, "encoding"))
    channels = [f"{name} {said}" for name, each in encodings.items() if (said := _channel(each))]
    words = [f"title {title!r}"] * bool(title) + [f"{kind} marks"] * bool(kind) + channels
    inner = [
        each
        for name in ("layer", "hconcat", "vconcat", "concat")
        for each in _exactly(list, _under(chart, name))
    ]
    inner += [each for each in [_under(chart, "spec")] if each is not None]
    return [
        *filter(None, [", ".join(words)]),
        *(line for each in inner[:_TRACES] for line in _vega_lines(each)),
    ]


def _channel(encoding: Any) -> str:
    said = _text_under(encoding, "shorthand") or _text_under(encoding, "field")
    aggregate, kind, title = (_text_under(encoding, name) for name in ("aggregate", "type", "title"))
    said = f"{aggregate}({said})" if aggregate else said
    return f"{said}{f' {kind}' if kind else ''}{f' {title!r}' if title else ''}"


def _exactly(kind: type[Any], value: Any) -> Any:
    return value if type(value) is kind else kind()


def _under(value: Any, name: str) -> Any:
    return value.get(name) if type(value) is dict else None


def _text_under(value: Any, name: str) -> str:
    said = _under(value, name)
    return said[:_LONGEST_TITLE] if type(said) is str else ""


def _title(value: Any) -> str:
    return _text_under(value, "title") or _text_under(_under(value, "title"), "text")


def output_images(outputs: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the images among outputs as data URLs, in order."""
    images = []
    for output in outputs:
        data = output.get("data") or {}
        for kind in _IMAGE_TYPES:
            if encoded := data.get(kind):
                text = encoded if isinstance(encoded, str) else "".join(encoded)
                images.append(f"data:{kind};base64,{''.join(text.split())}")
                break
    return tuple(images)


def format_error(error: BaseException, frames: TracebackType | None = None) -> str:
    """Return an exception as a short traceback: the user's own frames, and the innermost ones of libraries.

    ``frames`` takes the place of the exception's own traceback, for one that was already stripped.
    """
    stack = traceback.extract_tb(frames if frames is not None else error.__traceback__)
    own = [frame for frame in stack if not any(place in frame.filename for place in _LIBRARY_PATHS)]
    kept = [frame for frame in stack if frame in own[-_USER_FRAMES:] or frame in stack[-_LIBRARY_FRAMES:]]
    lines = [f"… {len(stack) - len(kept)} frames left out …\n"] if len(kept) < len(stack) else []
    lines += traceback.format_list(kept)
    return "".join([*lines, *_summary(error)]).strip()


def _summary(error: BaseException) -> list[str]:
    try:
        lines = traceback.format_exception_only(type(error), error)
        if (cause := error.__cause__) is not None:
            lines.append(f"caused by {type(cause).__name__}: {cause}\n")
    except Exception:  # noqa: BLE001 -- an exception's own __str__ may fail
        return [f"{type(error).__name__} (its message cannot be read)\n"]
    return lines


WITHHELD = "(withheld: its name says that it is secret)"
_ATTRIBUTES = 8
_FULL_ATTRIBUTES = 40


@dataclass(frozen=True)
class _Limits:
    """What a level of detail allows: characters of a value, of an attribute, levels of nesting, bytes altogether."""

    text: int
    attribute: int
    depth: int
    room: int
    view: View


class Detail(Enum):
    """How much of a variable is shown."""

    LINE = _Limits(SHORT, 40, 3, 400, LINE_VIEW)
    NORMAL = _Limits(3 * SHORT, 80, 3, 3_000, NORMAL_VIEW)
    FULL = _Limits(16_000, 2_000, 8, 64_000, FULL_VIEW)


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
    code, whole = "", False
    try:
        if is_secret_name(name) and is_withheld(value):
            lines = _withheld(value)
        else:
            lines = _lines(value, detail)
            code = code_fingerprint(value) or ""
            whole = bool(code) or _shown(value, detail).whole
    except Exception as error:  # noqa: BLE001 -- a broken object of a library is described as far as possible
        lines = [f"{name_of(type(value))} (it cannot be read: {name_of(type(error))})"]
    rest = lines[1:] if detail is not Detail.LINE else []
    return Description("\n".join(_within(detail.value.room, f"{name}: {lines[0]}", rest)), whole, code)


def _shown(value: object, detail: Detail) -> SafeRepr:
    return safe_repr(value, detail.value.text, detail.value.depth)


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
    limits, kind = detail.value, type(value)
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
    said = function.__doc__.strip().partition("\n")[0][:SHORT] if type(function.__doc__) is str else ""
    return f"function {exact_text(function.__name__)}({', '.join(names)}){f': {said}' if said else ''}"


def _foreign(value: object, limits: _Limits, *, full: bool) -> list[str]:
    kind, base = type(value), library_base(value) if library_of(value) is None else None
    lines = [name_of(kind)]
    if base is not None:
        lines = [f"{name_of(kind)}, a kind of {name_of(base)}, which is not looked into"]
    if not full and module_of(kind) != "__main__" and not defines(kind, "__dataclass_fields__"):
        return lines
    held = instance_vars(value)
    if base is None:
        record = parts_of(value)
        fields = dict(record.entries) if record is not None and record.is_record else {}
        held = fields | slots_of(value) | held
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
                for each in _exactly(list, held.get("_localaxes"))
                if library_of(each) == "matplotlib"
            ]
            return [f"{name_of(type(value))}{_titled(held.get('_suptitle'))}, {len(shown)} axes", *shown]
        case "matplotlib" if "_AxesBase" in names:
            return [f"{name_of(type(value))}: {_axes(value)}"]
        case "plotly" if "BaseFigure" in names:
            held = instance_vars(value)
            return [
                name_of(type(value)),
                *_plotly_lines({"data": held.get("_data"), "layout": held.get("_layout")}),
            ]
        case "altair" if "TopLevelMixin" in names:
            data = find(instance_vars(value), "_kwds")
            lines = describe_data(find(data, "data"), LINE_VIEW) if type(data) is dict else None
            source = [f"data: {lines[0]}", *lines[1:]] if lines else []
            return [name_of(type(value)), *_vega_lines(_specification(value, _DEEPEST)), *source]
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
    state = f"fitted{on}" if fitted or on or _has_fitted_step(held) else "not fitted"
    lines = [f"{name_of(type(value))}, {state}"]
    if shown:
        rest = "" if len(shown) == len(parameters) else ", others by default"
        lines.append(f"parameters: {fields_text(shown, limit)}{rest}")
    if fitted:
        lines.append(f"fitted: {fields_text(fitted, max(limit, 6 * SHORT))}")
    return lines


def _fitted(held: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: each
        for name, each in held.items()
        if name[-1:] == "_" and name[:1] != "_" and name[-2:-1] != "_"
    }


def _has_fitted_step(held: Mapping[str, Any]) -> bool:
    entries = [step[-1] for step in _exactly(list, held.get("steps")) if type(step) is tuple and step]
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
    return value is default or (is_plain(value) and type(value) is type(default) and value == default)


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
    for child in chain(_exactly(list, held.get("_children")), _exactly(list, held.get("containers"))):
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
