from __future__ import annotations

from tests.benchmarks.answers import answer_of
from tests.benchmarks.prefix import input_bytes
from tests.benchmarks.table import Reference, Row, Topic, printed


def test_a_row_holds_up_to_its_limit_of_the_reference_of_its_run() -> None:
    bare = Reference("the bare shell", 0.2)
    rows = [
        Row(Topic.LOAD, "load", cost, "s", bare, limit)
        for cost, limit in ((0.06, 0.3), (0.07, 0.3), (0.07, None))
    ]
    assert [(round(row.ratio, 2), row.verdict) for row in rows] == [
        (0.3, "holds"),
        (0.35, "short"),
        (0.35, ""),
    ]


def test_the_rows_come_in_the_order_of_their_topics_and_wrap_within_their_columns() -> None:
    size = Row(
        Topic.SIZE,
        "size",
        12.34,
        "MB",
        Reference("the budget", 18),
        note="a peer 368 MB, another one with 427 MB",
    )
    load = Row(Topic.LOAD, "load", 0.0213, "s CPU", Reference("the bare shell", 0.25), 0.3)
    assert [
        tuple(part.strip() for part in line.split("|")) for line in printed([size, load]) if "|" in line
    ] == [
        ("what", "measured", "reference", "ratio", "limit", "verdict", "for comparison"),
        ("load", "0.0213 s CPU", "the bare shell: 0.25", "0.09", "0.30", "holds", ""),
        (
            "size",
            "12.3 MB",
            "the budget: 18",
            "0.69",
            "1.00",
            "holds",
            "a peer 368 MB, another one with 427 MB",
        ),
    ]


def test_an_answer_to_measure_with_has_the_length_asked_for() -> None:
    assert [len(answer_of(length)) for length in (1, 2_000, 100_000)] == [1, 2_000, 100_000]


def test_the_input_of_a_request_is_compared_without_its_closing_bracket() -> None:
    assert input_bytes(b'{"model":"m","input":[{"a":[1]},{"b":2}],"store":false}') == b'[{"a":[1]},{"b":2}'
