"""A live output: a widget while a turn runs, a plain mimebundle afterwards; the widgets' front ends and comms."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

import anywidget
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from codex_nb.rendering.answer_output import Bundle


WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"

Message = dict[str, Any]


class Channel(Protocol):
    """A line to the front-end half of one display."""

    @property
    def model_id(self) -> str:
        """The id by which the front end knows the widget."""

    def send(self, message: Message) -> None:
        """Send a message to the other half."""

    def listen(self, callback: Callable[[Message], None]) -> None:
        """Call back with each message of the other half, on whatever thread it arrives."""

    def close(self) -> None:
        """End the line; the widget is gone from kernel and front end."""


class Handle(Protocol):
    """A display that can be replaced."""

    def update(self, data: Mapping[str, Any]) -> None:
        """Replace what the display shows by another mimebundle."""


class Displays(Protocol):
    """Where outputs appear."""

    def show(self, data: Mapping[str, Any]) -> Handle:
        """Show a mimebundle as a new output."""


class NotebookDisplays:
    """Outputs of the running cell."""

    def show(self, data: Mapping[str, Any]) -> Handle:
        """Show a mimebundle in the running cell."""
        handle = DisplayHandle()
        handle.display(dict(data), raw=True)
        publisher = getattr(get_ipython(), "display_pub", None)
        if isinstance(publisher, CapturingDisplayPublisher):
            return _CapturedHandle(publisher.outputs[-1])
        return _NotebookHandle(handle)


class _NotebookHandle:
    def __init__(self, handle: DisplayHandle) -> None:
        self._handle = handle

    def update(self, data: Mapping[str, Any]) -> None:
        self._handle.update(dict(data), raw=True)


class _CapturedHandle:
    """What IPython has collected (``%%capture``); it is collected once, as it is in the end."""

    def __init__(self, output: dict[str, Any]) -> None:
        self._output = output

    def update(self, data: Mapping[str, Any]) -> None:
        self._output["data"] = dict(data)


def view_of(channel: Channel, placeholder: str) -> dict[str, Any]:
    """Return the mimebundle that shows a channel's widget; readers without widgets see the placeholder."""
    view = {"version_major": 2, "version_minor": 0, "model_id": channel.model_id}
    return {WIDGET_VIEW: view, "text/plain": placeholder}


def is_catching() -> bool:
    """Whether an Output widget catches what the running cell shows."""
    get_parent = getattr(get_ipython(), "get_parent", None)
    request = get_parent() if get_parent is not None else None
    number = ((request or {}).get("header") or {}).get("msg_id")
    return bool(number) and any(widget.msg_id == number for widget in _output_widgets())


def remove_views(model_ids: Collection[str]) -> None:
    """Take the views of widgets that nobody draws any more out of what Output widgets have caught.

    What such a widget has caught a moment ago, and has not told the kernel yet, would go with them.
    """
    for widget in _output_widgets():
        others = tuple(output for output in widget.outputs if _shown_by(output) not in model_ids)
        if len(others) < len(widget.outputs):
            widget.outputs = others


def _output_widgets() -> Iterator[Any]:
    module = sys.modules.get("ipywidgets.widgets.widget_output")
    if module is None:
        return
    every = getattr(sys.modules["ipywidgets.widgets.widget"], "_instances", None)
    if every is None:  # before ipywidgets 8
        every = module.Output.widgets
    yield from (widget for widget in list(every.values()) if isinstance(widget, module.Output))


def _shown_by(output: Any) -> str | None:
    """Return the id of the widget that an output shows, None for any other output."""
    view = (output.get("data") or {}).get(WIDGET_VIEW) or {}
    return view.get("model_id")


STATIC = Path(__file__).parent / "static"


class Kind(Enum):
    """The kinds of widget: their scripts, in order, and their styles."""

    TRANSCRIPT = (
        ("dom.js", "notebook.js", "code.js", "sections.js", "approval.js", "half.js", "transcript.js"),
        ("base.css", "transcript.css"),
    )
    SIGN_IN = (("dom.js", "notebook.js", "code.js", "half.js", "sign_in.js"), ("base.css", "panel.css"))
    ACCOUNT = (("dom.js", "notebook.js", "half.js", "account.js"), ("base.css", "account.css"))


