"""Secrets are taken out of everything that is sent: known values, known key formats, and both where they are encoded.

Known values are those of environment variables that look secret, the login's own tokens, and what a text of the same
request, or a variable, gives to a secret name: once found it is taken out wherever it stands. A mark names where a
value came from; the value itself appears in no message.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import string
from copy import copy
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, urlsplit

from codex_nb.session.assigned_secrets import assigned_secrets, may_assign
from codex_nb.session.key_formats import holds_key, keys_in
from codex_nb.tools.secret_names import is_secret_name
from codex_nb.tools.secret_values import SHORTEST as SHORTEST_FORM
from codex_nb.tools.secret_values import is_known_everywhere
from codex_nb.words import secret_names as words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

SHORTEST = 8
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


class Unshown(str):
    """A secret's text to look for: it is text, but what holds it shows nothing of it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"


@dataclass(frozen=True)
class Finding:
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
        self._know({Unshown(value): name for name, value in secrets.items() if len(value) >= SHORTEST})

    def _know(self, names: Mapping[str, str]) -> None:
        self._names = {**self._names, **names}
        odd = [value for value in names if value.strip(_KEY_CHARACTERS)]
        self._odd_values = (self._odd_values + odd)[:_MOST_ODD]
        forms = self._forms | {Unshown(form): name for value, name in names.items() for form in _forms(value)}
        # The longest first: a secret may be part of another one.
        self._forms = dict(sorted(forms.items(), key=lambda form: len(form[0]), reverse=True))
        self._beginnings = {form[:SHORTEST_FORM] for form in self._forms}

    def knowing(self, values: Iterable[str]) -> Redactor:
        """Return one that knows these values as well; itself where none is new."""
        room = max(0, _MOST_KNOWN - len(self._names))
        new = {Unshown(value): words.ASSIGNED for value in values if value and value not in self._names}
        if not new or not room:
            return self
        more = copy(self)
        more._know(dict(islice(new.items(), room)))  # noqa: SLF001 -- its own kind
        return more

    def knows_all_of(self, other: Redactor) -> bool:
        """Whether what passed this redactor holds nothing that the other one would find."""
        return other._names.keys() <= self._names.keys()

    def knowing_all_of(self, other: Redactor) -> Redactor:
        """Return one that knows what both know."""
        return self.knowing(other._names)

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

    def redact(self, text: str, place: str) -> tuple[str, tuple[Finding, ...]]:
        """Return the text without secrets, and what was taken out; ``place`` says where the text comes from."""
        clean, found = self._redact(text, place)
        learned = self.knowing(finding.value for finding in found) if found else self
        if learned is not self:
            # What was found under a name may stand in the same text without one.
            clean, more = learned._redact(clean, place)  # noqa: SLF001 -- its own kind
            found += more
        return clean, tuple(found)

    def _redact(self, text: str, place: str) -> tuple[str, list[Finding]]:
        found: list[Finding] = []

        def mark(name: str, value: str = "") -> str:
            found.append(Finding(name, place, value))
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
        if len(piece) - len(stripped) >= SHORTEST:
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
        self.learn(finding.value for finding in found)
        return clean

    def learn(self, values: Iterable[str]) -> None:
        """Take these values out of what comes later as well."""
        self._redactor = self._redactor.knowing(values)


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
    return Unshown(value) if name and is_known_everywhere(name, value) else ""


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
            if len(text) >= SHORTEST:
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


def known_values(texts: Iterable[str]) -> Iterator[str]:
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
        if len(value) < SHORTEST:
            continue
        is_place = value.startswith(("/", "~", "http://", "https://")) and "webhook" not in name.lower()
        if is_secret_name(name) and not is_place:
            secrets[f"${name}"] = Unshown(value)
        elif "://" in value and "@" in value and (password := _password(value)):
            secrets[words.password_in_variable(name)] = Unshown(password)
    return secrets


def _password(address: str) -> str | None:
    try:
        return urlsplit(address).password
    except ValueError:
        return None
