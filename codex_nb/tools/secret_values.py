"""What stands under secret names: whether it is a secret by its looks, and what the user's variables hold of the kind.

Nothing of the user's objects is run: only exact types of Python's own and of well-known libraries are read.
"""

from __future__ import annotations

import re
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from codex_nb.tools.describe import instance_vars, library_of, module_of, secret_columns
from codex_nb.tools.secret_names import is_secret_name, names_a_password, set_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SHORTEST = 6
LONGEST = 5_000
_SHORTEST_ORDINARY = 8
_LARGEST_NUMBER = 10**60
_MOST_VISITED = 5_000
_FIRST_ENTRIES = 50
_MOST_ENTRIES = 500
_DEEPEST = 6

_PLACEHOLDER = re.compile(
    r"<[^<>]*>|\[[^\[\]]*\]|\$?\{[^{}]*\}|%\w*%?|[A-Z]+(?:_[A-Z]+)+|[xX*.…?_-]+|(?:your|my|the|some|an?)[ _-].*",
    re.DOTALL,
)
_LOCATION = re.compile(r"~|\.{0,2}/|[A-Za-z]:[\\/]|[A-Za-z][\w+.-]{1,20}://")
_WORDS = re.compile(r"[^\W\d_]+(?:[ _.,:;!?'-]+[^\W\d_]+)*[.!?]?")
_RUN = re.compile(r"[A-Za-z0-9]+")
_CLASSES = re.compile(r"\d+|[a-z]+|[A-Z]+")
# Passwords so common that they are words of the notebook as well.
_COMMON = set_of(
    "password passwort postgres postgresql changeme username localhost required disabled optional default example"
    " database anonymous administrator undefined not-set assigned redacted replicate databricks"
)


def is_placeholder(value: str) -> bool:
    """Whether a value only keeps a place: ``<token>``, ``YOUR_KEY``, ``xxxx``."""
    return _PLACEHOLDER.fullmatch(value) is not None


def is_opaque(value: str) -> bool:
    """Whether a text looks made by a machine: letters and digits in turns, or long and without words."""
    for run in _RUN.findall(value[:LONGEST]):
        changes = len(_CLASSES.findall(run)) - 1
        digits = sum(character.isdigit() for character in run)
        if digits and (changes > 1 or (changes and digits > 3)) and len(value) >= _SHORTEST_ORDINARY:  # noqa: PLR2004 -- "resnet50" is a name, "a8f3" and "abc12345" are none
            return True
        if len(run) >= 16 and changes * 3 >= len(run):  # noqa: PLR2004 -- "aBcDeFgHiJkLmNoP"; CamelCase changes less often
            return True
    return False


def is_secret_value(name: str, value: str) -> bool:
    """Whether a value is taken out where it stands under a secret name: not an ordinary word, not a placeholder."""
    if is_placeholder(value) or "[redacted:" in value:
        return False
    if names_a_password(name):
        return len(value) > 3  # noqa: PLR2004 -- "yes", "no", "x"
    if any(map(str.isspace, value)):
        return False
    return is_opaque(value) or (len(value) >= _SHORTEST_ORDINARY and not _WORDS.fullmatch(value))


def is_known_everywhere(name: str, value: str) -> bool:
    """Whether a value under a secret name is taken out wherever else it stands, because it can mean nothing else."""
    if not SHORTEST <= len(value) <= LONGEST or not is_secret_value(name, value):
        return False
    if _LOCATION.match(value):
        return "webhook" in name.casefold() and "://" in value
    if not names_a_password(name):
        return is_opaque(value)
    is_telling = len(value) >= _SHORTEST_ORDINARY or (not value.isdigit() and any(map(str.isdigit, value)))
    return is_telling and value.casefold() not in _COMMON


def secrets_of_namespace(namespace: Mapping[str, Any]) -> set[str]:
    """Return the values that variables, columns, keys and attributes with secret names hold."""
    names = sorted((name for name in namespace if type(name) is str), key=is_secret_name, reverse=True)
    named = chain.from_iterable(_named(name, namespace[name], "", _DEEPEST) for name in names)
    found = set()
    for secret, value in islice(named, _MOST_VISITED):
        text = _as_text(value)
        if text is not None and is_known_everywhere(secret, text):
            found.add(text)
    return found


def _named(name: object, value: Any, secret: str, depth: int) -> Iterator[tuple[str, object]]:
    """Yield what stands under a secret name, with that name, and a None for each container that was looked into."""
    if is_secret_name(name):
        secret = name_text(name)
    kind = type(value)
    if _is_plain(kind):
        if secret:
            yield secret, value
        return
    yield "", None
    if depth:
        try:
            for key, entry in islice(
                _entries(kind, value, secret), _MOST_ENTRIES if secret else _FIRST_ENTRIES
            ):
                if secret or not _is_plain(type(entry)) or is_secret_name(key):
                    yield from _named(key, entry, secret, depth - 1)
        except Exception:  # noqa: BLE001 -- a broken object of a library holds nothing that could be told either
            return


def _is_plain(kind: type) -> bool:
    return kind is str or kind is int or kind is float or kind is bytes or kind is bytearray or kind is bool


def _entries(kind: type, value: Any, secret: str) -> Iterable[tuple[object, Any]]:
    if kind is list or kind is tuple or kind is set or kind is frozenset:
        return (("", entry) for entry in value)
    if kind is dict:
        items: Iterable[tuple[object, Any]] = value.items()
        return items
    if library_of(value) is not None:
        return secret_columns(value, everything=bool(secret))
    return instance_vars(value).items() if module_of(kind) != "builtins" else ()


def name_text(name: Any) -> str:
    """Return a name as text; the parts of a name of several parts are joined."""
    if type(name) is tuple:
        return " ".join(map(name_text, name))
    if type(name) is bytes:
        return name.decode("latin-1")
    return str.__str__(name) if issubclass(type(name), str) else ""


def _as_text(value: Any) -> str | None:
    if type(value) is bytes or type(value) is bytearray:
        return bytes(value[:LONGEST]).decode("latin-1")
    if type(value) is int and abs(value) < _LARGEST_NUMBER:
        return str(value)
    return str.__str__(value) if issubclass(type(value), str) else None
