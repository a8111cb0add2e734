"""The shapes of keys: texts that are secret by what they look like, whoever they belong to.

Each format has literal hints; where none of them occurs the pattern is not tried, so that looking through a long text
that holds no key costs next to nothing.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codex_nb.tools.secret_values import is_opaque
from codex_nb.words import secret_names as words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


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
