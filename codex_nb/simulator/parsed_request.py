"""A request to ``/responses``, parsed as a model would read it: question, notebook context, tools and their results."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True)
class Frame:
    """A data frame that the context describes; ``shape`` is rows and columns where they are known."""

    name: str
    kind: str
    shape: tuple[int, int] | None = None

    @property
    def is_pandas(self) -> bool:
        """Whether it has the methods of pandas, as far as the description shows."""
        return "polars" not in self.kind and "Table" not in self.kind and "Lazy" not in self.kind


@dataclass(frozen=True)
class Tool:
    """A tool that the request offers."""

    name: str
    kind: str
    namespace: str | None
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class ToolResult:
    """A tool call with its output; ``arguments`` is the text that was sent."""

    tool: str
    arguments: str
    output: str


@dataclass(frozen=True)
class ParsedRequest:
    """A request; its current turn begins with the last messages of the user.

    ``context`` is the text of all user messages, ``images`` the number of images in this turn. ``results`` are the
    tool results of the whole thread, ``turn_results`` those of this turn.
    """

    items: Sequence[Mapping[str, Any]]
    question: str
    context: str
    images: int
    tools: Sequence[Tool]
    results: Sequence[ToolResult]
    turn_results: Sequence[ToolResult]
    text_format: Mapping[str, Any]

    def tool(self, name: str) -> Tool | None:
        """The offered tool of that name."""
        return next((tool for tool in self.tools if tool.name == name), None)

    @property
    def named_tool(self) -> Tool | None:
        """The offered tool that the question names."""
        words = set(re.findall(r"[\w-]+", self.question))
        return next((tool for tool in self.tools if tool.name in words), None)

    @property
    def frame(self) -> Frame | None:
        """The data frame in question: one that the question names, else the last one described."""
        frames = frames_in(self.context)
        named = [
            frame for frame in frames if re.search(rf"(?<!\w){re.escape(frame.name)}(?!\w)", self.question)
        ]
        sized = [frame for frame in frames if frame.shape is not None]
        guessed = [Frame(match[1], "DataFrame") for match in _FRAME_NAME.finditer(self.question)]
        return next(iter(named or guessed or sized[-1:] or frames[-1:]), None)

    def earlier_output(self, frame: Frame) -> str | None:
        """The output of the thread's last call that described the frame."""
        calls = (
            result for result in reversed(self.results) if f"{frame.name}.describe()" in result.arguments
        )
        return next((result.output for result in calls), None)


def input_items(value: Any) -> Any:
    """The input of a request as items: a text is a message of the user."""
    if not isinstance(value, str) or not value:
        return value
    return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": value}]}]


def parse_request(body: Mapping[str, Any]) -> ParsedRequest:
    """Parse the body of a request."""
    items: list[Mapping[str, Any]] = [
        item for item in input_items(body.get("input")) or [] if isinstance(item, dict)
    ]
    start, end = _turn_input(items)
    return ParsedRequest(
        items=items,
        question=_question(items[start:end]),
        context="\n".join(text for role, text in messages_of(items) if role == "user"),
        images=_images_in(items[start:end]),
        tools=_tools_of(body, items),
        results=_tool_results(items),
        turn_results=_tool_results(items[end:]),
        text_format=(body.get("text") or {}).get("format") or {},
    )


