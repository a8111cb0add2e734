from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from codex_nb.config.settings import ApprovalPolicy
from codex_nb.errors import RateLimited, SignInRequired, StreamInterrupted
from codex_nb.session.events import (
    AnswerRejected,
    ApprovalRequested,
    ApprovalResolved,
    Notice,
    RetryScheduled,
    StepStarted,
    TextDelta,
    TextDone,
    ToolCall,
    ToolCallReady,
    ToolCallStarted,
    ToolFinished,
    ToolStarted,
    TurnEvent,
    TurnFinished,
    TurnStarted,
    Usage,
)
from codex_nb.session.structured_output import SchemaMismatch, ValueFormat
from codex_nb.session.thread import Thread
from codex_nb.session.thread_file import ABORTED_NOTE, ABORTED_OUTPUT
from codex_nb.session.turn import STOPPED
from codex_nb.tools.approval import Decision, DecisionKind, DenyAll, PendingApprovals
from codex_nb.tools.base import ToolSet
from codex_nb.tools.cells import insert_cells
from tests.pictures import PIXEL_URL
from tests.session.scripted import (
    PaperDocument,
    ProcessKernel,
    ScriptedApprover,
    ScriptedClient,
    added,
    called,
    delta,
    done,
    finished,
    make_turn,
    outputs,
    play,
    reply,
    said,
    thought,
)

pytestmark = pytest.mark.anyio


def kinds(events: list[TurnEvent]) -> list[type]:
    return [type(event) for event in events]


async def test_an_answer_streams_and_is_committed_as_it_was_said() -> None:
    thread = Thread("default")
    turn = make_turn(thread=thread)
    item = said("Hi there")
    events, last, client = await play(
        turn, [added(item), delta("Hi "), delta("there"), done(item), finished(item)]
    )
    assert events[:-1] == [
        turn.started,
        StepStarted(1),
        TextDelta("msg_1", "Hi "),
        TextDelta("msg_1", "there"),
        TextDone("msg_1", "Hi there"),
    ]
    assert (last.answer.text, last.answer.status, last.error) == ("Hi there", "completed", None)
    assert last.answer.items == (item,)
    assert last.answer.usage == Usage(10, 4, 6, 2, 16)
    assert (last.answer.model, last.answer.request_id, last.answer.billing) == (
        "gpt-test",
        "req_1",
        "chatgpt",
    )
    assert thread.items == (*turn.new_items, item)
    assert client.closed == 1


async def test_a_call_is_carried_out_and_its_output_goes_into_the_next_request() -> None:
    kernel = ProcessKernel({"x": 20})
    turn = make_turn(kernel=kernel)
    call = called("run_python", {"code": "print(x + 22)"})
    events, last, client = await play(turn, reply(thought("look"), call), reply(said("It is 42.")))
    assert kinds(events) == [
        TurnStarted,
        StepStarted,
        type(events[2]),
        ToolCallStarted,
        ToolCallReady,
        ApprovalResolved,
        ToolStarted,
        ToolFinished,
        StepStarted,
        TextDone,
        TurnFinished,
    ]
    second = client.requests[1].input
    assert second[: len(client.requests[0].input)] == client.requests[0].input
    assert second[1:3] == (thought("look"), call)
    assert outputs(second) == [("call_1", "<run_python>42</run_python>")]
    assert last.answer.text == "It is 42."
    assert last.answer.reasoning == "look"
    assert last.answer.tool_calls == (ToolCall("run_python", "call_1", '{"code": "print(x + 22)"}', "42"),)
    assert last.answer.usage == Usage(20, 8, 12, 4, 32)


async def test_all_calls_of_one_response_are_answered_in_one_request_in_their_order() -> None:
    turn = make_turn()
    calls = [called("run_python", {"code": f"print({n})"}, f"call_{n}") for n in range(3)]
    _, _, client = await play(turn, reply(*calls), reply(said("done")))
    assert outputs(client.requests[1].input) == [
        (f"call_{n}", f"<run_python>{n}</run_python>") for n in range(3)
    ]


