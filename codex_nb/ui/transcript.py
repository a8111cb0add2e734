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
from codex_nb.session.events import ToolFinished, TurnEvent
from codex_nb.session.state import Part, ToolPart, TurnState, reduce
from codex_nb.ui import words
from codex_nb.ui.channel import Channel, Displays, Message, NotebookDisplays, WidgetChannel
from codex_nb.ui.commands import Command, Continue, Retry, read_command
from codex_nb.ui.documents import document_of
from codex_nb.ui.page import named
from codex_nb.ui.segment import Segment
from codex_nb.ui.status import status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

OFFERS = {"failed": ("retry",), "cancelled": ("retry", "continue"), "incomplete": ("continue", "retry")}


class Transcript:
    """Shows a turn in the running cell.

    ``apply``, ``flush``, ``break_segment`` and ``close`` are called on the cell's thread; messages of the front end may
    come on any. ``on_command`` is called on the thread of the message: it must only hand the command on.
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
        open_channel: Callable[[], Channel] = WidgetChannel,
        shows_its_outputs: Collection[str] = words.SHOWN_AS_OUTPUTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_command = on_command
        self._wait = wait
        self._offers_more = offers_more
        self._displays = displays or NotebookDisplays()
        self._open_channel = open_channel
        self._shows_its_outputs = shows_its_outputs
        began = clock()
        self._elapsed = lambda: clock() - began
        self._lock = threading.RLock()
        self._state = TurnState()
        self._segments: list[Segment] = []
        self._home: dict[str, int] = {}  # which segment each part belongs to
        self._broken = False
        self._replies: dict[int, Future[Message]] = {}
        self._numbers = itertools.count(1)

    def show(self) -> None:
        """Show the first segment, still empty."""
        with self._lock:
            self._open_segment()

    @property
    def ready(self) -> bool:
        """Whether the front-end half has answered."""
        return any(segment.ready for segment in self._segments)

    @property
    def is_closed(self) -> bool:
        """Whether no widget is left."""
        return all(segment.is_closed for segment in self._segments)

    def apply(self, event: TurnEvent) -> None:
        """Take in one event of the turn."""
        with self._lock:
            self._state = reduce(self._state, event)
            if isinstance(event, ToolFinished) and self._has_shown_outputs(event.call_id):
                self._outputs_are_below({event.call_id})

    def flush(self) -> None:
        """Show what was taken in since the last flush."""
        with self._lock:
            self._place_parts()
            if self._broken and not self._runs_a_tool():
                self._continue_below()
            last = len(self._segments) - 1
            for index, segment in enumerate(self._segments):
                status = status_of(self._state) if index == last else ("", False)
                segment.update(self._parts_of(index), status)

    def break_segment(self) -> None:
        """Let what follows stand below the outputs that the cell has by now."""
        with self._lock:
            self._outputs_are_below({part.call_id for part in self._calls() if part.running})

    def close(self) -> None:
        """Replace every segment by its bundle; the widgets close when the front end has acknowledged it."""
        self.flush()
        with self._lock:
            last = len(self._segments) - 1
            for index, segment in enumerate(self._segments):
                if not segment.is_over:
                    self._end(index, is_last=index == last)
            for future in self._replies.values():
                future.cancel()
            self._replies.clear()

    def request(self, operation: str, payload: Message) -> Future[Message]:
        """Ask the front-end half: ``read_document``, ``insert_cells``.

        The future's result is the reply's value; a refusal is a RuntimeError with its reason.
        """
        future: Future[Message] = Future()
        with self._lock:
            number = next(self._numbers)
            self._replies[number] = future
            segment = next((segment for segment in reversed(self._segments) if segment.ready), None)
            if segment is None:
                future.set_exception(RuntimeError("No front end has answered."))
            else:
                segment.ask({"kind": "request", "id": number, "operation": operation, "payload": payload})
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
                        segment.close()
                case "reply":
                    self._take_reply(message)
                case _:
                    segment.take(message)
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
            future.set_exception(RuntimeError(str(message.get("error", "The front end refused."))))

    def _open_segment(self) -> None:
        segment = Segment(self._open_channel(), self._displays, self._elapsed)
        self._segments.append(segment)
        segment.show(lambda message: self._take(segment, message))

    def _outputs_are_below(self, call_ids: set[str]) -> None:
        self._place_parts()
        self._broken = True
        if self._segments:
            self._segments[-1].page.shown_below |= call_ids

    def _place_parts(self) -> None:
        for name, _ in named(self._state.parts):
            if name not in self._home:
                if self._broken and not self._runs_a_tool():
                    self._continue_below()
                self._home[name] = max(0, len(self._segments) - 1)

    def _continue_below(self) -> None:
        self._broken = False
        if not self._segments:
            return
        # Calls that have not run yet go along, so that their outputs come below them.
        waiting = {f"ToolPart {part.call_id}" for part in self._calls() if part.output is None}
        self._home |= {name: len(self._segments) for name in waiting if name in self._home}
        self._end(len(self._segments) - 1, is_last=False)
        self._open_segment()

    def _end(self, index: int, *, is_last: bool) -> None:
        segment = self._segments[index]
        finished = self._state.finished
        offers: tuple[str, ...] = ()
        if is_last and finished is not None and self._offers_more:
            offers = OFFERS.get(finished.answer.status, ())
        parts, below = self._parts_of(index), segment.page.shown_below
        segment.end(bundle(document_of(self._state, parts, shown_below=below, is_last=is_last)), offers)

    def _parts_of(self, index: int) -> list[Part]:
        return [part for name, part in named(self._state.parts) if self._home.get(name) == index]

    def _calls(self) -> list[ToolPart]:
        return [part for part in self._state.parts if isinstance(part, ToolPart)]

    def _runs_a_tool(self) -> bool:
        return any(part.running for part in self._calls())

    def _has_shown_outputs(self, call_id: str) -> bool:
        return any(
            part.call_id == call_id
            and part.name in self._shows_its_outputs
            and (part.decision is None or part.decision.approved)
            for part in self._calls()
        )
