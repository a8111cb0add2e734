"""What makes text from elsewhere safe to show: nothing hides in it, and as HTML it cannot act.

An invisible character is written out by its code point, as ⟦U+202E⟧.

HTML passes an allow-list of tags, attributes and classes, piece by piece. No ids, images, forms, scripts or styles,
except the alignment of table cells; links lead to the web or to a mail address. Code is highlighted with Pygments
classes, whose colours JupyterLab, nbconvert and nbviewer bring.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Any, NewType

import nh3
from pygments.lexers import get_all_lexers, get_lexer_by_name
from pygments.token import STANDARD_TYPES, Name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pygments.lexer import Lexer
    from pygments.token import _TokenType


VisibleText = NewType("VisibleText", str)
"""Text in which nothing hides and which moves no cursor: views show no other."""

NO_TEXT = VisibleText("")
CONTEXT = 5
"""How many characters before a piece of text decide how it is shown."""

# Controls, formats and bidi controls, half surrogate pairs, private and unassigned code points, line and paragraph
# separators, and spaces that look like the one of the space bar.
_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
# What Unicode counts among letters, marks and symbols although it draws nothing.
_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u2d7f\u3164\uffa0\ufffc\U0001107f\U00013441\U00013442\U00016fe4\U0001d159"
)
_SUSPECT = re.compile(r"[^\n\t -~]")
# The same for text of many letters, of which but a few draw nothing.
_SUSPECT_IN_TEXT = re.compile(r"[^\w\n\t -~]|[\u115f\u1160\u3164\uffa0\U00013441\U00013442\U00016fe4]")
_WORD_OR_SUSPECT = re.compile(r"\w+|[^\n\t -~]")
_OPENS_MARK = "\u27e6"
_ZERO_WIDTH_JOINER = "\u200d"
_JOINERS = frozenset({"\u200c", _ZERO_WIDTH_JOINER})
_EMOJI_STYLE = "\ufe0f"
_KEYCAPS = frozenset("0123456789#*")
_BEFORE_IN_PROSE = re.compile(r"[^\W\d_a-zA-Z] ")
_AFTER_IN_PROSE = re.compile(r" [^\W\d_a-zA-Z]")
_MOST_COMBINING = CONTEXT - 1  # on one letter, as in UTS 39; more of them draw over the lines around
# Scripts whose letters stand in one word with Latin ones, and which of them are then taken for Latin.
_WITH_LATIN = ("LATIN ", "GREEK ", "CJK ", "HIRAGANA ", "KATAKANA ", "BOPOMOFO ", "HANGUL ")
_LIKE_LATIN_BESIDE_IT = frozenset("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧιονϲϳ")  # noqa: RUF001 - they are meant to look like that
# Letters of which whole words can be made that look Latin.
_LIKE_LATIN = frozenset(
    "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧοϲϳАВЕЅІЈКМНОРСТУХҮԌаеѕіјорсухһԁԛԝүӏՍՕոսօցհյ"
    "ᎪᏴᏟᎠᎬᏀᎻᎫᏦᏞᎷᏢᎡᏒᏚᎢᏙᎳᏔᎩᏃᎥꭵꮃꮓꮩꮪꮯꓐꓑꓒꓓꓔꓖꓗꓙꓚꓜꓝꓟꓠꓡꓢꓣꓦꓧꓪꓫꓬꓮꓰꓲꓳꓴⲞⲟⲢⲣⲤⲥⲦⲨⲬⲔⲘⲚⲒⲎⲈ𐐄𐐕𐐬𐐽"
)
# Scripts whose letters no joiner or variation selector applies to, and the marks that stand on them.
_UNJOINED = ("LATIN ", "GREEK ", "CYRILLIC ", "ARMENIAN ", "COMBINING ")
_IDEOGRAPHIC_SELECTORS = "\U000e0100"


def escape_invisible(code: str) -> VisibleText:
    """Return code as an approval shows it: two codes that differ look different.

    Every invisible or space-like character is marked, except line feed, tab and space. So are the bracket that begins
    a mark, what draws over other characters, and letters of other scripts in a Latin word or in place of one.
    """
    if _SUSPECT.search(code) is None:
        return VisibleText(code)
    return VisibleText(_WORD_OR_SUSPECT.sub(_escape_word, code))


def visible_text(text: str, before: str = "") -> VisibleText:
    """Return text to read, not to approve, with the characters marked that hide in it or reorder it.

    Ordinary writing stays as it is: spaces of every width, and joiners and variation selectors after a character that
    they apply to, which emoji and many scripts need. ``before`` is the end of the text that this one continues.
    """
    text = text.replace("\r\n", "\n")
    if _SUSPECT.search(text) is None:
        return VisibleText(text)
    before = before[-CONTEXT:]
    whole = before + text

    def mark(match: re.Match[str]) -> str:
        character, place = match.group(), match.start() + len(before)
        if is_invisible(character):
            hides = not _belongs_to_writing(character, whole[max(0, place - 1) : place])
        else:
            hides = _is_stacked(whole, place)
        return _mark(character) if hides else character

    return VisibleText(_SUSPECT_IN_TEXT.sub(mark, text))


def visible_line(text: str) -> VisibleText:
    """Return a name or a message from elsewhere as one line."""
    return visible_text(" ".join(text.split()))


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


def _escape_word(match: re.Match[str]) -> str:
    word = match.group()
    if word.isascii() and word.isprintable():
        return word
    deceptive = _look_alikes(word, match)
    return "".join(
        _mark(one) if one in deceptive or is_invisible(one) or _is_drawn_as_another(one) else one
        for one in word
    )


def _look_alikes(word: str, match: re.Match[str]) -> set[str]:
    """Return the characters of a word, or of a mark alone, that pass for others or draw over them."""
    if any(map(_is_latin, word)):
        return {one for one in word if one in _LIKE_LATIN_BESIDE_IT or _is_foreign_to_latin(one)}
    if unicodedata.category(word[0]).startswith("M"):
        return {word} if _draws_over(match.string, match.start()) else set()
    looks_latin = all(one in _LIKE_LATIN or one.isascii() for one in word)
    return set(word) & (_LIKE_LATIN if looks_latin and not _is_in_prose(match) else {_OPENS_MARK})


@lru_cache(maxsize=4096)
def _is_latin(character: str) -> bool:
    return unicodedata.name(character, "").startswith("LATIN ")


@lru_cache(maxsize=4096)
def _is_foreign_to_latin(character: str) -> bool:
    plain = unicodedata.normalize("NFKC", character)[:1]
    if plain.isascii() or unicodedata.category(plain) not in {"Lu", "Ll", "Lt", "Lo", "Nd"}:
        return False
    return not unicodedata.name(plain, "").startswith(_WITH_LATIN)


@lru_cache(maxsize=4096)
def _is_drawn_as_another(character: str) -> bool:
    """Whether a character is another one by Unicode's own rules: the sign for kelvin is a K."""
    return len(other := unicodedata.normalize("NFC", character)) == 1 and other != character


