"""Answers without a model: values for a JSON schema, code and reports about a frame, advice about errors."""

from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codex_nb.simulator.parsed_request import Frame, Offer


_DEPTH = 12
_FORMATS = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "email": "simulator@example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/simulator",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "hostname": "localhost",
    "duration": "PT1S",
}


def example_of(schema: Mapping[str, Any], prompt: str) -> Any:
    """A value that fits; words of the prompt choose among an enum's values."""
    return _value(schema, schema, prompt, "", _DEPTH)


def _value(schema: Any, root: Mapping[str, Any], prompt: str, name: str, depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth == 0:
        return None
    schema = _resolved(schema, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return _chosen(schema["enum"], prompt)
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            choice = next((each for each in schema[key] if not _is_null(each)), schema[key][0])
            return _value({**choice, **_rest(schema, key)}, root, prompt, name, depth - 1)
    if schema.get("allOf"):
        merged = {key: value for each in schema["allOf"] for key, value in _resolved(each, root).items()}
        return _value({**_rest(schema, "allOf"), **merged}, root, prompt, name, depth - 1)
    match _type_of(schema):
        case "object":
            return _object(schema, root, prompt, depth)
        case "array":
            return _array(schema, root, prompt, name, depth)
        case "string":
            return _string(schema, prompt, name)
        case "integer":
            return _number(schema, 1)
        case "number":
            return float(_number(schema, 1))
        case "boolean":
            return True
    return None


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    target: Any = schema
    for _ in range(_DEPTH):
        reference = target.get("$ref") if isinstance(target, Mapping) else None
        if not isinstance(reference, str) or not reference.startswith("#"):
            break
        found: Any = root
        for part in reference.removeprefix("#").strip("/").split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            found = found if not part else found.get(key, {}) if isinstance(found, Mapping) else {}
        target = found
    return target if isinstance(target, Mapping) else {}


def _rest(schema: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != key}


def _is_null(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "null"


def _type_of(schema: Mapping[str, Any]) -> str | None:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), None)
    if kind is None and "properties" in schema:
        return "object"
    if kind is None and ("items" in schema or "prefixItems" in schema):
        return "array"
    return kind if isinstance(kind, str) else None


def _chosen(values: list[Any], prompt: str) -> Any:
    words = prompt.lower()
    return next((value for value in values if isinstance(value, str) and value.lower() in words), values[0])


def _object(schema: Mapping[str, Any], root: Mapping[str, Any], prompt: str, depth: int) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    required = schema.get("required") or list(properties)
    names = [*properties, *(name for name in required if name not in properties)]
    wanted = names if depth > _DEPTH // 2 else required
    value = {name: _value(properties.get(name, {}), root, prompt, name, depth - 1) for name in wanted}
    extra = schema.get("additionalProperties")
    for number in range(max(0, int(schema.get("minProperties", 0)) - len(value))):
        value[f"key{number}"] = _value(extra or {"type": "string"}, root, prompt, "", depth - 1)
    return value


def _array(
    schema: Mapping[str, Any], root: Mapping[str, Any], prompt: str, name: str, depth: int
) -> list[Any]:
    fixed = [_value(each, root, prompt, name, depth - 1) for each in schema.get("prefixItems") or ()]
    items = schema.get("items")
    wanted = int(schema.get("minItems", 0 if depth <= _DEPTH // 2 else 1))
    wanted = min(wanted, int(schema.get("maxItems", wanted)))
    if not isinstance(items, Mapping):
        return fixed
    return fixed + [_value(items, root, prompt, name, depth - 1) for _ in range(wanted - len(fixed))]


def _string(schema: Mapping[str, Any], prompt: str, name: str) -> str:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    about = " ".join(prompt.split())[:60]
    text = f"Simulated {name or 'text'} for “{about}”" if about else f"Simulated {name or 'text'}"
    text = text.ljust(int(schema.get("minLength", 0)), ".")
    return text[: int(schema.get("maxLength", len(text)))]


def _number(schema: Mapping[str, Any], start: int) -> int | float:
    step = schema.get("multipleOf")
    low, high = schema.get("minimum"), schema.get("maximum")
    over, under = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    value: int | float = start
    if low is not None:
        value = max(value, low)
    if over is not None and value <= over:
        value = over + (step or 1)
    if high is not None:
        value = min(value, high)
    if under is not None and value >= under:
        value = under - (step or 1) if over is None else (over + under) / 2
    if step:
        value = -(-value // step) * step
    return value


_PLOT_WORDS = re.compile(r"\b(?:plot|chart|graph|draw|figure|histogram|hist|visuali[sz]e)", re.IGNORECASE)
_REFUSED = re.compile(r"\b(?:rejected|declined|refused|denied|not approved)\b", re.IGNORECASE)
_FAILED = re.compile(r"^\W*([A-Z]\w*(?:Error|Exception)\b.*)$", re.MULTILINE)
_SHAPE_MARK, _MISSING_MARK = "rows, columns:", "missing:"
_STATISTICS = ("count", "mean", "std", "min", "50%", "max")
_MAX_QUOTED_LINES = 40


def wants_picture(question: str) -> bool:
    """Whether a question asks for a figure."""
    return bool(_PLOT_WORDS.search(question))


def code_for(frame: Frame, question: str) -> str:
    """Python that prints shape, statistics and gaps of a frame, and draws it when the question asks for that."""
    name = frame.name
    if not frame.is_pandas:
        return f'print("{_SHAPE_MARK}", {name}.shape)\nprint({name}.describe())'
    lines = [
        f'print("{_SHAPE_MARK}", {name}.shape)',
        f"print({name}.describe().to_string())",
        f'print("{_MISSING_MARK}", {name}.isna().sum().to_dict())',
    ]
    if wants_picture(question):
        lines += [
            "import matplotlib.pyplot as plt",
            f"{name}.hist(figsize=(8, 3), bins=20)",
            "plt.tight_layout()",
            "plt.show()",
        ]
    return "\n".join(lines)


@dataclass(frozen=True)
class Findings:
    """What the output of :func:`code_for` tells."""

    shape: tuple[int, int] | None
    table: str | None
    missing: Mapping[str, int]


def read_output(output: str) -> Findings:
    """Read an output; what is not there stays empty."""
    shape = re.search(rf"{re.escape(_SHAPE_MARK)} \((\d+), (\d+)\)", output)
    size = (int(shape[1]), int(shape[2])) if shape else None
    return Findings(size, _table(output), _missing(output))


def report_of(frame: Frame | None, output: str) -> str:
    """A short Markdown report with the numbers of the output."""
    name = f"`{frame.name}`" if frame else "the code"
    if _REFUSED.search(output[:400]):
        return f"You did not let me run the code, so I know about {name} only what the notebook shows."
    if failure := _FAILED.search(output):
        return f"The code that looked at {name} failed:\n\n```text\n{failure[1]}\n```"
    found = read_output(output)
    if frame is None or found.table is None:
        quoted = "\n".join(output.splitlines()[:_MAX_QUOTED_LINES])
        return f"This is what {name} gave:\n\n```text\n{quoted}\n```"
    rows, columns = found.shape or (0, 0)
    size = f" has **{_count(rows, 'row')}** and **{_count(columns, 'column')}**" if found.shape else ""
    return f"### What is in {name}\n\n{name}{size}. Its numbers:\n\n{found.table}\n\n{_gaps(found.missing)}"


def follow_up(frame: Frame, output: str) -> str | None:
    """One sentence about a frame that was looked at before; None when the output does not allow it."""
    found = read_output(output)
    if found.shape is None or not found.missing:
        return None
    column, gaps = max(found.missing.items(), key=lambda each: each[1])
    if not gaps:
        return f"Nothing worries me: no column of `{frame.name}` has gaps."
    return f"`{column}` worries me most: {gaps:,} of its {found.shape[0]:,} values are missing."


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _gaps(missing: Mapping[str, int]) -> str:
    gaps = {column: count for column, count in missing.items() if count}
    if not gaps:
        return "No value is missing."
    told = ", ".join(f"{count:,} in `{column}`" for column, count in gaps.items())
    return f"**Missing values:** {told}. Decide what to do with them before you use the frame."


def _missing(output: str) -> dict[str, int]:
    match = re.search(rf"^{re.escape(_MISSING_MARK)} (\{{.*\}})$", output, re.MULTILINE)
    try:
        value = literal_eval(match[1]) if match else {}
    except (ValueError, SyntaxError):
        value = {}
    return {str(column): int(count) for column, count in value.items()}


def _table(output: str) -> str | None:
    """The statistics of a printed ``describe()``, one row per column; None when there are none."""
    lines = output.splitlines()
    rows = {
        parts[0]: parts[1:]
        for line in lines
        if (parts := line.split()) and parts[0] in _STATISTICS and len(parts) > 1
    }
    start = next((number for number, line in enumerate(lines) if line.split()[:1] == ["count"]), 0)
    columns = lines[start - 1].split() if start else []
    found = [name for name in _STATISTICS if len(rows.get(name, ())) == len(columns)]
    if not columns or "mean" not in found:
        return None
    body = [
        [f"`{column}`", *(_short(rows[name][index]) for name in found)]
        for index, column in enumerate(columns)
    ]
    table = [["column", *found], ["---"] + ["---:"] * len(found), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in table)


def _short(number: str) -> str:
    try:
        return f"{float(number):.6g}"
    except ValueError:
        return number


_WISH = re.compile(r"\b(?:insert|add|append|write|make|create|put)\b[^.?!]{0,80}\bcells?\b", re.IGNORECASE)
_HELP = re.compile(r"\b(?:fix|mend|repair|error|exception|traceback|fails?|failed|wrong)\b", re.IGNORECASE)
_WRONG_NAME = re.compile(r"(?:NameError: name|KeyError:|has no attribute) '(?P<name>\w+)'")
_BLOCK = re.compile(r"```(?:python)?\n(?P<source>.*?)```", re.DOTALL)
_IMPORTS = {
    "np": "import numpy as np",
    "pd": "import pandas as pd",
    "pl": "import polars as pl",
    "plt": "import matplotlib.pyplot as plt",
    "sns": "import seaborn as sns",
}
_SOURCE_KEYS, _KIND_KEYS = {"source", "code", "text", "content"}, {"kind", "cell_type", "type"}

Cell = tuple[str, str]
"""Kind ("code" or "markdown") and source."""


def wants_cells(question: str) -> bool:
    """Whether a question asks for new cells."""
    return bool(_WISH.search(question)) and not wants_help(question)


def wants_help(question: str) -> bool:
    """Whether a question is about something that failed."""
    return bool(_HELP.search(question))


def cells_for(frame: Frame) -> list[Cell]:
    """Cells that look at a frame."""
    name = frame.name
    return [
        ("markdown", f"## A look at `{name}`"),
        ("code", f"{name}.describe()"),
        ("code", f"{name}.isna().sum()"),
    ]


def insertion(tool: Offer, cells: list[Cell]) -> dict[str, Any]:
    """The arguments of a tool that inserts cells, in the words of its own schema."""
    properties: Mapping[str, Any] = tool.parameters.get("properties") or {}
    for name, schema in properties.items():
        if isinstance(schema, dict) and schema.get("type") == "array":
            fields = (schema.get("items") or {}).get("properties") or {"kind": {}, "source": {}}
            return {name: [_cell(fields, cell) for cell in cells]}
    return {"cells": [{"kind": kind, "source": source} for kind, source in cells]}


def _cell(fields: Mapping[str, Any], cell: Cell) -> dict[str, str]:
    kind, source = cell
    values = {name: kind for name in fields if name in _KIND_KEYS}
    return values | {name: source for name in fields if name in _SOURCE_KEYS}


def advice(text: str) -> tuple[str, str | None] | None:
    """What to do about the last wrong name in a text: a sentence, and the mended source where it is known."""
    names = [match["name"] for match in _WRONG_NAME.finditer(text)]
    if not names:
        return None
    wrong = names[-1]
    source = next(
        (match["source"] for match in _BLOCK.finditer(text) if re.search(rf"\b{wrong}\b", match["source"])),
        None,
    )
    if wrong in _IMPORTS:
        line = _IMPORTS[wrong]
        return f"`{wrong}` is not imported: `{line}`.", f"{line}\n{source}" if source else line
    known = set(re.findall(r"[A-Za-z_]\w{2,}", text)) - {wrong}
    close = get_close_matches(wrong, sorted(known), 1, 0.75)
    if not close:
        return None
    mended = re.sub(rf"\b{wrong}\b", close[0], source) if source else None
    return f"There is no `{wrong}`; did you mean `{close[0]}`?", mended
