"""What a person is told: one sentence or two, and what to do next."""

from __future__ import annotations

from typing import NamedTuple


class Message(NamedTuple):
    """``text`` says what happened and why; ``hint`` says what to do next, None for the error's own hint."""

    text: str
    hint: str | None = None

    def followed_by(self, sentence: str) -> Message:
        """Give the message with another sentence at the end of its text; an empty one changes nothing."""
        return self._replace(text=f"{self.text} {sentence}") if sentence else self
