"""Views of a turn's parts: each knows what it has shown and returns the operations that show the rest."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from codex_nb.errors import InvalidArguments
from codex_nb.labels import AGENT_TOOLS, PHASES, Phase
from codex_nb.parse import loads
from codex_nb.rendering.answer_output import (
    PLAN,
    REASONING,
    STEP_LABELS,
    BlocksUpdate,
    GrowingCode,
    MarkdownBlocks,
    PlanOutput,
    RenderedText,
    StepOutput,
    safe_code,
    truncate_output,
)
from codex_nb.rendering.sanitize import NO_HTML, SafeHtml, VisibleText, escape_invisible, visible_text
from codex_nb.session.events import GrowingText, NoticePart, Part, PlanPart, ReasoningPart, TextPart, ToolPart
from codex_nb.tools.base import builtin_tools
from codex_nb.ui.layout import requested_code, shows_outputs

if TYPE_CHECKING:
    from codex_nb.tools.approval import ApprovalRequest

# The arguments of a tool that takes code begin with it: {"code": "…
_CODE_BEGINS = re.compile(r'\s*\{\s*"code"\s*:\s*"')
_CODE_MAY_BEGIN = re.compile(r'\s*(?:\{\s*(?:"(?:c(?:o(?:d(?:e(?:"\s*(?::\s*)?)?)?)?)?)?)?)?')
# An escape sequence cut in two, or half of a surrogate pair, waits for the rest.
_WHOLE_CHARACTERS = re.compile(
    r'(?:[^"\\]|\\[^u]|\\u(?![dD][89abAB])[0-9a-fA-F]{4}'
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}(?=[^\\]|\\[^u]|\\u[0-9a-fA-F]{4}))*"
)


class ArgumentsReader:
    """Turns streamed JSON arguments into what to show: the JSON itself, or of a tool that takes code the code."""

    def __init__(self, *, takes_code: bool) -> None:
        self._waiting = ""  # not yet shown
        self._mode = "unknown" if takes_code else "json"

    @property
    def language(self) -> str:
        """The language of what is shown."""
        return "python" if self._mode == "code" else "json"

    def feed(self, piece: str) -> str:
        """Read more JSON text and return more to show."""
        self._waiting += piece
        if self._mode == "unknown" and (begin := _CODE_BEGINS.match(self._waiting)):
            self._mode, self._waiting = "code", self._waiting[begin.end() :]
        elif self._mode == "unknown" and not _CODE_MAY_BEGIN.fullmatch(self._waiting):
            self._mode = "json"
        if self._mode == "json":
            shown, self._waiting = self._waiting, ""
            return shown
        # of code nothing matches any more from its closing quote on
        whole = _WHOLE_CHARACTERS.match(self._waiting) if self._mode == "code" else None
        if whole is None:
            return ""
        self._waiting = self._waiting[whole.end() :]
        return _unescaped(whole.group())


def readable_arguments(arguments: str) -> tuple[str, str]:
    """Return complete arguments as text to read, and its language."""
    try:
        value = loads(arguments)
    except ValueError:
        return arguments, ""
    if value in ({}, None):
        return "", "json"
    return json.dumps(value, ensure_ascii=False, indent=2), "json"


def _unescaped(content: str) -> str:
    try:
        text: str = json.loads(f'"{content}"', strict=False)
    except ValueError:
        return content
    return text.encode("utf-16", "replace").decode("utf-16", "replace")


Operation = dict[str, Any]
NEVER_RAN: frozenset[Phase] = frozenset({"rejected", "unanswered", "abandoned"})
P = TypeVar("P", bound=Part)


class PartView(ABC, Generic[P]):
    """One part of a turn in a live output, whose operations name it by its key."""

    def __init__(self, key: int) -> None:
        self.key = key
        self._part: P | None = None
        self._sent: dict[str, Operation] = {}  # the last operations, by what they show

    def update(self, part: P) -> list[Operation]:
        """Take the part as it is now, return the operations that show the difference."""
        last, self._part = self._part, part
        return [] if part is last else self._operations(part)

    @abstractmethod
    def _operations(self, part: P) -> list[Operation]:
        """Return the operations that show what has changed since the last time."""

    def _section(self, kind: str, title: str) -> Operation:
        return {"op": "section", "key": self.key, "kind": kind, "title": title}

    def _changed(self, **operations: Operation) -> list[Operation]:
        """Return the operations that differ from the last ones that showed the same."""
        changed = {what: each for what, each in operations.items() if self._sent.get(what) != each}
        self._sent |= changed
        return list(changed.values())


class ProseView(PartView[TextPart | ReasoningPart]):
    """A message or a reasoning summary."""

    def __init__(self, key: int, kind: str, title: str) -> None:
        super().__init__(key)
        self._begin = self._section(kind, title)
        self._text = GrowingText()
        self._blocks = MarkdownBlocks()
        self._done = False

    def _operations(self, part: TextPart | ReasoningPart) -> list[Operation]:
        """Render what is new; a text that differs from what was streamed starts over."""
        if self._done:
            return []
        more = part.growing.since(self._text)
        operations = self._changed(section=self._begin)
        if more is None:
            operations.append({"op": "reset", "key": self.key})
            self._blocks, more = MarkdownBlocks(), str(part.growing)
        self._text = part.growing
        updates = [self._blocks.feed(more)] if more else []
        if part.done:
            self._done = True
            updates.append(self._blocks.finish())
        return operations + [html_operation(self.key, update) for update in updates]

    @property
    def rendered(self) -> dict[str, RenderedText]:
        """The text and what it was rendered to, once it is final."""
        return {str(self._text): self._blocks.rendered} if self._done else {}


class CallView(PartView[ToolPart]):
    """A tool call: its code as it is written, its approval, its progress, its output."""

    def __init__(self, key: int) -> None:
        super().__init__(key)
        self._arguments = GrowingText()
        self._reader: ArgumentsReader | None = None
        self._code: GrowingCode | None = None
        self._complete: tuple[str, str, ApprovalRequest | None] | None = None  # what was drawn as a whole
        self.shown_below = False  # whether the notebook shows the call's outputs itself

    def _operations(self, part: ToolPart) -> list[Operation]:
        phase = phase_of(part)
        state = {
            "op": "state",
            "key": self.key,
            "phase": phase,
            "text": phase_label(part, phase),
            "folded": part.output is not None and not is_open(part, phase),
        }
        operations = self._changed(section=self._section("call", tool_title(part.name)))
        operations += self._show_code(part)
        operations += self._changed(state=state)
        if part.request is not None:
            asking: Operation = {"op": "asked", "key": self.key}
            if part.waiting:
                asking = {"op": "ask", "key": self.key, "request": approval_payload(part.request)}
            operations += self._changed(approval=asking)
        if (output := part.output or part.live) and not self.shown_below:
            text = visible_text(truncate_output(output))
            is_live = {} if part.output else {"is_live": True}
            operations += self._changed(output={"op": "output", "key": self.key, "text": text, **is_live})
        return operations

    def _show_code(self, part: ToolPart) -> list[Operation]:
        if part.ready or part.request is not None:
            complete = (part.name, part.arguments, _decided_request(part))
            if complete == self._complete:  # an output that grows does not change the code
                return []
            self._complete = complete
            final = BlocksUpdate(open=_final_code(part))
            return self._changed(code=html_operation(self.key, final, slot="code"))
        more, self._arguments = part.growing.since(self._arguments) or "", part.growing
        self._reader = self._reader or ArgumentsReader(takes_code=_takes_code(part.name))
        code = self._reader.feed(more)
        if not code:
            return []
        self._code = self._code or GrowingCode(self._reader.language)
        return [html_operation(self.key, self._code.feed(code), slot="code")]


class NoticeView(PartView[NoticePart]):
    """A quiet line."""

    def _operations(self, part: NoticePart) -> list[Operation]:
        return self._changed(section=self._section("notice", visible_text(part.notice.text)))


class PlanView(PartView[PlanPart]):
    """The plan as a checklist."""

    def _operations(self, part: PlanPart) -> list[Operation]:
        plan = checklist(part)
        steps = [
            {
                "text": visible_text(step.text),
                "status": step.status,
                "mark": STEP_LABELS[step.status].mark,
                "state": STEP_LABELS[step.status].name,
            }
            for step in plan.steps
        ]
        shown = {"op": "plan", "key": self.key, "steps": steps, "remark": visible_text(plan.explanation)}
        return self._changed(section=self._section("plan", PLAN), steps=shown)


def checklist(part: PlanPart) -> PlanOutput:
    """Return the saved form of a plan."""
    steps = (
        StepOutput(step.text, "unfinished" if part.is_over and step.status == "in_progress" else step.status)
        for step in part.plan.steps
    )
    return PlanOutput(tuple(steps), part.plan.explanation)


def part_view_for(part: Part, key: int) -> PartView[Any]:
    """Return the view of a part."""
    match part:
        case TextPart():
            return ProseView(key, "text", "")
        case ReasoningPart():
            return ProseView(key, "thinking", REASONING)
        case ToolPart():
            return CallView(key)
        case PlanPart():
            return PlanView(key)
        case NoticePart():
            return NoticeView(key)


def html_operation(key: int, update: BlocksUpdate, slot: str = "body") -> Operation:
    """Return the operation that shows an update."""
    operation: Operation = {"op": "html", "key": key, "slot": slot}
    if update.closed:
        operation["closed"] = update.closed
    if update.open is not None:
        operation["open"] = update.open
    if update.tail:
        operation["tail"] = update.tail
    return operation


def approval_payload(request: ApprovalRequest) -> Operation:
    """Return what the front end needs to ask; an editor would hide escaped characters, so such code is not editable."""
    code = escape_invisible(request.code)
    return {
        "call_number": request.call_number,
        "code": code,
        "editable": request.editable and code == request.code,
        "is_code": request.language != "json",
        "summary": escape_invisible(request.summary),
        "allow_tool": f"Allow {tool_title(request.tool)} for this session",
        "is_change": request.before is not None,
        "is_question": request.is_question,
        "asks": f"Codex asks for your approval: {tool_title(request.tool)}",
    }


def shown_code(part: ToolPart) -> tuple[VisibleText, str]:
    """Return a call's code as it is read, or the diff of what it changes; and its language."""
    if (request := _decided_request(part)) is not None:
        return requested_code(request)
    if (tool := builtin_tools().get(part.name)) is not None:
        with suppress(InvalidArguments):
            if (code := tool.parse(part.arguments).to_code()) is not None:
                return escape_invisible(code), "python"
    code, language = readable_arguments(part.arguments)
    return escape_invisible(code), language


