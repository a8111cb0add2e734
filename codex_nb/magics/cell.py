"""The life of a ``%%codex`` cell: the question is sent with the notebook context, the answer is shown in the cell."""

from __future__ import annotations

import asyncio
import sys
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, assert_never

from IPython.core.error import UsageError

from codex_nb.errors import CodexError
from codex_nb.host.cell import (
    TurnInterrupted,
    TurnView,
    run_background_calls,
    run_in_background,
    run_turn_in_cell,
)
from codex_nb.host.engine import Mailbox, interruptible, is_interrupted, refuse_inside_turn
from codex_nb.host.shell import OutputDetectingExecutor, front_end, is_terminal, outputs_are_captured
from codex_nb.host.shell_channel import get_shell_channel, open_pump, serve_until
from codex_nb.magics.account import ensure_logged_in, login_during_turn
from codex_nb.magics.options import SUBCOMMANDS, CellOptions, OptionError
from codex_nb.magics.session import TAGS_NOT_VISIBLE, make_question, read_for, with_notebook
from codex_nb.session.assistant import first_use_notice
from codex_nb.session.events import ApprovalRequested, ApprovalResolved, TurnFinished
from codex_nb.tools.approval import (
    NOBODY_THERE,
    ApprovalUnavailable,
    Decision,
    DecisionKind,
    PendingApprovals,
)
from codex_nb.tools.base import Ports
from codex_nb.tools.nbmodel import InsertResult
from codex_nb.ui.actions import Action, Continue, Decide, Retry, Stop
from codex_nb.ui.widgets import in_output_widget

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from concurrent.futures import Future

    from codex_nb.host.shell_channel import Pump
    from codex_nb.magics.session import NotebookReading, ShellSession
    from codex_nb.profile import Profile
    from codex_nb.session.assistant import Hint
    from codex_nb.session.events import Answer, TurnEvent
    from codex_nb.session.notebook_context import TurnRequest
    from codex_nb.session.prompt import ProjectInstructions
    from codex_nb.tools.nbmodel import NewCell
    from codex_nb.ui.transcript import Transcript
    from codex_nb.ui.widgets import OutputArea, OutputHandle


ANSWER_S = 10.0


class NotebookEditor:
    """Inserts cells into the open notebook that shows the transcript; ``cell_id`` is the asking cell."""

    def __init__(self, transcript: Transcript, cell_id: str | None) -> None:
        self._transcript = transcript
        self._below = cell_id

    async def insert(self, cells: Sequence[NewCell], after: str | None) -> InsertResult:
        """Insert cells in their order; what was inserted by one turn stays in the order it came."""
        payload = {
            "cells": [{"kind": cell.kind, "source": cell.source} for cell in cells],
            "after": after or self._below,
        }
        asked = asyncio.wrap_future(self._transcript.request("insert_cells", payload))
        try:
            reply = await asyncio.wait_for(asked, ANSWER_S)
        except TimeoutError:
            return InsertResult(0, "the front end did not answer")
        except RuntimeError as refusal:
            return InsertResult(0, str(refusal))
        if after is None:
            self._below = reply.get("last") or self._below
        return InsertResult(int(reply.get("inserted", 0)))


_OTHER_THREAD = (
    "Nobody could approve this call, so it was declined: approvals are typed in the running cell, on the main thread. "
    "Ask there, or pass --approval all."
)
_CAPTURED = (
    "This call was declined: the cell's output is captured or redirected, so nobody can see the code to approve. "
    "Run the cell without %%capture, redirect_stdout or an Output widget around it, or pass --approval all."
)


def stdin_prompt(shell: Any) -> Callable[[str], str] | None:
    """Return a function that shows a prompt and returns the line typed; None where nobody can type.

    It raises ApprovalUnavailable where a prompt would not appear together with what the cell shows, and on every
    thread but the main one: the kernel's input channel belongs to the cell that runs there.
    """
    if not front_end(shell).allows_input:
        return None

    def ask(prompt: str) -> str:
        if threading.current_thread() is not threading.main_thread():
            raise ApprovalUnavailable(_OTHER_THREAD)
        if outputs_are_captured(shell) or in_output_widget():
            raise ApprovalUnavailable(_CAPTURED)
        if getattr(shell, "kernel", None) is None:
            above, newline, prompt = prompt.rpartition("\n")  # line editors expect a prompt of one line
            sys.stdout.write(above + newline)
        return interruptible(lambda: input(prompt))

    return ask


