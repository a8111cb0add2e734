"""Turn events: everything a view may show, as small frozen values; and the state of a turn, which is a fold of them.

The last event carries the ``Answer``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeVar, assert_never, overload

from codex_nb.errors import home_as_tilde
from codex_nb.labels import INCOMPLETE
from codex_nb.responses.events import RetryScheduled as RetryScheduled  # noqa: PLC0414 -- one of the turn's events
from codex_nb.responses.events import Usage
from codex_nb.tools.builtin import PLAN_UPDATED, UPDATE_PLAN, Plan, plan_in
from codex_nb.tools.describe import CellState  # noqa: TC001 -- saved answers are read by these types

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from codex_nb.errors import CodexError
    from codex_nb.rendering.answer_output import MimeBundle
    from codex_nb.tools.approval import ApprovalRequest, Decision


Status = Literal["completed", "incomplete", "failed", "cancelled"]
FooterStyle = Literal["plan", "account", "off"]
"""What is said below an answer: model, tokens and plan, the account as well, or only what must be said."""
REPLAY_CALL = 0
"""The number of the one approval of all calls of a saved answer; the calls of a turn count from 1."""


@dataclass(frozen=True)
class ToolCall:
    """One call the model made; ``arguments`` is the JSON text it sent, ``output`` None when it never ran.

    ``ran`` are the arguments that ran, as the user may have edited them, None when none did; ``ok`` tells whether the
    call went well. ``outputs`` are what it showed in the notebook, as nbformat outputs. ``cells`` are the notebook's
    cells that it changed or ran.
    """

    name: str
    call_id: str
    arguments: str
    output: str | None = None
    ran: str | None = field(default=None, repr=False, compare=False)
    ok: bool = field(default=False, repr=False, compare=False)
    outputs: tuple[dict[str, Any], ...] = field(default=(), repr=False, compare=False)
    cells: tuple[CellState, ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True)
class Answer:
    """The outcome of one turn.

    ``items`` are the response's output items exactly as received, over all steps. ``parsed`` is the instance of the
    requested schema. ``billing`` is what paid: ``"chatgpt"`` or ``"api_key"`` (or another auth mode's name).

    Its repr is short and the same for the same answer: lists of answers are saved in notebooks.
    """

    text: str
    parsed: Any = None
    items: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    tool_calls: tuple[ToolCall, ...] = field(default=(), repr=False)
    reasoning: str = field(default="", repr=False)
    status: Status = "completed"
    usage: Usage = field(default_factory=Usage, repr=False)
    model: str = ""
    thread: str = field(default="", repr=False)
    request_id: str | None = field(default=None, repr=False)
    billing: str = ""

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> MimeBundle:
        """Show the answer as every reader of notebooks can, with nothing in it that could run."""
        del include, exclude  # the three forms are cheap, and front ends choose among them
        from codex_nb.rendering.answer_output import answer_mimebundle

        return answer_mimebundle(self.text, notice=_REMARKS[self.status])


_REMARKS: Mapping[Status, str] = {
    "completed": "",
    "incomplete": INCOMPLETE,
    "failed": "The turn failed.",
    "cancelled": "The turn was stopped.",
}


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """The turn begins; ``account`` is the label to show (an email, "API key …"), ``billing`` what pays.

    ``returns_value`` tells whether the answer is a value, whose JSON is not to be shown. ``not_saved`` says why Run All
    will ask again in any case, where the user would expect a saved answer. ``through`` names the program in which the
    turn runs, empty for this one. ``footer`` is what the line below the answer says.
    """

    turn_id: str
    thread: str
    model: str
    effort: str | None
    account: str
    plan: str
    billing: str
    not_saved: str = ""
    returns_value: bool = False
    through: str = ""
    footer: FooterStyle = "plan"


@dataclass(frozen=True, slots=True)
class StepStarted:
    """One API request of the turn is sent; steps count from 1."""

    step: int


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of an answer message."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class TextDone:
    """A message is complete; ``text`` is final and wins over the deltas."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More of part ``part`` of a reasoning summary."""

    item_id: str
    part: int
    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDone:
    """A reasoning summary is complete; its parts are joined by blank lines in ``text``."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class ToolCallStarted:
    """The model begins a call; its arguments follow.

    ``call_number`` is our own number of the call in this turn; ``call_id`` is the server's id.
    """

    call_number: int
    name: str
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class ToolArgumentsDelta:
    """More of the JSON text of a call's arguments."""

    call_number: int
    text: str


@dataclass(frozen=True, slots=True)
class ToolCallReady:
    """A call is complete: ``arguments`` is the final JSON text."""

    call_number: int
    name: str
    arguments: str
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalRequested:
    """The user is asked; the turn waits until the approval is resolved."""

    request: ApprovalRequest


@dataclass(frozen=True, slots=True)
class ApprovalResolved:
    """The user (or the policy) has decided; ``request`` is what was not asked, of a call that changes a text."""

    call_number: int
    decision: Decision
    request: ApprovalRequest | None = None


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """An approved call begins to run."""

    call_number: int


@dataclass(frozen=True, slots=True)
class ToolOutputDelta:
    """More of what a running call shows; ToolFinished has all that is kept of it."""

    call_number: int
    text: str


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A call's output, as it goes back to the model."""

    call_number: int
    output: str
    ok: bool


@dataclass(frozen=True, slots=True)
class AnswerRejected:
    """The answer does not match the schema for ``reason``, in the validator's words; the model is asked again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice beside the answer: context truncated, secrets redacted, variables changed, a limit near."""

    kind: Literal[
        "context", "redacted", "compacted", "limits", "model", "cached", "variables", "search", "hint"
    ]
    text: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", home_as_tilde(self.text))  # a notebook saves it


@dataclass(frozen=True, slots=True)
class TurnFinished:
    """The end of the turn; ``error`` is the readable line when ``answer.status`` is not "completed".

    ``failure`` is the error itself where there was one, for callers that act on its class. ``shown`` is the answer's
    value as Markdown, to be shown in the place of the JSON that it was written in. ``cost`` says what the answer cost,
    or how much of the plan's limits is used; empty where nothing is known of it.
    """

    answer: Answer
    error: str | None = None
    failure: CodexError | None = None
    shown: str | None = None
    cost: str = ""


TurnEvent = (
    TurnStarted
    | StepStarted
    | TextDelta
    | TextDone
    | ReasoningDelta
    | ReasoningDone
    | ToolCallStarted
    | ToolArgumentsDelta
    | ToolCallReady
    | ApprovalRequested
    | ApprovalResolved
    | ToolStarted
    | ToolOutputDelta
    | ToolFinished
    | RetryScheduled
    | AnswerRejected
    | Notice
    | TurnFinished
)


LIVE_LIMIT = 4_000  # characters of a running call's output, the newest


class GrowingText:
    """An immutable text that grows in constant time.

    Versions of one text share a list of pieces, each knowing how many of them are its own; a version that is not the
    newest copies before it grows. So folding n deltas costs n, not n squared.
    """

    __slots__ = ("_count", "_pieces")

    def __init__(self, pieces: list[str] | None = None, count: int | None = None) -> None:
        self._pieces = [] if pieces is None else pieces
        self._count = len(self._pieces) if count is None else count

    def plus(self, more: str) -> GrowingText:
        """Return the longer text; this one stays what it is."""
        pieces = self._pieces
        if len(pieces) != self._count:
            pieces = pieces[: self._count]
        pieces.append(more)
        return GrowingText(pieces, self._count + 1)

    def since(self, earlier: GrowingText) -> str | None:
        """Return what this text has beyond ``earlier``, None when it does not begin with it."""
        if self._pieces is earlier._pieces and self._count >= earlier._count:
            return "".join(self._pieces[earlier._count : self._count])
        text, start = str(self), str(earlier)
        return text.removeprefix(start) if text.startswith(start) else None

    def __bool__(self) -> bool:
        return any(islice(self._pieces, self._count))

    def __str__(self) -> str:
        return "".join(self._pieces[: self._count])

    def __repr__(self) -> str:
        return f"GrowingText({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other) if isinstance(other, GrowingText | str) else NotImplemented

    def __hash__(self) -> int:
        return hash(str(self))


@dataclass(frozen=True, slots=True)
class TextPart:
    """A message of the model; ``done`` tells whether the text is final."""

    item_id: str
    growing: GrowingText = field(default_factory=GrowingText)
    done: bool = False

    @property
    def text(self) -> str:
        """The text so far."""
        return str(self.growing)


@dataclass(frozen=True, slots=True)
class ReasoningPart:
    """A reasoning summary; ``part`` is the index of the summary's newest part."""

    item_id: str
    growing: GrowingText = field(default_factory=GrowingText)
    part: int = 0
    done: bool = False

    @property
    def text(self) -> str:
        """The summary so far, its parts separated by blank lines."""
        return str(self.growing)


@dataclass(frozen=True, slots=True)
class ToolPart:
    """A tool call, from its start to its output.

    ``call_number`` is our own number of the call, ``call_id`` the server's id. ``request`` is set once the user
    is asked, ``decision`` once decided; ``ok`` is None until there is an output. ``live`` is the end of what the call
    has shown while it runs.
    """

    call_number: int
    name: str
    growing: GrowingText = field(default_factory=GrowingText)
    ready: bool = False
    request: ApprovalRequest | None = None
    decision: Decision | None = None
    running: bool = False
    output: str | None = None
    ok: bool | None = None
    call_id: str = ""
    live: str = ""

    @property
    def arguments(self) -> str:
        """The JSON text of the arguments so far."""
        return str(self.growing)

    @property
    def waiting(self) -> bool:
        """Whether the user's decision is awaited."""
        return self.request is not None and self.decision is None and self.output is None

    @property
    def is_a_plan_being_written(self) -> bool:
        """Whether this looks like a plan that is not complete yet."""
        return self.name == UPDATE_PLAN and self.request is None and self.output is None


@dataclass(frozen=True, slots=True)
class PlanPart:
    """The turn's plan of steps, as the last call left it, in the place of the first call.

    ``is_over`` tells that the turn has ended: no step is in progress any more.
    """

    plan: Plan
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class NoticePart:
    """A quiet line between the other parts."""

    notice: Notice


P = TypeVar("P", TextPart, ReasoningPart, ToolPart, PlanPart)

Part = TextPart | ReasoningPart | ToolPart | PlanPart | NoticePart


PARTS_OF_A_BLOCK = 64
_OF_ITEMS = (TextPart, ReasoningPart)  # a tuple: a union would be made at each event
PartKey = tuple[type, str | int]


class _Places(dict[PartKey, int]):
    """Where the parts with a key lie in the versions of one sequence; ``length`` is that of the longest version."""

    length = 0


class Parts(Sequence[Part]):
    """An immutable sequence of parts, of which one can be replaced or added at a small cost, and found by its key.

    The parts lie in blocks, of which a new version shares all but one. Versions share one table of places, too, in
    which nothing ever moves: only the longest version adds to it, and any other one that grows parts from it.
    """

    __slots__ = ("_blocks", "_length", "_places")

    def __init__(
        self, blocks: tuple[tuple[Part, ...], ...] = (), length: int = 0, places: _Places | None = None
    ) -> None:
        self._blocks = blocks
        self._length = length
        self._places = _Places() if places is None else places

    @classmethod
    def of(cls, parts: Iterable[Part]) -> Parts:
        """Return parts that share nothing with others."""
        whole = tuple(parts)
        starts = range(0, len(whole), PARTS_OF_A_BLOCK)
        places = _Places({key: at for at, part in enumerate(whole) if (key := _key(part)) is not None})
        places.length = len(whole)
        return cls(tuple(whole[start : start + PARTS_OF_A_BLOCK] for start in starts), len(whole), places)

    def find(self, kind: type[P], key: str | int) -> P | None:
        """Return the part of that kind with that key."""
        at = self._places.get((kind, key), self._length)
        part = self._at(at) if at < self._length else None
        return part if isinstance(part, kind) else None

    def put(self, part: Part) -> Parts:
        """Return the parts with this one in the place of the one with its key, else at the end."""
        key, length, places, blocks = _key(part), self._length, self._places, self._blocks
        at = length if key is None else places.get(key, length)
        if at >= length:
            if places.length != length:
                return Parts.of(self).put(part)
            length = places.length = at + 1
            if key is not None:
                places[key] = at
        number, place = divmod(at, PARTS_OF_A_BLOCK)
        block = blocks[number] if number < len(blocks) else ()
        block = (*block[:place], part, *block[place + 1 :])
        return Parts((*blocks[:number], block, *blocks[number + 1 :]), length, places)

    def _at(self, at: int) -> Part:
        return self._blocks[at // PARTS_OF_A_BLOCK][at % PARTS_OF_A_BLOCK]

    @overload
    def __getitem__(self, at: int) -> Part: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Part]: ...
    def __getitem__(self, at: int | slice) -> Part | Sequence[Part]:
        if isinstance(at, slice):
            return tuple(self)[at]
        at = at + self._length if at < 0 else at
        if not 0 <= at < self._length:
            raise IndexError(at)
        return self._at(at)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Part]:
        for block in self._blocks:
            yield from block

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, Parts | tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Parts({list(self)!r})"