def _is_in_prose(match: re.Match[str]) -> bool:
    """Whether a word of another script stands beside one by a single space, which no two names of code do."""
    code, start, end = match.string, match.start(), match.end()
    before, after = code[max(0, start - 2) : start], code[end : end + 2]
    return bool(_BEFORE_IN_PROSE.fullmatch(before) or _AFTER_IN_PROSE.fullmatch(after))


def _draws_over(code: str, place: int) -> bool:
    """Whether a combining character strikes its base out, belongs to another script, or is one too many."""
    name, base = unicodedata.name(code[place], ""), code[max(0, place - 1) : place]
    is_misplaced = base.isascii() and not name.startswith("COMBINING ")
    return "OVERLAY" in name or is_misplaced or _is_stacked(code, place)


def _is_stacked(text: str, place: int) -> bool:
    run = text[max(0, place - _MOST_COMBINING) : place + 1]
    return len(run) > _MOST_COMBINING and all(
        unicodedata.category(one) in {"Mn", "Me"} or one in _JOINERS for one in reversed(run)
    )


def _is_variation_selector(character: str) -> bool:
    return unicodedata.category(character) == "Mn" and "VARIATION SELECTOR" in unicodedata.name(character)


def _belongs_to_writing(character: str, before: str) -> bool:
    if unicodedata.category(character) == "Zs":
        return True
    if character not in _JOINERS and not _is_variation_selector(character):
        return False
    if before == _EMOJI_STYLE:
        return character == _ZERO_WIDTH_JOINER
    if before.isascii():
        return character == _EMOJI_STYLE and before in _KEYCAPS
    name = unicodedata.name(before, "")
    if character >= _IDEOGRAPHIC_SELECTORS:
        return name.startswith("CJK ")
    if unicodedata.name(character).startswith("MONGOLIAN "):
        return name.startswith("MONGOLIAN ") and not is_invisible(before)
    return not is_invisible(before) and not name.startswith(_UNJOINED)