async def test_nothing_runs_before_the_decision() -> None:
    kernel = ProcessKernel()
    approvals = PendingApprovals()
    turn = make_turn(kernel=kernel, policy=ApprovalPolicy.ASK, approver=approvals)
    call = called("run_python", {"code": "y = 1"})
    client = ScriptedClient([reply(call), reply(said("ok"))])
    seen: list[TurnEvent] = []
    async for event in turn.events(client):
        seen.append(event)
        if isinstance(event, ApprovalRequested):
            assert event.request.code == "y = 1"
            assert kernel.ran == []
            assert "y" not in kernel.variables
            assert approvals.resolve(1, Decision(DecisionKind.APPROVE))
            assert not approvals.resolve(1, Decision(DecisionKind.APPROVE))
    assert kernel.ran == ["y = 1"]
    assert ApprovalResolved(1, Decision(DecisionKind.APPROVE)) in seen


async def test_a_rejection_is_told_to_the_model_with_the_users_words_and_is_no_error() -> None:
    kernel = ProcessKernel()
    person = ScriptedApprover(Decision(DecisionKind.REJECT, message="use polars"))
    turn = make_turn(kernel=kernel, policy=ApprovalPolicy.ASK, approver=person)
    _, last, client = await play(turn, reply(called("run_python", {"code": "1"})), reply(said("All right.")))
    told = "The user rejected this call; it did not run. The user says: use polars"
    assert outputs(client.requests[1].input) == [("call_1", told)]
    assert kernel.ran == []
    assert (last.answer.status, last.error) == ("completed", None)


async def test_stop_ends_the_turn_and_answers_the_calls_that_were_left() -> None:
    thread = Thread("default")
    kernel = ProcessKernel()
    turn = make_turn(
        thread=thread, kernel=kernel, policy=ApprovalPolicy.ASK, approver=ScriptedApprover(DecisionKind.STOP)
    )
    calls = [called("run_python", {"code": "1"}, "call_a"), called("run_python", {"code": "2"}, "call_b")]
    _, last, client = await play(turn, reply(*calls))
    assert (last.answer.status, last.error) == ("cancelled", STOPPED)
    assert kernel.ran == []
    assert len(client.requests) == 1
    assert [call_id for call_id, _ in outputs(thread.items)] == ["call_a", "call_b"]


async def test_edited_code_runs_instead_and_the_model_learns_what_ran() -> None:
    kernel = ProcessKernel()
    turn = make_turn(
        kernel=kernel,
        policy=ApprovalPolicy.ASK,
        approver=ScriptedApprover(Decision(DecisionKind.APPROVE, code="print('mine')")),
    )
    _, _, client = await play(turn, reply(called("run_python", {"code": "print('its')"})), reply(said("ok")))
    assert kernel.ran == ["print('mine')"]
    [(_, output)] = outputs(client.requests[1].input)
    assert "print('mine')" in output
    assert output.endswith("<run_python>mine</run_python>")


async def test_without_a_person_a_call_is_refused_with_a_hint() -> None:
    kernel = ProcessKernel()
    turn = make_turn(kernel=kernel, policy=ApprovalPolicy.ASK, approver=DenyAll())
    events, last, client = await play(turn, reply(called("run_python", {"code": "1"})), reply(said("ok")))
    [(_, output)] = outputs(client.requests[1].input)
    assert "--approval all" in output
    assert kernel.ran == []
    assert last.answer.status == "completed"
    assert [e.decision.by for e in events if isinstance(e, ApprovalResolved)] == ["nobody"]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (called("fly", {}), "unsupported call: fly"),
        (called("run_python", '{"code": '), "the arguments of run_python are not valid JSON: "),
        (called("run_python", "[1]"), "the arguments of run_python must be a JSON object"),
        (called("run_python", {}), "invalid arguments for run_python: code:"),
        (called("run_python", {"code": "1", "shell": True}), "invalid arguments for run_python: shell:"),
    ],
)
async def test_a_call_that_cannot_be_carried_out_is_answered_with_the_reason(call: dict, told: str) -> None:
    turn = make_turn(policy=ApprovalPolicy.ASK)
    events, last, client = await play(turn, reply(call), reply(said("sorry")))
    [(_, output)] = outputs(client.requests[1].input)
    assert output.startswith(told)
    assert last.answer.status == "completed"
    assert ApprovalRequested not in kinds(events)


