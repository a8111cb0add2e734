"""Redaction: secrets are removed from everything that is sent."""

from __future__ import annotations

import base64
import binascii
import json
import keyword
import re
import string
from copy import copy
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, urlsplit

from codex_nb.responses.request import Outbound
from codex_nb.tools.secret_names import STEMS, is_secret_name, names_a_password
from codex_nb.tools.secret_values import (
    LONGEST,
    SHORTEST,
    is_known_everywhere,
    is_opaque,
    is_placeholder,
    is_secret_value,
)
from codex_nb.tools.secret_values import SHORTEST as SHORTEST_FORM
from codex_nb.words import secret_names as words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


@dataclass(frozen=True)
class KeyFormat:
    """One format; the pattern's group ``value``, where it has one, is the secret, otherwise all that matched.

    ``hints`` are in lower case. ``is_key`` looks at what the pattern found.
    """

    name: str
    hints: tuple[str, ...]
    pattern: re.Pattern[str]
    is_key: Callable[[str], bool] = lambda _found: True


def _is_mixed(key: str) -> bool:
    """Whether what follows ``sk-`` has capitals, small letters and digits, as a random text has."""
    key = key[3:]
    return any(map(str.isupper, key)) and any(map(str.islower, key)) and any(map(str.isdigit, key))


def _is_basic(encoded: str) -> bool:
    """Whether a text is a user and a password as HTTP's basic scheme writes them."""
    try:
        plain = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        return False
    return b":" in plain and plain.isascii()


# Every pattern takes time in proportion to the text: a run of characters is entered at its beginning only, or is
# consumed whether or not it turns out to be a key.
_THREE_PARTS = (
    r"(?<![A-Za-z0-9_-])(?=[A-Za-z0-9_-]++\.[A-Za-z0-9_-]{8})[A-Za-z0-9_-]*?"
    r"(?P<value>eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*+)?)"
)
_PRIVATE_KEY = (
    r"-----BEGIN [A-Z ]*+(?:(?<=PRIVATE KEY)|(?<=PRIVATE KEY BLOCK))-----"
    r"(?:(?!-----END [A-Z ]*+-----)[\s\S])*+(?:-----END [A-Z ]*+-----|\Z)"
)
_AZURE_KEY = r"(?i:(?:Account|SharedAccess)(?:Key|Signature))\s*+=\s*+(?P<value>[A-Za-z0-9+/%]{20,}={0,2})"
_WEBHOOK = (
    r"https://(?P<value>hooks\.slack\.com/(?:services|workflows|triggers)/[\w/-]{16,}"
    r"|(?:\w{1,20}\.)?discord(?:app)?\.com/api/webhooks/[\w/-]{16,}"
    r"|[\w-]{1,60}\.webhook\.office\.com/[\w/@-]{16,})"
)
_START = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"
_SERVICES = (
    *(
        "gsk_",
        "xai-",
        "pplx-",
        "tvly-",
        "pcsk_",
        "lsv2_",
        "ntn_",
        "hvs.",
        "glsa_",
        "sbp_",
        "figd_",
        "dckr_pat_",
    ),
    *("shpat_", "nvapi-", "sntrys_", "lin_api_", "nrak-", "pmak-"),
)
_ANY_SERVICE = rf"{_START}(?i:{'|'.join(map(re.escape, _SERVICES))})[A-Za-z0-9_-]{{20,}}"