def _key(part: Part) -> PartKey | None:
    """Return what a part keeps while it changes; None for one that never does."""
    if isinstance(part, _OF_ITEMS):  # first what most events are about
        return type(part), part.item_id
    if isinstance(part, ToolPart):
        return ToolPart, part.call_number
    return (PlanPart, "") if isinstance(part, PlanPart) else None


@dataclass(frozen=True, slots=True)
class TurnState:
    """Everything that a turn has shown so far; ``retry`` is set while a failed request waits to be repeated."""

    started: TurnStarted | None = None
    step: int = 0
    parts: Parts = field(default_factory=Parts)
    retry: RetryScheduled | None = None
    finished: TurnFinished | None = None
    rejected: AnswerRejected | None = None

    @property
    def is_replayed(self) -> bool:
        """Whether a saved answer is shown."""
        return any(isinstance(part, NoticePart) and part.notice.kind == "cached" for part in self.parts)

    @property
    def plan(self) -> PlanPart | None:
        """The turn's plan of steps, once it has shown one."""
        return self.parts.find(PlanPart, "")


def reduce(state: TurnState, event: TurnEvent) -> TurnState:
    """Return the state after an event."""
    match event:
        case TextDelta() | TextDone():
            return _with_part(state, _text(state, event))
        case ReasoningDelta() | ReasoningDone():
            return _with_part(state, _reasoning(state, event))
        case ToolCallStarted() | ToolArgumentsDelta() | ToolCallReady():
            return _with_part(state, _call(state, event))
        case ToolFinished():
            return _with_plan(_with_part(state, _progress(state, event)), event.call_number)
        case ApprovalResolved(call_number=call_number) if call_number == REPLAY_CALL:
            # the calls themselves follow, each with its own code
            return replace(
                state, parts=Parts.of(part for part in state.parts if _key(part) != (ToolPart, REPLAY_CALL))
            )
        case ApprovalRequested() | ApprovalResolved() | ToolStarted() | ToolOutputDelta():
            return _with_part(state, _progress(state, event))
        case Notice():
            return replace(state, parts=state.parts.put(NoticePart(event)))
        case TurnStarted():
            return replace(state, started=event)
        case StepStarted():
            return replace(state, step=event.step, retry=None)
        case RetryScheduled():
            return replace(state, parts=Parts.of(filter(_survives_a_retry, state.parts)), retry=event)
        case AnswerRejected():
            return replace(state, rejected=event)
        case TurnFinished():
            parts = (
                replace(part, is_over=True) if isinstance(part, PlanPart) else part for part in state.parts
            )
            return replace(state, parts=_with_value(Parts.of(parts), event.shown), retry=None, finished=event)
        case _:
            assert_never(event)


