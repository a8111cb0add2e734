"""The output of an answer: as it is saved, in HTML, Markdown and plain text, and block by block while it is written.

While it is written, finished blocks of Markdown and code are rendered once, only the open one again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from html import escape
from io import IncrementalNewlineDecoder
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict, assert_never

from codex_nb.rendering.markdown import (
    blocks_of,
    escape_markdown,
    fenced,
    inert_markdown,
    parse,
    render_tokens,
    render_unsanitized,
    with_inline,
)
from codex_nb.rendering.sanitize import (
    CONTEXT,
    CONTINUED_LIST,
    NO_HTML,
    NO_TEXT,
    SafeHtml,
    VisibleText,
    code_html,
    escape_html,
    join_html,
    sanitize_html,
    visible_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from markdown_it.token import Token

REASONING = "Reasoning"
PLAN = "Plan"


@dataclass(frozen=True, slots=True)
class TextOutput:
    """A message of the model, in Markdown."""

    markdown: str


@dataclass(frozen=True, slots=True)
class ReasoningOutput:
    """A reasoning summary, in Markdown, which is folded."""

    markdown: str


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


StepStatus = Literal["pending", "in_progress", "completed", "unfinished"]


class StepLabel(NamedTuple):
    """How the status of a plan's step is written: its marks in HTML and in text, and its name."""

    mark: str
    text_mark: str
    name: str


STEP_LABELS: dict[StepStatus, StepLabel] = {
    "pending": StepLabel("○", "[ ]", "to do"),
    "in_progress": StepLabel("→", "[>]", "in progress"),
    "completed": StepLabel("✓", "[x]", "done"),
    "unfinished": StepLabel("◐", "[-]", "not finished"),  # in progress when the turn ended
}


@dataclass(frozen=True, slots=True)
class StepOutput:
    """One step of a plan, as plain text."""

    text: str
    status: StepStatus


@dataclass(frozen=True, slots=True)
class PlanOutput:
    """The steps of a plan; ``explanation`` is the model's reason for it."""

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


class RenderedText(NamedTuple):
    """A Markdown text of a model as HTML, and as Markdown that can do nothing."""

    html: SafeHtml
    markdown: str


def to_mimebundle(
    output: AnswerOutput, rendered: Mapping[str, RenderedText] = MappingProxyType({})
) -> MimeBundle:
    """Return the output as ``text/html``, ``text/markdown`` and ``text/plain``.

    ``rendered`` maps Markdown texts to what they were rendered to before, so that they are not rendered twice.
    """
    parsed = cache(parse)  # HTML and Markdown are written from the same tokens

    def render(text: str) -> str:
        return rendered[text].html if text in rendered else render_unsanitized(parsed(text))

    def write(text: str) -> str:
        return rendered[text].markdown if text in rendered else inert_markdown(parsed(text))

    return {
        "text/html": _html_of(output, render),
        "text/markdown": _markdown_of(output, write),
        "text/plain": visible_text(_paragraphs([*map(_plain, output.parts), SEPARATOR.join(output.footer)])),
    }


def to_markdown(output: AnswerOutput) -> VisibleText:
    """Return the output as Markdown that can do nothing."""
    return _markdown_of(output, lambda text: inert_markdown(parse(text)))


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
            return _folded("codex-thinking", REASONING, render(part.markdown))
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
        f"<li>{label.mark} {escape_html(step.text)} <small>({label.name})</small></li>\n"
        for step in part.steps
        for label in [STEP_LABELS[step.status]]
    )
    return f'<p><strong>{PLAN}</strong>{explanation}</p>\n<ol class="codex-plan">\n{steps}</ol>\n'


def _folded(name: str, title: str, content: str, *, is_open: bool = False) -> str:
    state = ' open=""' if is_open else ""
    return f'<details class="{name}"{state}><summary>{escape_html(title)}</summary>\n{content}</details>\n'


def _markdown_of(output: AnswerOutput, write: Callable[[str], str]) -> VisibleText:
    footer = f"*{escape_markdown(SEPARATOR.join(output.footer))}*" if output.footer else ""
    return visible_text(_paragraphs([*(_markdown(part, write) for part in output.parts), footer]))