async def test_an_exception_of_the_code_is_a_result() -> None:
    turn = make_turn()
    events, _, client = await play(turn, reply(called("run_python", {"code": "1/0"})), reply(said("oh")))
    assert outputs(client.requests[1].input) == [
        ("call_1", "<run_python>ZeroDivisionError: division by zero</run_python>")
    ]
    assert ToolFinished(1, "ZeroDivisionError: division by zero", ok=False) in events


async def test_secrets_are_removed_of_a_result_before_it_is_sent_or_shown() -> None:
    turn = make_turn()
    events, last, client = await play(
        turn, reply(called("run_python", {"code": "print('s3' + 'cret')"})), reply(said("k"))
    )
    assert outputs(client.requests[1].input) == [
        ("call_1", "<run_python>[redacted: an assigned secret]</run_python>")
    ]
    assert last.answer.tool_calls[0].output == "[redacted: an assigned secret]"
    assert "s3cret" not in repr(events)


async def test_a_response_that_does_not_end_the_turn_is_followed_by_another_request() -> None:
    turn = make_turn()
    first, second = said("One.", "msg_1"), said("Two.", "msg_2")
    _, last, client = await play(turn, reply(first, end_turn=False), reply(second))
    assert client.requests[1].input == (*client.requests[0].input, first)
    assert last.answer.text == "One.\n\nTwo."


async def test_the_turn_state_of_a_response_goes_into_the_next_request_of_the_turn() -> None:
    turn = make_turn()
    _, _, client = await play(
        turn, reply(said("a"), end_turn=False, turn_state="ts1"), reply(said("b", "msg_2"))
    )
    assert [request.turn_state for request in client.requests] == [None, "ts1"]


async def test_a_turn_ends_after_its_last_allowed_step() -> None:
    thread = Thread("default")
    turn = make_turn(thread=thread, max_steps=2)
    steps = [reply(called("run_python", {"code": "1"}, f"call_{n}")) for n in range(2)]
    _, last, client = await play(turn, *steps)
    assert last.answer.status == "incomplete"
    assert last.error == "Ended after 2 requests. Ask to continue."
    assert len(client.requests) == 2
    assert len(outputs(thread.items)) == 2


async def test_a_cancel_in_the_stream_keeps_the_partial_text_and_a_valid_history() -> None:
    thread = Thread("default")
    turn = make_turn(thread=thread)
    client = ScriptedClient([[added(said("")), delta("Half an ans"), asyncio.Event()]])
    events: list[TurnEvent] = []
    started = asyncio.Event()

    async def consume() -> None:
        async for event in turn.events(client):
            events.append(event)
            if isinstance(event, TextDelta):
                started.set()

    task = asyncio.create_task(consume())
    await started.wait()
    await asyncio.sleep(0)
    task.cancel()
    await task
    last = events[-1]
    assert isinstance(last, TurnFinished)
    assert (last.answer.text, last.answer.status, last.error) == ("Half an ans", "cancelled", STOPPED)
    assert client.closed == 1
    assert [item["role"] for item in thread.items] == ["user", "assistant", "user"]
    assert thread.items[1]["content"] == [{"type": "output_text", "text": "Half an ans"}]
    assert thread.items[2]["content"][0]["text"] == ABORTED_NOTE


async def test_a_cancel_while_the_user_is_asked_leaves_no_orphan_call() -> None:
    thread = Thread("default")
    approvals = PendingApprovals()
    turn = make_turn(thread=thread, policy=ApprovalPolicy.ASK, approver=approvals)
    client = ScriptedClient([reply(thought("hm"), called("run_python", {"code": "1"}))])
    events: list[TurnEvent] = []
    asked = asyncio.Event()

    async def consume() -> None:
        async for event in turn.events(client):
            events.append(event)
            if isinstance(event, ApprovalRequested):
                asked.set()

    task = asyncio.create_task(consume())
    await asked.wait()
    assert approvals.waiting == (1,)
    task.cancel()
    await task
    last = events[-1]
    assert isinstance(last, TurnFinished)
    assert last.answer.status == "cancelled"
    assert last.answer.tool_calls == (ToolCall("run_python", "call_1", '{"code": "1"}', None),)
    assert outputs(thread.items) == [("call_1", ABORTED_OUTPUT)]
    assert not approvals.resolve(1, Decision(DecisionKind.APPROVE))


