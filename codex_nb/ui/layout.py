"""Which part of a turn belongs to which output of its cell, and what the user does during it.

The user stops a turn, answers an approval by button or by typing, retries or continues it.
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import TypeAdapter

from codex_nb.rendering.sanitize import escape_invisible
from codex_nb.session.events import (
    ApprovalRequested,
    ApprovalResolved,
    NoticePart,
    Part,
    PlanPart,
    ToolFinished,
    ToolPart,
    ToolStarted,
    TurnEvent,
    TurnFinished,
    TurnFold,
    TurnState,
)
from codex_nb.tools.approval import NOBODY_THERE, ApprovalUnavailable, Decision, DecisionKind
from codex_nb.tools.base import builtin_tools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from codex_nb.rendering.sanitize import VisibleText
    from codex_nb.tools.approval import ApprovalRequest


class TurnAction(StrEnum):
    """What the user does with a turn, or with the error above."""

    STOP = "stop"  # and keep the partial answer
    RETRY = "retry"
    CONTINUE = "continue"
    EXPLAIN = "explain"
    FIX = "fix"


@dataclass(frozen=True, slots=True)
class Decide:
    """Answer an approval request."""

    call_number: int
    decision: Decision


Action = TurnAction | Decide


def read_action(message: Mapping[str, Any]) -> Action | None:
    """Return the action that a front-end message carries, None for any other message."""
    match message:
        case {"name": "ask_again"}:
            return TurnAction.RETRY
        case {"name": "decide", "decision": str(word), "call_number": number} if (
            word in _KINDS and type(number) is int
        ):
            code, reason = message.get("code"), message.get("message")
            decision = Decision(
                DecisionKind(word),
                code=code if isinstance(code, str) else None,
                message=reason.strip() if isinstance(reason, str) else "",
            )
            return Decide(number, decision)
        case _:
            return next((action for action in TurnAction if action == message.get("name")), None)


_KINDS = frozenset(DecisionKind)


class TypedChoices(NamedTuple):
    """What can be typed to decide: the prompt, and the words, for each of which its first letter will do."""

    prompt: str
    words: Mapping[str, DecisionKind | None]  # None edits the answer

    @property
    def again(self) -> str:
        """What is said of another answer, before the prompt comes again."""
        *letters, last = (word[0] for word in self.words)
        return f"Please answer {', '.join(letters)} (optionally followed by what to do instead) or {last}. "


OF_CODE = TypedChoices(
    "Run it? [y]es, [c] always allow this code, [a] allow this tool for this session, [n]o, [s]top: ",
    {
        "yes": DecisionKind.APPROVE,
        "code": DecisionKind.APPROVE_CODE,
        "always": DecisionKind.APPROVE_TOOL,
        "no": DecisionKind.REJECT,
        "stop": DecisionKind.STOP,
    },
)
OF_CHANGE = TypedChoices(
    "Apply it? [y]es, [a] allow edits for this answer, [n]o, [s]top: ",
    {
        "yes": DecisionKind.APPROVE,
        "always": DecisionKind.APPROVE_ANSWER,  # nobody allows unseen edits for more than one answer
        "no": DecisionKind.REJECT,
        "stop": DecisionKind.STOP,
    },
)
OF_QUESTION = TypedChoices(
    "Send this answer? [y]es, [n]o, [s]top: ",
    {"yes": DecisionKind.APPROVE, "no": DecisionKind.REJECT, "stop": DecisionKind.STOP},
)
OF_FORM = TypedChoices(
    "Send this answer? [y]es, [e]dit it, [n]o, [s]top: ",
    {"yes": DecisionKind.APPROVE, "edit": None, "no": DecisionKind.REJECT, "stop": DecisionKind.STOP},
)


def _choices(request: ApprovalRequest) -> TypedChoices:
    if request.is_question:
        return OF_FORM if _answers(request) else OF_QUESTION
    return OF_CODE if request.before is None else OF_CHANGE


def requested_code(request: ApprovalRequest) -> tuple[VisibleText, str]:
    """Return the code of a request with what hides in it marked, or the diff of what it changes; and its language."""
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
    choices, given = _choices(request), request
    prompt = f"{show_code(request)}\n\n{summary}\n{choices.prompt}"
    while True:
        try:
            answer = ask(prompt)
            if choices is OF_FORM and answer.strip().lower() in {"e", "edit"}:
                given = _edited(given, ask)
                prompt = f"{show_code(given)}\n\n{choices.prompt}"
                continue
        except ApprovalUnavailable as problem:
            return _decline(str(problem))
        except (EOFError, NotImplementedError):
            return _decline(NOBODY_THERE)
        decision = read_decision(answer, choices)
        if decision is not None:
            is_edited = decision.approved and given.code != request.code
            return replace(decision, code=given.code) if is_edited else decision
        prompt = choices.again + choices.prompt


def _answers(request: ApprovalRequest) -> dict[str, Any]:
    """Return the named answers that a question's code consists of."""
    answers: dict[str, Any] = json.loads(request.code)["answers"]
    return answers


