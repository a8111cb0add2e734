"""Models: which there are, and what they can do."""

from __future__ import annotations

from codex_nb.words import next_steps
from codex_nb.words.message import Message


def nearest(names: str) -> str:
    """Name the models that come nearest to a wrong name."""
    return f"Choose one of the nearest: {names}."


def unknown(name: str) -> Message:
    """Say that the account has no such model."""
    return Message(f"There is no model {name!r}.", next_steps.SEE_MODELS)


def none_listed(who: str) -> Message:
    """Say that the backend lists no models."""
    return Message(f"{who} lists no models.", "Name one with -m.")


def none_known(who: str) -> Message:
    """Say that there is nothing to choose from."""
    return Message(
        f"{who} lists no models, and config.toml names none.", "Name one with -m or as model in config.toml."
    )


def no_effort(model: str, effort: str, known: str) -> Message:
    """Say which efforts the model has."""
    return Message(f"{model} has no effort {effort!r}.", f"Choose one that it has: {known}.")
