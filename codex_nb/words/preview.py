"""The preview: what the next question would send, part by part."""

from __future__ import annotations

TABLE = ("part", "tokens")
ALL = "all"
PARTS = {
    "question": "question",
    "notebook": "notebook",
    "instructions": "instructions",
    "agents": "AGENTS.md",
}


def head(thread: str) -> str:
    """Say what follows."""
    return f"The next question would add this to the thread `{thread}`:"


def images(count: str) -> str:
    """Say how many images go along."""
    return f"images: {count}"


def sizes(budget: str, sizes: str) -> str:
    """Say how much of the notebook goes along, each kind with its tokens."""
    return f"of the notebook, at most {budget} tokens: {sizes}"


def left_out(cut: str) -> str:
    """Say what of the notebook stays behind."""
    return f"left out: {cut}"
