from __future__ import annotations

import time
from pathlib import Path

from codex_nb.session.outbound import Item, Redactor, TurnRedactor, user_message
from codex_nb.session.thread import Thread, ThreadStore
from codex_nb.session.thread_file import ABORTED_OUTPUT
from tests.session.scripted import called, outputs, said, thought


def saved(folder: Path) -> tuple[tuple[Item, ...], frozenset[str]]:
    """Return what a kernel that starts now reads of the thread."""
    thread = ThreadStore(folder).open("t")
    return thread.items, thread.sent_digests


def test_an_exchange_is_seen_only_once_it_is_committed(tmp_path: Path) -> None:
    thread = ThreadStore(tmp_path).open("t")
    question, answer = user_message("hi"), said("ho")
    exchange = thread.begin([question], sent_digests=["digest"])
    exchange.add([answer])
    assert exchange.input == (question, answer)
    assert (thread.items, thread.sent_digests, saved(tmp_path)) == ((), frozenset(), ((), frozenset()))
    exchange.commit()
    exchange.commit()
    assert thread.items == (question, answer)
    assert thread.sent_digests == {"digest"}
    assert saved(tmp_path) == ((question, answer), {"digest"})


def test_an_aborted_exchange_without_an_answer_leaves_no_trace(tmp_path: Path) -> None:
    thread = ThreadStore(tmp_path).open("t")
    exchange = thread.begin([user_message("hi")])
    exchange.abort()
    exchange.commit()
    exchange.abort("more")
    assert (thread.items, saved(tmp_path)) == ((), ((), frozenset()))


def test_every_call_of_an_aborted_exchange_has_an_output() -> None:
    thread = Thread("t")
    exchange = thread.begin([user_message("hi")])
    custom = {"type": "custom_tool_call", "id": "ct", "call_id": "call_2", "name": "exec", "input": "ls"}
    exchange.add([thought("a"), called("run_python", {"code": "1"}), custom, thought("b")])
    exchange.abort()
    assert [item["type"] for item in thread.items] == [
        "message",
        "reasoning",
        "function_call",
        "custom_tool_call",
        "function_call_output",
        "custom_tool_call_output",
        "message",
    ]
    assert outputs(thread.items) == [("call_1", ABORTED_OUTPUT)]


def test_a_compacted_history_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    thread = ThreadStore(tmp_path).open("t")
    exchange = thread.begin([user_message("long")], sent_digests=["digest"])
    exchange.add([said("long, too")])
    exchange.commit()
    short = user_message("short")
    thread.replace([short])
    assert (thread.items, thread.sent_digests) == ((short,), frozenset())
    assert saved(tmp_path) == ((short,), frozenset())


def test_what_is_found_secret_later_is_removed_from_the_history_and_its_file(tmp_path: Path) -> None:
    thread = ThreadStore(tmp_path).open("t")
    knows_none = Redactor({})
    for text in ("the code is tangerine-41", "ho"):
        exchange = thread.begin([user_message(text)])
        exchange.redact(TurnRedactor(knows_none))
        exchange.add([said("the answer names plum-52")])
        exchange.commit()
    knows_one = knows_none.with_secrets(["tangerine-41"], "a code")
    for redactor in (knows_one, knows_one, knows_one.with_secrets(["plum-52"], "a code")):
        thread.redact(TurnRedactor(redactor))
    clean, answer = "the code is [redacted: a code]", "the answer names [redacted: a code]"
    assert [item["content"][0]["text"] for item in thread.items] == [clean, answer, "ho", answer]
    assert saved(tmp_path)[0] == thread.items
    assert thread.question == clean


def test_a_long_history_is_not_read_again_while_nothing_more_is_known() -> None:
    thread = Thread("t", items=[user_message(f"number {number}") for number in range(2_000)])
    redactor = Redactor({}).with_secrets(["tangerine-41"])
    begin = time.process_time()
    thread.redact(TurnRedactor(redactor))
    first = time.process_time() - begin
    thread.redact(TurnRedactor(redactor))
    assert time.process_time() - begin - first < first / 5
