"""What of a request is sent over a websocket: with what the server keeps, it is always the whole request."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codex_nb.responses.request import dump_json
from codex_nb.responses.websocket import Asked, Chain, asked_of, fingerprint, frame_of

Told = dict[str, Any]

SCALARS = st.none() | st.booleans() | st.integers(0, 1) | st.floats(0, 1) | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)
ITEMS = st.fixed_dictionaries({"type": st.sampled_from(("message", "reasoning")), "x": VALUES})
FIELDS = st.sampled_from(
    (
        {"model": "a", "tools": []},
        {"model": "a", "tools": [], "client_metadata": {"turn_id": "1"}},
        {"model": "a", "tools": [], "client_metadata": {"turn_id": "2"}},
        {"model": "b", "tools": []},
        {"model": "a", "tools": [{"name": "run_python"}]},
        {"tools": [], "model": "a"},
    )
)
# What becomes of a history before the next request: kept, cut, one of its items edited, two exchanged, forgotten.
CHANGES = st.sampled_from(
    ("keep", "keep", "keep", "cut", "edit", "to bool", "reorder keys", "exchange", "forget")
)
STEPS = st.lists(
    st.tuples(
        FIELDS, CHANGES, st.lists(ITEMS, max_size=2), st.lists(ITEMS, max_size=2), st.integers(0, 5), ITEMS
    ),
    min_size=1,
    max_size=6,
)


class Server:
    """Keeps the last response of a connection: the input and output items, and the fields of its request."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[list[Any], Told]] = {}
        self.answered = 0

    def understands(self, frame: Told) -> Told:
        """The request that a frame makes with what is kept."""
        asked = dict(json.loads(dump_json(frame)))
        assert asked.pop("type") == "response.create"
        if (previous := asked.pop("previous_response_id", None)) is not None:
            before, fields = self.kept[previous]
            asked["input"] = [*before, *asked["input"]]
            assert {key: value for key, value in asked.items() if key in fields} == fields
        return asked

    def answer(self, request: Told, output: list[Told]) -> str:
        self.answered += 1
        name = f"resp_{self.answered}"
        fields = {key: value for key, value in request.items() if key not in {"input", "client_metadata"}}
        self.kept = {name: ([*request["input"], *json.loads(dump_json(output))], fields)}
        return name


def changed(history: list[Any], how: str, place: int, item: Told) -> list[Any]:
    history = deepcopy(history)
    at = place % len(history) if history else 0
    match how:
        case "cut":
            return history[:at]
        case "forget":
            return []
        case "edit" if history:
            history[at] = item
        case "to bool" if history:
            history[at] = {
                key: bool(value) if value in (0, 1) else value for key, value in history[at].items()
            }
        case "reorder keys" if history:
            history[at] = dict(reversed(history[at].items()))
        case "exchange" if len(history) > 1:
            history[at - 1], history[at] = history[at], history[at - 1]
        case _:
            pass
    return history


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON, true and 1 told apart."""
    return dump_json(one) == dump_json(other)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_what_is_sent_with_what_is_kept_is_the_whole_request(steps: list[Any]) -> None:
    server, chain, history = Server(), None, list[Any]()
    for fields, how, new, output, place, item in steps:
        history = [*changed(history, how, place, item), *new]
        request = {**fields, "input": history}
        asked = asked_of(request)
        understood = server.understands(frame_of(request, asked, chain))
        assert same(understood["input"], history)
        assert {**understood, "input": []} == {**fields, "input": []}
        name = server.answer(json.loads(dump_json(request)), output)
        chain = Chain(name, Asked(asked.fields, (*asked.items, *map(fingerprint, output))))
        history = [*history, *output]


@given(
    FIELDS, st.lists(ITEMS, max_size=3), st.lists(ITEMS, max_size=3), st.lists(ITEMS, min_size=1, max_size=3)
)
def test_nothing_that_the_server_keeps_is_sent_again(
    fields: Told, asked: list[Told], output: list[Told], new: list[Told]
) -> None:
    kept = {**fields, "input": [*asked, *output]}
    chain = Chain("resp_1", asked_of(kept))
    request = {**fields, "input": [*asked, *output, *new]}
    assert sent(request, chain) == ("resp_1", new)
    assert sent(request, None) == (None, request["input"])
    assert sent(kept, chain) == (None, kept["input"])


def sent(request: Told, chain: Chain | None) -> tuple[str | None, list[Told]]:
    """Give the response that a request continues, and the items that are sent."""
    frame = frame_of(request, asked_of(request), chain)
    return frame.get("previous_response_id"), frame["input"]


@pytest.mark.parametrize("field", ["instructions", "previous", "text"])
def test_any_other_field_makes_it_whole(field: str) -> None:
    request = {"model": "a", "input": [{"type": "message"}]}
    chain = Chain("resp_1", asked_of({**request, "input": []}))
    assert sent(request, chain) == ("resp_1", [{"type": "message"}])
    assert sent({**request, field: "new"}, chain) == (None, [{"type": "message"}])
