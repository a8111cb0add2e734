"""Text in which nothing hides: an invisible character is written out by its code point, as ⟦U+202E⟧."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NewType

VisibleText = NewType("VisibleText", str)
"""Text in which nothing hides and which moves no cursor: views show no other."""

NO_TEXT = VisibleText("")

# Controls, formats and bidi controls, half surrogate pairs, private and unassigned code points, line and paragraph
# separators, and spaces that look like the one of the space bar.
_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
# What Unicode counts among letters, marks and symbols although it draws nothing.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\U00013441\U00013442\U00016fe4\U0001d159")
_OPENS_MARK = "\u27e6"
# Scripts with letters that pass for Latin ones; of the Greek letters only some do.
_LOOK_ALIKE_SCRIPTS = ("CYRILLIC ", "ARMENIAN ", "CHEROKEE ", "COPTIC ", "LISU ")
_LOOK_ALIKE_GREEK = frozenset("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧιονϲϳ")  # noqa: RUF001 - they are meant to look like that
_SUSPECT = re.compile(r"[^\n\t -~]")
# The same for text of many letters, of which but a few draw nothing.
_SUSPECT_IN_TEXT = re.compile(r"[^\w\n\t -~]|[\u115f\u1160\u3164\uffa0\U00013441\U00013442\U00016fe4]")
_WORD_OR_SUSPECT = re.compile(r"\w+|[^\n\t -~]")
# Controls could move a terminal's cursor or change its title or clipboard; the others reorder text, or hide.
_CONTROLS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
)
_ZERO_WIDTH_JOINER = "\u200d"
_JOINERS = frozenset({"\u200c", _ZERO_WIDTH_JOINER})
_EMOJI_STYLE = "\ufe0f"
_KEYCAPS = frozenset("0123456789#*")


def escape_invisible(code: str) -> VisibleText:
    """Return code as an approval shows it: two codes that differ look different.

    Every invisible or space-like character is marked, except line feed, tab and space. So are the bracket that begins
    a mark, and a letter that looks like a Latin one inside a Latin word.
    """
    if _SUSPECT.search(code) is None:
        return VisibleText(code)
    return VisibleText(_WORD_OR_SUSPECT.sub(lambda match: _escape_word(match.group()), code))


def visible_text(text: str) -> VisibleText:
    """Return text to read, not to approve, with the characters marked that hide in it or reorder it.

    Ordinary writing stays as it is: spaces of every width, and joiners and variation selectors after a character that
    they apply to, which emoji and many scripts need.
    """
    text = text.replace("\r\n", "\n")

    def mark(match: re.Match[str]) -> str:
        character, before = match.group(), text[max(0, match.start() - 1) : match.start()]
        hides = is_invisible(character) and not _belongs_to_writing(character, before)
        return _mark(character) if hides else character

    return VisibleText(_SUSPECT_IN_TEXT.sub(mark, text))


def visible_line(text: str) -> VisibleText:
    """Return a name or a message from elsewhere as one line."""
    return visible_text(" ".join(text.split()))


def strip_controls(text: str) -> VisibleText:
    """Return text without the characters that control a terminal or reorder the text around them."""
    return VisibleText(_CONTROLS.sub("", text))


def text_node(text: str) -> VisibleText:
    """Return text that a front end appends as a text node to the block that it continues."""
    return VisibleText(text)


@lru_cache(maxsize=4096)
def is_invisible(character: str) -> bool:
    """Whether a character draws nothing, looks like a space, or changes how others are drawn."""
    return (
        unicodedata.category(character) in _UNSEEN_CATEGORIES
        or character in _BLANK
        or _is_variation_selector(character)
    )


def _mark(character: str) -> str:
    return f"{_OPENS_MARK}U+{ord(character):04X}\u27e7"


def _escape_word(word: str) -> str:
    looks_latin = any(map(_is_latin, word))

    def hides(character: str) -> bool:
        return is_invisible(character) or (looks_latin and _passes_for_latin(character))

    return "".join(_mark(one) if one == _OPENS_MARK or hides(one) else one for one in word)


def _is_latin(character: str) -> bool:
    return unicodedata.name(character, "").startswith("LATIN ")


def _passes_for_latin(character: str) -> bool:
    name = unicodedata.name(character, "")
    return name.startswith(_LOOK_ALIKE_SCRIPTS) or character in _LOOK_ALIKE_GREEK


def _is_variation_selector(character: str) -> bool:
    return "VARIATION SELECTOR" in unicodedata.name(character, "")


def _belongs_to_writing(character: str, before: str) -> bool:
    if unicodedata.category(character) == "Zs":
        return True
    if character not in _JOINERS and not _is_variation_selector(character):
        return False
    if before == _EMOJI_STYLE:
        return character == _ZERO_WIDTH_JOINER
    if before.isascii():
        return character == _EMOJI_STYLE and before in _KEYCAPS
    return not is_invisible(before)
