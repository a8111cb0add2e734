"""Workspaces: where an account's requests must go."""

from __future__ import annotations

from codex_nb.words import next_steps
from codex_nb.words.message import Message

NOT_YOURS = Message("The selected workspace is not among those this login may use.", next_steps.SEE_STATUS)
BAD_ORIGIN = Message(
    "The workspace's backend is not an https origin, so nothing is sent there.",
    next_steps.ASK_ADMINISTRATOR,
)
BAD_OVERRIDE = Message(
    "The workspace's routing override makes no sense, so nothing is sent.",
    next_steps.ASK_ADMINISTRATOR,
)


def not_asked(problem: str) -> Message:
    """Say why the route could not be asked for."""
    return Message(
        f"The workspace's route could not be asked for: {problem}.", next_steps.CHECK_NETWORK_RUN_AGAIN
    )


def not_found(status: str) -> Message:
    """Say that the service did not tell the route."""
    return Message(f"The workspace's route could not be found (status {status}).", next_steps.RUN_AGAIN_SOON)