def _edited(request: ApprovalRequest, ask: Callable[[str], str]) -> ApprovalRequest:
    """Return a question with the answers that are typed, one after the other; an empty line keeps an answer."""
    choices = dict(request.choices)
    answers = {
        name: _typed_answer(name, value, choices.get(name, ()), ask)
        for name, value in _answers(request).items()
    }
    return replace(request, code=json.dumps({"answers": answers}, indent=2, ensure_ascii=False))


def _typed_answer(name: str, value: Any, choices: Sequence[object], ask: Callable[[str], str]) -> Any:
    listed = ", ".join(f"{number} {choice}" for number, choice in enumerate(choices, 1))
    several = "several with commas" if isinstance(value, list) else ""
    about = "; ".join(filter(None, (listed, several)))
    shown = ", ".join(map(str, value)) if isinstance(value, list) else value
    prompt = escape_invisible(f"{name}{f' ({about})' if about else ''} [{shown}]: ")
    while typed := ask(prompt).strip():
        try:
            if isinstance(value, list):
                return [_read_answer(each.strip(), "", choices) for each in typed.split(",") if each.strip()]
            return _read_answer(typed, value, choices)
        except ValueError:
            continue
    return value


def _read_answer(typed: str, value: object, choices: Sequence[object]) -> Any:
    """Return what is meant: a choice by its text or its number, else a value of the kind of ``value``."""
    for choice in choices:
        if str(choice).casefold() == typed.casefold():
            return choice
    if choices:
        is_number = typed.isdecimal() and 0 < int(typed) <= len(choices)
        return choices[int(typed) - 1] if is_number else typed
    if not isinstance(value, bool | int | float):
        return typed
    kind: Any = int | float if type(value) is int else type(value)
    return TypeAdapter(kind).validate_python(typed)


def _decline(reason: str) -> Decision:
    return Decision(DecisionKind.REJECT, message=reason, by="nobody")


def read_decision(answer: str, choices: TypedChoices) -> Decision | None:
    """Return a typed decision, None when the answer is not one; a rejection may be followed by a message."""
    word, _, message = answer.strip().partition(" ")
    typed = word.lower().rstrip(",.:")
    kind = next((kind for word, kind in choices.words.items() if typed in {word, word[0]}), None)
    if kind is None or (message.strip() and kind is not DecisionKind.REJECT):
        return None
    return Decision(kind, message=message.strip())


def shows_outputs(tool: str) -> bool:
    """Whether the notebook shows what a call of the tool gives as a cell's own outputs."""
    known = builtin_tools().get(tool)
    return known is not None and known.shows_outputs


_CHANGES_WAITING = (ApprovalRequested, ApprovalResolved, ToolFinished, TurnFinished)


