"""The table of what is seen in a browser is held to the suite: its tests exist, in the front ends that it marks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "seen.md"
NAMES = {"JupyterLab": r"\[(.*-)?lab\b|\[JupyterLab,", "Notebook 7": r"\[(.*-)?notebook\b|\[Notebook 7,"}


@pytest.fixture(scope="module")
def collected() -> list[str]:
    """Let pytest say which browser tests there are."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/browser",
    ]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [line.removeprefix("tests/browser/") for line in said.splitlines() if "::" in line]


def test_every_point_is_shown_where_the_table_says(collected: list[str]) -> None:
    rows = [line.strip("| \n").split(" | ") for line in PAGE.read_text().splitlines() if "::" in line]
    assert len(rows) > 40
    missing = []
    for point, shown_by, *marks in rows:
        file, test = shown_by.strip("`").split("::")
        runs = [each for each in collected if each.startswith((f"{file}.py::{test}[", f"{file}.py::{test} "))]
        for (front_end, its_name), mark in zip(NAMES.items(), marks, strict=True):
            is_run = any(re.search(its_name, run) for run in runs)
            if is_run is not (mark == "✓"):
                missing.append((point, front_end, is_run))
    assert missing == []
