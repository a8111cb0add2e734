from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from codex_nb.rendering.markdown import safe_html
from codex_nb.session.events import (
    REPLAY_CALL,
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
)
from codex_nb.tools.approval import ApprovalRequest, Decision, DecisionKind
from codex_nb.ui.layout import Action, Decide, TurnAction
from codex_nb.ui.transcript import Transcript
from tests.ui.fakes import STARTED, FakeNotebook, FakePage, finished

PLAIN = {"text/html", "text/markdown", "text/plain"}
CODE = "print(1)\nprint(2)"
REQUEST = ApprovalRequest(1, "run_python", CODE, "python", "Run two lines", editable=True)
APPROVED = Decision(DecisionKind.APPROVE)


class Harness:
    """A transcript in a fake notebook; ``now`` is the clock in seconds."""

    def __init__(self, **options: Any) -> None:
        self.notebook = FakeNotebook()
        self.commands: list[Action] = []
        self.now = 0.0
        self.transcript = Transcript(
            on_action=self.commands.append,
            area=self.notebook,
            open_comm=self.notebook.open_comm,
            clock=lambda: self.now,
            **options,
        )
        self.transcript.show()

    @property
    def comm(self) -> Any:
        return self.notebook.comms[-1]

    def play(self, *events: Any) -> None:
        for event in events:
            self.transcript.apply(event)
        self.transcript.flush()

    def page(self, comm: Any = None) -> FakePage:
        comm = comm or self.comm
        last = max(i for i, message in enumerate(comm.sent) if message["kind"] == "full")
        frames = [m["ops"] for m in comm.sent[last:] if m["kind"] in {"full", "frame"}]
        return FakePage().draw(frames)


@pytest.fixture
def harness() -> Harness:
    harness = Harness()
    harness.comm.ready()
    return harness


def call(call_number: int = 1, code: str = CODE, name: str = "run_python") -> list[Any]:
    arguments = json.dumps({"code": code})
    return [ToolCallStarted(call_number, name), ToolCallReady(call_number, name, arguments)]


def test_text_appears_as_it_comes_and_closed_blocks_are_sent_once(harness: Harness) -> None:
    for piece in ("# Title\n\nOne ", "two.\n\nThree", " four.\n"):
        harness.play(TextDelta("m1", piece))
    closed = [operation.get("closed", "") for frame in harness.comm.frames() for operation in frame]
    assert [html for html in closed if html] == [safe_html("# Title\n"), safe_html("One two.\n")]
    harness.play(TextDone("m1", "# Title\n\nOne two.\n\nThree four.\n"))
    assert harness.page().html() == safe_html("# Title\n\nOne two.\n\nThree four.\n")


def test_a_frame_without_news_is_not_sent(harness: Harness) -> None:
    harness.play(TextDelta("m1", "x"))
    sent = len(harness.comm.sent)
    harness.transcript.flush()
    assert len(harness.comm.sent) == sent


def test_a_final_text_that_differs_replaces_what_was_streamed(harness: Harness) -> None:
    harness.play(TextDelta("m1", "wrong\n\nwords"))
    harness.play(TextDone("m1", "right words"))
    assert harness.page().html() == safe_html("right words")


def test_text_of_a_request_that_is_repeated_does_not_stay(harness: Harness) -> None:
    harness.play(TextDone("m0", "kept"), TextDelta("m1", "half a sen"))
    harness.play(RetryScheduled(1, 5, 2.0, "The connection broke."))
    assert harness.page().html() == safe_html("kept")
    assert harness.page().status == "The connection broke. Trying again in 2 s (attempt 1 of 5)."
    harness.play(StepStarted(1), TextDone("m1", "a whole sentence"))
    assert harness.page().html() == safe_html("kept") + safe_html("a whole sentence")


def test_reasoning_is_a_section_of_its_own_while_it_streams(harness: Harness) -> None:
    harness.play(ReasoningDelta("r1", 0, "**Look**"), ReasoningDelta("r1", 1, "then"))
    harness.play(ReasoningDone("r1", "**Look**\n\nthen think"))
    (section,) = harness.page().sections.values()
    assert (section["kind"], section["title"]) == ("thinking", "Reasoning")
    assert harness.page().html("thinking") == safe_html("**Look**\n\nthen think")


