"""Widgets and outputs of the running cell: their front ends, their comms, and where they are displayed."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from datetime import datetime, timedelta
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle

from codex_nb.rendering.sanitize import NO_TEXT, visible_line, visible_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    import anywidget

    from codex_nb.rendering.answer_output import MimeBundle
    from codex_nb.rendering.sanitize import VisibleText
    from codex_nb.responses.events import RateLimits
    from codex_nb.session.batch import Progress


STATIC = Path(__file__).parent / "static"
READY_S = 1.5  # a front end that can show widgets answers within a fraction of this

Message = dict[str, Any]


class WidgetKind(Enum):
    """The kinds of widget: their scripts, in order, and their styles."""

    TRANSCRIPT = (
        (
            "dom.js",
            "notebook.js",
            "cells.js",
            "code.js",
            "sections.js",
            "editor.js",
            "approval.js",
            "widget_base.js",
            "transcript.js",
        ),
        ("base.css", "transcript.css"),
    )
    LOGIN = (("dom.js", "notebook.js", "code.js", "widget_base.js", "login.js"), ("base.css", "panel.css"))
    ACCOUNT = (("dom.js", "notebook.js", "widget_base.js", "account.js"), ("base.css", "account.css"))


@cache
def widget_class(kind: WidgetKind) -> type[anywidget.AnyWidget]:
    """Return the widget class of a kind."""
    import anywidget  # with ipywidgets; a terminal needs neither

    scripts, styles = kind.value
    return type(
        f"Codex{kind.name.title()}",
        (anywidget.AnyWidget,),
        {"_esm": _joined(scripts), "_css": _joined(styles), "__module__": __name__},
    )


def _joined(files: tuple[str, ...]) -> str:
    return "\n".join((STATIC / file).read_text(encoding="utf-8") for file in files)


class WidgetComm:
    """A widget and its comm to the front end."""

    def __init__(self, kind: WidgetKind) -> None:
        self._widget: Any = widget_class(kind)()

    @property
    def model_id(self) -> str:
        """The widget's model id."""
        return str(self._widget.model_id)

    def send(self, message: Message) -> None:
        """Send a custom message."""
        self._widget.send(message)

    def listen(self, callback: Callable[[Message], None]) -> None:
        """Call back with each custom message, on the thread on which it arrives; its binary buffers are ``buffers``."""
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


class OutputHandle:
    """A displayed output that can be replaced."""

    def __init__(self, handle: DisplayHandle) -> None:
        self._handle = handle

    def update(self, data: MimeBundle) -> None:
        """Replace the output by another mimebundle."""
        self._handle.update(dict(data), raw=True)


class _CapturedHandle(OutputHandle):
    """An output that IPython has captured (``%%capture``); it is captured once, in its final state."""

    def __init__(self, output: dict[str, Any]) -> None:
        self._output = output

    def update(self, data: MimeBundle) -> None:
        self._output["data"] = dict(data)


class OutputArea:
    """The outputs of the running cell."""

    def show(self, data: MimeBundle) -> OutputHandle:
        """Display a mimebundle as a new output."""
        handle = DisplayHandle()
        handle.display(dict(data), raw=True)
        publisher = getattr(get_ipython(), "display_pub", None)
        if isinstance(publisher, CapturingDisplayPublisher):
            return _CapturedHandle(publisher.outputs[-1])
        return OutputHandle(handle)


class ExistingOutput(OutputArea):
    """One displayed output: what is shown there replaces its content."""

    def __init__(self, handle: OutputHandle) -> None:
        self._handle = handle

    def show(self, data: MimeBundle) -> OutputHandle:
        """Replace the output's content by a mimebundle."""
        self._handle.update(data)
        return self._handle


