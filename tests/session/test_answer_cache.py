from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codex_nb.config.settings import ApprovalPolicy, Provider
from codex_nb.responses.events import Usage
from codex_nb.session.answer_cache import AnswerCache, CacheKey
from codex_nb.session.events import Answer, Notice, TurnEvent, TurnFinished
from codex_nb.session.prompt import ContextSection, NotebookContext
from codex_nb.tools.base import ToolSet
from codex_nb.tools.builtin import run_python
from tests.session.scripted import called, reply, said
from tests.session.test_assistant import LOGIN, Harness, texts

pytestmark = pytest.mark.anyio


def context(text: str = "x = 1") -> NotebookContext:
    return NotebookContext((ContextSection("cell", "Cell 1", text),))


def answer_of(events: list[TurnEvent]) -> Answer:
    last = events[-1]
    assert isinstance(last, TurnFinished)
    return last.answer


def is_replayed(events: list[TurnEvent]) -> bool:
    return any(isinstance(event, Notice) and event.kind == "cached" for event in events)


async def test_an_answered_question_is_answered_again_without_a_request_even_after_a_restart(
    tmp_path: Path,
) -> None:
    first = Harness(tmp_path, reply(said("One.")))
    before = answer_of(await first.ask("Why?", thread="nb", context=context(), use_cache=True))
    again = Harness(tmp_path)
    events = await again.ask("Why?", thread="nb", context=context(), use_cache=True)
    assert is_replayed(events)
    assert again.client.requests == []
    after = answer_of(events)
    assert after.usage == Usage()
    assert (after.text, after.items, after.model, after.billing) == (
        "One.",
        before.items,
        "gpt-test",
        "chatgpt",
    )
    assert len(again.assistant.threads.open("nb").items) == len(first.assistant.threads.open("nb").items)


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "Why not?"},
        {"context": context("x = 2")},
        {"model": "gpt-other"},
        {"effort": "high"},
        {"thread": "other"},
        {"images": ("data:image/png;base64,AAAA",)},
        {"schema": int},
        {"tools": ToolSet((run_python,))},
        {"fresh": True},
        {"use_cache": False},
        {"earlier": (("And before?", "a hash"),)},
    ],
)
async def test_a_question_that_differs_is_asked(tmp_path: Path, change: dict[str, Any]) -> None:
    harness = Harness(tmp_path, reply(said("1")), reply(said('{"value": 2}', "msg_2")))
    question = {"prompt": "Why?", "thread": "nb", "context": context(), "use_cache": True}
    await harness.ask(**question)
    events = await harness.ask(**question | change)
    assert not is_replayed(events)
    assert answer_of(events).status == "completed"
    assert len(harness.client.requests) == 2


async def test_changed_instructions_ask_anew(tmp_path: Path) -> None:
    harness = Harness(tmp_path, reply(said("1")), reply(said("2", "msg_2")))
    await harness.ask("Why?", thread="nb", use_cache=True)
    (tmp_path / "AGENTS.md").write_text("Be kind.")
    assert not is_replayed(await harness.ask("Why?", thread="nb", use_cache=True))


async def test_an_answer_that_ran_tools_is_not_stored(tmp_path: Path) -> None:
    tools = {"tools": ToolSet((run_python,)), "approval": ApprovalPolicy.ALL}
    call = called("run_python", {"code": "print(1)"})
    harness = Harness(tmp_path, reply(call), reply(said("Done.")), reply(said("Done again.", "msg_2")))
    await harness.ask("Run it", thread="nb", use_cache=True, **tools)
    assert not (tmp_path / "answers").exists()
    answer = answer_of(await harness.ask("Run it", thread="nb", use_cache=True, **tools))
    assert (answer.text, harness.kernel.ran) == ("Done again.", ["print(1)"])


async def test_a_question_about_what_is_only_described_is_asked(tmp_path: Path) -> None:
    described = NotebookContext((ContextSection("variable", "", "df: pandas.DataFrame", complete=False),))
    harness = Harness(tmp_path, reply(said("1")), reply(said("2", "msg_2")))
    for _ in range(2):
        events = await harness.ask("Why?", thread="nb", context=described, use_cache=True)
    assert answer_of(events).text == "2"