def _with_value(parts: Parts, shown: str | None) -> Parts:
    """Put a value in the place of the last message, which is the JSON that it was written in."""
    last = next((part for part in reversed(parts) if isinstance(part, TextPart)), None)
    if shown is None or last is None:
        return parts
    return parts.put(TextPart(last.item_id, GrowingText([shown]), done=True))


class TurnFold:
    """Folds the events of a turn into its state; the deltas of one message are folded together, when it is read."""

    def __init__(self) -> None:
        self._state = TurnState()
        self._deltas: list[TextDelta] = []  # of one message

    def apply(self, event: TurnEvent) -> None:
        """Take in one event."""
        if isinstance(event, TextDelta):
            if self._deltas and self._deltas[0].item_id != event.item_id:
                self._fold_deltas()
            self._deltas.append(event)
        else:
            self._fold_deltas()
            self._state = reduce(self._state, event)

    @property
    def state(self) -> TurnState:
        """The state of the turn."""
        self._fold_deltas()
        return self._state

    def _fold_deltas(self) -> None:
        if self._deltas:
            text = "".join(delta.text for delta in self._deltas)
            self._state = reduce(self._state, TextDelta(self._deltas[0].item_id, text))
            self._deltas.clear()


def _survives_a_retry(part: Part) -> bool:
    # The repeated request sends unfinished items again from their beginning.
    match part:
        case TextPart() | ReasoningPart():
            return part.done
        case ToolPart():
            return part.ready
        case PlanPart() | NoticePart():
            return True