def _markdown(part: OutputPart, write: Callable[[str], str]) -> str:
    match part:
        case TextOutput():
            return write(part.markdown)
        case ReasoningOutput():
            quoted = write(part.markdown).strip("\n").replace("\n", "\n> ")
            return f"> *{REASONING}*\n>\n> {quoted}"
        case ToolOutput():
            output = "\n\n" + fenced(truncate_output(part.output), "text") if part.output else ""
            return f"*{escape_markdown(part.title)}*\n\n{fenced(part.code, part.language)}{output}"
        case PlanOutput():
            explanation = f" {escape_markdown(part.explanation)}" if part.explanation else ""
            steps = _numbered(
                f"{label.mark} {escape_markdown(step.text)} ({label.name})"
                for step in part.steps
                for label in [STEP_LABELS[step.status]]
            )
            return f"**{PLAN}**{explanation}\n\n{steps}"
        case NoticeOutput():
            return f"*{escape_markdown(part.text)}*"
        case _:
            assert_never(part)


def _plain(part: OutputPart) -> str:
    match part:
        case TextOutput():
            return part.markdown
        case ReasoningOutput():
            return f"[{REASONING}]\n{part.markdown}"
        case ToolOutput():
            output = f"\n\n{truncate_output(part.output)}" if part.output else ""
            return f"[{part.title}]\n{part.code}{output}"
        case PlanOutput():
            explanation = f" {part.explanation}" if part.explanation else ""
            return f"[{PLAN}]{explanation}\n" + _numbered(map(step_line, part.steps))
        case NoticeOutput():
            return f"[{part.text}]"
        case _:
            assert_never(part)


def step_line(step: StepOutput) -> VisibleText:
    """Return one step of a plan as a line of text."""
    return visible_text(f"{STEP_LABELS[step.status].text_mark} {step.text}")


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


EAGER_PARSE = 4_000  # characters up to which every new line is a reason to look for finished blocks
GROWTH = 1.5
ENDED_BY_BLANK = {"paragraph_close", "heading_close", "table_close"}
LISTS = {"bullet_list_open", "ordered_list_open"}


@dataclass(frozen=True, slots=True)
class FinishedBlocks:
    """Blocks that will not change any more, as source and as tokens."""

    source: str
    tokens: list[Token]

    @property
    def continues_list(self) -> bool:
        """Whether they begin with items of the list that the blocks before end with."""
        return self.tokens[0].attrGet("class") == CONTINUED_LIST


class BlockSplitter:
    """Takes Markdown as it arrives; ``source`` is what is not finished yet."""

    def __init__(self) -> None:
        self.source = ""
        self._newlines = IncrementalNewlineDecoder(None, translate=True)
        self._continues = False  # the source begins inside a list
        self._fence: re.Pattern[str] | None = None  # what would close the unfinished code block
        self._parse_at = 0  # length at which to look for finished blocks again

    @property
    def is_code(self) -> bool:
        """Whether the unfinished block is fenced code."""
        return self._fence is not None

    def feed(self, text: str) -> FinishedBlocks | None:
        """Take more text, return what it finished."""
        text = self._newlines.decode(text)
        before = len(self.source)
        self.source += text
        return self._finished(before) if "\n" in text else None

    def finish(self) -> FinishedBlocks:
        """Return the rest; the text is complete."""
        self.source += self._newlines.decode("", final=True)
        return FinishedBlocks(self.source, self.tokens())

    def tokens(self) -> list[Token]:
        """Return the tokens of the unfinished source; a list that goes on carries a class that says so."""
        return with_inline(self._blocks_until(len(self.source)))

    def _blocks_until(self, end: int) -> list[Token]:
        tokens = blocks_of(self.source[:end])
        if self._continues and tokens and tokens[0].type in LISTS:
            tokens[0].attrSet("class", CONTINUED_LIST)
        return tokens

    def _finished(self, before: int) -> FinishedBlocks | None:
        # A line still being written may yet turn out to be anything.
        end = self.source.rfind("\n") + 1
        if not self._worth_parsing(before, end):
            return None
        tokens = self._blocks_until(end)
        last_line = self.source[self.source.rfind("\n", 0, end - 1) + 1 : end]
        if tokens and tokens[-1].type in ENDED_BY_BLANK and not last_line.strip(" \t\n"):
            return self._take(end, tokens, [], inside_list=False)
        index, line = _last_block(tokens)
        if not line:
            self._fence = _closing_fence(tokens, self.source)
            self._parse_at = int(end * GROWTH)
            return None
        finished, inside_list = _split(tokens, index)
        at = len(self.source) - len(self.source.split("\n", line)[-1])
        return self._take(at, finished, tokens[index:], inside_list=inside_list)

    def _take(
        self, at: int, finished: list[Token], rest: list[Token], *, inside_list: bool
    ) -> FinishedBlocks:
        source, self.source = self.source[:at], self.source[at:]
        self._continues, self._parse_at = inside_list, 0
        self._fence = _closing_fence(rest, self.source)
        return FinishedBlocks(source, with_inline(finished))

    def _worth_parsing(self, before: int, end: int) -> bool:
        start = self.source.rfind("\n", 0, before) + 1
        if self._fence is not None:
            return self._fence.search(self.source, start, end) is not None
        return end <= EAGER_PARSE or end >= self._parse_at or "\n\n" in self.source[max(0, start - 1) : end]


