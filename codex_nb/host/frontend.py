"""The front end of the running cell: what it supports, read from the cell's request, never from its name."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, TextIO

from IPython.core.displaypub import CapturingDisplayPublisher


@dataclass(frozen=True)
class FrontEnd:
    """What the front end that sent the running cell supports.

    ``cell_id`` is set by notebooks (JupyterLab, Notebook 7, VS Code); nbclient, papermill and consoles send none.
    ``allows_input`` is whether ``input()`` reaches the user, ``is_captured`` whether IPython collects displayed
    outputs (``%%capture``) instead of showing them.
    """

    has_kernel: bool
    cell_id: str | None
    allows_input: bool
    is_captured: bool = False

    @property
    def may_have_html(self) -> bool:
        """Whether the outputs go to a notebook."""
        return self.has_kernel and self.cell_id is not None

    @property
    def may_have_widgets(self) -> bool:
        """Whether a widget's front end can be expected to report ready."""
        return self.may_have_html and not self.is_captured


def front_end(shell: Any) -> FrontEnd:
    """Return the front end of the running cell."""
    kernel = getattr(shell, "kernel", None)
    is_captured = displays_are_captured(shell)
    if kernel is None:
        return FrontEnd(False, None, is_terminal(sys.stdin), is_captured)
    request = current_request(kernel)
    cell_id = (request.get("metadata") or {}).get("cellId")
    allows_input = bool((request.get("content") or {}).get("allow_stdin", False))
    return FrontEnd(True, cell_id, allows_input, is_captured)


def displays_are_captured(shell: Any) -> bool:
    """Whether IPython collects displayed outputs, as under ``%%capture``."""
    return isinstance(getattr(shell, "display_pub", None), CapturingDisplayPublisher)


def outputs_are_captured(shell: Any) -> bool:
    """Whether the cell's printed or displayed outputs are redirected and do not reach the user."""
    kernel, ipykernel = getattr(shell, "kernel", None), sys.modules.get("ipykernel.kernelbase")
    if kernel is None:
        return not is_terminal(sys.stdout)
    if ipykernel is not None and isinstance(kernel, ipykernel.Kernel):
        from ipykernel.iostream import OutStream

        if not isinstance(sys.stdout, OutStream):
            return True
    return not isinstance(shell.display_pub, shell.display_pub_class)


def current_request(kernel: Any) -> dict[str, Any]:
    """Return the execute request of the running cell, empty when the kernel has none."""
    try:
        request: dict[str, Any] = kernel.get_parent("shell") or {}
    except (AttributeError, LookupError, TypeError):
        return {}
    return request


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal; False when it is closed."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False
