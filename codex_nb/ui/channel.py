"""The outer edge of the views, as ports: the line to a widget's front-end half, and the outputs of a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