@pytest.mark.parametrize(
    ("summary", "status"),
    [
        ("I look", "Thinking"),
        ("**Looking at wea", "Thinking"),
        ("**Looking at weather**", "Looking at weather"),
        ("**Looking at weather**\n\nIt has **two** columns.", "Looking at weather"),
        ("**Looking at weather**\n\nIt has two.\n\n**Comparing the years**\n\nThe", "Comparing the years"),
        ("**Looking\u202e at weather**", "Looking⟦U+202E⟧ at weather"),
    ],
)
def test_the_heading_of_what_the_model_thinks_is_the_status(
    harness: Harness, summary: str, status: str
) -> None:
    for piece in summary:
        harness.play(ReasoningDelta("r1", 0, piece))
    assert harness.page().status == status
    harness.play(ReasoningDone("r1", summary), TextDelta("m1", "So"))
    assert harness.page().status == "Writing"


def test_the_time_of_an_answer_is_without_the_users_own(harness: Harness) -> None:
    harness.now = 2.0
    harness.play(
        *call(1), *call(2), ApprovalRequested(REQUEST), ApprovalRequested(replace(REQUEST, call_number=2))
    )
    harness.now = 40.0
    harness.play(ApprovalResolved(1, APPROVED))
    assert harness.page().clock == (2.0, True)
    harness.now = 60.0
    harness.play(ApprovalResolved(2, APPROVED))
    assert harness.page().clock == (2.0, False)
    harness.play(*(ToolFinished(number, "", ok=True) for number in (1, 2)), TextDone("m0", "Ran."))
    harness.now = 61.0
    harness.transcript.reserve_output()
    harness.now = 100.0
    harness.play(TextDelta("m1", "So"))
    harness.comm.ready()
    harness.now = 104.0
    harness.play(finished())
    harness.transcript.close()
    sent = [message for comm in harness.notebook.comms for message in comm.sent]
    (elapsed,) = {message["elapsed"] for message in sent if message.get("is_last")}
    assert elapsed == "7 s"


def test_code_is_readable_and_highlighted_before_its_arguments_are_complete(harness: Harness) -> None:
    harness.play(ToolCallStarted(1, "run_python"), ToolArgumentsDelta(1, '{"code": "import os\\nprint('))
    (section,) = harness.page().sections.values()
    assert section["phase"] == "writing"
    assert '<span class="kn">import</span>' in section["open"]
    assert harness.page().status == "Preparing: Python"


def test_an_approval_carries_the_whole_code_and_its_answer_is_an_action(harness: Harness) -> None:
    harness.play(*call(), ApprovalRequested(REQUEST))
    (section,) = harness.page().sections.values()
    assert section["asks"] == {
        "call_number": 1,
        "code": CODE,
        "is_code": True,
        "is_change": False,
        "is_question": False,
        "editable": True,
        "summary": "Run two lines",
        "allow_tool": "Allow Python for this session",
        "asks": "Codex asks for your approval: Python",
    }
    assert harness.page().status == "Waiting for your approval"
    harness.comm.says("action", name="decide", call_number=1, decision="approve", code="print(3)")
    assert harness.commands == [Decide(1, Decision(DecisionKind.APPROVE, code="print(3)"))]


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ({"name": "stop"}, TurnAction.STOP),
        (
            {"name": "decide", "call_number": 1, "decision": "approve_tool"},
            Decide(1, Decision(DecisionKind.APPROVE_TOOL)),
        ),
        (
            {"name": "decide", "call_number": 1, "decision": "reject", "message": " use polars "},
            Decide(1, Decision(DecisionKind.REJECT, message="use polars")),
        ),
        ({"name": "retry"}, TurnAction.RETRY),
        ({"name": "continue"}, TurnAction.CONTINUE),
    ],
)
def test_each_button_is_an_action(harness: Harness, message: dict[str, Any], command: Action) -> None:
    harness.comm.says("action", **message)
    assert harness.commands == [command]


