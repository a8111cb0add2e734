"""Every fault between the client and a server ends in one line that says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.responses.faults import FAULTS, Fault, line_of, outcome_of_fault

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
    assert round(sum(outcome.sleeps), 1) == fault.expected_waits_s