if TYPE_CHECKING:
    RetryAction = Callable[[Retry | Continue], None]
    Ask = Callable[[str], str]
    Wait = Callable[[Callable[[], bool], float], None]

T = TypeVar("T")

READY_S = 1.5  # a front end that can show widgets answers within a fraction of this
SILENT_S = 0.3  # one that did not answer the last time, not even later, is not waited for as long again


class CellView(TurnView, Protocol):
    """A view that shares the cell with other outputs."""

    def start_new_output(self) -> None:
        """Continue below the outputs that the cell has by now."""

    def reserve_output(self) -> OutputArea | None:
        """Continue below another output; return where to show that one, None for a view of plain text."""


class PersistentView:
    """Wraps a view so that its failures end neither the turn nor the cell: the answer is then printed as text.

    A call whose approval could not be requested is declined.
    """

    def __init__(self, view: CellView, on_action: Callable[[Action], None]) -> None:
        self._view = view
        self._on_action = on_action
        self._failure: Exception | None = None
        self._call: int | None = None  # the number of the call that waits for approval
        self._finished: TurnFinished | None = None

    def apply(self, event: TurnEvent) -> None:
        """Take in one event."""
        match event:
            case ApprovalRequested():
                self._call = event.request.call_number
            case ApprovalResolved():
                self._call = None
            case TurnFinished():
                self._finished = event
            case _:
                pass
        self._try(lambda: self._view.apply(event))

    def flush(self) -> float | None:
        """Show what was taken in since the last flush."""
        return self._try(self._view.flush)

    def start_new_output(self) -> None:
        """Continue below the outputs that the cell has by now."""
        self._try(self._view.start_new_output)

    def reserve_output(self) -> OutputArea | None:
        """Continue below another output; return where to show that one, None for a view of plain text."""
        return self._try(self._view.reserve_output)

    def close(self) -> None:
        """Leave behind what is to stay, as text where it could not be drawn."""
        try:
            self._view.close()
        except Exception as error:  # noqa: BLE001 -- whatever a front end or a stream raises, the answer is there
            self._failure = self._failure or error
        if self._failure is None:
            return
        if self._finished is None:  # there is no answer that could be lost
            raise self._failure
        with suppress(Exception):  # _codex holds it all the same
            _print_answer(self._finished, self._failure)

    def _try(self, draw: Callable[[], T]) -> T | None:
        if self._failure is None:
            try:
                return draw()
            except Exception as error:  # noqa: BLE001 -- as above
                self._failure = error
        if self._call is not None:
            refusal = Decision(DecisionKind.REJECT, message=NOBODY_THERE, by="nobody")
            self._on_action(Decide(self._call, refusal))
            self._call = None
        return None


def _print_answer(finished: TurnFinished, failure: Exception) -> None:
    from codex_nb.rendering.visible import visible_text

    reason = (
        f"The answer could not be displayed ({type(failure).__name__}: {failure}). It is saved in _codex."
    )
    text = "\n".join(filter(None, (reason, finished.answer.text, finished.error)))
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(visible_text(text).encode(encoding, "replace").decode(encoding) + "\n")


@dataclass(frozen=True)
class OpenedView:
    """The view of a turn; ``transcript`` is the widget, where the front end has answered it."""

    view: CellView
    transcript: Transcript | None = None


