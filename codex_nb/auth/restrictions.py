"""What a login must be to be used here: the administrator's restrictions and the user's explicit wish.

Unlike the CLI, which deletes auth.json on a mismatch, a login that is not allowed is refused and left as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codex_nb.auth.credentials import AuthMode
from codex_nb.auth.sources import wanted_mode
from codex_nb.errors import SignInRequired
from codex_nb.words import restrictions as words
from codex_nb.words import stored_login

if TYPE_CHECKING:
    from codex_nb.auth.credentials import Credentials
    from codex_nb.settings import Settings
    from codex_nb.words.message import Message


def restriction(settings: Settings, credentials: Credentials) -> Message | None:
    """Say why these credentials may not be used; None when they may."""
    wanted = wanted_mode(settings)
    if wanted is not None and credentials.mode is not wanted:
        return words.other_mode(wanted.value, credentials.mode.value)
    is_api_key = credentials.mode is AuthMode.API_KEY
    if settings.forced_login_method == "api" and not is_api_key:
        return words.KEY_REQUIRED
    if settings.forced_login_method == "chatgpt" and is_api_key:
        return words.CHATGPT_REQUIRED
    account = credentials.workspace_id
    if settings.forced_workspaces and not is_api_key and account not in settings.forced_workspaces:
        allowed = ", ".join(settings.forced_workspaces)
        return words.other_workspace(allowed, account or stored_login.NO_WORKSPACE)
    return None


def refuse_restricted(settings: Settings, credentials: Credentials) -> Credentials:
    """Give back credentials that may be used. Raises SignInRequired for others."""
    if not settings.provider.requires_openai_auth:
        return credentials
    problem = restriction(settings, credentials)
    if problem is not None:
        raise SignInRequired(problem)
    return credentials
