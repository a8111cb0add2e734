"""A turn in words: what it is doing, how it ended, what is saved of it, and the views that write it in a terminal.

The plain view writes as the turn arrives: for consoles, scripts and headless notebooks. The other renders it with rich,
which is imported when there is something to draw.
"""

from __future__ import annotations

import re
import textwrap
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from codex_nb.labels import BILLED_PER_TOKEN, INCOMPLETE, NO_REASON, STOPPED, Phase, plan_name
from codex_nb.rendering.answer_output import (
    PLAN,
    SEPARATOR,
    AnswerOutput,
    BlockSplitter,
    NoticeOutput,
    ReasoningOutput,
    TextOutput,
    ToolOutput,
    step_line,
    truncate_output,
)
from codex_nb.rendering.sanitize import CONTEXT, visible_text
from codex_nb.session.events import (
    AnswerRejected,
    ApprovalRequested,
    ApprovalResolved,
    Notice,
    NoticePart,
    PlanPart,
    ReasoningPart,
    RetryScheduled,
    TextDelta,
    TextDone,
    TextPart,
    ToolCallReady,
    ToolFinished,
    ToolPart,
    TurnEvent,
    TurnFinished,
    TurnState,
    reduce,
)
from codex_nb.session.outbound import without_marks
from codex_nb.tools.approval import DecisionKind
from codex_nb.ui.layout import Decide, ask_by_typing, plain_code, requested_code, shows_outputs
from codex_nb.ui.part_views import checklist, is_open, phase_label, phase_of, shown_code, tool_title

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from typing import TextIO

    from rich.console import Console, RenderableType
    from rich.live import Live

    from codex_nb.rendering.answer_output import OutputPart
    from codex_nb.responses.events import Usage
    from codex_nb.session.events import Answer, Part
    from codex_nb.tools.approval import ApprovalRequest
    from codex_nb.ui.layout import Action, OutputLayout


RAN_UNASKED = "tools ran without asking (approval all)"
ALLOWED = "allowed for this session (%codex approvals)"


class Activity(NamedTuple):
    """What a turn is doing now, and whether it still runs."""

    text: str
    busy: bool = True


def activity_of(state: TurnState) -> Activity:
    """Return the activity line of a turn."""
    if state.finished is not None:
        return Activity("Finished", busy=False)
    if state.retry is not None:
        return Activity(retry_line(state.retry))
    calls = [part for part in state.parts if isinstance(part, ToolPart) and (part.waiting or part.running)]
    match next(iter(calls), state.parts[-1] if state.parts else None):
        case TextPart(done=False):
            return Activity("Writing")
        case ReasoningPart(done=False) as reasoning:
            return Activity(reasoning_heading(reasoning.text) or "Thinking")
        case ToolPart(waiting=True):
            return Activity("Waiting for your approval")
        case ToolPart(output=None) as call:
            return Activity(f"{'Running' if call.running else 'Preparing'}: {tool_title(call.name)}")
        case TextPart() if state.rejected is not None:
            return Activity("Correcting the answer")
    if state.plan is None or (place := state.plan.plan.current) is None:
        return Activity("Codex is working")
    steps = state.plan.plan.steps
    return Activity(f"Step {place + 1} of {len(steps)}: {steps[place].text}")


HEADING_REACH = 4_000  # characters: a part of a summary is shorter
_HEADING = re.compile(r"^\s*\*\*([^*\n]{1,200})\*\*\s*$", re.MULTILINE)


def reasoning_heading(text: str) -> str:
    """Return the newest heading of a reasoning summary: the line in bold type with which each of its parts begins."""
    headings = _HEADING.findall(text[-HEADING_REACH:])
    return headings[-1].strip() if headings else ""


def ask_line(state: TurnState) -> str:
    """Return the one line of a turn whose answer is a value of Python: what happens now, at the end what it took."""
    if (finished := state.finished) is None:
        return f"{activity_of(state).text} …"
    reason = "" if finished.answer.status == "completed" else f"Codex: {finished.answer.status}"
    return SEPARATOR.join(filter(None, (reason, *footer(state, finished.answer)))) or "Codex has answered"


