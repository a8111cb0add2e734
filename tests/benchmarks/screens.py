"""What drawing a streamed answer costs the kernel: our transcript beside the two ways that draw everything again.

One answer in deltas of four characters, 50 of them to a frame (a thousand a second at 20 frames). Re-sent HTML is the
whole answer, rendered and sent by ``update_display`` for each frame; rich's full redraw is the whole answer, set by
``rich.live`` for each frame, 50 times as much where a program draws each delta. Both grow with the square of the
length, so of a longer answer only evenly spaced draws are made and their cost is multiplied.
"""

from __future__ import annotations

import io
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown

from codex_nb.rendering.answer_output import answer_mimebundle
from codex_nb.session.events import Answer, TextDelta, TextDone, TurnFinished, TurnStarted
from codex_nb.ui.text_view import RichView
from codex_nb.ui.transcript import Transcript
from tests.benchmarks.answers import answer_of
from tests.benchmarks.table import Reference, Row, Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from codex_nb.session.events import TurnEvent

LENGTHS = (2_000, 20_000, 100_000)
DELTA_CHARS = 4
DELTAS_A_FRAME = 50
WARM_UP = 1_000
MOST_RESENT = 60  # whole renderings that are made of one answer
MOST_REDRAWN = 30  # whole redraws by rich
STARTED = TurnStarted("turn", "main", "a-model", "medium", "ada@example.com", "plus", "chatgpt")


@dataclass(frozen=True)
class Cost:
    """CPU seconds of this process and bytes that leave it; ``share`` is how much of the work was really done."""

    cpu: float
    size: float
    share: float = 1.0

    def __str__(self) -> str:
        """The figures, an extrapolation marked as one."""
        size = f"{self.size / 1e6:.2f} MB" if self.size >= 1e6 else f"{self.size / 1e3:.0f} kB"
        mark = "" if self.share == 1 else "~"
        return f"{mark}{self.cpu:.2f} s, {mark}{size}"


class CountingLine:
    """A widget's line, and an output of the cell, that only counts what is sent, as the kernel would write it."""

    model_id = "model"

    def __init__(self) -> None:
        self.size = 0
        self._callback: Callable[[dict[str, Any]], None] = lambda _: None

    def send(self, message: Mapping[str, Any]) -> None:
        """Take a message to the front end."""
        self.size += len(json.dumps(message).encode())

    def listen(self, callback: Callable[[dict[str, Any]], None]) -> None:
        """Remember who hears the front end."""
        self._callback = callback

    def close(self) -> None:
        """End the line."""

    def ready(self) -> None:
        """Say that the front end has drawn its view."""
        self._callback({"kind": "ready", "view": "view", "visible": True})

    def show(self, data: Mapping[str, Any]) -> CountingLine:
        """Take a new output."""
        self.send(data)
        return self

    update = show


def frames_of(answer: str) -> Iterator[list[TurnEvent]]:
    """Yield the events of each frame."""
    step = DELTA_CHARS * DELTAS_A_FRAME
    for begin in range(0, len(answer), step):
        part = answer[begin : begin + step]
        yield [TextDelta("item", part[at : at + DELTA_CHARS]) for at in range(0, len(part), DELTA_CHARS)]
    yield [TextDone("item", answer), TurnFinished(Answer(answer, model="a-model"))]


def transcript(answer: str) -> Cost:
    """Draw an answer by our transcript, the bundle that stays included."""
    line = CountingLine()
    begin = time.process_time()
    screen = Transcript(on_action=lambda _: None, area=line, open_comm=lambda _: line)
    screen.show()
    line.ready()
    screen.apply(STARTED)
    for frame in frames_of(answer):
        for event in frame:
            screen.apply(event)
        screen.flush()
    screen.close()
    return Cost(time.process_time() - begin, line.size)


