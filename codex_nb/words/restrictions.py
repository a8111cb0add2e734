"""Logins that may not be used here, by the administrator's word or the user's own."""

from __future__ import annotations

from codex_nb.words import next_steps
from codex_nb.words.message import Message

A_KEY = "an API key"
CHATGPT = "ChatGPT"

KEY_REQUIRED = Message(
    "API key login is required here (forced_login_method), but this is a ChatGPT login.",
    next_steps.SIGN_IN_ALLOWED_KEPT,
)
CHATGPT_REQUIRED = Message(
    "ChatGPT login is required here (forced_login_method), but this is an API key.",
    next_steps.SIGN_IN_ALLOWED_KEPT,
)


def other_mode(wanted: str, found: str) -> Message:
    """Say that another auth mode was asked for."""
    return Message(
        f"The auth mode {wanted!r} was asked for, but this login is of mode {found!r}.",
        next_steps.SIGN_IN_ALLOWED_KEPT,
    )


def other_workspace(allowed: str, found: str) -> Message:
    """Say that the login belongs to a workspace that is not allowed."""
    return Message(
        f"Login is restricted to workspace {allowed} (forced_chatgpt_workspace_id), but this login belongs to {found}.",
        next_steps.SIGN_IN_ALLOWED_KEPT,
    )


def only_by(method: str) -> Message:
    """Say before a sign-in that only the other way is allowed."""
    return Message(
        f"Only signing in with {method} is allowed here (forced_login_method in config.toml).",
        next_steps.SIGN_IN_ALLOWED_KEPT,
    )


def unknown_mode(found: str, known: str) -> Message:
    """Say that there is no such auth mode."""
    return Message(f"The auth mode {found!r} is not known; the modes are {known}.", next_steps.CHOOSE_ONE)
