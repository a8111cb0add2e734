"""The front-end halves, put together from the files in ``static``; each is one plain script without dependencies.

The widget's traits hold its code and style and nothing else: traits are what Jupyter may save into the notebook.
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget

if TYPE_CHECKING:
    from collections.abc import Callable

    from codex_nb.ui.channel import Message

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
