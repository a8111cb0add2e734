"""The release files contain what the product needs, and nothing else.

A release is built as by ``python -m build``: first the source archive, then the wheel from that archive.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGE, tracked_files
from tests.notebooks.running import tour
from tests.tiers import ROOT


@dataclass(frozen=True)
class Release:
    """The files of a release."""

    sources: Path
    wheel: Path


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Build the source archive, and the wheel from it, without network."""
    folder = tmp_path_factory.mktemp("release")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (sources,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return Release(sources, wheel)


@pytest.fixture(scope="module")
def names(release: Release) -> set[str]:
    """Return the files in the wheel."""
    return set(zipfile.ZipFile(release.wheel).namelist())


def test_the_wheel_has_every_file_of_the_package(names: set[str]) -> None:
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    expected = {str(Path("codex_nb") / path.relative_to(PACKAGE)) for path in files}
    assert expected - names == set()


def test_the_wheel_has_the_tour(names: set[str]) -> None:
    assert {f"codex_nb/notebooks/{path.name}" for path in tour()} - names == set()


def test_the_wheel_has_the_license_and_no_tests(names: set[str]) -> None:
    assert [name for name in names if name.endswith("/licenses/LICENSE")] != []
    assert [name for name in names if name.split("/")[0] not in {"codex_nb", dist_info(names)}] == []


def test_the_source_archive_has_the_tracked_files(release: Release) -> None:
    with tarfile.open(release.sources) as archive:
        packed = {Path(*Path(name).parts[1:]) for name in archive.getnames()}
    excluded = {".ci", ".gitignore"}
    expected = {path for path in tracked_files() if path.parts[0] not in excluded and (ROOT / path).is_file()}
    assert expected - packed == set()
    assert {path.parts[0] for path in packed} & {".venv", ".tiers", ".artifacts", "build", "dist"} == set()


def test_the_wheel_runs_in_a_fresh_environment(release: Release, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(fresh)], check=True)
    python = fresh / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", str(python)]
    subprocess.run([*pip, "install", "--no-deps", str(release.wheel)], check=True)
    lib = next(fresh.glob("lib/python*/site-packages"))
    # dependencies come from this environment, codex_nb only from the wheel
    (lib / "outer.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run(fresh / "bin" / "codex-nb", "--help").startswith("usage: codex-nb")
    where = (
        "import codex_nb.notebooks as n, codex_nb, os; print(codex_nb.__file__, *os.listdir(n.__path__[0]))"
    )
    file, *notebooks = run(python, "-c", where).split()
    assert Path(file).is_relative_to(fresh)
    assert {path.name for path in tour()} <= set(notebooks)


def dist_info(names: set[str]) -> str:
    return next(name.split("/")[0] for name in names if ".dist-info/" in name)
