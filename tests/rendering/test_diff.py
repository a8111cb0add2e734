"""A diff says exactly what an edit changes, whatever the two texts hold, in bounded work."""

from __future__ import annotations

import difflib
import random
import re
import sys
import tracemalloc
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_nb.rendering import diff
from codex_nb.rendering.diff import diff_html, diff_text
from codex_nb.rendering.sanitize import code_html, escape_invisible
from tests.rendering.test_visible import HIDING

MARK = re.compile("⟦U\\+([0-9A-F]{4,6})⟧")
WHOLE = 10**9  # lines of context: the whole of both texts
PIECES = [
    "a", "b", "x1", "é", "def f(x):", "    return", " ", "  ", "\t", "\n", "\n\n", "\r", "\r\n", "\x0c", "\x1c",
    "\x85", "\u2028", "<b>", "</pre>", "</code></span>", "&lt;", "&", "'", '"', '"""', "#", "\\", "$x$", "⟦",
    "⟦U+202E⟧", "\u202e", "\u200b", "\ufeff", "\x00", "\ud800", "\u0301", "😀", "+", "-", "@@ -1 +1 @@", "<!--",
    "<script>alert(1)</script>", "\U000e0041",
]  # fmt: skip
sides = st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | st.text(max_size=40)


@st.composite
def edits(draw: st.DrawFn) -> tuple[str, str]:
    """Draw two texts that have something in common."""
    start, before, after, end = (draw(sides) for _ in range(4))
    return start + before + end, start + after + end


