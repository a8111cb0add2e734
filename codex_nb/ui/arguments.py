"""A call's JSON arguments while they stream: the code inside them, readable from its first character."""

from __future__ import annotations

import json
import re
from typing import Any

# The arguments of a tool that takes code begin with it: {"code": "…
_CODE_BEGINS = re.compile(r'\s*\{\s*"code"\s*:\s*"')
_CODE_MAY_BEGIN = re.compile(r'\s*(?:\{\s*(?:"(?:c(?:o(?:d(?:e(?:"\s*(?::\s*)?)?)?)?)?)?)?)?')
_UNFINISHED_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_HIGH_SURROGATE = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u[0-9a-fA-F]{0,3})?)?\Z")
_STRING_END = re.compile(r'(?:[^"\\]|\\.)*', re.DOTALL)


class ArgumentsReader:
    """Turns the pieces of a JSON text into what to show: the code it carries, or the JSON itself."""

    def __init__(self) -> None:
        self._waiting = ""  # not yet shown
        self._mode = "unknown"

    @property
    def language(self) -> str:
        """The language of what is shown."""
        return "python" if self._mode in {"code", "ended"} else "json"

    def feed(self, piece: str) -> str:
        """Take more JSON text, return more to show."""
        self._waiting += piece
        if self._mode == "unknown":
            self._decide()
        match self._mode:
            case "code":
                return self._take_code()
            case "json":
                shown, self._waiting = self._waiting, ""
                return shown
            case _:
                return ""

    def _decide(self) -> None:
        if begin := _CODE_BEGINS.match(self._waiting):
            self._mode = "code"
            self._waiting = self._waiting[begin.end() :]
        elif not _CODE_MAY_BEGIN.fullmatch(self._waiting):
            self._mode = "json"

    def _take_code(self) -> str:
        whole = _whole_characters(self._waiting)
        string = _STRING_END.match(whole)
        content = string.group() if string else ""
        self._waiting = self._waiting[len(content) :]
        if len(content) < len(whole):
            self._mode = "ended"
        return _unescaped(content)


def readable_arguments(arguments: str) -> tuple[str, str]:
    """Return what finished arguments say, and its language: the code they carry, or their JSON set out in lines."""
    try:
        value: Any = json.loads(arguments)
    except ValueError:
        return arguments, ""
    if isinstance(value, dict) and isinstance(value.get("code"), str):
        return value["code"], "python"
    if value in ({}, None):
        return "", "json"
    return json.dumps(value, ensure_ascii=False, indent=2), "json"


def _whole_characters(text: str) -> str:
    # An escape sequence cut in two, or half of a surrogate pair, waits for the rest.
    cut = _HIGH_SURROGATE.search(text) or _unfinished(text)
    return text[: cut.start()] if cut else text


def _unfinished(text: str) -> re.Match[str] | None:
    match = _UNFINISHED_ESCAPE.search(text)
    if match is None:
        return None
    backslashes = len(text[: match.start()]) - len(text[: match.start()].rstrip("\\"))
    return None if backslashes % 2 else match


def _unescaped(content: str) -> str:
    try:
        text: str = json.loads(f'"{content}"', strict=False)
    except ValueError:
        return content
    return text.encode("utf-16", "replace").decode("utf-16", "replace")
