"""The tools that a notebook offers to the model, before the user adds their own."""

from __future__ import annotations

from codex_nb.tools.files import list_files, read_file
from codex_nb.tools.insertion import insert_cells
from codex_nb.tools.inspection import inspect
from codex_nb.tools.kernel import run_python
from codex_nb.tools.plan import update_plan
from codex_nb.tools.tool import ToolSet


def notebook_tools() -> ToolSet:
    """Return the tools that every notebook offers; each turn leaves out those that cannot work where it runs."""
    return ToolSet((run_python, inspect, read_file, list_files, insert_cells, update_plan))
