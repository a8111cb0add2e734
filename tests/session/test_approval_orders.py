"""Any order of a server's events, a page's messages and a user's decisions: what runs was shown last, and allowed."""

from __future__ import annotations

import asyncio
import html
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from rich.console import Console

from codex_nb.config.settings import ApprovalPolicy
from codex_nb.responses.events import FunctionCallArgumentsDelta, RetryScheduled
from codex_nb.session.events import ApprovalRequested, ToolFinished, ToolStarted, TurnEvent, TurnFinished
from codex_nb.session.outbound import Item
from codex_nb.session.thread import Thread
from codex_nb.tools.approval import Decision, DecisionKind, PendingApprovals
from codex_nb.ui.html_view import HtmlView
from codex_nb.ui.layout import Action, Decide
from codex_nb.ui.text_view import PlainTextView, RichView
from codex_nb.ui.transcript import Transcript
from tests.session.scripted import (
    ProcessKernel,
    ScriptedClient,
    Step,
    added,
    called,
    delta,
    done,
    finished,
    make_turn,
    outputs,
    reply,
    said,
)
from tests.ui.fakes import FakeNotebook, FakePage

CODES = ["a = 1", "b = 2", "c = 3", "evil = 4", "print('\u202e')", "x = 'ok\U000e0100'"]
DECISIONS = ["approve", "approve_code", "approve_tool", "reject", "stop"]


def a_call(call_id: str, code: str, item_id: str, name: str) -> Item:
    return called(name, {"code": code}, call_id) | {"id": item_id}


IDS = st.sampled_from(["call_1", "call_2", "call_3", "call_4"])
CALLS = st.builds(
    a_call,
    IDS,
    st.sampled_from(CODES),
    st.sampled_from(["fc_1", "fc_2", "fc_3"]),
    st.sampled_from(["run_python"] * 5 + ["unknown", ""]),
)
DELTAS = st.builds(
    lambda item_id, text: FunctionCallArgumentsDelta(
        type="response.function_call_arguments.delta", item_id=item_id, delta=text
    ),
    st.sampled_from(["fc_1", "fc_2"]),
    st.sampled_from(['{"code": "a', ' = 1"}', "evil()", "{", '"']),
)
RETRY = st.just(RetryScheduled(attempt=1, max_attempts=3, delay=0.0, reason="Again."))
TEXT = st.just(delta("Look. "))
HONEST = st.lists(CALLS, min_size=1, max_size=3, unique_by=lambda call: call["call_id"]).map(
    lambda calls: reply(*calls)
)


@st.composite
def hostile_steps(draw: st.DrawFn) -> Step:
    """A response in which anything may come twice, late, not at all, or as something else."""
    events = draw(st.lists(st.one_of(CALLS.map(added), CALLS.map(done), DELTAS, RETRY, TEXT), max_size=6))
    shown = [each.item for each in events if hasattr(each, "item") and each.type.endswith("done")]
    changed = [each | {"arguments": json.dumps({"code": draw(st.sampled_from(CODES))})} for each in shown]
    more = [*shown, *draw(st.lists(CALLS, max_size=2))]
    final = draw(st.sampled_from([shown, changed, more, shown[::-1], shown * 2, shown[1:]]))
    return [*events, finished(*final)]


STEPS = st.tuples(HONEST, st.lists(HONEST | hostile_steps(), max_size=2)) | st.tuples(
    hostile_steps(), st.just([])
)


@dataclass(frozen=True)
class Relative:
    """A call number counted from the one that is asked about."""

    offset: int


JUNK = st.one_of(
    st.none(), st.booleans(), st.text(max_size=3), st.floats(), st.lists(st.integers(), max_size=1)
)
OTHER = st.sampled_from([Relative(each) for each in (0, 0, -3, -2, -1, 1, 2, 3)])
NUMBERS = st.integers(0, 4).flatmap(lambda each: OTHER if each else st.one_of(st.just("1"), JUNK))
MESSAGES = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["decide"] * 6 + ["Decide", "run", None, 5]),
        "decision": st.sampled_from([*DECISIONS, *DECISIONS, "yes", "APPROVE", "", None, 1]),
        "call_number": NUMBERS,
    },
    optional={
        "code": st.one_of(st.sampled_from(CODES), st.just(" "), JUNK),
        "message": st.one_of(st.text(), JUNK),
    },
)
GESTURES = st.lists(
    st.tuples(st.lists(MESSAGES, max_size=4), st.sampled_from(["approve"] * 4 + ["cancel", "reject"])),
    max_size=6,
)


@dataclass
class Memory:
    """What the user has allowed for the session, as the test understands it."""

    everything: bool = False
    codes: set[str] = field(default_factory=set)

    def covers(self, code: str) -> bool:
        return self.everything or code in self.codes


