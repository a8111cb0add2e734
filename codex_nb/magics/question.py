"""From a cell's options to a question: its context, its images, its schema, its tools."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codex_nb.magics.options import OptionError
from codex_nb.magics.schemas import find_schema
from codex_nb.session.context import NotebookContext, build_context
from codex_nb.session.request import TurnRequest
from codex_nb.tools.catalog import notebook_tools
from codex_nb.tools.files import FileRefused, read_bounded, real_path
from codex_nb.tools.tool import Tool, ToolSet
from codex_nb.words import question as words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from codex_nb.home import Home
    from codex_nb.magics.options import CellOptions
    from codex_nb.magics.reading import NotebookReading
    from codex_nb.magics.workspace import Workspace
    from codex_nb.tools.hiding import Hidden

IMAGE_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}
LARGEST_IMAGE = 20_000_000


def make_question(workspace: Workspace, options: CellOptions, home: Home) -> TurnRequest:
    """Put together what the cell asks, still without the notebook; an option that names nothing is refused here.

    Runs on the main thread: it reads the live namespace.
    """
    namespace = workspace.namespace
    choices = workspace.choices(options, home)
    return TurnRequest(
        prompt=options.prompt,
        model=choices.model,
        effort=choices.effort,
        thread=choices.thread,
        images=tuple(image_url(name, namespace, workspace.folder) for name in options.images),
        schema=find_schema(options.schema, namespace) if options.schema else None,
        approval=choices.approval,
        folder=workspace.folder,
        replay=workspace.may_replay(choices.thread),
        fresh=options.fresh,
        earlier=workspace.earlier(options.prompt),
    )


def with_notebook(
    question: TurnRequest, options: CellOptions, home: Home, reading: NotebookReading
) -> TurnRequest:
    """Add what comes from the notebook as it was read: the context, the tools of the user's own, the subject.

    Raises CellSkipped for a subject that the user keeps out.
    """
    hidden = reading.hidden()
    namespace = hidden.visible(reading.workspace.namespace)
    return replace(
        question,
        data=options.subject(reading) if options.subject is not None else (),
        tools=offered_tools(namespace) if options.tools else ToolSet(),
        context=gather(reading, home, hidden) if options.context else None,
    )


def gather(reading: NotebookReading, home: Home, hidden: Hidden) -> NotebookContext:
    """Put together what is sent of the notebook and the namespace."""
    workspace = reading.workspace
    return build_context(
        reading.snapshot,
        workspace.namespace,
        reading.prompt,
        redactor=home.assistant.redactor(),
        folder=workspace.folder,
        budget=workspace.config.context_tokens,
        hidden=hidden,
    )


def offered_tools(namespace: Mapping[str, Any], more: Sequence[Tool] = ()) -> ToolSet:
    """Offer the notebook's tools and the user's own: every ``@codex_nb.tool`` in the namespace."""
    # isinstance would ask an object for its __class__, and so run code of whatever lies in the namespace
    own = [value for value in namespace.values() if issubclass(type(value), Tool)]
    return notebook_tools().with_tools([*own, *more])


def image_url(name: str, namespace: Mapping[str, Any], folder: Path | None) -> str:
    """Make a data URL of a figure or picture in the namespace, or of a file."""
    if name in namespace:
        return _data_url("image/png", _picture(name, namespace[name]))
    path = Path(name).expanduser()
    path = path if path.is_absolute() or folder is None else folder / path
    kind = IMAGE_TYPES.get(path.suffix.lower())
    if kind is None:
        raise OptionError(words.no_image(name))
    try:
        content = read_bounded(real_path(path), LARGEST_IMAGE)
    except (FileRefused, OSError) as error:
        raise OptionError(words.no_image(name)) from error
    if content.size > LARGEST_IMAGE:
        raise OptionError(words.image_too_large(name, str(LARGEST_IMAGE // 1_000_000)))
    return _data_url(kind, content.data)


def _picture(name: str, value: Any) -> bytes:
    buffer = io.BytesIO()
    figure = value if hasattr(value, "savefig") else getattr(value, "figure", None)
    if figure is not None and hasattr(figure, "savefig"):
        figure.savefig(buffer, format="png", bbox_inches="tight")
    elif hasattr(value, "save") and hasattr(value, "size"):
        value.save(buffer, format="PNG")
    else:
        raise OptionError(words.not_an_image(name, type(value).__name__))
    return buffer.getvalue()


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
