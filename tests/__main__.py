"""The whole suite in one command: ``python -m tests [pytest options]``.

While the tiers' tools are being set up the tests that need none of them run; then the browser's and the others' side by
side. The last line counts all parts.
"""

from __future__ import annotations

import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests import tiers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NO_TESTS_COLLECTED = 5


@dataclass(frozen=True)
class Part:
    """A run of pytest over some tiers."""

    name: str
    marks: str

    @property
    def report(self) -> Path:
        """Where pytest writes what happened."""
        return tiers.ARTIFACTS / f"junit-{self.name}.xml"

    def command(self, options: Sequence[str]) -> list[str]:
        """Return the command that runs it."""
        pytest = [sys.executable, "-m", "pytest", "-m", self.marks]
        return [*pytest, f"--junit-xml={self.report}", "--durations=10", *options]


PYTHON = Part("python", "unit or shell")
BROWSER = Part("browser", "browser")
PROGRAMS = Part("programs", "kernel or contract or servers")
PARTS = (PYTHON, BROWSER, PROGRAMS)


def run(part: Part, options: Sequence[str]) -> int:
    """Run a part here and now; return pytest's exit code."""
    return subprocess.run(part.command(options), cwd=tiers.ROOT, check=False).returncode


@contextmanager
def beside(name: str, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command beside the block; afterwards wait for it and print what it said."""
    log = tiers.ARTIFACTS / f"{name}.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=tiers.ROOT, stdout=out, stderr=out)
        try:
            yield process
        finally:
            process.wait()
            print(log.read_text(), flush=True)


def count(reports: Sequence[Path]) -> tuple[int, int, int]:
    """Return how many tests passed, failed and were skipped."""
    total = failed = skipped = 0
    for report in reports:
        if not report.exists():
            continue
        for suite in ET.parse(report).getroot().iter("testsuite"):  # noqa: S314 - our own pytest wrote it
            total += int(suite.get("tests", 0))
            failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skipped += int(suite.get("skipped", 0))
    return total - failed - skipped, failed, skipped


def main(options: Sequence[str]) -> int:
    """Run all parts; succeed when none failed and some test ran."""
    begin = time.monotonic()
    tiers.ARTIFACTS.mkdir(exist_ok=True)
    for part in PARTS:
        part.report.unlink(missing_ok=True)
    with beside("provision", [sys.executable, "-m", "tests.provision"]):
        codes = {run(PYTHON, options)}
    with beside(PROGRAMS.name, PROGRAMS.command(options)) as programs:
        codes.add(run(BROWSER, options))
    codes.add(programs.returncode)
    passed, failed, skipped = count([part.report for part in PARTS])
    print(f"the whole suite took {time.monotonic() - begin:.0f} s")
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return max(codes - {0, NO_TESTS_COLLECTED}, default=0 if passed else NO_TESTS_COLLECTED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
