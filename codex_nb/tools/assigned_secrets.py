"""Secrets that a text gives to a name: in code, settings, shells, markup, prose and tables.

In a table they are below a secret name in the header row, or at its index in the lists that follow a list of names.
Rows are lines of CSV, of Markdown, of a database's or a frame's output, or lists as in SQL's ``INSERT`` and in ``zip``.
"""

from __future__ import annotations

import keyword
import re
from bisect import bisect_left
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, islice, pairwise
from string import ascii_letters, digits
from typing import TYPE_CHECKING

from codex_nb.tools.secrets import (
    ATTRIBUTES,
    CALLS_WITH_KEYS,
    ENDS_OF_PAIRS,
    LOGINS,
    MAX_NAMES,
    MAX_SECRETS,
    MIN_SECRET_LENGTH,
    THE_REST,
    WORD,
    Words,
    breaks_before_names,
    calls_in,
    is_opaque,
    is_password_name,
    is_placeholder,
    is_secret_name,
    is_secret_value,
    is_unquoted_secret,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    Span = tuple[int, int]
    NamedSpan = tuple[int, int, str]


_TOKEN = re.compile(
    r"""(?:[^\S\n]|\\\n)*+(?: \[redacted:\ [^\]\n]{1,80}\]
      | (?P<sign>==|!=|:=|=>|<<?-(?=[ \t]*+["'])|[=:,;&#()\[\]{}\n])
      | (?P<names>(?:(?![rRbBuUfF]{1,2}["'])[^\W\d]\w*+(?:[.-][^\W\d]\w*+)*+[ ]*+)++)
      | (?<!\w)(?:[rRbBuUfF]{1,2}(?=["']))?
        (?: (?P<long>\"{3}|'{3}) (?P<body>(?:[^\\]|\\.)*?) (?:(?P=long)|\Z)
          | (?P<short>["']) (?P<line>(?:(?!(?P=short))[^\\\n]|\\.)*+) (?:(?P=short)|(?=\n)|\Z) )
      | \\++(?P<inner>["']) (?P<quoted>[^"'\\\n]*+) (?:\\++(?P=inner))?
      | (?:\d[\w.]*+|[|/*+%@^~$?.>`-])++ | . | \Z )
    """,
    re.VERBOSE | re.DOTALL,
)
_STRINGS = frozenset({"line", "body", "quoted"})
# What may be a value near a name; what is first searched for is a single character, which is quick. A password is a
# string, an element, a constant of a shell, capitals among small letters or six characters with a digit. Any other
# value has a digit beside a letter, or is a string or an element of eight characters that are no words.
_PART = r"[^\s\"'`()\[\]{},;<>&|#=]"
# A digit in six characters, and in some of five: told by what stands around it, which is quick.
_OF_SIX = rf"(?={_PART}{{4}})|(?<={_PART}{{3}})(?={_PART}{{2}})|(?<={_PART}{{5}})"
_CAPITALS = r"(?<=[a-z][A-Z])(?=[A-Za-z]{0,7}[a-z][A-Z])"
_MAY_BE_PASSWORD = re.compile(
    rf"[\"'`<=A-Z\d](?:(?<=[\"'`])(?![\"'`])|(?<=<)(?=/)|(?<=[A-Z_]=)|{_CAPITALS}|(?<=\d)(?:{_OF_SIX}))"
)
_UNUSUAL = r"(?<={0})\s*+(?=[^\s{0}]{{8}})(?![A-Za-z]++(?:[_.,:;!?-]++[A-Za-z]++)*+[.!?]?\\*+{0})"
_UNUSUAL_STRING = "|".join(map(_UNUSUAL.format, ('"', "'", "`")))
_MAY_BE_VALUE = re.compile(
    rf"[\"'`<=A-Z\d](?:{_UNUSUAL_STRING}|(?<=[^<>\s]{{8}}<)(?=/)|(?<=\s<)(?=/)|(?<=[A-Z_]=)(?=[^\s\"'`]{{6}})"
    rf"|{_CAPITALS}|(?<=\d)(?:(?<=[A-Za-z]\d)|(?=[A-Za-z]))(?:{_OF_SIX}))"
)
_OPENING = re.compile(r"[(\[{]")
_NEVER_BEFORE_VALUE = frozenset("=.(;#/@%?")
_REDACTED = re.compile(r"\[redacted: ([^\]\n]{1,80})\]")
_BRACKET = re.compile(r"[()\[\]{}]")
# After the signs of YAML for a block, an anchor or a tag, or a backtick of JavaScript.
_UNQUOTED = re.compile(
    r"[ \t]*+(?:[|>][-+0-9]{0,2}[ \t]*+\n[ \t]++|(?:[&!][\w!./-]*+[ \t]++){1,2}|`|\$\((?:echo|printf)[ \t]++[\"']?)?"
    r"(?P<value>[^\s\"'`()\[\]{},;<>&|#=]*+=*+)(?:(?<=\\[nrt])|(?![(\[{]))"
)
_ASSIGNMENT = re.compile(
    r"[ \t]*+(?:export[ \t]++)?+(?P<name>[^\W\d][\w.-]*+)(?P<blanks>[ \t]*+)=[ \t]*+"
    rf"(?:(?P<quote>[\"'])(?P<string>[^\"'\\\n]*+)(?P=quote)|(?P<value>{_PART}++=*+))[ \t]*+(?=\n|\Z)"
)
_PAIR = re.compile(
    r"(?P<name>[^\W\d][\w-]*+)(?P<quote>[\"'])[ \t]*+:[ \t]*+"
    r"(?P<sign>[\"'])(?P<value>(?:(?!(?P=sign))[^\\\n])*+)(?P=sign)"
    r"(?=[ \t]*+[,}\n])"
)
_KEY_FOLLOWS = re.compile(r"\\*+[\"']?\s*+:(?!=)")
_CLOSES = re.compile(r"\s*+[)\]]")
_COMPOUND = frozenset({*keyword.kwlist, "case", "match"}) - {"pass"}
_TEXT_CONSTRUCTORS = frozenset({"str", "bytes", "b64decode", "base64.b64decode", "bytes.fromhex", "dict"})
_ARGUMENTS_BEFORE_PASSWORD = 2  # of a connection to anything
_GROUPS = re.compile(r"[a-z]{4}(?: [a-z]{4}){3}")  # as Google makes passwords for programs
_LAST_ARGUMENT = re.compile(r"\s*+,?\s*+(?:\)|\w++\s*+=)")
_SETS = re.compile(r"(?:[sS]et|[pP]ut|SET|PUT)(?:_|(?=[A-Z])|env|default|attr|\Z)|sub\Z")
_NAMES_BEFORE_IN = 4
_NAMES_OF_NAMES = frozenset({"name", "key"})
_SIGNS_AT_END = frozenset("\"'*=:|>&!-+\\,([{")
_MAX_DEPTH = 2
_LONGEST_PATH = 80
_FARTHEST_ROWS = 2_000  # characters before the names of columns
_AROUND = 300  # characters that are read before and after a secret name in a long line
_LONGEST_OPEN = 600  # characters before a secret name in which a bracket may open
_LONGEST_BRACKET = 20_000
_MAX_VALUES = 200
_MAX_NESTED = 8  # brackets that are looked at for a name


def assigned_secrets(text: str, words: Words) -> list[NamedSpan]:
    """Return beginning, end and name of the secrets that a text assigns, in order; none overlaps another.

    Of a text with more than ``MAX_SECRETS``, or ``MAX_NAMES`` near to which values may stand, the rest is one,
    ``THE_REST``.
    """
    read = _REDACTED.sub(_without_name, text) if "[redacted: " in text else text
    breaks = breaks_before_names(read)
    if breaks:
        read = "  ".join(read[start : end - 2] for start, end in pairwise((0, *breaks, len(read) + 2)))
    names = words.places_of_names()
    if read != text:
        names = _places_in(text, names, breaks)
    text = read
    for sign, plain in _PLAIN_SIGNS.items():
        text = text.replace(sign, plain)
    if calls := dict.fromkeys(calls_in(text), True):
        names = dict(sorted({**names, **calls}.items()))
    places, near = list(names), list(islice(_near_values(text, names), MAX_NAMES + 1))
    limit = near[MAX_NAMES] if len(near) > MAX_NAMES else len(text)
    found: dict[int, NamedSpan] = {}
    for secrets_in, of_names in (
        (_read, near),
        (_direct, near),
        (_secrets_in_lists, near),
        (_filled_in, near),
        (_secrets_in_lines, places),
        (_secrets_in_html, places),
    ):  # each in the order of the text
        source = secrets_in(text, of_names[: bisect_left(of_names, limit)])
        secrets = list(islice(source, MAX_SECRETS + 1))
        found = {secret[0]: secret for secret in secrets} | found
        if len(secrets) > MAX_SECRETS:
            limit = min(limit, secrets[-1][0])
    apart: list[NamedSpan] = []
    end = 0
    for start in sorted(found):
        if end <= start < limit:
            apart.append(found[start])
            end = found[start][1]
    return apart if limit == len(text) else [*apart, (max(end, limit), len(text), THE_REST)]


def _places_in(text: str, places: dict[int, bool], breaks: dict[int, str]) -> dict[int, bool]:
    """Return the places of names that stand in no mark, and those behind an escaped break."""
    marks = list(chain.from_iterable(mark.span() for mark in _REDACTED.finditer(text)))
    behind = {place: is_password_name(name) for place, name in breaks.items()}
    unmarked = {
        place: is_password
        for place, is_password in places.items()
        if place + 1 not in behind and not (marks and bisect_left(marks, place) % 2)
    }
    return dict(sorted({**unmarked, **behind}.items()))


def _near_values(text: str, names: Mapping[int, bool]) -> Iterator[int]:
    """Yield the places of names that may have a value; those that are true may have a password."""
    passwords, values = _Surroundings(text, _MAY_BE_PASSWORD), _Surroundings(text, _MAY_BE_VALUE)
    for place, is_password in names.items():
        surroundings = passwords if is_password else values
        if place >= surroundings.empty_until and surroundings.may_hold_value(place):
            yield place


class _Surroundings:
    """Tells whether a value may stand near a name; asked of a text's names in order, it reads the text once.

    From the last place that was asked for to ``empty_until`` no name has a value.
    """

    def __init__(self, text: str, pattern: re.Pattern[str]) -> None:
        self._text, self._pattern = text, pattern
        self._value = self._before = -_FARTHEST_ROWS
        self.empty_until = self._read_until = 0

    def may_hold_value(self, place: int) -> bool:
        """Whether a value may follow in the same line, behind its end or in brackets, or precede the name."""
        text = self._text
        if self._value < place:
            match = self._pattern.search(text, place)
            self._value = match.start() if match else len(text) + _LONGEST_BRACKET
        if self._value < place + _LONGEST_BRACKET:
            line_end = text.find("\n", place, self._value)
            if line_end < 0:
                is_near = self._value <= place + _AROUND
                if is_near or any(text.find(sign, place, self._value) >= 0 for sign in "([{"):
                    return True
            elif self._goes_on(place, line_end):
                return True
        if self._before < place - _FARTHEST_ROWS:
            match = self._pattern.search(text, max(place - _FARTHEST_ROWS, self._read_until), place)
            self._read_until = place
            if match is None:
                self.empty_until = self._value - _LONGEST_BRACKET
                return False
            self._before = match.start()
        return True

    def _goes_on(self, place: int, line_end: int) -> bool:
        """Whether a line ends with a name, in brackets, or with a sign after which its value comes."""
        line = self._text[place:line_end]
        last = line.rstrip(" \t\r0123456789")[-1:]
        if last in _SIGNS_AT_END or WORD.fullmatch(line):
            return True
        return last in ")]" or any(map(line.count, "([{"))


# What follows a secret name without a sign of assignment: an argument, the value of an entry with this name, the text
# of an element of XML, a quoted word, or a word that looks made by a machine.
_ARGUMENT = re.compile(
    r"(?:[ \t]+|[\"'],\s*[\"'])(?P<value>[^\s\"'|;&<>-][^\s\"'|;&<>]*)|[ \t]+(?P<quoted>[\"'][^\"'\n]+)"
)
_ENTRY = re.compile(
    r"[\"']?[\s,{]{1,20}(?:\w{1,20}=[\w.]{1,20},\s?){0,3}[\"']?(?i:value|default|content)[\"']?\s*[:=]\s*(?P<quoted>[\"'])?(?P<value>[^\s\"',;{}()<>]+)"
)
_ELEMENT = re.compile(
    r"[\"']?(?:[ \t][^<>\n]{0,80})?>\s*(?P<value>[^<>\s][^<>\n]{0,500}?)\s*</"
    r"|</[\w:.-]+>\s*<[\w:.-]+>(?P<text>[^<>\s]+)</"
)
_QUOTED = re.compile(r"[ \t]+(?P<quote>[\"'])(?P<value>[^\"'\s]{4,500})(?P=quote)")
_SIGN_AFTER = (
    r"[ \t]*(?:[|:→]|[=-]>|,(?=[^\s,;]{16,500}(?:\s|\Z))|[-\u2013\u2014](?=[ \t])"
    r"|(?:is|to|was|are|ist|lautet|es|est|è|é|är|er|jest):?(?=[ \t]))"
)
_WORD_AFTER = re.compile(
    rf"[*_\"'\])]{{0,4}}(?:[ \t](?:for|of|to)(?:[ \t][^\s:]{{1,60}}){{1,3}}?{_SIGN_AFTER}"
    r"|(?:[ \t](?:(?:for|of)[ \t][^\s:]{1,60}|provided|supplied|given|created|generated|issued))?"
    rf"(?:{_SIGN_AFTER})?[ \t]*)"
    r"[ \t*_|`\"']{0,6}(?:(?<=[ \t])[(\[<])?(?P<value>(?!&)[^\s\"'`<>|,;()\[\]{}=]{8,500})"
)
_LINE_BELOW = re.compile(
    r"[*_\"'\])]{0,4}(?:[ \t][a-z]{1,10}){0,2}[ \t]{0,20}+:?+[*_]{0,4}+[ \t\r]{0,20}+\n\s{0,20}+"
    r"(?:```\w{0,10}\n\s{0,20}+)?+[`\"']?+(?P<value>[^\s\"'`<>|,;()\[\]{}=:]{16,500}+)[`\"']?+[ \t\r]{0,20}+(?=\n|\Z)"
)
_QUOTE_IN_HTML = r"(?:&(?:quot|apos|#3[49]|#x2[27]);|[\"'])"
_SIGN_IN_HTML = r"(?:\s{0,20}+(?:[:=]|is\b:?|=?-?&gt;))?+"
_TAGS_IN_HTML = rf"(?:\s{{0,20}}+</?(?![tT][dhrDHR]\b)[A-Za-z][^<>\n]{{0,100}}+>{_SIGN_IN_HTML}){{1,6}}+"
_VALUE_IN_HTML = (
    rf"\s{{0,20}}+{_QUOTE_IN_HTML}?+(?P<value>[^\s<>\"']{{4,500}}?)(?={_QUOTE_IN_HTML}|[\s<>]|\Z)"
)
# As documents and highlighted code have it, and settings of .NET; tables are read apart.
_BETWEEN_TAGS = re.compile(rf"{_QUOTE_IN_HTML}?+{_SIGN_IN_HTML}{_TAGS_IN_HTML}{_VALUE_IN_HTML}")
_OF_ATTRIBUTE = re.compile(rf"[\"'][^<>\n]{{0,100}}+>{_TAGS_IN_HTML}{_VALUE_IN_HTML}")
_INPUT = re.compile(
    r"\n[ \t]+[^\n]{0,300}?\binput_value=(?P<quote>[\"'])(?P<value>[^\"'\n]+)(?P=quote)"
)  # of pydantic
_ISSUE = re.compile(
    r"[\"'](?:,\s?[\"']?[\w.]{1,40}[\"']?){0,4},?[)\]],[^\n]{0,200}?[\"']input[\"']:\s?(?P<quote>[\"'])"
    r"(?P<value>[^\"'\n]+)(?P=quote)"
)  # of a validation: where, and what was given
_ARROW = " \t->"
_PATH = "._-" + ascii_letters + digits


def _direct(text: str, places: list[int]) -> Iterator[NamedSpan]:
    """Yield the secrets that follow a name without a sign of assignment."""
    for place in places:
        match = WORD.match(text, place)
        if match is None:
            continue
        name, end, before = match[0], match.end(), text[max(0, place - 3) : place]
        if text[end : end + 1] in _NEVER_BEFORE_VALUE and ">" not in before:
            continue
        if name.lower() in ENDS_OF_PAIRS:
            name = f"{text[max(0, place - 20) : place].replace('.', ' ').rpartition(' ')[0].rpartition(' ')[2]} {name}"
            if not is_secret_name(name):
                continue
        if before[-1:] == ".":  # what stands before the whole path
            before = text[max(0, place - _LONGEST_PATH) : place].rstrip(_PATH)
        for pattern, may_stand, is_meant in _FOLLOWING:
            found = pattern.match(text, end) if may_stand(before[-1:]) else None
            if found is None:
                continue
            start, last = found.span(found.lastgroup or "value")
            value = text[start:last].strip("\"'")
            if is_meant(name, value):
                start += text[start:last].find(value)
                yield start, start + len(value), name
                break
        if before.rstrip().endswith(("->", "->>")):
            yield from _before_arrow(text, place, name)


def _before_arrow(text: str, place: int, name: str) -> Iterator[NamedSpan]:
    """Yield the string that an arrow assigns to the name at a place."""
    first = max(0, place - 220)
    quoted = text[first:place].rstrip(_ARROW)
    if quoted[-1:] in {"'", '"'}:
        start = 1 + max(quoted.rfind(sign, 0, -1) for sign in "\"'\n")
        value = quoted[start:-1]
        if quoted[start - 1] in "\"'" and is_secret_value(name, value):
            yield first + start, first + start + len(value), name


_PLACEHOLDERS = re.compile(r"\?|%s|\$\d{1,2}|\{\w{0,20}\}")
_GETS_PLACEHOLDER = re.compile(rf"[`\"\]]?\s?[:=]\s?['\"]?(?:{_PLACEHOLDERS.pattern})")
_FILLS = re.compile(
    r"[^\"'\n]{0,300}+[\"']{1,3}\s{0,20}+(?:,\s{0,20}+|%\s?|\.format)(?=[(\[\"'])"
    r"|[^\[\]]{0,300}+\]\s{0,20}+\[parameters:\s?(?=[(\[])"
)
_FILLED = re.compile(
    r"[(\[,\s]{0,20}+(?:(?P<quote>[\"'])(?P<value>[^\"'\n]{0,500}+)(?P=quote)|[\w.+-]{1,100}+)"
)
_MOST_FILLED = 20
_GETS_NAMED_PLACEHOLDER = re.compile(
    r"[`\"\]]?\s?[:=]\s?['\"]?(?:\{([^\W\d]\w{0,20})\}|\$\{?([^\W\d]\w{0,20})\}?|%\(([^\W\d]\w{0,20})\)s|:([^\W\d]\w{0,20}))"
)


def _filled_in(text: str, places: list[int]) -> Iterator[NamedSpan]:
    """Yield the secrets that are put in for a placeholder: ``"password={}".format("…")``, ``"token = ?", ("…",)``."""
    for place in places:
        name = WORD.match(text, place)
        if name is None or not is_secret_name(name[0]):
            continue
        yield from _filled_in_by_name(text, name)
        gets = _GETS_PLACEHOLDER.match(text, name.end())
        if gets is None:
            continue
        fills = _FILLS.match(text, gets.end())
        if fills is None:
            continue
        start = max(text.rfind(sign, max(0, place - _AROUND), place) for sign in "\"'[\n")
        number, end = len(_PLACEHOLDERS.findall(text, max(0, start), gets.end())), fills.end()
        for _ in range(min(number, _MOST_FILLED)):
            element = _FILLED.match(text, end)
            if element is None:
                break
            end = element.end()
        else:
            if element and element["quote"] and is_secret_value(name[0], element["value"]):
                yield (*element.span("value"), name[0])


def _filled_in_by_name(text: str, name: re.Match[str]) -> Iterator[NamedSpan]:
    """Yield the secret that is put in for a placeholder with a name: ``"token: {t}".format(t="…")``."""
    gets = _GETS_NAMED_PLACEHOLDER.match(text, name.end())
    if gets is None:
        return
    given = re.compile(rf"\b{gets[gets.lastindex or 1]}[\"']?\s?[=:]\s?([\"'])(?P<value>[^\"'\n]{{1,500}})\1")
    found = given.search(text, gets.end(), gets.end() + _AROUND)
    if found and is_secret_value(name[0], found["value"]):
        yield (*found.span("value"), name[0])


def _is_word(value: str) -> bool:
    return is_opaque(value) and not is_placeholder(value) and not ATTRIBUTES.fullmatch(value)


def _is_argument_of_name(name: str, value: str) -> bool:
    return is_unquoted_secret(name, value, is_tight=False)


# Each with what may stand before the name, and whether what was found is a value.
_FOLLOWING: tuple[tuple[re.Pattern[str], Callable[[str], bool], Callable[[str, str], bool]], ...] = (
    (_ARGUMENT, "-".__eq__, _is_argument_of_name),
    (_ENTRY, lambda _before: True, _is_argument_of_name),
    (_ELEMENT, "<:>\"'".__contains__, is_secret_value),
    (_BETWEEN_TAGS, lambda _before: True, _is_argument_of_name),
    (_OF_ATTRIBUTE, "\"'".__contains__, _is_argument_of_name),
    (_INPUT, "\n".__contains__, is_secret_value),
    (_ISSUE, "\"'".__contains__, is_secret_value),
    (_QUOTED, lambda before: before not in {"'", '"'}, is_secret_value),
    (_WORD_AFTER, lambda _before: True, lambda _name, value: _is_word(value.rstrip(".:!?"))),
    (_LINE_BELOW, lambda _before: True, lambda _name, value: _is_word(value)),
)


def _without_name(mark: re.Match[str]) -> str:
    """Return a mark whose name is none that could have a value."""
    return f"[redacted: {'.' * len(mark[1])}]"


def _read(
    text: str, places: list[int], part: tuple[int, int] | None = None, depth: int = _MAX_DEPTH
) -> Iterator[NamedSpan]:
    """Yield the secrets in a part of a text: of a long one, the statements with a secret name are read."""
    done, end = part or (0, len(text))
    is_short = end - done <= _LONGEST_OPEN
    for place in places[bisect_left(places, done) : bisect_left(places, end)]:
        if place < done:
            continue
        if not is_short and (pair := _pair(text, places, place, end)):
            if is_secret_value(pair["name"], pair["value"].strip()):
                yield (*pair.span("value"), pair["name"])
            done = pair.end()
            continue
        start, stop = (done, end) if is_short else (_beginning(text, done, place), place)
        if not is_short and (assigned := _of_line(text, start, place, end)):
            yield assigned
            done = assigned[1]
            continue
        reader = _Reader(text, start, stop, end)
        for first, last, name in sorted(reader.found()):
            if name:
                yield first, last, name
            elif (
                depth
                and bisect_left(places, first) < bisect_left(places, last)
                and _assigns(text, first, last)
            ):
                yield from _read(text, places, (first, last), depth - 1)
        done = end if is_short else reader.end


def _pair(text: str, places: list[int], place: int, end: int) -> re.Match[str] | None:
    """Return the key and the string of JSON whose key is the secret name at a place, if no other name is in them."""
    pair = _PAIR.match(text, place, end)
    if pair is None or text[place - 1 : place] != pair["quote"] or not is_secret_name(pair["name"]):
        return None
    number = bisect_left(places, place) + 1
    return pair if number == len(places) or places[number] >= pair.end() else None


def _of_line(text: str, start: int, place: int, end: int) -> NamedSpan | None:
    """Return the secret of a line that is one assignment to the name at a place, as most are that are many."""
    line = _ASSIGNMENT.match(text, start, end)
    if line is None or not line.start("name") <= place < line.end("name") or not is_secret_name(line["name"]):
        return None
    if line["string"] is not None:
        is_secret = is_secret_value(line["name"], line["string"].strip())
    else:
        is_secret = is_unquoted_secret(line["name"], line["value"], is_tight=not line["blanks"])
    return (*line.span("value" if line["string"] is None else "string"), line["name"]) if is_secret else None


def _assigns(text: str, start: int, end: int) -> bool:
    return text.find("=", start, end) >= 0 or text.find(":", start, end) >= 0


def _beginning(text: str, done: int, place: int) -> int:
    """Return where the statement around a place begins: with the line of the outermost bracket that is open there."""
    first = max(done, place - _LONGEST_OPEN)
    start, closed = place, 0
    for bracket in reversed([*_BRACKET.finditer(text, first, place)]):
        if bracket[0] in ")]}":
            closed += 1
        elif closed:
            closed -= 1
        else:
            start = bracket.start()
    line = text.rfind("\n", first, start) + 1
    return line or max(done, place - _AROUND)


@dataclass(slots=True)
class _Bracket:
    """The state of the innermost bracket: the names and strings of its current element, and the name of its values.

    ``inherited`` is the secret name of all values in the bracket, ``secret`` that of the current element. ``is_lookup``
    marks a subscript or a call, whose strings name its result: ``environ["TOKEN"]``, ``get("token")``. ``values`` are
    the strings in the bracket, which a later ``name="token"`` may name. ``called`` is the name of a call, or of what
    it is assigned to, in whose arguments what looks made by a machine is secret: ``set_token("…")``; so is the last one
    of a login, whose arguments are counted, behind ``before_password`` others. ``sets`` marks the arguments of a call
    that gives the second one to the name that is the first: ``setenv("TOKEN", "…", 1)``.
    """

    inherited: str = ""
    is_lookup: bool = False
    secret: str = ""
    compared: str = ""
    paired: str = ""
    called: str = ""
    before_password: int = 0  # or it takes none
    sets: bool = False
    number: int = 0
    names: list[str] = field(default_factory=list)
    strings: list[str] = field(default_factory=list)
    is_name: bool = False
    values: list[tuple[int, int]] = field(default_factory=list)

    def next_element(self) -> None:
        """Start the next element."""
        self.secret, self.compared, self.is_name = self.inherited, "", False
        self.names, self.strings = [], []
        self.number += 1


class _Reader:
    """Reads a statement, to the end of what is open there; a string that is no secret is reported without a name.

    Such a string is to be read on its own. ``stop`` is a place in the statement, ``limit`` where the text ends, and
    ``end`` where the reading ended.
    """

    def __init__(self, text: str, start: int, stop: int, limit: int) -> None:
        self._text = text
        self.end, self._stop, self._limit = start, stop, limit
        self._brackets = [_Bracket()]
        self._callee: str | None = None  # the name, or "", of what an opening bracket would call
        self._read_until = self._unquoted_until = self._assigned_at = 0
        self._found: list[tuple[int, int, str]] = []

    def found(self) -> list[tuple[int, int, str]]:
        """Return the beginning and the end of each secret, with its name, and of each other string."""
        near, far = self._stop + _AROUND, self._stop + _LONGEST_BRACKET
        is_named: bool | None = None  # it is asked once for each sign
        for token in _TOKEN.finditer(self._text, self.end, self._limit):
            kind, (start, end) = token.lastgroup, token.span()
            if start >= near:
                is_named = self._is_in_named_bracket() if is_named is None else is_named
                if start >= far or not is_named:
                    break
            self.end = end
            if start < self._read_until:
                continue
            if kind == "names":
                bracket = self._brackets[-1]
                bracket.names += token["names"].split()
                self._callee = bracket.names[-1]
                bracket.compared = _first_secret(bracket.names[-2:-1]) if self._callee == "or" else ""
            elif kind == "sign":
                sign, is_named = token["sign"], None
                if sign == "\n" and len(self._brackets) == 1 and end > self._stop:
                    break
                self._sign(sign, end)
            elif kind in _STRINGS:
                self._string(*token.span(kind), end)
            else:
                self._callee = None
        return self._found

    def _is_in_named_bracket(self) -> bool:
        innermost = self._brackets[max(1, len(self._brackets) - _MAX_NESTED) :]
        return any(each.inherited or each.secret or each.called for each in innermost)

    @property
    def _bracket(self) -> _Bracket:
        return self._brackets[-1]

    def _string(self, start: int, end: int, after: int) -> None:
        bracket, value = self._bracket, self._text[start:end]
        self._callee = ""
        bracket.strings += [] if "[redacted:" in value else [value]
        name = bracket.compared
        if not name and (_KEY_FOLLOWS.match(self._text, after) is None or self._is_assigned(start)):
            is_pair = bracket.paired and is_opaque(value) and (bracket.sets or self._closes_pair(after))
            name = bracket.secret or (bracket.paired if is_pair else "")
            if not name and bracket.called and is_opaque(value):
                name = bracket.called
            if not name and bracket.before_password and self._is_last_argument(value, after):
                name = "password"
        bracket.compared = bracket.paired = ""
        if name and is_secret_value(name, value.strip()):
            self._found.append((start, end, name))
            return
        if len(value) >= MIN_SECRET_LENGTH:
            self._found.append((start, end, ""))
        if bracket.is_name and is_secret_name(value):
            self._found += [(*span, value) for span in bracket.values if is_opaque(self._text[slice(*span)])]
        elif len(bracket.values) < _MAX_VALUES:
            bracket.values.append((start, end))

    def _closes_pair(self, after: int) -> bool:
        """Whether a pair ends here: in parentheses, or in a list of lists."""
        closing = _CLOSES.match(self._text, after)
        return closing is not None and (closing[0][-1] == ")" or len(self._brackets) > 2)  # noqa: PLR2004 -- the text's, and two

    def _is_last_argument(self, value: str, after: int) -> bool:
        """Whether a string is the last argument without a name, and may be a password."""
        bracket = self._bracket
        is_alone = (
            bracket.number >= bracket.before_password and not bracket.names and bracket.strings == [value]
        )
        is_one_word = not any(map(str.isspace, value)) and "/" not in value
        may_be_password = is_one_word if bracket.before_password == 1 else is_opaque(value)
        return (
            is_alone
            and (may_be_password or _GROUPS.fullmatch(value) is not None)
            and _LAST_ARGUMENT.match(self._text, after) is not None
        )

    def _is_assigned(self, start: int) -> bool:
        """Whether a string stands right behind a sign of assignment."""
        return not self._text[self._assigned_at : start].strip(" \t\"'bBfFrRuU")

    def _sign(self, sign: str, end: int) -> None:
        bracket, callee, self._callee = self._brackets[-1], self._callee, None
        match sign:
            case "=" | ":=" | "=>" | "<-" | "<<-":
                named = _first_secret(_joined(bracket.names) + bracket.strings)
                bracket.secret = named or bracket.secret
                bracket.is_name = bracket.names[-1:] == ["name"]
                bracket.names, bracket.strings = [], []
                self._assigned_at = end
                self._unquoted(end, is_tight=self._text[end - 2 : end - 1].strip() != "")
            case ":":
                self._colon(end)
            case "==" | "!=":
                bracket.compared = _first_secret(bracket.names[-1:] + bracket.strings[-1:])
            case "," if len(self._brackets) > 1:
                pair = bracket.strings[0] if len(bracket.strings) == 1 and not bracket.names else ""
                bracket.next_element()
                bracket.paired = _first_secret([pair])
            case ";" | "&" | "#" | "\n" if len(self._brackets) == 1:
                if sign != "&" or not self._text[end - 2 : end - 1].isspace():  # "&str" is a type
                    self._brackets = [_Bracket()]
            case "(" | "[" | "{":
                self._open(sign, callee)
            case ")" | "]" | "}" if len(self._brackets) > 1:
                closed = self._brackets.pop()
                if closed.is_lookup:
                    self._bracket.names += closed.strings[:1]
                if len(self._bracket.values) < _MAX_VALUES:
                    self._bracket.values += closed.values
                self._callee = ""

    def _open(self, sign: str, callee: str | None) -> None:
        bracket = self._bracket
        if callee is None or sign == "{":
            inherited = bracket.secret
        elif callee.rpartition(".")[2][:1].isupper() and is_secret_name(callee):
            inherited = callee
        else:
            inherited = bracket.secret if callee in _TEXT_CONSTRUCTORS else ""
        called, before_password = bracket.called, 0
        if callee in {"in", "IN"} and (name := _first_secret(bracket.names[-_NAMES_BEFORE_IN:-1])):
            called, callee = name, None  # these are the values that the name may have
            inherited = name if is_password_name(name) else inherited
        if sign == "(" and callee:
            last = callee.lower().rpartition(".")[2]
            words = {callee.lower(), last, last.rpartition("_")[2]}
            is_login = not words.isdisjoint(LOGINS)
            before_password = 1 if is_login else _ARGUMENTS_BEFORE_PASSWORD if last == "connect" else 0
            is_named = is_login or is_secret_name(callee) or not words.isdisjoint(CALLS_WITH_KEYS)
            called = callee if is_named else bracket.secret or called
        if sign == "{" and callee and is_secret_name(callee):  # C++ initialises so
            called = callee
        is_lookup = callee is not None and sign != "{"
        sets = sign == "(" and callee is not None and _SETS.match(callee.rpartition(".")[2]) is not None
        self._brackets.append(
            _Bracket(
                inherited, is_lookup, inherited, called=called, before_password=before_password, sets=sets
            )
        )

    def _colon(self, end: int) -> None:
        bracket = self._bracket
        if bracket.names and bracket.names[0] in _COMPOUND:
            bracket.next_element()
            return
        named = _first_secret(bracket.strings[-1:] or _joined(bracket.names[-2:])[-2:])
        bracket.secret = named or bracket.inherited
        bracket.is_name = "".join(bracket.strings[-1:] or bracket.names[-1:]).lower() in _NAMES_OF_NAMES
        bracket.strings = []
        if named:
            self._unquoted(end, is_tight=False)

    def _unquoted(self, end: int, *, is_tight: bool) -> None:
        """Find the unquoted value that follows a secret name."""
        name = self._bracket.secret
        if not name or end < self._unquoted_until:
            return
        unquoted = _UNQUOTED.match(self._text, end, self._limit)
        if unquoted is None:
            return
        self._unquoted_until = unquoted.end()
        if is_unquoted_secret(name, unquoted["value"], is_tight=is_tight):
            self._read_until = unquoted.end()
            self._found.append((*unquoted.span("value"), name))


def _first_secret(names: Iterable[str]) -> str:
    """Return the first secret name, or nothing."""
    return next((name for name in names if is_secret_name(name)), "")


def _joined(names: list[str]) -> list[str]:
    """Return the names, and the last two as one: "API key"."""
    return [*names, " ".join(names[-2:])]


_LONGEST_ROW = 1_000
_LONGEST_LIST = 300  # characters before a name
_DELIMITERS = ",;\t|& "  # a blank stands for any number of them
_ENDS_ROW = " \\"  # in LaTeX, whose cells are between ampersands
_ROW_OF_NAMES = re.compile(r"[\w .()#/\"'|,;&\\\t-]*+")
_STROKES = "│┆┃║"  # between the cells of a table that is drawn
_PLAIN_SIGNS = dict.fromkeys(_STROKES, "|") | {"\N{FULLWIDTH COLON}": ":", "\N{FULLWIDTH EQUALS SIGN}": "="}
_RULE = re.compile(r"[\s|:+=\u2500-\u257f-]++")
_BEGINS_RULE = frozenset(" \t\r|:+=-├╞┡╠")
_TYPES = frozenset({"varchar", "string", "object"})  # which DuckDB writes below a name
_NAME = re.compile(r"[\"']?[^\W\d][\w .()#-]{0,40}[\"']?")
_QUOTED_CELL = re.compile(r"\"(?:[^\"]|\"\")*+\"")
_IMPORTS = frozenset({"from", "import"})
_AROUND_VALUES = " \t\r\"'"

_LIST_ELEMENT = (
    r"(?:[bru]?'[^'\n]{0,500}+'|[bru]?\"[^\"\n]{0,500}+\"|`[^`\n]{0,100}+`|[^\s()\[\]{},\"'`]{1,100}+)"
)
_GAP = r"\s{0,99}+"
_LIST = re.compile(
    rf"[(\[]{_GAP}({_LIST_ELEMENT}(?:{_GAP},{_GAP}{_LIST_ELEMENT}){{1,50}}+){_GAP},?{_GAP}[)\]]"
)
_EACH = re.compile(_LIST_ELEMENT)
_BETWEEN = re.compile(
    r"\s*+(?:(?P<values>(?i:values?)|==?)\s*+|[\"']?\s*+,\s*+|\w++\s*+=\s*+|\]\s*+\[parameters:\s*+)[(\[]?(?=[(\[])"
)
_COLUMNS = re.compile(r"columns\s?=\s?\Z")


def _secrets_in_lines(text: str, places: Sequence[int]) -> Iterator[NamedSpan]:
    """Yield the secrets in the columns of a table whose first line holds one of the names at these places."""
    done, end = 0, -1
    for place in places:
        if end < place:
            end = text.find("\n", place) % (len(text) + 1)
        if place < done or end - place > _LONGEST_ROW:
            continue
        start, done = text.rfind("\n", max(0, place - _LONGEST_ROW), place) + 1, end
        if place - start > _LONGEST_ROW or not _ROW_OF_NAMES.fullmatch(text, start, end):
            continue
        for delimiter in filter(text[start:end].count, _DELIMITERS):
            cells = _cells(text, start, end, delimiter)
            names = [text[slice(*cell)] for cell in cells]
            columns = [
                number for number, name in enumerate(names) if is_secret_name(name.strip(_AROUND_VALUES))
            ]
            size = _size_of_rows(text[start:end], names, delimiter)
            titles = names[1:] if not names[0] else names  # a column of numbers of rows has none
            if not columns or not size or not all(map(_NAME.fullmatch, titles)):
                continue
            named = [(number - len(names), names[number].strip(_AROUND_VALUES)) for number in columns]
            for row_start, done, row in _rows(text, end + 1, delimiter, size):
                for number, name in named:
                    if _is_value(name, row[number].strip(_AROUND_VALUES)):
                        cell = _cells(text, row_start, done, delimiter)[number]
                        if delimiter != " " or _are_aligned(cells[number], start, cell, row_start):
                            yield from _value(text, cell, name)
            break


def _size_of_rows(line: str, names: list[str], delimiter: str) -> int:
    """Return how many cells a row has below a line of names, or 0 where the line is none."""
    if delimiter == " ":
        are_apart = re.search(r"\S \S", line) is None
        return len(names) + 1 if line[:1] == " " else len(names) * (are_apart and len(names) > 1)
    if delimiter == "&" and not line.rstrip().endswith("\\\\"):
        return 0
    return len(names) * (len(names) > 1 and names[0].partition(" ")[0] not in _IMPORTS)


def _are_aligned(name: Span, start: int, cell: Span, row_start: int) -> bool:
    return name[0] - start == cell[0] - row_start or name[1] - start == cell[1] - row_start


def _rows(text: str, start: int, delimiter: str, size: int) -> Iterator[tuple[int, int, list[str]]]:
    """Yield beginning, end and cells of each line that is a row of the table; that of a frame begins with its index."""
    while start < len(text):
        end = text.find("\n", start, start + _LONGEST_ROW)
        end = min(len(text), start + _LONGEST_ROW) if end < 0 else end
        line = text[start:end]
        is_rule = line[:1] in _BEGINS_RULE and _RULE.fullmatch(line)
        if not is_rule and not (delimiter == "&" and line[:1] == "\\"):
            if '"' in line:
                cells = [text[slice(*cell)] for cell in _cells(text, start, end, delimiter)]
            else:
                line = line.strip(" |") if delimiter == "|" else line
                line = line.rstrip(_ENDS_ROW) if delimiter == "&" else line
                cells = line.split(None if delimiter == " " else delimiter)
            if len(cells) != size:
                return
            yield start, end, cells
        start = end + 1


def _cells(text: str, start: int, end: int, delimiter: str) -> list[Span]:
    line = _QUOTED_CELL.sub(lambda quoted: "x" * len(quoted[0]), text[start:end])
    line = line.rstrip(_ENDS_ROW) if delimiter == "&" else line
    if delimiter == " ":
        return [(start + cell.start(), start + cell.end()) for cell in re.finditer(r"\S+", line)]
    if delimiter == "|":
        start += len(line) - len(line.lstrip(" |"))
        line = line.strip(" |")
    spans = []
    for cell in line.split(delimiter):
        first = start + len(cell) - len(cell.lstrip(" "))
        spans.append((first, first + len(cell.strip(" \r"))))
        start += len(cell) + 1
    return spans


def _value(text: str, cell: Span, name: str) -> Iterator[NamedSpan]:
    written = text[slice(*cell)]
    value = written.strip(_AROUND_VALUES)
    if _is_value(name, value):
        start = cell[0] + written.find(value)
        yield start, start + len(value), name


@lru_cache(maxsize=4_096)
def _is_value(name: str, value: str) -> bool:
    if value in _TYPES:
        return False
    is_password = is_password_name(name) and not any(map(str.isspace, value)) and is_secret_value(name, value)
    return is_password or is_unquoted_secret(name, value, is_tight=False)


_HTML_PART = re.compile(
    r"<(?:tr\b|(?P<end>/table)|t(?P<kind>[hd])\b[^<>]{0,200}>(?:\s*<\w[^<>]{0,100}>)?(?P<text>[^<]*+))",
    re.IGNORECASE,
)


def _secrets_in_html(text: str, places: Sequence[int]) -> Iterator[NamedSpan]:
    """Yield the secrets in tables of HTML, below a name in the head or beside it; ``places`` are those of names."""
    if not places or ("<td" not in text and "<TD" not in text):
        return
    names: list[re.Match[str]] = []
    cells: list[re.Match[str]] = []
    for part in chain(_HTML_PART.finditer(text, max(0, places[0] - _LONGEST_ROW)), (None,)):
        if part and part["kind"]:
            cells.append(part)
            continue
        pairs = [(cells[0], cells[1])] if len(cells) == 2 else []  # noqa: PLR2004 -- a name and its value
        pairs += zip(names, cells, strict=False) if len(names) == len(cells) else ()
        for name, cell in pairs:
            if is_secret_name(name["text"].strip()):
                yield from _value(text, cell.span("text"), name["text"].strip())
        if not names and all(cell["kind"] in "hH" for cell in cells):
            names = cells
        cells = []
        if part and part["end"]:
            names = []


def _secrets_in_lists(text: str, places: Sequence[int]) -> Iterator[NamedSpan]:
    """Yield the secrets in lists that follow a list of names with one of the names at these places, or come before."""
    done = tried = 0
    for place in places:
        first = max(done, place - _LONGEST_LIST)
        opening = max(text.rfind("(", first, place), text.rfind("[", first, place))
        if opening < tried or (found := _LIST.match(text, opening)) is None or found.end() <= place:
            tried = max(tried, opening + 1)
            continue
        names = [name[0].strip("\"'`") for name in _EACH.finditer(text, *found.span(1))]
        before, done = done, found.end()
        if not all(map(_NAME.fullmatch, names)) or _follows_alike(text, first, opening, len(names)):
            continue
        if _COLUMNS.search(text, max(0, opening - len("columns = ")), opening):
            rows = list(_LIST.finditer(text, max(before, opening - _FARTHEST_ROWS), opening))
        else:
            is_quoted = all(name[0][0] in "\"'" for name in _EACH.finditer(text, *found.span(1)))
            rows = list(_lists(text, found.end(), is_quoted=is_quoted))
            done = rows[-1].end() if rows else done
        for row in rows:
            elements = list(_EACH.finditer(text, *row.span(1)))
            if len(elements) == len(names):
                for name, element in zip(names, elements, strict=True):
                    value = element[0].lstrip("bru").strip("\"'")
                    if is_secret_name(name) and element[0][-1] in "\"'" and is_secret_value(name, value):
                        start = element.start() + element[0].find(value)
                        yield start, start + len(value), name


def _follows_alike(text: str, first: int, opening: int, size: int) -> bool:
    """Whether a list comes after one of the same length, so that it names nothing."""
    before = text[first:opening].rstrip()
    if not before.endswith(("),", "],")):
        return False
    previous = _LIST.match(before, max(before.rfind("("), before.rfind("[")))
    return previous is not None and len(_EACH.findall(previous[1])) == size


def _lists(text: str, start: int, *, is_quoted: bool) -> Iterator[re.Match[str]]:
    """Yield the lists that follow; behind names that are not quoted comes SQL's ``VALUES`` or an equals sign."""
    between = _BETWEEN.match(text, start)
    if between is None or not (is_quoted or between["values"]):
        return
    while between and (row := _LIST.match(text, between.end())):
        yield row
        between = _BETWEEN.match(text, row.end())
