from __future__ import annotations

import functools
import sys

from codex_nb.session.events import (
    REPLAY_CALL,
    Answer,
    ApprovalRequested,
    ApprovalResolved,
    GrowingText,
    Notice,
    NoticePart,
    ReasoningDelta,
    ReasoningDone,
    ReasoningPart,
    RetryScheduled,
    StepStarted,
    TextDelta,
    TextDone,
    TextPart,
    ToolArgumentsDelta,
    ToolCallReady,
    ToolCallStarted,
    ToolFinished,
    ToolPart,
    ToolStarted,
    TurnEvent,
    TurnFinished,
    TurnStarted,
    TurnState,
    reduce,
)
from codex_nb.tools.approval import ApprovalRequest, Decision, DecisionKind

STARTED = TurnStarted("turn-1", "default", "gpt-test", None, "ada@example.com", "plus", "chatgpt")
REQUEST = ApprovalRequest(1, "run_python", "1", "python", "runs")


def fold(*events: TurnEvent) -> TurnState:
    return functools.reduce(reduce, events, TurnState())


def test_the_parts_stand_in_the_order_they_appeared() -> None:
    notice = Notice("context", "cut")
    finished = TurnFinished(Answer("Hello"))
    state = fold(
        STARTED,
        notice,
        StepStarted(1),
        ReasoningDelta("rs", 0, "One"),
        TextDelta("a", "Hel"),
        ReasoningDelta("rs", 1, "Two"),
        TextDelta("a", "lo"),
        ToolCallStarted(1, "run_python"),
        StepStarted(2),
        TextDelta("b", "Bye"),
        finished,
    )
    assert state == TurnState(
        started=STARTED,
        step=2,
        parts=(
            NoticePart(notice),
            ReasoningPart("rs", GrowingText(["One\n\nTwo"]), part=1),
            TextPart("a", GrowingText(["Hello"])),
            ToolPart(1, "run_python"),
            TextPart("b", GrowingText(["Bye"])),
        ),
        finished=finished,
    )


def test_a_final_text_wins_over_its_deltas() -> None:
    state = fold(
        TextDelta("a", "Helo"), TextDone("a", "Hello"), ReasoningDelta("r", 0, "x"), ReasoningDone("r", "y")
    )
    assert [
        (part.text, part.done) for part in state.parts if not isinstance(part, ToolPart | NoticePart)
    ] == [
        ("Hello", True),
        ("y", True),
    ]


def test_a_call_goes_from_its_name_to_its_output() -> None:
    events: list[TurnEvent] = [
        ToolCallStarted(1, "run_python"),
        ToolArgumentsDelta(1, '{"code"'),
        ToolArgumentsDelta(1, ': "1"}'),
        ToolCallReady(1, "run_python", '{"code": "1"}'),
        ApprovalRequested(REQUEST),
        ApprovalResolved(1, Decision(DecisionKind.APPROVE)),
        ToolStarted(1),
        ToolFinished(1, "1", ok=True),
    ]
    states = [fold(*events[:count]) for count in range(1, len(events) + 1)]
    calls = [part for state in states for part in state.parts if isinstance(part, ToolPart)]
    assert [call.waiting for call in calls] == [False, False, False, False, True, False, False, False]
    assert [call.running for call in calls] == [False] * 6 + [True, False]
    assert [call.arguments for call in calls[:4]] == ["", '{"code"', '{"code": "1"}', '{"code": "1"}']
    assert (calls[-1].output, calls[-1].ok, calls[-1].request) == ("1", True, REQUEST)


def test_a_call_that_is_asked_about_anew_has_nothing_of_what_was_decided_before() -> None:
    again = ApprovalRequest(1, "run_python", "2", "python", "runs")
    state = fold(
        ToolCallReady(1, "run_python", '{"code": "1"}'),
        ApprovalRequested(REQUEST),
        ApprovalResolved(1, Decision(DecisionKind.APPROVE)),
        ToolStarted(1),
        ToolFinished(1, "1", ok=True),
        ApprovalRequested(again),
    )
    (part,) = state.parts
    assert isinstance(part, ToolPart)
    assert (part.waiting, part.request, part.decision, part.output, part.ok) == (
        True,
        again,
        None,
        None,
        None,
    )


def test_one_request_for_all_calls_of_a_saved_answer_is_no_call_itself() -> None:
    request = ApprovalRequest(REPLAY_CALL, "run_python", "1\n\n2", "python", "runs both")
    asking = fold(STARTED, ApprovalRequested(request))
    assert asking.parts == (ToolPart(REPLAY_CALL, "run_python", request=request),)
    decided = reduce(asking, ApprovalResolved(REPLAY_CALL, Decision(DecisionKind.APPROVE)))
    assert decided.parts == ()
    assert fold(STARTED, ToolCallReady(1, "run_python", "{}"), ApprovalRequested(request)).parts[
        0
    ] == ToolPart(1, "run_python", GrowingText(["{}"]), ready=True)


def test_a_retry_takes_away_what_was_not_finished() -> None:
    retry = RetryScheduled(1, 5, 0.2, "cut")
    state = fold(TextDone("a", "kept"), TextDelta("b", "lost"), ToolCallStarted(1, "run_python"), retry)
    assert state == TurnState(parts=(TextPart("a", GrowingText(["kept"]), done=True),), retry=retry)
    assert fold(retry, StepStarted(1)).retry is None


def test_an_old_state_stays_what_it_was() -> None:
    before = fold(TextDelta("a", "one"))
    left = reduce(before, TextDelta("a", " left"))
    right = reduce(before, TextDelta("a", " right"))
    assert [state.parts[0].text for state in (before, left, right)] == ["one", "one left", "one right"]


def test_folding_copies_no_text() -> None:
    state = TurnState()
    for _ in range(20_000):
        state = reduce(state, TextDelta("a", "word "))
    part = state.parts[0]
    assert isinstance(part, TextPart)
    assert len(part.text) == 100_000
    # One shared list holds the pieces of all versions: what each fold adds is a few words of memory.
    assert sys.getsizeof(part.growing._pieces) < 20_000 * 12
    assert part.growing._pieces is not part.growing.plus("x")._pieces or part.growing._count == 20_000
