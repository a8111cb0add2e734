"""One thread's history, and the exchange that a turn adds to it as a whole or not at all.

The history only grows at its end (compaction apart), so the input of each request begins, byte for byte, with the
input of the one before: the backend's prompt cache works, and what the model knows is what was really said.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from codex_nb.session.items import Item, assistant_message, call_output, is_call, new_uuid, user_message

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

ABORTED_OUTPUT = "aborted by the user"
ABORTED_NOTE = (
    "<turn_aborted>The previous turn was interrupted; what it was doing may be unfinished.</turn_aborted>"
)


class Journal(Protocol):
    """Keeps what a conversation commits."""

    def append(self, conversation: Conversation, items: Sequence[Item], facts: Collection[str]) -> None:
        """Add an exchange, and what is new of what it tells, to the kept thread."""
        ...

    def rewrite(self, conversation: Conversation) -> None:
        """Keep the conversation as it is now instead of what was kept before."""
        ...


class Conversation:
    """A thread: the items of all its turns, and the name under which the user finds it.

    ``turn_lock`` lets turns of one thread follow each other; its holder alone may begin an exchange. ``facts`` are
    digests of what the history already tells of the notebook, so that it need not be told again.
    """

    def __init__(
        self,
        name: str,
        *,
        thread_id: str | None = None,
        items: Iterable[Item] = (),
        journal: Journal | None = None,
        facts: Iterable[str] = (),
    ) -> None:
        self.name = name
        self.thread_id = thread_id or new_uuid()
        self.turn_lock = asyncio.Lock()
        self._items = tuple(items)
        self._journal = journal
        self._facts = frozenset(facts)

    @property
    def items(self) -> tuple[Item, ...]:
        """The committed history."""
        return self._items

    @property
    def facts(self) -> frozenset[str]:
        """Digests of the notebook's parts that the committed history tells of."""
        return self._facts

    def begin(self, opening: Sequence[Item], facts: Iterable[str] = ()) -> Exchange:
        """Open an exchange with its first items: instructions, context, the user's words."""
        return Exchange(self, opening, frozenset(facts))

    def replace(self, items: Sequence[Item], facts: Iterable[str] = ()) -> None:
        """Put a compacted history, and the facts that it still tells, in the place of the present one."""
        self._items = tuple(items)
        self._facts = frozenset(facts)
        if self._journal is not None:
            self._journal.rewrite(self)

    def _accept(self, items: Sequence[Item], facts: frozenset[str]) -> None:
        new = facts - self._facts
        self._items = (*self._items, *items)
        self._facts |= facts
        if self._journal is not None:
            self._journal.append(self, items, new)


class Exchange:
    """The items of one turn until they are committed; closed by the first commit, abort or roll back."""

    def __init__(self, conversation: Conversation, opening: Sequence[Item], facts: frozenset[str]) -> None:
        self._conversation = conversation
        self._items = list(opening)
        self._opening = len(self._items)
        self._facts = facts
        self._open = True

    @property
    def input(self) -> tuple[Item, ...]:
        """What the next request of the turn sends."""
        return (*self._conversation.items, *self._items)

    @property
    def is_open(self) -> bool:
        """Whether the exchange still waits for its end."""
        return self._open

    def add(self, items: Iterable[Item]) -> None:
        """Add what the model said, or what its calls gave."""
        self._items.extend(items)

    def commit(self) -> None:
        """Make the exchange part of the history; calls that were never answered are answered as aborted."""
        if self._open:
            self._open = False
            self._conversation._accept(answer_orphans(self._items), self._facts)  # noqa: SLF001 -- its own half

    def abort(self, partial_text: str = "") -> None:
        """Keep what was finished before an interruption, as a history that the API accepts.

        An exchange in which the model said nothing yet leaves no trace. A partial answer is kept as words of the
        model; reasoning that nothing followed is dropped, because the API demands the item that it led to.
        """
        if not self._open:
            return
        kept = list(self._items)
        while len(kept) > self._opening and kept[-1].get("type") == "reasoning":
            kept.pop()
        items = answer_orphans(kept)
        if partial_text.strip():
            items.append(assistant_message(partial_text))
        self._open = False
        if len(items) > self._opening:
            self._conversation._accept([*items, user_message(ABORTED_NOTE)], self._facts)  # noqa: SLF001 -- its own half

    def roll_back(self) -> None:
        """Forget the exchange."""
        self._open = False


def answer_orphans(items: Sequence[Item]) -> list[Item]:
    """Return the items with an output for every call that has none, after the last item."""
    answered = {item.get("call_id") for item in items if str(item.get("type", "")).endswith("_output")}
    orphans = [item for item in items if is_call(item) and item["call_id"] not in answered]
    return [*items, *(call_output(orphan, ABORTED_OUTPUT) for orphan in orphans)]
