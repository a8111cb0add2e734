"""The tap: hears every output message that a kernel publishes, whoever sends it and from whatever thread.

IPython's own hooks miss displays of other threads and file displays under the wrong cell; the session's ``send`` is
where all of them pass on every ipykernel from 6.29 on.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from codex_nb.host.outputs import OUTPUT_MESSAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Listener = Callable[[str, Mapping[str, Any], str], None]

_ATTRIBUTE = "_codex_nb_tap"
_log = logging.getLogger(__name__)


@dataclass
class _Tap:
    """The wrapped ``send`` of one session and who listens to it."""

    session: Any
    send: Callable[..., Any]
    listeners: list[Listener] = field(default_factory=list)

    def __call__(
        self, stream: Any, message: Any, content: Any = None, parent: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        try:
            self._tell(message, content, parent)
        except Exception:  # noqa: BLE001 - the output itself must go its way
            _log.exception("An output could not be noted.")
        return self.send(stream, message, content, parent, *args, **kwargs)

    def _tell(self, message: Any, content: Any, parent: Any) -> None:
        kind = message["header"]["msg_type"] if isinstance(message, dict) else message
        if kind not in OUTPUT_MESSAGES:
            return
        if isinstance(message, dict):
            content, parent = message["content"], message.get("parent_header")
        header = (parent or {}).get("header", parent or {})
        for listener in tuple(self.listeners):
            listener(kind, content or {}, str(header.get("msg_id", "")))


@contextlib.contextmanager
def listening(session: Any, listener: Listener) -> Iterator[None]:
    """Tell ``listener`` (message type, content, id of the request it belongs to) of every output inside the block."""
    add_listener(session, listener)
    try:
        yield
    finally:
        remove_listener(session, listener)


def add_listener(session: Any, listener: Listener) -> None:
    """Begin to tell ``listener`` of every output."""
    tap = getattr(session, _ATTRIBUTE, None)
    if tap is None:
        tap = _Tap(session, session.send)
        setattr(session, _ATTRIBUTE, tap)
        session.send = tap
    tap.listeners.append(listener)


def remove_listener(session: Any, listener: Listener) -> None:
    """Stop telling ``listener``; with the last one the session gets its own ``send`` back."""
    tap = getattr(session, _ATTRIBUTE, None)
    if tap is None or listener not in tap.listeners:
        return
    tap.listeners.remove(listener)
    if not tap.listeners and session.__dict__.get("send") is tap:  # someone else may have wrapped it since
        del session.__dict__["send"]
        if session.send != tap.send:
            session.send = tap.send
        delattr(session, _ATTRIBUTE)
