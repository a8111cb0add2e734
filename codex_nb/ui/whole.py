"""A turn as HTML each piece of which is shown once, when it is whole: where what is shown cannot be replaced."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from codex_nb.rendering.bundle import bundle
from codex_nb.session.events import ApprovalRequested, ToolStarted
from codex_nb.session.state import PlanPart, ReasoningPart, TextPart, ToolPart, TurnState, find_part, reduce
from codex_nb.ui.approval import ask_by_typing
from codex_nb.ui.channel import Displays, NotebookDisplays
from codex_nb.ui.commands import Decide
from codex_nb.ui.documents import document_of
from codex_nb.ui.placing import SHOWN_AS_OUTPUTS, named

if TYPE_CHECKING:
    from collections.abc import Callable

    from codex_nb.session.events import TurnEvent
    from codex_nb.session.state import Part
    from codex_nb.ui.commands import Command


class WholeScreen:
    """Shows a turn piece by piece; all methods are called on the cell's thread.

    A piece ends where an approval is asked for, by a prompt that holds the code; where the model's code shows outputs
    of its own; and with the turn.
    """

    def __init__(
        self,
        *,
        on_command: Callable[[Command], None],
        ask: Callable[[str], str] | None = None,
        displays: Displays | None = None,
    ) -> None:
        self._on_command = on_command
        self._ask = ask
        self._displays = displays or NotebookDisplays()
        self._state = TurnState()
        self._shown: set[str] = set()  # names of parts
        self._outputs_below: set[int] = set()  # numbers of calls

    def apply(self, event: TurnEvent) -> None:
        """Take in one event; an approval is asked for at once."""
        self._state = reduce(self._state, event)
        match event:
            case ToolStarted():
                self._begin(event.call_number)
            case ApprovalRequested():
                self._show()
                request = event.request
                self._on_command(Decide(request.call_number, ask_by_typing(request, self._ask)))

    def flush(self) -> None:
        """Do nothing: what was taken in is shown when it is whole."""

    def break_segment(self) -> None:
        """Do nothing: what was shown stays, so what follows stands below it anyway."""

    def make_room(self) -> Displays:
        """Show what stands above another view; return where that belongs."""
        self._show()
        return self._displays

    def close(self) -> None:
        """Show the rest of the turn."""
        self._show(is_last=True)

    def _begin(self, call_number: int) -> None:
        """Show a call above the outputs that its code is about to show."""
        part = find_part(self._state, ToolPart, call_number)
        if part is not None and part.name in SHOWN_AS_OUTPUTS:
            self._outputs_below.add(call_number)
            self._show()

    def _show(self, *, is_last: bool = False) -> None:
        new = [(name, part) for name, part in named(self._state.parts) if name not in self._shown]
        ripe = [(name, part) for name, part in new if is_last or not self._grows(part)]
        self._shown |= {name for name, _ in ripe}
        parts = [self._as_shown(part) for _, part in ripe]
        if parts or is_last:
            document = document_of(self._state, parts, shown_below=self._outputs_below, is_last=is_last)
            self._displays.show(bundle(document))

    def _as_shown(self, part: Part) -> Part:
        """Return a call whose outputs follow below as one that has run: what is shown stays."""
        if isinstance(part, ToolPart) and part.call_number in self._outputs_below and part.output is None:
            return replace(part, running=False, output="", ok=True)
        return part

    def _grows(self, part: Part) -> bool:
        """Whether more of a part is to come; of a call whose outputs follow below, nothing is."""
        match part:
            case TextPart() | ReasoningPart():
                return not part.done
            case ToolPart():
                return part.output is None and part.call_number not in self._outputs_below
            case _:
                return isinstance(part, PlanPart)