@cache
def widget_class(kind: Kind) -> type[anywidget.AnyWidget]:
    """Return the widget class of a kind."""
    scripts, styles = kind.value
    name = f"Codex{kind.name.title().replace('_', '')}"
    return type(
        name,
        (anywidget.AnyWidget,),
        {"_esm": _joined(scripts), "_css": _joined(styles), "__module__": __name__},
    )


def _joined(files: tuple[str, ...]) -> str:
    return "\n".join((STATIC / file).read_text(encoding="utf-8") for file in files)


class WidgetChannel:
    """A channel over the comm of an anywidget."""

    def __init__(self, kind: Kind) -> None:
        self._widget: Any = widget_class(kind)()

    @property
    def model_id(self) -> str:
        """The widget's model id."""
        return str(self._widget.model_id)

    def send(self, message: Message) -> None:
        """Send a custom message."""
        self._widget.send(message)

    def listen(self, callback: Callable[[Message], None]) -> None:
        """Take custom messages; what came beside one as bytes is its ``buffers``."""
        self._widget.on_msg(
            lambda _widget, content, buffers: callback(
                {**content, "buffers": buffers} if buffers else content
            )
        )

    def close(self) -> None:
        """Close the widget, and the layout that every ipywidget brings along, with their comms."""
        layout = self._widget.layout
        self._widget.close()
        layout.close()


def open_transcript() -> WidgetChannel:
    """Open the widget of a turn's transcript."""
    return WidgetChannel(Kind.TRANSCRIPT)


def open_sign_in() -> WidgetChannel:
    """Open the widget of a sign-in."""
    return WidgetChannel(Kind.SIGN_IN)


def open_account() -> WidgetChannel:
    """Open the widget of the account."""
    return WidgetChannel(Kind.ACCOUNT)


class OutputState(Enum):
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
        self._standing = OutputState.IN_CELL
        self._is_replaced = False  # as the other half has told
        self.leaves_view = False  # whether its widget's view stands in an Output widget for good
        self.model_id = channel.model_id
        self._is_renewed = is_renewed

    @property
    def takes_widgets(self) -> bool:
        """Whether another widget can be drawn in its place."""
        return self._draws_in_place and self._standing is OutputState.IN_CELL

    @property
    def is_unconfirmed(self) -> bool:
        """Whether nothing tells yet that the bundle has taken the place of a widget that has been caught."""
        return self.is_over and self._standing is not OutputState.IN_CELL and not self._is_replaced

    @property
    def is_lost(self) -> bool:
        """Whether the bundle cannot take the widget's place."""
        return self._standing is OutputState.OUT_OF_REACH

    @property
    def visible(self) -> bool:
        """Whether any view can be seen."""
        return any(self._views.values())

    def show(self, placeholder: str, listener: Callable[[Message], None]) -> None:
        """Show the widget as a new output and listen to its other half."""
        self._channel.listen(listener)
        if is_catching():
            self._standing = OutputState.IN_OUTPUT_WIDGET
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
            about = {"model_id": self.model_id, "is_caught": self._standing is not OutputState.IN_CELL}
            self._channel.send(self._whole() | about)

    def end(self, bundle: Bundle, ending: Message, *, stays_open: bool = False) -> None:
        """Replace the output by its bundle; ``ending`` tells the other half what to add while the page is open.

        With ``stays_open`` the widget lives on without an output, for the sake of buttons that the other half adds.
        """
        self._bundle = bundle
        if self._standing is OutputState.IN_OUTPUT_WIDGET and not (self.hears or self._is_renewed):
            self._standing = (
                OutputState.OUT_OF_REACH
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
        self._standing = OutputState.IN_CELL
        self.leaves_view = True
        self._waiting = [message for message in self._waiting if message["kind"] != "put"]
        if self.hears and not self._stays_open:
            self.close()

    def _replace(self) -> None:
        match self._standing:
            case OutputState.IN_CELL if self._handle is not None:
                self._handle.update(self._bundle)
            case OutputState.IN_OUTPUT_WIDGET:
                self._put()
            case _:
                pass

    def renew(self, bundle: Bundle) -> None:
        """Put another bundle in the place of that of an output that has ended, closed or not."""
        self._bundle = bundle
        self._replace()
        if self.hears:
            self.send(self._ending)

    def fall_back(self, ending: Message) -> Handle | None:
        """Leave the output, which is returned, to something else to be shown there; None when nothing can be."""
        self._leave(ending)
        if self._standing is OutputState.IN_CELL:
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
                    OutputState.IN_OUTPUT_WIDGET if message.get("within_reach") else OutputState.OUT_OF_REACH
                )
            case "replaced" if self.is_over and not self.is_lost:
                self._is_replaced = True
                self._close_if_done()
            case "kept" if self.is_over:
                self._put()
            case "lost" if self._standing is OutputState.IN_OUTPUT_WIDGET:
                self._standing = OutputState.OUT_OF_REACH
            case "dismissed":
                self.close()

    def _close_if_done(self) -> None:
        is_needed = self._is_renewed and self._standing is OutputState.IN_OUTPUT_WIDGET
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
            raise RuntimeError("nothing has been shown yet")
        self._handle.update(data)
        return self._handle


