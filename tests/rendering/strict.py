"""A strict reader of HTML: it knows only what may be there, and finds everything else."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from codex_nb.rendering.markdown import inert_markdown, parse

VOID = {"br", "hr"}
TAGS = {
    "a", "blockquote", "br", "code", "details", "div", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol",
    "p", "pre", "s", "small", "span", "strong", "summary", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
CLASS = re.compile(r"codex-[a-z-]+|language-[a-z0-9_+#.-]+|highlight|tex2jax_ignore|[a-z][a-z0-9]{0,3}")
ADDRESS = re.compile(r"(https?://|mailto:)[\x21-\x7e]+", re.IGNORECASE)
ATTRIBUTES = {
    ("a", "href"): ADDRESS,
    ("a", "title"): re.compile(r".*", re.DOTALL),
    ("details", "open"): re.compile(""),
    ("a", "rel"): re.compile("noopener noreferrer nofollow"),
    ("ol", "start"): re.compile(r"\d+"),
    ("th", "style"): re.compile("text-align:(left|center|right)"),
    ("td", "style"): re.compile("text-align:(left|center|right)"),
}


class StrictReader(HTMLParser):
    """Collects what is not allowed, and the text a person reads."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self.text: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            self.found.append(f"<{tag}>")
        self.found += [f"{tag} {name}={value}" for name, value in attrs if not allowed(tag, name, value)]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self._open or self._open.pop() != tag:
            self.found.append(f"</{tag}> out of place")

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_comment(self, data: str) -> None:
        self.found.append(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        self.found.append(f"<!{decl}>")

    def unknown_decl(self, data: str) -> None:
        self.found.append(f"<![{data}>")

    def handle_pi(self, data: str) -> None:
        self.found.append(f"<?{data}>")

    def close(self) -> None:
        super().close()
        self.found += [f"<{tag}> not closed" for tag in self._open]


def allowed(tag: str, name: str, value: str | None) -> bool:
    if name == "class":
        return all(CLASS.fullmatch(word) for word in (value or "").split())
    pattern = ATTRIBUTES.get((tag, name))
    return pattern is not None and pattern.fullmatch(value or "") is not None


def violations(html: str) -> list[str]:
    """Return everything in the HTML that may not be there."""
    reader = StrictReader()
    reader.feed(html)
    reader.close()
    return reader.found


def text_of(html: str) -> str:
    """Return the text that the HTML shows."""
    reader = StrictReader()
    reader.feed(html)
    reader.close()
    return "".join(reader.text)


def typeset_strings(html: str) -> str:
    """Return the text that MathJax looks for formulas in: all but code and what is marked to be left alone."""
    html = re.sub(r"<(pre|code)\b.*?</\1>", " ", html, flags=re.DOTALL)
    return text_of(re.sub(r'<span class="tex2jax_ignore">.*?</span>', " ", html, flags=re.DOTALL))


def inert(markdown: str) -> str:
    """Return Markdown re-serialised inert."""
    return inert_markdown(parse(markdown))
