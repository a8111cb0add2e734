"""A turn as HTML that is replaced a few times a second: for front ends without the widget."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from codex_nb.rendering.answer_output import AnswerOutput, MimeBundle, NoticeOutput, to_mimebundle
from codex_nb.session.events import (
    ApprovalRequested,
    PlanPart,
    ReasoningPart,
    TextPart,
    ToolPart,
    ToolStarted,
    TurnState,
    reduce,
)
from codex_nb.ui.layout import Decide, OutputLayout, ask_by_typing, named, shows_outputs
from codex_nb.ui.text_view import activity_of, document_of, turn_document
from codex_nb.ui.widgets import ExistingOutput, OutputArea, OutputHandle

if TYPE_CHECKING:
    from collections.abc import Callable

    from codex_nb.session.events import Part, TurnEvent
    from codex_nb.ui.layout import Action


class CapturedHtmlView:
    """Shows a turn piece by piece; all methods are called on the cell's thread.

    A piece ends at an approval, whose prompt contains the code; where the model's code shows outputs of its own; and
    with the turn.
    """

    def __init__(
        self,
        *,
        on_action: Callable[[Action], None],
        ask: Callable[[str], str] | None = None,
        area: OutputArea | None = None,
    ) -> None:
        self._on_action = on_action
        self._ask = ask
        self._area = area or OutputArea()
        self._state = TurnState()
        self._shown: set[str] = set()  # names of parts
        self._outputs_below: set[int] = set()  # numbers of calls

    def apply(self, event: TurnEvent) -> None:
        """Take in one event; an approval is asked for at once."""
        self._state = reduce(self._state, event)
        match event:
            case ToolStarted():
                part = self._state.parts.find(ToolPart, event.call_number)
                if part is not None and shows_outputs(part.name):
                    self._outputs_below.add(event.call_number)
                    self._show()  # above the outputs that its code is about to show
            case ApprovalRequested():
                self._show()
                request = event.request
                self._on_action(Decide(request.call_number, ask_by_typing(request, self._ask)))

    def flush(self) -> None:
        """Do nothing: parts are shown when they are complete."""

    def start_new_output(self) -> None:
        """Do nothing: every piece is a new output."""

    def reserve_output(self) -> OutputArea:
        """Show what belongs above another view; return where that is to be shown."""
        self._show()
        return self._area

    def close(self) -> None:
        """Show the rest of the turn."""
        self._show(is_last=True)

    def _show(self, *, is_last: bool = False) -> None:
        new = [(name, part) for name, part in named(self._state.parts) if name not in self._shown]
        complete = [(name, part) for name, part in new if is_last or not self._grows(part)]
        self._shown |= {name for name, _ in complete}
        parts = [self._as_shown(part) for _, part in complete]
        if parts or is_last:
            document = turn_document(self._state, parts, shown_below=self._outputs_below, is_last=is_last)
            self._area.show(to_mimebundle(document))

    def _as_shown(self, part: Part) -> Part:
        """Return a call whose outputs follow below as one that has run, because its output is not updated."""
        if isinstance(part, ToolPart) and part.call_number in self._outputs_below and part.output is None:
            return replace(part, running=False, output="", ok=True)
        return part

    def _grows(self, part: Part) -> bool:
        """Whether a part is incomplete; a call whose outputs follow below counts as complete."""
        match part:
            case TextPart() | ReasoningPart():
                return not part.done
            case ToolPart():
                return part.output is None and part.call_number not in self._outputs_below
            case _:
                return isinstance(part, PlanPart)


SHORTEST_PAUSE_S = 0.3
BYTES_PER_SECOND = 200_000  # a longer answer is replaced less often, so that the notebook's server keeps up


class HtmlView:
    """Shows a turn in outputs of the cell; all methods are called on the cell's thread.

    ``replaces`` is the output of a transcript that no front end has loaded; the turn begins there.
    """

    def __init__(
        self,
        *,
        on_action: Callable[[Action], None],
        ask: Callable[[str], str] | None = None,
        area: OutputArea | None = None,
        replaces: OutputHandle | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_action = on_action
        self._ask = ask
        self._area = area or OutputArea()
        self._clock = clock
        self._layout = OutputLayout()
        self._handles: list[OutputHandle] = [] if replaces is None else [replaces]
        self._next = 0.0
        self._last: MimeBundle = {}
        self._is_reserved = False  # whether the last output is final
        self._is_over = False

    def apply(self, event: TurnEvent) -> None:
        """Take in one event; an approval is asked for at once."""
        self._layout.apply(event)
        if isinstance(event, ApprovalRequested):
            self._show_all()
            request = event.request
            self._on_action(Decide(request.call_number, ask_by_typing(request, self._ask)))

    def flush(self) -> float | None:
        """Show what was taken in; when it is too soon, return the seconds until it can be shown."""
        left = self._next - self._clock()
        if left > 0:
            return left
        self._show_all()
        return None

    def start_new_output(self) -> None:
        """Let what follows appear below the outputs that the cell has by now."""
        self._layout.start_new_output()

    def reserve_output(self) -> OutputArea:
        """Return where another view is to be shown; what follows appears below it.

        An output that is still empty is given to the other view, so that no empty output is left.
        """
        last = self._layout.assign_parts() - 1
        if last >= len(self._handles) and not self._layout.parts_of(last):
            return self._area
        self._show_all()
        self._is_reserved = True
        if self._layout.skip_empty_output():
            return ExistingOutput(self._handles[last])
        self._layout.start_new_output()
        self._replace(self._bundle(last, is_last=False))
        return self._area

    def close(self) -> None:
        """Show the turn as it ended."""
        self._is_over = True
        self._show_all()

    def _show_all(self) -> None:
        last = self._layout.assign_parts() - 1
        while len(self._handles) <= last:
            if self._handles and not self._is_reserved:
                self._replace(self._bundle(len(self._handles) - 1, is_last=False))
            self._last = self._bundle(len(self._handles), is_last=True)
            self._handles.append(self._area.show(self._last))
            self._is_reserved = False
            self._pause(self._last)
        self._replace(self._bundle(last, is_last=True))
        changed = self._layout.take_changed_plan()
        if changed is not None and changed < last:
            self._handles[changed].update(self._bundle(changed, is_last=False))

    def _replace(self, new: MimeBundle) -> None:
        if new == self._last:
            return
        self._handles[-1].update(new)
        self._last = new
        self._pause(new)

    def _pause(self, shown: MimeBundle) -> None:
        size = sum(len(str(form)) for form in shown.values())
        self._next = self._clock() + max(SHORTEST_PAUSE_S, size / BYTES_PER_SECOND)

    def _bundle(self, output: int, *, is_last: bool) -> MimeBundle:
        document = document_of(self._layout, output, is_last=is_last)
        activity = activity_of(self._layout.state)
        if activity.busy and is_last and not self._is_over:
            document = AnswerOutput((*document.parts, NoticeOutput(f"{activity.text} …")), document.footer)
        return to_mimebundle(document)