def _text(state: TurnState, event: TextDelta | TextDone) -> TextPart:
    part = state.parts.find(TextPart, event.item_id) or TextPart(event.item_id)
    if isinstance(event, TextDone):
        return TextPart(part.item_id, GrowingText([event.text]), done=True)
    return TextPart(part.item_id, part.growing.plus(event.text))


def _reasoning(state: TurnState, event: ReasoningDelta | ReasoningDone) -> ReasoningPart:
    part = state.parts.find(ReasoningPart, event.item_id) or ReasoningPart(event.item_id)
    if isinstance(event, ReasoningDone):
        return ReasoningPart(part.item_id, GrowingText([event.text]), part.part, done=True)
    gap = "\n\n" if event.part != part.part and part.growing else ""
    return ReasoningPart(part.item_id, part.growing.plus(gap + event.text), event.part)


def _call(state: TurnState, event: ToolCallStarted | ToolArgumentsDelta | ToolCallReady) -> ToolPart:
    name = "" if isinstance(event, ToolArgumentsDelta) else event.name
    part = state.parts.find(ToolPart, event.call_number) or ToolPart(event.call_number, name)
    match event:
        case ToolCallStarted():
            return replace(part, call_id=event.call_id)
        case ToolArgumentsDelta():
            return replace(part, growing=part.growing.plus(event.text))
        case ToolCallReady():
            growing = GrowingText([event.arguments])
            return replace(part, name=event.name, growing=growing, ready=True, call_id=event.call_id)