KEY_FORMATS = tuple(
    KeyFormat(name, hints, re.compile(pattern))
    for name, hints, pattern in (
        (words.JSON_WEB_TOKEN, ("eyj",), _THREE_PARTS),
        (words.GITHUB_TOKEN, ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_[A-Za-z0-9]{30,}"),
        (words.GITHUB_TOKEN, ("github_pat_",), r"github_pat_[A-Za-z0-9_]{30,}"),
        (words.GITLAB_TOKEN, ("glpat-",), r"glpat-[A-Za-z0-9_-]{20,}"),
        (words.AWS_KEY, ("akia", "asia"), r"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])"),
        (words.GOOGLE_KEY, ("aiza",), r"AIza[A-Za-z0-9_-]{35}"),
        (words.GOOGLE_KEY, ("gocspx-",), r"GOCSPX-[A-Za-z0-9_-]{20,}"),
        (words.GOOGLE_TOKEN, ("ya29.",), r"ya29\.[A-Za-z0-9_-]{20,}"),
        (words.SLACK_TOKEN, ("xox",), r"xox[abeoprs]-[A-Za-z0-9-]{10,}"),
        (words.HUGGING_FACE_TOKEN, ("hf_",), r"hf_[A-Za-z0-9]{30,}"),
        (words.STRIPE_KEY, ("k_live_", "k_test_"), r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),
        (words.PYPI_TOKEN, ("pypi-",), r"pypi-[A-Za-z0-9_-]{50,}"),
        (words.NPM_TOKEN, ("npm_",), r"npm_[A-Za-z0-9]{36}"),
        (words.DATABRICKS_TOKEN, ("dapi",), r"dapi[a-f0-9]{32}"),
        (words.PERSONAL_ACCESS_TOKEN, ("at-",), rf"{_START}at-[A-Za-z0-9_-]{{32,}}"),
        ("a SendGrid key", ("sg.",), rf"{_START}SG\.[A-Za-z0-9_-]{{16,64}}\.[A-Za-z0-9_-]{{16,}}"),
        ("a DigitalOcean token", ("_v1_",), r"do[opr]_v1_[a-f0-9]{40,}"),
        ("an age key", ("age-secret-key-",), r"(?i:AGE-SECRET-KEY-(?:PQ-)?1)[A-Za-z0-9]{30,}"),
        ("a Replicate token", ("r8_",), rf"{_START}r8_[A-Za-z0-9]{{30,}}"),
        ("an Azure key", ("accountkey", "sharedaccess"), _AZURE_KEY),
        ("a webhook's address", ("hooks.slack.com/", "/api/webhooks/", ".webhook.office.com/"), _WEBHOOK),
        (words.PRIVATE_KEY, ("private key",), _PRIVATE_KEY),
        (words.BEARER_TOKEN, ("bearer",), r"(?i:bearer)\s++(?P<value>[A-Za-z0-9._~+/-]{16,}=*)"),
        (
            words.PASSWORD_IN_ADDRESS,
            ("://",),
            r"://[^\s/:@\"'<>]{0,64}:(?P<value>[^\s/@\"'<>]{3,256})@",
        ),
    )
) + tuple(
    KeyFormat(name, hints, re.compile(pattern), is_key)
    for name, hints, pattern, is_key in (
        (words.OPENAI_KEY, ("sk-",), r"sk-[A-Za-z0-9_-]{20,}", _is_mixed),
        ("a refresh token", ("rt_",), rf"{_START}rt_[A-Za-z0-9_.-]{{20,}}", is_opaque),
        ("a service's token", _SERVICES, _ANY_SERVICE, is_opaque),
        ("a user's password", ("basic ",), r"(?i:basic) ++(?P<value>[A-Za-z0-9+/]{8,}={0,2})", _is_basic),
    )
)


_HINTED = tuple((hint, form) for form in KEY_FORMATS for hint in form.hints)


def keys_in(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield beginning, end and name of every key in a text, format by format."""
    for form in _possible(text):
        group = "value" if "value" in form.pattern.groupindex else 0
        for match in form.pattern.finditer(text):
            if form.is_key(match[group]):
                yield *match.span(group), form.name


def holds_key(text: str) -> bool:
    """Whether a text holds anything that looks like a key."""
    return next(keys_in(text), None) is not None


def _possible(text: str) -> Iterable[KeyFormat]:
    """Return the formats of which a hint occurs, each once."""
    lowered = text.lower()
    return dict.fromkeys([form for hint, form in _HINTED if hint in lowered])


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


SHORTEST_SECRET = 8
_TELLING = 5
_MOST_KNOWN = 1_000
_MOST_ODD = 50
_FEW = 60
_SHORT = 2_000  # texts up to this length are remembered when they hold no secret
_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_LONGEST_ENCODED = 20_000
_HEX = re.compile(r"[0-9a-fA-F]{24,}")
# Where a text was shortened a secret may have been cut in two, and neither half can be recognised any more.
_CUT = re.compile(r"(\n… \[[\d,]+ characters left out\] …\n|['\"]… \([\d,]+ characters\))")
# Formats whose values are looked for without what made them known, and the names that they would have.
_KINDS = {words.PASSWORD_IN_ADDRESS: "password", words.BEARER_TOKEN: "token"}
_KEY_CHARACTERS = string.ascii_letters + string.digits + "_-+/=.~%$!"


class SecretText(str):
    """A secret's text to look for: it is text, but what holds it shows nothing of it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"


@dataclass(frozen=True)
class Redaction:
    """One secret that was taken out: what it was, and where; ``value`` where it can be told wherever it stands."""

    name: str
    place: str
    value: str = field(default="", repr=False, compare=False)


class Redactor:
    """Replaces secrets by marks; ``secrets`` maps the name to show to the value to find."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._names: dict[str, str] = {}
        self._odd_values: list[
            str
        ] = []  # halves of values made of key characters alone are recognised by that
        self._forms: dict[str, str] = {}
        self._beginnings: set[str] = set()
        self._know(
            {SecretText(value): name for name, value in secrets.items() if len(value) >= SHORTEST_SECRET}
        )

    def _know(self, names: Mapping[str, str]) -> None:
        self._names = {**self._names, **names}
        odd = [value for value in names if value.strip(_KEY_CHARACTERS)]
        self._odd_values = (self._odd_values + odd)[:_MOST_ODD]
        forms = self._forms | {
            SecretText(form): name for value, name in names.items() for form in _forms(value)
        }
        # The longest first: a secret may be part of another one.
        self._forms = dict(sorted(forms.items(), key=lambda form: len(form[0]), reverse=True))
        self._beginnings = {form[:SHORTEST_FORM] for form in self._forms}

    def with_secrets(self, values: Iterable[str]) -> Redactor:
        """Return one that knows these values as well; itself where none is new."""
        room = max(0, _MOST_KNOWN - len(self._names))
        new = {SecretText(value): words.ASSIGNED for value in values if value and value not in self._names}
        if not new or not room:
            return self
        more = copy(self)
        more._know(dict(islice(new.items(), room)))  # noqa: SLF001 -- its own kind
        return more

    def covers(self, other: Redactor) -> bool:
        """Whether what passed this redactor holds nothing that the other one would find."""
        return other._names.keys() <= self._names.keys()

    def merged_with(self, other: Redactor) -> Redactor:
        """Return one that knows what both know."""
        return self.with_secrets(other._names)

    def __call__(self, text: str) -> str:
        """Return the text without secrets."""
        return self.redact(text, "")[0]

    def within(self, value: Any) -> Any:
        """Return JSON data with the secrets taken out of every text in it."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, dict):
            return {self.within(key): self.within(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(map(self.within, value))
        return value

    def redact(self, text: str, place: str) -> tuple[str, tuple[Redaction, ...]]:
        """Return the text without secrets, and what was taken out; ``place`` says where the text comes from."""
        clean, found = self._redact(text, place)
        learned = self.with_secrets(redaction.value for redaction in found) if found else self
        if learned is not self:
            # What was found under a name may stand in the same text without one.
            clean, more = learned._redact(clean, place)  # noqa: SLF001 -- its own kind
            found += more
        return clean, tuple(found)

    def _redact(self, text: str, place: str) -> tuple[str, list[Redaction]]:
        found: list[Redaction] = []

        def mark(name: str, value: str = "") -> str:
            found.append(Redaction(name, place, value))
            return f"[redacted: {name}]"

        for form, name in self._present(text):
            if form in text:
                text = text.replace(form, mark(name))
        pieces, end = [], 0
        for span in _spans(text):
            pieces += [text[end : span.start], mark(span.name, span.value)]
            end = span.end
        text = "".join((*pieces, text[end:]))
        text = _ENCODED.sub(lambda match: self._encoded(match[0], mark), text)
        if " characters left out] …" in text or " characters)" in text:
            text = self._without_halves(text)
        return text, found

    def _present(self, text: str) -> list[tuple[str, str]]:
        """Return the forms that may occur: where they are many, those alone whose beginning does."""
        if len(self._forms) <= _FEW:
            return list(self._forms.items())
        steps = range(len(text) - SHORTEST_FORM + 1)
        begun = self._beginnings.intersection(text[step : step + SHORTEST_FORM] for step in steps)
        return [form for form in self._forms.items() if form[0][:SHORTEST_FORM] in begun]

    def _encoded(self, text: str, mark: Callable[[str], str]) -> str:
        for plain in _decodings(text[:_LONGEST_ENCODED]):
            if holds_key(plain) or any(form in plain for form, _ in self._present(plain)):
                return mark(words.ENCODED)
        return text

    def _without_halves(self, text: str) -> str:
        pieces = _CUT.split(text)
        for index in range(0, len(pieces) - 2, 2):
            pieces[index] = self._trimmed(pieces[index], ends=True)
            pieces[index + 2] = self._trimmed(pieces[index + 2], ends=False)
        return "".join(pieces)

    def _trimmed(self, piece: str, *, ends: bool) -> str:
        stripped = piece.rstrip(_KEY_CHARACTERS) if ends else piece.lstrip(_KEY_CHARACTERS)
        if len(piece) - len(stripped) >= SHORTEST_SECRET:
            return f"{stripped}…" if ends else f"…{stripped}"
        for value in self._odd_values:
            size = _overlap(piece, value) if ends else _overlap(piece[::-1], value[::-1])
            if size:
                return f"{piece[:-size]}…" if ends else f"…{piece[size:]}"
        return piece


class TurnRedactor:
    """Redacts the texts of one turn one after the other; what was secret in one of them is so in the later ones."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(self, text: str) -> str:
        """Return the text without secrets."""
        clean, found = self._redactor.redact(text, "")
        self.learn(redaction.value for redaction in found)
        return clean

    def learn(self, values: Iterable[str]) -> None:
        """Take these values out of what comes later as well."""
        self._redactor = self._redactor.with_secrets(values)


@dataclass
class _Span:
    """A secret in a text; ``value`` where it is to be taken out wherever else it stands."""

    start: int
    end: int
    name: str
    value: str = ""


def _spans(text: str) -> list[_Span]:
    """Return what is secret by its looks or by its name, from the beginning; what overlaps is one."""
    if len(text) <= _SHORT and _is_clean(text):
        return []
    found = [_Span(*key, _known(_KINDS.get(key[2], ""), text[key[0] : key[1]])) for key in keys_in(text)]
    found += [
        _Span(secret.start, secret.end, words.ASSIGNED, _known(secret.name, secret.value))
        for secret in assigned_secrets(text)
    ]
    apart: list[_Span] = []
    for span in sorted(found, key=lambda span: (span.start, -span.end)):
        if apart and span.start < apart[-1].end:
            apart[-1].end = max(apart[-1].end, span.end)
            apart[-1].value = apart[-1].value or span.value
        else:
            apart.append(span)
    return apart


@lru_cache(maxsize=4_000)
def _is_clean(text: str) -> bool:
    """Whether a text holds nothing that might be a secret; cells and outputs come again with each question."""
    return not may_assign(text) and not holds_key(text)


def _known(name: str, value: str) -> str:
    value = value.strip()
    return SecretText(value) if name and is_known_everywhere(name, value) else ""


def _overlap(text: str, value: str) -> int:
    """Return how many characters at the end of a text are a secret's beginning, when that is telling."""
    tail = text[-(len(value) - 1) :]
    begin = tail.find(value[:_TELLING])
    if begin < 0:
        return 0
    shorter, matched = [0], 0  # Knuth, Morris and Pratt: where to go on with the value after a mismatch
    for character in value[1:]:
        matched = _step(value, shorter, matched, character)
        shorter.append(matched)
    matched = 0
    for character in tail[begin:]:
        matched = _step(value, shorter, matched, character)
    return matched if matched >= _TELLING else 0


def _step(value: str, shorter: list[int], matched: int, character: str) -> int:
    while matched and value[matched] != character:
        matched = shorter[matched - 1]
    return matched + (value[matched] == character)


def _forms(value: str) -> Iterator[str]:
    """Yield the value as it may be written: plain, escaped, percent-encoded, hexadecimal, base64 at any offset."""
    data = value.encode("utf-8", "surrogateescape")
    yield value
    yield json.dumps(value)[1:-1]
    yield repr(str(value))[1:-1]
    yield quote(value, safe="", errors="replace")
    yield quote_plus(value, errors="replace")
    yield data.hex()
    yield data.hex().upper()
    for offset in range(3):
        padded = b"\0" * offset + data
        whole = padded[: len(padded) // 3 * 3]
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(whole).decode()[4 if offset else 0 :]
            if len(text) >= SHORTEST_SECRET:
                yield text


def _decodings(text: str) -> Iterator[str]:
    for match in _HEX.finditer(text):
        digits = match[0]
        for offset in (0, 1):
            yield bytes.fromhex(digits[offset : offset + (len(digits) - offset) // 2 * 2]).decode("latin-1")
    stripped = text.rstrip("=")
    standard = stripped.replace("-", "+").replace("_", "/")
    for offset in range(min(4, len(standard))):
        shifted = standard[offset:]
        whole = shifted[: len(shifted) - 1] if len(shifted) % 4 == 1 else shifted
        try:
            yield base64.b64decode(whole + "=" * (-len(whole) % 4)).decode("latin-1")
        except (binascii.Error, ValueError):
            continue


def secret_values_in(texts: Iterable[str]) -> Iterator[str]:
    """Yield what texts tell to be secret and what is therefore to be taken out wherever it stands."""
    texts = list(texts)
    joined = "\n".join(texts)
    if may_assign(joined) or holds_key(joined):
        for text in texts:
            yield from filter(None, (span.value for span in _spans(text)))


def environment_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the values of environment variables that look secret, by ``$NAME``."""
    secrets: dict[str, str] = {}
    for name, value in environ.items():
        if len(value) < SHORTEST_SECRET:
            continue
        is_place = value.startswith(("/", "~", "http://", "https://")) and "webhook" not in name.lower()
        if is_secret_name(name) and not is_place:
            secrets[f"${name}"] = SecretText(value)
        elif "://" in value and "@" in value and (password := _password(value)):
            secrets[words.password_in_variable(name)] = SecretText(password)
    return secrets


def _password(address: str) -> str | None:
    try:
        return urlsplit(address).password
    except ValueError:
        return None


def outbound(items: Iterable[dict[str, Any]]) -> tuple[Outbound, ...]:
    """Return items whose text has passed the redaction as what a request takes."""
    return tuple(Outbound(item) for item in items)
