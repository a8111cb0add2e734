from __future__ import annotations

from collections.abc import Collection, Sequence

from codex_nb.session.outbound import Item, user_message
from codex_nb.session.thread import ABORTED_OUTPUT, Thread
from tests.session.scripted import called, outputs, said, thought


class Notebook:
    def __init__(self) -> None:
        self.written: list[tuple[str, list[Item | str]]] = []

    def append(self, thread: Thread, items: Sequence[Item], sent_digests: Collection[str]) -> None:
        self.written.append(("append", [*items, *sorted(sent_digests)]))

    def rewrite(self, thread: Thread) -> None:
        self.written.append(("rewrite", list(thread.items)))


def test_an_exchange_is_seen_only_once_it_is_committed() -> None:
    journal = Notebook()
    thread = Thread("t", store=journal)
    question, answer = user_message("hi"), said("ho")
    exchange = thread.begin([question], sent_digests=["digest"])
    exchange.add([answer])
    assert exchange.input == (question, answer)
    assert (thread.items, thread.sent_digests, journal.written) == ((), frozenset(), [])
    exchange.commit()
    exchange.commit()
    assert thread.items == (question, answer)
    assert thread.sent_digests == {"digest"}
    assert journal.written == [("append", [question, answer, "digest"])]


def test_an_aborted_exchange_without_an_answer_leaves_no_trace() -> None:
    journal = Notebook()
    thread = Thread("t", store=journal)
    exchange = thread.begin([user_message("hi")])
    exchange.abort()
    exchange.commit()
    exchange.abort("more")
    assert (thread.items, journal.written) == ((), [])


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


def test_a_compacted_history_takes_the_place_of_the_old_one() -> None:
    journal = Notebook()
    thread = Thread("t", items=[user_message("long")], sent_digests=["digest"], store=journal)
    short = user_message("short")
    thread.replace([short])
    assert (thread.items, thread.sent_digests) == ((short,), frozenset())
    assert journal.written == [("rewrite", [short])]
