"""The live transcript of a turn: a widget while it runs, plain mimebundles when it has ended.

A transcript is one segment or several: where the model's code shows ordinary outputs in the cell, the text that follows
goes on in a new segment below them, so that everything stands in the order in which it happened.
"""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

from codex_nb.rendering.bundle import bundle
from codex_nb.ui.channel import Channel, Displays, Handle, Message, NotebookDisplays
from codex_nb.ui.commands import Command, Continue, Retry, read_command
from codex_nb.ui.documents import document_of
from codex_nb.ui.output_widget import remove_views
from codex_nb.ui.placing import SHOWN_AS_OUTPUTS, Placing
from codex_nb.ui.segment import Segment
from codex_nb.ui.status import status_of
from codex_nb.ui.widgets import open_transcript
from codex_nb.words import transcript as words

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from codex_nb.session.events import TurnEvent
    from codex_nb.session.state import PlanPart

POLL_S = 0.02
CONFIRMED_S = 2.0  # an Output widget's page says within a fraction of this that an answer stands in it
SYNCED_S = 0.3  # nor does it take longer to tell what it has caught
OFFERS = {"failed": ("retry",), "cancelled": ("retry", "continue"), "incomplete": ("continue", "retry")}


class Transcript:
    """Shows a turn in the running cell.

    ``apply``, ``flush``, ``break_segment``, ``make_room`` and ``close`` are called on the cell's thread; messages of
    the front end may come on any. ``on_command`` is called on the thread of the message: it must only hand the
    command on.
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
        self._placing = Placing(shows_its_outputs)
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
                parts, status = placing.parts_of(last), status_of(placing.state)
                self._segments[last].update(parts, placing.shown_below, status)
                self._renew_plan()

    def break_segment(self) -> None:
        """Let what follows stand below the outputs that the cell has by now."""
        with self._lock:
            self._placing.break_here()

    def make_room(self) -> Displays:
        """Let another view be shown, and what follows stand below it; return where the other view belongs.

        A segment in which nothing stands yet gives its output away, so that none is left empty where that can be.
        """
        self.flush()
        with self._lock:
            if not self._segments or self._segments[-1].output.is_over:
                return self._displays
            is_empty = self._placing.give_away()
            if is_empty and self._segments[-1].output.takes_widgets:
                return self._segments[-1].hand_over({"text/plain": words.WIDGET_PLACEHOLDER})
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

    def give_up(self) -> Handle | None:
        """Leave the output to another screen, for no front end has answered; return it."""
        with self._lock:
            return self._segments[-1].give_up() if self._segments else None

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
                future.set_exception(RuntimeError(words.NO_FRONT_END))
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
            future.set_exception(RuntimeError(str(message.get("error", words.FRONT_END_REFUSED))))

    def _open_segment(self) -> None:
        channel = self._open_channel()
        self._family = self._family or channel.model_id
        segment = Segment(channel, self._displays, self._elapsed, self._family)
        self._segments.append(segment)
        segment.output.show(words.WIDGET_PLACEHOLDER, lambda message: self._take(segment, message))

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
            document = document_of(self._placing.state, parts, shown_below=below, is_last=False)
            self._segments[place].output.renew(bundle(document))
            self._segments[-1].dress_others()

    def _end_last(self, *, is_last: bool) -> None:
        if not self._segments or self._segments[-1].output.is_over:
            return
        place, state = len(self._segments) - 1, self._placing.state
        parts, below = self._placing.parts_of(place), self._placing.shown_below
        document = document_of(state, parts, shown_below=below, is_last=is_last)
        offers: tuple[str, ...] = ()
        if is_last and state.finished is not None and self._offers_more:
            offers = OFFERS.get(state.finished.answer.status, ())
        segment = self._segments[-1]
        segment.end(bundle(document, segment.rendered()), offers, is_last=is_last)
