"""The default answers: canned, without a model, but computed from the notebook that a request describes.

The answerer inspects a data frame with ``run_python`` where that tool is offered and reports what the code printed;
it proposes cells, corrects misspelled names, fills in JSON schemas and summarizes threads. Every text that it writes
says that it comes from the simulator.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from ast import literal_eval
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from codex_nb.simulator.parsed_request import cells_in, errors_in, frames_in, parse_request
from codex_nb.simulator.responses import compaction_item, compaction_summary, summary_of
from codex_nb.simulator.scenario import Call, CustomCall, End, Item, Say, Think

if TYPE_CHECKING:
    from codex_nb.simulator.parsed_request import Frame, ParsedRequest, Tool
    from codex_nb.simulator.scenario import Step


SIGNATURE = "_This answer comes from the codex_nb simulator; no model was used._"

Choice = tuple[str, Say | Call | CustomCall]
"""A reasoning summary, and the text or call that follows it."""

_SUMMARY_REQUEST = re.compile(
    r"context checkpoint compaction|\b(?:summari[sz]e|compact)\b.{0,60}\b(?:conversation|thread|history)\b",
    re.IGNORECASE | re.DOTALL,
)


def answer(body: Mapping[str, Any], pace_s: float = 0.0) -> list[Step]:
    """The steps that answer the body of a request, with ``pace_s`` between two deltas."""
    request = parse_request(body)
    if any(item.get("type") == "compaction_trigger" for item in request.items):
        return [Item(compaction_item(request.items, time.time())), End()]
    if request.text_format.get("type") == "json_schema":
        value = example_value(request.text_format.get("schema") or {}, request.question)
        return [Say(json.dumps(value, ensure_ascii=False), delay_s=pace_s), End()]
    if _SUMMARY_REQUEST.search(request.question):
        return [replace(_signed(summary_of(request.items)), delay_s=pace_s), End()]
    thought, step = _choose(request)
    return [Think((thought,), pace_s), replace(step, delay_s=pace_s), End()]


def _choose(request: ParsedRequest) -> Choice:
    strategies = (_report_result, _call_named_tool, _fix_error, _add_cells, _recall_result, _inspect_frame)
    choices = (strategy(request) for strategy in strategies)
    return next((choice for choice in choices if choice is not None), None) or _describe_request(request)


def _signed(text: str) -> Say:
    return Say(f"{text}\n\n{SIGNATURE}")


def _call(tool: Tool, arguments: Mapping[str, Any]) -> Call:
    return Call(tool.name, arguments, _call_id(), namespace=tool.namespace)


def _call_id() -> str:
    return f"call_sim{secrets.token_hex(10)}"


# Tool results and tools that the question names

_UNTRUSTED_MARKER = re.compile(r"^</?[a-z]+-[0-9a-f]{8,}\b[^>]*>$\n?", re.MULTILINE)
"""A line that a client puts before or after untrusted output."""


def _report_result(request: ParsedRequest) -> Choice | None:
    if not request.turn_results:
        return None
    result = request.turn_results[-1]
    output = _UNTRUSTED_MARKER.sub("", result.output).strip()
    if result.tool == "run_python":
        thought = "**Reading the output**\n\nThe code has run; I report its output."
        return thought, _signed(_frame_report(request.frame, output))
    if result.tool == "insert_cells":
        text = f"I requested new cells below this one. The tool returned: {output}"
    elif result.tool == "edit_cell":
        text = f"I requested a correction of the cell. The tool returned: {output}"
    else:
        text = f"`{result.tool}` returned:\n\n```text\n{output}\n```"
    return "**Reading the output**", _signed(text)


_OF_THE_NOTEBOOK = frozenset({"run_python", "insert_cells", "edit_cell", "run_cell"})


def _call_named_tool(request: ParsedRequest) -> Choice | None:
    tool = request.named_tool
    if tool is None or tool.kind != "function" or tool.name in _OF_THE_NOTEBOOK:
        return None
    return f"**Calling `{tool.name}`**", _call(tool, example_value(tool.parameters, request.question))


# Fixes and new cells

Cell = tuple[str, str]
"""Kind ("code" or "markdown") and source."""

_CELLS_REQUEST = re.compile(
    r"\b(?:insert|add|append|write|make|create|put)\b[^.?!]{0,80}\bcells?\b", re.IGNORECASE
)
_FIX_REQUEST = re.compile(r"\b(?:fix|repair|error|exception|traceback|fails?|failed|wrong)\b", re.IGNORECASE)
_UNKNOWN_NAME = re.compile(r"(?:NameError: name|KeyError:|has no attribute) '(?P<name>\w+)'")
_FAILED_CELL = re.compile(r"^The failed cell \(id=(?P<id>[^)\s]+)\):$", re.MULTILINE)
_CODE_BLOCK = re.compile(r"```(?:python)?\n(?P<source>.*?)```", re.DOTALL)
_IMPORTS = {
    "np": "import numpy as np",
    "pd": "import pandas as pd",
    "pl": "import polars as pl",
    "plt": "import matplotlib.pyplot as plt",
    "sns": "import seaborn as sns",
}
_SOURCE_KEYS, _KIND_KEYS = {"source", "code", "text", "content"}, {"kind", "cell_type", "type"}


def _fix_error(request: ParsedRequest) -> Choice | None:
    if not _FIX_REQUEST.search(request.question):
        return None
    fix = _suggested_fix(f"{request.context}\n{request.question}")
    if fix is None:
        return None
    explanation, source = fix
    thought = f"**Reading the error**\n\n{explanation}"
    failed, edit = _FAILED_CELL.search(request.context), request.tool("edit_cell")
    if source is not None and failed is not None and edit is not None:
        return thought, _call(edit, {"cell_id": failed["id"], "source": source})
    tool = request.tool("insert_cells")
    if source is not None and tool is not None:
        return thought, _insert_cells(tool, [("code", source)])
    code = f"\n\n```python\n{source}\n```" if source else ""
    return thought, _signed(f"{explanation}{code}")


def _suggested_fix(text: str) -> tuple[str, str | None] | None:
    """An explanation of the last unknown name in a text, and the corrected source where there is one."""
    names = [match["name"] for match in _UNKNOWN_NAME.finditer(text)]
    if not names:
        return None
    wrong = names[-1]
    word = re.compile(rf"\b{wrong}\b")
    sources = (match["source"] for match in _CODE_BLOCK.finditer(text))
    source = next((each for each in sources if word.search(each)), None)
    if wrong in _IMPORTS:
        line = _IMPORTS[wrong]
        return f"`{wrong}` is not imported: `{line}`.", f"{line}\n{source}" if source else line
    known = set(re.findall(r"[A-Za-z_]\w{2,}", text)) - {wrong}
    close = get_close_matches(wrong, sorted(known), 1, 0.75)
    if not close:
        return None
    corrected = word.sub(close[0], source) if source else None
    return f"There is no `{wrong}`; did you mean `{close[0]}`?", corrected


def _add_cells(request: ParsedRequest) -> Choice | None:
    frame, tool = request.frame, request.tool("insert_cells")
    is_wanted = _CELLS_REQUEST.search(request.question) and not _FIX_REQUEST.search(request.question)
    if frame is None or tool is None or not is_wanted:
        return None
    cells = [
        ("markdown", f"## Summary of `{frame.name}`"),
        ("code", f"{frame.name}.describe()"),
        ("code", f"{frame.name}.isna().sum()"),
    ]
    return f"**Writing cells about `{frame.name}`**", _insert_cells(tool, cells)


def _insert_cells(tool: Tool, cells: list[Cell]) -> Call:
    """A call of a tool that inserts cells, with the field names of its own schema."""
    properties: Mapping[str, Any] = tool.parameters.get("properties") or {}
    for name, schema in properties.items():
        if isinstance(schema, dict) and schema.get("type") == "array":
            fields = (schema.get("items") or {}).get("properties") or {"kind": {}, "source": {}}
            return _call(tool, {name: [_cell_argument(fields, cell) for cell in cells]})
    return _call(tool, {"cells": [{"kind": kind, "source": source} for kind, source in cells]})


def _cell_argument(fields: Mapping[str, Any], cell: Cell) -> dict[str, str]:
    kind, source = cell
    values = {name: kind for name in fields if name in _KIND_KEYS}
    return values | {name: source for name in fields if name in _SOURCE_KEYS}


# Data frames

_PLOT_REQUEST = re.compile(r"\b(?:plot|chart|graph|draw|figure|histogram|hist|visuali[sz]e)", re.IGNORECASE)
_DECLINED = re.compile(r"\b(?:rejected|declined|refused|denied|not approved)\b", re.IGNORECASE)
_FAILED = re.compile(r"^[^\w\n]*([A-Z]\w*(?:Error|Exception)\b.*)$", re.MULTILINE)
_SHAPE_LABEL, _MISSING_LABEL = "rows, columns:", "missing:"
_STATISTICS = ("count", "mean", "std", "min", "50%", "max")
_MAX_QUOTED_LINES = 40


def _recall_result(request: ParsedRequest) -> Choice | None:
    frame = request.frame
    if frame is None or _PLOT_REQUEST.search(request.question):
        return None
    output = request.earlier_output(frame)
    sentence = None if output is None else _missing_values_sentence(frame, output)
    if sentence is None:
        return None
    thought = f"**Using earlier output**\n\n`{frame.name}` was inspected earlier in this thread."
    return thought, _signed(sentence)


def _inspect_frame(request: ParsedRequest) -> Choice | None:
    frame, tool = request.frame, request.tool("run_python")
    if frame is None or tool is None:
        return None
    thought = f"**Inspecting `{frame.name}`**\n\nI run code that prints its statistics."
    code = _inspection_code(frame, request.question)
    if tool.kind == "custom":
        return thought, CustomCall(tool.name, code, _call_id())
    return thought, _call(tool, {"code": code})


def _inspection_code(frame: Frame, question: str) -> str:
    """Python that prints the shape, statistics and missing values of a frame, and plots it on request."""
    name = frame.name
    if not frame.is_pandas:
        return f'print("{_SHAPE_LABEL}", {name}.shape)\nprint({name}.describe())'
    lines = [
        f'print("{_SHAPE_LABEL}", {name}.shape)',
        f"print({name}.describe().to_string())",
        f'print("{_MISSING_LABEL}", {name}.isna().sum().to_dict())',
    ]
    if _PLOT_REQUEST.search(question):
        lines += [
            "import matplotlib.pyplot as plt",
            f"{name}.hist(figsize=(8, 3), bins=20)",
            "plt.tight_layout()",
            "plt.show()",
        ]
    return "\n".join(lines)


@dataclass(frozen=True)
class Inspection:
    """The parsed output of the inspection code; ``missing`` counts missing values by column."""

    shape: tuple[int, int] | None
    table: str | None
    missing: Mapping[str, int]


def _parse_output(output: str) -> Inspection:
    shape = re.search(rf"{re.escape(_SHAPE_LABEL)} \((\d+), (\d+)\)", output)
    size = (int(shape[1]), int(shape[2])) if shape else None
    return Inspection(size, _statistics_table(output), _missing_values(output))


def _missing_values(output: str) -> dict[str, int]:
    match = re.search(rf"^{re.escape(_MISSING_LABEL)} (\{{.*\}})$", output, re.MULTILINE)
    try:
        value = literal_eval(match[1]) if match else {}
    except (ValueError, SyntaxError):
        value = {}
    return {str(column): int(count) for column, count in value.items()}


def _statistics_table(output: str) -> str | None:
    """A Markdown table of a printed ``describe()``, one row per column; None when there is no such output."""
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
        [f"`{column}`", *(_rounded(rows[name][index]) for name in found)]
        for index, column in enumerate(columns)
    ]
    table = [["column", *found], ["---"] + ["---:"] * len(found), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in table)


def _rounded(number: str) -> str:
    try:
        return f"{float(number):.6g}"
    except ValueError:
        return number


def _frame_report(frame: Frame | None, output: str) -> str:
    """A short Markdown report of the output of the inspection code."""
    name = f"`{frame.name}`" if frame else "the data"
    if _DECLINED.search(output[:400]):
        return f"The code was not approved, so I know about {name} only what the notebook shows."
    if failure := _FAILED.search(output):
        return f"The code that inspects {name} failed:\n\n```text\n{failure[1]}\n```"
    found = _parse_output(output)
    if frame is None or found.table is None:
        quoted = "\n".join(output.splitlines()[:_MAX_QUOTED_LINES])
        return f"The code printed:\n\n```text\n{quoted}\n```"
    size = ""
    if found.shape:
        rows, columns = found.shape
        size = f"{name} has **{_count(rows, 'row')}** and **{_count(columns, 'column')}**. "
    missing = _missing_values_report(found.missing)
    return f"### What is in {name}\n\n{size}Summary statistics:\n\n{found.table}\n\n{missing}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _missing_values_report(missing: Mapping[str, int]) -> str:
    counts = [f"{count:,} in `{column}`" for column, count in missing.items() if count]
    if not counts:
        return "No values are missing."
    return f"**Missing values:** {', '.join(counts)}. Decide how to handle them before you use the data."


def _missing_values_sentence(frame: Frame, output: str) -> str | None:
    """Which column of a frame has the most missing values; None if the output does not show it."""
    found = _parse_output(output)
    if found.shape is None or not found.missing:
        return None
    column, count = max(found.missing.items(), key=lambda item: item[1])
    if not count:
        return f"No column of `{frame.name}` has missing values."
    return f"`{column}` has the most missing values: {count:,} of {found.shape[0]:,}."


# Everything else

_ABILITIES = (
    "A model would answer your question here. The simulator can inspect a data frame that is defined above, add "
    "cells, correct a misspelled name, fill in a JSON schema, count images and summarize a thread."
)


def _describe_request(request: ParsedRequest) -> Choice:
    """What the request contains and what the simulator can do, where no other answer applies."""
    question = " ".join(request.question.split())[:200]
    found = "\n".join(f"- {line}" for line in _contents_of(request))
    names = ", ".join(f"`{tool.name}`" for tool in request.tools[:8])
    paragraphs = [
        f"You asked: “{question}”" if question else "The request contains no question.",
        f"The request contains:\n\n{found}" if found else "The request contains no notebook context.",
        f"Available tools: {names}." if names else "No tools are available.",
        _ABILITIES,
    ]
    thought = "**Reading the notebook**\n\nI describe what I received and what I can do."
    return thought, _signed("\n\n".join(paragraphs))


def _contents_of(request: ParsedRequest) -> list[str]:
    contents = []
    if cells := cells_in(request.context):
        contents.append(_count(cells, "notebook cell"))
    for frame in frames_in(request.context):
        size = f" ({frame.shape[0]:,} \u00d7 {frame.shape[1]:,})" if frame.shape else ""
        contents.append(f"the data frame `{frame.name}`{size}")
    if errors := errors_in(request.context):
        contents.append(f"an error: `{errors[-1]}`")
    if request.images:
        contents.append(_count(request.images, "image"))
    if any(compaction_summary(item) is not None for item in request.items):
        contents.append("a summary of earlier turns")
    return contents


Schema = Mapping[str, Any]

_MAX_DEPTH = 12
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


def example_value(schema: Schema, prompt: str) -> Any:
    """A value that is valid for the schema; an enum value that occurs in the prompt is preferred."""
    return _Generator(schema, prompt).value(schema, "", _MAX_DEPTH)


@dataclass(frozen=True)
class _Generator:
    """Generates values; references are resolved in ``root``, optional parts are omitted below half the depth."""

    root: Schema
    prompt: str

    def value(self, schema: Any, name: str, depth: int) -> Any:
        """A value for a subschema; ``name`` is the property that it belongs to, ``depth`` the levels left."""
        if not isinstance(schema, Mapping) or depth == 0:
            return None
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._enum_value(schema["enum"])
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                choice = next((each for each in schema[key] if not _is_null(each)), schema[key][0])
                return self.value({**choice, **_without(schema, key)}, name, depth - 1)
        if schema.get("allOf"):
            merged = {key: value for each in schema["allOf"] for key, value in self._resolved(each).items()}
            return self.value({**_without(schema, "allOf"), **merged}, name, depth - 1)
        match _type_of(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, name, depth)
            case "string":
                return self._string(schema, name)
            case "integer":
                return _number(schema)
            case "number":
                return float(_number(schema))
            case "boolean":
                return True
        return None

    def _resolved(self, schema: Schema) -> Schema:
        """The schema that a local ``$ref`` leads to."""
        target: Any = schema
        for _ in range(_MAX_DEPTH):
            reference = target.get("$ref") if isinstance(target, Mapping) else None
            if not isinstance(reference, str) or not reference.startswith("#"):
                break
            target = self.root
            for part in filter(None, reference.removeprefix("#").split("/")):
                key = part.replace("~1", "/").replace("~0", "~")
                target = target.get(key, {}) if isinstance(target, Mapping) else {}
        return target if isinstance(target, Mapping) else {}

    def _enum_value(self, values: list[Any]) -> Any:
        prompt = self.prompt.lower()
        return next(
            (value for value in values if isinstance(value, str) and value.lower() in prompt), values[0]
        )

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        required = schema.get("required") or list(properties)
        names = [*properties, *(name for name in required if name not in properties)]
        wanted = names if depth > _MAX_DEPTH // 2 else required
        value = {name: self.value(properties.get(name, {}), name, depth - 1) for name in wanted}
        extra = schema.get("additionalProperties") or {"type": "string"}
        for number in range(max(0, int(schema.get("minProperties", 0)) - len(value))):
            value[f"key{number}"] = self.value(extra, "", depth - 1)
        return value

    def _array(self, schema: Schema, name: str, depth: int) -> list[Any]:
        fixed = [self.value(each, name, depth - 1) for each in schema.get("prefixItems") or ()]
        items = schema.get("items")
        wanted = int(schema.get("minItems", 0 if depth <= _MAX_DEPTH // 2 else 1))
        wanted = min(wanted, int(schema.get("maxItems", wanted)))
        if not isinstance(items, Mapping):
            return fixed
        return fixed + [self.value(items, name, depth - 1) for _ in range(wanted - len(fixed))]

    def _string(self, schema: Schema, name: str) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        text = f"Simulated {name or 'text'}"
        if quote := " ".join(self.prompt.split())[:60]:
            text = f"{text} for “{quote}”"
        text = text.ljust(int(schema.get("minLength", 0)), ".")
        return text[: int(schema.get("maxLength", len(text)))]


def _without(schema: Schema, key: str) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != key}


def _is_null(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "null"


def _type_of(schema: Schema) -> str | None:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), None)
    if kind is None and "properties" in schema:
        return "object"
    if kind is None and ("items" in schema or "prefixItems" in schema):
        return "array"
    return kind if isinstance(kind, str) else None


def _number(schema: Schema) -> int | float:
    step = schema.get("multipleOf")
    low, high = schema.get("minimum"), schema.get("maximum")
    over, under = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    value: int | float = 1
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
