"""Every package that an installation brings along has its page among the decisions."""

from __future__ import annotations

import re
import tomllib

from tests.tiers import ROOT

OPTIONAL = ("agent", "keyring", "simulator", "zstd")


def test_every_dependency_has_a_page_and_every_page_a_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {name_of(requirement) for requirement in project["dependencies"]}
    pages = {
        path.stem.removeprefix("dependency-")
        for path in (ROOT / "docs" / "decisions").glob("dependency-*.md")
    }
    assert pages - {"optional"} == needed


def test_every_optional_dependency_is_told_of() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    page = (ROOT / "docs" / "decisions" / "dependency-optional.md").read_text()
    assert [extra for name in OPTIONAL for extra in map(name_of, extras[name]) if extra not in page] == []


def name_of(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0].lower()
