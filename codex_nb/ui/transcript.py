"""The live transcript of a turn: a widget while it runs, plain mimebundles when it has ended."""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from codex_nb.rendering.answer_output import bundle
from codex_nb.session.state import Part, ToolPart
from codex_nb.ui.layout import SHOWN_AS_OUTPUTS, Command, Continue, OutputLayout, Retry, named, read_command
from codex_nb.ui.live_output import (
    Channel,
    Displays,
    Handle,
    LiveOutput,
    Message,
    NotebookDisplays,
    open_transcript,
    remove_views,
)
from codex_nb.ui.part_views import CallView, Operation, PartView, ProseView, part_view_for
from codex_nb.ui.turn_output import WORKING, Activity, activity_of, turn_document

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from codex_nb.rendering.answer_output import Bundle
    from codex_nb.session.events import TurnEvent
    from codex_nb.session.state import PlanPart


PLACEHOLDER = "Codex is answering; the answer replaces this line."

# Texts of the front end, which has none of its own.
LABELS = {
    "answer": "Codex's answer",
    "approve": "Approve",
    "approveCall": "Always allow this call",
    "approveCallHelp": "Approve, and allow exactly this call for the rest of this session",
    "approveCode": "Always allow this code",
    "approveCodeHelp": "Approve, and allow exactly this code for the rest of this session",
    "approveSessionHelp": "Approve, and allow every later call of this tool for the rest of this session",
    "cancelReject": "Back",
    "code": "Code the model wants to run",
    "continue": "Continue",
    "copied": "Copied",
    "copy": "Copy",
    "copyFailed": "Could not copy",
    "edit": "Edit",
    "editHelp": "Change the code before it runs",
    "inserted": "Inserted below",
    "insert": "Insert below",
    "insertFailed": "Could not insert",
    "minutes": "min",
    "output": "Output",
    "reject": "Reject",
    "rejectHelp": "Optional: say what to do instead",
    "rejectSend": "Reject",
    "retry": "Retry",
    "seconds": "s",
    "stop": "Stop",
    "stopHelp": "Stop this turn and keep the partial answer",
    "undoEdit": "Undo changes",
}


class Page:
    """Keeps the sections in step with the parts that belong to this page."""

    def __init__(self) -> None:
        self._sections: dict[str, PartView[Any]] = {}
        self._keys: dict[str, int] = {}
        self._made = 0

    def update(self, parts: Iterable[Part], shown_below: Collection[int] = ()) -> list[Operation]:
        """Take the page's parts as they are now, return what shows the difference.

        ``shown_below`` names the calls whose outputs the notebook shows itself.
        """
        operations: list[Operation] = []
        present: set[str] = set()
        for name, part in named(parts):
            present.add(name)
            if name not in self._sections:
                self._sections[name] = part_view_for(part, self._new_key(name))
            section = self._sections[name]
            if isinstance(section, CallView) and isinstance(part, ToolPart):
                section.shown_below = part.call_number in shown_below
            operations += section.update(part)
        for name in [name for name in self._sections if name not in present]:
            del self._sections[name]
            operations.append({"op": "remove", "key": self._keys.pop(name)})
        return operations

    def whole(self) -> list[Operation]:
        """Return what shows the page from nothing."""
        return [operation for section in self._sections.values() for operation in section.redraw()]

    def rendered(self) -> dict[str, str]:
        """Return the Markdown texts that are final on this page, each with its HTML."""
        found: dict[str, str] = {}
        for section in self._sections.values():
            if isinstance(section, ProseView):
                found |= section.rendered
        return found

    def _new_key(self, name: str) -> int:
        self._made += 1
        self._keys[name] = self._made
        return self._made


