"""The whole suite in one command: ``python -m tests [pytest options]``.

While the tiers' tools are being set up the tests that need none of them run; then the others. The last line counts
both parts.
"""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from tests import tiers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NO_TESTS_COLLECTED = 5
PARTS = {"python": "unit or shell", "tools": "not (unit or shell)"}


def run_part(part: str, options: Sequence[str]) -> tuple[int, Path]:
    """Run one part of the suite; return pytest's exit code and its report."""
    report = tiers.ARTIFACTS / f"junit-{part}.xml"
    report.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        PARTS[part],
        f"--junit-xml={report}",
        "--durations=10",
        *options,
    ]
    return subprocess.run(command, cwd=tiers.ROOT, check=False).returncode, report


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
    """Run both parts; succeed when neither failed and some test ran."""
    tiers.ARTIFACTS.mkdir(exist_ok=True)
    log = tiers.ARTIFACTS / "provision.log"
    with log.open("w") as out:
        setting_up = subprocess.Popen(
            [sys.executable, "-m", "tests.provision"], cwd=tiers.ROOT, stdout=out, stderr=out
        )
        try:
            first, first_report = run_part("python", options)
        finally:
            setting_up.wait()
    print(log.read_text(), flush=True)
    second, second_report = run_part("tools", options)
    passed, failed, skipped = count([first_report, second_report])
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    codes = {first, second} - {0, NO_TESTS_COLLECTED}
    return max(codes, default=0 if passed else NO_TESTS_COLLECTED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