def _final_code(part: ToolPart) -> SafeHtml:
    request = _decided_request(part)
    if request is not None and request.before is not None:
        from codex_nb.rendering.diff import diff_html

        return diff_html(request.before, request.code, language=request.language)
    shown, language = shown_code(part)
    return safe_code(shown, language) if shown else NO_HTML


def _decided_request(part: ToolPart) -> ApprovalRequest | None:
    """Return a call's request with the code that was approved in it, None where nothing was asked."""
    if part.request is None or part.decision is None or part.decision.code is None:
        return part.request
    return replace(part.request, code=part.decision.code)


def _takes_code(name: str) -> bool:
    tool = builtin_tools().get(name)
    return tool is not None and "code" in tool.arguments.model_fields


def tool_title(name: str) -> str:
    """Return a tool's title; a tool that is neither built in nor the agent's has its name."""
    tool = builtin_tools().get(name)
    return tool.title if tool is not None else AGENT_TOOLS.get(name) or escape_invisible(name) or "Tool"


def is_open(part: ToolPart, phase: Phase) -> bool:
    """Whether a call is shown open when it is over: it ran, and ran code in the user's kernel or changed a text."""
    changes_text = part.request is not None and part.request.before is not None
    return phase not in NEVER_RAN and (changes_text or shows_outputs(part.name))


def phase_label(part: ToolPart, phase: Phase) -> str:
    """Return the words for a call's phase, and whether the user edited it."""
    is_edited = part.decision is not None and part.decision.code is not None
    return f"{PHASES[phase]}, edited by you" if is_edited else PHASES[phase]


def phase_of(part: ToolPart) -> Phase:
    """Return the phase of a call."""
    if part.output is not None:
        if part.decision is not None and not part.decision.approved:
            return "unanswered" if part.decision.by == "nobody" else "rejected"
        return "done" if part.ok else "failed"
    if part.running:
        return "running"
    if part.waiting:
        return "asking"
    return "ready" if part.ready else "writing"
