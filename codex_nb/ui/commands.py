"""What the user can say to a running turn by touching the transcript."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codex_nb.tools.approval import Decision, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Stop:
    """End the turn; what has arrived is kept."""


@dataclass(frozen=True, slots=True)
class Decide:
    """Answer an approval request."""

    call_number: int
    decision: Decision


@dataclass(frozen=True, slots=True)
class Retry:
    """Ask the same again."""


@dataclass(frozen=True, slots=True)
class Continue:
    """Let the model go on where its answer broke off."""


Command = Stop | Decide | Retry | Continue

_VERDICTS = {
    "approve": Verdict.APPROVE,
    "approve_code": Verdict.APPROVE_CODE,
    "approve_tool": Verdict.APPROVE_TOOL,
    "reject": Verdict.REJECT,
    "stop": Verdict.STOP,
}


def read_command(message: Mapping[str, Any]) -> Command | None:
    """Return the command that a message of the front-end half carries; anything else is None."""
    match message.get("name"):
        case "stop":
            return Stop()
        case "retry":
            return Retry()
        case "continue":
            return Continue()
        case "decide":
            return _decide(message)
        case _:
            return None


def _decide(message: Mapping[str, Any]) -> Decide | None:
    verdict = _VERDICTS.get(str(message.get("verdict")))
    number, code, word = message.get("call_number"), message.get("code"), message.get("message")
    if verdict is None or type(number) is not int:
        return None
    decision = Decision(
        verdict,
        code=code if isinstance(code, str) else None,
        message=word.strip() if isinstance(word, str) else "",
    )
    return Decide(number, decision)
