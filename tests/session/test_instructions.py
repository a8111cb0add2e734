from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from codex_nb.session.prompt import ProjectInstructions, agents_files, project_instructions


def test_the_files_from_the_home_and_from_the_root_down_to_the_notebook_apply(tmp_path: Path) -> None:
    home, root = tmp_path / "home", tmp_path / "outer" / "repository"
    folder = root / "a" / "b"
    folder.mkdir(parents=True)
    home.mkdir()
    (root / ".git").mkdir()
    for place in (home, root, folder, tmp_path / "outer"):
        (place / "AGENTS.md").write_text(f"Of {place.name}.")
    (root / "a" / "AGENTS.md").write_text("Not this one.")
    (root / "a" / "AGENTS.override.md").write_text("Of a.")
    expected = [
        home / "AGENTS.md",
        root / "AGENTS.md",
        root / "a" / "AGENTS.override.md",
        folder / "AGENTS.md",
    ]
    assert list(agents_files(home, folder)) == expected
    text = project_instructions(home, folder, 10_000).text
    assert [line for line in text.splitlines() if line.startswith("Of ")] == [
        "Of home.",
        "Of repository.",
        "Of a.",
        "Of b.",
    ]


@pytest.fixture
def outside() -> Iterator[Path]:
    """Make a folder in no repository: while the CLI's sandbox runs a command, there is a .git in /tmp."""
    elsewhere = Path("/var/tmp")  # noqa: S108 -- a folder of its own is made in it
    with tempfile.TemporaryDirectory(dir=elsewhere if elsewhere.is_dir() else None) as folder:
        yield Path(folder)


def test_outside_a_repository_only_the_notebooks_own_folder_counts(outside: Path) -> None:
    folder = outside / "a"
    folder.mkdir()
    (outside / "AGENTS.md").write_text("Above.")
    (folder / "AGENTS.md").write_text("Here.")
    assert list(agents_files(outside / "home", folder)) == [folder / "AGENTS.md"]


def test_no_more_than_the_allowed_bytes_are_told(tmp_path: Path) -> None:
    (tmp_path / "AGENTS.md").write_text("é" * 100)
    text = project_instructions(tmp_path, None, 11).text
    assert text.endswith("\n\néééé" + "é")
    assert project_instructions(tmp_path, None, 0) == ProjectInstructions()
