from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from codex_nb.rendering.markdown import safe_html
from codex_nb.session.events import (
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
from codex_nb.ui.actions import Action, Continue, Decide, Retry, Stop
from codex_nb.ui.transcript import Transcript
from tests.ui.fakes import STARTED, FakeNotebook, FakePage, finished

PLAIN = {"text/html", "text/markdown", "text/plain"}
CODE = "print(1)\nprint(2)"
REQUEST = ApprovalRequest(1, "run_python", CODE, "python", "Run two lines", editable=True)
APPROVED = Decision(DecisionKind.APPROVE)


class LoginPrompt:
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
def desk() -> LoginPrompt:
    desk = LoginPrompt()
    desk.comm.ready()
    return desk


def call(call_number: int = 1, code: str = CODE, name: str = "run_python") -> list[Any]:
    arguments = json.dumps({"code": code})
    return [ToolCallStarted(call_number, name), ToolCallReady(call_number, name, arguments)]


def test_text_appears_as_it_comes_and_closed_blocks_are_sent_once(desk: LoginPrompt) -> None:
    for piece in ("# Title\n\nOne ", "two.\n\nThree", " four.\n"):
        desk.play(TextDelta("m1", piece))
    closed = [operation.get("closed", "") for frame in desk.comm.frames() for operation in frame]
    assert [html for html in closed if html] == [safe_html("# Title\n"), safe_html("One two.\n")]
    desk.play(TextDone("m1", "# Title\n\nOne two.\n\nThree four.\n"))
    assert desk.page().html() == safe_html("# Title\n\nOne two.\n\nThree four.\n")


def test_a_frame_without_news_is_not_sent(desk: LoginPrompt) -> None:
    desk.play(TextDelta("m1", "x"))
    sent = len(desk.comm.sent)
    desk.transcript.flush()
    assert len(desk.comm.sent) == sent


def test_a_final_text_that_differs_replaces_what_was_streamed(desk: LoginPrompt) -> None:
    desk.play(TextDelta("m1", "wrong\n\nwords"))
    desk.play(TextDone("m1", "right words"))
    assert desk.page().html() == safe_html("right words")


def test_text_of_a_request_that_is_repeated_does_not_stay(desk: LoginPrompt) -> None:
    desk.play(TextDone("m0", "kept"), TextDelta("m1", "half a sen"))
    desk.play(RetryScheduled(1, 5, 2.0, "The connection broke."))
    assert desk.page().html() == safe_html("kept")
    assert desk.page().status == "The connection broke. Trying again in 2 s (attempt 1 of 5)."
    desk.play(StepStarted(1), TextDone("m1", "a whole sentence"))
    assert desk.page().html() == safe_html("kept") + safe_html("a whole sentence")


def test_reasoning_is_a_section_of_its_own_while_it_streams(desk: LoginPrompt) -> None:
    desk.play(ReasoningDelta("r1", 0, "**Look**"), ReasoningDelta("r1", 1, "then"))
    assert desk.page().status == "Thinking"
    desk.play(ReasoningDone("r1", "**Look**\n\nthen think"))
    (section,) = desk.page().sections.values()
    assert (section["kind"], section["title"]) == ("thinking", "Reasoning")
    assert desk.page().html("thinking") == safe_html("**Look**\n\nthen think")


def test_code_is_readable_and_highlighted_before_its_arguments_are_complete(desk: LoginPrompt) -> None:
    desk.play(ToolCallStarted(1, "run_python"), ToolArgumentsDelta(1, '{"code": "import os\\nprint('))
    (section,) = desk.page().sections.values()
    assert section["phase"] == "writing"
    assert '<span class="kn">import</span>' in section["open"]
    assert desk.page().status == "Preparing: Python"


def test_an_approval_carries_the_whole_code_and_its_answer_is_a_command(desk: LoginPrompt) -> None:
    desk.play(*call(), ApprovalRequested(REQUEST))
    (section,) = desk.page().sections.values()
    assert section["asks"] == {
        "call_number": 1,
        "code": CODE,
        "is_code": True,
        "editable": True,
        "summary": "Run two lines",
        "allow_tool": "Allow Python for this session",
        "asks": "Codex asks for your approval: Python",
    }
    assert desk.page().status == "Waiting for your approval"
    desk.comm.says("action", name="decide", call_number=1, decision="approve", code="print(3)")
    assert desk.commands == [Decide(1, Decision(DecisionKind.APPROVE, code="print(3)"))]


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ({"name": "stop"}, Stop()),
        (
            {"name": "decide", "call_number": 1, "decision": "approve_tool"},
            Decide(1, Decision(DecisionKind.APPROVE_TOOL)),
        ),
        (
            {"name": "decide", "call_number": 1, "decision": "reject", "message": " use polars "},
            Decide(1, Decision(DecisionKind.REJECT, message="use polars")),
        ),
        ({"name": "retry"}, Retry()),
        ({"name": "continue"}, Continue()),
    ],
)
def test_what_the_user_touches_is_a_command(
    desk: LoginPrompt, message: dict[str, Any], command: Action
) -> None:
    desk.comm.says("action", **message)
    assert desk.commands == [command]


