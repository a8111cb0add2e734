from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest

from codex_nb.errors import BadRequest, ContextWindowExceeded
from codex_nb.session.events import Notice, TextDone, TurnEvent, TurnFinished, TurnStarted
from codex_nb.session.outbound import Item, call_output, user_message
from codex_nb.session.thread import newer_half, size_of
from tests.pictures import data_url, encoded
from tests.session.scripted import called, finished, reply, said
from tests.session.test_assistant import MODEL, Harness, texts

pytestmark = pytest.mark.anyio

COMPACTION = {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAA"}
LONG = "a long answer " * 400


async def long_thread(home: Path) -> Harness:
    harness = Harness(home, reply(said(LONG)))
    await harness.ask("one", thread="nb")
    harness.models.model = replace(MODEL, context_window=1_000)
    return harness


def compacted(events: list[TurnEvent]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice) and event.kind == "compacted"]


async def test_a_long_thread_is_compacted_by_the_backend_and_says_so(tmp_path: Path) -> None:
    harness = await long_thread(tmp_path)
    harness.client.scripts += [[finished(COMPACTION)], reply(said("2", "msg_2"))]
    events = await harness.ask("two", thread="nb")
    trigger, turn = harness.client.requests[1:]
    assert trigger.input[-1] == {"type": "compaction_trigger"}
    assert trigger.input[:-1] == (*harness.client.requests[0].input, said(LONG))
    assert [item.get("role", item["type"]) for item in turn.input] == ["developer", "compaction", "user"]
    assert turn.input[1] == COMPACTION
    assert len(compacted(events)) == 1
    again = Harness(tmp_path, reply(said("3", "msg_3")))
    await again.ask("three", thread="nb")
    assert COMPACTION in again.client.requests[0].input


@pytest.mark.parametrize("refusal", [[BadRequest("unknown item type")], reply(said("Sure!", "msg_x"))])
async def test_a_backend_without_compaction_is_asked_for_a_summary(tmp_path: Path, refusal: list) -> None:
    harness = await long_thread(tmp_path)
    harness.client.scripts += [refusal, reply(said("They said one.", "msg_s")), reply(said("2", "msg_2"))]
    events = await harness.ask("two", thread="nb")
    told = texts(harness.client.requests[-1].input)
    assert [role for role, _ in told] == ["developer", "user", "user"]
    assert told[1][1].endswith("They said one.")
    assert told[2][1] == "two"
    assert harness.client.requests[2].tools == ()
    assert len(compacted(events)) == 1


async def test_a_turn_that_did_not_fit_is_compacted_and_sent_again(tmp_path: Path) -> None:
    harness = Harness(tmp_path, reply(said(LONG)))
    await harness.ask("one", thread="nb")
    harness.client.scripts += [
        [ContextWindowExceeded("Too long.")],
        [finished(COMPACTION)],
        reply(said("2", "msg_2")),
    ]
    events = await harness.ask("two", thread="nb")
    assert [type(event) for event in events if isinstance(event, TurnStarted | TurnFinished)] == [
        TurnStarted,
        TurnFinished,
    ]
    assert TextDone("msg_2", "2") in events
    assert len(compacted(events)) == 1
    assert harness.client.requests[-1].input[1] == COMPACTION


async def test_a_first_question_that_does_not_fit_fails(tmp_path: Path) -> None:
    harness = Harness(tmp_path, [ContextWindowExceeded("Too long.")])
    events = await harness.ask("one", thread="nb")
    last = events[-1]
    assert isinstance(last, TurnFinished)
    assert isinstance(last.failure, ContextWindowExceeded)
    assert harness.client.scripts == []


async def test_a_history_too_long_even_to_be_summed_up_loses_its_older_half(tmp_path: Path) -> None:
    harness = await long_thread(tmp_path)
    harness.models.model = MODEL
    harness.client.scripts += [reply(said("2", "msg_2"))]
    await harness.ask("two", thread="nb")
    harness.models.model = replace(MODEL, context_window=1_000)
    too_long = [ContextWindowExceeded("Too long.")]
    harness.client.scripts += [too_long, too_long, reply(said("Short.", "msg_s")), reply(said("3", "msg_3"))]
    await harness.ask("three", thread="nb")
    assert texts(harness.client.requests[4].input)[0] == ("user", "two")
    assert texts(harness.client.requests[5].input)[1][1].endswith("Short.")


async def test_a_compaction_that_fails_ends_the_turn_and_is_not_tried_again(tmp_path: Path) -> None:
    harness = await long_thread(tmp_path)
    asked = len(harness.client.requests)
    harness.client.scripts += [[ContextWindowExceeded("Too long.")]] * 3
    last = (await harness.ask("two", thread="nb"))[-1]
    assert isinstance(last, TurnFinished)
    assert isinstance(last.failure, ContextWindowExceeded)
    assert len(harness.client.requests) == asked + 3


def test_no_call_loses_its_output_when_a_history_is_halved() -> None:
    call = called("run_python", {"code": "1"})
    items: list[Item] = [
        user_message("a"),
        call,
        call_output(call, "1"),
        said("x"),
        user_message("b"),
        said("y", "m2"),
    ]
    assert [item["type"] for item in newer_half(items)] == ["message", "message"]
    assert newer_half([user_message("a"), call]) == ()


def test_an_image_counts_as_an_image_and_not_as_its_letters() -> None:
    picture = data_url(encoded("png", PIL.Image.effect_noise((1_000, 1_000), 100)))
    assert len(picture) > 1_000_000
    assert size_of([user_message("look", [picture])]) < 2_000
