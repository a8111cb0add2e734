"""Why the access token could not be renewed."""

from __future__ import annotations

from codex_nb.words import next_steps
from codex_nb.words.message import Message

# Why: what the service says
EXPIRED = "your sign-in has expired"
REUSED = "its refresh token was already used by another program"
REVOKED = "your sign-in was revoked"
REFUSED = "the sign-in service refused it"
SENSELESS = "the sign-in service's answer makes no sense"

INSECURE = Message(
    "The login is not renewed, because its address is neither https nor on this machine.",
    "Check CODEX_REFRESH_TOKEN_URL_OVERRIDE and the issuer in auth.json.",
)
NOTHING_RENEWED = Message(
    "The login could not be renewed, because the sign-in service answered without new tokens.",
    "Run the cell again in a moment, or sign in again with %codex login.",
)
PROCESS_ENDED = Message(
    "The login could not be renewed just now, because the process that renews it has ended.",
    next_steps.RUN_AGAIN_SOON,
)
OTHER_ACCOUNT = Message(
    "The sign-in service answered with the tokens of another account; the stored login was left as it is.",
    next_steps.SIGN_IN_AGAIN,
)


def failed(problem: str) -> str:
    """Say that the request itself failed."""
    return f"the sign-in service failed: {problem}"


def answered(status: str) -> str:
    """Name the HTTP status of the refusal."""
    return f"the sign-in service answered with status {status}"


def impossible(why: str) -> Message:
    """Say why only a new sign-in helps."""
    return Message(f"The login could not be renewed, because {why}.", next_steps.SIGN_IN_AGAIN)


def impossible_now(why: str) -> Message:
    """Say why the renewal failed for the moment."""
    return Message(f"The login could not be renewed just now, because {why}.", next_steps.RUN_AGAIN_SOON)


def not_writable(home: str, reason: str) -> Message:
    """Say that what a renewal gives could not be saved; ``reason`` is empty or stands in brackets."""
    return Message(
        f"The login cannot be renewed, because {home} cannot be written{reason}.",
        "Make the directory writable, or renew the login where it is kept.",
    )


def locked(path: str) -> Message:
    """Say that another program holds the lock."""
    return Message(
        f"Another program has kept the login locked for too long ({path}).",
        "Wait for it, or end the program that holds the lock, then run the cell again.",
    )
