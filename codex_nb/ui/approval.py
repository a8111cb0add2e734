"""Approval by typing: one prompt that holds the code and the question about it, and takes a word."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from codex_nb.rendering.visible import escape_invisible
from codex_nb.tools.approval import ApprovalUnavailable, Decision, Verdict
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


def plain_code(request: ApprovalRequest) -> str:
    """Return the code of a request as plain text."""
    return textwrap.indent(escape_invisible(request.code), "    ", lambda _: True)


def ask_by_typing(
    request: ApprovalRequest,
    ask: Callable[[str], str] | None,
    show_code: Callable[[ApprovalRequest], str] = plain_code,
) -> Decision:
    """Return the typed decision; where nobody can answer, and where input ends, the call is refused.

    ``ask`` shows a prompt and returns the line typed. The prompt itself holds the code, as ``show_code`` writes it, so
    that whoever can answer has seen what the answer is about.
    """
    if ask is None:
        return _refused(tools.NOBODY_THERE)
    summary = escape_invisible(request.summary or request.tool)
    question = f"{show_code(request)}\n\n{summary}\n{QUESTION}"
    while True:
        try:
            answer = ask(question)
        except ApprovalUnavailable as problem:
            return _refused(str(problem))
        except (EOFError, NotImplementedError):
            return _refused(tools.NOBODY_THERE)
        decision = read_decision(answer)
        if decision is not None:
            return decision
        question = AGAIN + QUESTION


def _refused(reason: str) -> Decision:
    return Decision(Verdict.REJECT, message=reason, by="nobody")


def read_decision(answer: str) -> Decision | None:
    """Return what a typed answer decides; a rejection may carry a message. None when it is none of the words."""
    word, _, message = answer.strip().partition(" ")
    verdict = _WORDS.get(word.lower().rstrip(",.:"))
    if verdict is None or (message.strip() and verdict is not Verdict.REJECT):
        return None
    return Decision(verdict, message=message.strip())
