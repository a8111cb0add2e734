from __future__ import annotations

import json
from typing import Any

import pytest

from codex_nb.session.events import (
    AnswerRejected,
    ApprovalRequested,
    ApprovalResolved,
    TextDelta,
    TextDone,
    ToolCallReady,
    ToolFinished,
    ToolStarted,
)
from codex_nb.tools.approval import ApprovalRequest, Decision, DecisionKind
from codex_nb.ui.html_view import HtmlView
from codex_nb.ui.layout import Action, Decide
from codex_nb.ui.transcript import Transcript
from tests.rendering.hostile import PAYLOADS, payload
from tests.rendering.strict import violations
from tests.ui.fakes import STARTED, FakeNotebook, finished

REQUEST = ApprovalRequest(1, "run_python", "print(1)", "python", "Print a number.")
READY = ToolCallReady(1, "run_python", json.dumps({"code": "print(1)"}))


class Harness:
    """An HTML view in a fake notebook; ``now`` is the clock in seconds."""

    def __init__(self, typed: str = "y", **options: Any) -> None:
        self.notebook = FakeNotebook()
        self.commands: list[Action] = []
        self.now = 0.0
        self.view = HtmlView(
            on_action=self.commands.append,
            ask=lambda _: typed,
            area=self.notebook,
            clock=lambda: self.now,
            **options,
        )

    def play(self, *events: Any) -> None:
        for event in events:
            self.view.apply(event)
            self.view.flush()


def test_it_replaces_itself_a_few_times_a_second_at_most() -> None:
    harness = Harness()
    for _ in range(100):
        harness.now += 0.01
        harness.play(TextDelta("m1", "word "))
    assert len(harness.notebook.outputs[0].shown) in {4, 5}


def test_too_soon_it_says_when_it_can_be_asked_again() -> None:
    harness = Harness()
    harness.play(TextDelta("m1", "one "))
    harness.now += 0.1
    harness.view.apply(TextDelta("m1", "two"))
    left = harness.view.flush()
    assert left == pytest.approx(0.2)
    harness.now += left
    assert harness.view.flush() is None
    assert "one two" in harness.notebook.outputs[0].shown[-1]["text/html"]


def test_it_says_what_goes_on_and_ends_with_the_answer_alone() -> None:
    harness = Harness()
    harness.play(STARTED, TextDelta("m1", "half"))
    assert harness.notebook.standing()[0]["text/plain"] == "[Codex is working …]"
    harness.now = 1.0
    harness.play(TextDelta("m1", " and"))
    assert harness.notebook.standing()[0]["text/plain"] == "half and\n\n[Writing …]"
    harness.play(TextDone("m1", "half and half"), finished("half and half"))
    harness.view.close()
    assert harness.notebook.standing()[0]["text/plain"].startswith("half and half\n\ngpt-5.2-codex")


def test_it_says_that_an_answer_is_being_corrected() -> None:
    harness = Harness()
    harness.play(STARTED, TextDone("m1", "seven"))
    harness.now = 1.0
    harness.play(AnswerRejected("it is not a number"))
    assert "[Correcting the answer …]" in harness.notebook.standing()[0]["text/plain"]


def test_the_code_stands_there_before_it_is_asked_for() -> None:
    harness = Harness("n because")
    harness.play(READY, ApprovalRequested(REQUEST))
    assert "print(1)" in harness.notebook.standing()[0]["text/plain"]
    assert harness.commands == [Decide(1, Decision(DecisionKind.REJECT, message="because"))]


def test_text_that_follows_outputs_stands_below_them() -> None:
    harness = Harness()
    harness.play(STARTED, TextDone("m1", "before"), READY)
    harness.play(ApprovalResolved(1, Decision(DecisionKind.APPROVE)), ToolStarted(1))
    harness.notebook.print("1")
    harness.now = 5.0
    harness.play(ToolFinished(1, "1", ok=True), TextDone("m2", "after"), finished("after"))
    harness.view.close()
    first, printed, last = (data["text/plain"] for data in harness.notebook.standing())
    assert (first, printed) == ("before\n\n[Python (done)]\nprint(1)", "1")
    assert last.startswith("after\n\ngpt-5.2-codex")


def test_it_takes_the_place_of_a_transcript_that_nobody_answered() -> None:
    notebook = FakeNotebook()
    transcript = Transcript(on_action=lambda _: None, area=notebook, open_comm=notebook.open_comm)
    transcript.show()
    handle = transcript.fall_back()
    view = HtmlView(on_action=lambda _: None, area=notebook, replaces=handle)
    for event in (TextDone("m1", "text"), finished("text")):
        view.apply(event)
    view.close()
    (standing,) = notebook.standing()
    assert set(standing) == {"text/html", "text/markdown", "text/plain"}
    notebook.comms[0].says("loaded")  # late, but still
    assert [message["kind"] for message in notebook.comms[0].sent] == ["ended"]
    notebook.comms[0].says("replaced")
    assert notebook.comms[0].closed


@pytest.mark.parametrize("name", PAYLOADS)
def test_no_hostile_text_gets_through(name: str) -> None:
    harness, text = Harness(), payload(name)
    harness.play(
        TextDone("m1", text),
        ToolCallReady(1, text, json.dumps({"code": text})),
        ToolFinished(1, text, ok=False),
        finished(text, status="failed", error=text),
    )
    harness.view.close()
    shown = [data for output in harness.notebook.outputs for data in output.shown]
    assert [violations(data["text/html"]) for data in shown if violations(data["text/html"])] == []


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ((), ["sign in", "answer"]),
        ((STARTED,), ["sign in", "answer"]),
        ((STARTED, TextDone("m1", "before")), ["before", "sign in", "answer"]),
    ],
)
def test_another_view_stands_where_the_turn_has_come_to(said: tuple[Any, ...], left: list[str]) -> None:
    harness = Harness()
    harness.play(*said)
    harness.view.reserve_output().show({"text/plain": "sign in"})
    harness.now += 10
    harness.play(TextDone("m2", "answer"), finished())
    harness.view.close()
    assert [data["text/plain"].splitlines()[0] for data in harness.notebook.standing()] == left
