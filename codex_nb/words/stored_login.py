"""The login that is kept: reading it, saving it, and whether it may be used here."""

from __future__ import annotations

from codex_nb.words import next_steps
from codex_nb.words.message import Message

NOT_SIGNED_IN = Message("You are not signed in.")
SIGNED_OUT_ELSEWHERE = Message("You have been signed out by another program.")

# What a login lacks
ACCESS_TOKEN = "access token"  # noqa: S105  (a name)
AGENT_IDENTITY = "agent identity"
API_KEY = "API key"
PERSONAL_ACCESS_TOKEN = "personal access token"  # noqa: S105  (a name)

# Why a login cannot be read
NOT_JSON = "it is not valid JSON"
NOT_AN_OBJECT = "it is not a JSON object"

# How an account is named
NO_SIGN_IN_NEEDED = "no sign-in needed"
NO_WORKSPACE = "no workspace that it names"
THE_NEW_LOGIN = "the new login"

# What cannot be done with the keyring
READ = "read"
WRITTEN = "written"
CHANGED = "changed"

NO_KEYRING_LIBRARY = Message(
    "The login is kept in the keyring, which needs the package keyring.",
    "Install it with: pip install 'codex-nb[keyring]', or set cli_auth_credentials_store = \"file\" in config.toml.",
)


def wrong_type(key: str) -> str:
    """Name the key whose value has the wrong type."""
    return f"the value of {key} has the wrong type"


def api_key(masked: str) -> str:
    """Name an account by its masked key."""
    return f"API key {masked}"


def login_from(source: str) -> str:
    """Name an account by the place of its login."""
    return f"the login from {source}"


def keyring_place(service: str) -> str:
    """Name the keyring as the place of a login."""
    return f"keyring ({service})"


def keyring_or(file: str) -> str:
    """Name both places where a login may be."""
    return f"keyring or {file}"


def goes_on_with(source: str) -> str:
    """Say that signing in or out changes nothing while something else comes first."""
    return f"Requests go on with the credential from {source}."


def lacks(source: str, what: str) -> Message:
    """Say what a stored login lacks."""
    return Message(f"The stored login ({source}) lacks its {what}.")


def no_tokens(source: str) -> Message:
    """Say that a ChatGPT login holds no tokens."""
    return Message(f"The stored login ({source}) holds no tokens.")


def for_another_service(mode: str) -> Message:
    """Say that the CLI's login is for a service that codex_nb does not speak to."""
    return Message(f"The stored login is for another service (auth_mode {mode!r}).")


def unknown_mode(mode: str) -> Message:
    """Say that nobody knows the login's mode."""
    return Message(
        f"The stored login has an auth_mode that is not known: {mode!r}.",
        "Mend the file, or sign in again with %codex login.",
    )


def unreadable(path: str, problem: str) -> Message:
    """Say why the login's file cannot be read."""
    return Message(
        f"The stored login {path} cannot be read: {problem}. It was left as it is.",
        next_steps.MEND_OR_SIGN_IN,
    )


def encrypted(path: str) -> Message:
    """Say that the login lies in the CLI's encrypted store."""
    return Message(
        f"The Codex CLI keeps this login in its encrypted store {path}, which only it can open.",
        "Turn its feature secret_auth_storage off and sign in again, or sign in with another profile.",
    )


def not_saved(path: str, problem: str) -> Message:
    """Say that a login could not be saved."""
    return Message(
        f"The login could not be saved in {path}: {problem}.",
        "Mend that, then sign in again with %codex login.",
    )


def not_removed(path: str, problem: str) -> Message:
    """Say that a login could not be removed."""
    return Message(f"The login in {path} could not be removed: {problem}.", "Remove the file yourself.")


def keyring_entry_unreadable(service: str, account: str, problem: str) -> Message:
    """Say why the keyring's entry cannot be read."""
    return Message(
        f"The login in the keyring ({service}, {account}) cannot be read: {problem}.",
        next_steps.SIGN_IN_AGAIN,
    )


def keyring_unusable(what: str, problem: str) -> Message:
    """Say that the keyring cannot be read, written or changed."""
    return Message(
        f"The keyring cannot be {what} ({problem}).",
        'Unlock the keyring, or set cli_auth_credentials_store = "file" in config.toml.',
    )


def account_changed(mine: str, theirs: str) -> Message:
    """Say that another account's login has taken the place of this session's."""
    return Message(f"This session belongs to {mine}, but the login is now {theirs}.")
