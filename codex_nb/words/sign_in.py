"""Signing in: each step as it is asked for, the buttons, and how it ended."""

from __future__ import annotations

from codex_nb.words.message import Message

NOBODY_HERE = Message("Nobody is here to sign in.", "Run `codex-nb login` in a terminal.")


def begun_with_another_account(before: str, now: str) -> Message:
    """Say that somebody else signed in while an answer was half done."""
    return Message(
        f"This answer was begun as {before}, and you have signed in as {now}.",
        "Run the cell again, and all of the answer goes through the account you chose.",
    )
