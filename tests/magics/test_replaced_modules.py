"""Whatever the notebook puts in the place of parts of Python, the next question gives an answer or one clear line."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from codex_nb.errors import CodexError
from codex_nb.simulator import End, Reply, Say, Simulator
from tests.magics.conftest import Notebook
from tests.magics.front_end import front_end

BLOCKED = {
    "sockets": (socket, "socketpair"),
    "threads": (threading.Thread, "start"),
    "signals": (signal, "signal"),
    "what reads signals": (signal, "getsignal"),
    "the time": (time, "time"),
    "random bytes": (os, "urandom"),
}


@pytest.mark.parametrize("blocked", BLOCKED.values(), ids=BLOCKED)
def test_what_the_notebook_has_blocked_is_said_in_one_line_without_our_variables(
    notebook: Notebook, monkeypatch: pytest.MonkeyPatch, blocked: tuple[object, str]
) -> None:
    def block(*_args: object, **_more: object) -> None:
        raise RuntimeError("blocked by this notebook")

    assert notebook.run("%xmode Verbose").succeeded
    with monkeypatch.context() as patch:
        patch.setattr(*blocked, block)
        asked = notebook.run("%%codex\nWho are you?")
    assert isinstance(asked.failure, CodexError)
    lines = [line for line in asked.shown.splitlines() if line]
    assert "blocked by this notebook" in lines[-1]
    assert not any("site-packages" in line or "token" in line for line in lines)
    assert notebook.run("%%codex\nWho are you?").succeeded


def test_what_the_notebook_has_blocked_tells_no_secret(
    notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def block(*_args: object, **_more: object) -> None:
        raise RuntimeError("refused: password = 'h1dden-4711-value'")

    with monkeypatch.context() as patch:
        patch.setattr(os, "urandom", block)
        asked = notebook.run("%%codex\nWho are you?")
    assert "refused" in asked.shown
    assert "h1dden-4711-value" not in asked.shown


def test_a_clock_that_stands_still_keeps_no_question_waiting(
    notebook: Notebook, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim.add_replies(Reply(stream=(Say("It is 42."), End())))
    with front_end(notebook, sim) as page, monkeypatch.context() as patch:
        page.say = lambda *_: None  # type: ignore[method-assign]  # nothing in the page ever answers
        for name in ("monotonic", "perf_counter", "time"):
            patch.setattr(time, name, lambda: 1.0)
        assert notebook.run("%%codex -o answer\nHow many?", cell_id="asking").succeeded
    assert notebook.namespace["answer"].text == "It is 42."


def test_an_input_that_code_has_deleted_is_not_needed(
    notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.delattr(sys, "stdin")
        assert notebook.run("%%codex\nWho are you?").succeeded


def test_a_folder_that_was_deleted_keeps_no_question_from_its_answer(
    notebook: Notebook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    with monkeypatch.context() as patch:
        patch.chdir(gone)
        gone.rmdir()
        assert notebook.run("%%codex\nWho are you?").succeeded
