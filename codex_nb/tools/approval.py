"""Consent: what is asked, what may be answered, and who is waiting for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """The user's word on one tool call."""

    APPROVE = "approve"
    APPROVE_CODE = "approve_code"  # and exactly this code for the rest of the session
    APPROVE_TOOL = "approve_tool"  # and this tool for the rest of the session
    REJECT = "reject"
    STOP = "stop"  # reject and end the turn


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """A tool call that waits for the user.

    ``code`` is exactly what will run (Python for run_python, JSON arguments otherwise); ``language`` names it for
    highlighting; ``editable`` tells whether the user may change it before approval; ``summary`` says in one line what
    the call does.
    """

    call_id: str
    tool: str
    code: str
    language: str
    summary: str
    editable: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to an approval request.

    ``code`` replaces the request's code when the user edited it; ``message`` goes to the model with a rejection;
    ``by`` is "user", "policy" or "nobody" (nobody was there to answer).
    """

    verdict: Verdict
    code: str | None = None
    message: str = ""
    by: str = "user"

    @property
    def approved(self) -> bool:
        """Whether the call may run."""
        return self.verdict in {Verdict.APPROVE, Verdict.APPROVE_CODE, Verdict.APPROVE_TOOL}
