"""Outputs of cells as text and images, and exceptions as short tracebacks."""

from __future__ import annotations

import hashlib
import html
import json
import re
import sys
import traceback
from collections.abc import Mapping  # noqa: TC003 -- saved answers are read by these types
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from codex_nb.tools.introspection import exact_text
from codex_nb.tools.nbmodel import join_multiline, truncate

if TYPE_CHECKING:
    from collections.abc import Iterable
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

    outputs: tuple[Mapping[str, Any], ...] = field(default=())
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
    return "\n".join(map(_last_state, _ANSI.sub("", text).replace("\r\n", "\n").split("\n")))


def _last_state(line: str) -> str:
    """Return what is left of a line that was written over: what follows its last carriage return."""
    return line.rstrip("\r").rpartition("\r")[2]


def output_text(output: Mapping[str, Any], limit: int) -> str:
    """Return an output as text of at most about ``limit`` characters; empty for an image alone."""
    match output.get("output_type"):
        case "stream":
            return strip_ansi(join_multiline(output.get("text", ""), limit)).rstrip("\n")
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
            lines = plotly_lines(value) if "plotly" in kind else vega_lines(value)
            return truncate("\n".join(["[a chart]", *lines]), limit)
    plain = strip_ansi(join_multiline(data.get("text/plain", ""), limit)).rstrip("\n")
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


def plotly_lines(figure: Any) -> list[str]:
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


def vega_lines(chart: Any) -> list[str]:
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
        *(line for each in inner[:_TRACES] for line in vega_lines(each)),
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
