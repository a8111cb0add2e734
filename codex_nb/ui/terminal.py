"""A turn in a terminal, set by rich: a finished block is printed once, only the block being written is drawn again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.live import Live
from rich.markdown import Markdown
from rich.syntax import Syntax
from rich.text import Text

from codex_nb.rendering.bundle import DOT, shortened
from codex_nb.rendering.highlight import visible
from codex_nb.rendering.splitting import BlockSplitter
from codex_nb.session.events import (
    ApprovalRequested,
    ApprovalResolved,
    Notice,
    RetryScheduled,
    TextDelta,
    TextDone,
    ToolCallReady,
    ToolFinished,
    TurnEvent,
    TurnFinished,
)
from codex_nb.session.state import ToolPart, TurnState, reduce
from codex_nb.ui.approval import ask_by_typing
from codex_nb.ui.commands import Decide
from codex_nb.ui.footer import footer
from codex_nb.ui.phrasing import call_title, ending, retrying, tool_title
from codex_nb.ui.placing import SHOWN_AS_OUTPUTS
from codex_nb.ui.plain import without_controls
from codex_nb.ui.plans import plan_news
from codex_nb.ui.sections import phase_of, shown_code

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console, RenderableType

    from codex_nb.tools.approval import ApprovalRequest
    from codex_nb.ui.commands import Command

SPARE_ROWS = 4  # of the window, so that what is drawn in place never scrolls


class RichScreen:
    """Shows a turn on a rich console.

    ``ask`` shows a prompt and returns the typed line; None when nobody is there to answer. ``on_command`` takes the
    decisions.
    """

    def __init__(
        self,
        console: Console,
        *,
        on_command: Callable[[Command], None],
        ask: Callable[[str], str] | None = None,
    ) -> None:
        self._console = console
        self._on_command = on_command
        self._ask = ask
        self._state = TurnState()
        self._writing: _Message | None = None
        self._shown_code: set[str] = set()

    def apply(self, event: TurnEvent) -> None:
        """Take in one event; whatever is not text ends the block being written."""
        before, self._state = self._state, reduce(self._state, event)
        match event:
            case TextDelta():
                self._message(event.item_id).feed(event.text)
            case TextDone():
                self._message(event.item_id).finish(event.text)
                self._writing = None
            case ToolCallReady():
                self._show_call(event.call_id)
            case ApprovalRequested():
                self._show_call(event.request.call_id)
                self._decide(event.request)
            case ApprovalResolved():
                self._tell_refusal(event.call_id)
            case ToolFinished():
                self._show_plan(plan_news(before, self._state))
                self._show_output(event)
            case RetryScheduled():
                self._end_message()
                self._quiet(retrying(event))
            case Notice():
                self._quiet(event.text)
            case TurnFinished():
                self._end(before, event)
            case _:
                pass

    def flush(self) -> None:
        """Draw the block being written."""
        if self._writing is not None:
            self._writing.draw()

    def make_room(self) -> None:
        """Let somebody else write: nothing but text can be shown here."""
        self.close()

    def close(self) -> None:
        """End the block being written."""
        self._end_message()

    def _message(self, item_id: str) -> _Message:
        if self._writing is None or self._writing.item_id != item_id:
            self._end_message()
            self._writing = _Message(self._console, item_id)
        return self._writing

    def _end_message(self) -> None:
        if self._writing is not None:
            self._writing.end()
            self._writing = None

    def _show_call(self, call_id: str) -> None:
        call = self._call(call_id)
        if call is None or call_id in self._shown_code or call.is_a_plan_being_written:
            return
        self._shown_code.add(call_id)
        self._end_message()
        code, language = shown_code(call)
        self._console.print(Text(without_controls(tool_title(call.name)), style="bold"))
        if code:
            self._console.print(Syntax(visible(code), language or "text", theme="ansi_dark", word_wrap=True))

    def _decide(self, request: ApprovalRequest) -> None:
        self._on_command(Decide(request.call_id, ask_by_typing(request, self._ask)))

    def _tell_refusal(self, call_id: str) -> None:
        call = self._call(call_id)
        decision = call.decision if call is not None else None
        if decision is not None and not decision.approved and decision.by != "user":
            self._quiet(decision.message)

    def _show_output(self, event: ToolFinished) -> None:
        call = self._call(event.call_id)
        if call is None:
            return
        self._quiet(call_title(call.name, phase_of(call)))
        if event.output and call.name not in SHOWN_AS_OUTPUTS:
            self._console.print(Text(without_controls(shortened(event.output))))

    def _show_plan(self, lines: list[str]) -> None:
        if lines:
            self._end_message()
            self._console.print(Text(without_controls("\n".join(lines))))

    def _end(self, before: TurnState, event: TurnFinished) -> None:
        self._end_message()
        self._show_plan(plan_news(before, self._state))
        if reason := ending(event.answer, event.error):
            self._console.print(Text(without_controls(reason), style="bold"))
        if entries := footer(self._state.started, event.answer):
            self._quiet(DOT.join(entries))

    def _quiet(self, text: str) -> None:
        self._end_message()
        self._console.print(Text(without_controls(text), style="dim"))

    def _call(self, call_id: str) -> ToolPart | None:
        parts = (part for part in self._state.parts if isinstance(part, ToolPart))
        return next((part for part in parts if part.call_id == call_id), None)


class _Message:
    """One message: its finished blocks stand printed, the unfinished one is drawn in place."""

    def __init__(self, console: Console, item_id: str) -> None:
        self.item_id = item_id
        self._console = console
        self._blocks = BlockSplitter()
        self._text: list[str] = []
        self._live: Live | None = None

    def feed(self, text: str) -> None:
        """Take more text; print what it finished."""
        text = without_controls(text)
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
        """Print the rest; a final text that differs from what came is printed whole."""
        final, written = without_controls(final), "".join(self._text)
        if final.startswith(written):
            self.feed(final.removeprefix(written))
            self.end()
            return
        self.end()
        self._print(final)

    def end(self) -> None:
        """Print the unfinished block as it stands."""
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
    # Without hyperlinks the address stands there to be read.
    return Markdown(source, hyperlinks=False, code_theme="ansi_dark")
