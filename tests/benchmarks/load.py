"""What ``%load_ext codex_nb`` costs over a running shell."""

from __future__ import annotations

from tests.benchmarks.fresh import PREPARE_SHELL, median_of, result_of
from tests.benchmarks.table import Row, Topic

BARE_SHELL = """
import json, time
from IPython.core.interactiveshell import InteractiveShell
InteractiveShell.instance()
print(json.dumps(time.process_time()))
"""
LOAD = f"""{PREPARE_SHELL}
before, modules = time.process_time(), len(sys.modules)
shell.run_line_magic("load_ext", "codex_nb")
print(json.dumps([time.process_time() - before, len(sys.modules) - modules]))
"""
PEERS = "ipycodex 0.26, jupyter-ai v2 1.9, v3 5.6 (measured earlier on a like machine)"


def rows() -> list[Row]:
    """Measure in fresh processes."""
    bare = median_of(lambda: result_of(BARE_SHELL))
    load = median_of(lambda: result_of(LOAD)[0])
    _, modules = result_of(LOAD)
    return [
        Row(
            Topic.LOAD,
            "%load_ext codex_nb over a running shell",
            "<= 0.05 s CPU",
            f"{load:.3f} s CPU, {modules} new modules (the bare shell itself: {bare:.2f} s)",
            PEERS,
        )
    ]