@pytest.mark.parametrize(
    "message",
    [
        {"name": "decide", "call_number": 1, "decision": "allow"},
        {"name": "decide", "decision": "approve"},
        {"name": "launch"},
        {},
    ],
)
def test_a_message_that_says_nothing_known_decides_nothing(
    desk: LoginPrompt, message: dict[str, Any]
) -> None:
    desk.comm.says("action", **message)
    assert desk.commands == []


def test_an_edit_is_shown_as_what_ran(desk: LoginPrompt) -> None:
    desk.play(*call(), ApprovalRequested(REQUEST))
    desk.play(ApprovalResolved(1, Decision(DecisionKind.APPROVE, code="print(3)")), ToolStarted(1))
    (section,) = desk.page().sections.values()
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
    desk: LoginPrompt, decision: Decision, ok: bool, phase: str
) -> None:
    events = call(name="read_file")
    desk.play(*events, ApprovalResolved(1, decision), ToolFinished(1, "what it gave", ok))
    (section,) = desk.page().sections.values()
    assert (section["phase"], section["output"], section["folded"]) == (phase, "what it gave", True)


def test_code_that_ran_stays_before_the_eyes_of_whom_it_ran_for(desk: LoginPrompt) -> None:
    desk.play(*call(), ToolStarted(1))
    assert desk.page().sections[1]["folded"] is False
    desk.play(
        *call(call_number=2), ApprovalResolved(2, Decision(DecisionKind.REJECT)), ToolFinished(2, "", False)
    )
    assert [section["folded"] for section in desk.page().sections.values()] == [False, True]


def test_cells_that_were_inserted_unasked_are_shown_as_a_script(desk: LoginPrompt) -> None:
    cells = json.dumps({"cells": [{"kind": "code", "source": "first = 1"}]})
    desk.play(ToolCallStarted(1, "insert_cells"), ToolCallReady(1, "insert_cells", cells), ToolStarted(1))
    (section,) = desk.page().sections.values()
    assert '<span class="c1"># %%</span>' in section["open"]


def test_a_reloaded_page_gets_everything_again(desk: LoginPrompt) -> None:
    desk.play(ReasoningDone("r1", "thought"), TextDone("m1", "- a\n- b\n\ntext"), *call())
    desk.play(ApprovalRequested(REQUEST), Notice("context", "Cut to fit."), TextDelta("m2", "open `code"))
    before = desk.page()
    desk.now = 12.5
    desk.comm.ready("v2")
    full = desk.comm.sent[-1]
    assert (full["kind"], full["elapsed"]) == ("full", 12.5)
    after = FakePage().draw([full["ops"]])
    assert (after.sections, after.status) == (before.sections, before.status)


def test_nothing_is_sent_to_a_page_that_nobody_sees_and_all_of_it_comes_in_one_piece() -> None:
    desk = LoginPrompt()
    desk.comm.ready(visible=False)
    sent = len(desk.comm.sent)
    for number in range(50):
        desk.play(TextDelta("m1", f"line {number}\n\n"))
    assert len(desk.comm.sent) == sent
    desk.comm.says("visible", visible=True)
    assert len(desk.comm.sent) == sent + 1
    assert desk.page().html() == safe_html("".join(f"line {number}\n\n" for number in range(50)))


def test_one_view_that_is_seen_is_enough(desk: LoginPrompt) -> None:
    desk.comm.ready("v2", visible=False)
    sent = len(desk.comm.sent)
    desk.play(TextDelta("m1", "x"))
    desk.comm.says("gone")
    desk.play(TextDelta("m1", "y"))
    assert len(desk.comm.sent) == sent + 1


