"""What ``make contract`` prints of another CLI."""

from __future__ import annotations

from pathlib import Path

from tests.contract.drift import compared, differences


def test_a_cli_does_nothing_otherwise_than_itself(codex_program: Path) -> None:
    found = compared(codex_program, codex_program)
    assert found == {subject: [] for subject in found}


def test_what_is_new_gone_and_changed_is_told() -> None:
    before, after = {"a": "1", "b": "2", "long": "x" * 200}, {"b": "3", "c": "1", "long": "y" * 200}
    assert list(differences(before, after)) == ["- a", "~ b: 2 -> 3", "+ c", "~ long"]
