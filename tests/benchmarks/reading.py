"""Reading a monstrous notebook where no open document can be asked: its file is parsed, then the context gathered."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell

from codex_nb.host.notebook import read_notebook
from codex_nb.session.context import build_context
from tests.benchmarks.context import REDACTOR, namespace, notebook
from tests.benchmarks.fresh import median_of, on_this_machine
from tests.benchmarks.table import Row, Topic

CELLS, OUTPUT_BYTES = 1_000, 50_000


def written(path: Path) -> float:
    """Write the notebook as Jupyter saves it; return its size in MB."""
    cells = [
        {
            "cell_type": cell.kind,
            "execution_count": cell.execution_count,
            "id": cell.cell_id,
            "metadata": {},
            "outputs": list(cell.outputs),
            "source": cell.source.splitlines(keepends=True),
        }
        for cell in notebook(CELLS, OUTPUT_BYTES).cells
    ]
    path.write_text(
        json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1)
    )
    return path.stat().st_size / 1e6


def milliseconds(path: Path) -> float:
    """Return the CPU milliseconds from the file on disk to the context."""
    shell, variables = InteractiveShell.instance(), namespace()
    environ = {"JPY_SESSION_NAME": str(path)}

    def once() -> float:
        begin = time.process_time()
        snapshot = read_notebook(shell, None, None, environ)
        build_context(snapshot, variables, "What does frame_1 hold?", redactor=REDACTOR)
        spent = (time.process_time() - begin) * 1e3
        assert (snapshot.origin, len(snapshot.cells)) == ("file", CELLS)
        return spent

    return median_of(once)


def rows() -> list[Row]:
    """Measure the file's whole way."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "monstrous.ipynb"
        size = written(path)
        spent = milliseconds(path)
    return [
        Row(
            Topic.CONTEXT,
            f"the same, parsed from its file of {size:.0f} MB (no open document)",
            spent,
            "ms CPU",
            on_this_machine(200, "ms"),
            note="an open document sends at most 4,000 characters of an output",
        )
    ]
