"""What a conversation leaves on disk is listed, completed and deleted by its thread's name."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from IPython.core.completer import CompletionContext

from codex_nb.magics.extension import CodexMatcher
from codex_nb.session.thread import ThreadStore
from codex_nb.simulator import Simulator
from tests.magics.conftest import Notebook

MARKERS = ("planted-one", "planted-two", "planted-three")


@pytest.fixture
def asked(notebook: Notebook, codex_home: Path, monkeypatch: pytest.MonkeyPatch) -> Notebook:
    """Ask a question in the notebook's own thread, whose answer is saved, and in two other threads."""
    monkeypatch.setenv("JPY_SESSION_NAME", str(codex_home.parent / "My Notebook.ipynb"))
    for options, marker in zip(("", "-t other", "-t 'a b'"), MARKERS, strict=True):
        assert notebook.run(f"%%codex --no-context {options}\nWhat is {marker}?").succeeded
    return notebook


def left(codex_home: Path) -> list[str]:
    """Return which questions can be found in any file below CODEX_HOME."""
    content = b"\n".join(path.read_bytes() for path in codex_home.rglob("*") if path.is_file())
    return [marker for marker in MARKERS if marker.encode() in content]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def sits_before_it(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda answer: monkeypatch.setattr("sys.stdin", Terminal(f"{answer}\n"))


def test_deleting_a_thread_deletes_what_was_asked_and_answered_in_it(
    asked: Notebook, codex_home: Path
) -> None:
    assert left(codex_home) == list(MARKERS)
    ran = asked.run("%codex threads --delete other")
    assert (ran.succeeded, "other" in ran.out) == (True, True)
    assert left(codex_home) == [MARKERS[0], MARKERS[2]]
    assert asked.run("%codex threads --delete 'a b'").succeeded
    assert left(codex_home) == [MARKERS[0]]
    [own] = ThreadStore(codex_home / "codex_nb" / "threads").names()
    assert "1 saved answer" in asked.run(f"%codex threads --delete {own}").out
    assert left(codex_home) == []
    assert list((codex_home / "codex_nb" / "answers").iterdir()) == []


def test_deleting_all_leaves_nothing_of_any_conversation(asked: Notebook, codex_home: Path) -> None:
    folder = codex_home / "codex_nb"
    (folder / "threads" / "other-0123456789.unreadable").write_text(MARKERS[1])
    (folder / "threads" / ".other-x.codex_nb").write_text(MARKERS[1])
    (folder / "answers" / ".x.codex_nb").write_text(MARKERS[1])
    (codex_home / "kept.txt").write_text("not ours")
    assert asked.run("%codex threads --delete --all").succeeded
    assert left(codex_home) == []
    assert [path for each in ("threads", "answers") for path in (folder / each).iterdir()] == []
    assert (codex_home / "kept.txt").exists()
    assert (codex_home / "auth.json").exists()


FOREIGN = (
    "orders.jsonl",
    "orders.unreadable",
    "orders.json",
    ".orders",
    "notes.md",
    "other-12.jsonl",
    "0" * 63,
)


@pytest.mark.parametrize("folder", ["threads", "answers", "approved_code"])
@pytest.mark.parametrize(
    "line", ["%codex threads --delete --all", "%codex approvals --clear", "%%codex -t new\nWhy?"]
)
def test_nothing_else_is_deleted_where_a_folder_of_ours_leads(
    asked: Notebook, codex_home: Path, tmp_path: Path, folder: str, line: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for number in range(1_001):
        (data / f"{number}.jsonl").touch()
    for name in FOREIGN:
        (data / name).write_text("mine")
        os.utime(data / name, (0, 0))
    place = codex_home / "codex_nb" / folder
    place.mkdir(exist_ok=True)
    for own in place.iterdir():
        own.rename(data / own.name)
    place.rmdir()
    place.symlink_to(data)
    assert asked.run(line).succeeded
    assert [name for name in FOREIGN if not (data / name).exists()] == []
    assert len(list(data.glob("*[0-9].jsonl"))) >= 1_001
    assert place.is_symlink()
    if "--all" in line:
        assert left(codex_home) == []


NAMES = {
    "'x'": "\"'x'\"",
    '"x"': "'\"x\"'",
    "x'": "x'",
    "says 'x'": "says 'x'",
    "--all": "'--all'",
    "a*": "a*",
    "[ab]": "[ab]",
    "../up": "../up",
    "..": "'..'",
    "e\u0301": "e\u0301",
    "a\nb": "a b",
    "a\u202eb": "a⟦U+202E⟧b",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_thread_of_any_name_is_deleted_by_what_the_list_shows_and_no_other(
    notebook: Notebook, codex_home: Path, name: str
) -> None:
    others = ["x", "a", "b", "\u00e9", "all", "says 'x", "ab"]
    notebook.namespace["names"] = [name, *others]
    assert notebook.run("import codex_nb\nfor each in names: codex_nb.ask('Why?', thread=each)").succeeded
    assert notebook.run(f"%codex threads --delete {NAMES[name]}").succeeded
    assert set(ThreadStore(codex_home / "codex_nb" / "threads").names()) == set(others)


def test_a_deleted_thread_begins_anew(asked: Notebook, sim: Simulator) -> None:
    asked.run("%codex threads --delete other")
    asked.run("%%codex --no-context -t other\nAnd now?")
    assert MARKERS[1] not in str(sim.requests.to("/responses")[-1].body)
    asked.run("%%codex --no-context -t 'a b'\nAnd now?")
    assert MARKERS[2] in str(sim.requests.to("/responses")[-1].body)


def test_a_thread_is_forgotten_by_all_profiles_of_its_home(
    notebook: Notebook, codex_home: Path, sim: Simulator
) -> None:
    settings = (codex_home / "config.toml").read_text()
    (codex_home / "second.config.toml").write_text(f'model_reasoning_effort = "low"\n{settings}')
    for options in ("", "--profile second"):
        assert notebook.run(f"%%codex --no-context -t other {options}\nWhat is {MARKERS[1]}?").succeeded
    assert notebook.run("%codex threads --delete other").succeeded
    for options in ("--profile second", ""):
        assert notebook.run(f"%%codex --no-context -t other {options}\nAnd later?").succeeded
        assert MARKERS[1] not in str(sim.requests.to("/responses")[-1].body)


@pytest.mark.parametrize("answer", ["n", "", "\x04", "no", "maybe"])
@pytest.mark.parametrize("line", ["--delete other", "--delete --all"])
def test_who_is_asked_and_does_not_agree_keeps_everything(
    asked: Notebook, codex_home: Path, monkeypatch: pytest.MonkeyPatch, line: str, answer: str
) -> None:
    sits_before_it(monkeypatch)(answer)
    ran = asked.run(f"%codex threads {line}")
    assert "Not deleted" in ran.out
    assert left(codex_home) == list(MARKERS)


def test_who_agrees_deletes(asked: Notebook, codex_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sits_before_it(monkeypatch)("y")
    assert asked.run("%codex threads --delete --all").succeeded
    assert left(codex_home) == []


@pytest.mark.parametrize("line", ["--delete", "--delete nothing", "--delete  ", "--remove other", "--all"])
def test_what_cannot_be_deleted_is_said_in_one_line(asked: Notebook, codex_home: Path, line: str) -> None:
    ran = asked.run(f"%codex threads {line}")
    assert not ran.succeeded
    assert ran.error.startswith("UsageError: %codex threads")
    assert left(codex_home) == list(MARKERS)


def test_the_command_and_the_names_are_completed(asked: Notebook) -> None:
    matcher = CodexMatcher(
        asked.shell, lambda: asked.shell.magics_manager.registry["CodexMagics"].session
    ).matcher()

    def completed(line: str) -> set[str]:
        context = CompletionContext(
            token="", full_text=line, cursor_position=len(line), cursor_line=0, limit=None
        )
        return {each.text for each in matcher(context)["completions"]}

    assert "--delete" in completed("%codex threads ")
    assert {"other", "--all"} <= completed("%codex threads --delete ")
    assert completed("%codex threads --delete o") == {"other"}
    assert completed("%%codex -t oth") == {"other"}
