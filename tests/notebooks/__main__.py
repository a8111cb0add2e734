"""``python -m tests.notebooks``: run the tour on the simulator and save it with its outputs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nbformat

from tests.notebooks.running import executed, tour


def main() -> None:
    """Run and save every notebook."""
    for path in tour():
        with tempfile.TemporaryDirectory() as folder:
            notebook = executed(path, Path(folder))
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
        notebook.metadata.pop("widgets", None)
        nbformat.write(notebook, path)
        print(path.name)


if __name__ == "__main__":
    main()
