from __future__ import annotations

import json
import os
import stat
import tracemalloc
from pathlib import Path

import pytest

from codex_nb.session.outbound import user_message
from codex_nb.session.thread import Thread, ThreadStore, next_name, notebook_thread
from tests.session.scripted import said

pytestmark = pytest.mark.anyio


def say(thread: Thread, question: str, answer: str) -> None:
    exchange = thread.begin([user_message(question)], sent_digests=[f"fact {question}"])
    exchange.add([said(answer)])
    exchange.commit()


def test_a_thread_is_read_back_as_it_was_left(tmp_path: Path) -> None:
    store = ThreadStore(tmp_path / "threads")
    before = store.open("my thread/é")
    assert store.open("my thread/é") is before
    say(before, "one", "1")
    say(before, "two", "2")
    after = ThreadStore(tmp_path / "threads").open("my thread/é")
    assert (after.thread_id, after.items, after.sent_digests) == (
        before.thread_id,
        before.items,
        before.sent_digests,
    )
    [file] = (tmp_path / "threads").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert len(file.read_bytes().splitlines()) == 3


def test_a_line_cut_short_loses_that_exchange_alone(tmp_path: Path) -> None:
    say(ThreadStore(tmp_path).open("t"), "one", "1")
    [file] = tmp_path.iterdir()
    with file.open("ab") as torn:
        torn.write(b'{"items":[{"type":"mess')
    again = ThreadStore(tmp_path).open("t")
    assert len(again.items) == 2
    say(again, "three", "3")
    assert len(ThreadStore(tmp_path).open("t").items) == 4


def test_a_compacted_thread_is_written_anew(tmp_path: Path) -> None:
    store = ThreadStore(tmp_path)
    thread = store.open("t")
    say(thread, "one", "1")
    short = user_message("in short")
    thread.replace([short])
    say(thread, "two", "2")
    again = ThreadStore(tmp_path).open("t")
    assert again.items[0] == short
    assert again.thread_id == thread.thread_id
    assert again.sent_digests == {"fact two"}
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_is_no_thread_is_kept_aside(tmp_path: Path) -> None:
    say(ThreadStore(tmp_path).open("t"), "one", "1")
    [file] = tmp_path.iterdir()
    file.write_text("not a thread")
    again = ThreadStore(tmp_path).open("t")
    say(again, "two", "2")
    assert len(ThreadStore(tmp_path).open("t").items) == 2
    assert file.with_suffix(".unreadable").read_text() == "not a thread"


def test_threads_are_listed_with_the_number_of_their_turns(tmp_path: Path) -> None:
    store = ThreadStore(tmp_path)
    say(store.open("a"), "one", "1")
    say(store.open("b"), "one", "1")
    say(store.open("b"), "two", "2")
    store.open("empty")
    listed = {info.name: info.turns for info in ThreadStore(tmp_path).threads()}
    assert listed == {"a": 1, "b": 2}
    store.forget("b")
    assert [info.name for info in store.threads()] == ["a"]
    assert store.open("b").items == ()


def test_the_thread_of_a_session_lives_in_memory(tmp_path: Path) -> None:
    store = ThreadStore(tmp_path)
    say(store.open("session"), "one", "1")
    assert [info.name for info in store.threads()] == ["session"]
    assert list(tmp_path.iterdir()) == []
    store.forget("session")
    assert store.threads() == ()


def test_what_is_written_is_one_line_of_json_for_each_exchange(tmp_path: Path) -> None:
    thread = ThreadStore(tmp_path).open("t")
    say(thread, "a\nb \ud800", "c")
    [file] = tmp_path.iterdir()
    header, exchange = map(json.loads, file.read_bytes().splitlines())
    assert header == {"name": "t", "thread_id": thread.thread_id, "version": 1, "question": "a b ?"}
    assert exchange["items"][1] == said("c")
    assert exchange["facts"] == ["fact a\nb ?"]


def test_a_notebooks_thread_is_named_after_it() -> None:
    one, other = notebook_thread("/home/ada/Sales.ipynb"), notebook_thread("/home/bob/Sales.ipynb")
    assert one.startswith("Sales-")
    assert one != other
    assert notebook_thread(None) == "session"


