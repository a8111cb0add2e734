"""The modules of the package, and the files tracked by git."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.tiers import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = ROOT / "codex_nb"


def modules() -> list[Path]:
    """Return the package's modules as paths relative to the package."""
    return sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def tracked_files() -> list[Path]:
    """Return the text files that git tracks, relative to the root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    binary = {".png", ".gif", ".ico", ".woff2"}
    paths = [ROOT / name for name in listed.split("\0") if name]
    return [path.relative_to(ROOT) for path in paths if path.is_file() and path.suffix not in binary]
