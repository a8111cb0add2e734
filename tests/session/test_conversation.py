from __future__ import annotations

from collections.abc import Collection, Sequence

from codex_nb.session.items import Item, user_message
from codex_nb.session.thread import ABORTED_OUTPUT, Conversation
from tests.session.scripted import called, outputs, said, thought


class Notebook:
    def __init__(self) -> None:
        self.written: list[tuple[str, list[Item | str]]] = []

    def append(self, conversation: Conversation, items: Sequence[Item], facts: Collection[str]) -> None:
        self.written.append(("append", [*items, *sorted(facts)]))

    def rewrite(self, conversation: Conversation) -> None:
        self.written.append(("rewrite", list(conversation.items)))


def test_an_exchange_is_seen_only_once_it_is_committed() -> None:
    journal = Notebook()
    conversation = Conversation("t", journal=journal)
    question, answer = user_message("hi"), said("ho")
    exchange = conversation.begin([question], facts=["digest"])
    exchange.add([answer])
    assert exchange.input == (question, answer)
    assert (conversation.items, conversation.facts, journal.written) == ((), frozenset(), [])
    exchange.commit()
    exchange.commit()
    assert conversation.items == (question, answer)
    assert conversation.facts == {"digest"}
    assert journal.written == [("append", [question, answer, "digest"])]


def test_a_rolled_back_exchange_leaves_no_trace() -> None:
    journal = Notebook()
    conversation = Conversation("t", journal=journal)
    exchange = conversation.begin([user_message("hi")])
    exchange.add([said("ho")])
    exchange.roll_back()
    exchange.commit()
    exchange.abort("more")
    assert (conversation.items, journal.written) == ((), [])


def test_every_call_of_an_aborted_exchange_has_an_output() -> None:
    conversation = Conversation("t")
    exchange = conversation.begin([user_message("hi")])
    custom = {"type": "custom_tool_call", "id": "ct", "call_id": "call_2", "name": "exec", "input": "ls"}
    exchange.add([thought("a"), called("run_python", {"code": "1"}), custom, thought("b")])
    exchange.abort()
    assert [item["type"] for item in conversation.items] == [
        "message",
        "reasoning",
        "function_call",
        "custom_tool_call",
        "function_call_output",
        "custom_tool_call_output",
        "message",
    ]
    assert outputs(conversation.items) == [("call_1", ABORTED_OUTPUT)]


def test_a_compacted_history_takes_the_place_of_the_old_one() -> None:
    journal = Notebook()
    conversation = Conversation("t", items=[user_message("long")], facts=["digest"], journal=journal)
    short = user_message("short")
    conversation.replace([short])
    assert (conversation.items, conversation.facts) == ((short,), frozenset())
    assert journal.written == [("rewrite", [short])]