async def test_another_account_and_another_provider_are_asked(tmp_path: Path) -> None:
    harness = Harness(tmp_path, reply(said("1")))
    await harness.ask("Why?", thread="nb", use_cache=True)
    grace = replace(LOGIN, account=replace(LOGIN.account, account_id="acct-2", email="grace@example.com"))
    other = Harness(tmp_path, reply(said("2")), reply(said("3", "msg_2")))
    other.login.credentials = grace
    assert answer_of(await other.ask("Why?", thread="nb", use_cache=True)).text == "2"
    elsewhere = Harness(
        tmp_path, reply(said("3")), provider=Provider("else", "Else", base_url="https://else.example/v1")
    )
    assert answer_of(await elsewhere.ask("Why?", thread="nb", use_cache=True)).text == "3"


async def test_nobody_signed_in_sees_no_stored_answer(tmp_path: Path) -> None:
    harness = Harness(tmp_path, reply(said("1")))
    await harness.ask("Why?", thread="nb", use_cache=True)
    harness.login.credentials = None
    assert answer_of(await harness.ask("Why?", thread="nb", use_cache=True)).status == "failed"


async def test_only_whole_answers_are_stored(tmp_path: Path) -> None:
    cut = reply(said("Ha"), status="incomplete", incomplete_reason="max_output_tokens")
    harness = Harness(tmp_path, cut, reply(said("Whole", "msg_2")))
    await harness.ask("Why?", thread="nb", use_cache=True)
    assert answer_of(await harness.ask("Why?", thread="nb", use_cache=True)).text == "Whole"


async def test_a_value_is_made_again_from_the_stored_answer(tmp_path: Path) -> None:
    harness = Harness(tmp_path, reply(said('{"value": [1, 2]}')))
    for _ in range(2):
        answer = answer_of(await harness.ask("Numbers", thread="nb", use_cache=True, schema=list[int]))
        assert answer.parsed == [1, 2]
    assert len(harness.client.requests) == 1


async def test_a_thread_that_was_lost_hears_of_the_stored_answer(tmp_path: Path) -> None:
    harness = Harness(tmp_path, reply(said("One.")), reply(said("Two.", "msg_2")))
    await harness.ask("Why?", thread="nb", use_cache=True)
    harness.assistant.threads.forget("nb")
    await harness.ask("Why?", thread="nb", use_cache=True)
    await harness.ask("And?", thread="nb")
    told = [text for role, text in texts(harness.client.requests[1].input) if role != "developer"]
    assert told == ["Why?", "One.", "And?"]


def test_answers_are_kept_for_their_owner_only_and_bad_files_count_as_absent(tmp_path: Path) -> None:
    store = AnswerCache(tmp_path / "answers", clock=lambda: 1000.0)
    key, answer = CacheKey("key"), Answer("é", items=({"type": "message"},), usage=Usage(1, 2, 3, 4, 5))
    store.update(key, answer)
    [file] = (tmp_path / "answers").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = AnswerCache(tmp_path / "answers").find(key)
    assert found is not None
    assert (found.answer, found.at) == (answer, 1000.0)
    whole = file.read_text()
    broken = [
        '{"answer": {}}',
        "",
        "[" * 100_000,
        "[" * 200 + "]" * 200,
        "7",
        whole[:-20],
        whole.replace('[{"type": "message"}]', "[7]"),
        whole.replace('"é"', "5"),
        whole.replace('"completed"', '"other"'),
        whole.replace("1000.0", '"never"'),
        whole.replace('{"type"', '{"deep": ' + "[" * 99 + "]" * 99 + ', "type"'),
        whole.replace('"input_tokens": 1', '"input_tokens": "many"'),
    ]
    for content in broken:
        file.write_text(content)
        assert AnswerCache(tmp_path / "answers").find(key) is None, content[:100]
    assert AnswerCache(None).find(key) is None


def test_answers_in_memory_are_bounded_too() -> None:
    store = AnswerCache(None)
    for number in range(1_500):
        store.update(CacheKey(str(number)), Answer(str(number)))
    found = [store.find(CacheKey(str(number))) is not None for number in range(1_500)]
    assert found == [False] * 500 + [True] * 1_000