@pytest.mark.parametrize(
    "message",
    [
        {"name": "decide", "call_number": 1, "decision": "allow"},
        *(
            {"name": "decide", "call_number": odd, "decision": "approve"}
            for odd in (True, 1.0, "1", [1], None)
        ),
        {"name": "decide", "decision": "approve"},
        {"name": "launch"},
        {},
    ],
)
def test_a_message_that_says_nothing_known_decides_nothing(harness: Harness, message: dict[str, Any]) -> None:
    harness.comm.says("action", **message)
    assert harness.commands == []


def test_what_is_asked_anew_while_the_first_request_waits_is_what_is_shown(harness: Harness) -> None:
    harness.play(*call(), ApprovalRequested(REQUEST))
    harness.play(ApprovalRequested(replace(REQUEST, code="print(9)", summary="Run one line")))
    (section,) = harness.page().sections.values()
    assert (section["asks"]["code"], section["asks"]["summary"]) == ("print(9)", "Run one line")


def test_an_edit_is_shown_as_what_ran(harness: Harness) -> None:
    harness.play(*call(), ApprovalRequested(REQUEST))
    harness.play(ApprovalResolved(1, Decision(DecisionKind.APPROVE, code="print(3)")), ToolStarted(1))
    (section,) = harness.page().sections.values()
    assert "asks" not in section
    assert section["phase"] == "running"
    assert "print" in section["open"]
    assert "3" in section["open"]


@pytest.mark.parametrize(
    ("decision", "ok", "phase"),
    [
        (APPROVED, True, "done"),
        (APPROVED, False, "failed"),
        (Decision(DecisionKind.REJECT), False, "rejected"),
        (Decision(DecisionKind.REJECT, by="nobody"), False, "unanswered"),
    ],
)
def test_a_call_ends_in_the_phase_that_its_decision_and_output_say(
    harness: Harness, decision: Decision, ok: bool, phase: str
) -> None:
    events = call(name="read_file")
    harness.play(*events, ApprovalResolved(1, decision), ToolFinished(1, "what it gave", ok))
    (section,) = harness.page().sections.values()
    assert (section["phase"], section["output"], section["folded"]) == (phase, "what it gave", True)


def test_code_that_ran_stays_unfolded(harness: Harness) -> None:
    harness.play(*call(), ToolStarted(1))
    assert harness.page().sections[1]["folded"] is False
    harness.play(
        *call(call_number=2), ApprovalResolved(2, Decision(DecisionKind.REJECT)), ToolFinished(2, "", False)
    )
    assert [section["folded"] for section in harness.page().sections.values()] == [False, True]


def test_cells_that_were_inserted_unasked_are_shown_as_a_script(harness: Harness) -> None:
    cells = json.dumps({"cells": [{"kind": "code", "source": "first = 1"}]})
    harness.play(ToolCallStarted(1, "insert_cells"), ToolCallReady(1, "insert_cells", cells), ToolStarted(1))
    (section,) = harness.page().sections.values()
    assert '<span class="c1"># %%</span>' in section["open"]


def test_a_reloaded_page_gets_everything_again(harness: Harness) -> None:
    harness.play(ReasoningDone("r1", "thought"), TextDone("m1", "- a\n- b\n\ntext"), *call())
    harness.now = 12.5
    harness.play(ApprovalRequested(REQUEST), Notice("context", "Cut to fit."), TextDelta("m2", "open `code"))
    before = harness.page()
    harness.comm.ready("v2")
    full = harness.comm.sent[-1]
    assert (full["kind"], full["elapsed"]) == ("full", 12.5)
    after = FakePage().draw([full["ops"]])
    assert (after.sections, after.status) == (before.sections, before.status)


