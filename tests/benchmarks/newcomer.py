"""A newcomer's way from the install to the first answer, in a fresh environment with an empty home."""

from __future__ import annotations

from tests.benchmarks.table import Row, Topic
from tests.newcomer import walk


def rows() -> list[Row]:
    """Walk it once."""
    walked = walk()
    parts = ", ".join(f"{step.does.partition(',')[0]} {step.seconds:.1f}" for step in walked.steps)
    return [
        Row(
            Topic.OTHER,
            "a newcomer, install to first answer, the machine's part",
            "<= 30 s",
            f"{walked.seconds:.1f} s in {len(walked.steps)} steps",
            f"{parts} (seconds; the packages it needs are there already)",
        )
    ]
