"""``python -m tests.notebooks``: run the tour on the simulator and save it with its outputs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import nbformat

from tests.notebooks.running import executed, tour


def at_home(value: Any, home: str) -> Any:
    """Return the value with the run's own CODEX_HOME written as a user's."""
    match value:
        case str():
            markdown = home.replace("_", "\\_")
            return value.replace(home, "~/.codex").replace(markdown, "~/.codex")
        case list():
            return [at_home(part, home) for part in value]
        case dict():
            return nbformat.from_dict({name: at_home(part, home) for name, part in value.items()})
        case _:
            return value


def main() -> None:
    """Run and save every notebook."""
    for path in tour():
        with tempfile.TemporaryDirectory() as folder:
            notebook = at_home(executed(path, Path(folder)), folder)
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
        notebook.metadata.pop("widgets", None)
        nbformat.write(notebook, path)
        print(path.name)


if __name__ == "__main__":
    main()
