"""Turn events: everything a view may show, as small frozen values; the last one carries the ``Answer``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from codex_nb.errors import home_as_tilde
from codex_nb.labels import INCOMPLETE
from codex_nb.responses.events import Usage
from codex_nb.tools.outputs import CellState  # noqa: TC001 -- saved answers are read by these types

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

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
class RetryScheduled:
    """A request failed and is tried again after ``delay`` seconds; ``reason`` is one readable sentence."""

    attempt: int
    max_attempts: int
    delay: float
    reason: str


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
