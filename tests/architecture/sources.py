"""What the architecture tests look at: the package's modules, their functions, the files that git tracks."""

from __future__ import annotations

import ast
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.tiers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE = ROOT / "codex_nb"
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class FunctionLength:
    """One function and the lines from its ``def`` to its end, docstring left out."""

    place: str
    lines: int


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


def function_lengths() -> list[FunctionLength]:
    """Return every function of the package, longest first."""
    lengths = [length for module in modules() for length in _lengths_in(module)]
    return sorted(lengths, key=lambda length: (-length.lines, length.place))


def _lengths_in(module: Path) -> Iterator[FunctionLength]:
    for node in ast.walk(ast.parse((PACKAGE / module).read_text())):
        if isinstance(node, Function):
            first = node.body[0]
            has_docstring = ast.get_docstring(node) is not None
            docstring = (first.end_lineno or 0) - first.lineno + 1 if has_docstring else 0
            yield FunctionLength(
                f"{module}:{node.name}", (node.end_lineno or 0) - node.lineno + 1 - docstring
            )