class Watcher:
    """A user before a page: sees what is drawn, sends what the page sends, and notes what may run."""

    def __init__(self, gestures: Sequence[tuple[list[dict[str, Any]], str]]) -> None:
        self.notebook, self.approvals = FakeNotebook(), PendingApprovals()
        self.transcript = Transcript(
            on_action=self._act, area=self.notebook, open_comm=self.notebook.open_comm
        )
        self.transcript.show()
        self.gestures = list(gestures)
        self.allowed: dict[
            int, str | None
        ] = {}  # what the decision on a call allows to run, None for nothing
        self.started: list[int] = []
        self.memory = Memory()
        self.may_run: list[str] = []
        self.asked: list[int] = []
        self.cancelled = False

    def _act(self, action: Action) -> None:
        if isinstance(action, Decide):
            self.approvals.resolve(action.call_number, action.decision)

    def clicks(self, number: int) -> None:
        self.notebook.comms[-1].says("action", name="decide", decision="approve", call_number=number)

    def _sections(self) -> list[dict[str, Any]]:
        """Return the sections of the output that is not replaced by its final form yet."""
        return list(FakePage().draw(self.notebook.comms[-1].frames()).sections.values())

    def sees(self, event: TurnEvent) -> None:
        self.transcript.apply(event)
        self.transcript.flush()
        for comm in self.notebook.comms:
            if not comm.sent and not comm.closed:
                comm.ready()
        match event:
            case ApprovalRequested():
                self._asked(event)
            case ToolStarted():
                self._runs(event.call_number)
            case ToolFinished():
                assert event.call_number not in self.approvals.waiting

    def _asked(self, event: ApprovalRequested) -> None:
        number = event.request.call_number
        assert number not in self.asked
        self.asked.append(number)
        (form,) = [section for section in self._sections() if "asks" in section]
        assert form["asks"]["call_number"] == number
        shown = read(form["asks"]["code"])
        assert shown == read(text_of(form["open"])) == event.request.code
        messages, last = self.gestures.pop(0) if self.gestures else ([], "approve")
        end = {"name": "decide", "decision": last, "call_number": number}
        for message in [*messages, *([] if last == "cancel" else [end])]:
            self._send(message, number, shown)
        self.cancelled = last == "cancel" and number not in self.allowed

    def _send(self, message: dict[str, Any], number: int, shown: str) -> None:
        told = message.get("call_number")
        told = number + told.offset if isinstance(told, Relative) else told
        decides = type(told) is int and told == number and number not in self.allowed
        if message["name"] == "decide" and message["decision"] in DECISIONS and decides:
            edited = message.get("code")
            self._decided(message["decision"], number, edited if isinstance(edited, str) else shown)
        self.notebook.comms[-1].says("action", **{**message, "call_number": told})

    def _decided(self, decision: str, number: int, code: str) -> None:
        self.allowed[number] = code if decision.startswith("approve") else None
        self.memory.everything |= decision == "approve_tool" and bool(code.strip())
        if decision == "approve_code" and code.strip():
            self.memory.codes.add(code)

    def _runs(self, number: int) -> None:
        (section,) = [
            section
            for section in self._sections()
            if section["kind"] == "call" and section.get("phase") == "running"
        ]
        self.started.append(number)
        shown = read(text_of(section["open"]))
        assert number in self.allowed or self.memory.covers(shown)
        code = self.allowed.get(number, shown)
        assert code is not None
        assert shown.strip() == code.strip()
        if code.strip():
            self.may_run.append(code)


