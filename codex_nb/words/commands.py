"""The subcommands of ``%codex``: what each answers, its tables, and why it cannot do what was asked."""

from __future__ import annotations

from codex_nb.words.conversation import NOTHING_TO_MEND
from codex_nb.words.message import Message
from codex_nb.words.next_steps import choose_one_of

SIGNED_OUT = "Signed out: the login was revoked and deleted."
WAS_NOT_SIGNED_IN = "You were not signed in."

NO_MODELS = "The backend lists no models; name one with -m."
FIRST_MODEL = "Model in use: the account's first; see `%codex models`."
EFFORT_OF_THE_MODEL = "Effort in use: the model chooses."
NO_LIMITS = "No plan limits are known for this login."
NO_THREADS = "No thread is kept yet."

MODELS_TABLE = ("model", "name", "efforts")
LIMITS_TABLE = ("limit", "used", "resets")
THREADS_TABLE = ("thread", "answers", "size")
SETTINGS_TABLE = ("setting", "value")

NOTHING_ANSWERED = Message("%codex last: nothing has been answered yet.", "Ask with %%codex.")
NOTHING_FAILED = Message("No cell has failed here yet.", NOTHING_TO_MEND)


def model_in_use(model: str) -> str:
    """Tell which model answers."""
    return f"Model in use: `{model}`."


def effort_in_use(effort: str) -> str:
    """Tell how long the model thinks."""
    return f"Effort in use: {effort}."


def thread_in_use(thread: str) -> str:
    """Tell which thread the next question goes on with."""
    return f"Thread in use: `{thread}`."


def new_thread(thread: str) -> str:
    """Tell the name of a thread that begins."""
    return f"New thread: `{thread}`."


def thread_size(kilobytes: str) -> str:
    """Tell how much is kept of a thread."""
    return f"{kilobytes} kB"


def no_way(way: str, ways: str) -> Message:
    """Say that one cannot sign in like this."""
    return Message(f"%codex login: there is no way {way!r}.", choose_one_of(ways))


def no_command(word: str, near: str) -> Message:
    """Say that one word is no command, and which one is like it."""
    return Message(
        f"%codex has no command {word!r}.",
        f"Write %codex {near}, or ask a question of one word by %%codex.",
    )


def no_level(level: str, levels: str) -> Message:
    """Say that there is no such effort."""
    return Message(f"%codex effort: there is no level {level!r}.", choose_one_of(levels))
