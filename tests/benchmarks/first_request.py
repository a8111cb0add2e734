"""From the first ``%%codex`` of a fresh shell to its request on the wire, and from a later one to its own."""

from __future__ import annotations

import statistics

from tests.benchmarks.fresh import cpu_seconds, median_of, on_this_machine, result_of
from tests.benchmarks.simulated import shell, signed_in, wait_for_request
from tests.benchmarks.table import Reference, Row, Topic

COLD = """
mark(time.process_time())
ask("Say hello.")
"""
ROUNDS = 9
WARM = f"""
shell.run_cell("import pandas as pd")
shell.run_cell("frame = pd.DataFrame({{'x': range(1000), 'y': [v * 0.5 for v in range(1000)]}})", store_history=True)
for number in range(200):
    shell.run_cell(f"value_{{number}} = {{number}}\\nprint('cell', {{number}})\\nframe.head()", store_history=True)
ask("Say hello.")
for number in range({ROUNDS}):
    mark(time.time())
    ask(f"What is x, question {{number}}?")
"""

IMPORT_OPENAI = """
import json, time
import openai
from openai.types.responses import ResponseStreamEvent
openai.AsyncOpenAI(api_key="sk-fabricated")
print(json.dumps(time.process_time()))
"""


def cold_cpu() -> float:
    """Return the CPU seconds of one fresh shell from the cell's start to the request's arrival."""
    with signed_in() as (simulator, environ), shell(COLD, environ) as child:
        before = float(child.next_mark())
        wait_for_request(simulator, 1)
        return cpu_seconds(child.process.pid) - before


def warm_milliseconds() -> list[float]:
    """Return the time from the cell's start to the request's arrival, for each round after the first question."""
    with signed_in() as (simulator, environ), shell(WARM, environ) as child:
        spent = []
        for number in range(ROUNDS):
            begin = float(child.next_mark())
            spent.append((wait_for_request(simulator, number + 2) - begin) * 1000)
        return spent


def rows() -> list[Row]:
    """Measure both."""
    warm = warm_milliseconds()
    return [
        Row(
            Topic.FIRST_REQUEST,
            "first request on the wire after a cold first %%codex",
            median_of(cold_cpu),
            "s CPU",
            Reference("import openai with its event types", median_of(lambda: result_of(IMPORT_OPENAI))),
            0.6,
        ),
        Row(
            Topic.WARM_REQUEST,
            f"warm: cell start to request on the wire, 200 cells run before; worst of {len(warm)}: {max(warm):.0f}",
            statistics.median(warm),
            "ms",
            on_this_machine(25, "ms"),
        ),
    ]