def retry_line(event: RetryScheduled) -> str:
    """Return the line that announces a retry."""
    after = f" in {event.delay:.0f} s" if event.delay >= 1 else ""
    return f"{event.reason} Trying again{after} (attempt {event.attempt} of {event.max_attempts})."


def call_title(part: ToolPart, phase: Phase) -> str:
    """Return the line above a tool call."""
    return f"{tool_title(part.name)} ({phase_label(part, phase)})"


def ending(answer: Answer, error: str | None) -> str:
    """Return why a turn ended early, nothing when it completed."""
    match answer.status:
        case "completed":
            return ""
        case "cancelled":
            return STOPPED
        case "incomplete":
            return error or INCOMPLETE
        case "failed":
            return error or NO_REASON


def turn_document(
    state: TurnState, parts: Iterable[Part], *, shown_below: Collection[int] = (), is_last: bool = True
) -> AnswerOutput:
    """Return the saved output of these parts.

    ``shown_below`` names the calls whose outputs the notebook shows itself. The last document of a turn ends with the
    reason of an early end and the footer.
    """
    written = [_document_part(part, state, shown_below) for part in parts]
    entries: tuple[str, ...] = ()
    if is_last and state.finished is not None:
        answer = state.finished.answer
        if reason := ending(answer, state.finished.error):
            written.append(NoticeOutput(reason, "notice" if answer.status == "cancelled" else "error"))
        entries = footer(state, answer)
    return AnswerOutput(tuple(part for part in written if part is not None), entries)


def document_of(layout: OutputLayout, output: int, *, is_last: bool) -> AnswerOutput:
    """Return the saved form of one output of the cell; the last one of a turn has its end."""
    parts = layout.parts_of(output).values()
    return turn_document(layout.state, parts, shown_below=layout.shown_below, is_last=is_last)


def _document_part(part: Part, state: TurnState, shown_below: Collection[int]) -> OutputPart | None:
    match part:
        case TextPart():
            return TextOutput(part.text) if part.text.strip() else None
        case ReasoningPart():
            return ReasoningOutput(part.text) if part.text.strip() else None
        case NoticePart():
            return NoticeOutput(part.notice.text)
        case PlanPart():
            return checklist(part)
        case ToolPart():
            return _call(part, state, shown_below)


def _call(part: ToolPart, state: TurnState, shown_below: Collection[int]) -> ToolOutput:
    code, language = shown_code(part)
    phase = phase_of(part)
    if part.output is None and state.finished is not None:
        phase = "stopped" if part.running else "abandoned"
    output = "" if part.call_number in shown_below else part.output or ""
    return ToolOutput(call_title(part, phase), code, language, output, is_open(part, phase))


def footer(state: TurnState, answer: Answer) -> tuple[str, ...]:
    """Return the known entries of the line below an answer.

    They are the model, the program, tokens, billing, cost, what runs unasked and what is not saved.

    It is saved with the notebook, which others may read, so it names the account only where the user says so.
    """
    started = state.started
    if started is None:  # the turn failed before it began
        return ()
    kept = (*_standing_approvals(state), started.not_saved)
    if started.footer == "off":
        return tuple(filter(None, kept))
    model = answer.model or started.model
    entries = (
        f"{model}, {started.effort} effort" if model and started.effort else model,
        f"through {started.through}" if started.through else "",
        _tokens(answer.usage),
        started.account if started.footer == "account" else "",
        _billing(started.billing, started.plan),
        state.finished.cost if state.finished is not None else "",
        *kept,
    )
    return tuple(filter(None, entries))


