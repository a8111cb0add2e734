"""Which part of a turn belongs to which output of the cell, and the actions of its buttons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codex_nb.session.events import TextDelta, ToolFinished, ToolStarted, TurnEvent
from codex_nb.session.state import NoticePart, Part, PlanPart, ToolPart, TurnState, reduce
from codex_nb.tools.approval import Decision, DecisionKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


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

_DECISIONS = {
    "approve": DecisionKind.APPROVE,
    "approve_code": DecisionKind.APPROVE_CODE,
    "approve_tool": DecisionKind.APPROVE_TOOL,
    "reject": DecisionKind.REJECT,
    "stop": DecisionKind.STOP,
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
    kind = _DECISIONS.get(str(message.get("decision")))
    number, code, word = message.get("call_number"), message.get("code"), message.get("message")
    if kind is None or type(number) is not int:
        return None
    decision = Decision(
        kind,
        code=code if isinstance(code, str) else None,
        message=word.strip() if isinstance(word, str) else "",
    )
    return Decide(number, decision)


SHOWN_AS_OUTPUTS = frozenset({"run_python"})  # tools whose outputs the notebook shows as a cell's own


class OutputLayout:
    """Folds the events of a turn and keeps its parts in their places; places count from 0."""

    def __init__(self, shows_its_outputs: Collection[str] = SHOWN_AS_OUTPUTS) -> None:
        self._state = TurnState()
        self._waiting: list[TextDelta] = []  # of one message; folded as one when somebody looks
        self.shown_below: set[int] = set()  # numbers of the calls whose outputs the notebook shows itself
        self._shows_its_outputs = shows_its_outputs
        self._home: dict[str, int] = {}
        self._count = 1
        self._broken = False

    def apply(self, event: TurnEvent) -> None:
        """Take in one event."""
        if isinstance(event, TextDelta):
            if self._waiting and self._waiting[0].item_id != event.item_id:
                self._fold_waiting()
            self._waiting.append(event)
            return
        self._fold_waiting()
        if isinstance(event, ToolStarted) and self._broken:
            self.settle()  # what this call shows must find it below what was shown before
        self._state = reduce(self._state, event)
        if isinstance(event, ToolFinished) and self._has_shown_outputs(event.call_number):
            self.break_here()
            self.shown_below.add(event.call_number)

    @property
    def state(self) -> TurnState:
        """The turn as it stands."""
        self._fold_waiting()
        return self._state

    def break_here(self) -> None:
        """Note that the cell has outputs now which what follows must stand below."""
        self.settle()
        self._broken = True
        self._continue_below()

    def give_away(self) -> bool:
        """Let something else stand in the present place if nothing stands there yet; return whether it does."""
        if self.parts_of(self.settle() - 1):
            return False
        self._count += 1
        return True

    def settle(self) -> int:
        """Give every part its place, return how many places there are."""
        for name, _ in named(self.state.parts):
            if name not in self._home:
                self._continue_below()
                self._home[name] = self._count - 1
        self._continue_below()
        return self._count

    def parts_of(self, place: int) -> list[Part]:
        """Return the parts that stand in a place."""
        return [part for name, part in named(self.state.parts) if self._home.get(name) == place]

    def plan(self) -> tuple[int, PlanPart] | None:
        """Return the turn's plan and its place; a plan still changes when the turn has gone on below it."""
        part = self.state.plan
        place = None if part is None else self._home.get(name_of(part))
        return None if part is None or place is None else (place, part)

    def calls(self) -> list[ToolPart]:
        """Return the calls of the turn."""
        return [part for part in self.state.parts if isinstance(part, ToolPart)]

    def _fold_waiting(self) -> None:
        if self._waiting:
            more = "".join(delta.text for delta in self._waiting)
            self._state = reduce(self._state, TextDelta(self._waiting[0].item_id, more))
            self._waiting.clear()

    def _continue_below(self) -> None:
        is_over = self._state.finished is not None  # then what still runs will never be told to have ended
        if not self._broken or (any(call.running for call in self.calls()) and not is_over):
            return
        self._broken = False
        waiting = {name_of(call) for call in self.calls() if call.output is None and not call.running}
        if all(name_of(part) in waiting for part in self.parts_of(self._count - 1)):
            return  # nothing that stays stands here yet, so what follows can
        self._home |= {name: self._count for name in waiting if name in self._home}
        self._count += 1

    def _has_shown_outputs(self, call_number: int) -> bool:
        return any(
            call.call_number == call_number
            and call.name in self._shows_its_outputs
            and (call.decision is None or call.decision.approved)
            for call in self.calls()
        )


def named(parts: Iterable[Part]) -> list[tuple[str, Part]]:
    """Return the parts that are shown, with a name that stays theirs while they grow."""
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
    """Return what a part is called among its turn's parts."""
    match part:
        case ToolPart():
            return f"call {part.call_number}"
        case NoticePart():
            return f"notice {part.notice.kind} {part.notice.text}"
        case PlanPart():
            return "plan"
        case _:
            return f"{type(part).__name__} {part.item_id}"