class Page(HTMLParser):
    """What a reader sees of each side, and the elements that the page is made of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: set[tuple[str, str]] = set()
        self.lines: list[tuple[str, int, str]] = []
        self.changed: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        classes = dict(attrs).get("class") or ""
        self.elements.add((tag, ",".join(name for name, _ in attrs)))
        self._open.append(classes)
        if classes.startswith("codex-line"):
            self.lines.append((classes.split()[1].removeprefix("codex-"), 0, ""))
        if classes == "codex-changed":
            self.changed.append("")

    def handle_endtag(self, tag: str) -> None:
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if not self._open or not any(each.startswith("codex-line") for each in self._open):
            assert not data.strip("⋯\n"), data
            return
        kind, number, text = self.lines[-1]
        if self._open[-1] == "codex-number":
            number = int(data)
        elif self._open[-1] == "codex-sign":
            assert data == {"removed": "-", "added": "+"}.get(kind, " ")
        else:
            text += data
        if "codex-changed" in self._open:
            self.changed[-1] += data
        self.lines[-1] = (kind, number, text)

    def side(self, *kinds: str) -> str:
        """Return the text of the lines of these kinds, numbered without a gap."""
        lines = [(number, text) for kind, number, text in self.lines if kind in kinds]
        assert [number for number, _ in lines] == list(range(1, len(lines) + 1))
        assert all(text.endswith("\n") for _, text in lines)
        return unmarked("".join(text for _, text in lines)[:-1])


def unmarked(text: str) -> str:
    """Return the text that was marked."""
    return MARK.sub(lambda match: chr(int(match[1], 16)), text)


def patched(before: str, patch: str) -> str:
    """Apply a unified diff to a text in which nothing hides."""
    lines, result, place = before.split("\n"), list[str](), 0
    for line in patch.split("\n") if patch else ():
        if hunk := re.fullmatch(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", line):
            first = int(hunk[1]) - (hunk[2] != "0")
            result += lines[place:first]
            place = first
            assert len(result) == int(hunk[3]) - (hunk[4] != "0")
            continue
        sign, text = line[0], line[1:]
        if sign in " -":
            assert lines[place] == text
            place += 1
        if sign in " +":
            result.append(text)
    return "\n".join(result + lines[place:])


@given(edits())
def test_the_lines_of_a_diff_are_exactly_the_two_texts(edit: tuple[str, str]) -> None:
    before, after = edit
    page = Page(diff_html(before, after, context=WHOLE))
    if before == after:
        assert page.lines == []
    else:
        assert (page.side("same", "removed"), page.side("repeated", "added")) == (before, after)


@given(edits(), st.integers(0, 3))
def test_a_unified_diff_makes_the_second_text_of_the_first(edit: tuple[str, str], context: int) -> None:
    before, after = edit
    patch = diff_text(before, after, context=context)
    assert unmarked(patched(escape_invisible(before), patch)) == after
    assert (patch == "") == (before == after)


@given(edits())
def test_nothing_of_either_text_is_markup_and_nothing_hides(edit: tuple[str, str]) -> None:
    html = diff_html(*edit)
    assert Page(html).elements <= {("div", "class"), ("pre", ""), ("code", ""), ("span", "class")}
    for shown in (html, diff_text(*edit)):
        assert not {one for one in shown if unicodedata.category(one) in HIDING} - {"\n", "\t"}


def test_the_words_that_changed_are_marked() -> None:
    before = 'import os\nx = load("a.csv", 3)\nprint(x)'
    after = 'import os\nx = load("b.csv", 3)\nprint(x)'
    assert Page(diff_html(before, after)).changed == ["a", "b"]


def test_a_changed_line_stands_beside_the_line_that_it_was() -> None:
    before = "total = 0\nfor row in rows:\n    total += row.price"
    after = "total = 0\nmissing = 0\nfor row in rows.values():\n    total += row.price or 0"
    shown = [(kind, number) for kind, number, _ in Page(diff_html(before, after)).lines]
    assert shown == [
        ("same", 1), ("repeated", 1),
        ("removed", 2), ("removed", 3), ("added", 2), ("added", 3), ("added", 4),
    ]  # fmt: skip
    assert "".join(Page(diff_html(before, after)).changed) == ".values() or 0"
    assert '<span class="codex-blank"></span><span class="codex-line codex-removed">' in diff_html(
        before, after
    )


def test_lines_far_from_a_change_are_left_out() -> None:
    lines = [f"line {number}" for number in range(1, 101)]
    after = [*lines[:9], "changed", *lines[10:59], *lines[60:]]
    assert (
        diff_text("\n".join(lines), "\n".join(after))
        == "\n".join(difflib.unified_diff(lines, after, lineterm="")).split("\n", 2)[2]
    )
    page = Page(diff_html("\n".join(lines), "\n".join(after)))
    assert {number for _, number, _ in page.lines} == {*range(7, 14), *range(57, 64)}


def words(count: int, seed: int) -> str:
    chosen = random.Random(seed)
    return "".join(chosen.choice(["a", "b", "(", ")", " ", ",", "foo", "bar"]) for _ in range(count))


def lines(count: int, seed: int, kinds: int) -> str:
    chosen = random.Random(seed)
    return "\n".join(f"v{chosen.randrange(kinds)}" for _ in range(count))


HOSTILE: dict[str, Callable[[], tuple[str, str]]] = {
    "a line of 9 kB of few words": lambda: (words(4_000, 1), words(4_000, 2)),
    "lines of 2 kB of few words": lambda: (
        "\n".join(words(600, n) for n in range(90)), "\n".join(words(600, -n) for n in range(90))
    ),
    "a line of 100,000 columns": lambda: ("x" * 99_999 + " a", "x" * 99_999 + " b"),
    "10,000 equal lines": lambda: ("x = 1\n" * 10_000, "x = 1\n" * 5_000 + "y\n" + "x = 1\n" * 5_000),
    "10,000 lines of two kinds": lambda: (lines(10_000, 1, 2), lines(10_000, 2, 2)),
    "3,000 lines of many kinds": lambda: (lines(3_000, 1, 300), lines(3_000, 2, 300)),
    "1,000 lines in another order": lambda: (
        "\n".join(map(str, range(1_000))), "\n".join(map(str, random.Random(1).sample(range(1_000), 1_000)))
    ),
    "900 similar lines": lambda: (
        "\n".join(f"a{n} = f({n}, {n})" for n in range(900)), "\n".join(f"b{n} = f({n}, {n})" for n in range(900))
    ),
}  # fmt: skip


@contextmanager
def counted_lines() -> Iterator[list[int]]:
    """Count the lines of Python that run in the comparison."""
    ran = [0]

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename not in {diff.__file__, difflib.__file__}:
            return None
        ran[0] += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield ran
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("name", HOSTILE)
def test_the_work_of_a_diff_is_bounded(name: str) -> None:
    before, after = HOSTILE[name]()
    with counted_lines() as ran:
        html = diff_html(before, after)
    assert ran[0] < 6 * diff.MAX_STEPS
    assert len(html) < 250 * diff.MAX_ROWS + 15 * (len(before) + len(after))
    assert patched(before, diff_text(before, after)) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("\n" * 1_000_000, "\n" * 999_999 + "x"),
        ("x" * 1_000_000, ""),
        ("1 word\n" * 90_000, "2 word\n" * 90_000),
    ],
)
def test_the_memory_of_a_diff_of_a_megabyte_is_bounded(before: str, after: str) -> None:
    tracemalloc.start()
    try:
        html = diff_html(before, after)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 150_000_000
    assert len(html) < 4_000_000


def test_the_last_line_of_a_unified_diff_has_its_colour_too() -> None:
    html = code_html(diff_text("a\nb", "a\nc"), "diff")
    assert '<span class="gd">-b</span>\n<span class="gi">+c</span></code>' in html
