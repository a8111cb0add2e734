"""Plays a turn without a model on a real transcript in a kernel."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from IPython import get_ipython

from codex_nb.host.engine import Mailbox
from codex_nb.host.shell_channel import open_pump
from codex_nb.session.events import (
    Answer,
    ApprovalRequested,
    ApprovalResolved,
    Notice,
    ReasoningDelta,
    ReasoningDone,
    RetryScheduled,
    StepStarted,
    TextDelta,
    TextDone,
    ToolArgumentsDelta,
    ToolCallReady,
    ToolCallStarted,
    ToolFinished,
    ToolStarted,
    TurnEvent,
    TurnFinished,
    TurnStarted,
    Usage,
)
from codex_nb.tools.approval import ApprovalRequest, Decision
from codex_nb.ui.layout import Action, Decide, TurnAction
from codex_nb.ui.transcript import Transcript
from tests.patience import PATIENCE_S

STARTED = TurnStarted("turn", "main", "gpt-5.2-codex", "medium", "ada@example.com", "plus", "chatgpt")
USAGE = Usage(11_482, 9_216, 640, 192, 12_122)
Step = TurnEvent | float | Callable[["Stage"], Iterable[Any]]


class Stage:
    """Plays steps: an event is applied, a number is waited for (seconds), a function gives more steps."""

    def __init__(self, **options: Any) -> None:
        self.commands: list[Action] = []
        self.decisions: list[Decision] = []
        self.mailbox = Mailbox()
        self.transcript = Transcript(on_action=self.commands.append, wait=self.wait, **options)

    def play(self, steps: Iterable[Any]) -> None:
        """Show the transcript and play the steps to their end; a Stop ends them early."""
        self.pump = open_pump(get_ipython(), self.mailbox)
        self.transcript.show()
        self.wait(lambda: self.transcript.ready, PATIENCE_S)
        try:
            self._play(steps)
        finally:
            self.transcript.close()
            self.pump.close()
            self.mailbox.close()

    def hold(self, steps: Iterable[TurnEvent]) -> None:
        """Show the transcript, apply the events, and leave it as it is then."""
        self.transcript.show()
        for event in steps:
            self.transcript.apply(event)
            self.transcript.flush()

    @staticmethod
    def serve(is_over: Callable[[], bool], seconds: float) -> None:
        """Serve the front end for another view until it is over or the time is up."""
        end = time.monotonic() + seconds
        with open_pump(get_ipython(), Mailbox()) as pump:
            while not is_over() and time.monotonic() < end:
                pump.once(0.02)

    def wait(self, is_over: Callable[[], bool], seconds: float) -> None:
        """Serve the front end until it is over or the time is up."""
        end = time.monotonic() + seconds
        while not is_over() and time.monotonic() < end:
            self.pump.once(0.02)

    def decision(self) -> Decision:
        """Return the next decision that the user makes."""
        while True:
            self.wait(lambda: bool(self.commands), 1)
            if self.commands:
                match self.commands.pop(0):
                    case Decide(decision=decision):
                        self.decisions.append(decision)
                        return decision
                    case TurnAction.STOP:
                        raise StopIteration

    def _play(self, steps: Iterable[Any]) -> None:
        for step in steps:
            if isinstance(step, int | float):
                self.transcript.flush()
                self.wait(lambda: TurnAction.STOP in self.commands, step)
                if TurnAction.STOP in self.commands:
                    self.transcript.apply(finish(status="cancelled"))
                    return
            elif callable(step):
                self._play(step(self))
            else:
                self.transcript.apply(step)
                self.transcript.flush()


def saying(item: str, text: str, *, pace: float = 0.01, size: int = 12) -> Iterator[Step]:
    """Stream a message."""
    for at in range(0, len(text), size):
        yield TextDelta(item, text[at : at + size])
        if pace:
            yield pace
    yield TextDone(item, text)


def thinking(item: str, text: str, *, size: int = 16) -> Iterator[Step]:
    """Stream a reasoning summary."""
    for at in range(0, len(text), size):
        yield ReasoningDelta(item, 0, text[at : at + size])
        yield 0.01
    yield ReasoningDone(item, text)


def running(
    call_number: int,
    code: str,
    act: Callable[[], str],
    *,
    summary: str = "Run Python",
    name: str = "run_python",
    language: str = "python",
) -> Iterator[Step]:
    """Stream a call, ask for approval, run ``act`` where the code would run."""
    arguments = json.dumps({"code": code})
    yield ToolCallStarted(call_number, name)
    for at in range(0, len(arguments), 24):
        yield ToolArgumentsDelta(call_number, arguments[at : at + 24])
        if at < 1_000:
            yield 0.01
    yield ToolCallReady(call_number, name, arguments)
    request = ApprovalRequest(call_number, name, code, language, summary, editable=True)
    yield ApprovalRequested(request)

    def decided(stage: Stage) -> Iterator[Step]:
        stage.transcript.flush()
        decision = stage.decision()
        yield ApprovalResolved(call_number, decision)
        if not decision.approved:
            yield ToolFinished(call_number, f"Rejected. {decision.message}", ok=False)
            return
        yield ToolStarted(call_number)
        yield 0.05
        yield ToolFinished(call_number, act(), ok=True)

    yield decided


def finish(text: str = "", *, status: Any = "completed", error: str | None = None) -> TurnFinished:
    """Return the last event of a turn."""
    answer = Answer(text, status=status, usage=USAGE, model="gpt-5.2-codex", thread="main", billing="chatgpt")
    return TurnFinished(answer, error)


def open_widgets() -> int:
    """Return the number of widgets in the kernel."""
    import ipywidgets

    return len(ipywidgets.widgets.widget._instances)


__all__ = [
    "STARTED",
    "Notice",
    "RetryScheduled",
    "Stage",
    "StepStarted",
    "finish",
    "open_widgets",
    "running",
    "saying",
    "thinking",
]
