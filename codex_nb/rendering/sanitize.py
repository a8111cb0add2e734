"""HTML that cannot act: every piece passes an allow-list of tags, attributes and classes.

No ids, images, forms, scripts or styles, except the alignment of table cells; links lead to the web or to a mail
address.

Code is highlighted with Pygments classes, whose colours JupyterLab, nbconvert and nbviewer bring.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Any, NewType

import nh3
from pygments.lexers import get_all_lexers, get_lexer_by_name
from pygments.token import STANDARD_TYPES, Name

from codex_nb.rendering.visible import visible_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pygments.lexer import Lexer
    from pygments.token import _TokenType


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
    return f'<div class="highlight"><pre><code{label}>{_spans(code, language)}</code></pre></div>\n'


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


def _spans(code: str, language: str) -> str:
    return "".join(_marked(_tokens(code, language)))


def _tokens(code: str, language: str) -> Iterator[tuple[str, str]]:
    lexer = _lexer(language.lower()) if language and code else None
    if lexer is None or len(code) > LONGEST_HIGHLIGHTED:
        yield "", code
        return
    for start, kind, text in lexer.get_tokens_unprocessed(f"{code}\n"):  # some lexers take only whole lines
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


def _lexer(language: str) -> Lexer | None:
    return _known_lexer(language) if language in _known_languages() else None


@cache
def _known_lexer(language: str) -> Lexer:
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
    return SafeHtml(re.sub(r"[$\\]", r'<span class="tex2jax_ignore">\g<0></span>', shown))


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
