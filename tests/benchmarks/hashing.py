"""Hashing the data of a question, beside reading it once: what makes a saved answer of Run All true costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

from codex_nb.tools.content_hash import BUDGET_S, ContentHasher
from tests.benchmarks.fresh import median_of
from tests.benchmarks.table import Reference, Row, Topic

MEGABYTES = 128
ENTRIES = MEGABYTES * 1_000_000 // 8
FORGETFUL_S = 60.0


def spent(work: Callable[[], object]) -> float:
    """Return the milliseconds that work takes."""

    def once() -> float:
        begin = time.perf_counter()
        work()
        return (time.perf_counter() - begin) * 1e3

    return median_of(once)


def hashed(value: Any) -> float:
    """Return the milliseconds that hashing a value takes."""
    assert ContentHasher(FORGETFUL_S).digest(value) is not None
    return spent(lambda: ContentHasher(FORGETFUL_S).digest(value))


def rows() -> list[Row]:
    """Hash the same numbers as each library keeps them, and texts, and a gigabyte within the budget."""
    numbers = np.arange(ENTRIES) * 1.5
    reading = spent(numbers.sum)
    columns = {"a": numbers[: ENTRIES // 2], "b": numbers[ENTRIES // 2 :]}
    values = {
        "an array of numpy": numbers,
        "a frame of pandas": pd.DataFrame(columns),
        "a frame of polars": pl.DataFrame(columns),
        "a table of arrow": pa.table(columns),
    }
    reference = Reference("reading them once", reading)
    table = []
    for name, value in values.items():
        taken = hashed(value)
        note = f"{MEGABYTES / taken * 1e3:,.0f} MB/s"
        table.append(Row(Topic.CONTEXT, f"hash of {name}, {MEGABYTES} MB", taken, "ms", reference, 8.0, note))
    texts = pd.DataFrame({"a": [f"text number {n}" for n in range(500_000)]})
    size = float(texts.memory_usage(deep=True).sum()) / 1e6
    taken = hashed(texts)
    note = f"{size / taken * 1e3:,.0f} MB/s"
    table.append(Row(Topic.CONTEXT, "hash of 500,000 texts in pandas", taken, "ms", reference, None, note))
    large = pd.DataFrame({name: np.arange(31_250_000) * 1.5 for name in "abcd"})
    began, hasher = time.perf_counter(), ContentHasher()
    is_hashed = hasher.digest(large) is not None
    taken = (time.perf_counter() - began) * 1e3
    note = "hashed" if is_hashed else "declared not to be saved"
    budget = Reference("the budget", BUDGET_S * 1e3)
    return [*table, Row(Topic.CONTEXT, "hash of a frame of 1 GB", taken, "ms", budget, 1.1, note)]
