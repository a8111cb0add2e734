"""HTML that cannot act: every piece passes an allow-list of tags, attributes and classes.

No ids, images, forms, scripts or styles, except the alignment of table cells; links lead to the web or to a mail
address.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from html import escape
from typing import TYPE_CHECKING, NewType

import nh3

from codex_nb.rendering.highlight import CLASSES
from codex_nb.rendering.visible import visible_text

if TYPE_CHECKING:
    from collections.abc import Iterable

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
