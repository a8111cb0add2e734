"""The saved output of an answer: plain data, and its mimebundle of HTML, Markdown and plain text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from html import escape
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, assert_never

from codex_nb.labels import REASONING
from codex_nb.rendering.highlight import code_html
from codex_nb.rendering.inert_markdown import escape_markdown, fenced, neutral_blocks
from codex_nb.rendering.markdown import parse, unsanitised
from codex_nb.rendering.sanitize import clean, escape_html
from codex_nb.rendering.visible import visible
from codex_nb.words import rendering as words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from markdown_it.token import Token


@dataclass(frozen=True, slots=True)
class Prose:
    """A message of the model, in Markdown."""

    markdown: str


@dataclass(frozen=True, slots=True)
class Thinking:
    """A reasoning summary, in Markdown, folded under ``title``."""

    markdown: str
    title: str = REASONING


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call under ``title``; ``output`` is empty where the notebook shows it as a cell's own output.

    ``is_open`` is for code that runs in the user's kernel: it is shown, and printed, as the user's own is. Every other
    call is folded.
    """

    title: str
    code: str
    language: str = ""
    output: str = ""
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a checklist, as plain text: its ``mark`` in a page and in text, and ``state`` in words."""

    text: str
    state: str
    mark: tuple[str, str] = ("○", "[ ]")


@dataclass(frozen=True, slots=True)
class Checklist:
    """Steps and how far they have come, under ``title``; ``remark`` says why they are as they are."""

    title: str
    items: tuple[Item, ...]
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Remark:
    """One quiet line, or an error's line."""

    text: str
    kind: Literal["notice", "error"] = "notice"


Part = Prose | Thinking | Call | Checklist | Remark


@dataclass(frozen=True, slots=True)
class Document:
    """A turn, or the part of it that stands in one output; ``footer`` is shown with dots between its entries."""

    parts: tuple[Part, ...] = ()
    footer: tuple[str, ...] = ()


if TYPE_CHECKING:
    Reader = Callable[[str], list[Token]]
    Writer = Callable[[str], str]

DOT = " · "
LONGEST_OUTPUT = 10_000  # characters of a tool's output that stay in the notebook

Bundle = dict[str, str]


def bundle(document: Document, rendered: Mapping[str, str] = MappingProxyType({})) -> Bundle:
    """Return ``text/html``, ``text/markdown`` and ``text/plain`` of the document.

    ``rendered`` is what :func:`~codex_nb.rendering.markdown.safe_html` gives for texts of the document, as far as
    somebody has rendered them already.
    """
    read = cache(parse)  # HTML and Markdown are written from one reading of the source

    def write(markdown: str) -> str:
        ready = rendered.get(markdown)
        return unsanitised(read(markdown)) if ready is None else ready

    return {
        "text/html": _html_of(document, write),
        "text/markdown": _markdown_of(document, read),
        "text/plain": visible(_plain_of(document)),
    }


def answer_bundle(text: str, *, remark: str = "") -> Bundle:
    """Return the bundle of an answer alone; ``remark`` says how it ended when that was not the normal end."""
    parts: list[Part] = [Prose(text)]
    if remark:
        parts.append(Remark(remark, "error"))
    return bundle(Document(tuple(parts)))


def _html_of(document: Document, write: Writer) -> str:
    parts = "".join(_html(part, write) for part in document.parts)
    footer = DOT.join(escape_html(entry) for entry in document.footer)
    if footer:
        parts += f'<p class="codex-footer"><small>{footer}</small></p>\n'
    return clean(f'<div class="codex-answer">\n{parts}</div>')


def _markdown_of(document: Document, read: Reader) -> str:
    parts = [_markdown(part, read) for part in document.parts]
    if document.footer:
        parts.append(f"*{escape_markdown(DOT.join(document.footer))}*")
    return "\n\n".join(part.strip("\n") for part in parts if part.strip())


def _plain_of(document: Document) -> str:
    parts = [_plain(part) for part in document.parts]
    if document.footer:
        parts.append(DOT.join(document.footer))
    return "\n\n".join(part.strip("\n") for part in parts if part.strip())


def _html(part: Part, write: Writer) -> str:
    match part:
        case Prose():
            return write(part.markdown)
        case Thinking():
            return _folded("codex-thinking", part.title, write(part.markdown))
        case Call():
            output = f"<pre>{escape(shortened(part.output), quote=False)}</pre>\n" if part.output else ""
            code = code_html(part.code, part.language)
            return _folded("codex-call", part.title, code + output, is_open=part.is_open)
        case Checklist():
            return _checklist(part)
        case Remark():
            return f'<p class="codex-{part.kind}"><em>{escape_html(part.text)}</em></p>\n'
        case _:
            assert_never(part)


def _checklist(part: Checklist) -> str:
    remark = f" {escape_html(visible(part.remark))}" if part.remark else ""
    items = "".join(
        f"<li>{item.mark[0]} {escape_html(visible(item.text))} <small>({escape_html(item.state)})</small></li>\n"
        for item in part.items
    )
    return (
        f'<p><strong>{escape_html(part.title)}</strong>{remark}</p>\n<ol class="codex-plan">\n{items}</ol>\n'
    )


def _checklist_text(part: Checklist, line: Callable[[Item], str]) -> str:
    return "\n".join(f"{place}. {line(item)}" for place, item in enumerate(part.items, 1))


def _folded(name: str, title: str, content: str, *, is_open: bool = False) -> str:
    state = ' open=""' if is_open else ""
    return f'<details class="{name}"{state}><summary>{escape_html(title)}</summary>\n{content}</details>\n'


def _markdown(part: Part, read: Reader) -> str:
    match part:
        case Prose():
            return neutral_blocks(read(part.markdown))
        case Thinking():
            quoted = neutral_blocks(read(part.markdown)).strip("\n").replace("\n", "\n> ")
            return f"> *{escape_markdown(part.title)}*\n>\n> {quoted}"
        case Call():
            output = "\n\n" + fenced(shortened(part.output), "text") if part.output else ""
            return f"*{escape_markdown(part.title)}*\n\n{fenced(visible(part.code), part.language)}{output}"
        case Checklist():
            remark = f" {escape_markdown(visible(part.remark))}" if part.remark else ""
            steps = _checklist_text(
                part,
                lambda item: (
                    f"{item.mark[0]} {escape_markdown(visible(item.text))} ({escape_markdown(item.state)})"
                ),
            )
            return f"**{escape_markdown(part.title)}**{remark}\n\n{steps}"
        case Remark():
            return f"*{escape_markdown(part.text)}*"
        case _:
            assert_never(part)


def _plain(part: Part) -> str:
    match part:
        case Prose():
            return part.markdown
        case Thinking():
            return f"[{part.title}]\n{part.markdown}"
        case Call():
            output = f"\n\n{shortened(part.output)}" if part.output else ""
            return f"[{part.title}]\n{visible(part.code)}{output}"
        case Checklist():
            remark = f" {visible(part.remark)}" if part.remark else ""
            return f"[{part.title}]{remark}\n" + _checklist_text(part, plain_item)
        case Remark():
            return f"[{part.text}]"
        case _:
            assert_never(part)


def plain_item(item: Item) -> str:
    """Return one line of a checklist as plain text."""
    return f"{item.mark[1]} {visible(item.text)}"


def shortened(output: str) -> str:
    """Return the beginning and the end of a long output, with the number of characters left out between them."""
    if len(output) <= LONGEST_OUTPUT:
        return output
    half = LONGEST_OUTPUT // 2
    return f"{output[:half]}\n{words.characters_left_out(str(len(output) - 2 * half))}\n{output[-half:]}"