async def test_a_consumer_that_leaves_commits_what_was_whole() -> None:
    thread = Thread("default")
    turn = make_turn(thread=thread)
    client = ScriptedClient([[*reply(said("first"))[:2], asyncio.Event()]])
    events = turn.events(client)
    async for event in events:
        if isinstance(event, TextDone):
            break
    await events.aclose()
    assert client.closed == 1
    assert [item["role"] for item in thread.items] == ["user", "assistant", "user"]


async def test_an_error_before_the_first_word_leaves_no_trace_and_keeps_its_class() -> None:
    thread = Thread("default")
    problem = SignInRequired("Not signed in.")
    _, last, _ = await play(make_turn(thread=thread), [problem])
    assert last.answer.status == "failed"
    assert last.error == "Not signed in. Sign in with %codex login."
    assert last.failure is problem
    assert thread.items == ()


async def test_an_answer_cut_in_the_middle_keeps_what_arrived() -> None:
    thread = Thread("default")
    cut = [added(said("")), delta("Half"), StreamInterrupted("The answer broke off.", events_seen=2)]
    _, last, _ = await play(make_turn(thread=thread), cut)
    assert (last.answer.text, last.answer.status) == ("Half", "failed")
    assert thread.items[1]["content"] == [{"type": "output_text", "text": "Half"}]


async def test_an_error_in_a_later_step_keeps_the_calls_that_were_answered() -> None:
    thread = Thread("default")
    turn = make_turn(thread=thread)
    _, last, _ = await play(
        turn, reply(called("run_python", {"code": "print(1)"})), [RateLimited("Too many.")]
    )
    assert last.answer.status == "failed"
    assert outputs(thread.items) == [("call_1", "<run_python>1</run_python>")]


async def test_an_unfinished_reasoning_is_not_kept() -> None:
    thread = Thread("default")
    _, _, _ = await play(make_turn(thread=thread), [done(thought("hm")), StreamInterrupted("Cut.")])
    assert thread.items == ()


async def test_an_incomplete_response_runs_no_calls() -> None:
    thread = Thread("default")
    kernel = ProcessKernel()
    turn = make_turn(thread=thread, kernel=kernel)
    cut = reply(
        called("run_python", {"code": "1"}), status="incomplete", incomplete_reason="max_output_tokens"
    )
    _, last, _ = await play(turn, cut)
    assert (last.answer.status, last.error) == ("incomplete", "The answer is incomplete: max_output_tokens.")
    assert kernel.ran == []
    assert outputs(thread.items) == [("call_1", ABORTED_OUTPUT)]


async def test_a_retry_is_shown_and_the_text_of_the_failed_attempt_is_not_kept() -> None:
    item = said("Whole", "msg_2")
    stream = [
        delta("Ha"),
        RetryScheduled(1, 5, 0.2, "cut"),
        added(item),
        delta("Whole", "msg_2"),
        done(item),
        finished(item),
    ]
    events, last, _ = await play(make_turn(), stream)
    assert RetryScheduled(1, 5, 0.2, "cut") in events
    assert last.answer.text == "Whole"


async def test_items_that_only_the_end_names_are_shown_too() -> None:
    events, last, _ = await play(make_turn(), [finished(said("late"))])
    assert TextDone("msg_1", "late") in events
    assert last.answer.text == "late"


async def test_two_turns_of_a_thread_share_the_beginning_of_their_input() -> None:
    thread = Thread("default")
    _, _, first = await play(make_turn(thread=thread, prompt="one"), reply(said("1")))
    _, _, second = await play(make_turn(thread=thread, prompt="two"), reply(said("2", "msg_2")))
    before = first.requests[0].input
    assert second.requests[0].input[: len(before)] == before
    assert len(second.requests[0].input) == len(before) + 2


