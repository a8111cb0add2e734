"""One cell's walk: the question goes out with the notebook around it, the answer comes back into the cell."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from codex_nb.host.background import run_in_background
from codex_nb.host.cell import TurnInterrupted, run_in_cell
from codex_nb.host.channel import channel_of
from codex_nb.host.frontend import front_end
from codex_nb.host.mailbox import Mailbox
from codex_nb.host.noticing import NoticingThread
from codex_nb.host.pump import open_pump
from codex_nb.magics.account import ensure_signed_in, sign_in_during
from codex_nb.magics.document import OpenDocument
from codex_nb.magics.first_use import first_use, with_hints
from codex_nb.magics.options import CellOptions, OptionError
from codex_nb.magics.question import make_question, with_notebook
from codex_nb.magics.reading import TAGS_UNSEEN, read_for
from codex_nb.magics.screens import open_screen
from codex_nb.magics.signing_in import turn_after_sign_in
from codex_nb.tools.approval import PendingApprovals
from codex_nb.tools.tool import Ports
from codex_nb.ui.commands import Continue
from codex_nb.words import question as words

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from concurrent.futures import Future

    from codex_nb.home import Home
    from codex_nb.magics.first_use import Hint
    from codex_nb.magics.reading import NotebookReading
    from codex_nb.magics.screens import Again, Shown
    from codex_nb.magics.workspace import Workspace
    from codex_nb.session.answer import Answer
    from codex_nb.session.events import TurnEvent
    from codex_nb.session.request import TurnRequest
    from codex_nb.ui.commands import Retry

CONTINUE = "Go on exactly where your last answer broke off; repeat nothing of it."


def answer_cell(workspace: Workspace, options: CellOptions) -> None:
    """Ask what the cell asks, show the answer, bind it."""
    if not options.prompt:
        raise OptionError(words.NO_QUESTION)
    home = workspace.home(options.profile)
    ensure_signed_in(workspace, home)
    question = make_question(workspace, options, home)  # a wrong option is told before anything is shown
    if options.background:
        _answer_later(workspace, options, home, question)
        return
    with Mailbox() as mailbox, open_pump(workspace.shell, mailbox) as pump:
        approvals = PendingApprovals()
        shown = open_screen(workspace, mailbox, pump, approvals, _again(workspace, options, home))
        events = _turn(workspace, options, home, question, shown, mailbox, approvals)
        try:
            answer = run_in_cell(workspace.engine, events, shown.screen, mailbox, pump)
        except TurnInterrupted as interrupt:
            _bind(workspace, options, interrupt.answer)
            raise
    _bind(workspace, options, answer)
    if answer.status == "failed":
        raise UsageError(words.NOT_ANSWERED)


def _answer_later(workspace: Workspace, options: CellOptions, home: Home, question: TurnRequest) -> None:
    """Show the screen in this cell and let the turn go on while other cells run."""
    mailbox, approvals = Mailbox(), PendingApprovals()
    with open_pump(workspace.shell, mailbox) as pump:
        again = _again(workspace, options, home)
        shown = open_screen(workspace, mailbox, pump, approvals, again, reads_stdin=False)
        events = _turn(workspace, options, home, question, shown, mailbox, approvals)
    answer = run_in_background(workspace.engine, events, shown.screen, mailbox, workspace.shell)
    workspace.background.append((mailbox, answer))

    def bind(done: Future[Answer]) -> None:
        if not done.cancelled() and done.exception() is None:
            _bind(workspace, options, done.result())

    answer.add_done_callback(bind)


def _again(workspace: Workspace, options: CellOptions, home: Home) -> Again | None:
    """Return what asks once more below an answer that ended early, in the cell that runs now."""
    channel = channel_of(workspace.shell)
    if channel is None:
        return None
    cell = channel.parent()

    def again(command: Retry | Continue) -> None:
        prompt = CONTINUE if isinstance(command, Continue) else options.prompt
        once_more = replace(options, prompt=prompt, fresh=True)

        def ask() -> None:
            _answer_later(workspace, once_more, home, make_question(workspace, once_more, home))

        channel.when_free(cell, ask)

    return again


def _turn(
    workspace: Workspace,
    options: CellOptions,
    home: Home,
    question: TurnRequest,
    shown: Shown,
    mailbox: Mailbox,
    approvals: PendingApprovals,
) -> AsyncGenerator[TurnEvent, None]:
    try:
        reading = read_for(workspace, options.prompt, shown.transcript)
        question = with_notebook(question, options, home, reading)
    except BaseException:
        shown.screen.close()
        raise
    cell_id = front_end(workspace.shell).cell_id
    document = OpenDocument(shown.transcript, cell_id) if shown.transcript is not None else None
    main = NoticingThread(mailbox, workspace.shell, shown.screen.break_segment)
    ports = Ports(main, workspace.kernel, document, workspace.folder, reading.hidden)
    sign_in = sign_in_during(workspace, home, mailbox, shown.screen.make_room)
    start = partial(home.assistant.turn, question, ports=ports, approver=approvals, sign_in=sign_in)
    events = turn_after_sign_in(start, sign_in)
    return with_hints(
        events, (first_use(home.settings.codex_home), _tags_unseen(workspace, options, reading))
    )


def _tags_unseen(workspace: Workspace, options: CellOptions, reading: NotebookReading) -> Hint:
    """Return what tells, once in a kernel, that cell tags are not visible."""
    sees_none = options.context and reading.sees_no_tags  # looked up in the cell that asks, not later

    def hint() -> str:
        is_new = sees_none and not workspace.told_of_tags
        workspace.told_of_tags = workspace.told_of_tags or sees_none
        return TAGS_UNSEEN if is_new else ""

    return hint


def _bind(workspace: Workspace, options: CellOptions, answer: Answer) -> None:
    workspace.keep(options.prompt, answer)
    if options.output:
        workspace.shell.user_ns[options.output] = answer.parsed if options.schema else answer
