"""The last gate of every piece of HTML: an allow-list of tags, attributes and classes.

No id, no image, no form, no script, no style but the alignment of table cells; links lead to the web or to a mail
address.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from html import escape

import nh3

from codex_nb.rendering import highlight

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

_OUR_CLASS = re.compile(r"codex-[a-z-]+|language-[a-z0-9_+#.-]{1,30}|highlight|tex2jax_ignore")


def clean(html: str) -> str:
    """Return the HTML with everything that is not on the list taken out."""
    return _cleaner().clean(html)


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


def escape_html(text: str) -> str:
    """Return text that shows as itself in HTML and that no typesetter takes for a formula."""
    return re.sub(r"[$\\]", r'<span class="tex2jax_ignore">\g<0></span>', escape(text, quote=False))


@lru_cache(maxsize=256)  # there are few, and each comes a thousand times
def _classes(value: str) -> str | None:
    kept = [word for word in value.split() if _OUR_CLASS.fullmatch(word) or word in highlight.CLASSES]
    return " ".join(kept) or None


def _attribute(_tag: str, name: str, value: str) -> str | None:
    if name == "class":
        return _classes(value)
    if name == "style":
        return value if value in ALIGNMENTS else None
    if name == "start":
        return value if value.isdecimal() else None
    return value
