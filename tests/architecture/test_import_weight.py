"""Loading the extension costs a notebook next to nothing: the heavy libraries wait for the first question."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"httpx", "pydantic", "ipywidgets", "anywidget", "tornado", "nh3", "markdown_it", "rich", "keyring"}
TELL = "import json, sys; print(json.dumps(sorted(sys.modules)))"
LOAD = """
from IPython.core.interactiveshell import InteractiveShell
import sys
shell = InteractiveShell.instance()
before = set(sys.modules)
shell.run_line_magic("load_ext", "codex_nb")
import json
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def packages_after(program: str) -> set[str]:
    """Return the top-level packages that a fresh interpreter holds (or newly holds) at a program's end."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.parametrize(
    "module", ["codex_nb", "codex_nb.errors", "codex_nb.magics", "codex_nb.magics.extension"]
)
def test_importing_the_face_loads_nothing_heavy(module: str) -> None:
    before_ipython = packages_after(f"import IPython\n{TELL}") if module != "codex_nb" else set()
    assert packages_after(f"import {module}\n{TELL}") & (HEAVY - before_ipython) == set()


def test_loading_the_extension_into_a_shell_loads_nothing_heavy() -> None:
    assert packages_after(LOAD) & HEAVY == set()