@pytest.mark.parametrize("visible", [True, False])
def test_a_view_that_is_opened_draws_no_other_anew_and_all_show_the_same(
    harness: Harness, *, visible: bool
) -> None:
    harness.play(ReasoningDone("r1", "thought"), TextDelta("m1", "- a\n- b\n\nte"), *call())
    harness.comm.says("visible", visible=visible)
    harness.play(ApprovalRequested(REQUEST), TextDelta("m1", "xt"))
    harness.comm.ready("v2")
    harness.play(TextDone("m1", "- a\n- b\n\ntext"), TextDelta("m2", "open `code"))
    shown = {}
    for view in ("v1", "v2"):
        own = [m for m in harness.comm.sent if m["kind"] in {"full", "frame"} and m.get("view", view) == view]
        first = next(at for at, message in enumerate(own) if message["kind"] == "full")
        shown[view] = FakePage().draw([message["ops"] for message in own[first:]])
        assert [message["kind"] for message in own].count("full") == 1
    assert shown["v1"].sections == shown["v2"].sections


def test_nothing_is_sent_to_a_page_that_nobody_sees_and_all_of_it_comes_in_one_piece() -> None:
    harness = Harness()
    harness.comm.ready(visible=False)
    sent = len(harness.comm.sent)
    for number in range(50):
        harness.play(TextDelta("m1", f"line {number}\n\n"))
    assert len(harness.comm.sent) == sent
    harness.comm.says("visible", visible=True)
    assert len(harness.comm.sent) == sent + 1
    assert harness.page().html() == safe_html("".join(f"line {number}\n\n" for number in range(50)))


def test_one_view_that_is_seen_is_enough(harness: Harness) -> None:
    harness.comm.ready("v2", visible=False)
    sent = len(harness.comm.sent)
    harness.play(TextDelta("m1", "x"))
    harness.comm.says("gone")
    harness.play(TextDelta("m1", "y"))
    assert len(harness.comm.sent) == sent + 1


def test_the_output_ends_as_a_plain_bundle_and_the_widget_closes_when_the_front_end_says_so(
    harness: Harness,
) -> None:
    harness.play(STARTED, TextDone("m1", "The *answer*."), finished("The *answer*."))
    harness.transcript.close()
    (standing,) = harness.notebook.standing()
    assert set(standing) == PLAIN
    assert harness.comm.closed is False
    harness.comm.says("replaced")
    assert all(comm.closed for comm in harness.notebook.comms)
    assert standing["text/plain"] == (
        "The *answer*.\n\ngpt-5.2-codex, medium effort · 1,200 tokens in (1,000 cached), 40 out (8 reasoning)"
        " · ChatGPT Plus"
    )


def test_a_page_that_kept_the_widget_is_given_the_bundle_another_way(harness: Harness) -> None:
    harness.play(TextDone("m1", "text"), finished("text"))
    harness.transcript.close()
    sent = len(harness.comm.sent)
    for page in ("one", "other") * 2:  # they may share a document: another is asked only if it must be
        harness.comm.says("still_shown", page=page)
    assert harness.comm.sent[sent:] == [
        {"kind": "replace", "model_id": "model-0", "page": page, "bundle": harness.notebook.standing()[0]}
        for page in ("one", "one", "other")
    ]


def test_a_page_reloaded_after_the_end_still_finds_the_answer(harness: Harness) -> None:
    harness.play(TextDone("m1", "text"), finished("text"))
    harness.transcript.close()
    harness.comm.ready("v2")
    assert [message["kind"] for message in harness.comm.sent[-2:]] == ["full", "ended"]
    assert harness.page().html() == safe_html("text")


def test_a_widget_that_no_front_end_loaded_is_closed() -> None:
    harness = Harness()
    harness.play(TextDone("m1", "text"), finished("text"))
    harness.transcript.close()
    assert (harness.comm.closed, set(harness.notebook.standing()[0])) == (False, PLAIN)
    harness.transcript.close_unloaded()
    assert (harness.comm.closed, harness.comm.sent) == (True, [])


def test_a_widget_that_a_front_end_loaded_stays_open(harness: Harness) -> None:
    harness.play(TextDone("m1", "text"), finished("text"))
    harness.transcript.close()
    harness.transcript.close_unloaded()
    assert harness.comm.closed is False