def terminal(answer: str) -> Cost:
    """Draw an answer by our screen of a terminal."""
    file = io.StringIO()
    begin = time.process_time()
    screen = RichView(_console(file), on_action=lambda _: None)
    screen.apply(STARTED)
    for frame in frames_of(answer):
        for event in frame:
            screen.apply(event)
        screen.flush()
    screen.close()
    return Cost(time.process_time() - begin, len(file.getvalue().encode()))


def resent(answer: str, most: int = MOST_RESENT) -> Cost:
    """Render and send the whole answer for each frame."""
    line = CountingLine()
    ends = range(DELTA_CHARS * DELTAS_A_FRAME, len(answer) + 1, DELTA_CHARS * DELTAS_A_FRAME)
    drawn = _some(ends, most)
    begin = time.process_time()
    for end in drawn:
        line.send({"text/html": answer_mimebundle(answer[:end])["text/html"]})
    times = len(ends) / len(drawn)
    return Cost((time.process_time() - begin) * times, line.size * times, 1 / times)


def redrawn(answer: str, most: int = MOST_REDRAWN) -> Cost:
    """Set the whole answer anew for each frame, as ``rich.live`` does it."""
    file = io.StringIO()
    ends = range(DELTA_CHARS * DELTAS_A_FRAME, len(answer) + 1, DELTA_CHARS * DELTAS_A_FRAME)
    drawn = _some(ends, most)
    begin = time.process_time()
    with Live(console=_console(file), auto_refresh=False, vertical_overflow="visible") as live:
        for end in drawn:
            live.update(Markdown(answer[:end]), refresh=True)
    times = len(ends) / len(drawn)
    return Cost((time.process_time() - begin) * times, len(file.getvalue().encode()) * times, 1 / times)


def _console(file: io.StringIO) -> Console:
    return Console(file=file, force_terminal=True, width=100, height=50)


def _some(ends: range, most: int) -> list[int]:
    """Return at most so many of the ends, evenly spaced: the middle of each stretch, so that the mean is kept."""
    if len(ends) <= most:
        return list(ends)
    stretch = len(ends) / most
    return [ends[int((number + 0.5) * stretch)] for number in range(most)]


def rows() -> list[Row]:
    """Measure every way with every length, in this process."""
    ways = (transcript, terminal, resent, redrawn)
    for way in ways:
        way(answer_of(WARM_UP))  # what is loaded with the first code and the first table belongs to no answer
    costs = [[way(answer_of(length)) for way in ways] for length in LENGTHS]
    found = []
    for length, (ours, inside, again, anew) in zip(LENGTHS, costs, strict=True):
        size = f"drawing {length // 1000}k characters"
        limit = None if length == LENGTHS[0] else 1.0  # a short answer may be drawn again as cheaply
        for what, cost, other, name in (
            ("transcript", ours, again, "HTML re-sent per frame"),
            ("terminal", inside, anew, "rich redrawn per frame"),
        ):
            found += [
                Row(Topic.REDRAWS, f"{size}, {what}", cost.cpu, "s CPU", Reference(name, other.cpu), limit),
                Row(
                    Topic.BYTES,
                    f"{size}, {what}",
                    cost.size / 1000,
                    "kB",
                    Reference(name, other.size / 1000),
                    limit,
                    _sampled(other),
                ),
            ]
    times = LENGTHS[-1] / LENGTHS[-2]
    for what, before, last in zip(("transcript", "terminal"), costs[-2], costs[-1], strict=False):
        for topic, name, growth in (
            (Topic.REDRAWS, "CPU", last.cpu / before.cpu),
            (Topic.BYTES, "bytes", last.size / before.size),
        ):
            row = f"growth from 20k to 100k, {name}, {what}"
            found.append(Row(topic, row, growth, "times", Reference("linear", times), 1.25))
    return found


def _sampled(cost: Cost) -> str:
    return "" if cost.share == 1 else f"one draw in {round(1 / cost.share)} is made, and multiplied"