def _turn_input(items: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """Where the messages that start the current turn begin and end."""
    end = max((index for index, item in enumerate(items, 1) if _is_asking(item)), default=0)
    start = end
    while start > 0 and items[start - 1].get("role") in {"user", "developer", "system"}:
        start -= 1
    return start, end


def _is_asking(item: Mapping[str, Any]) -> bool:
    """Whether the item is a message of the user with any content; llm sends an empty one with tool results."""
    return item.get("role") == "user" and item.get("content") not in ("", [])


# Messages


def messages_of(items: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """The role and text of each message."""
    for item in items:
        if isinstance(item, dict) and "role" in item and item.get("type", "message") == "message":
            yield str(item["role"]), "\n".join(_texts_of(item.get("content")))


def _texts_of(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list) else []
    return [str(part["text"]) for part in parts if isinstance(part, dict) and "text" in part]


def _question(turn: Sequence[Mapping[str, Any]]) -> str:
    """The last text of the last user message, which comes after the context."""
    contents = [item.get("content") for item in turn if item.get("role") == "user"]
    return next(iter(_texts_of(contents[-1])[-1:]), "") if contents else ""


def _images_in(items: Sequence[Mapping[str, Any]]) -> int:
    """The number of images in the messages."""
    contents = [item["content"] for item in items if isinstance(item.get("content"), list)]
    parts = [part for content in contents for part in content if isinstance(part, dict)]
    return sum(part.get("type") == "input_image" for part in parts)


# Tools and their results

_CALLS = {"function_call", "custom_tool_call"}
_OUTPUTS = {"function_call_output", "custom_tool_call_output"}


def _tools_of(body: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> list[Tool]:
    """The tools of a request; the lite models take them as an input item."""
    groups = [body.get("tools") or []]
    groups += [item.get("tools") or [] for item in items if item.get("type") == "additional_tools"]
    return [tool for group in groups for tool in _parsed_tools(group, None)]


def _parsed_tools(tools: Sequence[Any], namespace: str | None) -> Iterator[Tool]:
    for tool in tools:
        if not isinstance(tool, dict):
            continue
        if tool.get("type") == "namespace":
            yield from _parsed_tools(tool.get("tools") or [], str(tool.get("name")))
        elif "name" in tool:
            yield Tool(str(tool["name"]), str(tool.get("type")), namespace, tool.get("parameters") or {})


def _tool_results(items: Sequence[Mapping[str, Any]]) -> list[ToolResult]:
    """The calls that have an output, in the order of the outputs."""
    calls = {item.get("call_id"): item for item in items if item.get("type") in _CALLS}
    results = []
    for item in items:
        call = calls.get(item.get("call_id"))
        if item.get("type") in _OUTPUTS and call is not None:
            arguments = str(call.get("arguments") or call.get("input") or "")
            output = "\n".join(_texts_of(item.get("output")))
            results.append(ToolResult(str(call.get("name")), arguments, output))
    return results


# The notebook in the context

_FRAME_LINE = re.compile(
    r"""^[ \t>*`#-]*                                          # list markers
    (?P<name>[A-Za-z_]\w*)[`*]*(?:\s*[:=]|\s+[(-]+)[\s`*]*
    (?P<kind>(?:[\w.]+\.)?(?:Lazy|Geo)?DataFrame\b|pyarrow\.Table\b|pa\.Table\b)
    (?P<rest>.*)$""",
    re.VERBOSE | re.MULTILINE,
)
_FRAME_NAME = re.compile(r"(?<![\w.])@?(df\w*|\w+_df)\b")
_SHAPE = re.compile(
    r"(?P<rows>\d[\d,_]*)\s*(?:rows?\s*)?(?:\u00d7|x|\*|by|,|rows,)\s*(?P<columns>\d[\d,_]*)(?:\s*(?:columns?|cols?))?"
)
_ERROR_LINE = re.compile(
    r"^[^\w\n]*(?P<name>[A-Z]\w*(?:Error|Exception|Interrupt))\b:?\s*(?P<message>.*)$", re.MULTILINE
)
_CELL_HEADING = re.compile(r"(?:^|\W)(?:cell|In)\s*\[?#?\d+", re.IGNORECASE)


def frames_in(text: str) -> list[Frame]:
    """The data frames that a text describes, in order, each name once; the last size counts."""
    frames: dict[str, Frame] = {}
    for match in _FRAME_LINE.finditer(text):
        is_source = match["rest"].startswith("(")
        size = None if is_source else _SHAPE.search(match["rest"])
        shape = None if size is None else (_number(size["rows"]), _number(size["columns"]))
        if shape is not None or match["name"] not in frames:
            frames[match["name"]] = Frame(match["name"], match["kind"], shape)
    return list(frames.values())


def _number(text: str) -> int:
    return int(re.sub(r"\D", "", text))


def errors_in(text: str) -> list[str]:
    """The last lines of the tracebacks in a text."""
    return [f"{match['name']}: {match['message']}".rstrip(": ") for match in _ERROR_LINE.finditer(text)]


def cells_in(text: str) -> int:
    """The approximate number of notebook cells in a text."""
    return len(_CELL_HEADING.findall(text))