def in_output_widget() -> bool:
    """Whether an ipywidgets Output widget captures the outputs of the running cell."""
    get_parent = getattr(get_ipython(), "get_parent", None)
    request = get_parent() if get_parent is not None else None
    msg_id = ((request or {}).get("header") or {}).get("msg_id")
    return bool(msg_id) and any(widget.msg_id == msg_id for widget in _output_widgets())


def remove_views(model_ids: Collection[str]) -> None:
    """Remove the views of closed widgets from the outputs of all Output widgets.

    An output that such a widget captured but has not sent to the kernel yet is lost with them.
    """
    for widget in _output_widgets():
        others = tuple(output for output in widget.outputs if _model_id_of(output) not in model_ids)
        if len(others) < len(widget.outputs):
            widget.outputs = others


def _output_widgets() -> Iterator[Any]:
    if (module := sys.modules.get("ipywidgets.widgets.widget_output")) is not None:
        registry = sys.modules["ipywidgets.widgets.widget"]._instances  # noqa: SLF001 -- no other tells of them all
        yield from (widget for widget in list(registry.values()) if isinstance(widget, module.Output))


def _model_id_of(output: Any) -> str | None:
    view = (output.get("data") or {}).get("application/vnd.jupyter.widget-view+json") or {}
    return view.get("model_id")


WIDTH = 24  # characters of the bar
PAUSE_S = 0.2


class _LineOutput:
    """An output of the running cell that holds one line; a later line takes its place."""

    def __init__(self) -> None:
        self._handle: OutputHandle | None = None

    def show(self, line: VisibleText) -> None:
        """Show a line."""
        bundle: MimeBundle = {"text/plain": line}
        if self._handle is None:
            self._handle = OutputArea().show(bundle)
        else:
            self._handle.update(bundle)


class ProgressBar:
    """Shows progress; ``in_notebook`` chooses an output of the cell, otherwise a line of the terminal.

    ``limits`` gives the newest limits of the account, when they are to be shown. In an Output widget, whose outputs
    cannot be updated, only the last state is shown.
    """

    def __init__(self, *, in_notebook: bool, limits: Callable[[], RateLimits | None] = lambda: None) -> None:
        self._limits = limits
        self._line = _LineOutput() if in_notebook else None
        self._shows_end_only = in_notebook and in_output_widget()
        self._next = 0.0
        self._last = NO_TEXT

    def update(self, progress: Progress) -> None:
        """Show the newest state, at most five times a second; the last one always."""
        if time.monotonic() < self._next and progress.done < progress.total:
            return
        self._next = time.monotonic() + PAUSE_S
        self._last = progress_line(progress, self._limits())
        with suppress(Exception):  # a line about answers must not lose them
            if self._line is None:
                if sys.stderr.isatty():
                    _write(f"\r\x1b[K{self._last}")
            elif not self._shows_end_only:
                self._line.show(self._last)

    def note(self, text: str) -> None:
        """Say something that is to be read, in a line of its own."""
        with suppress(Exception):  # as above
            if self._line is None:
                _write(f"{visible_text(text)}\n")
            else:
                OutputArea().show({"text/plain": visible_text(text)})

    def close(self) -> None:
        """Leave the last state, and end the terminal's line."""
        with suppress(Exception):  # as above
            if not self._last:
                return
            if self._line is None:
                if sys.stderr.isatty():
                    _write("\n")
            elif self._shows_end_only:
                self._line.show(self._last)


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


class StatusLine:
    """A line of the running cell that says what happens now; a later one of the same cell takes its place."""

    def __init__(self) -> None:
        self._line = _LineOutput()
        self._cell: str | None = None
        self._text = NO_TEXT

    def show(self, text: str, cell: str) -> None:
        """Show a text in the cell that this message id stands for."""
        if self._cell != cell:
            self._line, self._cell, self._text = _LineOutput(), cell, NO_TEXT
        line = visible_line(text)
        if line == self._text:
            return
        with suppress(Exception):  # a line about an answer must not lose it
            self._text = line
            self._line.show(line)


