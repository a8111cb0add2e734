"""The saved output of an answer: plain data, and its mimebundle of HTML, Markdown and plain text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from html import escape
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypedDict, assert_never

from codex_nb.rendering.markdown import escape_markdown, fenced, inert_markdown, parse, render_unsanitized
from codex_nb.rendering.sanitize import (
    SafeHtml,
    VisibleText,
    code_html,
    escape_html,
    sanitize_html,
    visible_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from markdown_it.token import Token


@dataclass(frozen=True, slots=True)
class TextOutput:
    """A message of the model, in Markdown."""

    markdown: str


@dataclass(frozen=True, slots=True)
class ReasoningOutput:
    """A reasoning summary, in Markdown, folded under ``title``."""

    markdown: str
    title: str = "Reasoning"


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """A tool call under ``title``; ``output`` is empty where the notebook shows it as the cell's own output.

    ``is_open`` marks code that runs in the user's kernel, which is shown and printed as the user's own code is. Every
    other call is folded.
    """

    title: str
    code: str
    language: str = ""
    output: str = ""
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class StepOutput:
    """One step of a plan, as plain text: its ``mark`` in HTML and in text, and its ``state`` spelled out."""

    text: str
    state: str
    mark: tuple[str, str] = ("○", "[ ]")


@dataclass(frozen=True, slots=True)
class PlanOutput:
    """The steps of a plan under ``title``; ``explanation`` is the model's reason for it."""

    title: str
    steps: tuple[StepOutput, ...]
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class NoticeOutput:
    """One line: a notice, or an error."""

    text: str
    kind: Literal["notice", "error"] = "notice"


OutputPart = TextOutput | ReasoningOutput | ToolOutput | PlanOutput | NoticeOutput


@dataclass(frozen=True, slots=True)
class AnswerOutput:
    """A turn, or the parts of it in one output; the entries of ``footer`` are shown in one line below."""

    parts: tuple[OutputPart, ...] = ()
    footer: tuple[str, ...] = ()


SEPARATOR = " · "
MAX_OUTPUT_CHARS = 10_000  # of a tool's output that are saved in the notebook

MimeBundle = TypedDict(
    "MimeBundle",
    {
        "text/html": SafeHtml,
        "text/markdown": VisibleText,
        "text/plain": VisibleText,
        "application/vnd.jupyter.widget-view+json": dict[str, Any],
    },
    total=False,
)
"""What an output of the notebook shows, by MIME type."""


def to_mimebundle(
    output: AnswerOutput, rendered: Mapping[str, SafeHtml] = MappingProxyType({})
) -> MimeBundle:
    """Return the output as ``text/html``, ``text/markdown`` and ``text/plain``.

    ``rendered`` maps Markdown texts that were rendered before to their HTML, so that they are not rendered twice.
    """
    parsed = cache(parse)  # HTML and Markdown are written from the same tokens

    def render(markdown: str) -> str:
        return rendered.get(markdown) or render_unsanitized(parsed(markdown))

    return {
        "text/html": _html_of(output, render),
        "text/markdown": _markdown_of(output, parsed),
        "text/plain": _plain_of(output),
    }


def to_markdown(output: AnswerOutput) -> VisibleText:
    """Return the output as Markdown that can do nothing."""
    return _markdown_of(output, parse)


def answer_mimebundle(text: str, *, notice: str = "") -> MimeBundle:
    """Return the bundle of an answer alone; ``notice`` says how it ended when it is not complete."""
    parts: list[OutputPart] = [TextOutput(text)]
    if notice:
        parts.append(NoticeOutput(notice, "error"))
    return to_mimebundle(AnswerOutput(tuple(parts)))


def _html_of(output: AnswerOutput, render: Callable[[str], str]) -> SafeHtml:
    parts = "".join(_html(part, render) for part in output.parts)
    footer = SEPARATOR.join(escape_html(entry) for entry in output.footer)
    if footer:
        parts += f'<p class="codex-footer"><small>{footer}</small></p>\n'
    return sanitize_html(f'<div class="codex-answer">\n{parts}</div>')


