"""A complete answer is never lost to what comes after it: copying, storing, drawing, binding."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, PrivateAttr

import codex_nb
from codex_nb.simulator import Call, End, Reply, Say, Simulator
from tests.magics.conftest import Notebook

SIX = Reply(stream=(Say('{"sides": 6}'), End()))


class Die(BaseModel):
    """A value that cannot be copied."""

    sides: int
    _lock: Any = PrivateAttr(default_factory=threading.Lock)


@dataclass
class Handle:
    """A value that holds something that cannot be copied, pickled or written as JSON."""

    sides: int
    lock: Any = field(default_factory=threading.Lock, init=False)


class Watched(BaseModel):
    """A value that tells when its own code is run to copy or save it."""

    sides: int

    def __deepcopy__(self, memo: object = None) -> Watched:
        raise AssertionError("the user's own code was run")

    __copy__ = __reduce__ = __deepcopy__  # type: ignore[assignment]  # each must not be run


@pytest.mark.parametrize("schema", [Die, Handle, Watched])
def test_a_value_that_cannot_be_copied_is_bound_and_shown(
    notebook: Notebook, sim: Simulator, schema: type
) -> None:
    sim.add_replies(SIX)
    notebook.namespace["Schema"] = schema
    ran = notebook.run("%%codex -o x --schema Schema\nHow many sides has a die?")
    assert ran.succeeded
    assert schema.__name__ in ran.out
    assert (type(notebook.namespace["x"]), notebook.namespace["x"].sides) == (schema, 6)
    assert notebook.namespace["_codex"].parsed is notebook.namespace["x"]


def stored_answers(codex_home: Path) -> None:
    """Let no answer be stored."""
    (codex_home / "codex_nb").mkdir()
    (codex_home / "codex_nb" / "answers").write_text("in the way")


def threads(codex_home: Path) -> None:
    """Let no thread be saved."""
    (codex_home / "codex_nb").mkdir()
    (codex_home / "codex_nb" / "threads").write_text("in the way")


@pytest.mark.parametrize("obstruct", [stored_answers, threads])
def test_an_answer_that_cannot_be_saved_is_bound_and_shown(
    notebook: Notebook, codex_home: Path, obstruct: Callable[[Path], None]
) -> None:
    obstruct(codex_home)
    ran = notebook.run("%%codex -o answer -t named\nhello")
    assert ran.succeeded
    assert "comes from the codex_nb simulator" in ran.out
    assert notebook.namespace["answer"] is notebook.namespace["_codex"]


class Ascii(io.TextIOWrapper):
    """A terminal that knows no letter beyond ASCII."""

    def __init__(self, *, is_terminal: bool = False) -> None:
        self.bytes = io.BytesIO()
        self.is_terminal = is_terminal
        super().__init__(self.bytes, encoding="ascii", write_through=True)

    def isatty(self) -> bool:
        return self.is_terminal


@pytest.mark.parametrize("is_terminal", [False, True])
@pytest.mark.parametrize("background", ["", "--background "])
def test_an_answer_that_the_terminal_cannot_write_is_bound_and_shown_as_far_as_it_can(
    notebook: Notebook, sim: Simulator, monkeypatch: pytest.MonkeyPatch, background: str, is_terminal: bool
) -> None:
    sim.add_replies(Reply(stream=(Say("Ein Würfel hat sechs Seiten."), End())))
    terminal = Ascii(is_terminal=is_terminal)
    monkeypatch.setattr(sys, "stdout", terminal)
    notebook.shell.run_cell(f"%%codex {background}-o answer\nWie viele Seiten hat ein Würfel?")
    for _ in range(200):
        if "answer" in notebook.namespace:
            break
        threading.Event().wait(0.05)
    monkeypatch.undo()
    assert notebook.namespace["answer"].text == "Ein Würfel hat sechs Seiten."
    assert notebook.namespace["_codex"] is notebook.namespace["answer"]
    assert "rfel hat sechs Seiten." in terminal.bytes.getvalue().decode()


@pytest.mark.parametrize("fails_at", [1, 2])
def test_an_answer_that_the_front_end_cannot_draw_is_bound_and_written(
    notebook: Notebook, sim: Simulator, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    sim.add_replies(Reply(stream=(Say("Six. " * 200), End())))
    publish, calls = notebook.shell.display_pub.publish, []

    def failing(*arguments: Any, **named: Any) -> None:
        calls.append(named)
        if len(calls) >= fails_at:
            raise RuntimeError("the front end is gone")
        publish(*arguments, **named)

    monkeypatch.setattr(notebook.shell.display_pub, "publish", failing)
    notebook.run("%config CodexMagics.display = 'html'")
    ran = notebook.run("%%codex -o answer\nHow many sides has a die?")
    assert len(calls) >= fails_at
    assert ran.succeeded
    assert notebook.namespace["answer"].text == "Six. " * 200
    assert "Six. Six." in ran.out


def test_a_call_that_cannot_be_shown_is_not_run(
    notebook: Notebook, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Call("run_python", {"code": "ran = True"})
    sim.add_replies(
        Reply(stream=(Say("I look."), call, End())), Reply(stream=(Say("Then I leave it."), End()))
    )

    def failing(*_arguments: Any, **_named: Any) -> None:
        raise RuntimeError("the front end is gone")

    monkeypatch.setattr(notebook.shell.display_pub, "publish", failing)
    notebook.run("%config CodexMagics.display = 'html'")
    ran = notebook.run("%%codex\nLook.")
    assert "Then I leave it." in ran.out
    assert notebook.namespace["_codex"].text == "Then I leave it."
    assert "ran" not in notebook.namespace


def test_a_preview_that_cannot_be_drawn_is_no_silence(
    notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_arguments: Any, **_named: Any) -> None:
        raise RuntimeError("the front end is gone")

    monkeypatch.setattr(notebook.shell.display_pub, "publish", failing)
    notebook.run("%config CodexMagics.display = 'html'")
    assert "the front end is gone" in str(notebook.run("%codex context").failure)


@pytest.mark.usefixtures("codex_home")
def test_many_answers_are_not_lost_to_the_line_about_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Ascii(is_terminal=True))
    answers = codex_nb.map(["one", "two"])
    monkeypatch.undo()
    assert [answer.status for answer in answers] == ["completed", "completed"]