_MAX_SERVER_TEXT = 300
_MAX_SERVER_TEXT_READ = 8000
_SECRETS = re.compile(
    r"(?i)\b(?:sk-|at-|rt_|ac_|eyJ|deviceauth_)[A-Za-z0-9._*-]{6,}"
    r"|\b(?:bearer|(?:api[-_ ]?key|token)\s*[=:])\s*[^\s\"',;]{6,}"
)
_MARKUP = re.compile(r"(?is)<(script|style)\b.*?</\1>|<[^>]*>")


def sanitize_server_text(text: str) -> str:
    """Make a server's text one short line: no markup, nothing that hides, nothing like a secret."""
    plain = _MARKUP.sub(" ", text[:_MAX_SERVER_TEXT_READ])
    plain = "".join(char if char.isprintable() else " " for char in plain)
    plain = _SECRETS.sub("[hidden]", " ".join(plain.split()))
    return visible_text(plain if len(plain) <= _MAX_SERVER_TEXT else f"{plain[: _MAX_SERVER_TEXT - 1]}…")


Tokens = list[tuple[str, str]]
"""A line of code: the Pygments class and the text of each token."""

_KEYWORDS = {"_", "and", "case", "class", "def", "from", "import", "in", "is", "lazy", "match", "not", "or"}
_NAMES = {"Ellipsis", "NotImplemented", "cls", "self"}


def _words_with_a_meaning(lexer: type[Any]) -> list[str]:
    """Return every word that Pygments' own patterns treat in some special way."""
    from pygments.lexer import words

    rules = [rule for rules in lexer.tokens.values() for rule in rules]
    listed = {
        word
        for rule in rules
        if isinstance(rule, tuple) and isinstance(rule[0], words)
        for phrase in rule[0].words
        for word in phrase.split()
    }
    return sorted(listed | _KEYWORDS | _NAMES)


@cache
def python_lexer() -> Lexer:
    """Return a lexer with the classes of ``PythonLexer``; tokens without a colour of their own are all names."""
    from pygments.lexer import inherit
    from pygments.lexers.python import PythonLexer  # with all its patterns

    # A name before a quote is a prefix of a string; space at the beginning of a line may belong to a docstring.
    plain = (
        rf"(?:(?!__|(?:{'|'.join(map(re.escape, _words_with_a_meaning(PythonLexer)))})\b)"
        r"[A-Za-z_][A-Za-z0-9_]*+(?![\"']|[^\x00-\x7f])"
        r"|[-+*/%=<>&^|~,:;(){}\[\]]"
        r"|\.(?!\d)"
        r"|(?<=[^\s\\])[ \t]+)+"
    )
    return type("PlainFirstPythonLexer", (PythonLexer,), {"tokens": {"root": [(plain, Name), inherit]}})()


LONGEST_HIGHLIGHTED = 20_000  # characters; some lexers take quadratic time on text made to hurt them
_LANGUAGE = re.compile(r"[A-Za-z0-9_+#.-]{1,30}")
# Names, punctuation and space carry the text's own colour: leaving them bare halves the size.
_BARE = frozenset({"", "n", "p", "w", "x", "g", "o", "esc"})
CLASSES = frozenset(STANDARD_TYPES.values()) - _BARE


def language_of(info: str) -> str:
    """Return the language that a fence's info string names, or nothing."""
    word = info.split(maxsplit=1)[0] if info.strip() else ""
    return word if _LANGUAGE.fullmatch(word) else ""


def code_html(code: str, language: str = "") -> str:
    """Return ``code`` as one ``div.highlight``; ``language`` is a name that Pygments may know."""
    code = visible_text(code)
    language = language_of(language)
    label = f' class="language-{escape(language.lower())}"' if language else ""
    spans = "".join(_marked(_tokens(code, language)))
    return f'<div class="highlight"><pre><code{label}>{spans}</code></pre></div>\n'


def token_lines(code: str, language: str) -> list[Tokens]:
    """Return the tokens of each line; ``language`` is a name that Pygments may know."""
    lines: list[Tokens] = [[]]
    for name, text in _tokens(code, language):
        for place, piece in enumerate(text.split("\n")):
            if place:
                lines.append([])
            if piece:
                lines[-1].append((name, piece))
    return lines


