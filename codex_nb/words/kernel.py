"""The kernel: what is told when a cell is interrupted or something is called where it cannot work."""

from __future__ import annotations

STOPPED = "Stopped."
INTERRUPTED = "the turn was interrupted; what had come is kept"
NO_LAST_EVENT = "The turn ended without its last event."
ENGINE_WAITS = "The engine cannot wait for itself: await the coroutine instead."
ASYNC_ONLY = "codex_nb signs requests of httpx.AsyncClient only."
OUTSIDE_A_TASK = "An idle limit bounds what a task waits for."
UNKNOWN_CHANNEL = "the shell channel has another form"


def keyboard_interrupt(text: str) -> str:
    """Return the one line that an interrupted cell shows."""
    return f"KeyboardInterrupt: {text}"


def no_attribute(module: str, name: str) -> str:
    """Say that the package has no such name, in Python's own words."""
    return f"module {module!r} has no attribute {name!r}"
