"""Noticing what the user's own code shows while it runs for a turn, so that the turn goes on below it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from codex_nb.host.capture import capturing

if TYPE_CHECKING:
    from collections.abc import Callable

    from codex_nb.host.mailbox import Mailbox

T = TypeVar("T")


class NoticingThread:
    """The cell's thread, as a turn's ``MainThread`` port; ``on_outputs`` is called there after a call that showed some.

    As with the model's own code, ``clear_output`` clears nothing but what the call has shown.
    """

    def __init__(self, mailbox: Mailbox, shell: Any, on_outputs: Callable[[], None]) -> None:
        self._mailbox = mailbox
        self._shell = shell
        self._on_outputs = on_outputs

    async def call(self, function: Callable[[], T]) -> T:
        """Run ``function`` on the cell's thread and return what it returns, or raise what it raised."""
        if getattr(self._shell, "kernel", None) is None:
            return await self._mailbox.call(function)  # a terminal only writes on
        return await self._mailbox.call(lambda: self._noticing(function))

    def _noticing(self, function: Callable[[], T]) -> T:
        with ExitStack() as when_all_is_out, capturing(self._shell) as fold:
            when_all_is_out.callback(lambda: self._on_outputs() if fold.outputs() else None)
            return function()
