"""Patterns of secrets in text: the formats of keys and tokens, and values that a text assigns to a secret name."""

from __future__ import annotations

import base64
import keyword
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from codex_nb.tools.secret_names import (
    MAX_SECRET_LENGTH,
    MIN_SECRET_LENGTH,
    STEMS,
    is_opaque,
    is_password_name,
    is_placeholder,
    is_secret_name,
    is_secret_value,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


@dataclass(frozen=True)
class KeyFormat:
    """One format; the pattern's group ``value``, if there is one, is the secret, otherwise the whole match.

    ``hints`` are lower-case substrings of every match. ``is_key`` checks what the pattern found.
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
    r"(?P<value>hooks\.slack\.com/(?:services|workflows|triggers)/[\w/-]{16,}"
    r"|discord(?:app)?\.com/api/webhooks/[\w/-]{16,}"
    r"|webhook\.office\.com/[\w/@-]{16,})"
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
        ("a JSON web token", ("eyj",), _THREE_PARTS),
        ("a GitHub token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_[A-Za-z0-9]{30,}"),
        ("a GitHub token", ("github_pat_",), r"github_pat_[A-Za-z0-9_]{30,}"),
        ("a GitLab token", ("glpat-",), r"glpat-[A-Za-z0-9_-]{20,}"),
        ("an AWS key", ("akia", "asia"), r"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])"),
        ("a Google key", ("aiza",), r"AIza[A-Za-z0-9_-]{35}"),
        ("a Google key", ("gocspx-",), r"GOCSPX-[A-Za-z0-9_-]{20,}"),
        ("a Google token", ("ya29.",), r"ya29\.[A-Za-z0-9_-]{20,}"),
        ("a Slack token", ("xox",), r"xox[abeoprs]-[A-Za-z0-9-]{10,}"),
        ("a Hugging Face token", ("hf_",), r"hf_[A-Za-z0-9]{30,}"),
        ("a Stripe key", ("k_live_", "k_test_"), r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),
        ("a PyPI token", ("pypi-",), r"pypi-[A-Za-z0-9_-]{50,}"),
        ("an npm token", ("npm_",), r"npm_[A-Za-z0-9]{36}"),
        ("a Databricks token", ("dapi",), r"dapi[a-f0-9]{32}"),
        ("a personal access token", ("at-",), rf"{_START}at-[A-Za-z0-9_-]{{32,}}"),
        ("a SendGrid key", ("sg.",), rf"{_START}SG\.[A-Za-z0-9_-]{{16,64}}\.[A-Za-z0-9_-]{{16,}}"),
        ("a DigitalOcean token", ("_v1_",), r"do[opr]_v1_[a-f0-9]{40,}"),
        ("an age key", ("age-secret-key-",), r"(?i:AGE-SECRET-KEY-(?:PQ-)?1)[A-Za-z0-9]{30,}"),
        ("a Replicate token", ("r8_",), rf"{_START}r8_[A-Za-z0-9]{{30,}}"),
        ("an Azure key", ("accountkey", "sharedaccess"), _AZURE_KEY),
        ("a webhook's address", ("hooks.slack.com/", "/api/webhooks/", ".webhook.office.com/"), _WEBHOOK),
        ("a private key", ("private key",), _PRIVATE_KEY),
        ("a bearer token", ("bearer",), r"(?i:bearer)\s++(?P<value>[A-Za-z0-9._~+/-]{16,}=*)"),
        (
            "a password in an address",
            ("://",),
            r"://[^\s/:@\"'<>]{0,64}:(?P<value>[^\s/@\"'<>]{3,256})@",
        ),
    )
) + tuple(
    KeyFormat(name, hints, re.compile(pattern), is_key)
    for name, hints, pattern, is_key in (
        ("an OpenAI key", ("sk-",), r"sk-[A-Za-z0-9_-]{20,}", _is_mixed),
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
    r"""[^\S\n]*+(?: \[redacted:\ [^\]\n]{1,80}\]
      | (?<!\w)(?:[rRbBuUfF]{1,2}(?=["']))?
        (?: (?P<long>\"{3}|'{3}) (?P<body>(?:[^\\]|\\.)*?) (?:(?P=long)|\Z)
          | (?P<short>["']) (?P<line>(?:(?!(?P=short))[^\\\n]|\\.)*+) (?:(?P=short)|(?=\n)|\Z) )
      | \\++(?P<inner>["']) (?P<quoted>[^"'\\\n]*+) (?:\\++(?P=inner))?
      | (?P<name>[^\W\d]\w*+(?:[.-][^\W\d]\w*+)*+)
      | (?P<sign>==|!=|:=|=>|[=:,;&#()\[\]{}\n])
      | \d[\w.]*+ | . | \Z )
    """,
    re.VERBOSE | re.DOTALL,
)
_WORD = re.compile(r"[^\W\d][\w-]*+")
_UNQUOTED = re.compile(r"[ \t]*+(?P<value>[^\s\"'`()\[\]{},;<>&|#=]*+=*+)(?![(\[{])")
_KEY_FOLLOWS = re.compile(r"\\*+[\"']?\s*+:(?!=)")
_CLOSES = re.compile(r"\s*+\)")
_ATTRIBUTES = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")
_COMPOUND = frozenset({*keyword.kwlist, "case", "match"}) - {"pass"}
_TEXT_CONSTRUCTORS = frozenset({"str", "bytes", "b64decode", "base64.b64decode", "bytes.fromhex", "dict"})
_ASSIGNMENT_SIGNS = frozenset("=:")
_ENDS_OF_PAIRS = frozenset({"key", "keys"})
_MAX_DEPTH = 2
_AROUND = 500  # characters that are read before and after a secret name in a long text
_LONGEST_BRACKET = 20_000
_MAX_VALUES = 200


@dataclass(frozen=True)
class AssignedSecret:
    """A secret in a text: the position of its value, and its name."""

    start: int
    end: int
    name: str
    value: str = field(repr=False)


def assigned_secrets(text: str) -> list[AssignedSecret]:
    """Return the secrets that a text assigns, in order; none overlaps another."""
    if not may_assign(text):
        return []
    found = {secret.start: secret for secret in _read(text, 0, _MAX_DEPTH)}
    apart: list[AssignedSecret] = []
    for start in sorted(found):
        if not apart or start >= apart[-1].end:
            apart.append(found[start])
    return apart


def may_assign(text: str) -> bool:
    """Whether a secret name occurs: cheap, for most texts hold none."""
    lowered = text.lower()
    return any(stem in lowered for stem in STEMS) and bool(_secret_words(text))


def _secret_words(text: str) -> set[str]:
    """Return the words of a text that are secret names, or that end one of two words."""
    return {
        word for word in set(_WORD.findall(text)) if is_secret_name(word) or word.lower() in _ENDS_OF_PAIRS
    }


def _windows(text: str) -> Iterator[tuple[int, int]]:
    """Yield the parts of a text around its secret names: all of a short one."""
    if len(text) <= 2 * _AROUND:
        yield 0, len(text)
        return
    start = end = 0
    secret = _secret_words(text)
    for match in _WORD.finditer(text):
        if (place := match.start()) < end or match[0] not in secret:
            continue
        first = max(0, text.rfind("\n", 0, max(0, place - _AROUND)) + 1, place - 2 * _AROUND)
        if first > end:
            yield start, end
            start = first
        end = place + _AROUND
    yield start, end


def _read(text: str, offset: int, depth: int) -> Iterator[AssignedSecret]:
    done = 0
    for begin, stop in _windows(text):
        reader = _Reader(text, max(begin, done), stop)
        for start, end, name in reader.found():
            if name:
                yield AssignedSecret(offset + start, offset + end, name, text[start:end])
            elif depth and not _ASSIGNMENT_SIGNS.isdisjoint(text[start:end]) and may_assign(text[start:end]):
                yield from _read(text[start:end], offset + start, depth - 1)
        done = reader.end


@dataclass
class _Bracket:
    """The state of the innermost bracket: the names and strings of its current element, and the name of its values.

    ``inherited`` is the secret name of all values in the bracket, ``secret`` that of the current element. ``is_lookup``
    marks a subscript or a call, whose strings name its result: ``environ["TOKEN"]``, ``get("token")``. ``values`` are
    the strings in the bracket, which a later ``name="token"`` may name.
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
        """Start the next element."""
        self.secret, self.compared, self.is_name = self.inherited, "", False
        self.names, self.strings = [], []


class _Reader:
    """Reads a part of a text, to the end of what is open there; a string that is no secret is reported without a name.

    Such a string is to be read on its own. ``end`` is where the reading ended.
    """

    def __init__(self, text: str, start: int, stop: int) -> None:
        self._text = text
        self.end, self._stop = start, stop
        self._brackets = [_Bracket()]
        self._callee: str | None = None  # the name, or "", of what an opening bracket would call
        self._read_until = self._unquoted_until = 0

    def found(self) -> Iterator[tuple[int, int, str]]:
        """Yield the beginning and the end of each secret, with its name, and of each other string."""
        for token in _TOKEN.finditer(self._text, self.end):
            kind, start = token.lastgroup, token.start()
            if start >= self._stop and (len(self._brackets) == 1 or start >= self._stop + _LONGEST_BRACKET):
                return
            self.end = token.end()
            if start < self._read_until:
                continue
            if kind == "name":
                bracket = self._brackets[-1]
                bracket.names.append(token["name"])
                bracket.compared = ""
                self._callee = token["name"]
            elif kind == "sign":
                yield from self._sign(token["sign"], token.end())
            elif (group := _string_of(token)) is not None:
                yield from self._string(*token.span(group), token.end())
            else:
                self._callee = None

    @property
    def _bracket(self) -> _Bracket:
        return self._brackets[-1]

    def _string(self, start: int, end: int, after: int) -> Iterator[tuple[int, int, str]]:
        bracket, value = self._bracket, self._text[start:end]
        self._callee = ""
        bracket.strings += [] if "[redacted:" in value else [value]
        name = bracket.compared
        if not name and _KEY_FOLLOWS.match(self._text, after) is None:
            is_pair = bracket.paired and is_opaque(value) and _CLOSES.match(self._text, after)
            name = bracket.secret or (bracket.paired if is_pair else "")
        bracket.compared = bracket.paired = ""
        if name and is_secret_value(name, value):
            yield start, end, name
            return
        yield start, end, ""
        if bracket.is_name and is_secret_name(value):
            for span in bracket.values:
                if is_opaque(self._text[slice(*span)]):
                    yield *span, value
        elif len(bracket.values) < _MAX_VALUES:
            bracket.values.append((start, end))

    def _sign(self, sign: str, end: int) -> Iterator[tuple[int, int, str]]:
        bracket, callee, self._callee = self._bracket, self._callee, None
        match sign:
            case "=" | ":=" | "=>":
                named = next(filter(is_secret_name, _joined(bracket.names) + bracket.strings), "")
                bracket.secret = named or bracket.secret
                bracket.is_name = bracket.names[-1:] == ["name"]
                bracket.names, bracket.strings = [], []
                yield from self._unquoted(end, is_tight=self._text[end - 2 : end - 1].strip() != "")
            case ":":
                yield from self._colon(end)
            case "==" | "!=":
                bracket.compared = next(filter(is_secret_name, bracket.names[-1:] + bracket.strings[-1:]), "")
            case "," if len(self._brackets) > 1:
                pair = bracket.strings[0] if len(bracket.strings) == 1 and not bracket.names else ""
                bracket.next_element()
                bracket.paired = pair if is_secret_name(pair) else ""
            case ";" | "&" | "#" | "\n" if len(self._brackets) == 1:
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
        self._brackets.append(_Bracket(inherited, callee is not None and sign != "{", inherited))

    def _colon(self, end: int) -> Iterator[tuple[int, int, str]]:
        bracket = self._bracket
        if bracket.names and bracket.names[0] in _COMPOUND:
            bracket.next_element()
            return
        last = bracket.strings[-1:] or _joined(bracket.names)[-2:]
        named = next(filter(is_secret_name, last), "")
        bracket.secret = named or bracket.inherited
        bracket.strings = []
        if named:
            yield from self._unquoted(end, is_tight=False)

    def _unquoted(self, end: int, *, is_tight: bool) -> Iterator[tuple[int, int, str]]:
        """Yield the unquoted value that follows a secret name."""
        name = self._bracket.secret
        if not name or end < self._unquoted_until or (unquoted := _UNQUOTED.match(self._text, end)) is None:
            return
        self._unquoted_until = unquoted.end()
        if _is_unquoted_secret(name, unquoted["value"], is_tight=is_tight):
            self._read_until = unquoted.end()
            yield *unquoted.span("value"), name


def _string_of(token: re.Match[str]) -> str | None:
    """Return the group that holds the content of a string."""
    return next((group for group in ("line", "quoted", "body") if token[group] is not None), None)


def _joined(names: list[str]) -> list[str]:
    """Return the names, and the last two as one: "API key"."""
    return [*names, " ".join(names[-2:])]


def _is_unquoted_secret(name: str, value: str, *, is_tight: bool) -> bool:
    """Whether the text after a name is a value, as in a shell's ``MY_TOKEN=abc123``, and no expression of a program."""
    if (
        not MIN_SECRET_LENGTH <= len(value) <= MAX_SECRET_LENGTH
        or "[redacted:" in value
        or is_placeholder(value)
        or _ATTRIBUTES.fullmatch(value)
        or is_secret_name(value)
    ):
        return False
    has_digit = any(map(str.isdigit, value))
    if is_tight and name.isupper() and (has_digit or is_password_name(name)):
        return is_secret_value(name, value)
    return is_opaque(value) or (is_password_name(name) and has_digit and is_secret_value(name, value))
