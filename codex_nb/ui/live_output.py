"""A live output: a widget while a turn runs, a plain mimebundle afterwards."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from codex_nb.labels import BILLED_PER_TOKEN, INCOMPLETE, NO_REASON, REASONING, STOPPED, Phase, plan_name
from codex_nb.rendering.answer_output import (
    AnswerOutput,
    NoticeOutput,
    ReasoningOutput,
    TextOutput,
    ToolOutput,
)
from codex_nb.session.state import NoticePart, PlanPart, ReasoningPart, TextPart, ToolPart, TurnState
from codex_nb.ui.layout import shows_outputs
from codex_nb.ui.part_views import checklist, phase_label, phase_of, shown_code, tool_title
from codex_nb.ui.widgets import (
    ExistingOutput,
    Message,
    OutputArea,
    in_output_widget,
    remove_views,
    widget_bundle,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from codex_nb.rendering import answer_output as document
    from codex_nb.rendering.answer_output import MimeBundle
    from codex_nb.rendering.visible import VisibleText
    from codex_nb.responses.events import Usage
    from codex_nb.session.events import Answer, RetryScheduled, TurnStarted
    from codex_nb.session.state import Part
    from codex_nb.ui.widgets import OutputHandle, WidgetComm


class Location(Enum):
    """Where a widget is displayed, which decides how its bundle can replace it."""

    CELL = "in the cell: the kernel updates it by display id"
    OUTPUT_WIDGET = "in an Output widget: the front end replaces it"
    UNREACHABLE = "elsewhere: nothing can replace it"


class LiveOutput:
    """One output and its widget. Not thread-safe: its owner holds a lock.

    ``full_message`` returns the message that draws everything; ``on_visible`` is called when a view becomes visible or
    hidden. With ``may_change`` the bundle may still change after the end, until :meth:`release`.
    """

    def __init__(
        self,
        comm: WidgetComm,
        area: OutputArea,
        full_message: Callable[[], Message],
        on_visible: Callable[[], None] = lambda: None,
        *,
        may_change: bool = False,
    ) -> None:
        self.loaded = False  # whether the front end has loaded the widget
        self.ready = False  # whether a view has been drawn
        self.has_ended = False
        self.is_closed = False
        self.leaves_view = False  # whether the widget's view stays in an Output widget
        self.model_id = comm.model_id
        self._comm = comm
        self._area = area
        self._full_message = full_message
        self._on_visible = on_visible
        self._may_change = may_change
        self._handle: OutputHandle | None = None
        self._views: dict[str, bool] = {}  # the drawn views, and whether each is visible
        self._unsent: list[Message] = []  # until the front end has loaded the widget
        self._bundle: MimeBundle = {}
        self._ended_message: Message = {}
        self._stays_open = False
        self._redraws_in_place = True  # VS Code draws widgets in new outputs only
        self._location = Location.CELL
        self._is_replaced = False  # as the front end has confirmed

    @property
    def takes_widgets(self) -> bool:
        """Whether another widget can be drawn in its output."""
        return self._redraws_in_place and self._location is Location.CELL

    @property
    def is_unconfirmed(self) -> bool:
        """Whether the front end has yet to confirm that the bundle replaced a captured widget."""
        return self.has_ended and self._location is not Location.CELL and not self._is_replaced

    @property
    def is_unreachable(self) -> bool:
        """Whether the bundle cannot replace the widget."""
        return self._location is Location.UNREACHABLE

    @property
    def visible(self) -> bool:
        """Whether any view is visible."""
        return any(self._views.values())

    def show(self, placeholder: VisibleText, listener: Callable[[Message], None]) -> None:
        """Display the widget as a new output and listen to its front end."""
        self._comm.listen(listener)
        if in_output_widget():
            self._location = Location.OUTPUT_WIDGET
        self._handle = self._area.show(widget_bundle(self._comm, placeholder))

    @property
    def output(self) -> OutputArea:
        """The output itself, for another view to be displayed in it."""
        if self._handle is None:
            raise RuntimeError("nothing has been displayed yet")
        return ExistingOutput(self._handle)

    def send(self, message: Message) -> None:
        """Send a message, as soon as the front end has loaded the widget."""
        if not self.loaded:
            self._unsent.append(message)
        elif not self.is_closed:
            self._comm.send(message)

    def redraw(self) -> None:
        """Send everything again."""
        if self.ready and not self.is_closed:
            location = {"model_id": self.model_id, "is_captured": self._location is not Location.CELL}
            self._comm.send(self._full_message() | location)

    def end(self, bundle: MimeBundle, message: Message, *, stays_open: bool = False) -> None:
        """Replace the widget by its bundle; ``message`` tells the front end what to add while the page is open.

        With ``stays_open`` the widget lives on without an output, for the buttons that the front end adds.
        """
        self._bundle = bundle
        if self._location is Location.OUTPUT_WIDGET and not (self.loaded or self._may_change):
            self._location = Location.UNREACHABLE  # there is no front end that could replace it
        if not self.is_unreachable:
            self._replace()
        self._mark_ended(message, stays_open=stays_open)
        if self.is_unreachable:
            self.show_again()

    def show_again(self) -> None:
        """Display the bundle as a new output, because it cannot replace the widget."""
        if self._handle is None or self.is_closed:
            return
        self._handle = self._area.show(self._bundle)
        self._location = Location.CELL
        self.leaves_view = True
        self._unsent = [message for message in self._unsent if message["kind"] != "replace"]
        if self.loaded and not self._stays_open:
            self.close()

    def _replace(self) -> None:
        match self._location:
            case Location.CELL if self._handle is not None:
                self._handle.update(self._bundle)
            case Location.OUTPUT_WIDGET:
                self._replace_in_front_end()
            case _:
                pass

    def update_bundle(self, bundle: MimeBundle) -> None:
        """Replace the bundle of an output that has ended, closed or not."""
        self._bundle = bundle
        self._replace()
        if self.loaded:
            self.send(self._ended_message)

    def fall_back(self, message: Message) -> OutputHandle | None:
        """Give up the output and return it for another view; None when no other view can be displayed there."""
        self._mark_ended(message)
        if self._location is Location.CELL:
            return self._handle
        remove_views({self.model_id})
        return None

    def release(self) -> None:
        """Declare the bundle final."""
        self._may_change = False
        if self._is_replaced:
            self._close_if_done()

    def _replace_in_front_end(self) -> None:
        if not self.is_closed:
            self.send({"kind": "replace", "model_id": self.model_id, "bundle": self._bundle})

    def _mark_ended(self, message: Message, *, stays_open: bool = False) -> None:
        self.has_ended, self._stays_open = True, stays_open
        about = {"kind": "ended", "model_id": self.model_id, "stays_open": stays_open}
        self._ended_message = about | message
        if self.loaded:  # otherwise it is sent when the front end loads the widget
            self.send(self._ended_message)

    def close(self) -> None:
        """Close the widget."""
        if self.is_closed:
            return
        if self.loaded:
            self.send({"kind": "closed"})
        self.is_closed = True
        self._comm.close()

    def handle_message(self, message: Message) -> None:
        """Handle a message of the front end about its views and the end."""
        view = str(message.get("view", ""))
        match message.get("kind"):
            case "loaded":
                self._send_unsent()
                self._send_ended()
            case "ready":
                self._views[view] = bool(message.get("visible", True))
                self._redraws_in_place = bool(message.get("document", True))
                self.ready = self.loaded = True
                self.redraw()
                self._send_unsent()
                self._send_ended()
            case "visible" if view in self._views:
                self._views[view] = bool(message.get("visible"))
                self._on_visible()
            case "gone":
                self._views.pop(view, None)
            case "captured" if not self.has_ended:
                self._location = (
                    Location.OUTPUT_WIDGET if message.get("within_reach") else Location.UNREACHABLE
                )
            case "replaced" if self.has_ended and not self.is_unreachable:
                self._is_replaced = True
                self._close_if_done()
            case "still_shown" if self.has_ended:
                self._replace_in_front_end()
            case "unreachable" if self._location is Location.OUTPUT_WIDGET:
                self._location = Location.UNREACHABLE
            case "dismissed":
                self.close()

    def _close_if_done(self) -> None:
        is_needed = self._may_change and self._location is Location.OUTPUT_WIDGET
        if not self._stays_open and not is_needed:
            self.close()

    def _send_unsent(self) -> None:
        self.loaded = True
        while self._unsent:
            self.send(self._unsent.pop(0))

    def _send_ended(self) -> None:
        if self.has_ended:
            self.send(self._ended_message)


NEVER_RAN: frozenset[Phase] = frozenset({"rejected", "unanswered", "abandoned"})


class Activity(NamedTuple):
    """What a turn is doing now, and whether it still runs."""

    text: str
    busy: bool = True


WORKING = Activity("Codex is working")


def activity_of(state: TurnState) -> Activity:
    """Return the activity line of a turn."""
    if state.finished is not None:
        return Activity("Finished", busy=False)
    if state.retry is not None:
        return Activity(retry_line(state.retry))
    calls = [part for part in state.parts if isinstance(part, ToolPart) and (part.waiting or part.running)]
    match next(iter(calls), state.parts[-1] if state.parts else None):
        case TextPart(done=False):
            return Activity("Writing")
        case ReasoningPart(done=False):
            return Activity("Thinking")
        case ToolPart(output=None) as call:
            return Activity(_call_activity(call))
        case TextPart() if state.rejected is not None:
            return Activity("Correcting the answer")
    if state.plan is None or (place := state.plan.plan.current) is None:
        return WORKING
    steps = state.plan.plan.steps
    return Activity(f"Step {place + 1} of {len(steps)}: {steps[place].text}")


def _call_activity(call: ToolPart) -> str:
    if call.waiting:
        return "Waiting for your approval"
    return f"{'Running' if call.running else 'Preparing'}: {tool_title(call.name)}"


def retry_line(event: RetryScheduled) -> str:
    """Return the line that announces a retry."""
    after = f" in {event.delay:.0f} s" if event.delay >= 1 else ""
    return f"{event.reason} Trying again{after} (attempt {event.attempt} of {event.max_attempts})."


def call_title(name: str, phase: Phase, *, edited: bool = False) -> str:
    """Return the line above a tool call."""
    return f"{tool_title(name)} ({phase_label(phase, edited=edited)})"


def ending(answer: Answer, error: str | None) -> str:
    """Return why a turn ended early, nothing when it completed."""
    match answer.status:
        case "completed":
            return ""
        case "cancelled":
            return STOPPED
        case "incomplete":
            return error or INCOMPLETE
        case "failed":
            return error or NO_REASON


def turn_document(
    state: TurnState, parts: Iterable[Part], *, shown_below: Collection[int] = (), is_last: bool = True
) -> AnswerOutput:
    """Return the saved output of these parts.

    ``shown_below`` names the calls whose outputs the notebook shows itself. The last document of a turn ends with the
    reason of an early end and the footer.
    """
    written = [_document_part(part, state, shown_below) for part in parts]
    entries: tuple[str, ...] = ()
    if is_last and state.finished is not None:
        answer = state.finished.answer
        if reason := ending(answer, state.finished.error):
            written.append(NoticeOutput(reason, "notice" if answer.status == "cancelled" else "error"))
        entries = footer(state.started, answer)
    return AnswerOutput(tuple(part for part in written if part is not None), entries)


def _document_part(part: Part, state: TurnState, shown_below: Collection[int]) -> document.OutputPart | None:
    match part:
        case TextPart():
            return TextOutput(part.text) if part.text.strip() else None
        case ReasoningPart():
            return ReasoningOutput(part.text, REASONING) if part.text.strip() else None
        case NoticePart():
            return NoticeOutput(part.notice.text)
        case PlanPart():
            return checklist(part)
        case ToolPart():
            return _call(part, state, shown_below)


def _call(part: ToolPart, state: TurnState, shown_below: Collection[int]) -> ToolOutput:
    code, language = shown_code(part)
    phase = phase_of(part)
    if part.output is None and state.finished is not None:
        phase = "stopped" if part.running else "abandoned"
    edited = part.decision is not None and part.decision.code is not None
    output = "" if part.call_number in shown_below else part.output or ""
    is_open = shows_outputs(part.name) and phase not in NEVER_RAN
    return ToolOutput(call_title(part.name, phase, edited=edited), code, language, output, is_open)


def footer(started: TurnStarted | None, answer: Answer) -> tuple[str, ...]:
    """Return the known entries of the line below an answer: model, tokens, billing.

    It is saved with the notebook, which others may read, so it does not name the account.
    """
    model = answer.model or (started.model if started else "")
    if model and started and started.effort:
        model = f"{model}, {started.effort} effort"
    billing = _billing(started.billing, started.plan) if started else _billing(answer.billing, "")
    entries = (model, _tokens(answer.usage), billing)
    return tuple(entry for entry in entries if entry)


def _tokens(usage: Usage) -> str:
    if not usage.total_tokens and not usage.input_tokens and not usage.output_tokens:
        return ""
    cached = f" ({usage.cached_input_tokens:,} cached)" if usage.cached_input_tokens else ""
    reasoning = f" ({usage.reasoning_output_tokens:,} reasoning)" if usage.reasoning_output_tokens else ""
    return f"{usage.input_tokens:,} tokens in{cached}, {usage.output_tokens:,} out{reasoning}"


def _billing(billing: str, plan: str) -> str:
    if billing == "chatgpt":
        return plan_name(plan)
    return f"API key, {BILLED_PER_TOKEN}" if billing == "api_key" else billing
