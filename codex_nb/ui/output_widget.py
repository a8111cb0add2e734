"""ipywidgets' Output: what it catches of a cell's outputs cannot be updated by a display id."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from IPython.core.getipython import get_ipython

from codex_nb.ui.channel import WIDGET_VIEW

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


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
