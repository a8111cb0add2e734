"""Secrets are taken out of everything that is sent: known values, known key formats, and both where they are encoded.

Known values are those of environment variables that look secret and the login's own tokens. A mark names where a value
came from; the value itself appears in no message.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, urlsplit

from codex_nb.session.key_formats import holds_key, replace_keys
from codex_nb.words import secret_names as words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SHORTEST = 8
_TELLING = 5
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:KEY|TOKEN|SECRETS?|PASSWORD|PASSWD|PASSPHRASE|PASS|CREDENTIALS?|AUTH|COOKIE|DSN|PAT)(?:_|$)"
    r"|APIKEY|PASSWORD|SECRET|CONNECTION_?STRING",
    re.IGNORECASE,
)
_HARMLESS_NAME = re.compile(
    r"_(?:SOCK|PATH|FILE|DIR|HOME|ID|NAME|TYPE|BACKEND|MODE|URL|HOST|PORT|USER)$", re.IGNORECASE
)
_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_LONGEST_ENCODED = 20_000
_HEX = re.compile(r"[0-9a-fA-F]{24,}")
# Where a text was shortened a secret may have been cut in two, and neither half can be recognised any more.
_CUT = re.compile(r"(\n… \[[\d,]+ characters left out\] …\n|['\"]… \([\d,]+ characters\))")
_KEY_CHARACTERS = string.ascii_letters + string.digits + "_-+/=.~%$!"


class Unshown(str):
    """A secret's text to look for: it is text, but what holds it shows nothing of it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"


@dataclass(frozen=True)
class Finding:
    """One secret that was taken out: what it was, and where."""

    name: str
    place: str


class Redactor:
    """Replaces secrets by marks; ``secrets`` maps the name to show to the value to find."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        # Halves of values made of key characters alone are recognised by that.
        self._odd_values = [
            Unshown(value)
            for value in secrets.values()
            if len(value) >= SHORTEST and value.strip(_KEY_CHARACTERS)
        ]
        forms: dict[str, str] = {}
        for name, value in secrets.items():
            if len(value) >= SHORTEST:
                forms.update(dict.fromkeys(map(Unshown, _forms(value)), name))
        # The longest first: a secret may be part of another one.
        self._forms = sorted(forms.items(), key=lambda form: len(form[0]), reverse=True)

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
        found: list[Finding] = []

        def mark(name: str) -> str:
            found.append(Finding(name, place))
            return f"[redacted: {name}]"

        for form, name in self._forms:
            if form in text:
                text = text.replace(form, mark(name))
        text = replace_keys(text, mark)
        text = _ENCODED.sub(lambda match: self._encoded(match[0], mark), text)
        if " characters left out] …" in text or " characters)" in text:
            text = self._without_halves(text)
        return text, tuple(found)

    def _encoded(self, text: str, mark: Callable[[str], str]) -> str:
        for plain in _decodings(text[:_LONGEST_ENCODED]):
            if holds_key(plain) or any(form in plain for form, _ in self._forms):
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


def _overlap(text: str, value: str) -> int:
    """Return how many characters at the end of a text are a secret's beginning, when that is telling."""
    tail = text[-(len(value) - 1) :]
    found = tail.find(value[:_TELLING])
    while found >= 0:
        if value.startswith(tail[found:]):
            return len(tail) - found
        found = tail.find(value[:_TELLING], found + 1)
    return 0


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


def environment_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the values of environment variables that look secret, by ``$NAME``."""
    secrets: dict[str, str] = {}
    for name, value in environ.items():
        if len(value) < SHORTEST:
            continue
        if looks_secret(name) and not value.startswith(("/", "~", "http://", "https://")):
            secrets[f"${name}"] = Unshown(value)
        elif "://" in value and "@" in value and (password := _password(value)):
            secrets[words.password_in_variable(name)] = Unshown(password)
    return secrets


def looks_secret(name: str) -> bool:
    """Whether a variable of this name holds a secret, by its name."""
    return bool(_SECRET_NAME.search(name)) and not _HARMLESS_NAME.search(name)


def _password(address: str) -> str | None:
    try:
        return urlsplit(address).password
    except ValueError:
        return None
