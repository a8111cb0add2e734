"""Tracked files work on any machine: no registry addresses, no local paths."""

from __future__ import annotations

import re

from tests.architecture.sources import tracked_files
from tests.tiers import ROOT

REGISTRIES = re.compile(
    r"registry\.npmjs|files\.pythonhosted|pypi\.org/simple|deb\.debian|index-url|\"resolved\":\s*\"http",
    re.IGNORECASE,
)
MACHINE_PATHS = re.compile(r"(?<![\w.~:$}/-])/(?:work|root|opt/wheels|tmp)/[A-Za-z0-9_.-]+")
SUPPRESSED = re.compile(r"#\s*(?:type:\s*ignore|noqa)(?![:\[\w])", re.IGNORECASE)
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|raise NotImplementedError)\b")
THIS_FILE = "tests/architecture/test_tracked_files.py"


def lines_with(pattern: re.Pattern[str], *, below: tuple[str, ...] = ("",)) -> list[str]:
    """Return each tracked line that matches, with its location."""
    found = []
    for path in tracked_files():
        if str(path) == THIS_FILE or not str(path).startswith(below):
            continue
        for number, line in enumerate((ROOT / path).read_text(errors="replace").splitlines(), start=1):
            if pattern.search(line):
                found.append(f"{path}:{number}: {line.strip()[:120]}")
    return found


def test_no_file_has_a_registry_address() -> None:
    assert lines_with(REGISTRIES) == []


def test_no_file_has_a_local_path() -> None:
    assert lines_with(MACHINE_PATHS) == []


def test_a_suppressed_check_is_named() -> None:
    assert lines_with(SUPPRESSED, below=("codex_nb", "tests")) == []


def test_nothing_is_unfinished() -> None:
    assert lines_with(UNFINISHED, below=("codex_nb",)) == []
