"""``codex_nb.map``: what it adds to each prompt, whether that grows with their number, and what an answer occupies."""

from __future__ import annotations

import concurrent.futures
import gc
import os
import tempfile
import time
import tracemalloc
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import codex_nb.api
from codex_nb.session.events import Answer
from tests.benchmarks.batch_peers import SHORT
from tests.benchmarks.fresh import on_this_machine
from tests.benchmarks.simulated import shell, signed_in
from tests.benchmarks.table import Reference, Row, Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GROWTH = (1_000, 10_000, 100_000)
ON_THE_SIMULATOR = (100, 1_000)
ASK_MANY = """
import codex_nb, gc, tracemalloc
codex_nb.map(["warm"] * 200)
for count in {counts}:
    prompts = [f"Is {{number}} even?" for number in range(count)]
    before = time.process_time()
    codex_nb.map(prompts)
    mark((time.process_time() - before) / count * 1e6)
tracemalloc.start()
answers = codex_nb.map(prompts[:200])
mark(tracemalloc.get_traced_memory()[0] / 200)
answers = codex_nb.map(prompts[:10], journal={journal!r})
gc.collect()
before = tracemalloc.get_traced_memory()[0]
answers = codex_nb.map(prompts[10:210], journal={journal!r})
gc.collect()
mark((tracemalloc.get_traced_memory()[0] - before) / 200)
"""


class AtOnce:
    """An executor that has every answer at once."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> concurrent.futures.Future[Answer]:
        """Answer without calling anybody."""
        future: concurrent.futures.Future[Answer] = concurrent.futures.Future()
        future.set_result(Answer("yes"))
        return future


def overhead(count: int, journal: Path | None = None) -> float:
    """Return the microseconds of CPU that a prompt costs, apart from asking it."""
    prompts = [f"prompt {number}" for number in range(count)]
    gc.collect()
    before = time.process_time()
    codex_nb.map(prompts, executor=AtOnce(), journal=journal)
    return (time.process_time() - before) / count * 1e6


def kept_for_each(count: int, journal: Path) -> float:
    """Return the bytes that each answer of a batch with a journal occupies at its end."""
    prompts = [f"prompt {number}" for number in range(count)]
    gc.collect()
    tracemalloc.start()
    try:
        answers = codex_nb.map(prompts, executor=AtOnce(), journal=journal)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / len(answers)
    finally:
        tracemalloc.stop()


def rows() -> list[Row]:
    """Measure here, and in a process of its own on the simulator."""
    with tempfile.TemporaryDirectory() as folder, signed_in(SHORT) as (_, environ):
        program = ASK_MANY.format(counts=ON_THE_SIMULATOR, journal=f"{folder}/kept.jsonl")
        with shell(program, environ) as child:
            small, large, kept, kept_in_journal = (child.next_mark() for _ in range(4))
        with signed_in_here(environ):
            overhead(100, Path(folder, "warm.jsonl"))
            costs = [overhead(count) for count in GROWTH]
            written = [overhead(count, Path(folder, f"{count}.jsonl")) for count in GROWTH]
            occupied = kept_for_each(GROWTH[-1], Path(folder, "occupied.jsonl"))
    return [
        *growth("map: its own CPU for a prompt", costs, "before: 53 at 1k, 963 at 32k"),
        *growth("map with a journal: its own CPU for a prompt", written),
        Row(
            Topic.MAP,
            f"map: all the client's CPU for a prompt, at {ON_THE_SIMULATOR[-1]:,} prompts",
            large / 1000,
            "ms CPU",
            Reference(f"at {ON_THE_SIMULATOR[0]}", small / 1000),
            1.25,
        ),
        Row(
            Topic.MAP,
            "map with a journal: memory kept for a short answer",
            kept_in_journal,
            "B",
            Reference("1 kB", 1000),
            note=f"without a journal, with the response's items: {kept:,.0f}",
        ),
        Row(
            Topic.MAP,
            f"the same for each of {GROWTH[-1]:,}",
            occupied,
            "B",
            Reference("1 kB", 1000),
        ),
    ]


def growth(what: str, costs: list[float], note: str = "") -> list[Row]:
    """Return the rows of one cost: within the budget for the smallest batch, and no higher for larger ones."""
    first, *others = (f"at {count // 1000}k" for count in GROWTH)
    budget = on_this_machine(60, "µs")
    larger = [
        Row(Topic.MAP, f"the same {size}", cost, "µs CPU", Reference(first, costs[0]), 1.3)
        for size, cost in zip(others, costs[1:], strict=True)
    ]
    return [Row(Topic.MAP, f"{what}, {first}", costs[0], "µs CPU", budget, note=note), *larger]


@contextmanager
def signed_in_here(environ: dict[str, str]) -> Iterator[None]:
    """Let this process be the client, whose journals belong to the account that is signed in."""
    before = dict(os.environ)
    os.environ.update(environ)
    try:
        yield
    finally:
        codex_nb.api.close()
        os.environ.clear()
        os.environ.update(before)
