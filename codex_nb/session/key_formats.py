"""The shapes of keys: texts that are secret by what they look like, whoever they belong to.

Each format has literal hints; where none of them occurs the pattern is not tried, so that looking through a long text
that holds no key costs next to nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from codex_nb.words import secret_names as words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(frozen=True)
class KeyFormat:
    """One format; the pattern's group ``value``, where it has one, is the secret, otherwise all that matched.

    ``hints`` are in lower case.
    """

    name: str
    hints: tuple[str, ...]
    pattern: re.Pattern[str]


_ASSIGNED = (
    r"(?:[a-z_]*_)?(?:api_?key|secret(?:_?key)?|access_?token|auth_?token|token|password|passwd|pwd)[\"']?"
    r"\s*(?::\s*\w+\s*)?[=:]\s*(?P<quote>[\"'])(?P<value>(?=[^\"'\n]*\d)[^\"'\s<>{}]{8,})(?P=quote)"
)

_EXPORTED = (
    r"(?m)^(?:export\s+)?[A-Z0-9_]*(?:API_?KEY|ACCESS_?KEY|TOKEN|SECRET|PASSWORD|PASSWD)[A-Z0-9_]*[ \t]*="
    r"[ \t]*(?P<value>(?=\S*\d)[^\s\"'#()\[\]{}]{8,})(?=[ \t]*(?:#|$))"
)

KEY_FORMATS = tuple(
    KeyFormat(name, hints, re.compile(pattern))
    for name, hints, pattern in (
        (words.OPENAI_KEY, ("sk-",), r"sk-(?=[\w-]*[A-Z])(?=[\w-]*[a-z])(?=[\w-]*\d)[A-Za-z0-9_-]{20,}"),
        (words.JSON_WEB_TOKEN, ("eyj",), r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"),
        (words.GITHUB_TOKEN, ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_[A-Za-z0-9]{30,}"),
        (words.GITHUB_TOKEN, ("github_pat_",), r"github_pat_[A-Za-z0-9_]{30,}"),
        (words.GITLAB_TOKEN, ("glpat-",), r"glpat-[A-Za-z0-9_-]{20,}"),
        (words.AWS_KEY, ("akia", "asia"), r"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])"),
        (words.GOOGLE_KEY, ("aiza",), r"AIza[A-Za-z0-9_-]{35}"),
        (words.GOOGLE_TOKEN, ("ya29.",), r"ya29\.[A-Za-z0-9_-]{20,}"),
        (words.SLACK_TOKEN, ("xox",), r"xox[abeoprs]-[A-Za-z0-9-]{10,}"),
        (words.HUGGING_FACE_TOKEN, ("hf_",), r"hf_[A-Za-z0-9]{30,}"),
        (words.STRIPE_KEY, ("k_live_", "k_test_"), r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),
        (words.PYPI_TOKEN, ("pypi-",), r"pypi-[A-Za-z0-9_-]{50,}"),
        (words.NPM_TOKEN, ("npm_",), r"npm_[A-Za-z0-9]{36}"),
        (words.DATABRICKS_TOKEN, ("dapi",), r"dapi[a-f0-9]{32}"),
        (words.PERSONAL_ACCESS_TOKEN, ("at-",), r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))at-[A-Za-z0-9_-]{32,}"),
        (
            words.PRIVATE_KEY,
            ("private key-----",),
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
        ),
        (words.BEARER_TOKEN, ("bearer",), r"(?i:bearer)\s+(?P<value>[A-Za-z0-9._~+/-]{16,}=*)"),
        (words.PASSWORD_IN_ADDRESS, ("://",), r"://[^\s/:@\"'<>]{0,64}:(?P<value>[^\s/@\"'<>]{3,256})@"),
        (
            words.ASSIGNED,
            ("api_key", "apikey", "secret", "token", "passw", "pwd"),
            f"(?i:{_ASSIGNED})",
        ),
        (
            words.ASSIGNED,
            ("key", "secret", "token", "passw"),
            _EXPORTED,
        ),
    )
)


_HINTED = tuple((hint, form) for form in KEY_FORMATS for hint in form.hints)


def replace_keys(text: str, mark: Callable[[str], str]) -> str:
    """Put ``mark(name of the format)`` in the place of every key in a text."""
    for form in _possible(text):
        text = form.pattern.sub(partial(_marked, form, mark), text)
    return text


def holds_key(text: str) -> bool:
    """Whether a text holds anything that looks like a key."""
    return any(form.pattern.search(text) for form in _possible(text))


def _possible(text: str) -> Iterable[KeyFormat]:
    """Return the formats of which a hint occurs, each once."""
    lowered = text.lower()
    return dict.fromkeys([form for hint, form in _HINTED if hint in lowered])


def _marked(form: KeyFormat, mark: Callable[[str], str], match: re.Match[str]) -> str:
    if "value" not in form.pattern.groupindex:
        return mark(form.name)
    if match["value"].startswith("[redacted:"):
        return match[0]
    start, end = match.start("value") - match.start(), match.end("value") - match.start()
    return f"{match[0][:start]}{mark(form.name)}{match[0][end:]}"
