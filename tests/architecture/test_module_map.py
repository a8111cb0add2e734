"""docs/architecture.md is the map of the house: each module stands on it, and nothing else does."""

from __future__ import annotations

import re
from pathlib import Path

from tests.architecture.sources import modules
from tests.tiers import ROOT

MAP = ROOT / "docs" / "architecture.md"
ROW = re.compile(r"^\| `(?P<module>[\w/]+\.py)` \| (?P<job>.+?) \|$", re.MULTILINE)


def rows() -> list[tuple[Path, str]]:
    return [(Path(row["module"]), row["job"]) for row in ROW.finditer(MAP.read_text())]


def test_every_module_has_its_place_on_the_map() -> None:
    packages = {module for module in modules() if module.name == "__init__.py" and module.parent.name}
    assert sorted(set(modules()) - packages - {module for module, _ in rows()}) == []


def test_the_map_shows_nothing_that_is_not_there() -> None:
    assert sorted({module for module, _ in rows()} - set(modules())) == []


def test_the_map_shows_each_module_once_and_says_what_it_does() -> None:
    shown = [module for module, _ in rows()]
    assert sorted(shown) == sorted(set(shown))
    assert [module for module, job in rows() if not job.strip()] == []