def test_text_that_follows_outputs_stands_below_them(harness: Harness) -> None:
    harness.play(STARTED, TextDone("m1", "before"), *call(), ApprovalRequested(REQUEST))
    harness.play(ApprovalResolved(1, APPROVED), ToolStarted(1))
    harness.notebook.print("what the code printed")
    harness.play(ToolFinished(1, "what the code printed", ok=True))
    first, second = harness.notebook.comms
    second.ready()
    harness.play(TextDone("m2", "after"), finished("after"))
    harness.transcript.close()
    for comm in (first, second):
        comm.says("replaced")
    plain = [data["text/plain"] for data in harness.notebook.standing()]
    assert plain[0] == f"before\n\n[Python (done)]\n{CODE}"
    assert plain[1] == "what the code printed"
    assert plain[2].startswith("after\n\ngpt-5.2-codex")
    assert all(comm.closed for comm in harness.notebook.comms)


def test_calls_that_wait_go_along_below_the_outputs(harness: Harness) -> None:
    second = ApprovalRequest(2, "run_python", "print(9)", "python", "", editable=True)
    harness.play(*call(1), *call(2, "print(9)"), ApprovalResolved(1, APPROVED), ToolStarted(1))
    harness.notebook.print("1")
    harness.play(ToolFinished(1, "1", ok=True), ApprovalRequested(second))
    harness.comm.ready()
    assert [section.get("asks", {}).get("call_number") for section in harness.page().sections.values()] == [2]
    assert "print(9)" not in harness.notebook.standing()[0]["text/plain"]


def test_a_call_that_waits_moves_below_outputs_once_however_often_they_are_noticed(harness: Harness) -> None:
    harness.play(*call(1), *call(2, "print(9)"), ApprovalResolved(1, APPROVED), ToolStarted(1))
    harness.notebook.print("1")
    harness.transcript.start_new_output()
    harness.play(ToolFinished(1, "1", ok=True))
    harness.transcript.start_new_output()
    harness.play(
        ApprovalResolved(2, Decision(DecisionKind.REJECT)), ToolFinished(2, "no", ok=False), finished()
    )
    harness.transcript.close()
    plain = [data["text/plain"].splitlines()[0] for data in harness.notebook.standing()]
    assert plain == ["[Python (done)]", "1", "[Python (rejected)]"]


def test_a_waiting_approval_is_announced_while_another_call_is_written(
    harness: Harness,
) -> None:
    harness.play(*call(1), *call(2, "print(9)"), ApprovalRequested(REQUEST))
    assert harness.page().status == "Waiting for your approval"
    harness.play(ApprovalResolved(1, APPROVED), ToolStarted(1))
    assert harness.page().status == "Running: Python"


def test_a_break_while_code_runs_takes_effect_when_it_has_run(harness: Harness) -> None:
    harness.play(*call(name="my_tool"), ApprovalResolved(1, APPROVED), ToolStarted(1))
    harness.notebook.print("shown by the tool")
    harness.transcript.start_new_output()
    harness.transcript.flush()
    assert len(harness.notebook.comms) == 1
    harness.play(ToolFinished(1, "returned by the tool", ok=True))
    assert len(harness.notebook.comms) == 2
    assert harness.notebook.standing()[0]["text/plain"].endswith("returned by the tool")


def runs(call_number: int, notebook: FakeNotebook) -> list[Any]:
    """Start a call, show its output as the kernel does, and return what is still to come of it."""
    notebook.print(f"output of {call_number}")
    return [ToolFinished(call_number, "1", ok=True)]


def test_quick_calls_stand_each_above_its_own_outputs_and_leave_no_empty_output(harness: Harness) -> None:
    harness.play(*call(1, "first"), ApprovalResolved(1, APPROVED), ToolStarted(1))
    for event in (
        *runs(1, harness.notebook),
        StepStarted(2),
        *call(2, "second"),
        ApprovalResolved(2, APPROVED),
        ToolStarted(2),
    ):
        harness.transcript.apply(event)  # all of it between two frames
    harness.transcript.flush()
    harness.play(*runs(2, harness.notebook), TextDone("m1", "Done."), finished())
    harness.transcript.close()
    plain = [data["text/plain"].splitlines()[-1] for data in harness.notebook.standing()[:-1]]
    assert plain == ["first", "output of 1", "second", "output of 2"]
    assert harness.notebook.standing()[-1]["text/plain"].startswith("Done.")