def only_digits(text: str) -> int:
    if not text.isdigit():
        raise SchemaMismatch(f"{text!r} is no number")
    return int(text)


DIGITS = ValueFormat({}, {}, only_digits)


async def test_an_answer_that_does_not_fit_is_asked_for_once_more() -> None:
    turn = make_turn(value_format=DIGITS)
    events, last, client = await play(turn, reply(said("seven")), reply(said("7", "msg_2")))
    assert [event for event in events if isinstance(event, AnswerRejected)] == [
        AnswerRejected("'seven' is no number")
    ]
    assert (last.answer.parsed, last.answer.text, last.answer.status) == (7, "7", "completed")
    assert "'seven' is no number" in client.requests[1].input[-1]["content"][0]["text"]


async def test_an_answer_that_never_fits_fails_with_the_reason() -> None:
    turn = make_turn(value_format=DIGITS)
    _, last, client = await play(turn, reply(said("seven")), reply(said("eight", "msg_2")))
    assert last.answer.status == "failed"
    assert last.error == "The answer does not match the schema: 'eight' is no number"
    assert len(client.requests) == 2


async def test_images_are_left_out_for_a_model_that_takes_text_only() -> None:
    turn = make_turn(sends_images=False)
    from codex_nb.tools.approval import Approved, Effect
    from codex_nb.tools.base import Arguments, Tool, ToolResult, ToolSet

    async def draw(call: Approved[Arguments], ports: object) -> ToolResult:
        return ToolResult("a plot", images=(PIXEL_URL,))

    tool = Tool("draw", "Draws.", Arguments, Effect.READ, draw, title="Draw", summary="Draws.")
    blind = replace(turn, tool_context=replace(turn.tool_context, tools=ToolSet((tool,))))
    _, _, client = await play(blind, reply(called("draw", {})), reply(said("k")))
    assert outputs(client.requests[1].input) == [
        ("call_1", "<draw>a plot\n[1 images not sent: the model takes text only]</draw>")
    ]
    seeing = replace(blind, tool_context=replace(blind.tool_context, sends_images=True))
    _, _, client = await play(seeing, reply(called("draw", {}, "call_2")), reply(said("k")))
    [_, (_, content)] = outputs(client.requests[1].input)
    assert [part["type"] for part in content] == ["input_text", "input_image"]


async def test_another_model_than_the_one_asked_is_named() -> None:
    events, _, _ = await play(make_turn(), reply(said("k"), model="gpt-mini"))
    assert Notice("model", "gpt-mini answered instead of gpt-test.") in events
    events, _, _ = await play(make_turn(), reply(said("k"), model="gpt-test-2026-11-01"))
    assert not any(isinstance(event, Notice) for event in events)


async def test_an_interrupt_of_the_users_code_ends_the_turn_and_not_the_loop() -> None:
    def interrupted(text: str) -> int:
        raise KeyboardInterrupt

    thread = Thread("default")
    turn = make_turn(thread=thread, value_format=ValueFormat({}, {}, interrupted))
    _, last, _ = await play(turn, reply(said("7")))
    assert (last.answer.status, last.answer.text) == ("cancelled", "7")
    assert len(thread.items) == 3


async def test_what_inserted_cells_put_into_variables_is_learned_as_secret() -> None:
    learned: list[str] = []
    kernel = ProcessKernel({"api_key": "Zq8vT2mPx7Lk4Rw9"})
    turn = make_turn(tools=ToolSet((insert_cells,)), kernel=kernel, document=PaperDocument())
    turn.tool_context = replace(turn.tool_context, learn=learned.extend)
    cells = {"cells": [{"kind": "code", "source": "x"}], "run": True}
    client = ScriptedClient([reply(called("insert_cells", cells)), reply(said("done"))])
    async for _ in turn.events(client):
        pass
    assert "Zq8vT2mPx7Lk4Rw9" in learned