def progress_line(progress: Progress, limits: RateLimits | None = None) -> VisibleText:
    """Return the state as one line."""
    full = WIDTH * progress.done // progress.total if progress.total else WIDTH
    parts = [f"{'█' * full}{'░' * (WIDTH - full)} {progress.done} of {progress.total}"]
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    if progress.tokens:
        parts.append(f"{progress.tokens:,} tokens")
    used = {window.label: window.used_percent for window in limits.windows} if limits else {}
    parts += [f"{percent:.0f} % of the {label} limit used" for label, percent in used.items() if percent]
    if progress.waiting_s >= 1:
        until = datetime.now().astimezone() + timedelta(seconds=progress.waiting_s)
        parts.append(f"waiting {progress.waiting_s:.0f} s for a rate limit, until {until:%H:%M:%S}")
    return visible_text(", ".join(parts))


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
        self._pages: set[str] = set()  # that still showed the widget after its end

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
        """Display the widget and listen to its front end; readers without widgets see the placeholder."""
        self._comm.listen(listener)
        if in_output_widget():
            self._location = Location.OUTPUT_WIDGET
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        bundle: MimeBundle = {"application/vnd.jupyter.widget-view+json": view, "text/plain": placeholder}
        self._handle = self._area.show(bundle)

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

    def redraw(self, view: str | None = None) -> None:
        """Send everything again, to one view or to all: what is pressed or typed in the others stays as it is."""
        if self.ready and not self.is_closed:
            location = {"model_id": self.model_id, "is_captured": self._location is not Location.CELL}
            only = {} if view is None else {"view": view}
            self._comm.send(self._full_message() | location | only)

    def end(self, bundle: MimeBundle, message: Message, *, stays_open: bool = False) -> None:
        """Replace the widget by its bundle; ``message`` tells the front end what to add while the page is open.

        With ``stays_open`` the widget lives on without an output, for the buttons that the front end adds.
        """
        self._bundle = bundle
        if self._location is Location.OUTPUT_WIDGET and not (self.loaded or self._may_change):
            self._location = Location.UNREACHABLE  # there is no front end that could replace it
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

    def _replace_in_front_end(self, *, page: str = "") -> None:
        # Without a page every one does: each has its own copy of an Output widget.
        self.send({"kind": "replace", "model_id": self.model_id, "page": page, "bundle": self._bundle})

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
                self._send_waiting()
            case "ready":
                self._views[view] = bool(message.get("visible", True))
                self._redraws_in_place = bool(message.get("document", True))
                self.ready = True
                self.redraw(view)
                self._send_waiting()
            case "visible" if view in self._views:
                self._views[view] = bool(message.get("visible"))
                self._on_visible()
            case "gone":
                self._views.pop(view, None)
            case "captured" if not self.has_ended:
                is_within_reach = bool(message.get("within_reach"))
                self._location = Location.OUTPUT_WIDGET if is_within_reach else Location.UNREACHABLE
            case "replaced" if self.has_ended and not self.is_unreachable:
                self._is_replaced = True
                self._close_if_done()
            case "still_shown" if self.has_ended:
                # Pages may share one document: the next one is asked only if the first has not changed what it shows.
                page = str(message.get("page") or "")
                if not self._pages or page in self._pages:
                    self._replace_in_front_end(page=page)
                self._pages.add(page)
            case "unreachable" if self._location is Location.OUTPUT_WIDGET:
                self._location = Location.UNREACHABLE
            case "dismissed":
                self.close()

    def _close_if_done(self) -> None:
        is_needed = self._may_change and self._location is Location.OUTPUT_WIDGET
        if not self._stays_open and not is_needed:
            self.close()

    def _send_waiting(self) -> None:
        self.loaded = True
        unsent, self._unsent = self._unsent, []
        for message in unsent:
            self.send(message)
        if self.has_ended:
            self.send(self._ended_message)