def _standing_approvals(state: TurnState) -> tuple[str, ...]:
    """Return what runs without a question from now on, or ran so here: each once."""
    found: dict[str, None] = {}
    for part in state.parts:
        if not isinstance(part, ToolPart) or (decision := part.decision) is None or not decision.approved:
            continue
        if decision.by == "all":
            found[RAN_UNASKED] = None
        elif decision.kind is DecisionKind.APPROVE_TOOL:
            found[f"{tool_title(part.name)} {ALLOWED}"] = None
        elif decision.kind is DecisionKind.APPROVE_CODE:
            found[f"{tool_title(part.name)} (exactly this) {ALLOWED}"] = None
    return tuple(found)


def _tokens(usage: Usage) -> str:
    if not (usage.total_tokens or usage.input_tokens or usage.output_tokens):
        return ""
    cached = f" ({usage.cached_input_tokens:,} cached)" if usage.cached_input_tokens else ""
    reasoning = f" ({usage.reasoning_output_tokens:,} reasoning)" if usage.reasoning_output_tokens else ""
    return f"{usage.input_tokens:,} tokens in{cached}, {usage.output_tokens:,} out{reasoning}"


def _billing(billing: str, plan: str) -> str:
    if billing == "chatgpt":
        return plan_name(plan)
    return f"API key, {BILLED_PER_TOKEN}" if billing == "api_key" else billing


class AppendOnlyView(ABC):
    """Writes a turn as it arrives, without reasoning summaries, which would bury the answer.

    ``ask`` shows a prompt and returns the typed line; None when nobody can answer. ``on_action`` receives the
    decisions. Subclasses write visible text alone.
    """

    def __init__(
        self, *, on_action: Callable[[Action], None], ask: Callable[[str], str] | None = None
    ) -> None:
        self._on_action = on_action
        self._ask = ask
        self._state = TurnState()
        self._written_calls: set[int] = set()  # numbers of the calls whose code is written
        self._written_texts: set[str] = set()  # ids of the messages, where they wait for a value

    def apply(self, event: TurnEvent) -> None:
        """Write what the event shows; ask when it is an approval request."""
        before, self._state = self._state, reduce(self._state, event)
        if self._state.started is not None and self._state.started.returns_value:
            if isinstance(event, TextDelta | TextDone):
                return  # it may be the JSON of a value, which is shown when it has been read
            if isinstance(event, ToolCallReady | AnswerRejected | TurnFinished):
                self._write_texts()
        match event:
            case TextDelta():
                self._write_message(event.item_id, event.text)
            case TextDone():
                part = before.parts.find(TextPart, event.item_id)
                self._finish_message(event.item_id, event.text, part.text if part is not None else "")
            case ApprovalRequested():
                self._decide(event.request)
            case ApprovalResolved():
                self._write_call(event.call_number)
                self._write_refusal(event.call_number)
            case ToolFinished():
                self._write_call(event.call_number)
                self._write_plan(before)
                self._write_result(event)
            case RetryScheduled():
                self._write_line(retry_line(event), "dim")
            case AnswerRejected():
                notice = f"The answer does not match the schema ({event.reason}). Asking again."
                self._write_line(notice, "dim")
            case Notice():
                self._write_line(event.text, "dim")
            case TurnFinished():
                self._write_plan(before)
                if reason := ending(event.answer, event.error):
                    self._write_line(reason, "bold")
                if entries := footer(self._state, event.answer):
                    self._write_title(SEPARATOR.join(entries), "dim")

    def _write_texts(self) -> None:
        """Write the messages that waited for a value, the last one as the value where there is one."""
        for part in self._state.parts:
            if isinstance(part, TextPart) and part.item_id not in self._written_texts:
                self._written_texts.add(part.item_id)
                self._finish_message(part.item_id, part.text, "")

    @abstractmethod
    def flush(self) -> None:
        """Show what was written since the last flush."""

    @abstractmethod
    def close(self) -> None:
        """End what is being written."""

    def start_new_output(self) -> None:
        """Begin a new line below what was written by others."""
        self.close()

    def reserve_output(self) -> None:
        """Let others write; another view can only write text."""
        self.close()

    @abstractmethod
    def _write_message(self, item_id: str, text: str) -> None:
        """Write more of a message."""

    @abstractmethod
    def _finish_message(self, item_id: str, text: str, written: str) -> None:
        """Write the rest of a message's final text; ``written`` is what was written of it so far."""

    @abstractmethod
    def _write_line(self, text: str, style: str = "") -> None:
        """Write one or more whole lines, in a style of rich where there are styles."""

    @abstractmethod
    def _write_title(self, text: str, style: str) -> None:
        """Write a line about a call, or about the whole answer."""

    @abstractmethod
    def _write_code(self, code: str, language: str) -> None:
        """Write the code of a call below its title."""

    @abstractmethod
    def _write_output(self, output: str) -> None:
        """Write the output of a call below its title."""

    def _prompt_code(self, request: ApprovalRequest) -> str:
        """Return the code as the prompt shows it."""
        return plain_code(request)

    def _decide(self, request: ApprovalRequest) -> None:
        self.close()
        decision = ask_by_typing(request, self._ask, self._prompt_code)
        if decision.by == "user":
            self._written_calls.add(request.call_number)  # by the prompt
        self._on_action(Decide(request.call_number, decision))

    def _write_call(self, call_number: int) -> None:
        part = self._part(call_number)
        if part is None or call_number in self._written_calls or part.is_a_plan_being_written:
            return
        self._written_calls.add(call_number)
        self._write_title_and_code(tool_title(part.name), *shown_code(part))

    def _write_title_and_code(self, title: str, code: str, language: str) -> None:
        self._write_title(title, "bold")
        if code:
            self._write_code(code, language)

    def _write_refusal(self, call_number: int) -> None:
        part = self._part(call_number)
        decision = part.decision if part is not None else None
        if decision is not None and not decision.approved and decision.by != "user":
            self._write_line(decision.message, "dim")

    def _write_result(self, event: ToolFinished) -> None:
        part = self._part(event.call_number)
        if part is None:
            return
        self._write_title(call_title(part, phase_of(part)), "dim")
        if event.output and not shows_outputs(part.name):
            self._write_output(truncate_output(event.output))

    def _write_plan(self, before: TurnState) -> None:
        if lines := changed_plan_lines(before, self._state):
            self._write_line("\n".join(lines))

    def _part(self, call_number: int) -> ToolPart | None:
        return self._state.parts.find(ToolPart, call_number)