def open_view(
    session: ShellSession,
    mailbox: Mailbox,
    pump: Pump,
    approvals: PendingApprovals,
    on_retry: RetryAction | None = None,
    *,
    reads_stdin: bool = True,
) -> OpenedView:
    """Show the view that works here: the widget where the front end answers it, HTML or text elsewhere.

    ``on_retry`` is what Retry and Continue do once the turn has ended early; None offers neither. ``reads_stdin`` tells
    whether approvals may be typed: not once the cell has ended, for input belongs to the running cell.
    """
    ask = stdin_prompt(session.shell) if reads_stdin else None
    on_action = _command_handler(mailbox, approvals, on_retry)
    wanted, end = session.config.display, front_end(session.shell)
    if not end.is_captured and (wanted == "widget" or (wanted == "auto" and end.may_have_widgets)):
        patience = READY_S
        if session.unanswered is not None:
            patience = READY_S if session.unanswered.loaded else SILENT_S
            session.unanswered.close_unloaded()
        transcript, wait = _transcript(on_action, pump, offers_more=on_retry is not None)
        wait(lambda: transcript.ready, patience)
        session.unanswered = None if transcript.ready else transcript
        if transcript.ready:
            return OpenedView(PersistentView(transcript, on_action), transcript)
        return OpenedView(PersistentView(_html(on_action, ask, transcript.fall_back()), on_action))
    if wanted in {"html", "widget"} or (wanted == "auto" and end.may_have_html):
        return OpenedView(PersistentView(_html(on_action, ask), on_action))
    return OpenedView(PersistentView(_text(session, on_action, ask), on_action))


def _transcript(
    on_action: Callable[[Action], None], pump: Pump, *, offers_more: bool
) -> tuple[Transcript, Wait]:
    from codex_nb.ui.transcript import Transcript

    wait = partial(serve_until, pump)
    transcript = Transcript(on_action=on_action, wait=wait, offers_more=offers_more)
    transcript.show()
    return transcript, wait


def _html(
    on_action: Callable[[Action], None], ask: Ask | None, replaces: OutputHandle | None = None
) -> CellView:
    from codex_nb.ui.html_view import CapturedHtmlView, HtmlView
    from codex_nb.ui.widgets import in_output_widget

    if in_output_widget():
        return CapturedHtmlView(on_action=on_action, ask=ask)
    return HtmlView(on_action=on_action, ask=ask, replaces=replaces)


def _text(session: ShellSession, on_action: Callable[[Action], None], ask: Ask | None) -> CellView:
    if getattr(session.shell, "kernel", None) is None and is_terminal(sys.stdout):
        from rich.console import Console

        from codex_nb.ui.rich_view import RichView

        return RichView(Console(), on_action=on_action, ask=ask)
    from codex_nb.ui.text_view import PlainTextView

    prompts_stay = front_end(session.shell).cell_id is None  # in a console; a document may keep only outputs
    return PlainTextView(sys.stdout, on_action=on_action, ask=ask, prompts_stay=prompts_stay)


def _command_handler(
    mailbox: Mailbox, approvals: PendingApprovals, on_retry: RetryAction | None
) -> Callable[[Action], None]:
    def handle(action: Action) -> None:
        match action:
            case Stop():
                mailbox.request_stop()
            case Decide():
                approvals.resolve(action.call_number, action.decision)
            case Retry() | Continue():
                if on_retry is not None:
                    on_retry(action)
            case _:
                assert_never(action)

    return handle


CONTINUE = "Go on exactly where your last answer broke off; repeat nothing of it."


def answer_cell(session: ShellSession, options: CellOptions) -> None:
    """Ask what the cell asks, show the answer and assign it; show the help where that is wished."""
    if options.help:
        SUBCOMMANDS["help"].run(session, "")
        return
    refuse_inside_turn()
    if session.is_answering:  # this is a callback, or another thread: the kernel runs one cell at a time
        raise CodexError("Codex is already answering in this cell.", hint="Ask when it has ended.")
    if not options.prompt:
        raise OptionError("%%codex: there is no question.", hint="Write it below the magic's line.")
    profile = session.profile(options.profile)
    ensure_logged_in(session, profile)
    question = make_question(session, options, profile)  # a wrong option is refused before anything is shown
    if options.background:
        _answer_in_background(session, options, profile, question)
        return
    with session.answering(), Mailbox() as mailbox, open_pump(session.shell, mailbox) as pump:
        approvals = PendingApprovals()
        opened = open_view(session, mailbox, pump, approvals, _retry_action(session, options, profile))
        events = _turn(session, options, profile, question, opened, mailbox, approvals)
        try:
            serve_others = partial(run_background_calls, session.shell)
            answer = run_turn_in_cell(session.engine, events, opened.view, mailbox, pump, serve_others)
        except TurnInterrupted as interrupt:
            _assign(session, options, interrupt.answer)
            raise
    _assign(session, options, answer)
    if answer.status == "failed":
        raise UsageError("Codex did not answer (see the message above).")


