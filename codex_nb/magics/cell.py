"""The life of a ``%%codex`` cell: a sign-in where one is needed, the question, its answer in the cell."""

from __future__ import annotations

import ast
import sys
import threading
from contextlib import ExitStack, aclosing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, assert_never

from codex_nb.errors import AuthError, CodexError, ToolError
from codex_nb.host.cell import (
    BlockingTurn,
    TurnInterrupted,
    TurnView,
    run_background_calls,
    run_in_background,
)
from codex_nb.host.cells import CellRunner, OpenNotebook, cells_payload
from codex_nb.host.engine import Mailbox, refuse_inside_turn
from codex_nb.host.interrupts import interruptible, is_interrupted
from codex_nb.host.notebook import runs_of
from codex_nb.host.shell import (
    InteractiveKernel,
    OutputDetectingExecutor,
    current_request,
    front_end,
    outputs_are_captured,
)
from codex_nb.host.shell_channel import KernelPump, get_shell_channel, open_pump, serve_until
from codex_nb.labels import ERROR_HELP, NO_REASON
from codex_nb.magics.options import SUBCOMMANDS, CellOptions, OptionError, parse_options
from codex_nb.magics.session import (
    TAGS_NOT_VISIBLE,
    NotebookReading,
    RunCode,
    explain_options,
    fix_options,
    last_failure,
    make_question,
    read_for,
    with_notebook,
)
from codex_nb.rendering.sanitize import visible_text
from codex_nb.session.assistant import first_use_notice
from codex_nb.session.events import (
    ApprovalRequested,
    ApprovalResolved,
    Notice,
    TextDelta,
    TextDone,
    TurnFinished,
)
from codex_nb.session.turn import needs_sign_in
from codex_nb.tools.approval import (
    NOBODY_THERE,
    ApprovalUnavailable,
    Decision,
    DecisionKind,
    PendingApprovals,
)
from codex_nb.tools.base import Ports
from codex_nb.tools.describe import NewCell
from codex_nb.ui.layout import Action, Decide, TurnAction
from codex_nb.ui.widgets import READY_S, in_output_widget

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
    from concurrent.futures import Future

    from codex_nb.host.shell_channel import Pump
    from codex_nb.magics.session import ShellSession
    from codex_nb.profile import Profile
    from codex_nb.session.assistant import Hint, Preview
    from codex_nb.session.events import Answer, TurnEvent
    from codex_nb.session.prompt import ProjectInstructions, TurnRequest
    from codex_nb.session.turn import SignIn
    from codex_nb.tools.nbmodel import NotebookSnapshot
    from codex_nb.ui.transcript import Transcript
    from codex_nb.ui.widgets import OutputArea, OutputHandle

    RetryAction = Callable[[TurnAction], None]
    Ask = Callable[[str], str]


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


T = TypeVar("T")

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

    def failure(self) -> CodexError:
        """Return what the turn has failed with, and has shown."""
        finished = self._finished
        error = (finished and finished.failure) or CodexError((finished and finished.error) or NO_REASON)
        error.is_shown = True
        return error

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
    reason = (
        f"The answer could not be displayed ({type(failure).__name__}: {failure}). It is saved in _codex."
    )
    text = "\n".join(filter(None, (reason, finished.answer.text, finished.error)))
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(visible_text(text).encode(encoding, "replace").decode(encoding) + "\n")


@dataclass(frozen=True)
class OpenedView:
    """The view of a turn with what its buttons act on; ``code`` is what the turn has run so far.

    ``transcript`` is the widget, where the front end has answered it.
    """

    view: PersistentView
    mailbox: Mailbox
    pump: Pump
    approvals: PendingApprovals
    code: RunCode
    transcript: Transcript | None

    def show(self, markdown: str) -> None:
        """Show a text in place of an answer."""
        self.view.apply(TextDone("text", markdown))


