"""Files whose contents are sent: ``AGENTS.md`` of a cloned repository, and what a question mentions."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from codex_nb.simulator import Simulator
from tests.magics.conftest import Notebook

OUTSIDE = "planted-outside-of-the-repository"
ENVIRONMENT = f"PATH={os.environ['PATH']}"  # as this process was started with
INSIDE = "Answer in verse."
HUGE = 3 * 1024**3


@pytest.fixture
def repository(codex_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Clone a repository with a notebook in a nested folder, beside a file that is not part of it."""
    root = codex_home.parent / "repository"
    (root / ".git").mkdir(parents=True)
    (root / ".git" / "config").write_text(OUTSIDE)
    (root / ".env").write_text(OUTSIDE)
    (root / ".github").mkdir()
    (root / "a" / "b").mkdir(parents=True)
    (root / "shared").mkdir()
    for inside in ("a/b/CLAUDE.md", "shared/AGENTS.md", ".github/instructions.md"):
        (root / inside).write_text(INSIDE)
    (codex_home.parent / "outside").mkdir()
    (codex_home.parent / "outside" / "AGENTS.md").write_text(OUTSIDE)
    monkeypatch.setenv("JPY_SESSION_NAME", str(root / "a" / "b" / "notebook.ipynb"))
    return root


Make = Callable[[Path, Path], None]


def link_to(target: str) -> Make:
    """Link to a file of this machine, or of the repository if the name is relative to it."""
    return lambda file, root: file.symlink_to(root / target)


def folder_as_link(file: Path, root: Path) -> None:
    """Let the folder itself be a link out of the repository."""
    moved = file.parent.with_name("moved")
    file.parent.rename(moved)
    file.parent.symlink_to(root.parent / "outside")


def huge(file: Path, root: Path) -> None:
    """Make a file that occupies nothing and is 3 GB long."""
    del root
    with file.open("wb") as opened:
        opened.write(OUTSIDE.encode())
        opened.truncate(HUGE)


def unreadable(file: Path, root: Path) -> None:
    """Make a file that nobody but the administrator reads; for the administrator, a link to itself."""
    if os.geteuid() == 0:
        file.symlink_to(file)
        return
    file.write_text(OUTSIDE)
    file.chmod(0)


REFUSED: dict[str, Make] = {
    "a link to another file of the machine": link_to("/etc/passwd"),
    "a link to a neighbour of the repository": link_to("../outside/AGENTS.md"),
    "a link to the environment": link_to("/proc/self/environ"),
    "a link to a device": link_to("/dev/zero"),
    "a link to the kernel's log": link_to("/proc/kmsg"),
    "a link to git's own files": link_to(".git/config"),
    "a link to the repository's secrets": link_to(".env"),
    "a link to nothing": link_to("nothing.md"),
    "a pipe": lambda file, _: os.mkfifo(file),
    "3 GB": huge,
    "unreadable": unreadable,
    "binary": lambda file, _: (file.write_bytes(b"\0" + OUTSIDE.encode()), None)[1],
}
ALLOWED: dict[str, Make] = {
    "a plain file": lambda file, _: (file.write_text(INSIDE), None)[1],
    "a plain file with a byte order mark": lambda file, _: (file.write_text("\ufeff" + INSIDE), None)[1],
    "a link to a sibling": link_to("a/b/CLAUDE.md"),
    "a link to a file elsewhere in the repository": link_to("shared/AGENTS.md"),
    "a link to a Markdown file in a hidden folder": link_to(".github/instructions.md"),
}
PLACES = ("", "a/b")


def sent(sim: Simulator) -> list[str]:
    """Return which of the planted texts left this machine, headers included."""
    assert sim.requests.to("/responses", "POST")
    wire = "\n".join(
        f"{request.raw_body!r} {json.dumps(request.body)} {dict(request.headers)}" for request in sim.requests
    )
    return [planted for planted in (INSIDE, OUTSIDE, ENVIRONMENT, "root:x:0:0") if planted in wire]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["AGENTS.md", "AGENTS.override.md"])
