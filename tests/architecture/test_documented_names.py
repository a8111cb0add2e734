"""Modules and tests that the documentation names exist."""

from __future__ import annotations

import re

import pytest

from tests.architecture.sources import PACKAGE, tracked_files
from tests.tiers import ROOT

PAGES = [path for path in tracked_files() if path.suffix == ".md" and path.name != "CHANGELOG.md"]
FOLDERS = "|".join(["codex_nb", "docs", "tests", *(path.name for path in PACKAGE.iterdir() if path.is_dir())])
FILE = re.compile(rf"`((?:(?:{FOLDERS})/(?:\w+/)*)?\w+\.py)\b[^`]*`")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
DOTTED = re.compile(r"\bcodex_nb((?:\.\w+)+)")


def exists(dotted: str) -> bool:
    """Whether a dotted name is a module, or a name that a module defines."""
    parts = dotted.strip(".").split(".")
    folder = PACKAGE.joinpath(*parts)
    if folder.is_dir() or folder.with_suffix(".py").is_file():
        return True
    owner = PACKAGE.joinpath(*parts[:-1])
    source = owner / "__init__.py" if owner.is_dir() else owner.with_suffix(".py")
    return source.is_file() and re.search(rf"\b{parts[-1]}\b", source.read_text()) is not None


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_module_and_test_that_a_page_names_exists(page: object) -> None:
    text = (ROOT / str(page)).read_text()
    files = {
        name for name in FILE.findall(text) if not (ROOT / name).exists() and not (PACKAGE / name).exists()
    }
    tests = {
        f"{file}::{name}"
        for file, name in TEST.findall(text)
        if f"def {name}(" not in (ROOT / file).read_text()
    }
    assert tests == set()
    assert {name for name in DOTTED.findall(text) if not exists(name)} == set()
    assert files == set()