def test_another_view_gets_the_output_in_which_nothing_stands_yet(harness: Harness) -> None:
    harness.play(StepStarted(1))
    harness.transcript.reserve_output().show({"text/plain": "sign in"})
    assert harness.comm.sent[-1]["kind"] == "ended"
    harness.comm.says("replaced")
    assert (len(harness.notebook.comms), harness.comm.closed) == (1, True)
    harness.play(TextDelta("m1", "answer"), finished())
    harness.transcript.close()
    first, second = (data["text/plain"] for data in harness.notebook.standing())
    assert (first, second.splitlines()[0]) == ("sign in", "answer")


def test_where_a_widget_cannot_replace_another_the_answer_still_follows_below() -> None:
    harness = Harness()
    harness.comm.says("ready", visible=True, document=False)
    harness.play(StepStarted(1))
    harness.transcript.reserve_output().show({"text/plain": "sign in"})
    harness.play(TextDone("m1", "answer"), finished())
    harness.transcript.close()
    plain = [data["text/plain"].splitlines()[:1] for data in harness.notebook.standing()]
    assert plain == [[], ["sign in"], ["answer"]]


def test_another_view_stands_between_what_was_there_and_what_follows(harness: Harness) -> None:
    harness.play(TextDone("m1", "before"))
    harness.transcript.reserve_output().show({"text/plain": "sign in"})
    harness.play(TextDone("m2", "after"), finished())
    harness.transcript.close()
    plain = [data["text/plain"].splitlines()[0] for data in harness.notebook.standing()]
    assert plain == ["before", "sign in", "after"]


def test_a_rejected_call_breaks_nothing(harness: Harness) -> None:
    harness.play(*call(), ApprovalResolved(1, Decision(DecisionKind.REJECT)), ToolFinished(1, "no", ok=False))
    harness.play(TextDelta("m1", "then"))
    assert len(harness.notebook.comms) == 1


@pytest.mark.parametrize(
    ("status", "offers"),
    [
        ("completed", []),
        ("failed", ["retry"]),
        ("cancelled", ["retry", "continue"]),
        ("incomplete", ["continue", "retry"]),
    ],
)
def test_an_early_end_offers_what_can_be_done(status: str, offers: list[str]) -> None:
    harness = Harness(offers_more=True)
    harness.comm.ready()
    harness.play(TextDelta("m1", "half"), finished(status=status, error="It broke."))
    harness.transcript.close()
    ending = harness.comm.sent[-1]
    assert (ending["kind"], ending["offers"]) == ("ended", offers)
    harness.comm.says("replaced")
    assert harness.comm.closed is (offers == [])
    for name in offers[:1]:
        harness.comm.says("action", name=name)
        assert (harness.comm.closed, len(harness.commands)) == (True, 1)


def test_a_saved_answer_offers_to_ask_again() -> None:
    harness = Harness(offers_more=True)
    harness.comm.ready()
    harness.play(Notice("cached", "Saved answer."), TextDone("m1", "whole"), finished("whole"))
    harness.transcript.close()
    assert harness.comm.sent[-1]["offers"] == ["ask_again"]
    harness.comm.says("replaced")
    harness.comm.says("action", name="ask_again")
    assert (harness.comm.closed, harness.commands) == (True, [TurnAction.RETRY])


def test_the_request_for_all_calls_of_a_saved_answer_is_gone_when_it_is_decided(harness: Harness) -> None:
    request = ApprovalRequest(REPLAY_CALL, "run_python", "print(1)\n\nprint(2)", "python", "Runs both again.")
    harness.play(Notice("cached", "Saved answer."), ApprovalRequested(request))
    assert "print" in json.dumps(harness.comm.sent)
    harness.play(ApprovalResolved(REPLAY_CALL, Decision(DecisionKind.APPROVE)))
    assert "print" not in str(harness.page().html())


