"""Markdown as it arrives: finished blocks are rendered once, only the unfinished one is drawn again.

Cost is linear in the text, whatever it is made of: an unfinished block that has grown long is drawn again only when it
has grown by half; what arrives in between is handed on as plain text to append.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codex_nb.rendering.markdown import parse, render_tokens

if TYPE_CHECKING:
    from markdown_it.token import Token

EAGER_PROSE = 1_000  # characters up to which an unfinished block is drawn at every change
EAGER_CODE = 200
EAGER_PARSE = 4_000  # characters up to which every new line is a reason to look for finished blocks
GROWTH = 1.5
LISTS = {"bullet_list_open", "ordered_list_open"}
CONTINUED = "codex-continued"  # a list that goes on with the items of the list before it


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
        self._source = ""  # of everything unfinished
        self._held = ""  # a carriage return that may be half of a line end
        self._continues = False  # the unfinished source begins inside a list
        self._fence: re.Pattern[str] | None = None  # what would close the unfinished code block
        self._parse_at = 0  # length at which to look for finished blocks again
        self._drawn = 0  # length of the source when it was last drawn
        self._shown = 0  # length that is on the page, tails included

    def feed(self, text: str) -> BlocksUpdate:
        """Take more text, return what changed."""
        text = self._held + text
        self._held = "\r" if text.endswith("\r") else ""
        text = _with_plain_line_ends(text.removesuffix(self._held))
        before = len(self._source)
        self._source += text
        closed = self._close_finished(before) if "\n" in text else ""
        return self._draw(closed)

    def finish(self) -> BlocksUpdate:
        """Close everything; the text is complete."""
        tokens = self._tokens(self._source + self._held.replace("\r", "\n"))
        self._source = self._held = ""
        self._reset()
        return BlocksUpdate(closed=render_tokens(tokens), open="")

    def redraw(self) -> str:
        """Return the HTML of the unfinished block as it stands, for a page that shows nothing yet."""
        self._drawn = self._shown = len(self._source)
        return render_tokens(self._tokens(self._source)) if self._source else ""

    def _close_finished(self, before: int) -> str:
        # A line still being written may yet turn out to be anything: only whole lines decide.
        end = self._source.rfind("\n") + 1
        if not self._worth_parsing(before, end):
            return ""
        tokens = self._tokens(self._source[:end])
        index, line = _last_block(tokens)
        if not line:
            self._fence = _closing_fence(tokens, self._source)
            self._parse_at = int(end * GROWTH)
            return ""
        finished, inside_list = _split(tokens, index)
        closed = render_tokens(finished)
        self._source = _from_line(self._source, line)
        self._reset()
        self._continues = inside_list
        self._fence = _closing_fence(tokens[index:], self._source)
        return closed

    def _worth_parsing(self, before: int, end: int) -> bool:
        start = self._source.rfind("\n", 0, before) + 1
        if self._fence is not None:
            return self._fence.search(self._source, start, end) is not None
        return end <= EAGER_PARSE or end >= self._parse_at or "\n\n" in self._source[max(0, start - 1) : end]

    def _draw(self, closed: str) -> BlocksUpdate:
        length = len(self._source)
        eager = EAGER_PROSE if self._fence is None else EAGER_CODE
        if closed or length <= eager or length >= self._drawn * GROWTH:
            return BlocksUpdate(closed, self.redraw())
        tail = self._source[self._shown :]
        self._shown = length
        return BlocksUpdate(closed, None, tail)

    def _tokens(self, source: str) -> list[Token]:
        tokens = parse(source)
        if self._continues and tokens and tokens[0].type in LISTS:
            tokens[0].attrSet("class", CONTINUED)
        return tokens

    def _reset(self) -> None:
        self._continues = False
        self._fence = None
        self._parse_at = self._drawn = self._shown = 0


def _with_plain_line_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _last_block(tokens: list[Token]) -> tuple[int, int]:
    """Return where the last block, or the last item of a list that is last, begins: token index and line."""
    tops = [index for index, token in enumerate(tokens) if token.level == 0 and token.nesting >= 0]
    if not tops:
        return 0, 0
    last = tops[-1]
    if tokens[last].type in LISTS:
        last = max(index for index in range(last, len(tokens)) if _is_item(tokens[index]))
    span = tokens[last].map
    line = span[0] if span else 0
    return last, line


def _is_item(token: Token) -> bool:
    return token.type == "list_item_open" and token.level == 1


def _split(tokens: list[Token], index: int) -> tuple[list[Token], bool]:
    """Return the tokens before ``index``, a list among them ended, and whether it was ended inside a list."""
    if not _is_item(tokens[index]):
        return tokens[:index], False
    if tokens[index - 1].type in LISTS:  # the first item: the list has not begun
        return tokens[: index - 1], False
    return [*tokens[:index], tokens[-1]], True


def _closing_fence(tokens: list[Token], source: str) -> re.Pattern[str] | None:
    """Return what will close the code block that ``source`` consists of, None when it is closed or something else."""
    if not tokens or tokens[0].type != "fence" or tokens[0].level:
        return None
    markup = tokens[0].markup
    closing = re.compile(rf"^ {{0,3}}{re.escape(markup[0])}{{{len(markup)},}}[ \t]*$", re.MULTILINE)
    return None if closing.search(source, source.index("\n") + 1) else closing


def _from_line(source: str, line: int) -> str:
    position = 0
    for _ in range(line):
        position = source.index("\n", position) + 1
    return source[position:]