def _progress(
    state: TurnState,
    event: ApprovalRequested | ApprovalResolved | ToolStarted | ToolOutputDelta | ToolFinished,
) -> ToolPart:
    number = event.request.call_number if isinstance(event, ApprovalRequested) else event.call_number
    name = event.request.tool if isinstance(event, ApprovalRequested) else ""
    part = state.parts.find(ToolPart, number) or ToolPart(number, name)
    match event:
        case ApprovalRequested():  # nothing that was decided or run before counts for what is asked now
            return replace(part, request=event.request, decision=None, running=False, output=None, ok=None)
        case ApprovalResolved():
            return replace(part, decision=event.decision, request=event.request or part.request)
        case ToolStarted():
            return replace(part, running=True)
        case ToolOutputDelta():
            return replace(part, live=(part.live + event.text)[-LIVE_LIMIT:])
        case ToolFinished():
            return replace(part, running=False, output=event.output, ok=event.ok, live="")


def _with_plan(state: TurnState, call_number: int) -> TurnState:
    """Put a plan that was shown in the place of its call, or of the plan before it."""
    call = state.parts.find(ToolPart, call_number)
    if call is None or (shown := _plan_of(call)) is None:
        return state
    before = state.plan
    gone, replaced = (call, before) if before is not None else (None, call)
    parts = (PlanPart(shown) if part is replaced else part for part in state.parts if part is not gone)
    return replace(state, parts=Parts.of(parts))


def _plan_of(call: ToolPart) -> Plan | None:
    # A tool of the user's own may have the same name; its calls are shown as calls.
    if call.name != UPDATE_PLAN or not call.ok or call.output != PLAN_UPDATED or call.request is not None:
        return None
    return plan_in(call.arguments)


def _with_part(state: TurnState, part: Part) -> TurnState:
    # Without ``rejected``: what follows a rejected answer is its correction.
    return TurnState(state.started, state.step, state.parts.put(part), state.retry, state.finished)
