"""What can answer on the other side: found by looking at what came, never by a front end's name."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, TextIO

from IPython.core.displaypub import CapturingDisplayPublisher


@dataclass(frozen=True)
class FrontEnd:
    """Where the running cell comes from.

    ``cell_id`` is there when a document asks (JupyterLab, Notebook 7, VS Code); nbclient, papermill and consoles send
    none. ``allows_input`` tells whether a person can be asked by ``input()``. ``is_captured`` tells whether IPython
    collects what is displayed (``%%capture``), so that nobody sees it now.
    """

    has_kernel: bool
    cell_id: str | None
    allows_input: bool
    is_captured: bool = False

    @property
    def may_have_html(self) -> bool:
        """Whether a document takes the outputs."""
        return self.has_kernel and self.cell_id is not None

    @property
    def may_have_widgets(self) -> bool:
        """Whether it is worth waiting for a widget's front-end half to report ready."""
        return self.may_have_html and not self.is_captured


def front_end(shell: Any) -> FrontEnd:
    """Look at the request that the running cell came with."""
    kernel = getattr(shell, "kernel", None)
    is_captured = displays_are_captured(shell)
    if kernel is None:
        return FrontEnd(False, None, is_terminal(sys.stdin), is_captured)
    request = current_request(kernel)
    cell_id = (request.get("metadata") or {}).get("cellId")
    allows_input = bool((request.get("content") or {}).get("allow_stdin", False))
    return FrontEnd(True, cell_id, allows_input, is_captured)


def displays_are_captured(shell: Any) -> bool:
    """Tell whether IPython collects what is displayed, as under ``%%capture``."""
    return isinstance(getattr(shell, "display_pub", None), CapturingDisplayPublisher)


def current_request(kernel: Any) -> dict[str, Any]:
    """Return the message that the running cell came with, empty when the kernel does not tell."""
    try:
        request: dict[str, Any] = kernel.get_parent("shell") or {}
    except (AttributeError, LookupError, TypeError):
        return {}
    return request


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream leads to a terminal."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False
