"""The whole suite in one command: ``python -m tests [pytest options]``.

The tests that need only Python run while the tools of the other tiers are set up; then the browser tests and the others
run in parallel. If a few tests of a part fail, they are run once more alone and reported, which distinguishes an
overloaded machine from a defect. The last line counts all tests.
"""

from __future__ import annotations

import os
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
MAX_RERUNS = 10  # more failures are not due to load


@dataclass(frozen=True)
class Part:
    """A run of pytest over some tiers."""

    name: str
    marks: str
    parallel: tuple[str, ...] = ()

    @property
    def report(self) -> Path:
        """The file of pytest's report."""
        return tiers.ARTIFACTS / f"junit-{self.name}.xml"

    def command(self, options: Sequence[str]) -> list[str]:
        """Return the command that runs it; each part has its own cache of failures."""
        pytest = [
            sys.executable,
            "-m",
            "pytest",
            "-m",
            self.marks,
            "-o",
            f"cache_dir=.pytest_cache/{self.name}",
        ]
        return [*pytest, *self.parallel, f"--junit-xml={self.report}", "--durations=10", *options]

    def failed(self) -> list[str]:
        """Return the tests that failed when the part was run."""
        return [] if not self.report.exists() else failures(self.report)


PYTHON = Part("python", "unit or shell", ("-n", "2", "--dist", "worksteal"))
# These mostly wait for pages and processes: two workers each use two cores well. A file has one kernel or server.
BY_FILE = ("-n", "2", "--dist", "loadfile")
BROWSER = Part("browser", "browser", BY_FILE)
PROGRAMS = Part("programs", "kernel or contract or servers or pythons", BY_FILE)
PARTS = (PYTHON, BROWSER, PROGRAMS)


def run(part: Part, options: Sequence[str]) -> int:
    """Run a part and wait for it; return pytest's exit code."""
    return subprocess.run(part.command(options), cwd=tiers.ROOT, check=False).returncode


@contextmanager
def beside(name: str, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in parallel with the block; then wait for it and print its output."""
    log = tiers.ARTIFACTS / f"{name}.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=tiers.ROOT, stdout=out, stderr=out)
        try:
            yield process
        finally:
            process.wait()
            print(log.read_text(), flush=True)


def failures(report: Path) -> list[str]:
    """Return the names of the failed tests in a report."""
    cases = ET.parse(report).getroot().iter("testcase")  # noqa: S314 - our own pytest wrote it
    return [
        f"{case.get('classname')}::{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]


def rerun_failures(part: Part, code: int, options: Sequence[str]) -> tuple[int, int]:
    """Run a few failed tests again, alone; return the part's exit code and the number of tests that failed twice."""
    names = part.failed()
    if code != TESTS_FAILED or not 0 < len(names) <= MAX_RERUNS:
        return code, len(names)
    again = Part(f"{part.name}-again", part.marks)
    again.report.unlink(missing_ok=True)
    command = [*part.command(options), "--last-failed", f"--junit-xml={again.report}"]
    code = subprocess.run(command, cwd=tiers.ROOT, check=False).returncode
    has_ended = again.report.exists()  # if not, a test that hung has ended the process
    still = set(again.failed() if has_ended else names)
    for name in names:
        print(f"{'failed twice' if name in still else 'failed in parallel, passed alone'}: {name}")
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


def abnormal(codes: set[int]) -> set[int]:
    """Return the exit codes of a crash, a kill or an invalid option."""
    return codes - {0, TESTS_FAILED, NO_TESTS_COLLECTED}


def main(options: Sequence[str]) -> int:
    """Run all parts; succeed if none failed and at least one test ran."""
    begin = time.monotonic()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of kernels would compile the package
    tiers.ARTIFACTS.mkdir(exist_ok=True)
    for part in PARTS:
        part.report.unlink(missing_ok=True)
    with beside("provision", [sys.executable, "-m", "tests.provision"]):
        codes = {PYTHON: run(PYTHON, options)}
    with beside(PROGRAMS.name, PROGRAMS.command(options)) as programs:
        codes[BROWSER] = run(BROWSER, options)
    codes[PROGRAMS] = programs.returncode
    bad = abnormal(set(codes.values()))
    for code in bad:
        print(f"a part of the suite did not finish: exit status {code}")
    passed, failed, skipped = count([part.report for part in PARTS])
    failed += len(bad)
    for part in PARTS:
        before = len(part.failed())
        codes[part], still = rerun_failures(part, codes[part], options)
        passed, failed = passed + before - still, failed - before + still
    print(f"the whole suite took {time.monotonic() - begin:.0f} s")
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    wrong = set(codes.values()) - {0, NO_TESTS_COLLECTED}
    return max(wrong, default=0 if passed else NO_TESTS_COLLECTED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
