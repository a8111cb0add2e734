from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_nb.rendering.answer_output import (
    BlocksUpdate,
    GrowingCode,
    MarkdownBlocks,
    RenderedText,
    safe_code,
)
from codex_nb.rendering.markdown import inert_markdown, parse, safe_html
from codex_nb.rendering.sanitize import join_html

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


def stream(pieces: list[str]) -> RenderedText:
    """Return what the text is rendered to, whose HTML is that of all updates."""
    blocks = MarkdownBlocks()
    html = join_html([*(blocks.feed(piece).closed for piece in pieces), blocks.finish().closed])
    assert blocks.rendered.html == html
    return blocks.rendered


def whole(text: str) -> RenderedText:
    return RenderedText(safe_html(text), inert_markdown(parse(text)))


def split_at(text: str, cuts: list[int]) -> list[str]:
    places = sorted({min(cut, len(text)) for cut in cuts})
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


documents = st.lists(st.sampled_from(LINES), max_size=14).map("\n".join)


@given(documents, st.lists(st.integers(0, 200), max_size=12))
def test_any_split_of_the_text_gives_what_the_whole_gives(text: str, cuts: list[int]) -> None:
    assert stream(split_at(text, cuts)) == whole(text)


@given(documents)
def test_one_character_at_a_time_gives_what_the_whole_gives(text: str) -> None:
    assert stream(list(text)) == whole(text)


LONG = {
    "prose": "Words with **weight**, a `name` and so on, " * 400,
    "a list": "- an item with a `name`\n" * 600,
    "a table": "| a | b |\n|---|---|\n" + "| 1 | some words in a cell |\n" * 500,
    "code": "```python\n" + "value = function(argument, 1)\n" * 500,
    "a quote": "> quoted **words**\n" * 700,
    "paragraphs": "A short one with *weight*.\n\n" * 600,
}


@pytest.mark.parametrize("piece", [4, 20, 80])
@pytest.mark.parametrize("kind", LONG)
def test_what_is_drawn_is_bounded_by_the_text_and_a_little_for_each_frame(kind: str, piece: int) -> None:
    text = LONG[kind]
    blocks = MarkdownBlocks()
    frames = [text[at : at + piece] for at in range(0, len(text), piece)]

    updates = [blocks.feed(frame) for frame in frames] + [blocks.finish()]

    drawn = sum(len(update.closed) + len(update.open or "") + len(update.tail) for update in updates)
    source = len(safe_html(text))
    assert drawn <= 2 * source + 1_000 * len(frames)


def test_words_are_appended_and_the_block_is_not_drawn_again() -> None:
    blocks = MarkdownBlocks()

    updates = [blocks.feed(piece) for piece in ("Hello", " wor", "ld, ", "how\n", "are you", "?")]

    assert [(update.open, update.tail) for update in updates] == [
        ("<p>Hello</p>\n", ""),
        (None, " wor"),
        (None, "ld,"),
        (None, " how"),
        (None, "\nare you"),
        (None, "?"),
    ]


def test_what_may_be_markup_draws_the_block_again() -> None:
    blocks = MarkdownBlocks()

    updates = [blocks.feed(piece) for piece in ("1", ".", " one **b", "old** w", "ords")]

    assert [(update.open, update.tail) for update in updates] == [
        ("<p>1</p>\n", ""),
        ("<ol>\n<li></li>\n</ol>\n", ""),
        ("<ol>\n<li>one **b</li>\n</ol>\n", ""),
        ("<ol>\n<li>one <strong>bold</strong> w</li>\n</ol>\n", ""),
        (None, "ords"),
    ]


def test_a_row_of_a_table_is_shown_when_it_is_whole() -> None:
    blocks = MarkdownBlocks()
    blocks.feed("| a |\n|---|\n")

    updates = [blocks.feed(piece) for piece in ("| o", "ne |", "\n", "| tw")]

    assert [bool(update.open) for update in updates] == [False, False, True, False]
    assert [update.tail for update in updates] == ["", "", "", ""]


def test_a_line_of_code_gets_its_colours_at_its_end() -> None:
    blocks = MarkdownBlocks()
    blocks.feed("```python\n")

    updates = [blocks.feed(piece) for piece in ("x =", " 1", "\n")]

    assert [(bool(update.open), update.tail) for update in updates] == [
        (False, "x ="),
        (False, " 1"),
        (True, ""),
    ]


def test_long_code_of_which_nothing_is_shown_yet_is_drawn_as_code() -> None:
    code = "value = function(argument, 1)\n" * 500

    assert MarkdownBlocks().feed(f"```python\n{code}") == BlocksUpdate(open=safe_code(code, "python"))
    assert GrowingCode("python").feed(code) == BlocksUpdate(open=safe_code(code, "python"))


def test_a_blank_line_closes_a_paragraph_at_once() -> None:
    blocks = MarkdownBlocks()

    assert blocks.feed("Done.\n\n") == BlocksUpdate("<p>Done.</p>\n", "")