def test_the_output_ends_as_a_plain_bundle_and_the_widget_closes_when_the_front_end_says_so(
    desk: LoginPrompt,
) -> None:
    desk.play(STARTED, TextDone("m1", "The *answer*."), finished("The *answer*."))
    desk.transcript.close()
    (standing,) = desk.notebook.standing()
    assert set(standing) == PLAIN
    assert desk.comm.closed is False
    desk.comm.says("replaced")
    assert (desk.comm.closed, desk.transcript.is_closed) == (True, True)
    assert standing["text/plain"] == (
        "The *answer*.\n\ngpt-5.2-codex, medium effort · 1,200 tokens in (1,000 cached), 40 out (8 reasoning)"
        " · ada@example.com · ChatGPT Plus"
    )


def test_a_page_that_kept_the_widget_is_given_the_bundle_another_way(desk: LoginPrompt) -> None:
    desk.play(TextDone("m1", "text"), finished("text"))
    desk.transcript.close()
    desk.comm.says("still_shown")
    assert desk.comm.sent[-1] == {
        "kind": "replace",
        "model_id": "model-0",
        "bundle": desk.notebook.standing()[0],
    }


def test_a_page_reloaded_after_the_end_still_finds_the_answer(desk: LoginPrompt) -> None:
    desk.play(TextDone("m1", "text"), finished("text"))
    desk.transcript.close()
    desk.comm.ready("v2")
    assert [message["kind"] for message in desk.comm.sent[-2:]] == ["full", "ended"]
    assert desk.page().html() == safe_html("text")


def test_a_widget_that_no_front_end_has_answered_is_closed_when_it_is_forgotten() -> None:
    desk = LoginPrompt()
    desk.play(TextDone("m1", "text"), finished("text"))
    desk.transcript.close()
    assert (desk.comm.closed, set(desk.notebook.standing()[0])) == (False, PLAIN)
    desk.transcript.close_unloaded()
    assert (desk.comm.closed, desk.comm.sent) == (True, [])


def test_a_front_end_that_has_answered_is_not_forgotten(desk: LoginPrompt) -> None:
    desk.play(TextDone("m1", "text"), finished("text"))
    desk.transcript.close()
    desk.transcript.close_unloaded()
    assert desk.comm.closed is False


def test_text_that_follows_outputs_stands_below_them(desk: LoginPrompt) -> None:
    desk.play(STARTED, TextDone("m1", "before"), *call(), ApprovalRequested(REQUEST))
    desk.play(ApprovalResolved(1, APPROVED), ToolStarted(1))
    desk.notebook.print("what the code printed")
    desk.play(ToolFinished(1, "what the code printed", ok=True))
    first, second = desk.notebook.comms
    second.ready()
    desk.play(TextDone("m2", "after"), finished("after"))
    desk.transcript.close()
    for comm in (first, second):
        comm.says("replaced")
    plain = [data["text/plain"] for data in desk.notebook.standing()]
    assert plain[0] == f"before\n\n[Python (done)]\n{CODE}"
    assert plain[1] == "what the code printed"
    assert plain[2].startswith("after\n\ngpt-5.2-codex")
    assert desk.transcript.is_closed


def test_calls_that_wait_go_along_below_the_outputs(desk: LoginPrompt) -> None:
    second = ApprovalRequest(2, "run_python", "print(9)", "python", "", editable=True)
    desk.play(*call(1), *call(2, "print(9)"), ApprovalResolved(1, APPROVED), ToolStarted(1))
    desk.notebook.print("1")
    desk.play(ToolFinished(1, "1", ok=True), ApprovalRequested(second))
    desk.comm.ready()
    assert [section.get("asks", {}).get("call_number") for section in desk.page().sections.values()] == [2]
    assert "print(9)" not in desk.notebook.standing()[0]["text/plain"]


def test_a_call_that_waits_moves_below_outputs_once_however_often_they_are_noticed(desk: LoginPrompt) -> None:
    desk.play(*call(1), *call(2, "print(9)"), ApprovalResolved(1, APPROVED), ToolStarted(1))
    desk.notebook.print("1")
    desk.transcript.start_new_output()
    desk.play(ToolFinished(1, "1", ok=True))
    desk.transcript.start_new_output()
    desk.play(ApprovalResolved(2, Decision(DecisionKind.REJECT)), ToolFinished(2, "no", ok=False), finished())
    desk.transcript.close()
    plain = [data["text/plain"].splitlines()[0] for data in desk.notebook.standing()]
    assert plain == ["[Python (done)]", "1", "[Python (rejected)]"]


