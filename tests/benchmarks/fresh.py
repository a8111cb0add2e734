"""Measuring in fresh processes: what a program costs from its start, and what it costs beside another one."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.table import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREPARE_SHELL = """
import json, sys, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
"""

BARE_SHELL = """
import json, time
from IPython.core.interactiveshell import InteractiveShell
InteractiveShell.instance()
print(json.dumps(time.process_time()))
"""
# The budgets were set where a bare shell costs this much CPU: 0.05 s were 0.3 of it.
BUDGET_SHELL_S = 0.05 / 0.3


@cache
def bare_shell() -> float:
    """Return the CPU seconds of a bare IPython shell from its start: the measure of this machine."""
    return median_of(lambda: result_of(BARE_SHELL))


def on_this_machine(budget: float, unit: str) -> Reference:
    """Return a budget in CPU time, stretched as much as this machine's bare shell is slower or faster."""
    return Reference(f"{budget:g} {unit} by the bare shell", budget * bare_shell() / BUDGET_SHELL_S)


def result_of(program: str, environ: Mapping[str, str] | None = None) -> Any:
    """Run a program in a fresh interpreter and return the JSON value of its last printed line."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **(environ or {})},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def median_of(measure: Callable[[], float], *, times: int = 5) -> float:
    """Return the median; the first measurement warms the file cache and does not count."""
    measure()
    return statistics.median(measure() for _ in range(times))


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that all threads of a process have used, as finely as the system tells it."""
    tasks = Path(f"/proc/{pid}/task")
    if tasks.exists():
        total = 0
        for task in tasks.iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                continue  # the thread has just ended
        if total:
            return total / 1e9
    import psutil

    times = psutil.Process(pid).cpu_times()
    return times.user + times.system
