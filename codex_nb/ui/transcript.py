"""The live transcript of a turn: a widget while it runs, plain mimebundles when it has ended."""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from codex_nb.labels import ERROR_HELP
from codex_nb.rendering.answer_output import AnswerOutput, to_mimebundle
from codex_nb.rendering.sanitize import visible_text
from codex_nb.session.events import ToolPart
from codex_nb.ui.layout import Action, OutputLayout, TurnAction, read_action
from codex_nb.ui.part_views import CallView, Operation, PartView, ProseView, part_view_for
from codex_nb.ui.text_view import Activity, activity_of, document_of
from codex_nb.ui.widgets import (
    LiveOutput,
    Message,
    OutputArea,
    OutputHandle,
    WidgetComm,
    WidgetKind,
    remove_views,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from codex_nb.rendering.answer_output import MimeBundle, RenderedText
    from codex_nb.session.events import TurnEvent


PLACEHOLDER = visible_text("Codex is answering; the answer replaces this line.")

# Texts of the front end, which has none of its own.
LABELS = {
    "answer": "Codex's answer",
    "approve": "Approve",
    "approveAnswer": "Allow edits for this answer",
    "approveAnswerHelp": "Approve, and make every later edit of this answer without asking",
    "approveCall": "Always allow this call",
    "approveCallHelp": "Approve, and allow exactly this call for the rest of this session",
    "ask_again": "Ask again",
    "approveCode": "Always allow this code",
    "approveCodeHelp": "Approve, and allow exactly this code for the rest of this session",
    "approveEdited": "Run edited code",
    "approveEditedCall": "Approve edited call",
    "approveSessionHelp": "Approve, and allow every later call of this tool for the rest of this session",
    "asksTitle": "Approve?",
    "cancelReject": "Back",
    "code": "Code the model wants to run",
    "continue": "Continue",
    "copied": "Copied",
    "copy": "Copy",
    "copyFailed": "Could not copy",
    "edit": "Edit",
    "editorHelp": "Tab indents, Ctrl+Enter runs the code, Escape leaves the editor.",
    "explain": "Explain",
    "fix": "Fix",
    "editHelp": "Change the code before it runs",
    "inserted": "Inserted below",
    "insert": "Insert below",
    "insertFailed": "Could not insert",
    "keep": "Keep as cells",
    "keepHelp": "Insert the code that ran as cells below, with its outputs",
    "minutes": "min",
    "output": "Output",
    "reject": "Reject",
    "rejectHelp": "Optional: say what to do instead",
    "rejectSend": "Reject",
    "retry": "Retry",
    "run": "Run",
    "runHelp": "Run the cells that this answer changed",
    "seconds": "s",
    "sendAnswer": "Send this answer",
    "showAll": "Show all {lines} lines",
    "showApproval": "Go to the approval",
    "showLess": "Show fewer lines",
    "stop": "Stop",
    "stopHelp": "Stop this turn and keep the partial answer",
    "undo": "Undo",
    "undoEdit": "Undo changes",
    "undoHelp": "Take back what this answer changed in the notebook's cells",
}


class Stopwatch:
    """Counts the seconds of a turn, without those in which it waits for the user."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._paused_at: float | None = None

    @property
    def is_paused(self) -> bool:
        """Whether the turn waits for the user."""
        return self._paused_at is not None

    @property
    def seconds(self) -> float:
        """The time so far."""
        now = self._clock() if self._paused_at is None else self._paused_at
        return now - self._began

    def pause(self) -> None:
        """Stop counting."""
        if self._paused_at is None:
            self._paused_at = self._clock()

    def resume(self) -> None:
        """Count on."""
        if self._paused_at is not None:
            self._began = self._clock() - self.seconds
            self._paused_at = None


class TranscriptOutput:
    """One output of a transcript: its part views and its live output. Not thread-safe: the transcript holds the lock.

    ``index`` is its place in the layout. ``family`` is common to the outputs of one transcript; the front end finds
    their cell by it.
    """

    def __init__(
        self,
        comm: WidgetComm,
        area: OutputArea,
        stopwatch: Stopwatch,
        layout: OutputLayout,
        index: int,
        family: str,
    ) -> None:
        self.live = LiveOutput(comm, area, self._full_message, self.update, may_change=True)
        self._views: dict[str, PartView[Any]] = {}  # by the names of their parts
        self._keys = itertools.count(1)
        self._stopwatch = stopwatch
        self._layout = layout
        self._index = index
        self._common: Message = {"labels": LABELS, "family": family, "is_last": False}
        self._sent_activity: Activity | None = None

    def end(self, bundle: MimeBundle, below: Message | None = None) -> None:
        """Replace the output by its bundle; ``below`` tells the front end what to add to the end of an answer."""
        message = self._common | (below or {})
        self.live.end(bundle, message, stays_open=bool(message.get("offers")))

    def fall_back(self) -> OutputHandle | None:
        """Give up the output and return it for another view."""
        return self.live.fall_back(self._common)

    def enhance_again(self) -> None:
        """Let the front end add its buttons to the cell's plain outputs again, because one of them was redrawn."""
        if not self.live.has_ended:
            self.live.send({"kind": "enhance", **self._common})

    def update(self) -> None:
        """Send what changed, if a view is visible."""
        if self.live.has_ended or not self.live.visible:
            return
        operations = self._news()
        if operations:
            self.live.send({"kind": "frame", "ops": operations})

    def _full_message(self) -> Message:
        if self._views and (missed := self._news()):  # by the views that were drawn before
            self.live.send({"kind": "frame", "ops": missed})
        # to a view that shows nothing yet all is new
        parts = self._layout.parts_of(self._index)
        self._views = {name: part_view_for(parts[name], view.key) for name, view in self._views.items()}
        self._sent_activity = None
        return {**self._common, "kind": "full", "ops": self._news(), "elapsed": self._stopwatch.seconds}

    def _news(self) -> list[Operation]:
        """Return the operations that show what changed since the last ones."""
        layout, watch = self._layout, self._stopwatch
        operations: list[Operation] = []
        parts = layout.parts_of(self._index)
        for name, part in parts.items():
            if name not in self._views:
                self._views[name] = part_view_for(part, next(self._keys))
            view = self._views[name]
            if isinstance(view, CallView) and isinstance(part, ToolPart):
                view.shown_below = part.call_number in layout.shown_below
            operations += view.update(part)
        for name in [name for name in self._views if name not in parts]:
            operations.append({"op": "remove", "key": self._views.pop(name).key})
        activity = activity_of(layout.state)
        if activity != self._sent_activity:
            self._sent_activity = activity
            status = {"op": "status", "text": visible_text(activity.text), "busy": activity.busy}
            operations.append(status | {"elapsed": watch.seconds, "paused": watch.is_paused})
        return operations

    def rendered(self) -> dict[str, RenderedText]:
        """Return the final Markdown texts, each with what it was rendered to."""
        found: dict[str, RenderedText] = {}
        for view in self._views.values():
            if isinstance(view, ProseView):
                found |= view.rendered
        return found


POLL_S = 0.02
CONFIRMED_S = 2.0  # a page needs a fraction of this to confirm that an Output widget shows the answer
SYNCED_S = 0.3  # within this time an Output widget sends what it captured
OFFERS = {"failed": ("retry",), "cancelled": ("retry", "continue"), "incomplete": ("continue", "retry")}
OFFERS_OF_SAVED = ("ask_again",)


class Undoable(Protocol):
    """The changes that a turn made to cells."""

    @property
    def has_changes(self) -> bool:
        """Whether there is anything to take back."""

    @property
    def to_run(self) -> Sequence[Message]:
        """The changed cells that have not been run since, where they can be run."""

    def undo_on(self, page: str | None, tell: Callable[[str], None]) -> None:
        """Take the changes back on a page, and tell what went back when it has."""


class Transcript:
    """Shows a turn in the running cell.

    ``apply``, ``flush``, ``start_new_output``, ``reserve_output`` and ``close`` are called on the cell's thread;
    messages of the front end may arrive on any. ``on_action`` is called on the message's thread and must only hand the
    action on.
    ``wait(is_over, seconds)`` serves front-end messages until ``is_over()`` or the time is up.
    ``offers_more`` tells whether Retry and Continue are offered after an early end, Ask again below a saved answer.
    ``kept`` returns the cells that the user may insert below the answer.
    """

    def __init__(
        self,
        *,
        on_action: Callable[[Action], None],
        wait: Callable[[Callable[[], bool], float], None] | None = None,
        offers_more: bool = False,
        kept: Callable[[], Sequence[Message]] = tuple,
        area: OutputArea | None = None,
        open_comm: Callable[[WidgetKind], WidgetComm] = WidgetComm,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_action = on_action
        self._wait = wait
        self._offers_more = offers_more
        self._kept = kept
        self._area = area or OutputArea()
        self._open_comm = open_comm
        self._stopwatch = Stopwatch(clock)
        self._lock = threading.RLock()
        self._layout = OutputLayout()
        self._outputs: list[TranscriptOutput] = []
        self.undoable: Undoable | None = None  # what Undo below the answer takes back
        self._family = ""  # of the outputs
        self._replies: dict[int, Future[Message]] = {}
        self._numbers = itertools.count(1)
        self._thread = threading.get_ident()

    def show(self) -> None:
        """Show the first output, empty."""
        with self._lock:
            self._open_output()

    @property
    def ready(self) -> bool:
        """Whether the front end has drawn the widget."""
        return any(output.live.ready for output in self._outputs)

    @property
    def loaded(self) -> bool:
        """Whether the front end has loaded the widget, perhaps too late for it to be drawn."""
        return any(output.live.loaded for output in self._outputs)

    def apply(self, event: TurnEvent) -> None:
        """Take in one event of the turn."""
        with self._lock:
            self._layout.apply(event)
            if self._layout.is_waiting:
                self._stopwatch.pause()
            else:
                self._stopwatch.resume()

    def flush(self) -> None:
        """Show what was taken in since the last flush."""
        with self._lock:
            self._open_new_outputs()
            if self._outputs:
                self._outputs[-1].update()
                self._update_plan()

    def start_new_output(self) -> None:
        """Let what follows appear below the outputs that the cell has by now."""
        with self._lock:
            self._layout.start_new_output()

    def reserve_output(self) -> OutputArea:
        """Return where another view is to be shown; what follows appears below it.

        An output that is still empty is given to the other view where possible, so that no empty output is left. The
        time until the turn continues is the user's.
        """
        self.flush()
        with self._lock:
            self._stopwatch.pause()
            if not self._outputs or self._outputs[-1].live.has_ended:
                return self._area
            is_empty = self._layout.skip_empty_output()
            if is_empty and self._outputs[-1].live.takes_widgets:
                # JupyterLab draws a widget in the box of the one before it and hides that box when the one before is
                # closed; a plain output in between takes the box away.
                self._outputs[-1].end({"text/plain": PLACEHOLDER})
                return self._outputs[-1].live.output
            self._layout.start_new_output()
            self._end_last_output(is_last=False)
            return self._area

    def close(self) -> None:
        """Replace every output by its bundle; the widgets close when the front end has acknowledged it.

        An answer in an Output widget is shown again unless the front end confirms that it has replaced the widget.
        """
        self.flush()
        with self._lock:
            self._end_last_output(is_last=True)
            for future in self._replies.values():
                future.cancel()
            self._replies.clear()
        self._confirm()

    def _confirm(self) -> None:
        """Make sure that each output's bundle is displayed."""
        outputs = [output.live for output in self._outputs]
        self._wait_until(
            lambda: not any(each.is_unconfirmed and not each.is_unreachable for each in outputs), CONFIRMED_S
        )
        unconfirmed = [each for each in outputs if each.is_unconfirmed]
        if unconfirmed or any(each.leaves_view for each in outputs):
            self._wait_until(lambda: False, SYNCED_S)
            remove_views({each.model_id for each in outputs if each.is_unconfirmed or each.leaves_view})
        with self._lock:
            for each in unconfirmed:
                each.show_again()
            for each in outputs:
                each.release()

    def _wait_until(
        self, is_over: Callable[[], bool], seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Wait; on the cell's thread, front-end messages are served meanwhile."""
        if is_over():
            return
        if self._wait is not None and threading.get_ident() == self._thread:
            self._wait(is_over, seconds)
            return
        deadline = clock() + seconds
        while not is_over() and clock() < deadline:
            time.sleep(POLL_S)

    def fall_back(self) -> OutputHandle | None:
        """Give up the output, because no front end has answered, and return it for another view."""
        with self._lock:
            return self._outputs[-1].fall_back() if self._outputs else None

    def close_unloaded(self) -> None:
        """Close the widgets that no front end has loaded by now."""
        with self._lock:
            for output in self._outputs:
                if not output.live.loaded:
                    output.live.close()

    def request(self, operation: str, payload: Message, page: str | None = None) -> Future[Message]:
        """Send a request to the front end, such as ``read_document``.

        Every page that shows the kernel receives it: where ``page`` is named only that one answers, else the first
        reply counts. The future's result is the reply's value; a refusal is a RuntimeError with its reason.
        """
        future: Future[Message] = Future()
        with self._lock:
            if not self._outputs or self._outputs[-1].live.is_closed:
                future.set_exception(RuntimeError("There is no front end to ask."))
                return future
            number = next(self._numbers)
            self._replies[number] = future
            live = self._outputs[-1].live
            live.send(
                {
                    "kind": "request",
                    "id": number,
                    "operation": operation,
                    "payload": payload,
                    "page": page,
                    "model_id": live.model_id,
                }
            )
        return future

    def ask(self, op: str, payload: Message, timeout: float, page: str | None = None) -> Message | None:
        """Return the front end's reply, None when it has none within the time (seconds)."""
        future = self.request(op, payload, page)
        if self._wait is not None and not future.done():
            self._wait(future.done, timeout)
        if not future.done() or future.cancelled() or future.exception() is not None:
            return None
        return future.result()

    def _handle_message(self, output: TranscriptOutput, message: Message) -> None:
        action: Action | None = None
        with self._lock:
            match message.get("kind"):
                case "action":
                    action = read_action(message)
                    if action in {TurnAction.RETRY, TurnAction.CONTINUE}:
                        output.live.close()
                case "reply":
                    self._handle_reply(message)
                case "undo" if self.undoable is not None and output.live.has_ended:
                    self.undoable.undo_on(message.get("page"), partial(self._tell_undone, output))
                case _:
                    output.live.handle_message(message)
        if action is not None:
            self._on_action(action)

    def _tell_undone(self, output: TranscriptOutput, report: str) -> None:
        with self._lock:
            output.live.send({"kind": "undone", "text": visible_text(report)})

    def _handle_reply(self, message: Message) -> None:
        number = message.get("id")
        future = self._replies.pop(number, None) if type(number) is int else None
        if future is None or not future.set_running_or_notify_cancel():
            return
        value = message.get("value")
        if isinstance(value, dict):
            future.set_result(value)
        else:
            future.set_exception(
                RuntimeError(str(message.get("error", "The front end refused the request.")))
            )

    def _open_output(self) -> None:
        comm = self._open_comm(WidgetKind.TRANSCRIPT)
        self._family = self._family or comm.model_id
        index = len(self._outputs)
        output = TranscriptOutput(comm, self._area, self._stopwatch, self._layout, index, self._family)
        self._outputs.append(output)
        output.live.show(PLACEHOLDER, lambda message: self._handle_message(output, message))

    def _open_new_outputs(self) -> None:
        while self._outputs and len(self._outputs) < self._layout.assign_parts():
            self._end_last_output(is_last=False)
            self._open_output()

    def _update_plan(self) -> None:
        """Update the plan in an output that has ended."""
        index = self._layout.take_changed_plan()
        if index is not None and index < len(self._outputs) - 1:
            bundle = to_mimebundle(document_of(self._layout, index, is_last=False))
            self._outputs[index].live.update_bundle(bundle)
            self._outputs[-1].enhance_again()

    def _end_last_output(self, *, is_last: bool) -> None:
        if not self._outputs or self._outputs[-1].live.has_ended:
            return
        output, index = self._outputs[-1], len(self._outputs) - 1
        document = document_of(self._layout, index, is_last=is_last)
        bundle = to_mimebundle(document, output.rendered())
        output.end(bundle, self._below_answer() if is_last else None)

    def _below_answer(self) -> Message:
        """Return what the page adds below the answer: its time, actions, and the cells that they insert or run."""
        state = self._layout.state
        offers: tuple[str, ...] = ()
        if state.finished is not None and self._offers_more:
            offers = OFFERS.get(state.finished.answer.status, OFFERS_OF_SAVED if state.is_replayed else ())
        edited: Sequence[Message] = ()
        if self.undoable is not None and self.undoable.has_changes:
            edited = self.undoable.to_run
            offers = (*offers, *(["run"] if edited else []), "undo")
        return {
            "is_last": True,
            "elapsed": elapsed_label(self._stopwatch.seconds),
            "offers": list(offers),
            "kept": list(self._kept()),
            "edited": list(edited),
        }


class ErrorButtons:
    """A line below a cell that failed, with buttons that ask Codex about it.

    ``on_action`` is called on the thread of the front end's message.
    """

    def __init__(
        self,
        on_action: Callable[[Action], None],
        *,
        area: OutputArea | None = None,
        open_comm: Callable[[WidgetKind], WidgetComm] = WidgetComm,
    ) -> None:
        self._on_action = on_action
        comm = open_comm(WidgetKind.TRANSCRIPT)
        self._message: Message = {"labels": LABELS, "elapsed": "", "family": comm.model_id}
        self._live = LiveOutput(comm, area or OutputArea(), self._full_message)

    def show(self) -> None:
        """Show the line; it has its buttons as soon as the front end has answered."""
        self._live.show(visible_text(ERROR_HELP), self._handle_message)

    def _full_message(self) -> Message:
        return self._message | {
            "kind": "full",
            "ops": [{"op": "status", "text": "", "busy": False}],
            "elapsed": 0,
        }

    def _handle_message(self, message: Message) -> None:
        action = read_action(message) if message.get("kind") == "action" else None
        if action in {TurnAction.EXPLAIN, TurnAction.FIX}:
            self._live.close()
            self._on_action(action)
            return
        self._live.handle_message(message)
        if self._live.ready and not self._live.has_ended:
            bundle = to_mimebundle(AnswerOutput(footer=(ERROR_HELP,)))
            offers = {"is_last": True, "offers": ["explain", "fix"]}
            self._live.end(bundle, self._message | offers, stays_open=True)


def elapsed_label(seconds: float) -> str:
    """Return a duration to read."""
    if seconds < 60:  # noqa: PLR2004 -- a minute
        return f"{seconds:.0f} s"
    return f"{seconds // 60:.0f} min {int(seconds % 60)} s"