@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_that_is_none_of_the_repositorys_texts_is_named_and_not_sent(
    notebook: Notebook, repository: Path, sim: Simulator, kind: str, name: str, place: str
) -> None:
    file = repository / place / name
    REFUSED[kind](file, repository)
    peak, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    shown = notebook.run("%codex context hello")
    ran = notebook.run("%codex hello")
    assert (shown.succeeded, ran.succeeded) == (True, True)
    assert sent(sim) == []
    assert f"{name} in {file.parent}" in ran.out
    assert f"{name} in {file.parent}" in shown.out
    assert time.monotonic() - begun < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 100_000  # kB


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ALLOWED)
def test_a_file_of_the_repository_is_sent_also_through_a_link(
    notebook: Notebook, repository: Path, sim: Simulator, kind: str, place: str
) -> None:
    ALLOWED[kind](repository / place / "AGENTS.md", repository)
    ran = notebook.run("%codex hello")
    assert ran.succeeded
    assert sent(sim) == [INSIDE]
    assert "\\ufeff" not in json.dumps([request.body for request in sim.requests])
    assert "AGENTS.md in" not in ran.out


def test_a_folder_that_is_a_link_out_of_the_repository_brings_nothing(
    notebook: Notebook, repository: Path, sim: Simulator
) -> None:
    folder_as_link(repository / "a" / "b" / "AGENTS.md", repository)
    ran = notebook.run("%codex hello")
    assert ran.succeeded
    assert sent(sim) == []
    assert f"AGENTS.md in {repository / 'a' / 'b'}" in ran.out


def test_the_users_own_instructions_may_be_a_link_to_anywhere(
    notebook: Notebook, repository: Path, codex_home: Path, sim: Simulator
) -> None:
    dotfiles = codex_home.parent / "dotfiles"
    dotfiles.mkdir()
    (dotfiles / "agents.md").write_text(INSIDE)
    (codex_home / "AGENTS.md").symlink_to(dotfiles / "agents.md")
    assert notebook.run("%codex hello").succeeded
    assert sent(sim) == [INSIDE]


def test_the_notice_before_the_first_question_names_the_instructions_that_are_sent(
    notebook: Notebook, repository: Path, codex_home: Path
) -> None:
    files = [
        repository / "AGENTS.md",
        repository / "a" / "b" / "AGENTS.override.md",
        codex_home / "AGENTS.md",
    ]
    for file in files:
        file.write_text(INSIDE)
    (codex_home / "codex_nb" / "first-use-told").unlink(missing_ok=True)
    first, second = notebook.run("%codex hello").out, notebook.run("%codex hello").out
    assert [file for file in files if str(file) in first.replace("\n", "")] == files
    assert not [file for file in files if str(file) in second]


def test_what_is_over_the_limit_is_named_and_the_rest_is_sent(
    notebook: Notebook, repository: Path, sim: Simulator
) -> None:
    (repository / "AGENTS.md").write_text(f"{INSIDE}\n" + "x" * 40_000 + OUTSIDE)
    ran = notebook.run("%codex hello")
    assert ran.succeeded
    assert sent(sim) == [INSIDE]
    assert f"AGENTS.md in {repository}" in ran.out


@pytest.mark.parametrize("target", ["/proc/self/environ", "/dev/zero", "pipe", "3 GB"])
@pytest.mark.parametrize("option", ["@file:{}.txt", "@file:{}.png", "--image {}.png"])
def test_a_mentioned_file_that_is_no_plain_one_is_named_and_waited_for_by_nobody(
    notebook: Notebook, repository: Path, sim: Simulator, option: str, target: str
) -> None:
    asked = option.format("mentioned")
    file = repository / "a" / "b" / asked.split(":")[-1].split()[-1]
    match target:
        case "pipe":
            os.mkfifo(file)
        case "3 GB":
            file.write_bytes(b"plain text " * 20_000)
            os.truncate(file, HUGE)
        case _:
            file.symlink_to(target)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ran = notebook.run(f"%codex {asked} hello")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 150_000  # kB
    if option.startswith("@"):
        assert sent(sim) == []
    if target != "3 GB" or not option.endswith("txt"):
        assert file.name in ran.out + ran.error
