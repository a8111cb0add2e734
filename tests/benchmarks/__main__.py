"""``python -m tests.benchmarks [module ...]``: run the benchmark modules of this folder and print their table.

A module takes part by having ``rows() -> list[Row]``.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.table import number, printed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.table import Row


def modules(names: Sequence[str]) -> list[str]:
    """Return the benchmark modules to run: the named ones, or all of this folder."""
    found = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])]
    return [name for name in found if name in names or not names]


def brief(row: Row) -> str:
    """Return a row as one line, for a run that is ended before its table."""
    return f"{row.what}: {number(row.measured)} {row.unit}, {row.ratio:.2f} {row.verdict}".rstrip()


def main(names: Sequence[str]) -> int:
    """Run the modules one after the other and print the table."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # byte code is read, as where packages are installed
    rows: list[Row] = []
    for name in modules(names):
        module = importlib.import_module(f"tests.benchmarks.{name}")
        if not hasattr(module, "rows"):
            continue
        begin = time.monotonic()
        print(f"measuring {name} ...", file=sys.stderr, end=" ", flush=True)
        found = module.rows()
        print(
            f"{time.monotonic() - begin:.1f} s", *map(brief, found), sep="\n  ", file=sys.stderr, flush=True
        )
        rows += found
    print("\n".join(printed(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
