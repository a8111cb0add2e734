"""A segment of a transcript: the part of a turn that stands in one output of the cell.

While no view can be seen nothing is sent; what was missed comes in one piece.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codex_nb.ui.live import LiveOutput
from codex_nb.ui.page import Page
from codex_nb.ui.phrasing import elapsed
from codex_nb.words import transcript as words

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from codex_nb.rendering.bundle import Bundle
    from codex_nb.session.state import Part
    from codex_nb.ui.channel import Channel, Displays, Handle, Message
    from codex_nb.ui.sections import Operation

Status = tuple[str, bool]


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
        self._status: Status = (words.WORKING, True)
        self._sent_status: Status | None = None

    def update(self, parts: Sequence[Part], shown_below: Collection[int], status: Status) -> None:
        """Send what changed, if anybody can see it."""
        self._parts, self._shown_below, self._status = parts, shown_below, status
        self._catch_up()

    def end(self, bundle: Bundle, offers: Sequence[str] = (), *, is_last: bool = False) -> None:
        """Replace the output by its bundle; ``offers`` are the commands that stay on offer below the last one."""
        self.output.end(bundle, self._ending(offers, is_last=is_last), stays_open=bool(offers))

    def give_up(self) -> Handle | None:
        """Leave the output, which is returned, to another screen."""
        return self.output.give_up(self._ending())

    def _ending(self, offers: Sequence[str] = (), *, is_last: bool = False) -> Message:
        return {
            "is_last": is_last,
            "elapsed": elapsed(self._elapsed()),
            "offers": list(offers),
            "labels": words.LABELS,
            "family": self._family,
        }

    def rendered(self) -> dict[str, str]:
        """Return the Markdown texts that were drawn to their end, each with its HTML."""
        return self._page.rendered()

    def dress_others(self) -> None:
        """Let the other half add again what the cell's plain outputs have of it: an output was drawn anew."""
        if not self.output.is_over:
            self.output.send({"kind": "dress", "labels": words.LABELS, "family": self._family})

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
        operations = self._page.update(self._parts, self._shown_below) + self._status_change()
        if operations:
            self.output.send({"kind": "frame", "ops": operations})

    def _whole(self) -> Message:
        self._page.update(self._parts, self._shown_below)
        self._sent_status = None
        operations = self._page.whole() + self._status_change()
        return {
            "kind": "full",
            "ops": operations,
            "labels": words.LABELS,
            "elapsed": self._elapsed(),
            "family": self._family,
        }

    def _status_change(self) -> list[Operation]:
        if self._status == self._sent_status:
            return []
        self._sent_status = self._status
        text, busy = self._status
        return [{"op": "status", "text": text, "busy": busy}]
