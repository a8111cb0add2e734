"""Secrets in a table: below a secret name in the first row, or at its place in the lists that follow a list of names.

Rows are lines of CSV, of Markdown, of a database's or a frame's output, or lists as in SQL's ``INSERT`` and in ``zip``.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

from codex_nb.tools.secrets import is_password_name, is_secret_name, is_secret_value, is_unquoted_secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Span = tuple[int, int]
    NamedSpan = tuple[int, int, str]


_LONGEST_ROW = 1_000
_LONGEST_LIST = 300  # characters before a name
FARTHEST_ROWS = 2_000  # characters before the names of columns
_DELIMITERS = ",;\t| "  # a blank stands for any number of them
_ROW_OF_NAMES = re.compile(r"[\w .()#/\"'|,;\t-]*+")
_RULE = re.compile(r"[\s|:+=-]++")
_BEGINS_RULE = frozenset(" \t\r|:+=-")
_NAME = re.compile(r"[\"']?[^\W\d][\w .()#-]{0,40}[\"']?")
_QUOTED = re.compile(r"\"(?:[^\"]|\"\")*+\"")
_IMPORTS = frozenset({"from", "import"})
_AROUND_VALUES = " \t\r\"'"

_ELEMENT = r"(?:[bru]?'[^'\n]{0,500}+'|[bru]?\"[^\"\n]{0,500}+\"|`[^`\n]{0,100}+`|[^\s()\[\]{},\"'`]{1,100}+)"
_GAP = r"\s{0,99}+"
_LIST = re.compile(rf"[(\[]{_GAP}({_ELEMENT}(?:{_GAP},{_GAP}{_ELEMENT}){{1,50}}+){_GAP},?{_GAP}[)\]]")
_EACH = re.compile(_ELEMENT)
_BETWEEN = re.compile(
    r"\s*+(?:(?P<values>(?i:values?)|==?)\s*+|[\"']?\s*+,\s*+|\w++\s*+=\s*+)[(\[]?(?=[(\[])"
)
_COLUMNS = re.compile(r"columns\s?=\s?\Z")


def secrets_in_lines(text: str, places: Sequence[int]) -> Iterator[NamedSpan]:
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
            if not columns or not size or not all(map(_NAME.fullmatch, names)):
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
    return len(names) * (len(names) > 1 and names[0].partition(" ")[0] not in _IMPORTS)


def _are_aligned(name: Span, start: int, cell: Span, row_start: int) -> bool:
    return name[0] - start == cell[0] - row_start or name[1] - start == cell[1] - row_start


def _rows(text: str, start: int, delimiter: str, size: int) -> Iterator[tuple[int, int, list[str]]]:
    """Yield beginning, end and cells of each line that is a row of the table; that of a frame begins with its index."""
    while start < len(text):
        end = text.find("\n", start, start + _LONGEST_ROW)
        end = min(len(text), start + _LONGEST_ROW) if end < 0 else end
        line = text[start:end]
        if line[:1] not in _BEGINS_RULE or not _RULE.fullmatch(line):
            if '"' in line:
                cells = [text[slice(*cell)] for cell in _cells(text, start, end, delimiter)]
            else:
                line = line.strip(" |") if delimiter == "|" else line
                cells = line.split(None if delimiter == " " else delimiter)
            if len(cells) != size:
                return
            yield start, end, cells
        start = end + 1


def _cells(text: str, start: int, end: int, delimiter: str) -> list[Span]:
    line = _QUOTED.sub(lambda quoted: "x" * len(quoted[0]), text[start:end])
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


def _is_value(name: str, value: str) -> bool:
    is_password = is_password_name(name) and not any(map(str.isspace, value)) and is_secret_value(name, value)
    return is_password or is_unquoted_secret(name, value, is_tight=False)


_HTML_PART = re.compile(
    r"<(?:tr\b|(?P<end>/table)|t(?P<kind>[hd])\b[^<>]{0,200}>(?:\s*<\w[^<>]{0,100}>)?(?P<text>[^<]*+))",
    re.IGNORECASE,
)


def secrets_in_html(text: str, places: Sequence[int]) -> Iterator[NamedSpan]:
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


def secrets_in_lists(text: str, places: Sequence[int]) -> Iterator[NamedSpan]:
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
            rows = list(_LIST.finditer(text, max(before, opening - FARTHEST_ROWS), opening))
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
