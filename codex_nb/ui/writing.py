"""What every screen that only writes on has in common: which event is told, when, and which is left out."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from codex_nb.rendering.bundle import shortened
from codex_nb.session.events import (
    ApprovalRequested,
    ApprovalResolved,
    Notice,
    RetryScheduled,
    TextDelta,
    TextDone,
    ToolFinished,
    TurnEvent,
    TurnFinished,
)
from codex_nb.session.state import TextPart, ToolPart, TurnState, find_part, reduce
from codex_nb.ui.approval import ask_by_typing, plain_code
from codex_nb.ui.commands import Decide
from codex_nb.ui.footer import footer
from codex_nb.ui.phrasing import call_title, ending, retrying, tool_title
from codex_nb.ui.placing import SHOWN_AS_OUTPUTS
from codex_nb.ui.plans import plan_news
from codex_nb.ui.sections import phase_of, shown_code

if TYPE_CHECKING:
    from collections.abc import Callable

    from codex_nb.tools.approval import ApprovalRequest
    from codex_nb.ui.commands import Command

# Controls could move a terminal's cursor, change its title or its clipboard; others turn the text around them, or hide.
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
)


class WritingScreen(ABC):
    """Writes a turn on and on; a reasoning summary is left out, for nobody asked for it and it would bury the answer.

    ``ask`` shows a prompt and returns the typed line; None when nobody is there to answer. ``on_command`` takes the
    decisions. What is written is still to be freed of control characters.
    """

    def __init__(
        self, *, on_command: Callable[[Command], None], ask: Callable[[str], str] | None = None
    ) -> None:
        self._on_command = on_command
        self._ask = ask
        self._state = TurnState()
        self._told: set[int] = set()  # the numbers of the calls whose code is written

    def apply(self, event: TurnEvent) -> None:
        """Write what the event tells; ask when it is an approval request."""
        before, self._state = self._state, reduce(self._state, event)
        match event:
            case TextDelta():
                self._say(event.item_id, event.text)
            case TextDone():
                self._say_whole(event.item_id, event.text, _said(before, event.item_id))
            case ApprovalRequested():
                self._decide(event.request)
            case ApprovalResolved():
                self._tell_call(event.call_number)
                self._tell_refusal(event.call_number)
            case ToolFinished():
                self._tell_call(event.call_number)
                self._tell_plan(before)
                self._tell_result(event)
            case RetryScheduled():
                self._remark(retrying(event))
            case Notice():
                self._remark(event.text)
            case TurnFinished():
                self._tell_plan(before)
                self._tell_end(event)
            case _:
                pass

    @abstractmethod
    def flush(self) -> None:
        """Show what was written since the last flush."""

    @abstractmethod
    def close(self) -> None:
        """End what is being written."""

    def break_segment(self) -> None:
        """Begin a new line below what somebody else has written."""
        self.close()

    def make_room(self) -> None:
        """Let somebody else write: nothing but text can be shown here."""
        self.close()

    @abstractmethod
    def _say(self, item_id: str, text: str) -> None:
        """Write more of a message."""

    @abstractmethod
    def _say_whole(self, item_id: str, text: str, said: str) -> None:
        """Write what of a message's final text is not written yet, beyond what was said of it so far."""

    @abstractmethod
    def _call(self, title: str, code: str, language: str) -> None:
        """Write what the model wants to do."""

    @abstractmethod
    def _result(self, title: str, output: str) -> None:
        """Write how a call ended; ``output`` is empty where it has been shown."""

    @abstractmethod
    def _plan(self, lines: list[str]) -> None:
        """Write the news of the plan."""

    @abstractmethod
    def _remark(self, text: str) -> None:
        """Write a quiet line."""

    @abstractmethod
    def _end(self, reason: str, entries: tuple[str, ...]) -> None:
        """Write why the turn ended early, if it did, and the entries of its footer."""

    def _prompt_code(self, request: ApprovalRequest) -> str:
        """Return the code as the prompt shows it."""
        return plain_code(request)

    def _decide(self, request: ApprovalRequest) -> None:
        self.close()
        decision = ask_by_typing(request, self._ask, self._prompt_code)
        if decision.by == "user":
            self._told.add(request.call_number)  # by the prompt
        self._on_command(Decide(request.call_number, decision))

    def _tell_call(self, call_number: int) -> None:
        part = self._part(call_number)
        if part is None or call_number in self._told or part.is_a_plan_being_written:
            return
        self._told.add(call_number)
        self._call(tool_title(part.name), *shown_code(part))

    def _tell_refusal(self, call_number: int) -> None:
        part = self._part(call_number)
        decision = part.decision if part is not None else None
        if decision is not None and not decision.approved and decision.by != "user":
            self._remark(decision.message)

    def _tell_result(self, event: ToolFinished) -> None:
        part = self._part(event.call_number)
        if part is not None:
            output = "" if part.name in SHOWN_AS_OUTPUTS else shortened(event.output)
            self._result(call_title(part.name, phase_of(part)), output)

    def _tell_plan(self, before: TurnState) -> None:
        if lines := plan_news(before, self._state):
            self._plan(lines)

    def _tell_end(self, event: TurnFinished) -> None:
        self._end(ending(event.answer, event.error), footer(self._state.started, event.answer))

    def _part(self, call_number: int) -> ToolPart | None:
        return find_part(self._state, ToolPart, call_number)


def _said(state: TurnState, item_id: str) -> str:
    part = find_part(state, TextPart, item_id)
    return "" if part is None else part.text


def without_controls(text: str) -> str:
    """Return text that a terminal only shows."""
    return _CONTROL.sub("", text)