def test_what_waits_for_the_person_is_said_although_another_call_is_written_behind_it(
    desk: LoginPrompt,
) -> None:
    desk.play(*call(1), *call(2, "print(9)"), ApprovalRequested(REQUEST))
    assert desk.page().status == "Waiting for your approval"
    desk.play(ApprovalResolved(1, APPROVED), ToolStarted(1))
    assert desk.page().status == "Running: Python"


def test_a_break_while_code_runs_takes_effect_when_it_has_run(desk: LoginPrompt) -> None:
    desk.play(*call(name="my_tool"), ApprovalResolved(1, APPROVED), ToolStarted(1))
    desk.notebook.print("shown by the tool")
    desk.transcript.start_new_output()
    desk.transcript.flush()
    assert len(desk.notebook.comms) == 1
    desk.play(ToolFinished(1, "returned by the tool", ok=True))
    assert len(desk.notebook.comms) == 2
    assert desk.notebook.standing()[0]["text/plain"].endswith("returned by the tool")


def runs(call_number: int, notebook: FakeNotebook) -> list[Any]:
    """Start a call, show its output as the kernel does, and return what is still to come of it."""
    notebook.print(f"output of {call_number}")
    return [ToolFinished(call_number, "1", ok=True)]


def test_quick_calls_stand_each_above_its_own_outputs_and_leave_no_empty_output(desk: LoginPrompt) -> None:
    desk.play(*call(1, "first"), ApprovalResolved(1, APPROVED), ToolStarted(1))
    for event in (
        *runs(1, desk.notebook),
        StepStarted(2),
        *call(2, "second"),
        ApprovalResolved(2, APPROVED),
        ToolStarted(2),
    ):
        desk.transcript.apply(event)  # all of it between two frames
    desk.transcript.flush()
    desk.play(*runs(2, desk.notebook), TextDone("m1", "Done."), finished())
    desk.transcript.close()
    plain = [data["text/plain"].splitlines()[-1] for data in desk.notebook.standing()[:-1]]
    assert plain == ["first", "output of 1", "second", "output of 2"]
    assert desk.notebook.standing()[-1]["text/plain"].startswith("Done.")


def test_another_view_gets_the_output_in_which_nothing_stands_yet(desk: LoginPrompt) -> None:
    desk.play(StepStarted(1))
    desk.transcript.reserve_output().show({"text/plain": "sign in"})
    assert desk.comm.sent[-1]["kind"] == "ended"
    desk.comm.says("replaced")
    assert (len(desk.notebook.comms), desk.comm.closed) == (1, True)
    desk.play(TextDelta("m1", "answer"), finished())
    desk.transcript.close()
    first, second = (data["text/plain"] for data in desk.notebook.standing())
    assert (first, second.splitlines()[0]) == ("sign in", "answer")


def test_where_a_widget_cannot_take_another_ones_place_the_answer_still_follows_below() -> None:
    desk = LoginPrompt()
    desk.comm.says("ready", visible=True, document=False)
    desk.play(StepStarted(1))
    desk.transcript.reserve_output().show({"text/plain": "sign in"})
    desk.play(TextDone("m1", "answer"), finished())
    desk.transcript.close()
    plain = [data["text/plain"].splitlines()[:1] for data in desk.notebook.standing()]
    assert plain == [[], ["sign in"], ["answer"]]


def test_another_view_stands_between_what_was_there_and_what_follows(desk: LoginPrompt) -> None:
    desk.play(TextDone("m1", "before"))
    desk.transcript.reserve_output().show({"text/plain": "sign in"})
    desk.play(TextDone("m2", "after"), finished())
    desk.transcript.close()
    plain = [data["text/plain"].splitlines()[0] for data in desk.notebook.standing()]
    assert plain == ["before", "sign in", "after"]


def test_a_rejected_call_breaks_nothing(desk: LoginPrompt) -> None:
    desk.play(*call(), ApprovalResolved(1, Decision(DecisionKind.REJECT)), ToolFinished(1, "no", ok=False))
    desk.play(TextDelta("m1", "then"))
    assert len(desk.notebook.comms) == 1


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
    desk = LoginPrompt(offers_more=True)
    desk.comm.ready()
    desk.play(TextDelta("m1", "half"), finished(status=status, error="It broke."))
    desk.transcript.close()
    ending = desk.comm.sent[-1]
    assert (ending["kind"], ending["offers"]) == ("ended", offers)
    desk.comm.says("replaced")
    assert desk.comm.closed is (offers == [])
    for name in offers[:1]:
        desk.comm.says("action", name=name)
        assert (desk.comm.closed, len(desk.commands)) == (True, 1)


