"""A turn in a terminal, rendered with rich."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.live import Live
from rich.markdown import Markdown
from rich.syntax import Syntax
from rich.text import Text

from codex_nb.rendering.answer_output import SEPARATOR
from codex_nb.rendering.incremental import BlockSplitter
from codex_nb.rendering.visible import visible_text
from codex_nb.ui.layout import requested_code
from codex_nb.ui.part_views import tool_title
from codex_nb.ui.text_view import AppendOnlyView

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console, RenderableType

    from codex_nb.tools.approval import ApprovalRequest
    from codex_nb.ui.layout import Action


SPARE_ROWS = 4  # of the window, so that what is drawn in place never scrolls


class RichView(AppendOnlyView):
    """Shows a turn on a rich console; anything but text ends the block being written."""

    def __init__(
        self,
        console: Console,
        *,
        on_action: Callable[[Action], None],
        ask: Callable[[str], str] | None = None,
    ) -> None:
        super().__init__(on_action=on_action, ask=ask)
        self._console = console
        self._writing: _Message | None = None

    def flush(self) -> None:
        """Draw the block being written."""
        if self._writing is not None:
            self._writing.draw()

    def close(self) -> None:
        """End the block being written."""
        if self._writing is not None:
            self._writing.end()
            self._writing = None

    def _write_message(self, item_id: str, text: str) -> None:
        self._message(item_id).feed(text)

    def _finish_message(self, item_id: str, text: str, written: str) -> None:
        goes_on = self._writing is not None and self._writing.item_id == item_id
        is_broken_off = not goes_on and text.startswith(written)  # by a line that came between
        self._message(item_id).finish(text.removeprefix(written) if is_broken_off else text)
        self._writing = None

    def _message(self, item_id: str) -> _Message:
        if self._writing is None or self._writing.item_id != item_id:
            self.close()
            self._writing = _Message(self._console, item_id)
        return self._writing

    def _prompt_code(self, request: ApprovalRequest) -> str:
        with self._console.capture() as written:
            self._call(tool_title(request.tool), *requested_code(request))
        return written.get().rstrip("\n")

    def _call(self, title: str, code: str, language: str) -> None:
        self._print(title, style="bold")
        if code:
            self._console.print(Syntax(code, language or "text", theme="ansi_dark", word_wrap=True))

    def _result(self, title: str, output: str) -> None:
        self._write_notice(title)
        if output:
            self._print(output)

    def _plan(self, lines: list[str]) -> None:
        self._print("\n".join(lines))

    def _write_notice(self, text: str) -> None:
        self._print(text, style="dim")

    def _end(self, reason: str, entries: tuple[str, ...]) -> None:
        self.close()
        if reason:
            self._print(reason, style="bold")
        if entries:
            self._write_notice(SEPARATOR.join(entries))

    def _print(self, text: str, *, style: str = "") -> None:
        self.close()
        self._console.print(Text(visible_text(text), style=style))


class _Message:
    """One message: finished blocks are printed, the unfinished one is drawn in place."""

    def __init__(self, console: Console, item_id: str) -> None:
        self.item_id = item_id
        self._console = console
        self._blocks = BlockSplitter()
        self._text: list[str] = []
        self._live: Live | None = None

    def feed(self, text: str) -> None:
        """Add text and print the blocks that it finishes."""
        self._text.append(text)
        finished = self._blocks.feed(text)
        if finished is not None:
            self._print(finished.source)

    def draw(self) -> None:
        """Draw the unfinished block, where the console can draw in place."""
        source = self._blocks.source.strip("\n")
        if not source or not self._console.is_terminal:
            return
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(
            _markdown(_end_of(source, self._console, is_code=self._blocks.is_code)), refresh=True
        )

    def finish(self, final: str) -> None:
        """Print the rest; a final text that differs from what was streamed is printed whole."""
        written = "".join(self._text)
        if final.startswith(written):
            self.feed(final.removeprefix(written))
            self.end()
            return
        self.end()
        self._print(final)

    def end(self) -> None:
        """Print the unfinished block."""
        self._print(self._blocks.finish().source)

    def _print(self, source: str) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        if source.strip():
            self._console.print(_markdown(source))


def _end_of(source: str, console: Console, *, is_code: bool) -> str:
    """Return as many lines of a block's end as the window shows; those of a code block stay code."""
    rows = max(1, console.height - SPARE_ROWS)
    lines = source.split("\n")
    first = len(lines)
    while first and (rows := rows - 1 - len(lines[first - 1]) // console.width) >= 0:
        first -= 1
    fence = lines[:1] if is_code and first else []
    return "\n".join([*fence, *lines[max(first, len(fence)) :]])


def _markdown(source: str) -> RenderableType:
    # Without hyperlinks the address itself is printed.
    markdown = Markdown(source, hyperlinks=False, code_theme="ansi_dark")
    for token in markdown.parsed:
        for part in (token, *(token.children or ())):  # here a reference has become a character
            part.content = visible_text(part.content)
    return markdown