def _tokens(code: str, language: str) -> Iterator[tuple[str, str]]:
    language = language.lower()
    if language not in _known_languages() or len(code) > LONGEST_HIGHLIGHTED:
        yield "", code
        return
    tokens = _lexer(language).get_tokens_unprocessed(f"{code}\n")  # some lexers take only whole lines
    for start, kind, text in tokens:
        if piece := text[: len(code) - start]:
            yield _class(kind), piece


def _marked(tokens: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, group in groupby(tokens, key=lambda token: token[0]):
        text = escape("".join(text for _, text in group), quote=False)
        yield f'<span class="{name}">{text}</span>' if name and text.strip() else text


def _class(kind: _TokenType) -> str:
    while kind not in STANDARD_TYPES and kind.parent is not None:
        kind = kind.parent
    name = STANDARD_TYPES.get(kind, "")
    return "" if name in _BARE else name


@cache
def _lexer(language: str) -> Lexer:
    lexer = get_lexer_by_name(language)
    return python_lexer() if lexer.name == "Python" else lexer


@cache
def _known_languages() -> frozenset[str]:
    """Return the languages that Pygments brings itself: for any other name it would import every package's plugins."""
    return frozenset(alias for _, aliases, _, _ in get_all_lexers(plugins=False) for alias in aliases)


SafeHtml = NewType("SafeHtml", str)
"""HTML that was sanitized: views show no other."""

NO_HTML = SafeHtml("")

# fmt: off
TAGS = frozenset({
    "a", "blockquote", "br", "code", "del", "details", "div", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li",
    "ol", "p", "pre", "s", "small", "span", "strong", "summary", "table", "tbody", "td", "th", "thead", "tr", "ul",
})
# fmt: on
ATTRIBUTES = {
    "a": {"href", "title"},
    "code": {"class"},
    "details": {"class", "open"},
    "div": {"class"},
    "ol": {"class", "start"},
    "p": {"class"},
    "span": {"class"},
    "td": {"style"},
    "th": {"style"},
    "ul": {"class"},
}
ALIGNMENTS = {"text-align:left", "text-align:center", "text-align:right"}
SCHEMES = frozenset({"http", "https", "mailto"})
LINK_REL = "noopener noreferrer nofollow"
CONTINUED_LIST = "codex-continued"  # class of a list that goes on with the items of the list before it

_OWN_CLASS = re.compile(r"codex-[a-z-]+|language-[a-z0-9_+#.-]{1,30}|highlight|tex2jax_ignore")
_TEX = re.compile(r"[$\\]")
# In code and text, which are escaped, this cannot occur.
_CONTINUATION = re.compile(rf'</([ou]l)>\n<\1(?: start="\d+")? class="{CONTINUED_LIST}"(?: start="\d+")?>\n')


def sanitize_html(html: str) -> SafeHtml:
    """Return the HTML without anything that is not on the allow-list, and with no character that hides."""
    # before it, the cleaner drops some characters and refuses others; after it, references are characters
    return SafeHtml(visible_text(_cleaner().clean(visible_text(html))))


def join_html(pieces: Iterable[SafeHtml]) -> SafeHtml:
    """Return finished pieces as one; a continued list joins the list before it."""
    return SafeHtml(_CONTINUATION.sub("", "".join(pieces)))


def escape_html(text: str) -> SafeHtml:
    """Return text that shows as itself in HTML, and that no typesetter takes for a formula."""
    shown = escape(visible_text(text), quote=False)
    return SafeHtml(_TEX.sub(r'<span class="tex2jax_ignore">\g<0></span>', shown))


@cache
def _cleaner() -> nh3.Cleaner:
    return nh3.Cleaner(
        tags=set(TAGS),
        clean_content_tags={"script", "style"},
        attributes=ATTRIBUTES,
        attribute_filter=_attribute,
        url_schemes=set(SCHEMES),
        link_rel=LINK_REL,
        strip_comments=True,
    )


@lru_cache(maxsize=256)  # few values, each of them very often
def _classes(value: str) -> str | None:
    kept = [word for word in value.split() if _OWN_CLASS.fullmatch(word) or word in CLASSES]
    return " ".join(kept) or None


def _attribute(_tag: str, name: str, value: str) -> str | None:
    if name == "class":
        return _classes(value)
    if name == "style":
        return value if value in ALIGNMENTS else None
    if name == "start":
        return value if value.isdecimal() else None
    return value
