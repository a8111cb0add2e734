"""Secrets that a text assigns: what code, JSON, YAML, INI, a shell or an address gives to a secret name.

The text is read once, from its first character to its last, as a row of names, strings and signs; whatever it is,
reading takes time in proportion to its length. Nothing is parsed as Python: cells hold magics, outputs hold anything.
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from codex_nb.tools.secret_names import STEMS, is_secret_name, names_a_password
from codex_nb.tools.secret_values import LONGEST, SHORTEST, is_opaque, is_placeholder, is_secret_value

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = re.compile(
    r"""(?<!\w)(?:[rRbBuUfF]{1,2}(?=["']))?
        (?: (?P<long>\"{3}|'{3}) (?P<body>(?:[^\\]|\\.)*?) (?:(?P=long)|\Z)
          | (?P<short>["']) (?P<line>(?:(?!(?P=short))[^\\\n]|\\.)*+) (?:(?P=short)|(?=\n)|\Z) )
      | \\++(?P<inner>["']) (?P<quoted>[^"'\\\n]*+) (?:\\++(?P=inner))?
      | (?P<name>[^\W\d]\w*+(?:[.-][^\W\d]\w*+)*+)
      | (?P<sign>==|!=|:=|=>|[=:,;&#()\[\]{}\n])
      | (?P<space>[^\S\n]++)
      | \d[\w.]*+ | .
    """,
    re.VERBOSE | re.DOTALL,
)
_WORD = re.compile(r"[^\W\d][\w-]*+")
_BARE = re.compile(r"[ \t]*+(?P<value>[^\s\"'`()\[\]{},;<>&|#=]*+=*+)(?![(\[{])")
_KEY_FOLLOWS = re.compile(r"\\*+[\"']?\s*+:(?!=)")
_CLOSES = re.compile(r"\s*+\)")
_ATTRIBUTES = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")
_COMPOUND = frozenset({*keyword.kwlist, "case", "match"}) - {"pass"}
_THAT_KEEP_TEXT = frozenset({"str", "bytes", "b64decode", "base64.b64decode", "bytes.fromhex", "dict"})
_GIVES = frozenset("=:")
_DEEPEST = 2
_MOST_VALUES = 200


@dataclass(frozen=True)
class Assigned:
    """A secret in a text: where its value stands, and under which name."""

    start: int
    end: int
    name: str
    value: str = field(repr=False)


def assigned_secrets(text: str) -> list[Assigned]:
    """Return the secrets that a text assigns, in their order; none overlaps another."""
    if not may_assign(text):
        return []
    found = {secret.start: secret for secret in _read(text, 0, _DEEPEST)}
    apart: list[Assigned] = []
    for start in sorted(found):
        if not apart or start >= apart[-1].end:
            apart.append(found[start])
    return apart


def may_assign(text: str) -> bool:
    """Whether a secret name occurs: cheap, for most texts hold none."""
    lowered = text.lower()
    if not any(stem in lowered for stem in STEMS):
        return False
    return " key" in lowered or any(map(is_secret_name, set(_WORD.findall(text))))


def _read(text: str, offset: int, depth: int) -> Iterator[Assigned]:
    reader = _Reader(text)
    for start, end, name in reader.found():
        if name:
            yield Assigned(offset + start, offset + end, name, text[start:end])
        elif depth and not _GIVES.isdisjoint(text[start:end]) and may_assign(text[start:end]):
            yield from _read(text[start:end], offset + start, depth - 1)


@dataclass
class _Level:
    """What is known of the innermost bracket: the names and strings of its present element, and whose values follow.

    ``inherited`` is the secret name that all values in the bracket belong to, ``secret`` that of the present element.
    ``is_lookup`` tells a subscript or a call, whose strings name what it gives: ``environ["TOKEN"]``, ``get("token")``.
    ``values`` are the strings in the bracket, which a later ``name="token"`` may give a name.
    """

    inherited: str = ""
    is_lookup: bool = False
    secret: str = ""
    compared: str = ""
    paired: str = ""
    names: list[str] = field(default_factory=list)
    strings: list[str] = field(default_factory=list)
    is_name: bool = False
    values: list[tuple[int, int]] = field(default_factory=list)

    def next_element(self) -> None:
        """Forget the present element."""
        self.secret, self.compared, self.is_name = self.inherited, "", False
        self.names, self.strings = [], []


class _Reader:
    """Reads one text; a string that is no secret itself is reported without a name, to be read by itself."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._levels = [_Level()]
        self._callee: str | None = None  # the name, or "", of what an opening bracket would call
        self._read_until = self._bare_until = 0

    def found(self) -> Iterator[tuple[int, int, str]]:
        """Yield the beginning and the end of each secret, with its name, and of each other string."""
        for token in _TOKEN.finditer(self._text):
            kind = token.lastgroup
            if token.start() < self._read_until or kind == "space":
                continue
            if kind == "name":
                self._level.names.append(token[0])
                self._level.compared = ""
                self._callee = token[0]
            elif kind == "sign":
                yield from self._sign(token[0], token.end())
            elif (group := _string_of(token)) is not None:
                yield from self._string(*token.span(group), token.end())
            else:
                self._callee = None

    @property
    def _level(self) -> _Level:
        return self._levels[-1]

    def _string(self, start: int, end: int, after: int) -> Iterator[tuple[int, int, str]]:
        level, value = self._level, self._text[start:end]
        self._callee = ""
        level.strings.append(value)
        name = level.compared
        if not name and _KEY_FOLLOWS.match(self._text, after) is None:
            is_pair = level.paired and is_opaque(value) and _CLOSES.match(self._text, after)
            name = level.secret or (level.paired if is_pair else "")
        level.compared = level.paired = ""
        if name and is_secret_value(name, value):
            yield start, end, name
            return
        yield start, end, ""
        if level.is_name and is_secret_name(value):
            for span in level.values:
                if is_opaque(self._text[slice(*span)]):
                    yield *span, value
        elif len(level.values) < _MOST_VALUES:
            level.values.append((start, end))

    def _sign(self, sign: str, end: int) -> Iterator[tuple[int, int, str]]:
        level, callee, self._callee = self._level, self._callee, None
        match sign:
            case "=" | ":=" | "=>":
                named = next(filter(is_secret_name, _joined(level.names) + level.strings), "")
                level.secret = named or level.secret
                level.is_name = level.names[-1:] == ["name"]
                level.names, level.strings = [], []
                yield from self._bare(end, is_tight=self._text[end - 2 : end - 1].strip() != "")
            case ":":
                yield from self._colon(end)
            case "==" | "!=":
                level.compared = next(filter(is_secret_name, level.names[-1:] + level.strings[-1:]), "")
            case "," if len(self._levels) > 1:
                pair = level.strings[0] if len(level.strings) == 1 and not level.names else ""
                level.next_element()
                level.paired = pair if is_secret_name(pair) else ""
            case ";" | "&" | "#" | "\n" if len(self._levels) == 1:
                self._levels = [_Level()]
            case "(" | "[" | "{":
                self._open(sign, callee)
            case ")" | "]" | "}" if len(self._levels) > 1:
                closed = self._levels.pop()
                if closed.is_lookup:
                    self._level.names += closed.strings[:1]
                if len(self._level.values) < _MOST_VALUES:
                    self._level.values += closed.values
                self._callee = ""

    def _open(self, sign: str, callee: str | None) -> None:
        level = self._level
        if callee is None or sign == "{":
            inherited = level.secret
        elif callee.rpartition(".")[2][:1].isupper() and is_secret_name(callee):
            inherited = callee
        else:
            inherited = level.secret if callee in _THAT_KEEP_TEXT else ""
        self._levels.append(_Level(inherited, callee is not None and sign != "{", inherited))

    def _colon(self, end: int) -> Iterator[tuple[int, int, str]]:
        level = self._level
        if level.names and level.names[0] in _COMPOUND:
            level.next_element()
            return
        last = level.strings[-1:] or _joined(level.names)[-2:]
        named = next(filter(is_secret_name, last), "")
        level.secret = named or level.inherited
        level.strings = []
        if named:
            yield from self._bare(end, is_tight=False)

    def _bare(self, end: int, *, is_tight: bool) -> Iterator[tuple[int, int, str]]:
        """Yield the value without quotes that follows a secret name."""
        name = self._level.secret
        if not name or end < self._bare_until or (bare := _BARE.match(self._text, end)) is None:
            return
        self._bare_until = bare.end()
        if _is_bare_secret(name, bare["value"], is_tight=is_tight):
            self._read_until = bare.end()
            yield *bare.span("value"), name


def _string_of(token: re.Match[str]) -> str | None:
    """Return the group that holds what stands between a string's quotes."""
    return next((group for group in ("line", "quoted", "body") if token[group] is not None), None)


def _joined(names: list[str]) -> list[str]:
    """Return the names, and the last two as one: "API key"."""
    return [*names, " ".join(names[-2:])]


def _is_bare_secret(name: str, value: str, *, is_tight: bool) -> bool:
    """Whether what follows a name is a value, not an expression of a program: ``MY_TOKEN=abc123`` of a shell is."""
    if (
        not SHORTEST <= len(value) <= LONGEST
        or "[redacted:" in value
        or is_placeholder(value)
        or _ATTRIBUTES.fullmatch(value)
        or is_secret_name(value)
    ):
        return False
    has_digit = any(map(str.isdigit, value))
    if is_tight and name.isupper() and (has_digit or names_a_password(name)):
        return is_secret_value(name, value)
    return is_opaque(value) or (names_a_password(name) and has_digit and is_secret_value(name, value))