def _answer_in_background(
    session: ShellSession, options: CellOptions, profile: Profile, question: TurnRequest
) -> None:
    """Show the view in this cell and let the turn continue while other cells run."""
    with ExitStack() as stack:
        mailbox, approvals = stack.enter_context(Mailbox()), PendingApprovals()
        with open_pump(session.shell, mailbox) as pump:
            on_retry = _retry_action(session, options, profile)
            opened = open_view(session, mailbox, pump, approvals, on_retry, reads_stdin=False)
            events = _turn(session, options, profile, question, opened, mailbox, approvals)
        if is_interrupted():
            mailbox.request_stop()
        answer = run_in_background(session.engine, events, opened.view, mailbox, session.shell)
        stack.pop_all()  # the turn closes the mailbox
    session.add_background(mailbox, answer)

    def assign(done: Future[Answer]) -> None:
        if not done.cancelled() and done.exception() is None:
            _assign(session, options, done.result())

    answer.add_done_callback(assign)


def _retry_action(session: ShellSession, options: CellOptions, profile: Profile) -> RetryAction | None:
    """Return what asks again below an answer that ended early, in the cell that runs now."""
    channel = get_shell_channel(session.shell)
    if channel is None:
        return None
    cell = channel.parent()

    def on_retry(action: Retry | Continue) -> None:
        prompt = CONTINUE if isinstance(action, Continue) else options.prompt
        once_more = replace(options, prompt=prompt, fresh=True)

        def ask() -> None:
            _answer_in_background(session, once_more, profile, make_question(session, once_more, profile))

        channel.run_when_idle(partial(channel.run_for, cell, ask))

    return on_retry


def _turn(
    session: ShellSession,
    options: CellOptions,
    profile: Profile,
    question: TurnRequest,
    opened: OpenedView,
    mailbox: Mailbox,
    approvals: PendingApprovals,
) -> AsyncGenerator[TurnEvent, None]:
    try:
        reading = read_for(session, options.prompt, opened.transcript)
        question = with_notebook(question, options, profile, reading)
    except BaseException:
        opened.view.close()
        raise
    cell_id = front_end(session.shell).cell_id
    insert = NotebookEditor(opened.transcript, cell_id).insert if opened.transcript is not None else None
    main = OutputDetectingExecutor(mailbox, session.shell, opened.view.start_new_output)
    ports = Ports(main, session.kernel, insert, session.folder, reading.hidden)
    log_in = login_during_turn(session, profile, mailbox, opened.view.reserve_output)
    return profile.assistant.turn(
        question,
        ports=ports,
        approver=approvals,
        sign_in=log_in,
        hints=(
            partial(first_use_notice, profile.settings.codex_home),
            _tags_notice(session, options, reading),
            lambda _: profile.take_warnings(),
        ),
    )


def _tags_notice(session: ShellSession, options: CellOptions, reading: NotebookReading) -> Hint:
    """Return a notice, shown once in a kernel, that cell tags are not visible."""
    sees_none = options.context and reading.sees_no_tags  # looked up in the cell that asks, not later

    def hint(_: ProjectInstructions) -> str:
        is_new = sees_none and not session.warned_of_tags
        session.warned_of_tags = session.warned_of_tags or sees_none
        return TAGS_NOT_VISIBLE if is_new else ""

    return hint


def _assign(session: ShellSession, options: CellOptions, answer: Answer) -> None:
    session.keep(options.prompt, answer)
    if options.output:
        session.shell.user_ns[options.output] = answer.parsed if options.schema else answer
