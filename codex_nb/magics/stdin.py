"""Asking a person by ``input()``: only where they can answer, and only while they see what they are asked about."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from codex_nb.host.capture import outputs_are_captured
from codex_nb.host.frontend import front_end
from codex_nb.tools.approval import ApprovalUnavailable
from codex_nb.ui.output_widget import is_catching

if TYPE_CHECKING:
    from collections.abc import Callable

_OTHER_THREAD = (
    "Nobody is here to approve this call, so it was refused: approvals are typed in the running cell, on its own "
    "thread. Ask there, or start the run with --approval all."
)
_CAPTURED = (
    "This call was refused: the output of the cell is captured or redirected, so nobody can see the code to approve "
    "it. Run the cell without %%capture, redirect_stdout or an Output widget around it, or start it with "
    "--approval all."
)


def stdin_prompt(shell: Any) -> Callable[[str], str] | None:
    """Return what shows a prompt and returns the line typed; None where nobody can type.

    It raises ApprovalUnavailable where a prompt would not reach the person together with what the cell shows, and on
    every thread but the main one: the kernel's input channel belongs to the cell that runs there.
    """
    if not front_end(shell).allows_input:
        return None

    def ask(prompt: str) -> str:
        if threading.current_thread() is not threading.main_thread():
            raise ApprovalUnavailable(_OTHER_THREAD)
        if outputs_are_captured(shell) or is_catching():
            raise ApprovalUnavailable(_CAPTURED)
        if getattr(shell, "kernel", None) is None:
            above, newline, prompt = prompt.rpartition("\n")  # line editors expect a prompt of one line
            sys.stdout.write(above + newline)
        return input(prompt)

    return ask