def test_offers_that_nobody_took_end_with_the_output(desk: LoginPrompt) -> None:
    desk = LoginPrompt(offers_more=True)
    desk.comm.ready()
    desk.play(finished(status="cancelled"))
    desk.transcript.close()
    desk.comm.says("replaced")
    desk.comm.says("dismissed")
    assert desk.comm.closed


def test_a_request_waits_for_the_front_end_and_brings_its_reply() -> None:
    desk = LoginPrompt()
    future = desk.transcript.request("read_document", {})
    assert desk.comm.sent == []
    desk.comm.ready()
    asked = desk.comm.sent[-1]
    assert (asked["kind"], asked["operation"]) == ("request", "read_document")
    desk.comm.says("reply", id=asked["id"], value={"notebook": {"cells": []}})
    assert future.result(0) == {"notebook": {"cells": []}}


def test_asking_pumps_until_the_reply_is_there() -> None:
    desk: LoginPrompt

    def wait(is_over: Callable[[], bool], seconds: float) -> None:
        assert seconds == 3
        desk.comm.ready()
        desk.comm.says("reply", id=desk.comm.sent[-1]["id"], value={"inserted": 1})
        assert is_over()

    desk = LoginPrompt(wait=wait)
    cells = [{"kind": "code", "source": "1"}]
    assert desk.transcript.ask("insert_cells", {"cells": cells, "after": "id"}, 3) == {"inserted": 1}


def test_a_front_end_that_refuses_or_is_silent_gives_no_reply() -> None:
    desk: LoginPrompt

    def wait(is_over: Callable[[], bool], seconds: float) -> None:
        if desk.comm.sent:
            desk.comm.says("reply", id=desk.comm.sent[-1]["id"], error="no notebook")

    desk = LoginPrompt(wait=wait)
    assert desk.transcript.ask("read_document", {}, 1) is None
    desk.comm.ready()
    assert desk.transcript.ask("read_document", {}, 1) is None
    desk.transcript.close()
    desk.comm.says("replaced")
    assert desk.transcript.ask("read_document", {}, 1) is None


def test_cost_is_linear_in_the_answer() -> None:
    def sent_for(characters: int) -> int:
        desk = LoginPrompt()
        desk.comm.ready()
        paragraph = "Some **words** with `code` and more words to fill a line of text.\n\n"
        text = paragraph * (characters // len(paragraph))
        for at in range(0, len(text), 200):
            desk.play(TextDelta("m1", text[at : at + 200]))
        return len(json.dumps(desk.comm.frames()))

    small, large = sent_for(10_000), sent_for(100_000)
    assert large <= 10.5 * small
    assert large <= 2 * 100_000 * 1.5 + 500 * 1_000


def test_a_segment_that_came_and_went_at_once_ends_when_its_other_half_begins() -> None:
    desk = LoginPrompt()
    desk.comm.ready()
    run = (ToolCallReady(1, "run_python", json.dumps({"code": CODE})), ToolStarted(1))
    desk.play(STARTED, *run, ToolFinished(1, "1", ok=True), TextDone("m1", "Done."), finished("Done."))
    desk.transcript.close()
    (first, last) = desk.notebook.comms
    assert (first.sent[-1]["kind"], last.sent, last.closed) == ("ended", [], False)
    last.says("loaded")
    (ending,) = last.sent
    assert (ending["kind"], ending["is_last"], ending["family"]) == ("ended", True, "model-0")
    assert (first.sent[-1]["is_last"], first.sent[-1]["family"]) == (False, "model-0")
    last.says("replaced")
    assert ([message["kind"] for message in last.sent], last.closed) == (["ended", "closed"], True)


def test_a_page_that_begins_after_the_end_is_told_of_it(desk: LoginPrompt) -> None:
    desk.play(TextDone("m1", "text"), finished("text"))
    desk.transcript.close()
    desk.comm.says("loaded")
    assert [message["kind"] for message in desk.comm.sent[-2:]] == ["ended", "ended"]