def open_view(
    session: ShellSession,
    mailbox: Mailbox,
    pump: Pump,
    on_retry: RetryAction | None = None,
    *,
    reads_stdin: bool = True,
) -> OpenedView:
    """Show the view that works here: the widget where the front end answers it, HTML or text elsewhere.

    ``on_retry`` is what Retry and Continue do once the turn has ended early; None offers neither. ``reads_stdin`` tells
    whether approvals may be typed: not once the cell has ended, for input belongs to the running cell.
    """
    approvals = PendingApprovals()
    on_action = _command_handler(mailbox, approvals, on_retry)
    wanted, end = session.config.display, front_end(session.shell)
    code, transcript = RunCode(end.cell_id), None
    if not end.is_captured and (wanted == "widget" or (wanted == "auto" and end.may_have_widgets)):
        transcript = _transcript(session, on_action, pump, code, offers_more=on_retry is not None)
    ask = stdin_prompt(session.shell) if reads_stdin else None
    view: CellView
    if transcript is not None and transcript.ready:
        view = transcript
    elif wanted in {"html", "widget"} or (wanted == "auto" and end.may_have_html):
        view = _html(on_action, ask, transcript.fall_back() if transcript is not None else None)
        transcript = None
    else:
        view = _text(session, on_action, ask)
    return OpenedView(PersistentView(view, on_action), mailbox, pump, approvals, code, transcript)


@contextmanager
def showing(session: ShellSession) -> Iterator[OpenedView]:
    """Open a view for what a subcommand shows, and close it at the end of the block."""
    with Mailbox() as mailbox, open_pump(session.shell, mailbox) as pump:
        opened = open_view(session, mailbox, pump)
        try:
            yield opened
        finally:
            opened.view.close()


def _transcript(
    session: ShellSession,
    on_action: Callable[[Action], None],
    pump: Pump,
    code: RunCode,
    *,
    offers_more: bool,
) -> Transcript:
    """Show the widget and give the front end time to answer it."""
    from codex_nb.ui.transcript import Transcript

    patience = READY_S
    if session.unanswered is not None:
        patience = READY_S if session.unanswered.loaded else SILENT_S
        session.unanswered.close_unloaded()
    wait = partial(serve_until, pump)
    transcript = Transcript(
        on_action=on_action, wait=wait, offers_more=offers_more, kept=lambda: cells_payload(code.cells())
    )
    transcript.show()
    wait(lambda: transcript.ready, patience)
    session.unanswered = None if transcript.ready else transcript
    return transcript


def _html(on_action: Callable[[Action], None], ask: Ask | None, replaces: OutputHandle | None) -> CellView:
    from codex_nb.ui.html_view import CapturedHtmlView, HtmlView

    if in_output_widget():
        return CapturedHtmlView(on_action=on_action, ask=ask)
    return HtmlView(on_action=on_action, ask=ask, replaces=replaces)


def _text(session: ShellSession, on_action: Callable[[Action], None], ask: Ask | None) -> CellView:
    if session.is_terminal:
        from rich.console import Console

        from codex_nb.ui.text_view import RichView

        return RichView(Console(), on_action=on_action, ask=ask)
    from codex_nb.ui.text_view import PlainTextView

    prompts_stay = front_end(session.shell).cell_id is None  # in a console; a document may keep only outputs
    return PlainTextView(sys.stdout, on_action=on_action, ask=ask, prompts_stay=prompts_stay)


def _command_handler(
    mailbox: Mailbox, approvals: PendingApprovals, on_retry: RetryAction | None
) -> Callable[[Action], None]:
    def handle(action: Action) -> None:
        match action:
            case TurnAction.STOP:
                mailbox.request_stop()
            case Decide():
                approvals.resolve(action.call_number, action.decision)
            case TurnAction.RETRY | TurnAction.CONTINUE:
                if on_retry is not None:
                    on_retry(action)
            case TurnAction.EXPLAIN | TurnAction.FIX:
                pass  # offered below a cell that failed, never by a turn
            case _:
                assert_never(action)

    return handle


CONTINUE = "Go on exactly where your last answer broke off; repeat nothing of it."


