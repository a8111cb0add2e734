"""The whole suite in one command: ``python -m tests [pytest options]``.

While the tiers' tools are being set up the tests that need none of them run; then the browser's and the others' side by
side. What failed there beside the others is run once more by itself, and named: a machine that was too busy is told
from a fault, which fails again. The last line counts all parts.
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

TESTS_FAILED = 1
NO_TESTS_COLLECTED = 5
MOST_REPEATED = 10  # more failures than that are no accident


@dataclass(frozen=True)
class Part:
    """A run of pytest over some tiers."""

    name: str
    marks: str
    side_by_side: tuple[str, ...] = ()

    @property
    def report(self) -> Path:
        """Where pytest writes what happened."""
        return tiers.ARTIFACTS / f"junit-{self.name}.xml"

    def command(self, options: Sequence[str]) -> list[str]:
        """Return the command that runs it; each part remembers its own failures."""
        pytest = [
            sys.executable,
            "-m",
            "pytest",
            "-m",
            self.marks,
            "-o",
            f"cache_dir=.pytest_cache/{self.name}",
        ]
        return [*pytest, *self.side_by_side, f"--junit-xml={self.report}", "--durations=10", *options]

    def failed(self) -> list[str]:
        """Return the tests that failed when the part was run."""
        return [] if not self.report.exists() else failures(self.report)


PYTHON = Part("python", "unit or shell", ("-n", "2", "--dist", "worksteal"))
BROWSER = Part("browser", "browser")
PROGRAMS = Part("programs", "kernel or contract or servers or pythons")
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


def failures(report: Path) -> list[str]:
    """Return the names of the tests that a report holds as failed."""
    cases = ET.parse(report).getroot().iter("testcase")  # noqa: S314 - our own pytest wrote it
    return [
        f"{case.get('classname')}::{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]


def settled(part: Part, code: int, options: Sequence[str]) -> tuple[int, int]:
    """Run a few failed tests by themselves; return the part's exit code and how many tests have failed in the end."""
    names = part.failed()
    if code != TESTS_FAILED or not 0 < len(names) <= MOST_REPEATED:
        return code, len(names)
    again = Part(f"{part.name}-again", part.marks)
    again.report.unlink(missing_ok=True)
    command = [*part.command(options), "--last-failed", f"--junit-xml={again.report}"]
    code = subprocess.run(command, cwd=tiers.ROOT, check=False).returncode
    still = set(again.failed())
    for name in names:
        print(f"{'failed twice' if name in still else 'failed beside others, passed by itself'}: {name}")
    return code, len(still)


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


def ended_badly(codes: set[int]) -> set[int]:
    """Return the exit codes that neither passing, failing nor empty parts have: a crash, a kill, a wrong option."""
    return codes - {0, TESTS_FAILED, NO_TESTS_COLLECTED}


def main(options: Sequence[str]) -> int:
    """Run all parts; succeed when none failed and some test ran."""
    begin = time.monotonic()
    tiers.ARTIFACTS.mkdir(exist_ok=True)
    for part in PARTS:
        part.report.unlink(missing_ok=True)
    with beside("provision", [sys.executable, "-m", "tests.provision"]):
        codes = {PYTHON: run(PYTHON, options)}
    with beside(PROGRAMS.name, PROGRAMS.command(options)) as programs:
        codes[BROWSER] = run(BROWSER, options)
    codes[PROGRAMS] = programs.returncode
    bad = ended_badly(set(codes.values()))
    for code in bad:
        print(f"a part of the suite did not come to its end: exit status {code}")
    passed, failed, skipped = count([part.report for part in PARTS])
    failed += len(bad)
    for part in (BROWSER, PROGRAMS):
        before = len(part.failed())
        codes[part], still = settled(part, codes[part], options)
        passed, failed = passed + before - still, failed - before + still
    print(f"the whole suite took {time.monotonic() - begin:.0f} s")
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    wrong = set(codes.values()) - {0, NO_TESTS_COLLECTED}
    return max(wrong, default=0 if passed else NO_TESTS_COLLECTED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
