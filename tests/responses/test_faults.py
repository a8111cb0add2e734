"""Every row of the fault table ends, as the table says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.responses.faults import FAULTS, Fault, line_of, outcome_of_fault, row_of
from tests.tiers import ROOT

PAGE = ROOT / "docs" / "faults.md"

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_a_fault_ends_in_one_readable_line(fault: Fault, tmp_path: Path) -> None:
    outcome, requests = await outcome_of_fault(fault, tmp_path)
    line = line_of(outcome)
    if isinstance(fault.sees, str):
        assert outcome.finished.text == fault.sees
    else:
        assert type(outcome.error) is fault.sees, line
    assert requests == fault.requests
    assert fault.says in line
    assert "\n" not in line
    assert len(line) < 600
    assert row_of(fault, outcome, requests) in PAGE.read_text().splitlines()


def test_the_page_shows_every_row_and_no_other() -> None:
    rows = [
        line.split(" | ")[0].removeprefix("| ") for line in PAGE.read_text().splitlines() if line[:2] == "| "
    ]
    assert rows[1:] == [fault.name for fault in FAULTS]