WIDTH = 24  # characters of the bar
PAUSE_S = 0.2


class Progress(Protocol):
    """How far a batch is."""

    @property
    def done(self) -> int:
        """How many questions have their outcome."""

    @property
    def total(self) -> int:
        """How many questions there are."""

    @property
    def failed(self) -> int:
        """How many of the outcomes are errors."""

    @property
    def waiting_s(self) -> float:
        """How long a rate limit still holds the rest up."""


class ProgressLine:
    """Shows progress; ``in_notebook`` chooses an output of the cell, otherwise a line on a terminal's stream.

    In an Output widget, where nothing shown can be replaced, the last state alone is shown.
    """

    def __init__(
        self, *, in_notebook: bool, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stderr
        self._displays = NotebookDisplays() if in_notebook else None
        self._shows_end_alone = in_notebook and is_catching()
        self._handle: Handle | None = None
        self._clock = clock
        self._next = 0.0
        self._last = ""
        self._is_shown = False

    def tell(self, progress: Progress) -> None:
        """Show the newest state, at most five times a second; the last one always."""
        if self._clock() < self._next and progress.done < progress.total:
            return
        self._next = self._clock() + PAUSE_S
        self._last = line_of(progress)
        with suppress(Exception):  # answers that are there must not be lost to a line about them
            if self._displays is None:
                self._write(self._last)
            elif not self._shows_end_alone:
                self._show(self._displays, self._last)

    def close(self) -> None:
        """Leave the last state, and end the terminal's line."""
        with suppress(Exception):  # as above
            if self._displays is not None:
                if self._shows_end_alone and self._last:
                    self._show(self._displays, self._last)
            elif self._is_shown:
                self._stream.write("\n")
                self._stream.flush()

    def _write(self, line: str) -> None:
        if self._stream.isatty():
            self._stream.write(f"\r\x1b[K{line}")
            self._stream.flush()
            self._is_shown = True

    def _show(self, displays: Displays, line: str) -> None:
        bundle = {"text/plain": line}
        if self._handle is None:
            self._handle = displays.show(bundle)
        else:
            self._handle.update(bundle)


def line_of(progress: Progress) -> str:
    """Return the state as one line."""
    full = WIDTH * progress.done // progress.total if progress.total else WIDTH
    parts = [f"{'█' * full}{'░' * (WIDTH - full)} {progress.done} of {progress.total}"]
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    if progress.waiting_s >= 1:
        parts.append(f"waiting {progress.waiting_s:.0f} s for a rate limit")
    return ", ".join(parts)
