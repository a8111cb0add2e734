"""A turn as HTML that replaces itself a few times a second: for front ends without the widget's other half.

There are no buttons; approvals are asked for by typing. The outputs are the same bundles that a transcript leaves.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from codex_nb.rendering.bundle import Bundle, bundle
from codex_nb.rendering.document import Document, Remark
from codex_nb.session.events import ApprovalRequested
from codex_nb.ui.approval import ask_by_typing
from codex_nb.ui.channel import Displays, Handle, NotebookDisplays
from codex_nb.ui.commands import Decide
from codex_nb.ui.documents import document_of
from codex_nb.ui.live import Place
from codex_nb.ui.placing import Placing
from codex_nb.ui.status import status_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from codex_nb.session.events import TurnEvent
    from codex_nb.session.state import PlanPart
    from codex_nb.ui.commands import Command

SHORTEST_PAUSE_S = 0.3
BYTES_PER_SECOND = 200_000  # a longer answer is replaced less often, so that the notebook's server keeps up


class HtmlScreen:
    """Shows a turn in outputs of the cell; all methods are called on the cell's thread.

    ``in_place_of`` is an output to begin in, that of a transcript that gave up.
    """

    def __init__(
        self,
        *,
        on_command: Callable[[Command], None],
        ask: Callable[[str], str] | None = None,
        displays: Displays | None = None,
        in_place_of: Handle | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_command = on_command
        self._ask = ask
        self._displays = displays or NotebookDisplays()
        self._clock = clock
        self._placing = Placing()
        self._handles: list[Handle] = [] if in_place_of is None else [in_place_of]
        self._next = 0.0
        self._last: Bundle = {}
        self._is_left = False  # whether the last output stays as it is
        self._plan: PlanPart | None = None  # as it stands in its output

    def apply(self, event: TurnEvent) -> None:
        """Take in one event; an approval is asked for at once."""
        self._placing.apply(event)
        if isinstance(event, ApprovalRequested):
            self._show_all()
            request = event.request
            self._on_command(Decide(request.call_number, ask_by_typing(request, self._ask)))

    def flush(self) -> float | None:
        """Show what was taken in; too soon after the last time, return the seconds that are left until it can be."""
        left = self._next - self._clock()
        if left > 0:
            return left
        self._show_all()
        return None

    def break_segment(self) -> None:
        """Let what follows stand below the outputs that the cell has by now."""
        self._placing.break_here()

    def make_room(self) -> Displays:
        """Let another view be shown, and what follows stand below it; return where the other view belongs.

        An output in which nothing stands yet is given away, so that none is left empty.
        """
        last = self._placing.settle() - 1
        if last >= len(self._handles) and not self._placing.parts_of(last):
            return self._displays
        self._show_all()
        self._is_left = True
        if self._placing.give_away():
            return Place(self._handles[last])
        self._placing.break_here()
        self._replace(self._bundle(last, is_last=False, is_over=True))
        return self._displays

    def close(self) -> None:
        """Leave the turn as it ended."""
        self._show_all(is_over=True)

    def _show_all(self, *, is_over: bool = False) -> None:
        last = self._placing.settle() - 1
        while len(self._handles) <= last:
            if self._handles and not self._is_left:
                self._replace(self._bundle(len(self._handles) - 1, is_last=False, is_over=True))
            self._last = self._bundle(len(self._handles), is_last=True, is_over=is_over)
            self._handles.append(self._displays.show(self._last))
            self._is_left = False
            self._pause(self._last)
        self._replace(self._bundle(last, is_last=True, is_over=is_over))
        self._renew_plan(last)

    def _renew_plan(self, last: int) -> None:
        """Show the plan as it is now where it stands above the output that is being written."""
        if (found := self._placing.plan()) is None or found[1] == self._plan:
            return
        place, self._plan = found
        if place < last:
            self._handles[place].update(self._bundle(place, is_last=False, is_over=True))

    def _replace(self, new: Bundle) -> None:
        if new == self._last:
            return
        self._handles[-1].update(new)
        self._last = new
        self._pause(new)

    def _pause(self, shown: Bundle) -> None:
        size = sum(len(text) for text in shown.values())
        self._next = self._clock() + max(SHORTEST_PAUSE_S, size / BYTES_PER_SECOND)

    def _bundle(self, place: int, *, is_last: bool, is_over: bool) -> Bundle:
        placing = self._placing
        parts = placing.parts_of(place)
        document = document_of(placing.state, parts, shown_below=placing.shown_below, is_last=is_last)
        text, goes_on = status_of(placing.state)
        if goes_on and not is_over:
            document = Document((*document.parts, Remark(f"{text} …")), document.footer)
        return bundle(document)
