"""The plan of steps on every view: one checklist a turn, in place where the view allows it."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from codex_nb.session.events import (
    ApprovalRequested,
    ApprovalResolved,
    RetryScheduled,
    TextDone,
    ToolArgumentsDelta,
    ToolCallReady,
    ToolCallStarted,
    ToolFinished,
    ToolStarted,
)
from codex_nb.tools.approval import ApprovalRequest, Decision, DecisionKind
from codex_nb.ui.html_view import HtmlView
from codex_nb.ui.text_view import PlainTextView, RichView
from codex_nb.ui.transcript import Transcript
from tests.rendering.hostile import PAYLOADS, payload
from tests.rendering.strict import text_of, violations
from tests.ui.fakes import STARTED, FakeNotebook, FakePage, finished

BY_POLICY = Decision(DecisionKind.APPROVE, by="policy")
STEPS = ("Load", "Fit", "Plot")


def arguments(done: int, explanation: str = "", steps: tuple[str, ...] = STEPS) -> str:
    """The JSON text of a plan whose first steps are done and whose next one is in progress."""
    statuses = ["completed"] * done + ["in_progress"] + ["pending"] * len(steps)
    plan = [{"step": step, "status": status} for step, status in zip(steps, statuses, strict=False)]
    return json.dumps({"plan": plan, "explanation": explanation})


def planning(call_number: int, text: str, output: str = "Plan updated", *, ok: bool = True) -> list[Any]:
    return [
        ToolCallStarted(call_number, "update_plan"),
        ToolArgumentsDelta(call_number, text),
        ToolCallReady(call_number, "update_plan", text),
        ApprovalResolved(call_number, BY_POLICY),
        ToolStarted(call_number),
        ToolFinished(call_number, output, ok),
    ]


def running(call_number: int) -> list[Any]:
    return [
        ToolCallReady(call_number, "run_python", json.dumps({"code": "print(1)"})),
        ApprovalResolved(call_number, BY_POLICY),
        ToolStarted(call_number),
        ToolFinished(call_number, "1", ok=True),
    ]


class FakeView:
    """A transcript in a fake notebook."""

    def __init__(self) -> None:
        self.notebook = FakeNotebook()
        self.transcript = Transcript(
            on_action=lambda _: None, area=self.notebook, open_comm=self.notebook.open_comm
        )
        self.transcript.show()
        self.notebook.comms[0].ready()

    def play(self, *events: Any) -> None:
        for event in events:
            self.transcript.apply(event)
            self.transcript.flush()

    def plain(self, *events: Any) -> list[str]:
        self.play(*events)
        self.transcript.close()
        return [output["text/plain"].partition("\n\n[Python")[0] for output in self.notebook.standing()]


def test_a_later_call_changes_the_checklist_and_adds_no_section() -> None:
    view = FakeView()
    view.play(STARTED, *planning(11, arguments(0)))
    first = FakePage().draw(view.notebook.comms[0].frames())
    assert first.status == "Step 1 of 3: Load"
    view.play(*planning(12, arguments(1, "It was small.")))
    frames = view.notebook.comms[0].frames()
    page = FakePage().draw(frames)
    assert [section["kind"] for section in page.sections.values()] == ["plan"]
    plans = [operation for frame in frames for operation in frame if operation["op"] == "plan"]
    told = [[(step["text"], step["status"], step["state"]) for step in plan["steps"]] for plan in plans]
    done, now, later = ("completed", "done"), ("in_progress", "in progress"), ("pending", "to do")
    assert told == [
        [("Load", *now), ("Fit", *later), ("Plot", *later)],
        [("Load", *done), ("Fit", *now), ("Plot", *later)],
    ]
    assert (plans[-1]["remark"], page.status) == ("It was small.", "Step 2 of 3: Fit")


def test_a_page_reloaded_in_the_middle_finds_the_checklist_again() -> None:
    view = FakeView()
    view.play(STARTED, *planning(11, arguments(0)), *planning(12, arguments(1)))
    view.notebook.comms[0].ready("v2")
    kinds = [(operation["op"], operation.get("kind")) for operation in view.notebook.comms[0].frames()[-1]]
    assert kinds == [("section", "plan"), ("plan", None), ("status", None)]


@pytest.mark.parametrize("kind", ["text/html", "text/markdown", "text/plain"])
def test_the_checklist_that_stays_reads_the_same_in_every_kind(kind: str) -> None:
    view = FakeView()
    view.play(STARTED, *planning(11, arguments(1, "It *was* small.")), finished())
    view.transcript.close()
    (standing,) = view.notebook.standing()
    (expected,) = (
        text
        for name, text in {
            "text/html": "Plan It *was* small. ✓ Load (done) ◐ Fit (not finished) ○ Plot (to do)",
            "text/markdown": (
                "**Plan** It \\*was\\* small. 1. ✓ Load (done) 2. ◐ Fit (not finished) 3. ○ Plot (to do)"
            ),
            "text/plain": "[Plan] It *was* small. 1. [x] Load 2. [-] Fit 3. [ ] Plot",
        }.items()
        if name == kind
    )
    shown = text_of(standing[kind]) if kind == "text/html" else standing[kind]
    assert " ".join(shown.split()).startswith(expected)


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "incomplete"])
def test_a_step_in_progress_when_the_turn_ended_reads_as_not_finished(status: str) -> None:
    view = FakeView()
    view.play(STARTED, *planning(11, arguments(1)), *running(1), finished(status=status))
    view.transcript.close()
    first = view.notebook.standing()[0]
    steps = "✓ Load (done) ◐ Fit (not finished) ○ Plot (to do)"
    assert steps in " ".join(text_of(first["text/html"]).split())
    assert first["text/plain"].startswith("[Plan]\n1. [x] Load\n2. [-] Fit\n3. [ ] Plot")


def test_the_live_checklist_says_at_the_end_what_is_not_finished() -> None:
    view = FakeView()
    view.play(STARTED, *planning(11, arguments(1)), finished(status="cancelled"))
    operations = [operation for frame in view.notebook.comms[0].frames() for operation in frame]
    (last, *_) = [operation for operation in reversed(operations) if operation["op"] == "plan"]
    assert [(step["status"], step["state"]) for step in last["steps"]] == [
        ("completed", "done"),
        ("unfinished", "not finished"),
        ("pending", "to do"),
    ]


def test_the_buttons_of_an_output_whose_checklist_changed_are_brought_back() -> None:
    view = FakeView()
    view.play(STARTED, *planning(11, arguments(0)), *running(1))
    view.notebook.comms[0].says("replaced")
    view.notebook.comms[1].ready()
    view.play(*planning(12, arguments(1)))
    assert [message["kind"] for message in view.notebook.comms[1].sent].count("enhance") == 1


@pytest.mark.parametrize("is_replaced", [True, False])
def test_a_checklist_above_the_outputs_of_its_steps_goes_on_where_it_stands(is_replaced: bool) -> None:
    view = FakeView()
    view.play(STARTED, *planning(11, arguments(0)), *running(1))
    if is_replaced:
        view.notebook.comms[0].says("replaced")
    assert view.notebook.comms[0].closed is is_replaced
    calls = [*planning(12, arguments(1)), *running(2)]
    ending = [*planning("p3", arguments(3)), TextDone("m1", "Plotted."), finished("Plotted.")]
    shown = view.plain(*calls, *ending)
    assert shown[0] == "[Plan]\n1. [x] Load\n2. [x] Fit\n3. [x] Plot"
    assert ["[Plan]" in text for text in shown] == [True, *[False] * (len(shown) - 1)]
    assert len(shown) > 1


def test_html_that_replaces_itself_goes_on_with_the_checklist_where_it_stands() -> None:
    notebook = FakeNotebook()
    view = HtmlView(on_action=lambda _: None, area=notebook)
    calls = [*planning(11, arguments(0)), *running(1), *planning(12, arguments(1)), *running(2)]
    for event in (STARTED, *calls, *planning("p3", arguments(3)), TextDone("m1", "Plotted."), finished()):
        view.apply(event)
        view.flush()
    view.close()
    texts = [output["text/plain"] for output in notebook.standing()]
    assert texts[0].startswith("[Plan]\n1. [x] Load\n2. [x] Fit\n3. [x] Plot")
    assert sum("[Plan]" in text for text in texts) == 1


def on_screen(kind: str, *events: Any) -> str:
    """Play events on a view that only writes on; return what stands there."""
    stream = io.StringIO()
    console = Console(file=stream, width=80, color_system=None)
    view: Any = (
        PlainTextView(stream, on_action=lambda _: None)
        if kind == "plain"
        else RichView(console, on_action=lambda _: None)
    )
    for event in events:
        view.apply(event)
    view.close()
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


@pytest.mark.parametrize("kind", ["plain", "rich"])
def test_an_append_only_view_writes_the_plan_once_and_then_the_changes(kind: str) -> None:
    shown = on_screen(kind, *planning(11, arguments(0)), *planning(12, arguments(1, "It was small.")))
    assert shown == "[Plan]\n  [>] Load\n  [ ] Fit\n  [ ] Plot\n[Plan] It was small.\n  [x] Load\n  [>] Fit"


@pytest.mark.parametrize("kind", ["plain", "rich"])
def test_an_append_only_view_says_at_the_end_which_step_is_not_finished(kind: str) -> None:
    shown = on_screen(kind, STARTED, *planning(11, arguments(1)), finished(status="cancelled"))
    assert "[Plan]\n  [x] Load\n  [>] Fit\n  [ ] Plot\n[Plan]\n  [-] Fit\n" in shown


@pytest.mark.parametrize("kind", ["plain", "rich"])
def test_a_call_that_is_no_plan_is_a_failed_call(kind: str) -> None:
    shown = on_screen(kind, *planning(11, '{"plan": []}', "a list of one or more steps", ok=False))
    assert "Plan (failed)" in shown
    assert "a list of one or more steps" in shown


def test_a_tool_of_the_users_own_with_this_name_is_shown_as_the_call_it_is() -> None:
    view = FakeView()
    asked = ApprovalRequest(11, "update_plan", arguments(0), "json", "update_plan runs code in this kernel.")
    ready = ToolCallReady(11, "update_plan", arguments(0))
    view.play(STARTED, ready, ApprovalRequested(asked))
    page = FakePage().draw(view.notebook.comms[0].frames())
    assert [section["asks"]["code"] for section in page.sections.values()] == [arguments(0)]
    view.play(ApprovalResolved(11, Decision(DecisionKind.APPROVE)), ToolStarted(11))
    view.play(ToolFinished(11, "Plan updated", ok=True))
    page = FakePage().draw(view.notebook.comms[0].frames())
    assert [section["kind"] for section in page.sections.values()] == ["call"]


def test_a_plan_outlives_a_request_that_is_repeated_and_half_a_plan_does_not() -> None:
    view = FakeView()
    half = [ToolCallStarted(12, "update_plan"), ToolArgumentsDelta(12, arguments(2)[:20])]
    view.play(STARTED, *planning(11, arguments(0)), *half, RetryScheduled(1, 5, 2.0, "It broke."))
    view.play(*planning("p3", arguments(1)), finished())
    assert view.plain() == ["[Plan]\n1. [x] Load\n2. [-] Fit\n3. [ ] Plot" + FOOTER]


FOOTER = (
    "\n\ngpt-5.2-codex, medium effort · 1,200 tokens in (1,000 cached), 40 out (8 reasoning) · ChatGPT Plus"
)


@pytest.mark.parametrize("name", PAYLOADS)
def test_no_hostile_step_gets_through(name: str) -> None:
    text = payload(name)
    view = FakeView()
    view.play(STARTED, *planning(11, arguments(0, text, (text, text))), finished())
    operations = [operation for frame in view.notebook.comms[0].frames() for operation in frame]
    assert [operation for operation in operations if operation["op"] == "html"] == []
    view.transcript.close()
    assert violations(view.notebook.standing()[0]["text/html"]) == []
    assert "\x1b" not in on_screen("plain", *planning(11, arguments(0, text, (text, text))))
