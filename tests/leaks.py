"""The leak scanner of the tests: finds secrets in text or bytes, in any encoding.

It looks for the value itself, for its base64 forms (standard and URL alphabet, at each of the three byte offsets) and
for its percent-encoded, JSON-escaped and hexadecimal forms.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

SHORTEST = 8
BASE64_GROUP = 3


@dataclass(frozen=True)
class Leak:
    """One finding: which secret, in which form, where."""

    secret: str
    form: str
    place: str

    def __str__(self) -> str:
        return f"{self.secret} as {self.form} in {self.place}"


def _base64_forms(value: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the part of the value's base64 text that does not depend on the surrounding bytes."""
    for offset in range(BASE64_GROUP):
        padded = b"\0" * offset + value
        whole = len(padded) - len(padded) % BASE64_GROUP
        first = 0 if offset == 0 else 4
        for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
            text = encode(padded[:whole])[first:]
            if len(text) >= SHORTEST:
                yield name, text


def forms(secret: str) -> dict[bytes, str]:
    """Return each byte sequence that would reveal the secret, with the name of its form."""
    value = secret.encode()
    found = {text: name for name, text in _base64_forms(value)}
    found[value.hex().encode()] = "hex"
    found[json.dumps(secret)[1:-1].encode()] = "JSON"
    found[quote(secret, safe="").encode()] = "percent-encoding"
    found[quote_plus(secret).encode()] = "percent-encoding"
    found[value] = "itself"
    return found


def find_leaks(content: str | bytes, secrets: Mapping[str, str], place: str = "the text") -> list[Leak]:
    """Return the secrets found in the content; each secret and form once."""
    data = content.encode() if isinstance(content, str) else content
    leaks = []
    for name, secret in secrets.items():
        if len(secret) < SHORTEST:
            message = f"{name} is too short to search for"
            raise ValueError(message)
        shown = {form for text, form in forms(secret).items() if text in data}
        leaks += [Leak(name, form, place) for form in sorted(shown)]
    return leaks


def find_leaks_in_files(paths: Iterable[Path], secrets: Mapping[str, str]) -> list[Leak]:
    """Scan files, and folders recursively."""
    leaks = []
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file():
                leaks += find_leaks(file.read_bytes(), secrets, str(file))
    return leaks


def assert_no_leak(content: str | bytes, secrets: Mapping[str, str], place: str = "the text") -> None:
    """Fail with one line for each leak; the secret itself is not repeated."""
    leaks = find_leaks(content, secrets, place)
    assert not leaks, "\n".join(map(str, leaks))