def _last_block(tokens: list[Token]) -> tuple[int, int]:
    """Return where the last block, or the last item of a list that is last, begins: token index and line."""
    tops = [index for index, token in enumerate(tokens) if token.level == 0 and token.nesting >= 0]
    if not tops:
        return 0, 0
    last = tops[-1]
    if tokens[last].type in LISTS:
        last = max(index for index in range(last, len(tokens)) if _is_item(tokens[index]))
    span = tokens[last].map
    return last, span[0] if span else 0


def _is_item(token: Token) -> bool:
    return token.type == "list_item_open" and token.level == 1


def _split(tokens: list[Token], index: int) -> tuple[list[Token], bool]:
    """Return the tokens before ``index``, a list among them ended, and whether it was ended inside a list."""
    if not _is_item(tokens[index]):
        return tokens[:index], False
    if tokens[index - 1].type in LISTS:  # the first item: the list has not begun
        return tokens[: index - 1], False
    return [*tokens[:index], tokens[-1]], True


def _closing_fence(tokens: list[Token], source: str) -> re.Pattern[str] | None:
    """Return what will close the code block that ``source`` consists of, None when it is closed or something else."""
    if not tokens or tokens[0].type != "fence" or tokens[0].level:
        return None
    markup = tokens[0].markup
    closing = re.compile(rf"^ {{0,3}}{re.escape(markup[0])}{{{len(markup)},}}[ \t]*$", re.MULTILINE)
    return None if closing.search(source, source.index("\n") + 1) else closing


EAGER_PROSE = 600  # characters up to which an unfinished block is drawn at every change that may be markup
PROSE_GROWTH = 1.25
EAGER_CODE = 200
CODE_GROWTH = 2
LONGEST_DRAWN_CODE = 4_000  # characters; longer code keeps its colours so far until it is finished

_MAY_BE_MARKUP = re.compile(r"[\\`*_~$<>\[\])|#&;]|\n(?![^\W\d_])")
# What may yet begin a list, a heading, a table.
_ONLY_A_MARKER = re.compile(r"\s*+(?:(?:[-+*>#=:|]++|\d{1,9}[.)]?)\s*+)?")


@dataclass(frozen=True, slots=True)
class BlocksUpdate:
    """What changed: HTML to append to the finished blocks, and the unfinished block.

    ``open`` is the HTML of the unfinished block, None when it stays as it was drawn; then ``tail`` is text to append
    inside it.
    """

    closed: SafeHtml = NO_HTML
    open: SafeHtml | None = None
    tail: VisibleText = NO_TEXT