def test_a_notebook_whose_name_is_not_text_has_a_thread_of_its_own(tmp_path: Path) -> None:
    names = [notebook_thread(f"/home/ada/caf{character}.ipynb") for character in "\udce9\udce8\ud800é"]
    assert len(set(names)) == 4
    for name in names:
        say(ThreadStore(tmp_path).open(name), "one", "1")
        assert len(ThreadStore(tmp_path).open(name).items) == 2


def test_a_new_thread_gets_the_next_number() -> None:
    assert next_name("Sales-1a", []) == "Sales-1a.2"
    assert next_name("Sales-1a.2", ["Sales-1a.2", "Sales-1a.3"]) == "Sales-1a.4"


def test_a_disk_that_cannot_be_written_to_costs_only_the_keeping(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = ThreadStore(tmp_path / "file")
    thread = store.open("t")
    say(thread, "one", "1")
    assert len(thread.items) == 2
    assert str(thread.take_problem()).startswith("This thread is kept in memory only: ")
    assert thread.take_problem() is None
    thread.replace([user_message("short")])
    assert thread.take_problem() is not None


def test_an_exchange_writes_only_what_is_new(tmp_path: Path) -> None:
    thread = ThreadStore(tmp_path).open("t")
    for _ in range(2):
        say(thread, "same", "1")
    [file] = tmp_path.iterdir()
    assert [json.loads(line).get("facts") for line in file.read_bytes().splitlines()] == [
        None,
        ["fact same"],
        [],
    ]


def test_the_thread_of_a_session_without_a_notebook_ends_with_it(tmp_path: Path) -> None:
    store = ThreadStore(tmp_path / "threads")
    for name in (notebook_thread(None), next_name(notebook_thread(None), [])):
        say(store.open(name), "one", "1")
    assert {info.name for info in store.threads()} == {"session", "session.2"}
    assert not (tmp_path / "threads").exists()
    assert ThreadStore(tmp_path / "threads").open("session").items == ()


def test_old_threads_are_removed_when_a_new_one_is_saved(tmp_path: Path) -> None:
    store = ThreadStore(tmp_path)
    for name in ("old", "recent"):
        say(store.open(name), "one", "1")
    [old] = tmp_path.glob("old-*")
    os.utime(old, (0, 0))
    say(ThreadStore(tmp_path).open("recent"), "two", "2")
    assert set(store.names()) == {"old", "recent"}
    say(ThreadStore(tmp_path).open("new"), "one", "1")
    assert set(ThreadStore(tmp_path).names()) == {"recent", "new"}


def test_a_store_holds_a_bounded_number_of_threads_in_memory(tmp_path: Path) -> None:
    store = ThreadStore(tmp_path)
    threads = [store.open(f"t{number}") for number in range(100)]
    for number, thread in enumerate(threads):
        say(thread, f"question {number}", "1")
    kept = [store.open(f"t{number}") is thread for number, thread in reversed(list(enumerate(threads)))]
    assert (kept[0], kept.count(True) < 50) == (True, True)
    assert [len(store.open(f"t{number}").items) for number in range(100)] == [2] * 100


async def test_a_thread_in_use_stays_the_same_thread(tmp_path: Path) -> None:
    store = ThreadStore(tmp_path)
    thread = store.open("busy")
    async with thread.turn_lock:
        for number in range(100):
            store.open(f"t{number}")
        assert store.open("busy") is thread


def test_names_are_listed_without_reading_the_threads(tmp_path: Path) -> None:
    store = ThreadStore(tmp_path)
    for number in range(20):
        say(store.open(f"t{number}"), "one", "x" * 1_000_000)
    tracemalloc.start()
    assert len(ThreadStore(tmp_path).names()) == 20
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_a_turn_that_ends_after_its_thread_was_deleted_is_not_saved(tmp_path: Path) -> None:
    store = ThreadStore(tmp_path)
    thread = store.open("t")
    say(thread, "one", "1")
    exchange = thread.begin([user_message("two")])
    exchange.add([said("2")])
    store.forget("t")
    exchange.commit()
    assert list(tmp_path.iterdir()) == []
    assert store.open("t").items == ()
