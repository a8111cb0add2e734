from __future__ import annotations

import os
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
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


OUTSIDE = "planted outside"


def nested(path: Path) -> None:
    (path.parent / "folder").symlink_to(path.parent.parent / "outside")
    path.symlink_to("folder/secret.txt")


def hidden(path: Path) -> None:
    (path.parent / ".env").write_text(OUTSIDE)
    path.symlink_to(".env")


def credential(path: Path) -> None:
    (path.parent / "id_rsa").write_text(OUTSIDE)
    path.symlink_to("id_rsa")


FOREIGN: dict[str, Callable[[Path], object]] = {
    "a link": lambda path: path.symlink_to(path.parent.parent / "outside" / "secret.txt"),
    "a relative link": lambda path: path.symlink_to("../outside/secret.txt"),
    "a link through a linked folder": nested,
    "a link through a process": lambda path: path.symlink_to(
        f"/proc/self/root{path.parent.parent}/outside/secret.txt"
    ),
    "the environment": lambda path: path.symlink_to("/proc/thread-self/environ"),
    "a descriptor": lambda path: path.symlink_to("/dev/fd/0"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a hidden file": hidden,
    "a file of credentials": credential,
}


@pytest.mark.parametrize("name", ["AGENTS.md", "AGENTS.override.md", "NOTES.md"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_projects_instructions_bring_nothing_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    monkeypatch.setenv("PLANTED", OUTSIDE)
    root = tmp_path / "repository"
    for folder in (root / ".git", tmp_path / "outside", tmp_path / "home"):
        folder.mkdir(parents=True)
    (tmp_path / "outside" / "secret.txt").write_text(OUTSIDE)
    FOREIGN[kind](root / name)
    found = project_instructions(tmp_path / "home", root, 10_000, ("NOTES.md",))
    assert (found.text, found.files, OUTSIDE in repr(found)) == ("", (), False)


@pytest.mark.parametrize("name", ["../outside/AGENTS.md", "/etc/hosts", ".env", "", ".", "..", "a\0b"])
def test_a_fallback_that_is_no_name_of_a_file_is_not_read(tmp_path: Path, name: str) -> None:
    root = tmp_path / "repository"
    for folder in (root / ".git", tmp_path / "outside"):
        folder.mkdir(parents=True)
    for file in (tmp_path / "outside" / "AGENTS.md", root / ".env"):
        file.write_text(OUTSIDE)
    assert project_instructions(tmp_path / "home", root, 10_000, (name,)) == ProjectInstructions()


def test_however_much_is_allowed_no_huge_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "AGENTS.md").touch()
    os.truncate(tmp_path / "AGENTS.md", 3 << 30)
    tracemalloc.start()
    found = project_instructions(tmp_path, None, 10**12)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
    assert (found.text, len(found.problems)) == ("", 1)
