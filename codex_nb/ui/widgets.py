"""Widgets and outputs of the running cell: their front ends, their comms, and where they are displayed."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from datetime import datetime, timedelta
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import anywidget
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle

from codex_nb.rendering.visible import NO_TEXT, visible_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from codex_nb.rendering.answer_output import MimeBundle
    from codex_nb.rendering.visible import VisibleText
    from codex_nb.responses.events import RateLimits
    from codex_nb.session.batch import Progress


WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
STATIC = Path(__file__).parent / "static"

Message = dict[str, Any]


class WidgetKind(Enum):
    """The kinds of widget: their scripts, in order, and their styles."""

    TRANSCRIPT = (
        ("dom.js", "notebook.js", "code.js", "sections.js", "approval.js", "widget_base.js", "transcript.js"),
        ("base.css", "transcript.css"),
    )
    LOGIN = (("dom.js", "notebook.js", "code.js", "widget_base.js", "login.js"), ("base.css", "panel.css"))
    ACCOUNT = (("dom.js", "notebook.js", "widget_base.js", "account.js"), ("base.css", "account.css"))


@cache
def widget_class(kind: WidgetKind) -> type[anywidget.AnyWidget]:
    """Return the widget class of a kind."""
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


def widget_bundle(comm: WidgetComm, placeholder: VisibleText) -> MimeBundle:
    """Return the mimebundle that displays a widget; readers without widgets see the placeholder."""
    view = {"version_major": 2, "version_minor": 0, "model_id": comm.model_id}
    return {"application/vnd.jupyter.widget-view+json": view, "text/plain": placeholder}


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
    module = sys.modules.get("ipywidgets.widgets.widget_output")
    if module is None:
        return
    every = getattr(sys.modules["ipywidgets.widgets.widget"], "_instances", None)
    if every is None:  # before ipywidgets 8
        every = module.Output.widgets
    yield from (widget for widget in list(every.values()) if isinstance(widget, module.Output))


def _model_id_of(output: Any) -> str | None:
    view = (output.get("data") or {}).get(WIDGET_VIEW) or {}
    return view.get("model_id")


WIDTH = 24  # characters of the bar
PAUSE_S = 0.2


class ProgressBar:
    """Shows progress; ``in_notebook`` chooses an output of the cell, otherwise a line on a terminal's stream.

    ``limits`` gives the newest limits of the account, when they are to be shown. In an Output widget, whose outputs
    cannot be updated, only the last state is shown.
    """

    def __init__(
        self,
        *,
        in_notebook: bool,
        limits: Callable[[], RateLimits | None] = lambda: None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._stream = stream or sys.stderr
        self._area = OutputArea() if in_notebook else None
        self._shows_end_only = in_notebook and in_output_widget()
        self._handle: OutputHandle | None = None
        self._clock = clock
        self._next = 0.0
        self._last = NO_TEXT
        self._is_shown = False

    def update(self, progress: Progress) -> None:
        """Show the newest state, at most five times a second; the last one always."""
        if self._clock() < self._next and progress.done < progress.total:
            return
        self._next = self._clock() + PAUSE_S
        self._last = progress_line(progress, self._limits())
        with suppress(Exception):  # a line about answers must not lose them
            if self._area is None:
                self._write(self._last)
            elif not self._shows_end_only:
                self._show(self._area, self._last)

    def note(self, text: str) -> None:
        """Say something that is to be read, in a line of its own."""
        with suppress(Exception):  # as above
            if self._area is not None:
                self._area.show({"text/plain": visible_text(text)})
            else:
                self._stream.write(f"{visible_text(text)}\n")
                self._stream.flush()

    def close(self) -> None:
        """Leave the last state, and end the terminal's line."""
        with suppress(Exception):  # as above
            if self._area is not None:
                if self._shows_end_only and self._last:
                    self._show(self._area, self._last)
            elif self._is_shown:
                self._stream.write("\n")
                self._stream.flush()

    def _write(self, line: VisibleText) -> None:
        if self._stream.isatty():
            self._stream.write(f"\r\x1b[K{line}")
            self._stream.flush()
            self._is_shown = True

    def _show(self, area: OutputArea, line: VisibleText) -> None:
        bundle: MimeBundle = {"text/plain": line}
        if self._handle is None:
            self._handle = area.show(bundle)
        else:
            self._handle.update(bundle)


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
