from __future__ import annotations

from pathlib import Path

from tests.__main__ import count, ended_badly

REPORT = '<testsuites><testsuite tests="{}" failures="{}" errors="{}" skipped="{}"/></testsuites>'


def test_the_last_line_counts_all_parts_and_a_part_that_wrote_nothing_counts_nothing(tmp_path: Path) -> None:
    first, second = tmp_path / "first.xml", tmp_path / "second.xml"
    first.write_text(REPORT.format(10, 1, 1, 2))
    second.write_text(REPORT.format(5, 0, 0, 0))
    assert count([first, second, tmp_path / "never.xml"]) == (11, 2, 2)


def test_a_part_that_was_killed_is_told_apart_from_one_whose_tests_failed() -> None:
    assert ended_badly({0, 1, 5, -15, 4}) == {-15, 4}