class PlainTextView(AppendOnlyView):
    """Writes a turn to a text stream.

    ``prompts_stay`` tells whether prompts remain on the screen, as in a console; elsewhere the code of an approval is
    written to the stream as well.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        on_action: Callable[[Action], None],
        ask: Callable[[str], str] | None = None,
        prompts_stay: bool = False,
    ) -> None:
        super().__init__(on_action=on_action, ask=ask)
        self._stream = stream
        self._prompts_stay = prompts_stay
        self._written_last = "\n"
        self._item = ""  # whose text is being written

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()

    def close(self) -> None:
        """End the last line."""
        self._start_line()
        self._stream.flush()

    def _write_message(self, item_id: str, text: str) -> None:
        if item_id != self._item:
            self._start_line()
            self._item = item_id
        self._write(text)

    def _finish_message(self, item_id: str, text: str, written: str) -> None:
        text = without_marks(text)
        if text.startswith(written):
            self._write_message(item_id, text.removeprefix(written))
        else:
            self._write_line(text)

    def _decide(self, request: ApprovalRequest) -> None:
        if self._ask is not None and not self._prompts_stay:
            self._write_call(request.call_number)
        super()._decide(request)

    def _write_title(self, text: str, style: str) -> None:
        self._write_line(f"[{text}]", style)

    def _write_code(self, code: str, language: str) -> None:
        del language
        self._write_output(code)

    def _write_output(self, output: str) -> None:
        self._write_line(textwrap.indent(output.rstrip("\n"), "    "))

    def _write_line(self, text: str, style: str = "") -> None:
        del style
        self._start_line()
        self._write(text + "\n")
        self._item = ""

    def _start_line(self) -> None:
        if not self._written_last.endswith("\n"):
            self._write("\n")

    def _write(self, text: str) -> None:
        if text:
            self._stream.write(visible_text(text, self._written_last))
            self._written_last = text[-CONTEXT:]


def changed_plan_lines(before: TurnState, after: TurnState) -> list[str]:
    """Return the plan's lines for a terminal: the whole plan first, then only the steps that changed."""
    earlier, part = before.plan, after.plan
    if part is None:
        return []
    known = checklist(earlier).steps if earlier is not None else ()
    changed = [step for step in checklist(part).steps if step not in known]
    if not changed and earlier is not None and part.plan == earlier.plan:
        return []
    remark = f" {visible_text(part.plan.explanation)}" if part.plan.explanation and not part.is_over else ""
    return [f"[{PLAN}]{remark}", *(f"  {step_line(step)}" for step in changed)]


