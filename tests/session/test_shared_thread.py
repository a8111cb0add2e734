"""Two kernels that use one thread name at the same time: no exchange is lost, no line is torn."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from codex_nb.session.outbound import message_text, user_message
from codex_nb.session.thread import Thread, ThreadStore
from tests.session.scripted import said

EXCHANGES = 120
KERNEL = """
import sys
from pathlib import Path
from tests.session.test_shared_thread import ask, compact
from codex_nb.session.thread import ThreadStore

folder, kernel, exchanges = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
store = ThreadStore(folder)
print("ready", flush=True)
sys.stdin.readline()
for number in range(exchanges):
    ask(store.open("t"), f"{kernel}{number}")
    if number % 7 == 6:
        compact(store.open("t"))
    if number % 20 == 19:
        store = ThreadStore(folder)  # as after a restart of the kernel
"""


def ask(thread: Thread, marker: str) -> None:
    exchange = thread.begin([user_message(f"<{marker}>")], sent_digests=[f"fact {marker}"])
    exchange.add([said("x" * 20_000)])
    exchange.commit()


def markers_in(thread: Thread) -> set[str]:
    texts = (message_text(item) or json.dumps(item) for item in thread.items)
    return {marker for text in texts for marker in re.findall(r"<(\w+)>", text)}


def compact(thread: Thread) -> None:
    """Replace a thread's history by a summary that names each question of it."""
    thread.replace([user_message(" ".join(f"<{each}>" for each in sorted(markers_in(thread))))])


def test_no_exchange_is_lost_while_two_kernels_append_and_compact(tmp_path: Path) -> None:
    folder = tmp_path / "threads"
    kernels = [
        subprocess.Popen(
            [sys.executable, "-c", KERNEL, folder, name, str(EXCHANGES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("a", "b")
    ]
    for kernel in kernels:
        assert kernel.stdout is not None
        assert kernel.stdout.readline() == "ready\n"
    for kernel in kernels:
        assert kernel.stdin is not None
        kernel.stdin.write("go\n")
        kernel.stdin.flush()
    assert [kernel.communicate()[0:1] and kernel.returncode for kernel in kernels] == [0, 0]
    [file] = folder.iterdir()
    for line in file.read_bytes().splitlines():
        json.loads(line)
    expected = {f"{name}{number}" for name in ("a", "b") for number in range(EXCHANGES)}
    assert markers_in(ThreadStore(folder).open("t")) == expected


def test_who_rewrites_keeps_what_others_have_added(tmp_path: Path) -> None:
    one, other = (ThreadStore(tmp_path).open("t") for _ in range(2))
    ask(one, "a1")
    ask(other, "b1")
    compact(one)
    ask(other, "b2")
    compact(other)
    compact(one)
    again = ThreadStore(tmp_path).open("t")
    assert markers_in(again) == {"a1", "b1", "b2"}
    assert again.thread_id == one.thread_id


def test_of_a_thread_that_another_kernel_deletes_only_what_follows_is_saved(tmp_path: Path) -> None:
    one = ThreadStore(tmp_path).open("t")
    ask(one, "a1")
    ThreadStore(tmp_path).forget("t")
    compact(one)
    assert list(tmp_path.iterdir()) == []
    ask(one, "a2")
    assert markers_in(ThreadStore(tmp_path).open("t")) == {"a2"}


def test_what_was_not_saved_is_saved_with_the_next_exchange(tmp_path: Path) -> None:
    folder = tmp_path / "threads"
    folder.write_text("in the way")
    thread = ThreadStore(folder).open("t")
    ask(thread, "a1")
    assert thread.take_problem() is not None
    folder.unlink()
    ask(thread, "a2")
    assert thread.take_problem() is None
    assert markers_in(ThreadStore(folder).open("t")) == {"a1", "a2"}


BROKEN_LINES = {
    "torn": b'{"id":"x","items":[{"type":"mess',
    "deep": b'{"items":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep in an item": b'{"items":[{"type":"message","content":' + b"[" * 200 + b"]" * 200 + b"}]}",
    "no object": b"[1]",
    "items no list": b'{"items":5,"facts":7}',
    "items no objects": b'{"items":[1,null,"x",[]],"facts":[1,null]}',
    "content no list": b'{"items":[{"type":"message","role":"user","content":"x"}]}',
    "content no objects": b'{"items":[{"type":"message","role":"user","content":[1]}]}',
    "not text": b"\xff\xfe\x00{",
    "binary": bytes(range(256)).replace(b"\n", b""),
}


def test_lines_that_cannot_be_read_are_skipped(tmp_path: Path) -> None:
    thread = ThreadStore(tmp_path).open("t")
    ask(thread, "a1")
    [file] = tmp_path.iterdir()
    for number, line in enumerate(BROKEN_LINES.values()):
        with file.open("ab") as opened:
            opened.write(line + b"\n")
        ask(thread, f"b{number}")
    whole = {"a1", *(f"b{number}" for number in range(len(BROKEN_LINES)))}
    again = ThreadStore(tmp_path).open("t")
    assert markers_in(again) == whole
    assert all(isinstance(item["content"], list) for item in again.items)
    assert {info.name for info in ThreadStore(tmp_path).threads()} == {"t"}
    compact(again)
    assert markers_in(ThreadStore(tmp_path).open("t")) == whole


def test_a_file_that_begins_with_something_else_counts_as_absent(tmp_path: Path) -> None:
    for number, line in enumerate(BROKEN_LINES.values()):
        ask(ThreadStore(tmp_path).open(f"t{number}"), "a1")
        [file] = tmp_path.glob("*.jsonl")
        file.write_bytes(line + b"\n" + file.read_bytes().split(b"\n", 1)[1])
        assert ThreadStore(tmp_path).threads() == ThreadStore(tmp_path).names() == ()
        assert ThreadStore(tmp_path).open(f"t{number}").items == ()
        assert list(tmp_path.glob("*.jsonl")) == []
