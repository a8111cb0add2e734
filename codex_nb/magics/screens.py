"""Which screen shows a turn: decided by what answers, never by a front end's name."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, assert_never

from codex_nb.host.cell import Screen
from codex_nb.host.frontend import front_end
from codex_nb.host.pump import serve_until
from codex_nb.magics.stdin import stdin_prompt
from codex_nb.ui.commands import Command, Continue, Decide, Retry, Stop

if TYPE_CHECKING:
    from collections.abc import Callable

    from codex_nb.host.mailbox import Mailbox
    from codex_nb.host.pump import Pump
    from codex_nb.magics.workspace import Workspace
    from codex_nb.tools.approval import PendingApprovals
    from codex_nb.ui.channel import Displays, Handle
    from codex_nb.ui.transcript import Transcript

    Again = Callable[[Retry | Continue], None]
    Ask = Callable[[str], str]
    Wait = Callable[[Callable[[], bool], float], None]

READY_S = 1.5  # a front end with the widget's half answers within a fraction of this
SILENT_S = 0.3  # one that did not answer the last time, not even later, is not waited for as long again


class CellScreen(Screen, Protocol):
    """A screen beside which other things are shown in the cell."""

    def break_segment(self) -> None:
        """Let what follows stand below the outputs that the cell has by now."""

    def make_room(self) -> Displays | None:
        """Let what follows stand below something else; return where that is to be shown, None where text is."""


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
            return Shown(transcript, transcript)
        return Shown(_html(obey, ask, transcript.give_up()))
    if wanted in {"html", "widget"} or (wanted == "auto" and end.may_have_html):
        return Shown(_html(obey, ask))
    return Shown(_text(workspace, obey, ask))


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
