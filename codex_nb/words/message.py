"""What a person is told: one sentence or two, and what to do next."""

from __future__ import annotations

from typing import NamedTuple


class Message(NamedTuple):
    """``text`` says what happened and why; ``hint`` says what to do next, None for the error's own hint."""

    text: str
    hint: str | None = None
