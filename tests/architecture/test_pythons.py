"""The supported Python versions are those that the tests run on."""

from __future__ import annotations

import tomllib

from tests.pythons.provision import VERSIONS, requirements
from tests.tiers import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LANGUAGE = "Programming Language :: Python :: "


def test_the_classifiers_name_the_pythons_of_the_tests() -> None:
    oldest = PROJECT["requires-python"].removeprefix(">=")
    named = [line.removeprefix(LANGUAGE) for line in PROJECT["classifiers"] if line.startswith(LANGUAGE)]
    assert named == [oldest, *(version.name for version in VERSIONS)]


def test_the_other_pythons_get_what_the_package_and_its_extras_need() -> None:
    wanted = requirements()
    assert [each for each in wanted if each.startswith("codex-nb")] == []
    assert {*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["zstd"]} <= set(wanted)
    assert "pytest-xdist>=3.6" in wanted
