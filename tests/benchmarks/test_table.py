from __future__ import annotations

from tests.benchmarks.answers import answer_of
from tests.benchmarks.prefix import input_bytes
from tests.benchmarks.table import Row, Topic, printed


def test_the_rows_stand_in_the_order_of_their_topics_and_wrap_within_their_columns() -> None:
    size = Row(
        Topic.SIZE, "installed size", "<= 15 MB", "16 MB", "a peer 368 MB, and another one with 427 MB of it"
    )
    load = Row(Topic.LOAD, "load", "<= 0.05 s CPU", "0.02 s CPU")
    assert [
        tuple(part.strip() for part in line.split("|")) for line in printed([size, load]) if "|" in line
    ] == [
        ("what", "budget", "measured", "beside"),
        ("load", "<= 0.05 s CPU", "0.02 s CPU", ""),
        ("installed size", "<= 15 MB", "16 MB", "a peer 368 MB, and another one with 427 MB"),
        ("", "", "", "of it"),
    ]


def test_an_answer_to_measure_with_has_the_length_asked_for() -> None:
    assert [len(answer_of(length)) for length in (1, 2_000, 100_000)] == [1, 2_000, 100_000]


def test_the_input_of_a_request_is_compared_without_its_closing_bracket() -> None:
    assert input_bytes(b'{"model":"m","input":[{"a":[1]},{"b":2}],"store":false}') == b'[{"a":[1]},{"b":2}'