class Segment:
    """Keeps one page and its live output in step. Not thread-safe: its transcript holds the lock.

    ``family`` is what the segments of one transcript have in common, so that a page finds their cell.
    """

    def __init__(
        self, channel: Channel, displays: Displays, elapsed: Callable[[], float], family: str
    ) -> None:
        self.output = LiveOutput(channel, displays, self._whole, self._catch_up, is_renewed=True)
        self._family = family
        self._elapsed = elapsed
        self._page = Page()
        self._parts: Sequence[Part] = ()
        self._shown_below: Collection[int] = ()
        self._activity = WORKING
        self._sent_activity: Activity | None = None

    def update(self, parts: Sequence[Part], shown_below: Collection[int], activity: Activity) -> None:
        """Send what changed, if anybody can see it."""
        self._parts, self._shown_below, self._activity = parts, shown_below, activity
        self._catch_up()

    def end(self, bundle: Bundle, offers: Sequence[str] = (), *, is_last: bool = False) -> None:
        """Replace the output by its bundle; ``offers`` are the commands that stay on offer below the last one."""
        self.output.end(bundle, self._ending(offers, is_last=is_last), stays_open=bool(offers))

    def fall_back(self) -> Handle | None:
        """Leave the output, which is returned, to another screen."""
        return self.output.fall_back(self._ending())

    def _ending(self, offers: Sequence[str] = (), *, is_last: bool = False) -> Message:
        return {
            "is_last": is_last,
            "elapsed": elapsed_label(self._elapsed()),
            "offers": list(offers),
            "labels": LABELS,
            "family": self._family,
        }

    def rendered(self) -> dict[str, str]:
        """Return the Markdown texts that were drawn to their end, each with its HTML."""
        return self._page.rendered()

    def prepare_other_views(self) -> None:
        """Let the other half add again what the cell's plain outputs have of it: an output was drawn anew."""
        if not self.output.is_over:
            self.output.send({"kind": "dress", "labels": LABELS, "family": self._family})

    def hand_over(self, placeholder: Bundle) -> Displays:
        """Be over with nothing to leave behind; return the output for another view to be shown there.

        JupyterLab draws a widget in the box of the one before it and hides that box when the one before is closed; a
        plain output in between takes the box away.
        """
        self.end(placeholder)
        return self.output.place

    def _catch_up(self) -> None:
        if self.output.is_over or not self.output.visible:
            return
        operations = self._page.update(self._parts, self._shown_below) + self._activity_change()
        if operations:
            self.output.send({"kind": "frame", "ops": operations})

    def _whole(self) -> Message:
        self._page.update(self._parts, self._shown_below)
        self._sent_activity = None
        operations = self._page.whole() + self._activity_change()
        return {
            "kind": "full",
            "ops": operations,
            "labels": LABELS,
            "elapsed": self._elapsed(),
            "family": self._family,
        }

    def _activity_change(self) -> list[Operation]:
        if self._activity == self._sent_activity:
            return []
        self._sent_activity = self._activity
        return [{"op": "status", **self._activity._asdict()}]


POLL_S = 0.02
CONFIRMED_S = 2.0  # an Output widget's page says within a fraction of this that an answer stands in it
SYNCED_S = 0.3  # nor does it take longer to tell what it has caught
OFFERS = {"failed": ("retry",), "cancelled": ("retry", "continue"), "incomplete": ("continue", "retry")}


