"""A segment of a transcript: one output of the cell, live while it grows, a plain mimebundle afterwards.

The other half says ``ready`` for each view it draws and gets the whole page, so a reloaded page finds all of it again.
While no view can be seen nothing is sent. At the end the output is replaced by its bundle; the widget is closed when
the other half has told that no output shows it any more, because a page that was reloaded meanwhile does not know the
display by its id and must be given the bundle by another way (``put``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codex_nb.ui import words
from codex_nb.ui.channel import Channel, Displays, Handle, Message, view_of
from codex_nb.ui.page import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from codex_nb.rendering.bundle import Bundle
    from codex_nb.session.state import Part
    from codex_nb.ui.sections import Operation

Status = tuple[str, bool]


class Segment:
    """The part of a turn that stands in one output. Not thread-safe: its transcript holds the lock."""

    def __init__(self, channel: Channel, displays: Displays, elapsed: Callable[[], float]) -> None:
        self._page = Page()
        self.ready = False
        self._channel = channel
        self._displays = displays
        self._elapsed = elapsed
        self._handle: Handle | None = None
        self._views: dict[str, bool] = {}  # the views that are drawn, and whether each can be seen
        self._parts: Sequence[Part] = ()
        self._shown_below: Collection[str] = ()
        self._status: Status = (words.WORKING, True)
        self._sent_status: Status | None = None
        self._bundle: Bundle | None = None
        self._ending: Message = {}
        self._asked: list[Message] = []  # before anybody was ready to answer
        self._closed = False

    def show(self, listener: Callable[[Message], None]) -> None:
        """Show the widget as a new output and listen to its other half."""
        self._channel.listen(listener)
        self._handle = self._displays.show(view_of(self._channel, words.WIDGET_PLACEHOLDER))

    @property
    def visible(self) -> bool:
        """Whether any view can be seen."""
        return any(self._views.values())

    @property
    def is_over(self) -> bool:
        """Whether the output is a plain bundle."""
        return self._bundle is not None

    @property
    def is_closed(self) -> bool:
        """Whether the widget is gone."""
        return self._closed

    def update(self, parts: Sequence[Part], shown_below: Collection[str], status: Status) -> None:
        """Send what changed, if anybody can see it; otherwise it waits and comes in one piece."""
        self._parts, self._shown_below, self._status = parts, shown_below, status
        self._catch_up()

    def end(self, bundle: Bundle, offers: Sequence[str] = ()) -> None:
        """Replace the output by its bundle; ``offers`` are the commands that stay on offer below it."""
        self._bundle = bundle
        self._ending = {
            "kind": "ending",
            "model_id": self._channel.model_id,
            "elapsed": words.elapsed(self._elapsed()),
            "offers": list(offers),
            "labels": words.LABELS,
        }
        if self._handle is not None:
            self._handle.update(bundle)
        if self.ready:
            self._channel.send(self._ending)
        else:
            self.close()

    def close(self) -> None:
        """Close the widget."""
        if not self._closed:
            self._closed = True
            self._channel.close()

    def ask(self, message: Message) -> None:
        """Send a request to the other half, once it is ready."""
        if self.ready:
            self._channel.send(message)
        else:
            self._asked.append(message)

    def take(self, message: Message) -> None:
        """Take a message about views and endings."""
        view = str(message.get("view", ""))
        match message.get("kind"):
            case "ready":
                self.ready = True
                self._views[view] = bool(message.get("visible", True))
                self._send_everything()
                while self._asked:
                    self._channel.send(self._asked.pop(0))
            case "visible" if view in self._views:
                self._views[view] = bool(message.get("visible"))
                self._catch_up()
            case "gone":
                self._views.pop(view, None)
            case "replaced":
                self._replaced()
            case "kept" if self._bundle is not None:
                self._channel.send(
                    {"kind": "put", "model_id": self._channel.model_id, "bundle": self._bundle}
                )
            case "dismissed":
                self.close()

    def _catch_up(self) -> None:
        if self.is_over or not self.visible:
            return
        operations = self._page.update(self._parts, self._shown_below) + self._status_change()
        if operations:
            self._channel.send({"kind": "frame", "ops": operations})

    def _replaced(self) -> None:
        if self.is_over and not self._ending.get("offers"):
            self.close()

    def _send_everything(self) -> None:
        message: dict[str, Any] = {
            "kind": "full",
            "ops": self._everything(),
            "labels": words.LABELS,
            "elapsed": self._elapsed(),
        }
        self._channel.send(message)
        if self.is_over:
            self._channel.send(self._ending)

    def _everything(self) -> list[Operation]:
        self._page.update(self._parts, self._shown_below)
        self._sent_status = None
        return self._page.whole() + self._status_change()

    def _status_change(self) -> list[Operation]:
        if self._status == self._sent_status:
            return []
        self._sent_status = self._status
        text, busy = self._status
        return [{"op": "status", "text": text, "busy": busy}]
