"""The subcommands of ``%codex``: their names and what each does, in one line. The work is in the dispatch."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from codex_nb.words import reference as words

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = (
    "status",
    "login",
    "logout",
    "models",
    "model",
    "effort",
    "usage",
    "context",
    "thread",
    "threads",
    "new",
    "last",
    "fix",
    "explain",
    "config",
    "help",
)
COMMANDS: Mapping[str, str] = MappingProxyType({name: words.SUBCOMMANDS[name] for name in NAMES})

LOGIN_WAYS = ("device", "browser", "api_key", "access_token")