class Transcript:
    """Shows a turn in the running cell.

    ``apply``, ``flush``, ``start_new_output``, ``reserve_output`` and ``close`` are called on the cell's thread;
    messages of the front end may come on any. ``on_command`` is called on the thread of the message: it must
    only hand the command on.
    ``wait(is_over, seconds)`` serves front-end messages until ``is_over()`` or the time is up.
    ``offers_more`` tells whether Retry and Continue are taken after an early end.
    """

    def __init__(
        self,
        *,
        on_command: Callable[[Command], None],
        wait: Callable[[Callable[[], bool], float], None] | None = None,
        offers_more: bool = False,
        displays: Displays | None = None,
        open_channel: Callable[[], Channel] = open_transcript,
        shows_its_outputs: Collection[str] = SHOWN_AS_OUTPUTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_command = on_command
        self._wait = wait
        self._offers_more = offers_more
        self._displays = displays or NotebookDisplays()
        self._open_channel = open_channel
        began = clock()
        self._elapsed = lambda: clock() - began
        self._lock = threading.RLock()
        self._placing = OutputLayout(shows_its_outputs)
        self._segments: list[Segment] = []
        self._family = ""  # of the segments
        self._plan: PlanPart | None = None  # as it stands in its output
        self._replies: dict[int, Future[Message]] = {}
        self._numbers = itertools.count(1)
        self._thread = threading.get_ident()

    def show(self) -> None:
        """Show the first segment, still empty."""
        with self._lock:
            self._open_segment()

    @property
    def ready(self) -> bool:
        """Whether the front-end half has answered."""
        return any(segment.output.ready for segment in self._segments)

    @property
    def hears(self) -> bool:
        """Whether the front-end half has begun, perhaps too late to be drawn."""
        return any(segment.output.hears for segment in self._segments)

    @property
    def is_closed(self) -> bool:
        """Whether no widget is left."""
        return all(segment.output.is_closed for segment in self._segments)

    def apply(self, event: TurnEvent) -> None:
        """Take in one event of the turn."""
        with self._lock:
            self._placing.apply(event)

    def flush(self) -> None:
        """Show what was taken in since the last flush."""
        with self._lock:
            self._follow_below()
            if self._segments:
                placing, last = self._placing, len(self._segments) - 1
                parts, activity = placing.parts_of(last), activity_of(placing.state)
                self._segments[last].update(parts, placing.shown_below, activity)
                self._renew_plan()

    def start_new_output(self) -> None:
        """Let what follows stand below the outputs that the cell has by now."""
        with self._lock:
            self._placing.break_here()

    def reserve_output(self) -> Displays:
        """Let another view be shown, and what follows stand below it; return where the other view belongs.

        A segment in which nothing stands yet gives its output away, so that none is left empty where that can be.
        """
        self.flush()
        with self._lock:
            if not self._segments or self._segments[-1].output.is_over:
                return self._displays
            is_empty = self._placing.give_away()
            if is_empty and self._segments[-1].output.takes_widgets:
                return self._segments[-1].hand_over({"text/plain": PLACEHOLDER})
            self._placing.break_here()
            self._end_last(is_last=False)
            return self._displays

    def close(self) -> None:
        """Replace every segment by its bundle; the widgets close when the front end has acknowledged it.

        What stands in an Output widget is shown anew unless the front end confirms that it has replaced the widget.
        """
        self.flush()
        with self._lock:
            self._end_last(is_last=True)
            for future in self._replies.values():
                future.cancel()
            self._replies.clear()
        self._confirm()

    def _confirm(self) -> None:
        """See to it that each segment stands somewhere for good."""
        outputs = [segment.output for segment in self._segments]
        self._wait_until(
            lambda: not any(each.is_unconfirmed and not each.is_lost for each in outputs), CONFIRMED_S
        )
        unconfirmed = [each for each in outputs if each.is_unconfirmed]
        if unconfirmed or any(each.leaves_view for each in outputs):
            self._wait_until(lambda: False, SYNCED_S)
            remove_views({each.model_id for each in outputs if each.is_unconfirmed or each.leaves_view})
        with self._lock:
            for each in unconfirmed:
                each.show_anew()
            for each in outputs:
                each.release()

    def _wait_until(self, is_over: Callable[[], bool], seconds: float) -> None:
        """Wait, on the cell's thread with the front end served; a turn in the background has a thread of its own."""
        if is_over():
            return
        if self._wait is not None and threading.get_ident() == self._thread:
            self._wait(is_over, seconds)
            return
        deadline = time.monotonic() + seconds
        while not is_over() and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def fall_back(self) -> Handle | None:
        """Leave the output to another screen, for no front end has answered; return it."""
        with self._lock:
            return self._segments[-1].fall_back() if self._segments else None

    def forget(self) -> None:
        """Close the widgets that nobody has answered by now."""
        with self._lock:
            for segment in self._segments:
                if not segment.output.hears:
                    segment.output.close()

    def request(self, operation: str, payload: Message) -> Future[Message]:
        """Ask the front-end half: ``read_document``, ``insert_cells``.

        The future's result is the reply's value; a refusal is a RuntimeError with its reason.
        """
        future: Future[Message] = Future()
        with self._lock:
            if not self._segments or self._segments[-1].output.is_closed:
                future.set_exception(RuntimeError("There is no front end to ask."))
                return future
            number = next(self._numbers)
            self._replies[number] = future
            message = {"kind": "request", "id": number, "operation": operation, "payload": payload}
            self._segments[-1].output.send(message)
        return future

    def ask(self, op: str, payload: Message, timeout: float) -> Message | None:
        """Return the front-end half's reply, None when it has none within the time (seconds)."""
        future = self.request(op, payload)
        if self._wait is not None and not future.done():
            self._wait(future.done, timeout)
        if not future.done() or future.cancelled() or future.exception() is not None:
            return None
        return future.result()

    def _take(self, segment: Segment, message: Message) -> None:
        command: Command | None = None
        with self._lock:
            match message.get("kind"):
                case "command":
                    command = read_command(message)
                    if isinstance(command, Retry | Continue):
                        segment.output.close()
                case "reply":
                    self._take_reply(message)
                case _:
                    segment.output.take(message)
        if command is not None:
            self._on_command(command)

    def _take_reply(self, message: Message) -> None:
        future = self._replies.pop(message.get("id", 0), None)
        if future is None or not future.set_running_or_notify_cancel():
            return
        value = message.get("value")
        if isinstance(value, dict):
            future.set_result(value)
        else:
            future.set_exception(
                RuntimeError(str(message.get("error", "The front end refused the request.")))
            )

    def _open_segment(self) -> None:
        channel = self._open_channel()
        self._family = self._family or channel.model_id
        segment = Segment(channel, self._displays, self._elapsed, self._family)
        self._segments.append(segment)
        segment.output.show(PLACEHOLDER, lambda message: self._take(segment, message))

    def _follow_below(self) -> None:
        while self._segments and len(self._segments) < self._placing.settle():
            self._end_last(is_last=False)
            self._open_segment()

    def _renew_plan(self) -> None:
        """Show the plan as it is now where it stands above outputs of the cell, in a segment that has ended."""
        if (found := self._placing.plan()) is None or found[1] == self._plan:
            return
        place, self._plan = found
        if place < len(self._segments) - 1:
            parts, below = self._placing.parts_of(place), self._placing.shown_below
            document = turn_document(self._placing.state, parts, shown_below=below, is_last=False)
            self._segments[place].output.renew(bundle(document))
            self._segments[-1].prepare_other_views()

    def _end_last(self, *, is_last: bool) -> None:
        if not self._segments or self._segments[-1].output.is_over:
            return
        place, state = len(self._segments) - 1, self._placing.state
        parts, below = self._placing.parts_of(place), self._placing.shown_below
        document = turn_document(state, parts, shown_below=below, is_last=is_last)
        offers: tuple[str, ...] = ()
        if is_last and state.finished is not None and self._offers_more:
            offers = OFFERS.get(state.finished.answer.status, ())
        segment = self._segments[-1]
        segment.end(bundle(document, segment.rendered()), offers, is_last=is_last)


def elapsed_label(seconds: float) -> str:
    """Return a duration to read."""
    if seconds < 60:  # noqa: PLR2004 -- a minute
        return f"{seconds:.0f} s"
    return f"{seconds // 60:.0f} min {int(seconds % 60)} s"
