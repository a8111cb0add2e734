"""A turn and its thread: how it ended, what was done to the thread, what there is to know beside the answer."""

from __future__ import annotations

from codex_nb.words.message import Message

# How a turn ended
INCOMPLETE = "The answer is incomplete."
FAILED = "The turn failed."
WAS_STOPPED = "The turn was stopped."
STOPPED = "Stopped by the user."
UNFINISHED = "The answer ended without being finished."
NO_REASON = "no reason was given"
NO_RESULT = Message("The turn ended without a result.", "Ask again.")

# Beside the answer
ALL_ALLOWED = "Approval policy 'all': tool calls run without asking you."
BEGUN_BY_ANOTHER = "Another account began this thread: what only that account can open was left out."

NOTHING_TO_MEND = "Run %codex fix right after a cell that failed, or ask with %%codex."
NO_SUMMARY = Message(
    "The thread has grown too long, and the request for a summary of it was not answered.",
    "Start a new thread with %codex new, or ask again.",
)


def incomplete_because(reason: str) -> str:
    """Say why an answer is incomplete, in the service's word."""
    return f"The answer is incomplete: {reason}."


def too_many_requests(count: str) -> str:
    """Say that a turn was ended so that it does not go on for ever."""
    return f"The turn was ended after {count} requests. Ask to continue if it should."


def does_not_fit(problem: str) -> str:
    """Say why an answer does not fit the schema."""
    return f"The answer does not fit the schema: {problem}"


def another_model(told: str, asked: str) -> str:
    """Say that another model answered than the one that was asked."""
    return f"{told} answered instead of {asked}."


def image_not_sent(model: str) -> str:
    """Say that the one image stays behind."""
    return f"{model} takes text only: 1 image not sent."


def images_not_sent(model: str, count: str) -> str:
    """Say that the images stay behind."""
    return f"{model} takes text only: {count} images not sent."


def limit_used(percent: str, window: str) -> str:
    """Say how much of a limit is used, when it is nearly all."""
    return f"{percent} % of the {window} limit is used."


def limit_used_until(percent: str, window: str, moment: str) -> str:
    """Say how much of a limit is used, and when it resets."""
    return f"{percent} % of the {window} limit is used; it resets {moment}."


def made_short(before: str, after: str) -> str:
    """Say that a thread was made short, with its sizes in tokens."""
    return f"The thread had grown long and was made short: from about {before} to {after} tokens."


def stored_answer(moment: str) -> str:
    """Say that nothing was sent, because the answer was there."""
    return f"Stored answer of {moment}: nothing was sent. --fresh asks again."


def memory_only(folder: str, problem: str) -> str:
    """Say that a thread cannot be kept on disk."""
    return (
        f"This thread is kept in memory only: {folder} cannot be written to ({problem}). "
        "Make that folder writable to keep the thread."
    )
