"""Markdown as it arrives, as HTML: finished blocks are rendered once, only the unfinished one is drawn again.

Cost is linear in the text, whatever it is made of: an unfinished block that has grown long is drawn again only when it
has doubled; what arrives in between is handed on as plain text to append.
"""

from __future__ import annotations

from dataclasses import dataclass

from codex_nb.rendering.markdown import render_tokens
from codex_nb.rendering.splitting import BlockSplitter

EAGER_PROSE = 1_000  # characters up to which an unfinished block is drawn at every change
EAGER_CODE = 200
DRAW_GROWTH = 2
LONGEST_DRAWN_CODE = 4_000  # characters; longer code keeps its colours so far until it is finished


@dataclass(frozen=True, slots=True)
class BlocksUpdate:
    """What changed on the page.

    ``closed`` is HTML to append to what is finished. ``open`` is the HTML of the unfinished block, None when it stays
    as it is drawn; then ``tail`` is plain text to append inside it.
    """

    closed: str = ""
    open: str | None = None
    tail: str = ""


class MarkdownBlocks:
    """Renders a growing Markdown text.

    The ``closed`` pieces of all updates, with continued lists joined to the list before them, are what
    :func:`~codex_nb.rendering.markdown.safe_html` gives for the whole text, wherever the text was split.
    """

    def __init__(self) -> None:
        self._blocks = BlockSplitter()
        self._drawn = 0  # length of the unfinished source when it was last drawn
        self._shown = 0  # length that is on the page, tails included

    def feed(self, text: str) -> BlocksUpdate:
        """Take more text, return what changed."""
        finished = self._blocks.feed(text)
        if finished is not None:
            return BlocksUpdate(render_tokens(finished.tokens), self.redraw())
        length = len(self._blocks.source)
        if worth_drawing(length, self._drawn, is_code=self._blocks.is_code):
            return BlocksUpdate(open=self.redraw())
        tail = self._blocks.source[self._shown :]
        self._shown = length
        return BlocksUpdate(tail=tail)

    def finish(self) -> BlocksUpdate:
        """Close everything; the text is complete."""
        self._drawn = self._shown = 0
        return BlocksUpdate(closed=render_tokens(self._blocks.finish().tokens), open="")

    def redraw(self) -> str:
        """Return the HTML of the unfinished block as it stands, for a page that shows nothing yet."""
        self._drawn = self._shown = len(self._blocks.source)
        return render_tokens(self._blocks.tokens()) if self._blocks.source else ""


def worth_drawing(length: int, drawn: int, *, is_code: bool) -> bool:
    """Whether an unfinished block of this length is to be drawn again, when it was last drawn at length ``drawn``."""
    if is_code:
        return length <= EAGER_CODE or drawn * DRAW_GROWTH <= length <= LONGEST_DRAWN_CODE
    return length <= EAGER_PROSE or length >= drawn * DRAW_GROWTH
