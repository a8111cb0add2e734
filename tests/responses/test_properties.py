"""Whatever happens to the bytes, the client ends with an answer or with an error of ours."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from anyio import run
from hypothesis import given, settings
from hypothesis import strategies as st

from codex_nb.http import httpx
from codex_nb.responses.client import RetryPolicy
from codex_nb.responses.events import ResponseEvent, RetryScheduled
from tests.responses.conversations import CALL, added, answer, completed, created, done, message, spoken, wire
from tests.responses.corpus import needs_corpus, recordings
from tests.responses.fakes import EVENT_STREAM, Chunks, Drops, Outcome, outcome_of, told

ONCE = RetryPolicy(max_requests=1)
OWN = [
    wire(answer("Grüße aus der Zelle, 🚀 inclusive.")),
    wire([created(), *spoken("One."), added(CALL, 1), done(CALL, 1), completed(message("One."), CALL)]),
    wire([created(), *spoken("Only in the items."), completed()]),
]


async def read(body: Chunks) -> Outcome:
    return await outcome_of([httpx.Response(200, headers=EVENT_STREAM, stream=body)], retry=ONCE)


def result(data: bytes, *cuts: int, arriving: type[Chunks] = Chunks) -> tuple[list[ResponseEvent], str]:
    """Give the events and the error's class that these bytes lead to, cut at the given places."""
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    outcome = run(read, arriving(data[start:end] for start, end in pairwise(places)))
    assert not any(isinstance(event, RetryScheduled) for event in outcome.events)
    return outcome.events, type(outcome.error).__name__


@given(st.sampled_from(OWN), st.lists(st.integers(0, 3000), max_size=12))
@settings(max_examples=60)
def test_any_split_gives_the_same_events(data: bytes, cuts: list[int]) -> None:
    assert result(data, *cuts) == result(data)


@given(st.sampled_from(OWN), st.lists(st.integers(0, 3000), max_size=12))
@settings(max_examples=60)
def test_words_that_arrive_one_by_one_say_the_same(data: bytes, cuts: list[int]) -> None:
    one_by_one, error = result(data, *cuts, arriving=Drops)
    together, _ = result(data)
    assert (told(one_by_one), error) == (told(together), "NoneType")


@given(st.sampled_from(OWN), st.integers(0, 3000), st.integers(0, 255))
@settings(max_examples=300)
def test_a_corrupted_byte_gives_an_answer_or_an_error_of_ours(data: bytes, place: int, byte: int) -> None:
    place = min(place, len(data) - 1)
    corrupted = data[:place] + bytes([byte]) + data[place + 1 :]
    # Any foreign exception would end the test here, and a hang would run into its time limit.
    events, error = result(corrupted)
    assert error in {"NoneType", "StreamInterrupted", "BackendOverloaded", "ApiError"}
    assert len(events) <= sent(data)


@given(st.sampled_from(OWN), st.integers(0, 3000))
@settings(max_examples=60)
def test_a_cut_gives_a_prefix_of_the_events_and_says_so(data: bytes, place: int) -> None:
    whole, _ = result(data)
    events, error = result(data[:place])
    if error == "NoneType":
        assert events[-1].items == whole[-1].items[: len(events[-1].items)]
    else:
        assert error in {"StreamInterrupted", "ApiError"}
        assert is_beginning(told(events), told(whole))


def sent(data: bytes) -> int:
    """Give how many events the bytes hold at most, the end of the stream counted as one."""
    return data.count(b"\n\n") + 2


def is_beginning(said: list[Any], whole: list[Any]) -> bool:
    """Whether this is how the whole begins; the last words may have come in part."""
    if not said or said == whole[: len(said)]:
        return True
    *before, (place, text) = said
    return (
        before == whole[: len(before)]
        and whole[len(before)][0] == place
        and whole[len(before)][1].startswith(text)
    )


@given(
    st.binary(max_size=400),
    st.sampled_from(["text/event-stream", "text/plain", "application/json", "text/html"]),
)
def test_any_bytes_at_all_are_an_error_of_ours(data: bytes, kind: str) -> None:
    async def ask() -> Outcome:
        reply = httpx.Response(200, headers={"content-type": kind}, stream=Chunks([data]))
        return await outcome_of([reply], retry=ONCE)

    outcome = run(ask)
    assert outcome.error is not None
    assert outcome.events == []


@needs_corpus
@pytest.mark.parametrize(
    "recording", recordings()[:: max(1, len(recordings()) // 12)], ids=lambda item: item.name
)
def test_a_corrupted_byte_in_a_recording_gives_an_answer_or_an_error_of_ours(recording: object) -> None:
    data = recording.responses[-1][:20_000]  # type: ignore[attr-defined] # a Recording, which pytest hands over untyped
    for place in range(0, len(data), max(1, len(data) // 40)):
        corrupted = data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]
        events, _ = result(corrupted)
        assert len(events) <= sent(data)
