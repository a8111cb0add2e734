"""Event stream decoding: the standard's rules, at every way to cut the bytes."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_nb.responses.stream import EventStreamDecoder, EventTooLargeError
from tests.responses.corpus import Vector, needs_corpus, vectors


def decoded(*chunks: bytes) -> list[str]:
    decoder = EventStreamDecoder()
    return [data.decode("utf-8", "replace") for chunk in chunks for data in decoder.feed(chunk)]


def data_of(vector: Vector) -> list[str]:
    """The data of its events: their names and ids are of no use to this API's client."""
    return [event["data"] for event in vector.events]


def split_at(data: bytes, *cuts: int) -> list[bytes]:
    return [data[start:end] for start, end in pairwise([0, *cuts, len(data)])]


@needs_corpus
def test_the_vectors_are_all_there() -> None:
    assert len(vectors()) == 56


@needs_corpus
@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector.name)
def test_a_vector_gives_its_events_at_every_split_position(vector: Vector) -> None:
    data = vector.data
    for cut in range(len(data) + 1):
        assert decoded(*split_at(data, cut)) == data_of(vector), cut
    assert decoded(*(data[at : at + 1] for at in range(len(data)))) == data_of(vector)
    assert decoded(data) == data_of(vector)


@needs_corpus
@pytest.mark.parametrize(
    "vector", [vector for vector in vectors() if len(vector.data) < 100], ids=lambda vector: vector.name
)
def test_a_short_vector_gives_its_events_at_every_pair_of_split_positions(vector: Vector) -> None:
    data = vector.data
    for first in range(len(data) + 1):
        for second in range(first, len(data) + 1):
            assert decoded(*split_at(data, first, second)) == data_of(vector), (first, second)


STREAM = st.lists(
    st.sampled_from(
        [
            b"data",
            b":",
            b" ",
            b"\n",
            b"\r",
            b"\r\n",
            b"event",
            b"id",
            b"x",
            b"\xef\xbb\xbf",
            b"\xc3",
            b"\xa9",
            b"\0",
        ]
    ),
    max_size=60,
).map(b"".join)


@given(STREAM, st.lists(st.integers(0, 200), max_size=8))
def test_any_split_of_any_bytes_gives_the_same_events(data: bytes, cuts: list[int]) -> None:
    places = sorted(min(cut, len(data)) for cut in cuts)
    assert decoded(*split_at(data, *places)) == decoded(data)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r", b"\r\n"])
def test_an_event_without_its_blank_line_is_only_given_when_asked_for(end: bytes) -> None:
    decoder = EventStreamDecoder()
    assert decoder.feed(b"event: last\ndata: {}\ndata: x" + end) == []
    assert decoder.feed(b"\n\n") == [b"{}\nx"]


def test_nothing_is_unfinished_after_a_blank_line() -> None:
    decoder = EventStreamDecoder()
    decoder.feed(b"data: 1\n\nid: 5\n")
    assert decoder.feed(b"\n\n") == []


def test_two_carriage_returns_dispatch_at_once() -> None:
    assert EventStreamDecoder().feed(b"data: a\r\r") == [b"a"]


def test_bytes_that_are_not_utf8_become_replacement_characters() -> None:
    assert decoded(b"data: a\xffb\n\n") == ["a\ufffdb"]


@pytest.mark.parametrize("line", [b"data: " + b"x" * 2000, b"x" * 2000], ids=["data", "any line"])
@pytest.mark.parametrize("size", [1, 100, 5000])
def test_an_event_beyond_the_bound_is_refused_before_it_ends(line: bytes, size: int) -> None:
    decoder = EventStreamDecoder(max_event_bytes=1000)
    pieces = iter([line[at : at + size] for at in range(0, len(line), size)])
    with pytest.raises(EventTooLargeError, match="exceeds 1000 bytes"):
        deque(map(decoder.feed, pieces), maxlen=0)
    # What is left shows how far the decoder read: never more than a piece beyond the bound.
    assert sum(map(len, pieces)) >= len(line) - 1000 - size


def test_many_short_lines_of_one_event_count_together() -> None:
    decoder = EventStreamDecoder(max_event_bytes=1000)
    with pytest.raises(EventTooLargeError):
        decoder.feed(b"data: 0123456789\n" * 100)


def test_many_events_together_may_exceed_the_bound_of_one() -> None:
    decoder = EventStreamDecoder(max_event_bytes=100)
    assert len(decoder.feed(b"data: 0123456789\n\n" * 100)) == 100


def test_a_large_event_in_tiny_chunks_is_not_copied_again_and_again() -> None:
    # Work that grows with the square of the size would run into the suite's time limit here.
    decoder = EventStreamDecoder(max_event_bytes=20_000_000)
    piece = b"x" * 256
    assert decoder.feed(b"data: ") == []
    for _ in range(65536):
        decoder.feed(piece)
    [data] = decoder.feed(b"\n\n")
    assert len(data) == 256 * 65536
