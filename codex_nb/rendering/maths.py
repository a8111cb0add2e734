r"""LaTeX in Markdown: found by its delimiters, left for the front end's own typesetter where it can only draw.

Inline ``$…$`` and ``\(…\)``; display ``$$…$$`` and ``\[…\]``. A display formula that stands on lines of its own
ends at its closing delimiter or at a blank line, whichever comes first, so that a formula still being written is
recognised from its first line and never changes its mind.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline

CLOSING = {"$$": "$$", "\\[": "\\]"}
CODE_INDENT = 4

# Macros by which MathJax or KaTeX link, style, load or define; in text they are code: a page may see a formula there.
_ACTIVE_MACRO = re.compile(
    r"\\(?:href|url|style|class|cssId|html\w*|data|require|includegraphics|unicode|csname|tooltip|texttip|mathtip"
    r"|toggle|def|gdef|edef|xdef|let|futurelet|global|newcommand|renewcommand|providecommand|newenvironment"
    r"|renewenvironment|DeclareMathOperator|catcode|input|include|write|openout|bbox|enclose|mmlToken)(?![a-z])"
)

# Prices are not formulas: no space inside the dollars, no word character outside them; code is not one either.
_WORD = re.compile(r"[\w\\$]")
_DISPLAY = (
    re.compile(r"\$\$((?:[^$`\\]|\\.)+)\$\$(?![\w$])", re.DOTALL),
    re.compile(r"\\\[(?!\s*\\\])(.{1,1000}?)\\\]", re.DOTALL),
)
_INLINE = (
    *_DISPLAY,
    re.compile(r"\$(?![\s$])((?:[^$`\\]|\\.)+)(?<!\s)\$(?![\w$])", re.DOTALL),
    re.compile(r"\\\((?!\s*\\\))(.{1,1000}?)\\\)", re.DOTALL),
)


def split_active_macros(text: str) -> list[str]:
    """Split text at macros that could act; the odd members are the macros."""
    pieces = []
    end = 0
    for match in _ACTIVE_MACRO.finditer(text):
        pieces += [text[end : match.start()], match.group()]
        end = match.end()
    return [*pieces, text[end:]]


def maths_plugin(md: MarkdownIt) -> None:
    """Teach the parser the four pairs of delimiters."""
    md.block.ruler.before("fence", "math_block", _display_block, {"alt": ["paragraph", "blockquote", "list"]})
    md.inline.ruler.before("escape", "math_inline", _inline_formula)


def _display_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: FBT001 -- the parser's own signature
    if state.sCount[start] - state.blkIndent >= CODE_INDENT:
        return False
    first = _line(state, start)
    closing = CLOSING.get(first[:2])
    if closing is None or not _may_open(first, closing):
        return False
    if silent:
        return True
    last, closed = _extent(state, start, end, closing)
    source = state.getLines(start, last + 1, state.blkIndent, keepLastLF=False).strip()
    token = state.push("math_block", "math", 0)
    token.block = True
    token.map = [start, last + 1]
    token.content = source[2:-2].strip() if closed else source
    token.meta["closed"] = closed
    state.line = last + 1
    return True


def _may_open(line: str, closing: str) -> bool:
    # `$$x$$ and text` is a formula inside a paragraph.
    at = line.find(closing, 2)
    return at == -1 or at == len(line) - 2


def _extent(state: StateBlock, start: int, end: int, closing: str) -> tuple[int, bool]:
    for number in range(start, end):
        line = _line(state, number)
        if number > start and (not line or state.sCount[number] < state.blkIndent):
            return number - 1, False
        if line.endswith(closing) and (number > start or len(line) > len(closing) + 1):
            return number, True
    return end - 1, False


def _line(state: StateBlock, number: int) -> str:
    return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]].strip()


def _inline_formula(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 -- the parser's own signature
    if state.src[state.pos] not in "$\\":
        return False
    if state.src[state.pos] == "$" and _WORD.match(state.src[state.pos - 1 : state.pos]):
        return False
    match = next(
        (found for pattern in _INLINE if (found := pattern.match(state.src, state.pos, state.posMax))), None
    )
    if match is None:
        return False
    if not silent:
        is_display = match.re in _DISPLAY
        token = state.push("math_inline_double" if is_display else "math_inline", "math", 0)
        token.content = match.group(1).strip()
    state.pos = match.end()
    return True
