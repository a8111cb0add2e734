"""Deltas that arrived together: one event, the same text, the same order."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from codex_nb.responses.events import parse_event
from codex_nb.responses.stream import ResponseBudget
from tests.responses.fakes import told

TEXT = "response.output_text.delta"
SUMMARY = "response.reasoning_summary_text.delta"
ARGUMENTS = "response.function_call_arguments.delta"

EVENTS = st.lists(
    st.one_of(
        st.builds(
            dict,
            type=st.sampled_from([TEXT, SUMMARY, ARGUMENTS]),
            item_id=st.sampled_from(["", "one", "two"]),
            output_index=st.sampled_from([None, 0, 1]),
            content_index=st.sampled_from([0, 1]),
            summary_index=st.sampled_from([0, 1]),
            delta=st.text(max_size=3),
        ),
        st.builds(dict, type=st.sampled_from(["response.in_progress", "response.new"]), number=st.integers()),
    ),
    max_size=12,
)


def parsed(*events: dict[str, Any]) -> list[Any]:
    return [parse_event(json.dumps(event).encode()) for event in events]


def delta(text: str, **more: Any) -> dict[str, Any]:
    return {"type": TEXT, "item_id": "one", "output_index": 0, "delta": text, **more}


def test_words_of_one_part_become_one_delta() -> None:
    assert ResponseBudget().coalesced(parsed(delta("The "), delta("mean "), delta("is"))) == parsed(
        delta("The mean is")
    )


def test_a_delta_of_another_part_and_any_other_event_begin_anew() -> None:
    events = parsed(
        delta("a"),
        delta("b", content_index=1),
        delta("c", item_id="two"),
        {"type": "response.in_progress"},
        delta("d", item_id="two"),
        {"type": SUMMARY, "item_id": "two", "delta": "e"},
        {"type": SUMMARY, "item_id": "two", "summary_index": 1, "delta": "f"},
    )
    assert ResponseBudget().coalesced(events) == events


@given(EVENTS)
def test_nothing_is_lost_and_nothing_changes_its_place(events: list[dict[str, Any]]) -> None:
    before = parsed(*events)
    after = ResponseBudget().coalesced(before)
    assert told(after) == told(before)
    assert len(after) == len(told(after))