def answer_cell(session: ShellSession, options: CellOptions, body: str = "") -> None:
    """Ask what the cell asks, show the answer and assign it; show the help where that is wished.

    The prompt is what follows the options on the magic's line, and the cell's body below it.
    """
    if options.help:
        SUBCOMMANDS["help"].run(session, "")
        return
    refuse_inside_turn()
    if session.is_answering:  # this is a callback, or another thread: the kernel runs one cell at a time
        raise CodexError("Codex is already answering in this cell.", hint="Ask when it has ended.")
    prompt = "\n".join(part for part in (options.prompt, body.strip("\n")) if part.strip()).strip()
    if not prompt:
        raise OptionError("%%codex: there is no question.", hint="Write it below the magic's line.")
    profile = session.profile(options.profile)
    if prompt.startswith("/"):
        from codex_nb.tools.skills import expand_prompt

        prompt = expand_prompt(prompt, profile.settings.codex_home)
    options = replace(options, prompt=prompt)
    ensure_logged_in(session, profile)
    question = make_question(session, options, profile)  # a wrong option is refused before anything is shown
    if session.last is None and (profile.settings.transport != "http" or question.agent):
        session.engine.submit(profile.warm_up(question))
    if options.background:
        _answer_in_background(session, options, profile, question)
        return
    number = session.start_question()
    with session.answering(), Mailbox() as mailbox, open_pump(session.shell, mailbox) as pump:
        opened = open_view(session, mailbox, pump, _retry_action(session, options, profile))
        events = _turn(session, options, profile, question, opened)
        try:
            serve_others = partial(run_background_calls, session.shell)
            turn = BlockingTurn(session.engine, opened.view, mailbox, pump.once, while_waiting=serve_others)
            answer = turn.run(events)
        except TurnInterrupted as interrupt:
            _assign(session, options, interrupt.answer, number, opened.code)
            raise
    _assign(session, options, answer, number, opened.code)
    if answer.status == "failed":
        raise opened.view.failure()


def _answer_in_background(
    session: ShellSession, options: CellOptions, profile: Profile, question: TurnRequest
) -> None:
    """Show the view in this cell and let the turn continue while other cells run."""
    number = session.start_question()
    with ExitStack() as stack:
        mailbox = stack.enter_context(Mailbox())
        with open_pump(session.shell, mailbox) as pump:
            on_retry = _retry_action(session, options, profile)
            opened = open_view(session, mailbox, pump, on_retry, reads_stdin=False)
            events = _turn(session, options, profile, question, opened)
        if is_interrupted():
            mailbox.request_stop()
        answer = run_in_background(session.engine, events, opened.view, mailbox, session.shell)
        stack.pop_all()  # the turn closes the mailbox
    session.add_background(mailbox, answer)

    def assign(done: Future[Answer]) -> None:
        if not done.cancelled() and done.exception() is None:
            _assign(session, options, done.result(), number, opened.code)

    answer.add_done_callback(assign)


def _retry_action(session: ShellSession, options: CellOptions, profile: Profile) -> RetryAction | None:
    """Return what asks again below an answer that ended early, in the cell that runs now."""
    ask_later = _asker_below(session)
    if ask_later is None:
        return None

    def on_retry(action: TurnAction) -> None:
        once_more = replace(options, fresh=True)
        if action is TurnAction.CONTINUE:
            once_more = replace(once_more, prompt=CONTINUE, cell=False)
        ask_later(once_more, profile)

    return on_retry


def _asker_below(session: ShellSession) -> Callable[[CellOptions, Profile], None] | None:
    """Return what asks, as soon as the kernel is idle, below the cell that runs now; None where nothing can."""
    channel = get_shell_channel(session.shell)
    if channel is None:
        return None
    cell = channel.parent()

    def ask_later(options: CellOptions, profile: Profile) -> None:
        options = replace(options, background=True)

        def ask() -> None:
            _answer_in_background(session, options, profile, make_question(session, options, profile))

        channel.run_when_idle(partial(channel.run_for, cell, ask))

    return ask_later


def _turn(
    session: ShellSession, options: CellOptions, profile: Profile, question: TurnRequest, opened: OpenedView
) -> AsyncGenerator[TurnEvent, None]:
    try:
        reading = read_for(session, options.prompt, opened.transcript)
        question = with_notebook(question, options, profile, reading)
    except BaseException:
        opened.view.close()
        raise
    ports = _ports(options, question, reading, opened)
    events = profile.assistant.turn(
        question,
        ports=ports,
        approver=opened.approvals,
        sign_in=login_during_turn(session, profile, opened.mailbox, opened.view.reserve_output),
        hints=(
            partial(first_use_notice, profile.settings.codex_home),
            _tags_notice(session, options, reading),
            lambda _: profile.take_warnings(),
        ),
    )
    return _with_code_below(events, _code_placer(options, reading, ports)) if options.cell else events


