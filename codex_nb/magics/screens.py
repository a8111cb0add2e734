"""Which screen shows a turn: decided by what answers, never by a front end's name."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar, assert_never

from codex_nb.host.cell import Screen
from codex_nb.host.frontend import front_end
from codex_nb.host.pump import serve_until
from codex_nb.magics.stdin import stdin_prompt
from codex_nb.session.events import ApprovalRequested, ApprovalResolved, TurnFinished
from codex_nb.tools.approval import Decision, Verdict
from codex_nb.ui.commands import Command, Continue, Decide, Retry, Stop
from codex_nb.words.tools import NOBODY_THERE

if TYPE_CHECKING:
    from collections.abc import Callable

    from codex_nb.host.mailbox import Mailbox
    from codex_nb.host.pump import Pump
    from codex_nb.magics.workspace import Workspace
    from codex_nb.session.events import TurnEvent
    from codex_nb.tools.approval import PendingApprovals
    from codex_nb.ui.channel import Displays, Handle
    from codex_nb.ui.transcript import Transcript

    Again = Callable[[Retry | Continue], None]
    Ask = Callable[[str], str]
    Wait = Callable[[Callable[[], bool], float], None]

T = TypeVar("T")

READY_S = 1.5  # a front end with the widget's half answers within a fraction of this
SILENT_S = 0.3  # one that did not answer the last time, not even later, is not waited for as long again


class CellScreen(Screen, Protocol):
    """A screen beside which other things are shown in the cell."""

    def break_segment(self) -> None:
        """Let what follows stand below the outputs that the cell has by now."""

    def make_room(self) -> Displays | None:
        """Let what follows stand below something else; return where that is to be shown, None where text is."""


class LastingScreen:
    """A screen whose failures end neither the turn nor the cell: the answer is then written as plain text at the end.

    A call that a person could not be asked about is refused.
    """

    def __init__(self, screen: CellScreen, on_command: Callable[[Command], None]) -> None:
        self._screen = screen
        self._on_command = on_command
        self._failure: Exception | None = None
        self._asked: int | None = None  # the number of the call that waits for a decision
        self._finished: TurnFinished | None = None

    def apply(self, event: TurnEvent) -> None:
        """Take in one event."""
        match event:
            case ApprovalRequested():
                self._asked = event.request.call_number
            case ApprovalResolved():
                self._asked = None
            case TurnFinished():
                self._finished = event
            case _:
                pass
        self._try(lambda: self._screen.apply(event))

    def flush(self) -> float | None:
        """Show what was taken in since the last flush."""
        return self._try(self._screen.flush)

    def break_segment(self) -> None:
        """Let what follows stand below the outputs that the cell has by now."""
        self._try(self._screen.break_segment)

    def make_room(self) -> Displays | None:
        """Let what follows stand below something else; return where that is to be shown, None where text is."""
        return self._try(self._screen.make_room)

    def close(self) -> None:
        """Leave behind what is to stay, as text where it could not be drawn."""
        try:
            self._screen.close()
        except Exception as error:  # noqa: BLE001 -- whatever a front end or a stream raises, the answer is there
            self._failure = self._failure or error
        if self._failure is None:
            return
        if self._finished is None:  # there is no answer that could be lost
            raise self._failure
        with suppress(Exception):  # it is bound all the same
            _write_plainly(self._finished, self._failure)

    def _try(self, draw: Callable[[], T]) -> T | None:
        if self._failure is None:
            try:
                return draw()
            except Exception as error:  # noqa: BLE001 -- as above
                self._failure = error
        if self._asked is not None:
            refusal = Decision(Verdict.REJECT, message=NOBODY_THERE, by="nobody")
            self._on_command(Decide(self._asked, refusal))
            self._asked = None
        return None


def _write_plainly(finished: TurnFinished, failure: Exception) -> None:
    from codex_nb.ui.writing import without_controls

    reason = (
        f"The answer could not be displayed ({type(failure).__name__}: {failure}). It is saved in _codex."
    )
    text = "\n".join(filter(None, (reason, finished.answer.text, finished.error)))
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(without_controls(text).encode(encoding, "replace").decode(encoding) + "\n")


@dataclass(frozen=True)
class Shown:
    """The screen of a turn; ``transcript`` is there when a widget's front-end half has answered."""

    screen: CellScreen
    transcript: Transcript | None = None


