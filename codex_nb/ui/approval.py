"""Approval by typing: the full code, then a question that takes a word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codex_nb.tools.approval import Decision, Verdict
from codex_nb.words import tools
from codex_nb.words.approval import AGAIN, QUESTION

if TYPE_CHECKING:
    from collections.abc import Callable

    from codex_nb.tools.approval import ApprovalRequest

_WORDS = {
    "y": Verdict.APPROVE,
    "yes": Verdict.APPROVE,
    "c": Verdict.APPROVE_CODE,
    "code": Verdict.APPROVE_CODE,
    "a": Verdict.APPROVE_TOOL,
    "always": Verdict.APPROVE_TOOL,
    "n": Verdict.REJECT,
    "no": Verdict.REJECT,
    "s": Verdict.STOP,
    "stop": Verdict.STOP,
}


def ask_by_typing(request: ApprovalRequest, ask: Callable[[str], str] | None) -> Decision:
    """Return the typed decision; where nobody can answer, and where input ends, the call is refused.

    ``ask`` shows a prompt and returns the line typed. The code is shown before, by the screen.
    """
    if ask is None:
        return Decision(Verdict.REJECT, message=tools.NOBODY_THERE, by="nobody")
    question = f"{request.summary or request.tool}\n{QUESTION}"
    while True:
        try:
            answer = ask(question)
        except (EOFError, NotImplementedError):
            return Decision(Verdict.REJECT, message=tools.NOBODY_THERE, by="nobody")
        decision = read_decision(answer)
        if decision is not None:
            return decision
        question = AGAIN + QUESTION


def read_decision(answer: str) -> Decision | None:
    """Return what a typed answer decides; a rejection may carry a message. None when it is none of the words."""
    word, _, message = answer.strip().partition(" ")
    verdict = _WORDS.get(word.lower().rstrip(",.:"))
    if verdict is None or (message.strip() and verdict is not Verdict.REJECT):
        return None
    return Decision(verdict, message=message.strip())