def _ports(
    options: CellOptions, question: TurnRequest, reading: NotebookReading, opened: OpenedView
) -> Ports:
    session, transcript, pump = reading.session, opened.transcript, opened.pump
    notebook, run_cell = None, None
    if transcript is not None and reading.is_open:
        changes, can_run = session.begin_changes(), reading.can_run
        notebook = notebook_of(session, transcript, changes, can_run=can_run)
        transcript.undoable = notebook
        # cells run while this one waits, which one in the background does not
        if can_run and isinstance(pump, KernelPump) and not options.background:
            run_cell = CellRunner(session.shell, pump, opened.mailbox, notebook, transcript.request).run
    return Ports(
        OutputDetectingExecutor(opened.mailbox, session.shell, opened.view.start_new_output),
        InteractiveKernel(session.shell, opened.code.note),
        notebook,
        session.folder,
        reading.hidden,
        run_cell=run_cell,
        shown_cells={
            **({} if question.context is None else question.context.shown_cells),
            **options.shown_cells,
        },
    )


def show_preview(session: ShellSession, line: str, text_of: Callable[[TurnRequest, Preview], str]) -> None:
    """Show what the next question would send, as an answer is shown: only then can an open document be read."""
    profile, options = session.profile(), parse_options(line)
    with suppress(AuthError):  # credentials that were read are redacted here as they will be then
        session.wait(profile.credentials.current())
    question = make_question(session, options, profile)
    with showing(session) as opened:
        reading = read_for(session, options.prompt, opened.transcript)
        question = with_notebook(question, options, profile, reading)
        ports = _ports(options, question, reading, opened)
        opened.show(text_of(question, session.engine.run(profile.assistant.preview(question, ports))))


def notebook_of(
    session: ShellSession, transcript: Transcript, changes: list[dict[str, Any]], *, can_run: bool = False
) -> OpenNotebook:
    """Return the notebook that is open in the front end of a transcript; ``changes`` takes what is changed in it."""
    page, cell_id = page_of(session.shell), front_end(session.shell).cell_id
    return OpenNotebook(transcript.request, page=page, cell_id=cell_id, changes=changes, can_run=can_run)


def page_of(shell: Any) -> str | None:
    """Return the session of the page that sent the running cell."""
    header = current_request(getattr(shell, "kernel", None)).get("header") or {}
    session = header.get("session")
    return session if isinstance(session, str) else None


def undo_answers(session: ShellSession, count: int) -> None:
    """Take back what the last answers changed in the notebook's cells, and show what went back."""
    from codex_nb.rendering.markdown import escape_markdown

    answers = session.changes(count)
    if not answers:
        raise CodexError("%codex undo: no answer has changed cells here, or all of it was taken back.")
    with showing(session) as opened:
        if opened.transcript is None:
            raise _no_notebook("no notebook is open in the front end")
        try:
            report = session.wait(notebook_of(session, opened.transcript, []).undo(answers))
        except ToolError as problem:
            raise _no_notebook(str(problem)) from None
        opened.show(escape_markdown(report).replace("\n", "\n\n"))


def _no_notebook(reason: str) -> CodexError:
    return CodexError(
        f"%codex undo: nothing was undone: {reason}.",
        hint="Open the notebook in JupyterLab or Notebook 7 and run it again.",
    )


def _tags_notice(session: ShellSession, options: CellOptions, reading: NotebookReading) -> Hint:
    """Return a notice, shown once in a kernel, that cell tags are not visible."""
    sees_none = options.context and reading.sees_no_tags  # looked up in the cell that asks, not later

    def hint(_: ProjectInstructions) -> str:
        is_new = sees_none and not session.warned_of_tags
        session.warned_of_tags = session.warned_of_tags or sees_none
        return TAGS_NOT_VISIBLE if is_new else ""

    return hint


def _assign(session: ShellSession, options: CellOptions, answer: Answer, number: int, code: RunCode) -> None:
    session.keep(options.prompt, answer, number, code)
    if options.output:
        session.bind(options.output, answer.parsed if options.schema else answer, number)


async def _with_code_below(
    events: AsyncGenerator[TurnEvent, None], place: Callable[[str], Awaitable[str]]
) -> AsyncGenerator[TurnEvent, None]:
    """Yield the events of a turn whose code goes into a cell; the text comes last, if it is to be seen."""
    held: list[TurnEvent] = []
    async with aclosing(events):
        async for event in events:
            if isinstance(event, TextDelta | TextDone):
                held.append(event)
                continue
            if isinstance(event, TurnFinished):
                code = code_of(event.answer.text) if event.answer.status == "completed" else ""
                if notice := code and await place(code):
                    yield Notice("hint", notice)
                else:
                    for each in held:
                        yield each
            yield event


