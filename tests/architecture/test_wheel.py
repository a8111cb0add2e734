"""What pip installs holds everything that the product needs, and nothing of the workshop."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGE
from tests.notebooks.running import tour
from tests.tiers import ROOT


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Build the wheel without network; give the files in it."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*pip, "wheel", *options, str(ROOT)], check=True)
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_holds_every_file_of_the_package(names: set[str]) -> None:
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    expected = {str(Path("codex_nb") / path.relative_to(PACKAGE)) for path in files}
    assert expected - names == set()


def test_the_wheel_holds_the_tour_that_the_demo_opens(names: set[str]) -> None:
    assert {f"codex_nb/notebooks/{path.name}" for path in tour()} - names == set()


def test_the_wheel_holds_the_licence_and_no_tests(names: set[str]) -> None:
    assert [name for name in names if name.endswith("/licenses/LICENSE")] != []
    assert [name for name in names if name.split("/")[0] not in {"codex_nb", dist_info(names)}] == []


def dist_info(names: set[str]) -> str:
    return next(name.split("/")[0] for name in names if ".dist-info/" in name)