def _html(part: OutputPart, render: Callable[[str], str]) -> str:
    match part:
        case TextOutput():
            return render(part.markdown)
        case ReasoningOutput():
            return _folded("codex-thinking", part.title, render(part.markdown))
        case ToolOutput():
            output = (
                f"<pre>{escape(visible_text(truncate_output(part.output)), quote=False)}</pre>\n"
                if part.output
                else ""
            )
            code = code_html(part.code, part.language)
            return _folded("codex-call", part.title, code + output, is_open=part.is_open)
        case PlanOutput():
            return _plan_html(part)
        case NoticeOutput():
            return f'<p class="codex-{part.kind}"><em>{escape_html(part.text)}</em></p>\n'
        case _:
            assert_never(part)


def _plan_html(part: PlanOutput) -> str:
    explanation = f" {escape_html(part.explanation)}" if part.explanation else ""
    steps = "".join(
        f"<li>{step.mark[0]} {escape_html(step.text)} <small>({escape_html(step.state)})</small></li>\n"
        for step in part.steps
    )
    title = f"<p><strong>{escape_html(part.title)}</strong>{explanation}</p>"
    return f'{title}\n<ol class="codex-plan">\n{steps}</ol>\n'


def _folded(name: str, title: str, content: str, *, is_open: bool = False) -> str:
    state = ' open=""' if is_open else ""
    return f'<details class="{name}"{state}><summary>{escape_html(title)}</summary>\n{content}</details>\n'


def _markdown_of(output: AnswerOutput, parsed: Callable[[str], list[Token]]) -> VisibleText:
    footer = f"*{escape_markdown(SEPARATOR.join(output.footer))}*" if output.footer else ""
    return visible_text(_paragraphs([*(_markdown(part, parsed) for part in output.parts), footer]))


def _markdown(part: OutputPart, parsed: Callable[[str], list[Token]]) -> str:
    match part:
        case TextOutput():
            return inert_markdown(parsed(part.markdown))
        case ReasoningOutput():
            quoted = inert_markdown(parsed(part.markdown)).strip("\n").replace("\n", "\n> ")
            return f"> *{escape_markdown(part.title)}*\n>\n> {quoted}"
        case ToolOutput():
            output = "\n\n" + fenced(truncate_output(part.output), "text") if part.output else ""
            return f"*{escape_markdown(part.title)}*\n\n{fenced(part.code, part.language)}{output}"
        case PlanOutput():
            explanation = f" {escape_markdown(part.explanation)}" if part.explanation else ""
            steps = _numbered(
                f"{step.mark[0]} {escape_markdown(step.text)} ({escape_markdown(step.state)})"
                for step in part.steps
            )
            return f"**{escape_markdown(part.title)}**{explanation}\n\n{steps}"
        case NoticeOutput():
            return f"*{escape_markdown(part.text)}*"
        case _:
            assert_never(part)


def _plain_of(output: AnswerOutput) -> VisibleText:
    return visible_text(_paragraphs([*map(_plain, output.parts), SEPARATOR.join(output.footer)]))


def _plain(part: OutputPart) -> str:
    match part:
        case TextOutput():
            return part.markdown
        case ReasoningOutput():
            return f"[{part.title}]\n{part.markdown}"
        case ToolOutput():
            output = f"\n\n{truncate_output(part.output)}" if part.output else ""
            return f"[{part.title}]\n{part.code}{output}"
        case PlanOutput():
            explanation = f" {part.explanation}" if part.explanation else ""
            return f"[{part.title}]{explanation}\n" + _numbered(map(step_line, part.steps))
        case NoticeOutput():
            return f"[{part.text}]"
        case _:
            assert_never(part)


def step_line(step: StepOutput) -> VisibleText:
    """Return one step of a plan as a line of text."""
    return visible_text(f"{step.mark[1]} {step.text}")


def truncate_output(output: str) -> str:
    """Return the beginning and the end of a long output, and between them how many characters are missing."""
    if len(output) <= MAX_OUTPUT_CHARS:
        return output
    half = MAX_OUTPUT_CHARS // 2
    return f"{output[:half]}\n… {len(output) - 2 * half:,} characters truncated …\n{output[-half:]}"


def _numbered(lines: Iterable[str]) -> str:
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))


def _paragraphs(parts: Iterable[str]) -> str:
    return "\n\n".join(part.strip("\n") for part in parts if part.strip())