def _code_placer(
    options: CellOptions, reading: NotebookReading, ports: Ports
) -> Callable[[str], Awaitable[str]]:
    """Return what puts code into a cell below the asking one, or makes it the next input."""
    set_next_input = reading.session.shell.set_next_input

    async def place(code: str) -> str:
        """Return where the code is now; nothing where it is to be shown."""
        if code == _below(reading.snapshot).strip("\n"):
            return "This code is already in the cell below."
        if ports.document is not None:
            with suppress(ToolError):
                await ports.document.insert([NewCell("code", code)], None)
                return "The code is in the cell below."
        if not options.background:  # the next input belongs to the reply of the running cell
            await ports.main_thread.call(lambda: set_next_input(code))
        return ""

    return place


def _below(snapshot: NotebookSnapshot | None) -> str:
    """Return the source of the code cell below the asking one."""
    if snapshot is None or snapshot.current is None:
        return ""
    following = snapshot.cells[snapshot.current + 1 : snapshot.current + 2]
    return next((cell.source for cell in following if cell.kind == "code"), "")


_PYTHON = frozenset({"", "python", "python3", "py", "ipython", "ipython3"})


def code_of(answer: str) -> str:
    """Return the Python code of an answer: its code blocks, or all of it where it has none and is code."""
    from codex_nb.rendering.markdown import parse
    from codex_nb.rendering.sanitize import language_of

    fences = [token for token in parse(answer) if token.type == "fence"]
    blocks = [token.content.strip("\n") for token in fences if language_of(token.info).lower() in _PYTHON]
    if fences:
        return "\n\n".join(filter(None, blocks))
    return answer.strip() if _is_code(answer) else ""


def _is_code(text: str) -> bool:
    try:
        statements = ast.parse(text.strip()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(
        not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Name | ast.Constant))
        for each in statements
    )


def offer_help(session: ShellSession, result: Any) -> None:
    """Offer Explain and Fix below a cell of the user's own that has just failed."""
    runs = runs_of(session.shell, session.recorder)
    failed = last_failure(runs)
    if not result.info.store_history or failed is None or failed is not runs[-1]:
        return
    if isinstance(result.error_in_exec, KeyboardInterrupt) or NotebookReading(session, "").hidden().skips(
        failed.cell
    ):
        return
    end, ask_later = front_end(session.shell), _asker_below(session)
    if not end.allows_input or session.config.display not in {"auto", "widget"}:
        return
    if ask_later is None or not end.may_have_widgets:
        sys.stdout.write(f"{ERROR_HELP}\n")
        return
    from codex_nb.ui.transcript import ErrorButtons

    def on_action(action: Action) -> None:
        plain, fixes = CellOptions(), action is TurnAction.FIX
        options = fix_options(plain, failed) if fixes else explain_options(plain, lambda _: failed)
        ask_later(options, session.profile())

    ErrorButtons(on_action).show()


def ensure_logged_in(session: ShellSession, profile: Profile) -> None:
    """Make sure that there are credentials before anything is shown; ask the user to sign in where possible."""
    try:
        session.wait(profile.credentials.current())
    except AuthError as error:
        from codex_nb.magics.account import login_prompt

        prompt, reason = login_prompt(session, profile), str(error)
        if not needs_sign_in(error):
            raise
        if session.wait_with(lambda main: prompt.log_in(main, "device", reason)) is None:
            raise


def login_during_turn(
    session: ShellSession, profile: Profile, main: Mailbox, reserve_output: Callable[[], OutputArea | None]
) -> SignIn:
    """Return what a turn calls when its credentials are refused on the way; ``reserve_output`` is its view's."""
    end, is_answered = front_end(session.shell), session.unanswered is None

    async def log_in(error: AuthError) -> bool:
        from codex_nb.magics.account import login_prompt

        prompt = login_prompt(session, profile, end)
        has_widgets = prompt.has_widgets and is_answered
        prompt = replace(prompt, has_widgets=has_widgets, reserve_output=reserve_output)
        return await prompt.log_in(main, "device", str(error)) is not None

    return log_in
