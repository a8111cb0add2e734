"""A sign-in's way, and why it ended without a login."""

from __future__ import annotations

from codex_nb.words import next_steps
from codex_nb.words.message import Message

# On the way
ACCESS_TOKEN_WANTED = "access token"  # noqa: S105  (a name)
API_KEY_WANTED = "API key"
CHECKING = "Checking the token…"
CONFIRMED = "Confirmed. Fetching the login…"
RECEIVED = "Received. Fetching the login…"
OTHER_ADDRESS = "That is not the address this sign-in ended at. Paste the whole address."

# The page at which the browser ends
PAGE_RECEIVED = "Codex in your notebook has received the sign-in. You can close this page."
PAGE_OF_ANOTHER = "This page belongs to another sign-in. Go back to the notebook and start there again."
PAGE_EMPTY = "There is nothing here."

# What failed: the beginnings of sentences
CODE_NOT_FETCHED = "The device code could not be fetched"
CODE_REFUSED = "The device code was refused"
NOT_ACCEPTED = "The sign-in service did not accept the sign-in"

CANCELLED = Message("The sign-in was cancelled.", next_steps.START_SIGN_IN_AGAIN)
CODE_EXPIRED = Message(
    "The device code has expired before it was confirmed.", "Start again with %codex login for a new code."
)
BROWSER_TOO_LATE = Message(
    "The sign-in was not finished in the browser in time.", next_steps.START_SIGN_IN_AGAIN
)
NO_API_KEY = Message(
    "That is not an API key: it is empty or holds spaces.", "Start again, and paste the key as a whole."
)
NO_ACCESS_TOKEN = Message(
    "That is not an access token: it is empty or holds spaces.",
    "Start again, and paste the token as a whole.",
)
NOT_ALL_TOKENS = Message(
    "The sign-in service answered without all the tokens.", next_steps.START_SIGN_IN_AGAIN
)
WITHOUT_TOKENS = Message("The sign-in service answered without tokens.", next_steps.START_SIGN_IN_AGAIN)
WITHOUT_DEVICE_CODE = Message(
    "The sign-in service answered without a device code.", next_steps.START_SIGN_IN_AGAIN
)
WITHOUT_CODE = Message(
    "The sign-in service confirmed the sign-in, but sent no code.", next_steps.START_SIGN_IN_AGAIN
)
NO_DEVICE_CODES = Message(
    "Signing in by device code is not enabled here.",
    "Allow device codes in ChatGPT's security settings, or use %codex login browser.",
)


def page_failed(refusal: str) -> str:
    """Say on the browser's last page why the service refused."""
    return f"Sign-in failed: {refusal}"


def refused(refusal: str) -> Message:
    """Say why the service refused."""
    return Message(f"The sign-in failed: {refusal}.", next_steps.START_SIGN_IN_AGAIN)


def unreachable(what: str, problem: str) -> Message:
    """Say that the service could not be asked."""
    return Message(f"{what}: {problem}.", next_steps.CHECK_NETWORK)


def answered(what: str, status: str) -> Message:
    """Say with which HTTP status the service refused."""
    return Message(f"{what} (status {status}).", next_steps.START_SIGN_IN_AGAIN)
