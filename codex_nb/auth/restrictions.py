"""What a login must be to be used here: the administrator's restrictions and the user's explicit wish.

Unlike the CLI, which deletes auth.json on a mismatch, a login that is not allowed is refused and left as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codex_nb.auth.credentials import AuthMode
from codex_nb.auth.sources import wanted_mode
from codex_nb.errors import SignInRequired

if TYPE_CHECKING:
    from codex_nb.auth.credentials import Credentials
    from codex_nb.settings import Settings

HINT = "The stored login was left as it is. Sign in with an allowed account by %codex login, or ask your administrator."


def restriction(settings: Settings, credentials: Credentials) -> str | None:
    """Say why these credentials may not be used; None when they may."""
    wanted = wanted_mode(settings)
    if wanted is not None and credentials.mode is not wanted:
        return f"The auth mode {wanted.value!r} was asked for, but this login is of mode {credentials.mode.value!r}."
    is_api_key = credentials.mode is AuthMode.API_KEY
    if settings.forced_login_method == "api" and not is_api_key:
        return "API key login is required here (forced_login_method), but this is a ChatGPT login."
    if settings.forced_login_method == "chatgpt" and is_api_key:
        return "ChatGPT login is required here (forced_login_method), but this is an API key."
    account = credentials.workspace_id
    if settings.forced_workspaces and not is_api_key and account not in settings.forced_workspaces:
        allowed = ", ".join(settings.forced_workspaces)
        return (
            f"Login is restricted to workspace {allowed} (forced_chatgpt_workspace_id), "
            f"but this login belongs to {account or 'no workspace that it names'}."
        )
    return None


def refuse_restricted(settings: Settings, credentials: Credentials) -> Credentials:
    """Give back credentials that may be used. Raises SignInRequired for others."""
    if not settings.provider.requires_openai_auth:
        return credentials
    problem = restriction(settings, credentials)
    if problem is not None:
        raise SignInRequired(problem, hint=HINT)
    return credentials
