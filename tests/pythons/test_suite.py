"""The unit and shell tests on other Python versions: all but the long ones on the newest in CI, else a selection."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from tests.pythons.provision import NEWEST, ROOT, VERSIONS, PythonVersion, is_ready
from tests.tiers import TESTS, is_thorough, tier_of

SELECTED = (
    "cli/test_help_texts.py",
    "host",
    "magics/test_subcommands.py",
    "settings",
    "test_errors.py",
    "tools",
)


def everything() -> list[str]:
    """Return every folder and file of the unit and shell tiers."""
    found = [path for path in TESTS.iterdir() if path.is_dir() or path.name.startswith("test_")]
    return sorted(path.name for path in found if tier_of(path).name in {"unit", "shell"})


def command(version: PythonVersion) -> list[str]:
    """Return the pytest that runs on a version."""
    is_whole = version is NEWEST and is_thorough()
    paths = everything() if is_whole else SELECTED
    options = ["-q", "-n", "2", "-p", "no:cacheprovider", "-m", "(unit or shell) and not long"]
    return [str(version.python), "-m", "pytest", *options, *(f"tests/{name}" for name in paths)]


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "version",
    [version for version in VERSIONS if version.from_debian or is_ready(version)],
    ids=lambda version: version.name,
)
def test_the_suite_passes_on_python(version: PythonVersion) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environ = {**clean, "PYTHONPATH": str(ROOT), "CODEX_NB_DEMAND_TIERS": ""}
    done = subprocess.run(
        command(version), cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-8000:]
    assert re.search(r"\b\d{3,} passed", said)
