from __future__ import annotations

import pytest

from codex_nb.rendering.highlight import code_html
from codex_nb.rendering.visible import escape_invisible, visible_text

WRITING = [
    "⚠️ done ✔️ 1️⃣ 👩‍💻 🏳️‍🌈",
    "می‌خواهم",
    "क्‍ष",
    "10\u00a0000 €",
    "日本\u3000語",
    "葛\U000e0100城市",
]


@pytest.mark.parametrize("text", WRITING)
def test_what_ordinary_writing_needs_is_left_to_read_and_written_out_to_approve(text: str) -> None:
    assert visible_text(text) == text
    assert text in code_html(text)
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
    ],
)
def test_what_hides_in_a_text_to_read_is_written_out(text: str, shown: str) -> None:
    assert visible_text(text) == shown
