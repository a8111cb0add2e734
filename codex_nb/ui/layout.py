"""Layout: which part of a turn belongs to which output of the cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codex_nb.session.events import ToolFinished, ToolStarted, TurnEvent
from codex_nb.session.state import NoticePart, Part, PlanPart, ToolPart, TurnFold, TurnState
from codex_nb.tools.base import builtin_tools

if TYPE_CHECKING:
    from collections.abc import Iterable


def shows_outputs(tool: str) -> bool:
    """Whether the notebook shows what a call of the tool gives as a cell's own outputs."""
    known = builtin_tools().get(tool)
    return known is not None and known.shows_outputs


class OutputLayout:
    """Folds the events of a turn and assigns its parts to outputs of the cell, which count from 0."""

    def __init__(self) -> None:
        self._fold = TurnFold()
        self.shown_below: set[int] = set()  # numbers of the calls whose outputs the notebook shows itself
        self._output_of: dict[str, int] = {}
        self._count = 1
        self._wants_new_output = False

    def apply(self, event: TurnEvent) -> None:
        """Take in one event."""
        if isinstance(event, ToolStarted) and self._wants_new_output:
            self.assign_parts()  # the outputs of this call must appear below what was shown before
        self._fold.apply(event)
        if isinstance(event, ToolFinished) and self._has_shown_outputs(event.call_number):
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

    def parts_of(self, output: int) -> list[Part]:
        """Return the parts of an output."""
        return [part for name, part in named(self.state.parts) if self._output_of.get(name) == output]

    def plan(self) -> tuple[int, PlanPart] | None:
        """Return the turn's plan and its output; a plan still changes when the turn has moved on to later outputs."""
        part = self.state.plan
        output = None if part is None else self._output_of.get(name_of(part))
        return None if part is None or output is None else (output, part)

    def calls(self) -> list[ToolPart]:
        """Return the tool calls of the turn."""
        return [part for part in self.state.parts if isinstance(part, ToolPart)]

    def _open_output(self) -> None:
        has_finished = self.state.finished is not None  # then calls that still run never report their end
        if not self._wants_new_output or (any(call.running for call in self.calls()) and not has_finished):
            return
        self._wants_new_output = False
        pending = {name_of(call) for call in self.calls() if call.output is None and not call.running}
        if all(name_of(part) in pending for part in self.parts_of(self._count - 1)):
            return  # nothing final is in the last output, so what follows can go there
        self._output_of |= {name: self._count for name in pending if name in self._output_of}
        self._count += 1

    def _has_shown_outputs(self, call_number: int) -> bool:
        return any(
            call.call_number == call_number
            and shows_outputs(call.name)
            and (call.decision is None or call.decision.approved)
            for call in self.calls()
        )


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
