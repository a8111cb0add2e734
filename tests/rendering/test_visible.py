"""What can be seen of a text: every code point of Unicode, on everything that shows text from elsewhere."""

from __future__ import annotations

import html
import io
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from codex_nb.rendering.answer_output import (
    AnswerOutput,
    GrowingCode,
    MarkdownBlocks,
    NoticeOutput,
    ToolOutput,
    to_mimebundle,
)
from codex_nb.rendering.markdown import safe_html
from codex_nb.rendering.sanitize import (
    code_html,
    escape_html,
    escape_invisible,
    sanitize_html,
    visible_line,
    visible_text,
)
from codex_nb.session.events import Answer, TextDelta, TextDone, TurnFinished
from codex_nb.ui.text_view import PlainTextView, RichView

# Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt), which Python's tables do not hold.
DEFAULT_IGNORABLE = [
    (0xAD, 0xAD),
    (0x34F, 0x34F),
    (0x61C, 0x61C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
]
BLANK = frozenset("\u2800\u2d7f\ufffc\U0001107f\U0001d159\U00013441\U00013442\U00016fe4")
HIDING = frozenset({"Cc", "Cf", "Zl", "Zp", "Co", "Cn", "Cs"})
LINES = "\n\t\r"
MARK = re.compile("⟦U\\+([0-9A-F]{4,6})⟧")


def every() -> Iterator[str]:
    """Give every code point of Unicode that is more than the end of a line or a cell."""
    return (chr(code) for code in range(sys.maxunicode + 1) if chr(code) not in LINES)


@cache
def hidden() -> frozenset[str]:
    """Return by Unicode's own properties the characters that nobody sees, or that move others."""
    ignorable = {chr(code) for first, last in DEFAULT_IGNORABLE for code in range(first, last + 1)}
    of_category = {one for one in every() if unicodedata.category(one) in HIDING}
    return frozenset(of_category | ignorable | BLANK)


@cache
def distinct() -> list[str]:
    """Return those of them that differ: the first and the last stand for each run of private or unassigned ones."""
    return [
        one
        for one in sorted(hidden())
        if unicodedata.category(one) not in {"Co", "Cn", "Cs"}
        or not {chr(ord(one) - 1), chr(min(ord(one) + 1, sys.maxunicode))} <= hidden()
    ]


def test_every_code_point_of_unicode_is_told_apart_in_a_text() -> None:
    text = "".join(f"a{one}" for one in every())
    assert len(text) == 2 * (0x110000 - len(LINES))
    expected = "".join(f"a⟦U+{ord(one):04X}⟧" if one in hidden() else f"a{one}" for one in every())
    assert visible_text(text) == expected


def test_every_code_point_of_unicode_is_told_apart_in_an_approval() -> None:
    text = "\n".join(every())
    shown = escape_invisible(text)
    assert hidden() & set(shown) == set()
    assert {one for one in set(shown) if unicodedata.category(one) == "Zs"} == {" "}
    assert MARK.sub(lambda mark: chr(int(mark[1], 16)), shown) == text


def text_view(text: str) -> str:
    stream = io.StringIO()
    view = PlainTextView(stream, on_action=lambda _: None)
    for piece in (text[:1000], text[1000:]):
        view.apply(TextDelta("1", piece))
    view.apply(TextDone("1", text))
    view.apply(TurnFinished(Answer("", status="failed"), text))
    return stream.getvalue()


def terminal(text: str) -> str:
    stream = io.StringIO()
    view = RichView(Console(file=stream, width=10_000, color_system=None), on_action=lambda _: None)
    view.apply(TextDelta("1", text))
    view.flush()
    view.apply(TextDone("1", text))
    view.apply(TurnFinished(Answer("", status="failed"), text))
    return stream.getvalue()


def bundle(text: str) -> str:
    parts = (NoticeOutput(text), ToolOutput(text, text, "python", text), ToolOutput("", text, "", text))
    return "".join(map(str, to_mimebundle(AnswerOutput(parts, (text,))).values()))


def growing_text(text: str) -> str:
    blocks = MarkdownBlocks()
    updates = [blocks.feed(piece) for piece in (text[:1000], text[1000:1500], text[1500:])]
    return "".join(
        f"{update.closed}{update.open or ''}{update.tail}" for update in (*updates, blocks.finish())
    )


def growing_code(text: str) -> str:
    code = GrowingCode("python")
    updates = [code.feed(piece) for piece in (text[:1000], text[1000:1500], text[1500:])]
    return "".join(f"{update.open or ''}{update.tail}" for update in updates)


SURFACES: Mapping[str, Callable[[str], str]] = {
    "an answer": safe_html,
    "an answer in emphasis": lambda text: safe_html(f"*{text}* **b {text}**"),
    "a link": lambda text: safe_html(f"[{text}](https://a.example '{text}')"),
    "an image": lambda text: safe_html(f"![{text}](https://a.example)"),
    "a heading, a list and a table": lambda text: safe_html(f"# {text}\n\n- {text}\n\n|h|\n|-|\n|{text}|\n"),
    "code in a line": lambda text: safe_html(f"`{text}`"),
    "a fence": lambda text: safe_html(f"```python\n# {text}\n```"),
    "a formula": lambda text: safe_html(f"${text}$ $$\n{text}\n$$"),
    "a character reference": lambda text: safe_html("".join(f"&#{ord(one)};" for one in text)),
    "an answer as it grows": growing_text,
    "code as it grows": growing_code,
    "the saved output": bundle,
    "HTML of our own": lambda text: (
        sanitize_html(f"<p title='{text}'>{html.escape(text)}</p>") + escape_html(text)
    ),
    "a reference in HTML of our own": lambda text: sanitize_html("".join(f"&#{ord(one)};" for one in text)),
    "the text view": text_view,
    "the terminal": terminal,
    "a line": visible_line,
}


@pytest.mark.parametrize("surface", SURFACES)
def test_no_code_point_that_hides_reaches_a_surface(surface: str) -> None:
    characters = distinct()
    for start in range(0, len(characters), 500):
        shown = SURFACES[surface]("".join(f"a{one}" for one in characters[start : start + 500]))
        assert hidden() & set(shown) == set()
        shown.encode()  # what cannot be sent would end the cell


ANY = st.characters(categories=["L", "M", "N", "P", "S", "Z", "C"])
SELECTORS = st.sampled_from([*map(chr, range(0xFE00, 0xFE10)), "\U000e0100", "\u034f", "\u2800", "\u180b"])
OFTEN_HIDING = st.one_of(st.characters(categories=["Cc", "Cf", "M", "Zl", "Zp", "Cs"]), SELECTORS, ANY)


@pytest.mark.parametrize("surface", SURFACES)
@given(text=st.text(OFTEN_HIDING, max_size=30))
def test_no_text_hides_or_moves_anything_on_a_surface(surface: str, text: str) -> None:
    shown = SURFACES[surface](text)
    # what ordinary writing needs is left where it belongs: after a character that it applies to
    assert not re.search(r"(?:^|[\x00-\x7f])[\u200c\u200d]", shown)
    left = hidden() & set(shown)
    assert all(one in "\u200c\u200d" or "VARIATION SELECTOR" in unicodedata.name(one) for one in left)


@given(text=st.text(OFTEN_HIDING, max_size=40), at=st.integers(0, 40))
def test_a_text_is_shown_alike_however_it_arrives(text: str, at: int) -> None:
    text = text.replace("\r", "")
    first, rest = text[:at], text[at:]
    assert visible_text(first) + visible_text(rest, first) == visible_text(text)
    assert visible_text(visible_text(text)) == visible_text(text)


@given(st.text(OFTEN_HIDING, max_size=20), st.text(OFTEN_HIDING, max_size=20))
def test_two_codes_that_differ_look_different_in_an_approval(one: str, other: str) -> None:
    assert (escape_invisible(one) == escape_invisible(other)) is (one == other)


WRITING = [
    "⚠️ done ✔️ 1️⃣ 👩‍💻 🏳️‍🌈",
    "می‌خواهم",
    "क्‍ष",
    "ක්‍රමය ക്‍ ร้าน่",
    "ᠮᠣᠩᠭᠣᠯ\u180b",
    "10\u00a0000 €",
    "日本\u3000語",
    "葛\U000e0100城市",
]


@pytest.mark.parametrize("text", WRITING)
def test_what_ordinary_writing_needs_is_left_to_read_and_written_out_to_approve(text: str) -> None:
    assert visible_text(text) == text
    assert text in code_html(text)
    assert text in html.unescape(safe_html(text))
    assert escape_invisible(text) != text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u200d\u200c\u200db", "a⟦U+200D⟧⟦U+200C⟧⟦U+200D⟧b"),
        ("a\ufe0fb", "a⟦U+FE0F⟧b"),
        ("✔\ufe0f\ufe0f\ufe0e", "✔\ufe0f⟦U+FE0F⟧⟦U+FE0E⟧"),
        ("s\U000e0100\U000e0101", "s⟦U+E0100⟧⟦U+E0101⟧"),
        ("\U000e0041\u2800\u3164\u115f", "⟦U+E0041⟧⟦U+2800⟧⟦U+3164⟧⟦U+115F⟧"),
        ("\u202eabc\u2066", "⟦U+202E⟧abc⟦U+2066⟧"),
        ("\ud800\x1b[2J", "⟦U+D800⟧⟦U+001B⟧[2J"),
        ("one\r\ntwo\rthree", "one\ntwo⟦U+000D⟧three"),
        ("a" + 6 * "\u0301", "a" + 4 * "\u0301" + "⟦U+0301⟧⟦U+0301⟧"),
        ("ก" + 3 * "\u0e49\u200c", "ก" + 2 * "\u0e49\u200c" + "⟦U+0E49⟧\u200c"),
        ("é\U000e0100 é\ufe01 я\u200d e\u0301\u200c", "é⟦U+E0100⟧ é⟦U+FE01⟧ я⟦U+200D⟧ e\u0301⟦U+200C⟧"),
        ("✔\U000e0101 葛\u180b", "✔⟦U+E0101⟧ 葛⟦U+180B⟧"),
    ],
)
def test_what_hides_in_a_text_to_read_is_written_out(text: str, shown: str) -> None:
    assert visible_text(text) == shown


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("p\u0430ssword = 1", "p⟦U+0430⟧ssword = 1"),  # Cyrillic in a Latin word
        ("\u0435\u0445\u0435\u0441('x')", "⟦U+0435⟧⟦U+0445⟧⟦U+0435⟧⟦U+0441⟧('x')"),  # a whole word of it
        ("\u043e_1 = 2", "⟦U+043E⟧_1 = 2"),
        ("x\u0578 = 1", "x⟦U+0578⟧ = 1"),  # Armenian
        ("x\u0664 = 1", "x⟦U+0664⟧ = 1"),  # Arabic digits
        ("l\u05d5g", "l⟦U+05D5⟧g"),  # Hebrew
        ("\u13a0bc", "⟦U+13A0⟧bc"),  # Cherokee
        ("\u13aa\u13da = 1", "⟦U+13AA⟧⟦U+13DA⟧ = 1"),  # a whole word of it
        ("\ua4ee\ua4f2 = 1", "⟦U+A4EE⟧⟦U+A4F2⟧ = 1"),  # Lisu
        (
            "'\u212a' + 'm\u037e' + '\u212b\u1fef'",
            "'⟦U+212A⟧' + 'm⟦U+037E⟧' + '⟦U+212B⟧⟦U+1FEF⟧'",
        ),  # drawn as Km;Å`
        ("e\u0336val()", "e⟦U+0336⟧val()"),  # struck out
        ("run\u0e34()", "run⟦U+0E34⟧()"),  # a vowel of Thai above a Latin letter
        ("s = 'a" + 9 * "\u0300" + "'", "s = 'a" + 4 * "\u0300" + 5 * "⟦U+0300⟧" + "'"),
    ],
)
def test_a_letter_that_passes_for_another_is_written_out_to_approve(code: str, shown: str) -> None:
    assert escape_invisible(code) == shown


@pytest.mark.parametrize(
    "code",
    [
        "# работа с данными и о них",  # noqa: RUF001 - ordinary Russian
        "s = 'привет 日本語 Δx'",
        "α = 0.1; μm = 3; Δt_max = x² + ℝ",  # noqa: RUF001 - and mathematics
        "データx = 名前2",
        "naïve = 'cafe\u0301 ที่ हिन्दी שלום'",
    ],
)
def test_ordinary_names_and_texts_of_other_scripts_stay_as_they_are_in_an_approval(code: str) -> None:
    assert escape_invisible(code) == code
