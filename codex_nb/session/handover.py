"""A thread that goes on under another account: what only the first account can open is left out, and said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codex_nb.session.compaction import SEALED
from codex_nb.session.events import Notice
from codex_nb.words import conversation as words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codex_nb.auth.credentials import Credentials
    from codex_nb.session.conversation import Conversation
    from codex_nb.session.items import Item


def identity_fact(credentials: Credentials) -> str:
    """Return the fact that a thread was spoken in by this account."""
    return f"account:{credentials.identity_key[:16]}"


def adopt(conversation: Conversation, credentials: Credentials) -> list[Notice]:
    """Let an account go on with a thread that another one began; return what to tell of it."""
    known = {fact for fact in conversation.facts if fact.startswith("account:")}
    own = identity_fact(credentials)
    if not known or known == {own}:
        return []
    conversation.replace(unsealed(conversation.items), [*(conversation.facts - known), own])
    return [Notice("hint", words.BEGUN_BY_ANOTHER)]


def unsealed(items: Sequence[Item]) -> list[Item]:
    """Return a history without what only the account that it was begun with can open.

    Reasoning and compaction items are encrypted for one account. The ids of the other items go, too: the backend would
    look for the reasoning that belonged to them.
    """
    sealed = {"reasoning", *SEALED}
    return [
        {key: value for key, value in item.items() if key != "id"}
        for item in items
        if item.get("type") not in sealed
    ]
