"""Turn events: everything a view may show, as small frozen values.

A turn is an async iterator of these; the last one is :class:`TurnFinished`. The state a view draws is the fold of
them (:mod:`codex_nb.session.state`), so a view holds no logic of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from codex_nb.errors import CodexError
    from codex_nb.session.answer import Answer
    from codex_nb.tools.approval import ApprovalRequest, Decision


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """The turn begins; ``account`` is the label to show (an email, "API key …"), ``billing`` what pays."""

    turn_id: str
    thread: str
    model: str
    effort: str | None
    account: str
    plan: str
    billing: str


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

    ``call_number`` is this side's own name for the call in this turn; ``call_id`` is the server's.
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
    """The user (or the policy) has decided."""

    call_number: int
    decision: Decision


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """An approved call begins to run."""

    call_number: int


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
class Notice:
    """Something worth a quiet line: context was cut, secrets redacted, the thread compacted, a limit is near."""

    kind: Literal["context", "redacted", "compacted", "limits", "model", "replayed", "hint"]
    text: str


@dataclass(frozen=True, slots=True)
class TurnFinished:
    """The end, whatever it was; ``error`` is the readable line when ``answer.status`` is not "completed".

    ``failure`` is the error itself where there was one, for callers that act on its class.
    """

    answer: Answer
    error: str | None = None
    failure: CodexError | None = None


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
    | ToolFinished
    | RetryScheduled
    | Notice
    | TurnFinished
)
