"""Known secrets: what the namespace holds under secret names, and any text however it writes them.

A text is read in a few views, each made in one pass: without escapes, without separators, as hexadecimal digits. All
that the values look like in a view is looked for in one pass, so that the time depends on the length of the text and
hardly on the number of values.
"""

from __future__ import annotations

import ast
import base64
import contextvars
import html
import io
import re
import string
import types
import unicodedata
from bisect import bisect_right
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum, auto
from functools import cached_property, lru_cache
from itertools import accumulate, chain, compress, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from codex_nb.tools.describe_data import secret_columns
from codex_nb.tools.hiding import parse_cell
from codex_nb.tools.introspection import (
    instance_vars,
    is_one_of,
    library_of,
    module_of,
    mro_of,
    notebook_vars,
    slots_of,
    snapshot,
    vars_of,
)
from codex_nb.tools.nbmodel import join_multiline
from codex_nb.tools.safe_repr import parts_of
from codex_nb.tools.secrets import (
    MAX_SECRET_LENGTH,
    WORD,
    StringMatcher,
    Words,
    is_known_everywhere,
    is_opaque,
    is_secret_name,
    low_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from codex_nb.tools.nbmodel import Cell


class _View(IntEnum):
    """A way to read a text. In letters and digits alone, base64 looks the same in every alphabet and line length."""

    PLAIN = auto()
    LETTERS = auto()  # letters and digits alone
    UNESCAPED = auto()
    UNESCAPED_LETTERS = auto()
    CASELESS_LETTERS = auto()  # the same in lower case, for base32
    HEX = auto()  # hexadecimal digits alone
    DENSE = auto()  # everything but white space, for base85
    NUMBERS = auto()  # decimal numbers, separated by blanks

    __hash__ = int.__hash__


_FEWEST_LETTERS = 8  # fewer letters in order may stand in a text by chance
_BEGINNING = 16
_BASE64_BITS, _BASE32_BITS = 6, 5
# U+FEFF, which has no width, has the low byte FF.
_OTHERS = bytes(code for code in range(256) if chr(code) == "\xff" or not chr(code).isalnum())
_NO_HEX = bytes(code for code in range(256) if chr(code) not in "0123456789abcdefABCDEF")
_SPACES = bytes(code for code in range(256) if chr(code).isspace())
_DIGITS_APART = bytes(code if chr(code) in "0123456789" else 0x20 for code in range(256))
# Prose that happens to spell a value: "correct horse", "summer 2024".
_WORDS = re.compile(r"[^\W\d_]{2,}\d{0,4}")
_WORDS_APART = re.compile(r"[\w .,;:-]*")
_ENCODED_REST = re.compile(r"[A-Za-z0-9+/=_-]*")
_DENSE_REST = re.compile(r"[!-~]*")


# Apart, so that each begins with what a search finds quickly.
_ELLIPSES = (re.compile(r"…(?<=[\w/+=~%$!-]…)"), re.compile(r"\.\.\.(?<=[\w/+=~%$!-]\.\.\.)"))
_CHARACTERS = string.ascii_letters + string.digits + "_-+/=.~%$!:"
_SIGN = re.compile(r"[=:/]")  # a value may begin behind one


class SecretText(str):
    """A secret's text to look for, whose repr shows nothing of it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"


class _Form(NamedTuple):
    """What a value looks like in a view; ``rest`` is what else of an encoded text is taken out with it."""

    value: str
    view: _View
    data: bytes
    rest: re.Pattern[str] | None = None
    is_spelled: bool = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.view.name})"

    def key(self, *, is_telling: bool) -> bytes:
        """Return what is looked for: the beginning where that tells enough, for a long value may be truncated."""
        return self.data[:_BEGINNING] if is_telling and self.view is not _View.NUMBERS else self.data


@lru_cache(maxsize=2_000)
def _forms(value: str) -> tuple[_Form, ...]:
    """Return what a value looks like in each view."""
    data = value.encode("utf-8", "surrogatepass")
    wide = {value.encode("utf-16-le", "surrogatepass")[:-1], value.encode("utf-16-be", "surrogatepass")[1:]}
    written = tuple(dict.fromkeys((data, *wide)))
    numbers = {tuple(map(ord, value)), *map(tuple, written)}
    forms = [_Form(value, _View.NUMBERS, " ".join(map(str, each)).join("  ").encode()) for each in numbers]
    forms += [_Form(value, _View.HEX, each.hex().encode()) for each in written]
    forms += [
        _Form(value, _View.UNESCAPED_LETTERS, each.translate(None, _OTHERS), _ENCODED_REST)
        for each in _inner(base64.b64encode, written, 3, _BASE64_BITS)
    ]
    forms += [
        _Form(value, _View.CASELESS_LETTERS, each.lower(), _ENCODED_REST)
        for each in _inner(base64.b32encode, written, 5, _BASE32_BITS)
    ]
    forms += [_Form(value, _View.DENSE, each, _DENSE_REST) for each in _in_base85(data)]
    if is_opaque(value):  # words are spelled in either case
        forms.append(_Form(value, _View.CASELESS_LETTERS, _letters(value).lower(), is_spelled=True))
    spelled = [(_View.LETTERS, value), *((_View.UNESCAPED_LETTERS, each) for each in _unescaped_forms(value))]
    forms += [_Form(value, view, _letters(each), is_spelled=True) for view, each in spelled]
    plain = [(_View.PLAIN, value), *((_View.UNESCAPED, each) for each in _unescaped_forms(value))]
    exact = [
        _Form(value, view, low_bytes(each))
        for view, each in plain
        if each == value or len(each) >= _FEWEST_LETTERS  # what consists of tags and escapes reads as nothing
    ]
    telling = (form for form in forms if len(form.data) >= _FEWEST_LETTERS)
    return tuple({(form.view, form.data): form for form in chain(exact, telling)}.values())


def _letters(value: str) -> bytes:
    return low_bytes(value).translate(None, _OTHERS)


def _unescaped_forms(value: str) -> tuple[str, str]:
    """Return how a value reads without its escapes: as it is, or once more without what looks like one in it."""
    return value, "".join(_split_escapes(value)[0])


def _inner(encode: Callable[[bytes], bytes], texts: Iterable[bytes], size: int, bits: int) -> Iterator[bytes]:
    """Yield the encoded characters that depend on a text alone, for each place of it in a group of ``size``."""
    shifted = [(offset, bytes(offset) + text) for text in texts for offset in range(size)]
    encoded = encode(b"".join(data + bytes(-len(data) % size) for _, data in shifted))
    start = 0
    for offset, data in shifted:
        first, last = -(-offset * 8 // bits), len(data) * 8 // bits
        yield encoded[start + first : start + last]
        start += -(-len(data) // size) * size * 8 // bits


_BASE85 = base64.b85encode(b"".join(number.to_bytes(4, "big") for number in range(85)))[4::5]
_ASCII85 = bytes.maketrans(_BASE85, bytes(range(ord("!"), ord("!") + 85)))


def _in_base85(data: bytes) -> Iterator[bytes]:
    """Yield the characters of both alphabets that depend on a text alone, for each place of it in a group of four."""
    parts = [data[start : len(data) - (len(data) - start) % 4] for start in range(4)]
    encoded, start = base64.b85encode(b"".join(parts)), 0
    for part in parts:
        end = start + len(part) // 4 * 5
        yield from (encoded[start:end], encoded[start:end].translate(_ASCII85))
        start = end


# Its first character is one of five, which a search finds quickly.
_ESCAPE = re.compile(
    r"""([%&\\<\x1b](?:
      (?<=%)(?:(?:25)*[0-9A-Fa-f]{2}(?:%(?:25)*[0-9A-Fa-f]{2})*|u[0-9A-Fa-f]{4})
    | (?<=&)(?:amp;){0,3}(?:\#0*+\d{1,7};?|\#[xX]0*+[0-9A-Fa-f]{1,6};?|[A-Za-z][A-Za-z0-9]{1,30};)
    | (?<=<)/?[A-Za-z]{1,6}(?:\s[^<>]{0,100})?>
    | (?<=\x1b)\[[0-9;]{0,20}[A-Za-z]
    | (?<=\\)(?<!\\\\)\\*+(?:
          (?:x[0-9A-Fa-f]{2}(?:\\++x[0-9A-Fa-f]{2})*)
        | (?:u[0-9A-Fa-f]{4}(?:\\++u[0-9A-Fa-f]{4})*)
        | u\{[0-9A-Fa-f]{1,6}\} | U[0-9A-Fa-f]{8} | N\{[A-Za-z0-9 -]{1,80}\} | [0-3]?[0-7]{2}(?:\\++[0-3]?[0-7]{2})*
        | . )
    ))""",
    re.VERBOSE | re.DOTALL,
)
_PERCENT = re.compile(r"%(?:25)*([0-9A-Fa-f]{2})")
_NO_UTF_8 = re.compile("[\udc80-\udcff]")
_ESCAPE_SIGNS = "%&\\<\x1b"
_UNIT_DIGITS = 4  # of a UTF-16 code unit
_CONTROLS = frozenset("abfnrtv0\n")


def _split_escapes(text: str) -> tuple[list[str], list[str]]:
    """Return a text in pieces, every second one an escape: as it reads, and as it is written."""
    written = _ESCAPE.split(text)
    meanings = {escape: _meaning(escape) for escape in set(written[1::2])}
    read = written.copy()
    read[1::2] = map(meanings.__getitem__, written[1::2])
    return read, written


def _meaning(escape: str) -> str:
    if escape[0] in "<\x1b":  # a tag, or a colour of a terminal, is not seen
        return ""
    try:
        if escape[0] == "&":
            return html.unescape(escape.replace("&amp;", "&"))
        if escape[0] == "%" and escape[1] != "u":
            return _decoded("".join(_PERCENT.findall(escape)))
        kind, rest = escape.lstrip("\\%")[:1], escape.lstrip("\\%")[1:]
        if kind == "x" and rest:
            return _decoded(escape.replace("\\", "").replace("x", ""))
        if kind == "N" and rest:
            return unicodedata.lookup(rest[1:-1])
        if kind == "u" and len(rest) > _UNIT_DIGITS and rest[0] != "{":
            units = escape.replace("\\", "").replace("u", "")
            return bytes.fromhex(units).decode("utf-16-be", "replace")
        if kind in {"u", "U"} and rest:
            return chr(int(rest.strip("{}"), 16))
        if rest:
            return _decoded("".join(f"{int(byte, 8):02x}" for byte in escape.replace("\\", " ").split()))
    except (ValueError, KeyError, OverflowError):
        return escape
    return " " if kind in _CONTROLS else kind


def _decoded(digits: str) -> str:
    """Read bytes as UTF-8, and as Latin-1 where they are not."""
    text = bytes.fromhex(digits).decode("utf-8", "surrogateescape")
    return _NO_UTF_8.sub(lambda match: chr(ord(match[0]) & 0xFF), text)


_BLOCK = 1_000
_LAST_LATIN = "\u024f"


class _Kept:
    """The places of the bytes that a view keeps of a text."""

    def __init__(self, data: bytes, dropped: bytes) -> None:
        self._data = data
        self._is_kept = bytes(code not in dropped for code in range(256))
        blocks = range(0, len(data), _BLOCK)
        sizes = (len(data[start : start + _BLOCK].translate(None, dropped)) for start in blocks)
        self._ends = [0, *accumulate(sizes)]
        self._places: dict[int, tuple[int, ...]] = {}

    def __call__(self, number: int) -> int:
        """Return where the kept byte with this number stands."""
        block = bisect_right(self._ends, number) - 1
        if block not in self._places:
            start = block * _BLOCK
            flags = self._data[start : start + _BLOCK].translate(self._is_kept)
            self._places[block] = tuple(compress(range(start, start + _BLOCK), flags))
        return self._places[block][number - self._ends[block]]


def _in_plain_letters(text: str) -> str:
    """Return a text with the ASCII character that each full-width or mathematical letter, digit or sign stands for."""
    if text.isascii():
        return text
    plain = {each: unicodedata.normalize("NFKC", each) for each in set(text) if each > _LAST_LATIN}
    table = {ord(each): letter for each, letter in plain.items() if len(letter) == 1 and letter.isascii()}
    return text.translate(table) if table else text


class _Reading:
    """A text in all its views."""

    def __init__(self, text: str) -> None:
        self.text = text = _in_plain_letters(text)
        self._raw = low_bytes(text)
        self._hex = self._raw.replace(b"0x", b"  ").replace(b"0X", b"  ")
        has_escapes = any(sign in text for sign in _ESCAPE_SIGNS)
        self._read, self._written = _split_escapes(text) if has_escapes else ([text], [text])
        self.unescaped = "".join(self._read) if len(self._read) > 1 else text
        self._unescaped = low_bytes(self.unescaped) if len(self._read) > 1 else self._raw
        self._kept: dict[_View, _Kept] = {}

    def views(self) -> Iterator[tuple[_View, bytes]]:
        """Yield each view."""
        yield _View.PLAIN, self._raw
        if len(self._read) > 1:
            yield _View.UNESCAPED, self._unescaped
            yield _View.LETTERS, self._raw.translate(None, _OTHERS)
        letters = self._unescaped.translate(None, _OTHERS)
        yield _View.UNESCAPED_LETTERS, letters
        yield _View.CASELESS_LETTERS, letters.lower()
        yield _View.HEX, self._hex.translate(None, _NO_HEX).lower()
        yield _View.DENSE, self._raw.translate(None, _SPACES)
        yield _View.NUMBERS, b" ".join(self._raw.translate(_DIGITS_APART).split()).join((b" ", b" "))

    def span(self, view: _View, first: int, last: int) -> tuple[int, int]:
        """Return where the text begins and ends whose characters are those from the first to the last of a view."""
        if view is _View.CASELESS_LETTERS:
            view = _View.UNESCAPED_LETTERS
        is_unescaped = view in {_View.UNESCAPED, _View.UNESCAPED_LETTERS}
        if view not in {_View.PLAIN, _View.UNESCAPED}:
            if view not in self._kept:
                bare = self._hex if view is _View.HEX else self._unescaped if is_unescaped else self._raw
                dropped = {_View.HEX: _NO_HEX, _View.DENSE: _SPACES}.get(view, _OTHERS)
                self._kept[view] = _Kept(bare, dropped)
            first, last = self._kept[view](first), self._kept[view](last)
        if is_unescaped:
            return self._escape(first)[0], self._escape(last)[1]
        return first, last + 1

    def _escape(self, place: int) -> tuple[int, int]:
        """Return where a character of the text without escapes begins and ends: with its whole escape."""
        read, written = self._ends
        number = bisect_right(read, place) - 1
        start = written[number]
        if number % 2:
            return start, written[number + 1]
        start += place - read[number]
        return start, start + 1

    @cached_property
    def _ends(self) -> tuple[list[int], list[int]]:
        return [0, *accumulate(map(len, self._read))], [0, *accumulate(map(len, self._written))]


class _Index:
    """Finds which of many byte strings occur in another one; no repr shows them.

    What is added has a matcher of its own, until it is as much as the one before: few values are learned at a time.
    """

    __slots__ = ("_matchers", "_new", "forms")

    def __init__(
        self,
        forms: Mapping[bytes, tuple[_Form, ...]],
        matchers: Sequence[StringMatcher] = (),
        new: Sequence[bytes] = (),
    ) -> None:
        self.forms = forms
        self._matchers = matchers
        self._new = new

    def adding(self, forms: Iterable[tuple[bytes, _Form]]) -> _Index:
        """Return an index that looks for these forms, too, by their keys."""
        more = dict(self.forms)
        for key, form in forms:
            more[key] = (*more.get(key, ()), form)
        # These before the matchers: another thread may move them there meanwhile.
        new = (*self._new, *more.keys() - self.forms.keys())
        return _Index(more, self._matchers, new)

    def found(self, data: bytes) -> list[bytes]:
        """Return the keys that occur."""
        if new := self._new:
            matchers = self._matchers
            while matchers and len(matchers[-1].strings) <= len(new):
                *matchers, last = matchers
                new = (*last.strings, *new)
            # In this order, another thread finds each key at least once.
            self._matchers = (*matchers, StringMatcher(new))
            self._new = ()
        return [key for matcher in self._matchers for key in matcher.occurring(data)]


@dataclass(slots=True)
class _Span:
    start: int
    end: int
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KnownValues:
    """Values to find, with the name of each."""

    names: Mapping[str, str] = field(default_factory=dict, repr=False)
    _indexes: Mapping[_View, _Index] = field(
        default_factory=lambda: {view: _Index({}) for view in _View}, repr=False
    )
    _beginnings: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict, repr=False
    )  # values by their first letters

    def adding(self, names: Mapping[str, str]) -> KnownValues:
        """Return these values and others."""
        new: dict[_View, list[tuple[bytes, _Form]]] = {view: [] for view in _View}
        beginnings = dict(self._beginnings)
        for value in names:
            start = value[:_FEWEST_LETTERS]
            beginnings[start] = (*beginnings.get(start, ()), value)
            is_telling = is_opaque(value[:_BEGINNING])
            for form in _forms(value):
                new[form.view].append((form.key(is_telling=is_telling), form))
        indexes = {view: index.adding(new[view]) for view, index in self._indexes.items()}
        return KnownValues({**self.names, **names}, indexes, beginnings)

    def replace(self, text: str, mark: Callable[[str], str]) -> str:
        """Return the text with the mark of its name in place of each value."""
        if not self.names or not text:
            return text
        plain = self._indexes[_View.PLAIN]
        beginnings = plain.found(low_bytes(text))
        values = {form.value for key in beginnings for form in plain.forms[key]}
        for value in sorted(values, key=len, reverse=True):  # one may be part of another
            if value in text:
                text = text.replace(value, mark(self.names[value]))
        reading, spans = _Reading(text), list[_Span]()
        for view, data in reading.views():
            index = self._indexes[view]
            keys = beginnings if view is _View.PLAIN and text.isascii() else index.found(data)
            for key in keys:
                spans += _spans(reading, data, key, index.forms[key])
        pieces, end = [], 0
        for span in sorted(spans, key=lambda span: (span.start, -span.end)):
            if span.start >= end:
                pieces += [text[end : span.start], mark(self.names[span.value])]
            end = max(end, span.end)
        text = "".join((*pieces, text[end:]))
        return self._without_beginnings(text, mark) if "…" in text or "..." in text else text

    def _without_beginnings(self, text: str, mark: Callable[[str], str]) -> str:
        """Return the text without what an ellipsis left of a value, as in a narrow table, if that tells enough.

        Longer beginnings are found like the value itself.
        """
        pieces, end = [], 0
        ellipses = chain.from_iterable(pattern.finditer(text) for pattern in _ELLIPSES)
        for ellipsis in sorted(ellipses, key=lambda found: found.start()):
            head = text[max(end, ellipsis.start() - _BEGINNING - 1) : ellipsis.start()]
            run = head[len(head.rstrip(_CHARACTERS)) :]
            for place in (0, *(sign.end() for sign in _SIGN.finditer(run))):
                part = run[place:]
                alike = self._beginnings.get(part[:_FEWEST_LETTERS], ())
                values = [value for value in alike if value.startswith(part)]
                if values and is_opaque(part):
                    pieces += [text[end : ellipsis.start() - len(part)], mark(self.names[values[0]])]
                    end = ellipsis.start()
                    break
        return "".join((*pieces, text[end:]))


def _spans(reading: _Reading, data: bytes, key: bytes, forms: Sequence[_Form]) -> Iterator[_Span]:
    """Yield where forms that begin alike stand in the text, each with the rest of its encoding."""
    if (view := forms[0].view) is _View.NUMBERS:
        pattern = r"\D++".join(key.decode().split())
        for match in re.finditer(rf"(?<!\d){pattern}(?!\d)", reading.text):
            yield _Span(*match.span(), forms[0].value)
        return
    end = after = 0
    while (place := data.find(key, after)) >= 0:
        sizes = ((_common(form.data, data, place), form) for form in forms)
        size, form = max(sizes, key=lambda each: (each[0] == len(each[1].data), each[0]))
        after = place + size
        start, last = reading.span(view, place, after - 1)
        if size < len(form.data) and _length(_ENCODED_REST, reading.text, last):
            continue
        if not _is_meant(reading, form, place, size, reading.text[start:last]):
            continue
        if form.rest is not None:
            start -= _length(form.rest, reading.text[end:start][::-1])
            last += _length(form.rest, reading.text, last)
        yield _Span(start, end := last, form.value)


def _common(form: bytes, data: bytes, place: int) -> int:
    """Return how many bytes of a form stand at a place, from its beginning."""
    chunk = data[place : place + len(form)]
    different = (number for number, (one, other) in enumerate(zip(form, chunk, strict=False)) if one != other)
    return len(form) if chunk == form else next(different, len(chunk))


def _is_meant(reading: _Reading, form: _Form, place: int, size: int, written: str) -> bool:
    """Whether bytes that are those of a form stand for its characters, and not for words that happen to spell them."""
    if form.is_spelled:
        may_be_words = not is_opaque(form.value) or _WORDS.fullmatch(form.value)
        return not (may_be_words and _WORDS_APART.fullmatch(written))
    if form.view in {_View.PLAIN, _View.UNESCAPED}:
        text = reading.text if form.view is _View.PLAIN else reading.unescaped
        return any(text[place : place + size] == each[:size] for each in _unescaped_forms(form.value))
    return True


def _length(pattern: re.Pattern[str], text: str, start: int = 0) -> int:
    match = pattern.match(text, start)
    return len(match[0]) if match else 0


_LARGEST_NUMBER = 10**60


_MAX_VISITED = 5_000


_FIRST_ENTRIES = 50


_MAX_ENTRIES = 500
_DEEPEST = 6


def secrets_of_namespace(namespace: Mapping[str, Any], cells: Iterable[Cell] = ()) -> set[str]:
    """Return the values that variables, columns, keys and attributes with secret names hold."""
    return set().union(*secrets_by_variable(namespace, cells).values())


def secrets_by_variable(namespace: Mapping[str, Any], cells: Iterable[Cell] = ()) -> dict[str, set[str]]:
    """Return the secret values in each variable; of a huge namespace not all variables are read.

    Under no name stand those that ``cells`` show.
    """
    namespace = snapshot(namespace)
    found: dict[str, set[str]] = {}
    room = _MAX_VISITED
    for name in sorted(namespace, key=is_secret_name, reverse=True):
        if room <= 0:
            break
        named = list(islice(_named(name, namespace[name], "", _DEEPEST), room))
        room -= len(named)
        texts = ((secret, text) for secret, value in named for text in _as_texts(value))
        found[name] = {text for secret, text in texts if is_known_everywhere(secret, text)}
    code = (
        (cell.source, _shown_by(cell))
        for cell in cells
        if cell.kind == "code" and _named_by_cell(cell.source)
    )
    for name, text in _given_by_cells(chain(_in_history(namespace), code), namespace):
        found.setdefault(name, set()).add(text)
    return found


_MAX_CELLS = 500
_LONGEST_CELL = 20_000
_MAY_NAME_SECRET = re.compile("getpass|get_password")
_LONGEST_OUTPUT = 1_000
_PROMPT = re.compile(r"\AOut\[\d+\]: ")


def _in_history(namespace: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield the cells that IPython keeps in a namespace, each with the value that it has shown."""
    cells, shown = namespace.get("In"), namespace.get("Out")
    if type(cells) is list and type(shown) is dict:
        for number, source in list(enumerate(cells))[-_MAX_CELLS:]:
            if type(source) is str:
                yield source, (shown.get(number),)


def _shown_by(cell: Cell) -> tuple[str, ...]:
    """Return the short texts among a cell's outputs, as they read without quotes."""
    texts = (
        join_multiline(
            output.get("text") or dict(output.get("data") or {}).get("text/plain"), _LONGEST_OUTPUT
        )
        for output in cell.outputs
    )
    return tuple(_PROMPT.sub("", text).strip().strip("'\"") for text in texts if len(text) <= _LONGEST_OUTPUT)


def _given_by_cells(
    cells: Iterable[tuple[str, Iterable[Any]]], namespace: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield what cells have bound or shown of expressions that name a secret: ``x = getpass()``, ``get("HF_TOKEN")``.

    Each with the name of the variable.
    """
    for source, shown in cells:
        for target, name in _named_by_cell(source):
            values = (namespace.get(target),) if target else shown
            for text in chain.from_iterable(map(_as_texts, values)):
                is_single = not any(map(str.isspace, text))
                if is_single and is_known_everywhere(name, text) and (is_opaque(text) or name == _TYPED):
                    yield target, text


_TYPED = "password"  # what a person types unseen
_ASKING = frozenset({"getpass", "get_password"})
_SHOWING = frozenset({"print", "display", "str", "repr", "pprint"})
_COMMANDS = frozenset({"system", "getoutput", "run_line_magic", "run_cell_magic"})


@lru_cache(maxsize=2_000)
def _named_by_cell(source: str) -> tuple[tuple[str, str], ...]:
    """Return the variables that a cell binds to something secret, and "" for what it shows, each with its name."""
    if len(source) > _LONGEST_CELL or not (_MAY_NAME_SECRET.search(source) or Words(source).secret_names):
        return ()
    if (tree := parse_cell(source)) is None:
        return ()
    found: list[tuple[str, str]] = []
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                given = list(zip(targets, values, strict=False))
            case ast.Assign(targets=targets, value=value):
                given = [(target, value) for target in targets]
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                given = [(target, value)]
            case ast.NamedExpr(target=target, value=value):
                given = [(target, value)]
            case _:
                continue
        named = ((target.id, _secret_in(value)) for target, value in given if isinstance(target, ast.Name))
        found += [(target, name) for target, name in named if name]
    match tree.body[-1:]:
        case [ast.Expr(value=value)] if name := _secret_in(value):
            found.append(("", name))
    return tuple(found)


def _secret_in(value: ast.expr | None) -> str:
    """Return the secret name in an expression whose value is what has it, or "": ``d["token"]``, ``client.api_key``."""
    match value:
        case ast.Name(id=name) if is_secret_name(name):
            return name
        case ast.Attribute(attr=name) if is_secret_name(name):
            return name
        case ast.Subscript(slice=ast.Constant(value=str(name))) if is_secret_name(name):
            return name
        case ast.Subscript(value=inner) | ast.Await(value=inner) | ast.NamedExpr(value=inner):
            return _secret_in(inner)
        case ast.BoolOp(values=values):
            return next(filter(None, map(_secret_in, values)), "")
        case ast.IfExp(body=body, orelse=orelse):
            return _secret_in(body) or _secret_in(orelse)
        case ast.Call(func=called, args=arguments):
            if isinstance(called, ast.Name) and called.id in _SHOWING:
                return next(filter(None, map(_secret_in, arguments)), "")
            names = [each.id if isinstance(each, ast.Name) else each.attr for each in _chain(called)]
            if not _ASKING.isdisjoint(names):
                return _TYPED
            texts = [each.value for each in arguments if isinstance(each, ast.Constant)]
            told = [text.rstrip(" :?>") for text in texts if type(text) is str]
            if not _COMMANDS.isdisjoint(names):
                told = [word for text in told for word in WORD.findall(text)]
            held = called.value if isinstance(called, ast.Attribute) else None
            return next(filter(is_secret_name, [*names, *told]), "") or _secret_in(held)
    return ""


def _chain(called: ast.expr | None) -> Iterator[ast.Name | ast.Attribute]:
    while isinstance(called, ast.Attribute):
        yield called
        called = called.value
    if isinstance(called, ast.Name):
        yield called


def _named(name: object, value: Any, secret: str, depth: int) -> Iterator[tuple[str, object]]:
    """Yield what stands under a secret name, with that name, and a None for each container that was looked into."""
    if is_secret_name(name):
        secret = name_text(name)
    kind = type(value)
    if not secret and kind is tuple and len(value) in _PAIRS and is_secret_name(value[0]):  # of headers
        secret = name_text(value[0])
    if _is_plain(kind):
        if secret:
            yield secret, value
        return
    yield "", None
    if depth:
        try:
            for key, entry in islice(_entries(value, secret), _MAX_ENTRIES if secret else _FIRST_ENTRIES):
                if secret or not _is_plain(type(entry)) or is_secret_name(key):
                    yield from _named(key, entry, secret, depth - 1)
        except Exception:  # noqa: BLE001 -- a broken object of a library holds nothing that could be modules either
            return


_PLAIN = (str, int, float, bytes, bytearray, bool, memoryview)
_PAIRS = (2, 3)  # entries: httpx keeps a name twice


def _is_plain(kind: type) -> bool:
    return is_one_of(kind, _PLAIN)


def _entries(value: Any, secret: str) -> Iterable[tuple[object, Any]]:
    if (parts := parts_of(value)) is not None:
        return parts.entries
    if (library := library_of(value)) == "xarray":
        return _parts_of_xarray(value)
    if library is not None:
        return secret_columns(value, everything=bool(secret))
    kind = type(value)
    if kind is types.FunctionType:
        return _given_to_function(value)
    if kind is types.GeneratorType:
        return dict(value.gi_frame.f_locals).items() if value.gi_frame is not None else ()
    if kind is contextvars.ContextVar:
        return [(value.name, value.get())]
    if (kind is io.StringIO or kind is io.BytesIO) and secret:
        return [("", value.getvalue())]
    if kind is types.ModuleType:  # such as a config.py, or openai with its api_key
        return [(name, held) for name, held in snapshot(vars_of(value)).items() if is_secret_name(name)]
    if issubclass(kind, type):
        return _settings_of(value)
    if module_of(kind) == "builtins":
        return instance_vars(value).items() if issubclass(kind, BaseException) else ()
    return chain(slots_of(value).items(), instance_vars(value).items(), _settings_of(kind))


def _given_to_function(function: types.FunctionType) -> Iterator[tuple[object, Any]]:
    """Yield what a function holds: the defaults of its parameters, the variables around it, and its attributes."""
    code, defaults = function.__code__, function.__defaults__
    if type(defaults) is tuple:
        yield from zip(code.co_varnames[code.co_argcount - len(defaults) :], defaults, strict=False)
    if type(function.__kwdefaults__) is dict:
        yield from function.__kwdefaults__.items()
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        with suppress(ValueError):  # nothing is in it yet
            yield name, cell.cell_contents
    yield from instance_vars(function).items()


def _parts_of_xarray(value: object) -> Iterable[tuple[object, Any]]:
    held = slots_of(value) | instance_vars(value)
    name = held.get("_name")
    return [(name if key == "_variable" and type(name) is str else key, part) for key, part in held.items()]


def _settings_of(kind: type) -> Iterable[tuple[object, Any]]:
    """Return what a class and its bases define, as far as the notebook made them: settings are often written so."""
    return chain.from_iterable(map(notebook_vars, mro_of(kind)))


def name_text(name: Any) -> str:
    """Return a name as text; the parts of a name of several parts are joined."""
    if type(name) is tuple:
        return " ".join(map(name_text, name))
    if type(name) is bytes:
        return name.decode("latin-1")
    return str.__str__(name) if issubclass(type(name), str) else ""


_SCHEME = re.compile(r"[A-Za-z][\w-]{1,20} (\S+)")  # of a header: "Token …"


def _as_texts(value: Any) -> Iterator[str]:
    """Yield a value as text, and what follows the scheme in one of a header."""
    text: str | None = None
    if type(value) is bytes or type(value) is bytearray or type(value) is memoryview:
        # a view may be released, or have several dimensions
        with suppress(ValueError, NotImplementedError):
            text = bytes(value[:MAX_SECRET_LENGTH]).decode("latin-1")
    elif type(value) is int and abs(value) < _LARGEST_NUMBER:
        text = str(value)
    elif issubclass(type(value), str):
        text = str.__str__(value)
    if text is not None:
        yield text
        if scheme := _SCHEME.fullmatch(text):
            yield scheme[1]
