"""The subcommands of ``%codex``: their names and what each does, in one line. The work is in the dispatch."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "status": "who is signed in, the plan, the limits, where the login is kept",
        "login": "sign in: by device code; or `login browser`, `login api_key`, `login access_token`",
        "logout": "sign out: revoke and delete the stored login",
        "models": "the models of this account",
        "model": "show the model in use, or choose one for this session",
        "effort": "show the effort in use, or choose one for this session",
        "usage": "the limits of the plan and when they reset",
        "context": "exactly what the next question would send of this notebook",
        "thread": "show the thread in use, or go on with another one",
        "threads": "the threads that are kept",
        "new": "start a new thread",
        "last": "show the last answer again",
        "fix": "explain the last error and propose a corrected cell",
        "explain": "explain the last cell, or the code that follows",
        "config": "the settings in force and where they come from",
        "help": "this list",
    }
)

LOGIN_WAYS = ("device", "browser", "api_key", "access_token")
