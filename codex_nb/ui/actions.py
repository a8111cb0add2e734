"""What the user does during a turn: stop it, answer an approval by button or by typing, retry or continue it."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codex_nb.rendering.visible import escape_invisible
from codex_nb.tools.approval import NOBODY_THERE, ApprovalUnavailable, Decision, DecisionKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from codex_nb.rendering.visible import VisibleText
    from codex_nb.tools.approval import ApprovalRequest


@dataclass(frozen=True, slots=True)
class Stop:
    """End the turn and keep the partial answer."""


@dataclass(frozen=True, slots=True)
class Decide:
    """Answer an approval request."""

    call_number: int
    decision: Decision


@dataclass(frozen=True, slots=True)
class Retry:
    """Ask the same question again."""


@dataclass(frozen=True, slots=True)
class Continue:
    """Let the model continue a partial answer."""


@dataclass(frozen=True, slots=True)
class Explain:
    """Explain the error above."""


@dataclass(frozen=True, slots=True)
class Fix:
    """Correct the cell that failed."""


Action = Stop | Decide | Retry | Continue | Explain | Fix


def read_action(message: Mapping[str, Any]) -> Action | None:
    """Return the action that a front-end message carries, None for any other message."""
    match message.get("name"):
        case "stop":
            return Stop()
        case "retry" | "ask_again":
            return Retry()
        case "continue":
            return Continue()
        case "explain":
            return Explain()
        case "fix":
            return Fix()
        case "decide":
            return _read_decide(message)
        case _:
            return None


_BUTTONS = {
    "approve": DecisionKind.APPROVE,
    "approve_code": DecisionKind.APPROVE_CODE,
    "approve_tool": DecisionKind.APPROVE_TOOL,
    "approve_answer": DecisionKind.APPROVE_ANSWER,
    "reject": DecisionKind.REJECT,
    "stop": DecisionKind.STOP,
}


def _read_decide(message: Mapping[str, Any]) -> Decide | None:
    kind = _BUTTONS.get(str(message.get("decision")))
    number, code, reason = message.get("call_number"), message.get("code"), message.get("message")
    if kind is None or type(number) is not int:
        return None
    decision = Decision(
        kind,
        code=code if isinstance(code, str) else None,
        message=reason.strip() if isinstance(reason, str) else "",
    )
    return Decide(number, decision)


PROMPT = "Run it? [y]es, [c] always allow this code, [a] allow this tool for this session, [n]o, [s]top: "
PROMPT_AGAIN = "Please answer y, c, a, n (optionally followed by what to do instead) or s. "
CHANGE_PROMPT = "Apply it? [y]es, [a] allow edits for this answer, [n]o, [s]top: "
CHANGE_PROMPT_AGAIN = "Please answer y, a, n (optionally followed by what to do instead) or s. "
_TYPED = {
    "y": DecisionKind.APPROVE,
    "yes": DecisionKind.APPROVE,
    "c": DecisionKind.APPROVE_CODE,
    "code": DecisionKind.APPROVE_CODE,
    "a": DecisionKind.APPROVE_TOOL,
    "always": DecisionKind.APPROVE_TOOL,
    "n": DecisionKind.REJECT,
    "no": DecisionKind.REJECT,
    "s": DecisionKind.STOP,
    "stop": DecisionKind.STOP,
}


# As far as it differs where a text is changed: nobody allows unseen edits for more than one answer.
_TYPED_OF_CHANGE = {word: kind for word, kind in _TYPED.items() if kind is not DecisionKind.APPROVE_CODE} | {
    "a": DecisionKind.APPROVE_ANSWER,
    "always": DecisionKind.APPROVE_ANSWER,
}


def requested_code(request: ApprovalRequest) -> tuple[VisibleText, str]:
    """Return the code of a request, or the diff of what it changes; and its language."""
    if request.before is None:
        return escape_invisible(request.code), request.language
    from codex_nb.rendering.diff import diff_text

    return diff_text(request.before, request.code), "diff"


def plain_code(request: ApprovalRequest) -> str:
    """Return the code of a request as plain text."""
    return textwrap.indent(requested_code(request)[0], "    ", lambda _: True)


def ask_by_typing(
    request: ApprovalRequest,
    ask: Callable[[str], str] | None,
    show_code: Callable[[ApprovalRequest], str] = plain_code,
) -> Decision:
    """Return the typed decision; where nobody can answer, and where input ends, the call is declined.

    ``ask`` shows a prompt and returns the line typed. The prompt itself contains the code, as ``show_code`` formats it,
    so whoever answers has seen what the answer is about.
    """
    if ask is None:
        return _decline(NOBODY_THERE)
    summary = escape_invisible(request.summary or request.tool)
    is_change = request.before is not None
    choices = CHANGE_PROMPT if is_change else PROMPT
    prompt = f"{show_code(request)}\n\n{summary}\n{choices}"
    while True:
        try:
            answer = ask(prompt)
        except ApprovalUnavailable as problem:
            return _decline(str(problem))
        except (EOFError, NotImplementedError):
            return _decline(NOBODY_THERE)
        decision = read_decision(answer, is_change=is_change)
        if decision is not None:
            return decision
        prompt = (CHANGE_PROMPT_AGAIN if is_change else PROMPT_AGAIN) + choices


def _decline(reason: str) -> Decision:
    return Decision(DecisionKind.REJECT, message=reason, by="nobody")


def read_decision(answer: str, *, is_change: bool = False) -> Decision | None:
    """Return a typed decision, None when the answer is not one; a rejection may be followed by a message."""
    word, _, message = answer.strip().partition(" ")
    kind = (_TYPED_OF_CHANGE if is_change else _TYPED).get(word.lower().rstrip(",.:"))
    if kind is None or (message.strip() and kind is not DecisionKind.REJECT):
        return None
    return Decision(kind, message=message.strip())
