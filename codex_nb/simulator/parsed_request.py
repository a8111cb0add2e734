"""A request as a model would read it: content encodings, messages, tools, frames, cells and errors."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class UndecodableBodyError(ValueError):
    """The body cannot be read; ``status`` is the reply's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def decode_body(raw: bytes, content_type: str, content_encoding: str) -> Any:
    """The JSON value, form fields or text of a body; None when it is empty."""
    data = _decompress(raw, content_encoding.strip().lower())
    if not data:
        return None
    if content_type.startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(data.decode(), keep_blank_values=True))
    if "json" not in content_type:
        return data.decode(errors="replace")
    try:
        return json.loads(data)
    except ValueError as error:
        message = "We could not parse the JSON body of your request."
        raise UndecodableBodyError(message, 400) from error


def _decompress(raw: bytes, encoding: str) -> bytes:
    try:
        match encoding:
            case "" | "identity":
                return raw
            case "gzip":
                return gzip.decompress(raw)
            case "zstd":
                return _unpack_zstd(raw)
    except UndecodableBodyError:
        raise
    except Exception as error:
        message = f"The body is not {encoding}."
        raise UndecodableBodyError(message, 400) from error
    message = f"Content encoding {encoding} is not supported."
    raise UndecodableBodyError(message, 415)


def _unpack_zstd(raw: bytes) -> bytes:
    try:
        zstandard = import_module("zstandard")
    except ImportError as error:
        message = "zstd bodies need the zstandard package in the simulator's environment."
        raise UndecodableBodyError(message, 415) from error
    unpacked: bytes = zstandard.ZstdDecompressor().decompressobj().decompress(raw)
    return unpacked


_FRAME_LINE = re.compile(
    r"""^[\s>*`#-]*                                     # list marks
    (?P<name>[A-Za-z_]\w*)[`*]*(?:\s*[:=]|\s+[(-]+)[\s`*]*   # name
    (?P<kind>(?:[\w.]+\.)?(?:Lazy|Geo)?DataFrame\b|pyarrow\.Table\b|pa\.Table\b)
    (?P<rest>.*)$""",
    re.VERBOSE | re.MULTILINE,
)
_SHAPE = re.compile(
    r"(?P<rows>\d[\d,_]*)\s*(?:rows?\s*)?(?:\u00d7|x|\*|by|,|rows,)\s*(?P<columns>\d[\d,_]*)(?:\s*(?:columns?|cols?))?"
)
_ERROR_LINE = re.compile(
    r"^\W*(?P<name>[A-Z]\w*(?:Error|Exception|Interrupt))\b:?\s*(?P<message>.*)$", re.MULTILINE
)
_CELL_MARK = re.compile(r"(?:^|\W)(?:cell|In)\s*\[?#?\d+", re.IGNORECASE)


_CALLS = {"function_call", "custom_tool_call"}
_OUTPUTS = {"function_call_output", "custom_tool_call_output"}


@dataclass(frozen=True)
class Frame:
    """A frame that the context describes; ``shape`` is rows and columns when they are told."""

    name: str
    kind: str
    shape: tuple[int, int] | None = None

    @property
    def is_pandas(self) -> bool:
        """Whether it behaves like pandas, as far as the description tells."""
        return "polars" not in self.kind and "Table" not in self.kind and "Lazy" not in self.kind


@dataclass(frozen=True)
class Offer:
    """A tool that the request offers."""

    name: str
    kind: str
    namespace: str | None
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Exchange:
    """A tool call and its output; ``arguments`` as the text that was sent."""

    tool: str
    arguments: str
    output: str


def messages_of(items: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Role and text of each message."""
    for item in items:
        if isinstance(item, dict) and "role" in item and item.get("type", "message") == "message":
            yield str(item["role"]), _text_of(item.get("content"))


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part["text"]) for part in parts if isinstance(part, dict) and "text" in part)


def images_in(items: Sequence[Any]) -> int:
    """How many images the messages carry."""
    return sum(
        1
        for item in items
        if isinstance(item, dict) and isinstance(item.get("content"), list)
        for part in item["content"]
        if isinstance(part, dict) and part.get("type") == "input_image"
    )


def since_last_user(items: Sequence[Any]) -> list[Mapping[str, Any]]:
    """The items after the last message of the user: the turn so far."""
    objects: list[Mapping[str, Any]] = [item for item in items if isinstance(item, dict)]
    last = max((index for index, item in enumerate(objects) if item.get("role") == "user"), default=-1)
    return objects[last + 1 :]


def turn_inputs(items: Sequence[Any]) -> list[Mapping[str, Any]]:
    """The run of user and developer messages that began the current turn."""
    objects: list[Mapping[str, Any]] = [item for item in items if isinstance(item, dict)]
    end = max((index for index, item in enumerate(objects) if item.get("role") == "user"), default=-1) + 1
    start = end
    while start > 0 and objects[start - 1].get("role") in {"user", "developer", "system"}:
        start -= 1
    return objects[start:end]


def exchanges_in(items: Sequence[Any]) -> list[Exchange]:
    """The tool calls that have their output, in the order of the outputs."""
    objects = [item for item in items if isinstance(item, dict)]
    calls = {item.get("call_id"): item for item in objects if item.get("type") in _CALLS}
    exchanges = []
    for item in objects:
        call = calls.get(item.get("call_id"))
        if item.get("type") in _OUTPUTS and call is not None:
            arguments = str(call.get("arguments") or call.get("input") or "")
            exchanges.append(Exchange(str(call.get("name")), arguments, _text_of(item.get("output"))))
    return exchanges


def tools_of(body: Mapping[str, Any]) -> list[Offer]:
    """The tools of a request, wherever it puts them."""
    groups = [body.get("tools") or []]
    groups += [
        item.get("tools") or []
        for item in body.get("input") or []
        if isinstance(item, dict) and item.get("type") == "additional_tools"
    ]
    return [offer for group in groups for offer in _offers(group, None)]


def _offers(tools: Sequence[Any], namespace: str | None) -> Iterator[Offer]:
    for tool in tools:
        if not isinstance(tool, dict):
            continue
        if tool.get("type") == "namespace":
            yield from _offers(tool.get("tools") or [], str(tool.get("name")))
        elif "name" in tool:
            yield Offer(str(tool["name"]), str(tool.get("type")), namespace, tool.get("parameters") or {})


def frames_in(text: str) -> list[Frame]:
    """The frames that a text describes, in its order, each name once; the latest size counts."""
    frames: dict[str, Frame] = {}
    for match in _FRAME_LINE.finditer(text):
        is_source = match["rest"].startswith("(")
        shape = None if is_source else _SHAPE.search(match["rest"])
        size = None if shape is None else (_number(shape["rows"]), _number(shape["columns"]))
        if size is not None or match["name"] not in frames:
            frames[match["name"]] = Frame(match["name"], match["kind"], size)
    return list(frames.values())


def _number(text: str) -> int:
    return int(re.sub(r"\D", "", text))


def errors_in(text: str) -> list[str]:
    """The one-line summaries of the exceptions that a text shows."""
    return [f"{match['name']}: {match['message']}".rstrip(": ") for match in _ERROR_LINE.finditer(text)]


def cells_in(text: str) -> int:
    """About how many cells a text shows."""
    return len(_CELL_MARK.findall(text))
