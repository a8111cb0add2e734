"""What an edit changes, line by line and word by word: as HTML, and as the text of a unified diff.

Characters that hide are marked first, as in all code that waits for approval, so that two texts that differ also look
different. Lines end with a line feed and with nothing else: the lines of a side, joined, are that side.

The comparison is bounded by the number of its steps. What is beyond them is shown as removed and added as a whole.
"""

from __future__ import annotations

import re
from collections import Counter
from difflib import Match, SequenceMatcher
from html import escape
from itertools import accumulate, groupby, pairwise, zip_longest
from typing import TYPE_CHECKING, Literal, NamedTuple

from codex_nb.rendering.sanitize import (
    LONGEST_HIGHLIGHTED,
    Tokens,
    code_html,
    escape_invisible,
    sanitize_html,
    token_lines,
    visible_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from codex_nb.rendering.sanitize import SafeHtml, VisibleText

CONTEXT_LINES = 3
MAX_STEPS = 3_000_000  # of all comparisons of one diff; about a second
MAX_ROWS = 2_000  # a longer diff has no line numbers, colours or marks
MAX_LIKENED = 2_000  # characters of a line that tell which other it is like
_FREQUENT = 20  # equal lines or words, of which each is compared with each
_SIMILAR = 0.4  # of a line, so that its changed words are marked

_WORD = re.compile(r"\w+|\W")

_Opcode = tuple[Literal["replace", "delete", "insert", "equal"], int, int, int, int]


class _Block(NamedTuple):
    """Items that are the same on both sides, or that one side has in place of the other's."""

    is_same: bool
    before: range
    after: range


def diff_text(before: str, after: str, *, context: int = CONTEXT_LINES) -> VisibleText:
    """Return the unified diff of two texts; nothing where they are equal."""
    old, new = _lines(before), _lines(after)
    return visible_text("\n".join(_unified(old, new, _hunks(old, new, _Work(), context))))


def diff_html(before: str, after: str, *, language: str = "python", context: int = CONTEXT_LINES) -> SafeHtml:
    """Return the diff of two texts, side by side where there is room, with colours and the changed words marked.

    ``language`` is a name that Pygments may know.
    """
    old, new = _lines(before), _lines(after)
    work = _Work()
    hunks = _hunks(old, new, work, context)
    if sum(len(block.before) + len(block.after) for hunk in hunks for block in hunk) > MAX_ROWS:
        return sanitize_html(code_html("\n".join(_unified(old, new, hunks)), "diff"))
    sides = _Side(old, language), _Side(new, language)
    body = '<div class="codex-gap">⋯</div>\n'.join(
        "".join(_block_html(block, sides, work) for block in hunk) for hunk in hunks
    )
    return sanitize_html(f'<div class="codex-diff">{body}</div>\n')


def _lines(text: str) -> list[str]:
    return escape_invisible(text).split("\n")


def _hunks(before: list[str], after: list[str], work: _Work, context: int) -> list[list[_Block]]:
    """Return the changes, each with the unchanged lines around it; near ones together."""
    matcher = _CountedMatcher(before, after, work)
    return [_blocks(opcodes) for opcodes in matcher.get_grouped_opcodes(context)]


def _blocks(opcodes: Iterable[tuple[str, int, int, int, int]]) -> list[_Block]:
    return [_Block(tag == "equal", range(i1, i2), range(j1, j2)) for tag, i1, i2, j1, j2 in opcodes]


class _Work:
    """The steps that the comparisons of one diff may still take."""

    def __init__(self) -> None:
        self._left = MAX_STEPS

    def affords(self, steps: int) -> bool:
        """Take the steps, if so many are left."""
        if steps > self._left:
            return False
        self._left -= steps
        return True

    def rows(self, before: Sequence[str], after: Sequence[str]) -> Iterator[tuple[int | None, int | None]]:
        """Put removed lines beside the added ones that are most like them: yield their numbers, from 0, in order."""
        old, new = [Counter(_words(line)) for line in before], [Counter(_words(line)) for line in after]
        steps = len(new) * sum(map(len, old)) + len(old) * sum(map(len, new)) + len(old) * len(new)
        anchors = _alignment(old, new) if self.affords(steps) else []
        for (i1, j1), (i2, j2) in pairwise([(-1, -1), *anchors, (len(before), len(after))]):
            yield from zip_longest(range(i1 + 1, i2), range(j1 + 1, j2))
            if i2 < len(before):
                yield i2, j2

    def marks(self, before: str, after: str) -> tuple[list[range], list[range]]:
        """Return which characters of two lines changed, in whole words; none where the lines have little in common."""
        words, others = _WORD.findall(before), _WORD.findall(after)
        blocks = _blocks(_CountedMatcher(words, others, self).get_opcodes())
        same = "".join(words[place] for block in blocks if block.is_same for place in block.before)
        if 2 * _inked(same) < _SIMILAR * (_inked(before) + _inked(after)):
            return [], []
        changed = [block for block in blocks if not block.is_same]
        return (
            _characters(words, (block.before for block in changed)),
            _characters(others, (block.after for block in changed)),
        )


class _CountedMatcher(SequenceMatcher[str]):
    """A matcher that finds no more matches once the steps are used up; frequent items match only beside others.

    The common beginning and end of the two sequences are no part of the search.
    """

    def __init__(self, before: Sequence[str], after: Sequence[str], work: _Work) -> None:
        self._ends = len(before), len(after)
        self._start = _common(before, after)
        self._end = _common(before[self._start :][::-1], after[self._start :][::-1])
        old, new = (side[self._start : len(side) - self._end] for side in (before, after))
        counts = Counter(new)
        frequent = {item for item, count in counts.items() if count > max(_FREQUENT, len(new) // 100)}
        super().__init__(frequent.__contains__, old, new, autojunk=False)
        self._work = work
        found = (1 if item in frequent else 1 + counts[item] for item in old)
        self._steps = [0, *accumulate(found)]

    def get_opcodes(self) -> list[_Opcode]:
        """Return how one sequence becomes the other, in order and without gaps."""
        start, (i, j) = self._start, self._ends
        middle = super().get_opcodes()
        opcodes: list[_Opcode] = [
            ("equal", 0, start, 0, start),
            *((tag, start + i1, start + i2, start + j1, start + j2) for tag, i1, i2, j1, j2 in middle),
            ("equal", i - self._end, i, j - self._end, j),
        ]
        return [(tag, i1, i2, j1, j2) for tag, i1, i2, j1, j2 in opcodes if i1 < i2 or j1 < j2]

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> Match:
        """Return the longest match in the ranges, or an empty one."""
        end = len(self._steps) - 1 if ahi is None else ahi
        if not self._work.affords(self._steps[end] - self._steps[alo]):
            return Match(alo, blo, 0)
        return super().find_longest_match(alo, ahi, blo, bhi)


def _common(before: Sequence[str], after: Sequence[str]) -> int:
    """Return with how many equal items both begin."""
    places = (place for place, (one, other) in enumerate(zip(before, after, strict=False)) if one != other)
    return next(places, min(len(before), len(after)))


def _words(line: str) -> list[str]:
    return [word for word in _WORD.findall(line[:MAX_LIKENED]) if not word.isspace()]


def _inked(text: str) -> int:
    return len(text) - text.count(" ")


def _characters(words: Sequence[str], changed: Iterable[range]) -> list[range]:
    ends = list(accumulate(map(len, words), initial=0))
    return [range(ends[block.start], ends[block.stop]) for block in changed if block]


def _alignment(before: Sequence[Counter[str]], after: Sequence[Counter[str]]) -> list[tuple[int, int]]:
    """Return the pairs of similar lines, in order, whose likenesses have the greatest sum."""
    likeness = [[_likeness(old, new) for new in after] for old in before]
    best = [[0.0] * (len(after) + 1) for _ in range(len(before) + 1)]
    for i in reversed(range(len(before))):
        for j in reversed(range(len(after))):
            best[i][j] = max(best[i + 1][j], best[i][j + 1], best[i + 1][j + 1] + likeness[i][j])
    pairs: list[tuple[int, int]] = []
    i = j = 0
    while i < len(before) and j < len(after):
        if best[i][j] == best[i + 1][j]:
            i += 1
        elif best[i][j] == best[i][j + 1]:
            j += 1
        else:
            pairs.append((i, j))
            i, j = i + 1, j + 1
    return pairs


def _likeness(before: Counter[str], after: Counter[str]) -> float:
    share = 2 * (before & after).total() / max(1, before.total() + after.total())
    return share if share >= _SIMILAR else 0.0


def _unified(before: Sequence[str], after: Sequence[str], hunks: Iterable[Sequence[_Block]]) -> Iterator[str]:
    for hunk in hunks:
        old = range(hunk[0].before.start, hunk[-1].before.stop)
        new = range(hunk[0].after.start, hunk[-1].after.stop)
        yield f"@@ -{_place(old)} +{_place(new)} @@"
        for block in hunk:
            if block.is_same:
                yield from (f" {before[line]}" for line in block.before)
            else:
                yield from (f"-{before[line]}" for line in block.before)
                yield from (f"+{after[line]}" for line in block.after)


def _place(lines: range) -> str:
    """Return a hunk's first line and number of lines as unified diffs do; no line at all comes after the one named."""
    first = lines.start + bool(lines)
    return str(first) if len(lines) == 1 else f"{first},{len(lines)}"


class _Side:
    """The lines of one side, and their tokens."""

    def __init__(self, lines: list[str], language: str) -> None:
        self.lines = lines
        code = "\n".join(lines)
        self._tokens = token_lines(code, language) if len(code) <= LONGEST_HIGHLIGHTED else None

    def html(self, kind: str, place: int, marks: Sequence[range] = ()) -> str:
        """Return a line: its number, its sign and its code."""
        tokens = [("", self.lines[place])] if self._tokens is None else self._tokens[place]
        sign = {"removed": "-", "added": "+"}.get(kind, " ")
        side = "" if kind in {"removed", "same"} else " codex-right"
        return (
            f'<span class="codex-line codex-{kind}{side}"><span class="codex-number">{place + 1}</span>'
            f'<span class="codex-sign">{sign}</span><code>{_code_html(tokens, marks)}\n</code></span>'
        )


def _block_html(block: _Block, sides: tuple[_Side, _Side], work: _Work) -> str:
    """Return the lines of the first side, then those of the other, with blanks that align the two."""
    before, after = sides
    if block.is_same:
        left = [before.html("same", place) for place in block.before]
        right = [after.html("repeated", place) for place in block.after]
        return f"<pre>{''.join([*left, *right])}</pre>\n"
    left, right = [], []
    removed = [before.lines[place] for place in block.before]
    added = [after.lines[place] for place in block.after]
    for i, j in work.rows(removed, added):
        old, new = ([], []) if i is None or j is None else work.marks(removed[i], added[j])
        left.append(_BLANK if i is None else before.html("removed", block.before[i], old))
        right.append(_BLANK_RIGHT if j is None else after.html("added", block.after[j], new))
    return f"<pre>{''.join([*left, *right])}</pre>\n"


_BLANK = '<span class="codex-blank"></span>'
_BLANK_RIGHT = '<span class="codex-blank codex-right"></span>'


def _code_html(tokens: Tokens, marks: Sequence[range]) -> str:
    is_changed = bytearray(sum(len(text) for _, text in tokens))
    for mark in marks:
        is_changed[mark.start : mark.stop] = b"\1" * len(mark)
    pieces: list[str] = []
    start = 0
    for name, text in tokens:
        inner = (
            _with_marks(text, is_changed[start : start + len(text)]) if marks else escape(text, quote=False)
        )
        pieces.append(f'<span class="{name}">{inner}</span>' if name else inner)
        start += len(text)
    return "".join(pieces)


def _with_marks(text: str, is_changed: bytearray) -> str:
    pieces: list[str] = []
    for changed, group in groupby(range(len(text)), key=is_changed.__getitem__):
        places = [*group]
        shown = escape(text[places[0] : places[-1] + 1], quote=False)
        pieces.append(f'<span class="codex-changed">{shown}</span>' if changed else shown)
    return "".join(pieces)