def open_screen(
    workspace: Workspace,
    mailbox: Mailbox,
    pump: Pump,
    approvals: PendingApprovals,
    again: Again | None = None,
    *,
    reads_stdin: bool = True,
) -> Shown:
    """Show the screen that works here: the widget where its other half answers, HTML or text elsewhere.

    ``again`` is what Retry and Continue do once the turn has ended early; None offers neither. ``reads_stdin`` tells
    whether approvals may be asked for by typing: not once the cell has ended, for input belongs to the cell that runs.
    """
    ask = stdin_prompt(workspace.shell) if reads_stdin else None
    obey = _commands(mailbox, approvals, again)
    wanted, end = workspace.config.display, front_end(workspace.shell)
    if not end.is_captured and (wanted == "widget" or (wanted == "auto" and end.may_have_widgets)):
        patience = READY_S
        if workspace.unanswered is not None:
            patience = READY_S if workspace.unanswered.hears else SILENT_S
            workspace.unanswered.forget()
        transcript, wait = _transcript(obey, pump, offers_more=again is not None)
        wait(lambda: transcript.ready, patience)
        workspace.unanswered = None if transcript.ready else transcript
        if transcript.ready:
            return Shown(LastingScreen(transcript, obey), transcript)
        return Shown(LastingScreen(_html(obey, ask, transcript.give_up()), obey))
    if wanted in {"html", "widget"} or (wanted == "auto" and end.may_have_html):
        return Shown(LastingScreen(_html(obey, ask), obey))
    return Shown(LastingScreen(_text(workspace, obey, ask), obey))


def _transcript(obey: Callable[[Command], None], pump: Pump, *, offers_more: bool) -> tuple[Transcript, Wait]:
    from codex_nb.ui.transcript import Transcript

    wait = partial(serve_until, pump)
    transcript = Transcript(on_command=obey, wait=wait, offers_more=offers_more)
    transcript.show()
    return transcript, wait


def _html(obey: Callable[[Command], None], ask: Ask | None, in_place_of: Handle | None = None) -> CellScreen:
    from codex_nb.ui.html import HtmlScreen
    from codex_nb.ui.output_widget import is_catching
    from codex_nb.ui.whole import WholeScreen

    if is_catching():
        return WholeScreen(on_command=obey, ask=ask)
    return HtmlScreen(on_command=obey, ask=ask, in_place_of=in_place_of)


def _text(workspace: Workspace, obey: Callable[[Command], None], ask: Ask | None) -> CellScreen:
    if getattr(workspace.shell, "kernel", None) is None and sys.stdout.isatty():
        from rich.console import Console

        from codex_nb.ui.terminal import RichScreen

        return RichScreen(Console(), on_command=obey, ask=ask)
    from codex_nb.ui.plain import PlainScreen

    prompts_stay = (
        front_end(workspace.shell).cell_id is None
    )  # in a console; a document may keep only outputs
    return PlainScreen(sys.stdout, on_command=obey, ask=ask, prompts_stay=prompts_stay)


def _commands(
    mailbox: Mailbox, approvals: PendingApprovals, again: Again | None
) -> Callable[[Command], None]:
    def obey(command: Command) -> None:
        match command:
            case Stop():
                mailbox.request_stop()
            case Decide():
                approvals.resolve(command.call_number, command.decision)
            case Retry() | Continue():
                if again is not None:
                    again(command)
            case _:
                assert_never(command)

    return obey