class Typist:
    """A user who types: reads what the prompt shows, and answers from a list until it ends."""

    cancelled = False

    def __init__(self, kind: str, answers: Sequence[str]) -> None:
        self.approvals, self.memory, self.answers = PendingApprovals(), Memory(), list(answers)
        self.stream, self.notebook = io.StringIO(), FakeNotebook()
        self.view = self._open(kind)
        self.shown, self.prompts = "", 0
        self.allowed: dict[int, str] = {}
        self.started: list[int] = []
        self.may_run: list[str] = []

    def _open(self, kind: str) -> PlainTextView | RichView | HtmlView:
        match kind:
            case "text":
                return PlainTextView(self.stream, on_action=self._act, ask=self._types)
            case "terminal":
                console = Console(file=self.stream, width=200, color_system=None)
                return RichView(console, on_action=self._act, ask=self._types)
            case _:
                return HtmlView(on_action=self._act, ask=self._types, area=self.notebook)

    def _act(self, action: Action) -> None:
        if isinstance(action, Decide):
            assert self.approvals.resolve(action.call_number, action.decision)
            self.approvals.resolve(action.call_number, Decision(DecisionKind.APPROVE, code="evil = 4"))

    def clicks(self, number: int) -> None:
        self.approvals.resolve(number, Decision(DecisionKind.APPROVE))

    def _types(self, prompt: str) -> str:
        code, _, question = prompt.rpartition("\n\n")
        if code:  # otherwise it is asked again, right below
            self.prompts += 1
            self.shown = read(code.splitlines()[-1].strip())
        assert "Run it?" in question
        answer = self.answers.pop(0) if self.answers else "n"
        match answer.split(" ")[0].lower():
            case "y" | "c" | "a" as word if " " not in answer:
                (number,) = self.approvals.waiting
                self.allowed[number] = self.shown
                self.memory.everything |= word == "a"
                self.memory.codes |= {self.shown} if word == "c" else set()
        return answer

    def sees(self, event: TurnEvent) -> None:
        before = self.prompts
        self.view.apply(event)
        self.view.flush()
        if isinstance(event, ApprovalRequested):
            assert self.prompts == before + 1
            assert self.shown == event.request.code
        elif isinstance(event, ToolStarted):
            self.started.append(event.call_number)
            if event.call_number in self.allowed:
                self.may_run.append(self.allowed[event.call_number])
            else:
                self.may_run.append("allowed before")


def text_of(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", page)).removesuffix("\n")


def read(shown: str) -> str:
    """Return the code that a text stands for in which what hides is written out."""
    return re.sub("⟦U\\+([0-9A-F]{4,6})⟧", lambda mark: chr(int(mark[1], 16)), shown)


async def play(
    steps: Sequence[Step], watcher: Watcher | Typist, kernel: ProcessKernel, policy: ApprovalPolicy
) -> TurnFinished | None:
    thread = Thread("default")
    turn = make_turn(thread=thread, kernel=kernel, policy=policy, approver=watcher.approvals)
    events = turn.events(ScriptedClient([*steps, *([reply(said("Done."))] * 4)]))
    last: TurnEvent | None = None
    async for last in events:
        watcher.sees(last)
        if watcher.cancelled:
            await events.aclose()
            break
    for number in range(-1, 9):  # what is decided after the end decides nothing
        watcher.clicks(number)
    await asyncio.sleep(0)
    answered = [call_id for call_id, _ in outputs(thread.items)]
    assert len(set(answered)) == len(answered)
    assert len(watcher.started) <= len(answered)
    return last if isinstance(last, TurnFinished) else None


@given(STEPS, GESTURES)
@settings(max_examples=300)
def test_what_runs_is_what_was_shown_last_and_allowed_and_nothing_runs_twice(
    steps: tuple[Step, list[Step]], gestures: list[tuple[list[dict[str, Any]], str]]
) -> None:
    kernel, watcher = ProcessKernel(), Watcher(gestures)
    end = asyncio.run(play([steps[0], *steps[1]], watcher, kernel, ApprovalPolicy.ASK))
    event(f"asked {len(watcher.asked)}, ran {len(kernel.ran)}, {end.answer.status if end else 'cancelled'}")
    assert kernel.ran == watcher.may_run
    assert [each for each in watcher.started if each in watcher.asked] == [
        each for each in watcher.asked if watcher.allowed.get(each) is not None
    ]
    assert watcher.approvals.waiting == ()
    assert len(set(watcher.asked)) == len(watcher.asked)


@given(STEPS)
def test_what_runs_unasked_is_what_was_shown_last_and_nothing_runs_twice(
    steps: tuple[Step, list[Step]],
) -> None:
    kernel, watcher = ProcessKernel(), Watcher([])
    watcher.memory.everything = True
    asyncio.run(play([steps[0], *steps[1]], watcher, kernel, ApprovalPolicy.ALL))
    assert kernel.ran == watcher.may_run


ANSWERS = st.lists(
    st.sampled_from(["y", "Y", "c", "a", "n", "n not so", "s", "maybe", "", "yes please", "y evil()"]),
    max_size=8,
)


@pytest.mark.parametrize("kind", ["text", "terminal", "html"])
@given(steps=STEPS, answers=ANSWERS)
def test_what_runs_is_what_the_prompt_of_its_answer_showed(
    kind: str, steps: tuple[Step, list[Step]], answers: list[str]
) -> None:
    kernel, typist = ProcessKernel(), Typist(kind, answers)
    asyncio.run(play([steps[0], *steps[1]], typist, kernel, ApprovalPolicy.ASK))
    assert len(kernel.ran) == len(typist.may_run)
    for ran, allowed in zip(kernel.ran, typist.may_run, strict=True):
        assert ran == allowed or (allowed == "allowed before" and typist.memory.covers(ran))
