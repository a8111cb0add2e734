"""Many questions at once: how far they are, why they cannot be asked, and which of them failed."""

from __future__ import annotations

from codex_nb.words.message import Message

ONE_TEXT = Message("map takes many prompts, not one text.", "Use ask for one prompt, or put it into a list.")
NO_CONCURRENCY = Message("map: concurrency must be at least 1.", "Leave it out for the usual 8.")


def not_a_text(number: str, type_name: str) -> Message:
    """Say which prompt is none."""
    return Message(
        f"map: prompt {number} must be a text, not {type_name}.", "Turn it into a text with str()."
    )


def failed_at(number: str, total: str, answered: str) -> str:
    """Say, in a note at the error, which question failed."""
    return (
        f"Prompt {number} of {total} failed. The {answered} answers so far are in the error's .answers "
        "(in a notebook: sys.last_value.answers)."
    )
