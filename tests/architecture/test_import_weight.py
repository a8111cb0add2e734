"""Loading the extension is fast: large libraries are imported by the first question."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from codex_nb.simulator import Simulator

LARGE = {
    "mcp",
    "httpx",
    "pydantic",
    "ipywidgets",
    "anywidget",
    "tornado",
    "nh3",
    "markdown_it",
    "rich",
    "keyring",
    "websockets",
}
PRINT_MODULES = "import json, sys; print(json.dumps(sorted(sys.modules)))"
LOAD = """
from IPython.core.interactiveshell import InteractiveShell
import sys
shell = InteractiveShell.instance()
before = set(sys.modules)
shell.run_line_magic("load_ext", "codex_nb")
import json
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def packages_after(program: str, **environ: str) -> set[str]:
    """Return the top-level packages that a program has imported when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environ},
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.parametrize(
    "module", ["codex_nb", "codex_nb.errors", "codex_nb.magics", "codex_nb.magics.extension"]
)
def test_importing_the_package_imports_no_large_library(module: str) -> None:
    before_ipython = packages_after(f"import IPython\n{PRINT_MODULES}") if module != "codex_nb" else set()
    assert packages_after(f"import {module}\n{PRINT_MODULES}") & (LARGE - before_ipython) == set()


def test_loading_the_extension_imports_no_large_library() -> None:
    assert packages_after(LOAD) & (LARGE | {"asyncio"}) == set()


@pytest.mark.parametrize(("transport", "is_needed"), [("", False), ("http", False), ("websocket", True)])
def test_only_a_question_over_a_websocket_imports_what_it_needs(
    tmp_path: Path, transport: str, *, is_needed: bool
) -> None:
    with Simulator() as sim:
        sim.write_home(tmp_path)
        environ = {**sim.environ(), "CODEX_HOME": str(tmp_path), "CODEX_NB_TRANSPORT": transport}
        program = f"import codex_nb\ncodex_nb.ask('hi')\n{PRINT_MODULES}"
        assert ("websockets" in packages_after(program, **environ)) is is_needed
