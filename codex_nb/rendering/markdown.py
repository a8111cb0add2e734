"""Markdown that a model wrote, as HTML that can do nothing but be read.

HTML in the source is text, images are text, links lead to http, https or mailto; LaTeX stays between its dollars for
the front end's typesetter. Reference definitions are text as well: a definition at the end of an answer would change
paragraphs that were shown long before.
"""

from __future__ import annotations

import re
from functools import cache
from html import escape
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore, block, inline, normalize, text_join

from codex_nb.rendering.highlight import code_html
from codex_nb.rendering.maths import maths_plugin
from codex_nb.rendering.sanitize import clean, plain_html
from codex_nb.rendering.tex import is_inert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.renderer import RendererHTML
    from markdown_it.token import Token
    from markdown_it.utils import EnvType, OptionsDict

_LINK = re.compile(r"(?:https?://|mailto:)[^\s]", re.IGNORECASE)


def safe_html(markdown: str) -> str:
    """Return the Markdown as sanitised HTML."""
    return render_tokens(parse(markdown))


def parse(markdown: str) -> list[Token]:
    """Return the block tokens of a Markdown text, with what stands inside them."""
    return with_inline(blocks_of(markdown))


def blocks_of(markdown: str) -> list[Token]:
    """Return the block tokens alone: enough to tell where blocks begin and end, at half the cost."""
    state = StateCore(markdown, _parser(), {})
    for rule in (normalize, block, _space_items_one_by_one):
        rule(state)
    return state.tokens


def with_inline(tokens: list[Token]) -> list[Token]:
    """Complete block tokens, all of a text's or only some, with what stands inside them."""
    state = StateCore("", _parser(), {}, tokens)
    for rule in (inline, text_join, _align_cells):
        rule(state)
    return state.tokens


def render_tokens(tokens: Sequence[Token]) -> str:
    """Return whole blocks as sanitised HTML."""
    return clean(unsanitised(tokens))


def unsanitised(tokens: Sequence[Token]) -> str:
    """Return whole blocks as HTML for a page that is sanitised as a whole."""
    parser = _parser()
    html: str = parser.renderer.render(tokens, parser.options, {})
    return html


def is_web_link(url: str) -> bool:
    """Whether a link may be followed: http, https or mailto, and nothing that a browser might read otherwise."""
    return _LINK.match(url) is not None and url.isprintable()


@cache
def _parser() -> MarkdownIt:
    md = MarkdownIt("commonmark", {"html": False, "linkify": False, "typographer": False})
    md.enable(["table", "strikethrough"]).disable(["reference", "html_block", "html_inline"])
    md.use(maths_plugin)
    md.validateLink = is_web_link  # type: ignore[method-assign]  # the parser's documented hook
    for name, rule in _RULES.items():
        md.add_render_rule(name, rule)
    return md


def _space_items_one_by_one(state: StateCore) -> None:
    """Make a list item tight when it holds one paragraph, whatever the other items hold.

    So an item that is complete never changes because of one that comes after it.
    """
    items: list[tuple[int, list[Token]]] = []
    for token in state.tokens:
        match token.type:
            case "list_item_open":
                items.append((token.level + 1, []))
            case "list_item_close":
                _, paragraphs = items.pop()
                for paragraph in paragraphs:
                    paragraph.hidden = len(paragraphs) == 2  # noqa: PLR2004 -- its opening and its end
            case "paragraph_open" | "paragraph_close" if items and token.level == items[-1][0]:
                items[-1][1].append(token)


def _align_cells(state: StateCore) -> None:
    # JupyterLab sets the cells of HTML tables to the right unless they say otherwise themselves.
    for token in state.tokens:
        if token.type in {"th_open", "td_open"}:
            token.attrs = {"style": token.attrGet("style") or "text-align:left"}


def _text(_: RendererHTML, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType) -> str:
    return plain_html(tokens[index].content)


def _fence(_: RendererHTML, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType) -> str:
    return code_html(tokens[index].content, tokens[index].info)


def _image(_: RendererHTML, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType) -> str:
    return f'<span class="codex-image">{plain_html(image_text(tokens[index]))}</span>'


def image_text(token: Token) -> str:
    """Return what stands for an image: its description and address, to read."""
    return f"[image: {token.content} at {token.attrGet('src') or ''}]"


def _formula(
    _: RendererHTML, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType
) -> str:
    token = tokens[index]
    delimiter = "$" if token.type == "math_inline" else "$$"
    if not is_inert(token.content):
        return f"<code>{escape(delimiter + token.content + delimiter, quote=False)}</code>"
    return f'<span class="codex-math">{delimiter}{escape(token.content, quote=False)}{delimiter}</span>'


def _display(
    self: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    if not tokens[index].meta["closed"]:  # its end never came
        return f"<p>{plain_html(tokens[index].content)}</p>\n"
    return f"<p>{_formula(self, tokens, index, options, env)}</p>\n"


_RULES = {
    "text": _text,
    "fence": _fence,
    "code_block": _fence,
    "image": _image,
    "math_inline": _formula,
    "math_inline_double": _formula,
    "math_block": _display,
}
