"""Codex in your notebook: ``%load_ext codex_nb``, then ``%%codex``.

The same assistant in Python::

    answer = codex_nb.ask("What is a p-value, in one sentence?")
    answer.text

Importing this package stays light: httpx, pydantic and ipywidgets are imported by the first call that needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from typing import Literal

    from IPython.core.interactiveshell import InteractiveShell

    from codex_nb.auth.status import AccountStatus
    from codex_nb.session.answer import Answer
    from codex_nb.session.events import TurnEvent
    from codex_nb.tools.tool import Tool

__version__ = "0.1.0"
__all__ = [
    "aask",
    "ask",
    "astream",
    "load_ipython_extension",
    "map",
    "status",
    "tool",
    "unload_ipython_extension",
]


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics: what ``%load_ext codex_nb`` calls."""
    from codex_nb.extension import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take the magics back and close what they opened: what ``%unload_ext codex_nb`` calls."""
    from codex_nb.extension import unload

    unload(shell)
