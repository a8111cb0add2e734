"""A newcomer's way from the install to the first answer, in a fresh environment with an empty home."""

from __future__ import annotations

from tests.benchmarks.table import Reference, Row, Topic
from tests.newcomer import demo, walk


def rows() -> list[Row]:
    """Walk it once, and open the demo."""
    walked = walk()
    opened, word = demo()
    parts = ", ".join(f"{step.does.partition(',')[0]} {step.seconds:.1f}" for step in walked.steps)
    return [
        Row(
            Topic.OTHER,
            f"install to first answer in {len(walked.steps)} steps, the machine's part",
            walked.seconds,
            "s",
            Reference("patience", 30),
            note=f"{parts} (seconds; dependencies already installed)",
        ),
        Row(
            Topic.OTHER,
            "codex-nb demo to its address",
            opened,
            "s",
            Reference("patience", 30),
            note="JupyterLab starts",
        ),
        Row(
            Topic.OTHER,
            "the first question of the demo to its first streamed word",
            word,
            "s",
            Reference("patience", 5),
        ),
    ]
