"""``codex_nb.map``: what it adds to each prompt, whether that grows with their number, and what an answer occupies."""

from __future__ import annotations

import concurrent.futures
import gc
import time
from typing import TYPE_CHECKING, Any

import codex_nb
from codex_nb.session.events import Answer
from tests.benchmarks.fresh import on_this_machine
from tests.benchmarks.simulated import shell, signed_in
from tests.benchmarks.table import Reference, Row, Topic

if TYPE_CHECKING:
    from collections.abc import Callable

GROWTH = (1_000, 10_000, 100_000)
ON_THE_SIMULATOR = (100, 1_000)
ASK_MANY = """
import codex_nb, tracemalloc
codex_nb.map(["warm"] * 200)
for count in {counts}:
    prompts = [f"Is {{number}} even?" for number in range(count)]
    before = time.process_time()
    codex_nb.map(prompts)
    mark((time.process_time() - before) / count * 1e6)
tracemalloc.start()
answers = codex_nb.map(prompts[:200])
mark(tracemalloc.get_traced_memory()[0] / 200)
"""


class AtOnce:
    """An executor that has every answer at once."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> concurrent.futures.Future[Answer]:
        """Answer without calling anybody."""
        future: concurrent.futures.Future[Answer] = concurrent.futures.Future()
        future.set_result(Answer("yes"))
        return future


def overhead(count: int) -> float:
    """Return the microseconds of CPU that a prompt costs, apart from asking it."""
    prompts = [f"prompt {number}" for number in range(count)]
    gc.collect()
    before = time.process_time()
    codex_nb.map(prompts, executor=AtOnce())
    return (time.process_time() - before) / count * 1e6


def rows() -> list[Row]:
    """Measure here, and in a process of its own on the simulator."""
    overhead(100)
    costs = [overhead(count) for count in GROWTH]
    with (
        signed_in() as (_, environ),
        shell(ASK_MANY.format(counts=ON_THE_SIMULATOR), environ) as child,
    ):
        small, large, kept = (child.next_mark() for _ in range(3))
    return [
        Row(
            Topic.MAP,
            f"map: its own CPU for a prompt, at {GROWTH[0] // 1000}k prompts",
            costs[0],
            "µs CPU",
            on_this_machine(60, "µs"),
        ),
        Row(
            Topic.MAP,
            f"the same at {GROWTH[-1] // 1000}k prompts",
            costs[-1],
            "µs CPU",
            Reference(f"at {GROWTH[0] // 1000}k", costs[0]),
            1.25,
            "before: 53 at 1k, 963 at 32k",
        ),
        Row(
            Topic.MAP,
            f"map: all the client's CPU for a prompt, at {ON_THE_SIMULATOR[-1]:,} prompts",
            large / 1000,
            "ms CPU",
            Reference(f"at {ON_THE_SIMULATOR[0]}", small / 1000),
            1.25,
        ),
        Row(Topic.MAP, "map: memory kept for a short answer", kept, "B", Reference("1 kB", 1000)),
    ]