class OutputLayout:
    """Folds the events of a turn and assigns its parts to outputs of the cell, which count from 0."""

    def __init__(self) -> None:
        self._fold = TurnFold()
        self.is_waiting = False  # whether the user's decision about a call is awaited
        self.shown_below: set[int] = set()  # numbers of the calls whose outputs the notebook shows itself
        self._output_of: dict[str, int] = {}
        self._count = 1
        self._wants_new_output = False
        self._plan: PlanPart | None = None  # as its output shows it

    def apply(self, event: TurnEvent) -> None:
        """Take in one event."""
        if self._wants_new_output and isinstance(event, ToolStarted):
            self.assign_parts()  # the outputs of this call must appear below what was shown before
        self._fold.apply(event)
        if not isinstance(event, _CHANGES_WAITING):
            return
        is_waiting = any(isinstance(part, ToolPart) and part.waiting for part in self.state.parts)
        self.is_waiting = is_waiting and self.state.finished is None
        if isinstance(event, ToolFinished):
            call = self.state.parts.find(ToolPart, event.call_number)
            ran = call is not None and (call.decision is None or call.decision.approved)
            if call is not None and ran and shows_outputs(call.name):
                self.start_new_output()
                self.shown_below.add(event.call_number)

    @property
    def state(self) -> TurnState:
        """The state of the turn."""
        return self._fold.state

    def start_new_output(self) -> None:
        """Let what follows appear below the outputs that the cell has by now."""
        self.assign_parts()
        self._wants_new_output = True
        self._open_output()

    def skip_empty_output(self) -> bool:
        """Leave the last output to another view if it has no part yet; return whether it had none."""
        if self.parts_of(self.assign_parts() - 1):
            return False
        self._count += 1
        return True

    def assign_parts(self) -> int:
        """Assign every part to an output, return the number of outputs."""
        for name, _ in named(self.state.parts):
            if name not in self._output_of:
                self._open_output()
                self._output_of[name] = self._count - 1
        self._open_output()
        return self._count

    def parts_of(self, output: int) -> dict[str, Part]:
        """Return the parts of an output, by names that they keep while they grow."""
        return {name: part for name, part in named(self.state.parts) if self._output_of.get(name) == output}

    def take_changed_plan(self) -> int | None:
        """Return the output of a plan that has changed since the last call, None where none has.

        A plan still changes when the turn has moved on to later outputs.
        """
        plan = self.state.plan
        if plan is None or plan == self._plan or (output := self._output_of.get(name_of(plan))) is None:
            return None
        self._plan = plan
        return output

    def _open_output(self) -> None:
        if not self._wants_new_output:
            return
        calls = [part for part in self.state.parts if isinstance(part, ToolPart)]
        has_finished = self.state.finished is not None  # then calls that still run never report their end
        if any(call.running for call in calls) and not has_finished:
            return
        self._wants_new_output = False
        pending = {name_of(call) for call in calls if call.output is None and not call.running}
        if all(name in pending for name in self.parts_of(self._count - 1)):
            return  # nothing final is in the last output, so what follows can go there
        self._output_of |= {name: self._count for name in pending if name in self._output_of}
        self._count += 1


def named(parts: Iterable[Part]) -> list[tuple[str, Part]]:
    """Return the parts that are shown, each with a name that it keeps while it grows."""
    seen: dict[str, int] = {}
    names = []
    for part in parts:
        if isinstance(part, ToolPart) and part.is_a_plan_being_written:
            continue
        name = name_of(part)
        seen[name] = seen.get(name, 0) + 1
        names.append((name if seen[name] == 1 else f"{name} {seen[name]}", part))
    return names


def name_of(part: Part) -> str:
    """Return a part's name among its turn's parts."""
    match part:
        case ToolPart():
            return f"call {part.call_number}"
        case NoticePart():
            return f"notice {part.notice.kind} {part.notice.text}"
        case PlanPart():
            return "plan"
        case _:
            return f"{type(part).__name__} {part.item_id}"