SPARE_ROWS = 4  # of the window, so that what is drawn in place never scrolls


class RichView(AppendOnlyView):
    """Shows a turn on a rich console.

    Finished blocks of a message are printed, the unfinished one is drawn in place; anything but text ends it.
    """

    def __init__(
        self,
        console: Console,
        *,
        on_action: Callable[[Action], None],
        ask: Callable[[str], str] | None = None,
    ) -> None:
        super().__init__(on_action=on_action, ask=ask)
        self._console = console
        self._item = ""  # whose text is being written
        self._blocks = BlockSplitter()
        self._live: Live | None = None

    def flush(self) -> None:
        """Draw the unfinished block, where the console can draw in place."""
        source = self._blocks.source.strip("\n")
        if not source or not self._console.is_terminal:
            return
        if self._live is None:
            from rich.live import Live

            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        end = _end_of(source, self._console, is_code=self._blocks.is_code)
        self._live.update(_markdown(end), refresh=True)

    def close(self) -> None:
        """Print the unfinished block."""
        self._print(self._blocks.finish().source)
        self._item, self._blocks = "", BlockSplitter()

    def _print(self, source: str) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        if source.strip():
            self._console.print(_markdown(source))

    def _write_message(self, item_id: str, text: str) -> None:
        if item_id != self._item:
            self.close()
            self._item = item_id
        finished = self._blocks.feed(text)
        if finished is not None:
            self._print(finished.source)

    def _finish_message(self, item_id: str, text: str, written: str) -> None:
        if text.startswith(written):
            self._write_message(item_id, text.removeprefix(written))
            self.close()
        else:
            self.close()
            self._print(text)

    def _prompt_code(self, request: ApprovalRequest) -> str:
        with self._console.capture() as written:
            self._write_title_and_code(tool_title(request.tool), *requested_code(request))
        return written.get().rstrip("\n")

    def _write_title(self, text: str, style: str) -> None:
        self._write_line(text, style)

    def _write_code(self, code: str, language: str) -> None:
        from rich.syntax import Syntax

        self._console.print(Syntax(code, language or "text", theme="ansi_dark", word_wrap=True))

    def _write_output(self, output: str) -> None:
        self._write_line(output)

    def _write_line(self, text: str, style: str = "") -> None:
        from rich.text import Text

        self.close()
        self._console.print(Text(visible_text(text), style=style))


def _end_of(source: str, console: Console, *, is_code: bool) -> str:
    """Return as many lines of a block's end as the window shows; those of a code block stay code."""
    rows = max(1, console.height - SPARE_ROWS)
    lines = source.split("\n")
    first = len(lines)
    while first and (rows := rows - 1 - len(lines[first - 1]) // console.width) >= 0:
        first -= 1
    fence = lines[:1] if is_code and first else []
    return "\n".join([*fence, *lines[max(first, len(fence)) :]])


def _markdown(source: str) -> RenderableType:
    from rich.markdown import Markdown

    # Without hyperlinks the address itself is printed.
    markdown = Markdown(source, hyperlinks=False, code_theme="ansi_dark")
    for token in markdown.parsed:
        for part in (token, *(token.children or ())):  # here a reference has become a character
            part.content = visible_text(part.content)
    return markdown
