"""The sections of a transcript: what each part of the turn's state has shown, and the operations that show the rest.

An operation is a small dict for the front-end half (``static/transcript.js`` knows the same names):

=========== ==========================================================================
``section``  begin a section: ``kind``, ``title``
``html``     of ``slot`` body or code: append ``closed``; replace ``open`` or append ``tail``
``state``    of a call: ``phase`` (for style), ``text`` (to read), ``folded``
``ask``      show an approval: ``request``
``asked``    take the approval away
``output``   a call's output, as ``text``
``plan``     the steps of a plan: ``steps``, ``remark``
``reset``    empty the section
``remove``   take the section away
``status``   the line at the bottom: ``text``, ``busy``
=========== ==========================================================================
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from codex_nb.errors import InvalidArguments
from codex_nb.rendering.blocks import BlocksUpdate, MarkdownBlocks, joined
from codex_nb.rendering.bundle import shortened
from codex_nb.rendering.code import GrowingCode, safe_code
from codex_nb.rendering.visible import escape_invisible
from codex_nb.session.state import GrowingText, NoticePart, Part, PlanPart, ReasoningPart, TextPart, ToolPart
from codex_nb.tools.insertion import insert_cells
from codex_nb.ui.arguments import ArgumentsReader, readable_arguments
from codex_nb.ui.phrasing import Phase, phase, tool_title
from codex_nb.ui.placing import SHOWN_AS_OUTPUTS
from codex_nb.ui.plans import PlanSection
from codex_nb.words import transcript as words

if TYPE_CHECKING:
    from codex_nb.tools.approval import ApprovalRequest

Operation = dict[str, Any]
P_contra = TypeVar("P_contra", bound=Part, contravariant=True)


class Section(Protocol[P_contra]):
    """One part on the page."""

    def update(self, part: P_contra) -> list[Operation]:
        """Take the part as it is now, return what shows the difference."""

    def whole(self) -> list[Operation]:
        """Return what shows the section on a page that has nothing of it yet."""


class ProseSection:
    """A message or a reasoning summary."""

    def __init__(self, key: int, kind: str, title: str) -> None:
        self._key = key
        self._begin: Operation = {"op": "section", "key": key, "kind": kind, "title": title}
        self._text = GrowingText()
        self._blocks = MarkdownBlocks()
        self._closed: list[str] = []
        self._begun = False
        self._done = False

    def update(self, part: TextPart | ReasoningPart) -> list[Operation]:
        """Feed what is new; a text that turned out different begins anew."""
        if self._done or (part.growing is self._text and not part.done):
            return []
        more = part.growing.since(self._text)
        operations: list[Operation] = [] if self._begun else [self._begin]
        self._begun = True
        if more is None:
            operations.append({"op": "reset", "key": self._key})
            self._blocks, self._closed, more = MarkdownBlocks(), [], str(part.growing)
        self._text = part.growing
        updates = [self._blocks.feed(more)] if more else []
        if part.done:
            self._done = True
            updates.append(self._blocks.finish())
        self._closed += [update.closed for update in updates if update.closed]
        return operations + [html(self._key, update) for update in updates]

    @property
    def rendered(self) -> dict[str, str]:
        """The text and its HTML, once it is final."""
        return {str(self._text): joined(self._closed)} if self._done else {}

    def whole(self) -> list[Operation]:
        """Begin the section with all that is closed and the open block."""
        shown = BlocksUpdate("".join(self._closed), self._blocks.redraw())
        return [self._begin, html(self._key, shown)]


class CallSection:
    """A tool call: its code as it is written, its approval, its progress, its output."""

    def __init__(self, key: int) -> None:
        self._key = key
        self._part: ToolPart | None = None
        self._reader = ArgumentsReader()
        self._code: GrowingCode | None = None
        self._final = ""
        self._progress: Operation = {}
        self._asking = False
        self.shown_below = False  # whether the notebook itself shows what the call gives
        self._output: str | None = None

    def update(self, part: ToolPart) -> list[Operation]:
        """Show what changed since the part that was shown last."""
        last, self._part = self._part, part
        if part is last:
            return []
        operations = [self._begin(part)] if last is None or last.name != part.name else []
        operations += self._show_code(last, part)
        operations += self._show_progress(part)
        operations += self._show_approval(part)
        return operations + self._show_output(part)

    def whole(self) -> list[Operation]:
        """Begin the section with everything it has."""
        if self._part is None:
            return []
        part, self._progress, self._asking, self._output = self._part, {}, False, None
        code = self._final or (self._code.redraw() if self._code else "")
        operations = [self._begin(part), html(self._key, BlocksUpdate(open=code), slot="code")]
        operations += self._show_progress(part)
        operations += self._show_approval(part)
        return operations + self._show_output(part)

    def _begin(self, part: ToolPart) -> Operation:
        return {"op": "section", "key": self._key, "kind": "call", "title": tool_title(part.name)}

    def _show_code(self, last: ToolPart | None, part: ToolPart) -> list[Operation]:
        if part.ready or part.request is not None:
            code, language = shown_code(part)
            final = safe_code(code, language) if code else ""
            if final == self._final:
                return []
            self._final = final
            return [html(self._key, BlocksUpdate(open=final), slot="code")]
        more = part.growing.since(last.growing if last else GrowingText()) or ""
        code = self._reader.feed(more)
        if not code:
            return []
        self._code = self._code or GrowingCode(self._reader.language)
        return [html(self._key, self._code.feed(code), slot="code")]

    def _show_progress(self, part: ToolPart) -> list[Operation]:
        which = phase_of(part)
        edited = part.decision is not None and part.decision.code is not None
        text = phase(which, edited=edited)
        folded = is_folded(part.name, which)
        progress: Operation = {
            "op": "state",
            "key": self._key,
            "phase": which,
            "text": text,
            "folded": folded,
        }
        if progress == self._progress:
            return []
        self._progress = progress
        return [progress]

    def _show_approval(self, part: ToolPart) -> list[Operation]:
        if part.waiting == self._asking:
            return []
        self._asking = part.waiting
        if part.request is None or not part.waiting:
            return [{"op": "asked", "key": self._key}]
        return [{"op": "ask", "key": self._key, "request": approval(part.request)}]

    def _show_output(self, part: ToolPart) -> list[Operation]:
        if self.shown_below or not part.output or part.output == self._output:
            return []
        self._output = part.output
        return [{"op": "output", "key": self._key, "text": shortened(part.output)}]


class NoticeSection:
    """A quiet line."""

    def __init__(self, key: int) -> None:
        self._begin: Operation = {"op": "section", "key": key, "kind": "notice", "title": ""}
        self._shown = False

    def update(self, part: NoticePart) -> list[Operation]:
        """Show the line, once."""
        self._begin["title"] = part.notice.text
        if self._shown:
            return []
        self._shown = True
        return [self._begin]

    def whole(self) -> list[Operation]:
        """Show the line."""
        return [self._begin]


def section_for(part: Part, key: int) -> Section[Any]:
    """Return the section that shows parts of this kind."""
    match part:
        case TextPart():
            return ProseSection(key, "text", "")
        case ReasoningPart():
            return ProseSection(key, "thinking", words.REASONING)
        case ToolPart():
            return CallSection(key)
        case PlanPart():
            return PlanSection(key)
        case NoticePart():
            return NoticeSection(key)


def html(key: int, update: BlocksUpdate, slot: str = "body") -> Operation:
    """Return the operation that shows an update."""
    operation: Operation = {"op": "html", "key": key, "slot": slot}
    if update.closed:
        operation["closed"] = update.closed
    if update.open is not None:
        operation["open"] = update.open
    if update.tail:
        operation["tail"] = update.tail
    return operation


def approval(request: ApprovalRequest) -> Operation:
    """Return what the front end needs to ask; an editor would hide again what is marked in the code."""
    code = escape_invisible(request.code)
    return {
        "call_number": request.call_number,
        "code": code,
        "editable": request.editable and code == request.code,
        "is_code": request.language != "json",
        "summary": escape_invisible(request.summary),
        "asks": words.asks(tool_title(request.tool)),
    }


def shown_code(part: ToolPart) -> tuple[str, str]:
    """Return a call's code, with nothing hidden in it, and its language."""
    code, language = _code(part)
    return escape_invisible(code), language


def _code(part: ToolPart) -> tuple[str, str]:
    """Return a call's code and its language: as edited, as asked for, or as its arguments say."""
    if part.decision is not None and part.decision.code is not None:
        return part.decision.code, part.request.language if part.request else "python"
    if part.request is not None:
        return part.request.code, part.request.language
    if part.name == insert_cells.name:
        with suppress(InvalidArguments):
            return insert_cells.readable(insert_cells.parse(part.arguments))
    return readable_arguments(part.arguments)


def is_folded(name: str, which: Phase) -> bool:
    """Whether a call is folded as soon as it is over; code that ran in the user's kernel stays before their eyes."""
    ran = which in {"done", "failed"}
    return which in {"rejected", "unanswered"} or (ran and name not in SHOWN_AS_OUTPUTS)


def phase_of(part: ToolPart) -> Phase:
    """Return how far a call has come."""
    if part.output is not None:
        if part.decision is not None and not part.decision.approved:
            return "unanswered" if part.decision.by == "nobody" else "rejected"
        return "done" if part.ok else "failed"
    if part.running:
        return "running"
    if part.waiting:
        return "asking"
    return "ready" if part.ready else "writing"