def test_offers_that_nobody_took_end_with_the_output(harness: Harness) -> None:
    harness = Harness(offers_more=True)
    harness.comm.ready()
    harness.play(finished(status="cancelled"))
    harness.transcript.close()
    harness.comm.says("replaced")
    harness.comm.says("dismissed")
    assert harness.comm.closed


def test_a_request_waits_for_the_front_end_and_brings_its_reply() -> None:
    harness = Harness()
    future = harness.transcript.request("read_document", {})
    assert harness.comm.sent == []
    harness.comm.ready()
    asked = harness.comm.sent[-1]
    assert (asked["kind"], asked["operation"]) == ("request", "read_document")
    harness.comm.says("reply", id=asked["id"], value={"notebook": {"cells": []}})
    assert future.result(0) == {"notebook": {"cells": []}}


def test_asking_pumps_until_the_reply_is_there() -> None:
    harness: Harness

    def wait(is_over: Callable[[], bool], seconds: float) -> None:
        assert seconds == 3
        harness.comm.ready()
        harness.comm.says("reply", id=harness.comm.sent[-1]["id"], value={"inserted": 1})
        assert is_over()

    harness = Harness(wait=wait)
    cells = [{"kind": "code", "source": "1"}]
    assert harness.transcript.ask("insert_cells", {"cells": cells, "after": "id"}, 3) == {"inserted": 1}


def test_a_front_end_that_refuses_or_is_silent_gives_no_reply() -> None:
    harness: Harness

    def wait(is_over: Callable[[], bool], seconds: float) -> None:
        if harness.comm.sent:
            harness.comm.says("reply", id=harness.comm.sent[-1]["id"], error="no notebook")

    harness = Harness(wait=wait)
    assert harness.transcript.ask("read_document", {}, 1) is None
    harness.comm.ready()
    assert harness.transcript.ask("read_document", {}, 1) is None
    harness.transcript.close()
    harness.comm.says("replaced")
    assert harness.transcript.ask("read_document", {}, 1) is None


def test_cost_is_linear_in_the_answer() -> None:
    def sent_for(characters: int) -> int:
        harness = Harness()
        harness.comm.ready()
        paragraph = "Some **words** with `code` and more words to fill a line of text.\n\n"
        text = paragraph * (characters // len(paragraph))
        for at in range(0, len(text), 200):
            harness.play(TextDelta("m1", text[at : at + 200]))
        return len(json.dumps(harness.comm.frames()))

    small, large = sent_for(10_000), sent_for(100_000)
    assert large <= 10.5 * small
    assert large <= 2 * 100_000 * 1.5 + 500 * 1_000


def test_an_output_that_was_replaced_at_once_ends_when_the_front_end_loads_it() -> None:
    harness = Harness()
    harness.comm.ready()
    run = (ToolCallReady(1, "run_python", json.dumps({"code": CODE})), ToolStarted(1))
    harness.play(STARTED, *run, ToolFinished(1, "1", ok=True), TextDone("m1", "Done."), finished("Done."))
    harness.transcript.close()
    (first, last) = harness.notebook.comms
    assert (first.sent[-1]["kind"], last.sent, last.closed) == ("ended", [], False)
    last.says("loaded")
    (ending,) = last.sent
    assert (ending["kind"], ending["is_last"], ending["family"]) == ("ended", True, "model-0")
    assert (first.sent[-1]["is_last"], first.sent[-1]["family"]) == (False, "model-0")
    last.says("replaced")
    assert ([message["kind"] for message in last.sent], last.closed) == (["ended", "closed"], True)


def test_a_page_that_begins_after_the_end_is_told_of_it(harness: Harness) -> None:
    harness.play(TextDone("m1", "text"), finished("text"))
    harness.transcript.close()
    harness.comm.says("loaded")
    assert [message["kind"] for message in harness.comm.sent[-2:]] == ["ended", "ended"]
