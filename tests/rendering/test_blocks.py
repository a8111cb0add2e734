from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from codex_nb.rendering.blocks import MarkdownBlocks
from codex_nb.rendering.markdown import safe_html

CONTINUATION = re.compile(r'</([ou]l)>\n<\1(?: start="\d+")? class="codex-continued"(?: start="\d+")?>\n')

LINES = [
    "", "", "", "plain words", "more $x$ and `code`", "- item", "  nested text", "  - nested item", "* star",
    "+ plus",
    "1. one", "2. two", "3) three", "10. ten", "# heading", "---", "===", "***", "***bold***", "```", "```python",
    "~~~", "````", "    indented code", "> quote", ">", "| a | b |", "|---|:-:|", "| 1 | 2 |", "$$", "$$x$$",
    "$$ y $$ z",     "x$$", "\\[", "\\]", "[ref]: http://x.y", "[ref]", "<b>", "<!--", "-->", "-", "1.",
    "\t- tab", "   - three", "  ",
    "a\\", "`", "``", "**", "|", "- [ ] task", "-   wide", "      deep", "    - four", ">- x", "- > y",
    "- ```", "  ```",     "- # h", "-", "text\r", "\r", "- $$", "  $$", "> $$", "$$$", "\\[ x \\]", "nul\0",
]  # fmt: skip


def stream(pieces: list[str]) -> str:
    blocks = MarkdownBlocks()
    closed = "".join(blocks.feed(piece).closed for piece in pieces) + blocks.finish().closed
    return CONTINUATION.sub("", closed)


def split_at(text: str, cuts: list[int]) -> list[str]:
    places = sorted({min(cut, len(text)) for cut in cuts})
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


documents = st.lists(st.sampled_from(LINES), max_size=14).map("\n".join)


@given(documents, st.lists(st.integers(0, 200), max_size=12))
def test_any_split_of_the_text_gives_the_html_of_the_whole(text: str, cuts: list[int]) -> None:
    assert stream(split_at(text, cuts)) == safe_html(text)


@given(documents)
def test_one_character_at_a_time_gives_the_html_of_the_whole(text: str) -> None:
    assert stream(list(text)) == safe_html(text)
