"""One cell's walk: the question goes out with the notebook around it, the answer comes back into the cell."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from codex_nb.host.cell import run_in_cell
from codex_nb.host.mailbox import Mailbox
from codex_nb.host.pump import open_pump
from codex_nb.magics.options import CellOptions, OptionError
from codex_nb.magics.question import make_question
from codex_nb.magics.screens import open_screen
from codex_nb.magics.signing_in import turn_after_sign_in
from codex_nb.tools.approval import PendingApprovals
from codex_nb.tools.tool import Ports

if TYPE_CHECKING:
    from codex_nb.magics.workspace import Workspace
    from codex_nb.session.answer import Answer

NOT_ANSWERED = "The question was not answered; the reason stands above."


def answer_cell(workspace: Workspace, options: CellOptions) -> None:
    """Ask what the cell asks, show the answer, bind it."""
    if not options.prompt:
        raise OptionError("%%codex: there is no question.", hint="Write it below the magic's line.")
    home = workspace.home(options.profile)
    approvals = PendingApprovals()
    with Mailbox() as mailbox, open_pump(workspace.shell, mailbox) as pump:
        shown = open_screen(workspace, mailbox, pump, approvals)
        request = make_question(workspace, options, home, shown.transcript)
        ports = Ports(mailbox, workspace.kernel, None, workspace.folder)
        start = partial(home.assistant.turn, request, ports=ports, approver=approvals)

        async def no_sign_in(_error: Any) -> bool:
            return False

        answer = run_in_cell(workspace.engine, turn_after_sign_in(start, no_sign_in), shown.screen, mailbox, pump)
    _bind(workspace, options, answer)
    if answer.status == "failed":
        raise UsageError(NOT_ANSWERED)


def _bind(workspace: Workspace, options: CellOptions, answer: Answer) -> None:
    workspace.keep(answer)
    if options.output:
        value = answer.parsed if options.schema else answer
        workspace.shell.user_ns[options.output] = value
