"""A turn as plain text, written as it comes: for terminals, consoles, scripts and notebooks run without a person."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from codex_nb.ui.writing import WritingScreen, without_controls

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from codex_nb.tools.approval import ApprovalRequest
    from codex_nb.ui.commands import Command


class PlainScreen(WritingScreen):
    """Writes a turn to a text stream.

    ``prompts_stay`` tells whether what a prompt said stays there to be read, as it does in a console; elsewhere the
    code that is asked about is written to the stream as well.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        on_command: Callable[[Command], None],
        ask: Callable[[str], str] | None = None,
        prompts_stay: bool = False,
    ) -> None:
        super().__init__(on_command=on_command, ask=ask)
        self._stream = stream
        self._prompts_stay = prompts_stay
        self._at_line_start = True
        self._item = ""  # whose text is being written

    def flush(self) -> None:
        """Hand on what is written."""
        self._stream.flush()

    def close(self) -> None:
        """End the last line."""
        self._fresh_line()
        self._stream.flush()

    def _say(self, item_id: str, text: str) -> None:
        if item_id != self._item:
            self._fresh_line()
            self._item = item_id
        self._write(text)

    def _say_whole(self, item_id: str, text: str, said: str) -> None:
        if text.startswith(said):
            self._say(item_id, text.removeprefix(said))
        else:
            self._line(text)

    def _decide(self, request: ApprovalRequest) -> None:
        if not self._prompts_stay:
            self._tell_call(request.call_number)
        super()._decide(request)

    def _call(self, title: str, code: str, language: str) -> None:
        del language
        self._line(f"[{title}]")
        if code:
            self._line(_indented(code))

    def _result(self, title: str, output: str) -> None:
        self._line(f"[{title}]")
        if output:
            self._line(_indented(output))

    def _plan(self, lines: list[str]) -> None:
        self._line("\n".join(lines))

    def _remark(self, text: str) -> None:
        self._line(text)

    def _end(self, reason: str, entries: tuple[str, ...]) -> None:
        if reason:
            self._line(reason)
        if entries:
            self._line(f"[{' · '.join(entries)}]")

    def _line(self, text: str) -> None:
        self._fresh_line()
        self._write(text + "\n")
        self._item = ""

    def _fresh_line(self) -> None:
        if not self._at_line_start:
            self._write("\n")

    def _write(self, text: str) -> None:
        text = without_controls(text)
        if text:
            self._stream.write(text)
            self._at_line_start = text.endswith("\n")


def _indented(text: str) -> str:
    return textwrap.indent(text.rstrip("\n"), "    ")
