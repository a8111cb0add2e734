from __future__ import annotations

from pathlib import Path

import pytest

from tests import tiers


@pytest.mark.parametrize(
    ("place", "tier"),
    [
        ("browser/test_first_answer.py", "browser"),
        ("kernel/matrix/test_clicks.py", "kernel"),
        ("session/test_turn.py", "unit"),
        ("test_tiers.py", "unit"),
    ],
)
def test_a_folder_of_the_tests_is_its_tier(place: str, tier: str) -> None:
    assert tiers.tier_of(tiers.TESTS / place).name == tier


def test_a_file_outside_the_tests_belongs_to_the_unit_tier(tmp_path: Path) -> None:
    assert tiers.tier_of(tmp_path / "browser" / "test_x.py").name == "unit"


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({}, set()),
        ({"CI": "true"}, set(tiers.TIERS)),
        ({"CI": "true", "CODEX_NB_DEMAND_TIERS": ""}, set()),
        ({"CODEX_NB_DEMAND_TIERS": "kernel, browser"}, {"kernel", "browser"}),
        ({"CODEX_NB_DEMAND_TIERS": "all"}, set(tiers.TIERS)),
    ],
)
def test_ci_demands_every_tier_and_a_developer_the_ones_named(
    environ: dict[str, str], names: set[str]
) -> None:
    assert tiers.demanded(environ) == names
