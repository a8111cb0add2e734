"""The demo: on whose login it runs."""

from __future__ import annotations

from codex_nb.words.message import Message

SIMULATED = (
    "No Codex login was found: the demo uses the simulator that comes with codex_nb. "
    "It is no model, and every answer says so."
)
NO_TOUR = Message("The tour notebooks are not installed.", "Reinstall codex-nb.")


def own_login(account: str) -> str:
    """Say that the user's own login is used."""
    return f"The demo uses your own Codex login: {account}."
