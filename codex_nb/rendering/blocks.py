"""Markdown as it arrives, as HTML: finished blocks are rendered once, only the unfinished one is drawn again.

Words without markup are handed on as plain text to append: they look as if the block had been drawn again. Cost is
linear in the text, whatever it is made of: an unfinished block that has grown long is drawn again only when it has
grown by a part of itself, and what arrives in between is appended as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codex_nb.rendering.markdown import render_tokens
from codex_nb.rendering.splitting import BlockSplitter

if TYPE_CHECKING:
    from collections.abc import Iterable

EAGER_PROSE = 600  # characters up to which an unfinished block is drawn at every change that may be markup
PROSE_GROWTH = 1.25
EAGER_CODE = 200
CODE_GROWTH = 2
LONGEST_DRAWN_CODE = 4_000  # characters; longer code keeps its colours so far until it is finished

_MAY_BE_MARKUP = re.compile(r"[\\`*_~$<>\[\])|#&;]|\n(?![^\W\d_])")
_ONLY_A_MARKER = re.compile(
    r"\s*+(?:(?:[-+*>#=:|]++|\d{1,9}[.)]?)\s*+)?"
)  # what may yet begin a list, a heading, a table


_CONTINUATION = re.compile(
    r'</([ou]l)>\n<\1(?: start="\d+")? class="codex-continued"(?: start="\d+")?>\n'
)  # in code and text, which are escaped, it cannot stand


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

    The ``closed`` pieces of all updates, :func:`joined`, are what :func:`~codex_nb.rendering.markdown.safe_html` gives
    for the whole text, wherever the text was split.
    """

    def __init__(self) -> None:
        self._blocks = BlockSplitter()
        self._drawn = 0  # length of the unfinished source when it was last drawn
        self._shown = 0  # length that is on the page, tails included
        self._is_table = False

    def feed(self, text: str) -> BlocksUpdate:
        """Take more text, return what changed."""
        finished = self._blocks.feed(text)
        if finished is not None:
            return BlocksUpdate(render_tokens(finished.tokens), self.redraw())
        source, is_code = self._blocks.source, self._blocks.is_code
        more = source[self._shown :]
        if not is_code and not self._is_table:
            more = more.rstrip()
        if not more:
            return BlocksUpdate()
        if self._may_look_different(more) and worth_drawing(len(source), self._drawn, is_code=is_code):
            return BlocksUpdate(open=self.redraw())
        if self._is_table:  # a row is shown when it is whole
            return BlocksUpdate()
        self._shown += len(more)
        return BlocksUpdate(tail=more)

    def finish(self) -> BlocksUpdate:
        """Close everything; the text is complete."""
        self._drawn = self._shown = 0
        return BlocksUpdate(closed=render_tokens(self._blocks.finish().tokens), open="")

    def redraw(self) -> str:
        """Return the HTML of the unfinished block as it stands, for a page that shows nothing yet."""
        source = self._blocks.source
        tokens = self._blocks.tokens() if source else []
        self._drawn = len(source)
        # Space at the end of a paragraph is not drawn; it comes with the next word.
        self._shown = len(source) if self._blocks.is_code else len(source.rstrip())
        self._is_table = bool(tokens) and tokens[-1].type == "table_close"
        return render_tokens(tokens) if tokens else ""

    def _may_look_different(self, more: str) -> bool:
        """Whether text that goes on from what is shown does more than to continue its last line."""
        source = self._blocks.source
        if self._is_table or self._blocks.is_code:
            return source.find("\n", self._drawn) >= 0
        if _MAY_BE_MARKUP.search(more):
            return True
        line = source.rfind("\n", 0, self._shown) + 1
        return _ONLY_A_MARKER.fullmatch(source, line, self._shown) is not None


def joined(closed: Iterable[str]) -> str:
    """Return the HTML of a text from its finished pieces; lists that go on join the list before them."""
    return _CONTINUATION.sub("", "".join(closed))


def worth_drawing(length: int, drawn: int, *, is_code: bool) -> bool:
    """Whether an unfinished block of this length is to be drawn again, when it was last drawn at length ``drawn``."""
    if is_code:
        return length <= EAGER_CODE or drawn * CODE_GROWTH <= length <= LONGEST_DRAWN_CODE
    return length <= EAGER_PROSE or length >= drawn * PROSE_GROWTH
