"""Redaction: what a megabyte of text costs, of many kinds, beside reading it once for its words."""

from __future__ import annotations

import json
import re
import time
from statistics import median
from typing import TYPE_CHECKING

from codex_nb.session.outbound import Redactor
from tests.benchmarks.table import Reference, Row, Topic
from tests.session.test_linear_redaction import ORDINARY, TEXTS, random_text

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 1_000_000
KNOWN = {f"$SECRET_{number}": random_text(24) for number in range(40)}


def seconds(action: Callable[[], object]) -> float:
    """Return the CPU that an action takes, the better of two times."""
    taken = []
    for _ in range(2):
        begin = time.process_time()
        action()
        taken.append(time.process_time() - begin)
    return min(taken)


def measured(make: Callable[[int], str]) -> tuple[float, float]:
    """Return what redacting a megabyte takes, and what writing it as JSON and finding its words does."""
    text, redact = make(SIZE)[:SIZE], Redactor(KNOWN)
    return seconds(lambda: redact(text)), seconds(lambda: (json.dumps(text), re.findall(r"\w+", text)))


def rows() -> list[Row]:
    """Return the rows: the kinds that notebooks hold, the slowest of them, and the slowest of all."""
    ordinary = {kind: measured(make) for kind, make in ORDINARY.items()}
    every = ordinary | {kind: measured(make) for kind, make in TEXTS.items() if kind not in ORDINARY}
    usual = median(taken for taken, _ in ordinary.values())
    read = median(reference for _, reference in ordinary.values())
    found = [
        Row(
            Topic.OTHER,
            f"redacting 1 MB, 40 known values: median of {len(ordinary)} ordinary kinds of text",
            usual,
            "s CPU",
            Reference("JSON and words of the same texts", read),
            10.0,
            note=f"of all {len(every)} kinds: {median(taken for taken, _ in every.values()):.2f} s",
        )
    ]
    for what, kinds, limit in (("ordinary", ordinary, 20.0), ("of all", every, None)):
        kind, (taken, reference) = max(kinds.items(), key=lambda each: each[1][0])
        named = Reference("JSON and words of the same text", reference)
        found.append(
            Row(Topic.OTHER, f"redacting 1 MB: slowest kind, {what}", taken, "s CPU", named, limit, note=kind)
        )
    within = sum(taken <= 0.2 for taken, _ in every.values())
    budget = Reference("all kinds", float(len(every)))
    found.append(
        Row(Topic.OTHER, "kinds of text redacted in 0.2 s CPU a MB", float(within), "kinds", budget, None)
    )
    return found
