"""A live output: a widget while something goes on, a plain mimebundle afterwards.

The other half says ``here`` when it begins and ``ready`` for each view it draws, and gets everything, so a reloaded
page finds all of it again. At the end the output is replaced by its bundle. The widget is closed when the other half
has told that no output shows it any more: a page that was reloaded meanwhile does not know the display by its id and
must be given the bundle by another way (``put``), and anywidget takes it for a failure when a widget goes before it has
begun.

What stands in an Output widget takes no update by display id at all: there the other half puts the bundle in the
widget's place, and where it cannot, the bundle is shown anew.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from codex_nb.ui.channel import Channel, Displays, Handle, Message, view_of
from codex_nb.ui.output_widget import is_catching, remove_views
from codex_nb.words import transcript as words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from codex_nb.rendering.bundle import Bundle


class Standing(Enum):
    """Where a widget stands: what can take its place there."""

    IN_CELL = "in the cell: an update by display id"
    IN_OUTPUT_WIDGET = "in an Output widget: what the other half puts there"
    OUT_OF_REACH = "elsewhere: nothing"


class LiveOutput:
    """One output and its widget. Not thread-safe: its owner holds a lock.

    ``whole`` gives the message that draws everything; ``seen`` is called when a view comes into sight. With
    ``is_renewed`` the bundle may still change after the end, until :meth:`release`.
    """

    def __init__(
        self,
        channel: Channel,
        displays: Displays,
        whole: Callable[[], Message],
        seen: Callable[[], None] = lambda: None,
        *,
        is_renewed: bool = False,
    ) -> None:
        self.ready = False  # whether a view has been drawn
        self.hears = False  # whether the other half has begun
        self.is_over = False
        self.is_closed = False
        self._channel = channel
        self._displays = displays
        self._whole = whole
        self._seen = seen
        self._handle: Handle | None = None
        self._views: dict[str, bool] = {}  # the views that are drawn, and whether each can be seen
        self._waiting: list[Message] = []  # for the other half to begin
        self._bundle: Bundle = {}
        self._ending: Message = {}
        self._stays_open = False
        self._draws_in_place = True  # VS Code draws the widgets of new outputs only
        self._standing = Standing.IN_CELL
        self._is_replaced = False  # as the other half has told
        self.leaves_view = False  # whether its widget's view stands in an Output widget for good
        self.model_id = channel.model_id
        self._is_renewed = is_renewed

    @property
    def takes_widgets(self) -> bool:
        """Whether another widget can be drawn in its place."""
        return self._draws_in_place and self._standing is Standing.IN_CELL

    @property
    def is_unconfirmed(self) -> bool:
        """Whether nothing tells yet that the bundle has taken the place of a widget that has been caught."""
        return self.is_over and self._standing is not Standing.IN_CELL and not self._is_replaced

    @property
    def is_lost(self) -> bool:
        """Whether the bundle cannot take the widget's place."""
        return self._standing is Standing.OUT_OF_REACH

    @property
    def visible(self) -> bool:
        """Whether any view can be seen."""
        return any(self._views.values())

    def show(self, placeholder: str, listener: Callable[[Message], None]) -> None:
        """Show the widget as a new output and listen to its other half."""
        self._channel.listen(listener)
        if is_catching():
            self._standing = Standing.IN_OUTPUT_WIDGET
        self._handle = self._displays.show(view_of(self._channel, placeholder))

    @property
    def place(self) -> Displays:
        """The output itself, for another view to be shown there; it has been shown."""
        return Place(self._handle)

    def send(self, message: Message) -> None:
        """Send a message, once the other half has begun."""
        if not self.hears:
            self._waiting.append(message)
        elif not self.is_closed:
            self._channel.send(message)

    def redraw(self) -> None:
        """Send everything anew."""
        if self.ready and not self.is_closed:
            about = {"model_id": self.model_id, "is_caught": self._standing is not Standing.IN_CELL}
            self._channel.send(self._whole() | about)

    def end(self, bundle: Bundle, ending: Message, *, stays_open: bool = False) -> None:
        """Replace the output by its bundle; ``ending`` tells the other half what to add while the page is open.

        With ``stays_open`` the widget lives on without an output, for the sake of buttons that the other half adds.
        """
        self._bundle = bundle
        if self._standing is Standing.IN_OUTPUT_WIDGET and not (self.hears or self._is_renewed):
            self._standing = (
                Standing.OUT_OF_REACH
            )  # nobody is there to put it, nor will anybody wait for that
        if not self.is_lost:
            self._replace()
        self._leave(ending, stays_open=stays_open)
        if self.is_lost:
            self.show_anew()

    def show_anew(self) -> None:
        """Show the bundle as a new output, for it cannot take the widget's place."""
        if self._handle is None or self.is_closed:
            return
        self._handle = self._displays.show(self._bundle)
        self._standing = Standing.IN_CELL
        self.leaves_view = True
        self._waiting = [message for message in self._waiting if message["kind"] != "put"]
        if self.hears and not self._stays_open:
            self.close()

    def _replace(self) -> None:
        match self._standing:
            case Standing.IN_CELL if self._handle is not None:
                self._handle.update(self._bundle)
            case Standing.IN_OUTPUT_WIDGET:
                self._put()
            case _:
                pass

    def renew(self, bundle: Bundle) -> None:
        """Put another bundle in the place of that of an output that has ended, closed or not."""
        self._bundle = bundle
        self._replace()
        if self.hears:
            self.send(self._ending)

    def give_up(self, ending: Message) -> Handle | None:
        """Leave the output, which is returned, to something else to be shown there; None when nothing can be."""
        self._leave(ending)
        if self._standing is Standing.IN_CELL:
            return self._handle
        remove_views({self.model_id})
        return None

    def release(self) -> None:
        """Take note that the bundle changes no more."""
        self._is_renewed = False
        if self._is_replaced:
            self._close_if_done()

    def _put(self) -> None:
        if not self.is_closed:
            self.send({"kind": "put", "model_id": self.model_id, "bundle": self._bundle})

    def _leave(self, ending: Message, *, stays_open: bool = False) -> None:
        self.is_over, self._stays_open = True, stays_open
        about = {"kind": "ending", "model_id": self.model_id, "stays_open": stays_open}
        self._ending = about | ending
        if self.hears:  # otherwise it is told when it begins
            self.send(self._ending)

    def close(self) -> None:
        """Close the widget."""
        if self.is_closed:
            return
        if self.hears:
            self.send({"kind": "over"})
        self.is_closed = True
        self._channel.close()

    def take(self, message: Message) -> None:
        """Take a message about views and endings."""
        view = str(message.get("view", ""))
        match message.get("kind"):
            case "here":
                self._meet()
                self._remind()
            case "ready":
                self._views[view] = bool(message.get("visible", True))
                self._draws_in_place = bool(message.get("document", True))
                self._welcome()
            case "visible" if view in self._views:
                self._views[view] = bool(message.get("visible"))
                self._seen()
            case "gone":
                self._views.pop(view, None)
            case "caught" if not self.is_over:
                self._standing = (
                    Standing.IN_OUTPUT_WIDGET if message.get("within_reach") else Standing.OUT_OF_REACH
                )
            case "replaced" if self.is_over and not self.is_lost:
                self._is_replaced = True
                self._close_if_done()
            case "kept" if self.is_over:
                self._put()
            case "lost" if self._standing is Standing.IN_OUTPUT_WIDGET:
                self._standing = Standing.OUT_OF_REACH
            case "dismissed":
                self.close()

    def _close_if_done(self) -> None:
        is_needed = self._is_renewed and self._standing is Standing.IN_OUTPUT_WIDGET
        if not self._stays_open and not is_needed:
            self.close()

    def _meet(self) -> None:
        self.hears = True
        while self._waiting:
            self.send(self._waiting.pop(0))

    def _welcome(self) -> None:
        self.ready = self.hears = True
        self.redraw()
        self._meet()
        self._remind()

    def _remind(self) -> None:
        if self.is_over:
            self.send(self._ending)


class Place:
    """An output that stands already: what is shown there replaces what it shows."""

    def __init__(self, handle: Handle | None) -> None:
        self._handle = handle

    def show(self, data: Mapping[str, Any]) -> Handle:
        """Show a mimebundle in the output's place."""
        if self._handle is None:
            raise RuntimeError(words.NOTHING_SHOWN)
        self._handle.update(data)
        return self._handle
