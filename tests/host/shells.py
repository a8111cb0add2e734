"""A real IPython shell in this process, without a kernel, and the cells it runs."""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Iterator

from IPython.core.interactiveshell import InteractiveShell


@contextlib.contextmanager
def interactive_shell() -> Iterator[InteractiveShell]:
    """Make the process's shell anew, and end it."""
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(colors="nocolor")
    try:
        yield shell
    finally:
        atexit.unregister(shell.atexit_operations)
        shell.atexit_operations()
        InteractiveShell.clear_instance()


def run(shell: InteractiveShell, code: str) -> object:
    """Run a cell as a user would; return its result."""
    return shell.run_cell(code, store_history=True).result
