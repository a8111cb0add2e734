"""What ``%load_ext codex_nb`` costs over a running shell."""

from __future__ import annotations

from tests.benchmarks.fresh import PREPARE_SHELL, bare_shell, median_of, result_of
from tests.benchmarks.table import Reference, Row, Topic

LOAD = f"""{PREPARE_SHELL}
before, modules = time.process_time(), len(sys.modules)
shell.run_line_magic("load_ext", "codex_nb")
print(json.dumps([time.process_time() - before, len(sys.modules) - modules]))
"""
PEERS = "ipycodex 0.26, jupyter-ai v2 1.9, v3 5.6 (measured earlier on a like machine)"


def rows() -> list[Row]:
    """Measure in fresh processes."""
    load = median_of(lambda: result_of(LOAD)[0])
    _, modules = result_of(LOAD)
    return [
        Row(
            Topic.LOAD,
            f"%load_ext codex_nb over a running shell, {modules} new modules",
            load,
            "s CPU",
            Reference("the bare shell", bare_shell()),
            0.3,
            PEERS,
        )
    ]
