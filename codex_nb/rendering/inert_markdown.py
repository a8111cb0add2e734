"""Markdown re-serialised so that it is inert even where a front end renders it unsanitised."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from markdown_it.tree import SyntaxTreeNode

from codex_nb.rendering.highlight import language_of
from codex_nb.rendering.markdown import image_text, is_inert, split_active_macros

if TYPE_CHECKING:
    from collections.abc import Callable

    from markdown_it.token import Token


_ACTIVE = re.compile(r"[\\`*\[\]|~$]|<(?![\s=\d])|&(?=#?\w+;)|(?<!\w)_|_(?!\w)|\{(?=\s*(?:=|\Z))")
_LINE_START = re.compile(r"^([^\S\n]*+)([#>+\-=:]|\d{1,9}(?=[.)]))", re.MULTILINE)
_IN_ADDRESS = str.maketrans({c: f"%{ord(c):02X}" for c in " \"<>\\^`{|}()[]*_~$'"})
_DIAGRAMS = {"mermaid", "geojson", "topojson", "stl", "math", "html", "svg"}


def inert_markdown(tokens: list[Token]) -> str:
    """Return parsed Markdown as Markdown that reads the same and can do nothing; the tokens stay as they are."""
    return _blocks(SyntaxTreeNode(tokens)) + "\n" if tokens else ""


def escape_markdown(text: str) -> str:
    """Return one line of plain text as Markdown that shows it."""
    return _at_line_start(_escape(" ".join(text.split())))


def fenced(code: str, language: str = "") -> str:
    """Return code as a fenced block that its content cannot leave."""
    language = language_of(language).lower()
    if language in _DIAGRAMS:
        language = "text"
    fence = "`" * max(3, _longest_run(code) + 1)
    return f"{fence}{language}\n{code.rstrip(chr(10))}\n{fence}"


def _blocks(node: SyntaxTreeNode, gap: str = "\n\n") -> str:
    return gap.join(_block(child) for child in node.children)


def _block(node: SyntaxTreeNode) -> str:
    write = _BLOCKS.get(node.type)
    return write(node) if write else escape_markdown(node.content if node.token else "")


def _paragraph(node: SyntaxTreeNode) -> str:
    return _at_line_start(_inline(node.children[0]))


def _heading(node: SyntaxTreeNode) -> str:
    text = " ".join(line.strip() for line in _inline(node.children[0]).split("\n"))
    words = text.rstrip("#")
    return f"{'#' * int(node.tag[1])} {words}{'&#35;' if words != text else ''}"


def _list(node: SyntaxTreeNode) -> str:
    ordered = node.type == "ordered_list"
    first = int(node.attrGet("start") or 1) if ordered else 1
    marker = node.markup if node.markup in {"-", "*", "+", ".", ")"} else "-"
    items = [
        _item(child, f"{number}{marker}" if ordered else marker)
        for number, child in enumerate(node.children, first)
    ]
    return "\n".join(items)


def _item(node: SyntaxTreeNode, marker: str) -> str:
    tight = sum(child.type == "paragraph" for child in node.children) < 2  # noqa: PLR2004 -- two need a gap
    content = _blocks(node, "\n" if tight and len(node.children) < 3 else "\n\n")  # noqa: PLR2004
    return f"{marker} {_indented(content, ' ' * (len(marker) + 1))}".rstrip()


def _indented(text: str, indent: str) -> str:
    first, *rest = text.split("\n")
    return "\n".join([first, *(indent + line if line else line for line in rest)])


def _quote(node: SyntaxTreeNode) -> str:
    return "\n".join(f"> {line}".rstrip() for line in _blocks(node).split("\n"))


def _table(node: SyntaxTreeNode) -> str:
    rows = [row for part in node.children for row in part.children]
    lines = ["| " + " | ".join(_cell(cell) for cell in row.children) + " |" for row in rows]
    rule = "|" + "|".join(_rule(cell.attrGet("style")) for cell in rows[0].children) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _cell(node: SyntaxTreeNode) -> str:
    # Inside a table a bar ends the cell even in code and formulas.
    return re.sub(r"(?<!\\)\|", r"\\|", _inline(node.children[0]).replace("\n", " "))


def _rule(style: object) -> str:
    return {"text-align:center": ":---:", "text-align:right": "---:"}.get(str(style), "---")


def _display(node: SyntaxTreeNode) -> str:
    if not node.meta["closed"]:
        return _at_line_start(_escape(node.content))
    formula = re.sub(r"\n\s*", "\n", node.content)
    return f"$$\n{_inert_lines(formula)}\n$$" if is_inert(node.content) else fenced(f"$${node.content}$$")


def _inert_lines(formula: str) -> str:
    # A renderer that knows no formulas must not find HTML or a link in one.
    return formula.replace("<", "\\lt ").replace("](", "] (").replace("![", "! [").replace("]:", "] :")


def _inline(node: SyntaxTreeNode) -> str:
    return "".join(_span(child) for child in node.children)


def _span(node: SyntaxTreeNode) -> str:
    match node.type:
        case "text" | "text_special":
            return _text(node.content)
        case "softbreak":
            return "\n"
        case "hardbreak":
            return "\\\n"
        case "em" | "strong" | "s":
            mark = {"em": "*", "strong": "**", "s": "~~"}[node.type]
            return f"{mark}{_inline(node)}{mark}"
        case "code_inline":
            return code_span(node.content)
        case "link":
            return f"[{_inline(node)}]({_address(str(node.attrGet('href')))})"
        case "image":
            return _escape(_image_text(node))
        case "math_inline" | "math_inline_double":
            return _formula(node)
        case _:
            return _text(node.content)


def _image_text(node: SyntaxTreeNode) -> str:
    return image_text(node.token) if node.token else ""


def _address(url: str) -> str:
    return url.translate(_IN_ADDRESS).replace("&", "&amp;")


def code_span(code: str) -> str:
    """Return one line of text as code that its content cannot leave."""
    fence = "`" * (_longest_run(code) + 1)
    pad = " " if code.startswith("`") or code.endswith("`") or code != code.strip() else ""
    return f"{fence}{pad}{code}{pad}{fence}"


def _formula(node: SyntaxTreeNode) -> str:
    delimiter = "$" if node.type == "math_inline" else "$$"
    if not is_inert(node.content):
        return code_span(f"{delimiter}{node.content}{delimiter}")
    return f"{delimiter}{_inert_lines(' '.join(node.content.split()))}{delimiter}"


def _text(text: str) -> str:
    """Escape text; macros that a typesetter would act on, even outside a formula, become code."""
    pieces = split_active_macros(text)
    return "".join(code_span(piece) if index % 2 else _escape(piece) for index, piece in enumerate(pieces))


def _escape(text: str) -> str:
    return _ACTIVE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    character = match.group()
    if character == "\\" and match.string[match.end() :][:1] in {"", "(", "["}:
        return "&#92;"  # pandoc, as nbconvert calls it, takes two backslashes and a bracket for a formula
    return {"<": "&lt;", "&": "&amp;"}.get(character, "\\" + character)


def _at_line_start(text: str) -> str:
    return _LINE_START.sub(_escaped_start, text)


def _escaped_start(match: re.Match[str]) -> str:
    start = match.group(2)
    return f"{start}\\" if start.isdigit() else f"\\{start}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall(r"`+", text)), default=0)


_BLOCKS: dict[str, Callable[[SyntaxTreeNode], str]] = {
    "paragraph": _paragraph,
    "heading": _heading,
    "bullet_list": _list,
    "ordered_list": _list,
    "blockquote": _quote,
    "table": _table,
    "math_block": _display,
    "fence": lambda node: fenced(node.content, node.info),
    "code_block": lambda node: fenced(node.content),
    "hr": lambda _: "---",
}
