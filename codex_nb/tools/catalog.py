"""The tools that every question of a notebook offers."""

from __future__ import annotations

from codex_nb.tools.kernel import run_python
from codex_nb.tools.tool import ToolSet


def notebook_tools() -> ToolSet:
    """Return them, in no particular order: a request sorts them by name."""
    return ToolSet((run_python,))