class MarkdownBlocks:
    """Renders a growing Markdown text.

    The ``closed`` pieces of all updates, joined, are what :func:`~codex_nb.rendering.markdown.safe_html` returns for
    the whole text, wherever the text was split; ``rendered`` holds them, and the same as Markdown that can do nothing.
    """

    def __init__(self) -> None:
        self._blocks = BlockSplitter()
        self._html: list[SafeHtml] = []
        self._markdown: list[str] = []
        self._drawn = 0  # length of the unfinished source when it was last drawn
        self._shown = 0  # length that is on the page, tails included
        self._is_table = False

    def feed(self, text: str) -> BlocksUpdate:
        """Take more text, return what changed."""
        finished = self._blocks.feed(text)
        if finished is not None:
            return BlocksUpdate(self._close(finished), self._draw())
        source, is_code = self._blocks.source, self._blocks.is_code
        more = source[self._shown :]
        if not is_code and not self._is_table:
            more = more.rstrip()
        if not more:
            return BlocksUpdate()
        if self._may_look_different(more) and worth_drawing(len(source), self._drawn, is_code=is_code):
            return BlocksUpdate(open=self._draw())
        if self._is_table:  # a row is shown when it is whole
            return BlocksUpdate()
        before, self._shown = self._shown, self._shown + len(more)
        return BlocksUpdate(tail=_continued(source, before, self._shown))

    def finish(self) -> BlocksUpdate:
        """Close everything; the text is complete."""
        return BlocksUpdate(closed=self._close(self._blocks.finish()), open=NO_HTML)

    @property
    def rendered(self) -> RenderedText:
        """The finished blocks."""
        return RenderedText(join_html(self._html), "".join(self._markdown))

    def _close(self, blocks: FinishedBlocks) -> SafeHtml:
        html = render_tokens(blocks.tokens)
        if blocks.tokens:
            self._html.append(html)
            if self._markdown and not blocks.continues_list:
                self._markdown.append("\n")
            self._markdown.append(inert_markdown(blocks.tokens))
        return html

    def _draw(self) -> SafeHtml:
        source = self._blocks.source
        tokens = self._blocks.tokens() if source else []
        self._drawn = len(source)
        # Space at the end of a paragraph is not drawn; it comes with the next word.
        self._shown = len(source) if self._blocks.is_code else len(source.rstrip())
        self._is_table = bool(tokens) and tokens[-1].type == "table_close"
        return render_tokens(tokens)

    def _may_look_different(self, more: str) -> bool:
        """Whether text that goes on from what is shown does more than to continue its last line."""
        source = self._blocks.source
        if self._is_table or self._blocks.is_code:
            return source.find("\n", self._drawn) >= 0
        if _MAY_BE_MARKUP.search(more):
            return True
        line = source.rfind("\n", 0, self._shown) + 1
        return _ONLY_A_MARKER.fullmatch(source, line, self._shown) is not None


def worth_drawing(length: int, drawn: int, *, is_code: bool) -> bool:
    """Whether an unfinished block of this length is to be drawn again, when it was last drawn at length ``drawn``."""
    if is_code:
        return not drawn or length <= EAGER_CODE or drawn * CODE_GROWTH <= length <= LONGEST_DRAWN_CODE
    return length <= EAGER_PROSE or length >= drawn * PROSE_GROWTH


def _continued(source: str, start: int, end: int) -> VisibleText:
    """Return a part of the source as a text node that continues the block drawn before it."""
    return visible_text(source[start:end], before=source[max(0, start - CONTEXT) : start])


class GrowingCode:
    """Renders a growing piece of code in one language, at linear cost."""

    def __init__(self, language: str) -> None:
        self._language = language
        self._code = ""
        self._drawn = 0

    def feed(self, text: str) -> BlocksUpdate:
        """Take more code, return what changed."""
        before = len(self._code)
        self._code += text
        length = len(self._code)
        if worth_drawing(length, self._drawn, is_code=True):
            self._drawn = length
            return BlocksUpdate(open=safe_code(self._code, self._language))
        return BlocksUpdate(tail=_continued(self._code, before, length))


def safe_code(code: str, language: str = "") -> SafeHtml:
    """Return code as sanitised, highlighted HTML."""
    return sanitize_html(code_html(code, language))
