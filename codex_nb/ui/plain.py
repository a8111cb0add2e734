"""A turn as plain text, written as it comes: for terminals, consoles, scripts and notebooks run without a person."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from codex_nb.rendering.bundle import shortened
from codex_nb.session.events import (
    ApprovalRequested,
    ApprovalResolved,
    Notice,
    ReasoningDelta,
    RetryScheduled,
    TextDelta,
    TextDone,
    ToolCallReady,
    ToolFinished,
    TurnEvent,
    TurnFinished,
)
from codex_nb.session.state import TextPart, ToolPart, TurnState, reduce
from codex_nb.ui.approval import ask_by_typing
from codex_nb.ui.commands import Decide
from codex_nb.ui.footer import footer
from codex_nb.ui.phrasing import call_title, ending, retrying, tool_title
from codex_nb.ui.placing import SHOWN_AS_OUTPUTS
from codex_nb.ui.plans import plan_news
from codex_nb.ui.sections import phase_of, shown_code

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from codex_nb.tools.approval import ApprovalRequest
    from codex_nb.ui.commands import Command

# Control characters could move a terminal's cursor, change its title or its clipboard.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class PlainScreen:
    """Writes a turn to a text stream.

    ``ask`` shows a prompt and returns the typed line; None when nobody is there to answer. ``on_command`` takes the
    decisions.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        on_command: Callable[[Command], None],
        ask: Callable[[str], str] | None = None,
    ) -> None:
        self._stream = stream
        self._on_command = on_command
        self._ask = ask
        self._state = TurnState()
        self._at_line_start = True
        self._item = ""  # whose text is being written
        self._shown_code: set[str] = set()

    def apply(self, event: TurnEvent) -> None:
        """Write what the event tells; ask when it is an approval request."""
        before, self._state = self._state, reduce(self._state, event)
        match event:
            case TextDelta():
                self._begin(event.item_id)
                self._write(event.text)
            case TextDone():
                self._write_rest(before, event)
            case ReasoningDelta():
                pass  # a summary nobody asked for would bury the answer
            case ToolCallReady():
                self._show_call(event.call_id)
            case ApprovalRequested():
                self._show_call(event.request.call_id)
                self._decide(event.request)
            case ApprovalResolved():
                self._tell_decision(event.call_id)
            case ToolFinished():
                self._show_plan(plan_news(before, self._state))
                self._show_output(event)
            case RetryScheduled():
                self._line(retrying(event))
            case Notice():
                self._line(event.text)
            case TurnFinished():
                self._end(before, event)
            case _:
                pass

    def flush(self) -> None:
        """Hand on what is written."""
        self._stream.flush()

    def make_room(self) -> None:
        """Let somebody else write: nothing but text can be shown here."""
        self.close()

    def close(self) -> None:
        """End the last line."""
        self._fresh_line()
        self._stream.flush()

    def _decide(self, request: ApprovalRequest) -> None:
        self._stream.flush()
        self._on_command(Decide(request.call_id, ask_by_typing(request, self._ask)))

    def _begin(self, item: str) -> None:
        if item != self._item:
            self._fresh_line()
            self._item = item

    def _write_rest(self, before: TurnState, event: TextDone) -> None:
        written = next(
            (p.text for p in before.parts if isinstance(p, TextPart) and p.item_id == event.item_id), ""
        )
        self._begin(event.item_id)
        if event.text.startswith(written):
            self._write(event.text.removeprefix(written))
        else:
            self._line(event.text)

    def _show_call(self, call_id: str) -> None:
        part = self._call(call_id)
        if part is None or call_id in self._shown_code or part.is_a_plan_being_written:
            return
        self._shown_code.add(call_id)
        code, _ = shown_code(part)
        self._line(f"[{tool_title(part.name)}]")
        if code:
            self._line(textwrap.indent(code.rstrip("\n"), "    "))

    def _show_plan(self, lines: list[str]) -> None:
        for line in lines:
            self._line(line)

    def _tell_decision(self, call_id: str) -> None:
        part = self._call(call_id)
        if part is None or part.decision is None:
            return
        if not part.decision.approved and part.decision.by != "user":
            self._line(part.decision.message)

    def _show_output(self, event: ToolFinished) -> None:
        part = self._call(event.call_id)
        if part is None:
            return
        self._line(f"[{call_title(part.name, phase_of(part))}]")
        if event.output and part.name not in SHOWN_AS_OUTPUTS:
            self._line(textwrap.indent(shortened(event.output).rstrip("\n"), "    "))

    def _end(self, before: TurnState, event: TurnFinished) -> None:
        self._show_plan(plan_news(before, self._state))
        if reason := ending(event.answer, event.error):
            self._line(reason)
        if entries := footer(self._state.started, event.answer):
            self._line(f"[{' · '.join(entries)}]")

    def _call(self, call_id: str) -> ToolPart | None:
        parts = (part for part in self._state.parts if isinstance(part, ToolPart))
        return next((part for part in parts if part.call_id == call_id), None)

    def _line(self, text: str) -> None:
        self._fresh_line()
        self._write(text + "\n")
        self._item = ""

    def _fresh_line(self) -> None:
        if not self._at_line_start:
            self._write("\n")

    def _write(self, text: str) -> None:
        text = without_controls(text)
        if text:
            self._stream.write(text)
            self._at_line_start = text.endswith("\n")


def without_controls(text: str) -> str:
    """Return text that a terminal only shows."""
    return _CONTROL.sub("", text)
