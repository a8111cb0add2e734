"""The notebook comes from the open document, else its file, else what the kernel ran; always the best that answers."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from codex_nb.host.notebook import OutputRecorder, cells_of, read_notebook
from codex_nb.host.shell import FrontEnd, front_end
from codex_nb.tools.nbmodel import Cell, NotebookSnapshot
from tests.host.shells import run


class Document:
    """A front-end half with a fixed reply."""

    def __init__(self, reply: dict[str, Any] | None) -> None:
        self.reply = reply
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def ask(self, op: str, payload: dict[str, Any], timeout: float) -> dict[str, Any] | None:
        self.asked.append((op, payload))
        return self.reply


def code(cell_id: str, source: str, **more: Any) -> dict[str, Any]:
    return {"cell_type": "code", "id": cell_id, "source": source, "metadata": {}, "outputs": [], **more}


NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {},
    "cells": [
        {"cell_type": "markdown", "id": "title", "source": ["# A title\n", "and more"], "metadata": {}},
        code("load", "frame = load()", execution_count=1, metadata={"tags": ["codex-skip"]}),
        code("ask", "%%codex\nwhat is it?"),
    ],
}
CELLS = (
    Cell("markdown", "# A title\nand more", "title"),
    Cell("code", "frame = load()", "load", execution_count=1, tags=frozenset({"codex-skip"})),
    Cell("code", "%%codex\nwhat is it?", "ask"),
)


def asking_shell(cell_id: str | None = "ask", source: str = "%%codex\nwhat is it?", **variables: Any) -> Any:
    """Return what a shell in a kernel looks like to the notebook source while a cell runs."""
    request = {
        "header": {"msg_id": "request"},
        "metadata": {} if cell_id is None else {"cellId": cell_id},
        "content": {"code": source, "allow_stdin": True},
    }
    return SimpleNamespace(
        kernel=SimpleNamespace(get_parent=lambda channel: request),
        user_ns=variables,
        displayhook=SimpleNamespace(prompt_count=1),
        history_manager=SimpleNamespace(input_hist_raw=["", source], outputs={}),
    )


def test_the_open_document_is_asked_first() -> None:
    document = Document({"notebook": NOTEBOOK, "path": "folder/a.ipynb"})
    snapshot = read_notebook(asking_shell(), document, None, {})
    assert snapshot == NotebookSnapshot("document", CELLS, current=2, path="folder/a.ipynb")
    assert document.asked == [("read_document", {"cell_id": "ask", "limit": 4_000, "whole": []})]


def test_a_headless_run_is_not_asked() -> None:
    document = Document({"notebook": NOTEBOOK, "path": "a.ipynb"})
    snapshot = read_notebook(asking_shell(cell_id=None), document, None, {})
    assert (snapshot.origin, document.asked) == ("kernel", [])


@pytest.mark.parametrize("named_by", ["JPY_SESSION_NAME", "__vsc_ipynb_file__"])
@pytest.mark.parametrize("reply", [None, {}, {"notebook": "not a notebook"}])
def test_when_the_document_does_not_answer_the_file_is_read(
    tmp_path: Path, named_by: str, reply: dict[str, Any] | None
) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(NOTEBOOK))
    environ = {named_by: str(path)} if named_by == "JPY_SESSION_NAME" else {}
    variables = {} if environ else {named_by: str(path)}
    snapshot = read_notebook(asking_shell(**variables), Document(reply), None, environ)
    assert snapshot == NotebookSnapshot("file", CELLS, current=2, path=str(path))


def test_a_file_of_odd_but_readable_json_is_read(tmp_path: Path) -> None:
    """Half a surrogate pair, numbers that JSON has no words for: some program's output, cut in the middle."""
    path = tmp_path / "a.ipynb"
    path.write_text(
        json.dumps(NOTEBOOK)[:-1] + r', "metadata": {"half": "\ud83d", "numbers": [NaN, -Infinity]}}'
    )
    snapshot = read_notebook(asking_shell(), None, None, {"JPY_SESSION_NAME": str(path)})
    assert snapshot == NotebookSnapshot("file", CELLS, current=2, path=str(path))


DEEP = b'{"cells": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"cells": 3', b"\xff\xfe", DEEP], ids=range(6))
def test_a_file_that_is_no_notebook_is_passed_over(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.ipynb"
    path.write_bytes(content)
    snapshot = read_notebook(asking_shell(), None, None, {"JPY_SESSION_NAME": str(path)})
    expected = Cell("code", "%%codex\nwhat is it?", execution_count=1)
    assert snapshot == NotebookSnapshot("kernel", (expected,), current=0, path=str(path))


def test_a_notebook_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(path := tmp_path / "a.ipynb")
    snapshot = read_notebook(asking_shell(), None, None, {"JPY_SESSION_NAME": str(path)})
    assert (snapshot.origin, len(snapshot.cells)) == ("kernel", 1)


def test_a_session_that_is_no_notebook_file_has_no_path() -> None:
    snapshot = read_notebook(asking_shell(), None, None, {"JPY_SESSION_NAME": "/somewhere/console-1"})
    assert (snapshot.origin, snapshot.path) == ("kernel", None)


def test_cells_without_ids_are_found_by_their_text(tmp_path: Path) -> None:
    old = {"cells": [{**cell, "id": None} for cell in NOTEBOOK["cells"]]}
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(old))
    assert read_notebook(asking_shell(), None, None, {"JPY_SESSION_NAME": str(path)}).current == 2


@pytest.mark.parametrize(
    ("asked", "place"), [("%%codex\nwhat is it?", 2), ("%%codex\nand why?", 3), ("lost", 2)]
)
def test_of_cells_with_one_id_the_one_with_the_source_asks(tmp_path: Path, asked: str, place: int) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({**NOTEBOOK, "cells": [*NOTEBOOK["cells"], code("ask", "%%codex\nand why?")]}))
    shell = asking_shell(source=asked)
    assert read_notebook(shell, None, None, {"JPY_SESSION_NAME": str(path)}).current == place


def test_the_file_is_refreshed_by_what_ran_since_it_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(NOTEBOOK))
    outputs = ({"output_type": "stream", "name": "stdout", "text": "fresh"},)
    loaded = Cell("code", "frame = load(new)", "load", outputs, 7)
    added = Cell("code", "added = 1", "added", (), 8)
    asking = Cell("code", "%%codex\nwhat is it?", "ask", (), 9)
    recorder = SimpleNamespace(cells=lambda: (loaded, added, asking), first_count=1)
    snapshot = read_notebook(asking_shell(), None, recorder, {"JPY_SESSION_NAME": str(path)})
    refreshed = Cell("code", "frame = load(new)", "load", outputs, 7, frozenset({"codex-skip"}))
    assert snapshot == NotebookSnapshot(
        "file", (CELLS[0], refreshed, added, asking), current=3, path=str(path)
    )


def test_a_headless_run_shows_what_has_run_and_not_what_the_file_was_saved_with(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    saved = [{"output_type": "stream", "name": "stdout", "text": text} for text in ("old", "older")]
    title = {"cell_type": "markdown", "id": "title", "source": "# A title", "metadata": {}}
    cells = [
        *(title, code("one", "show()", outputs=saved[:1]), code("two", "show()", outputs=saved[1:])),
        *(
            code("ask", "%%codex\nwhat is it?"),
            code("below", "show()"),
            code("again", "%%codex\nwhat is it?"),
        ),
    ]
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}))
    fresh = [({"output_type": "stream", "name": "stdout", "text": text},) for text in ("1", "2")]
    ran = (
        *(Cell("code", "show()", None, outputs, count) for count, outputs in enumerate(fresh, 1)),
        *(Cell("code", "injected = 1", None, (), 3), Cell("code", "%%codex\nwhat is it?", None, (), 4)),
    )
    recorder = SimpleNamespace(cells=lambda: ran, first_count=1)
    snapshot = read_notebook(asking_shell(cell_id=None), None, recorder, {"JPY_SESSION_NAME": str(path)})
    assert snapshot.current == 4
    assert snapshot.cells == (
        Cell("markdown", "# A title", "title"),
        *(replace(ran[number], cell_id=name) for number, name in enumerate(("one", "two"))),
        ran[2],
        replace(ran[3], cell_id="ask"),
        *(Cell("code", "show()", "below"), Cell("code", "%%codex\nwhat is it?", "again")),
    )


def test_what_is_malformed_in_a_notebook_is_left_out() -> None:
    odd = {
        "cells": [
            7,
            {"cell_type": "code", "source": 3, "outputs": "none", "metadata": {"tags": [1, "a"]}},
            {},
            {"cell_type": ["code"], "source": ["a", 7, "b"], "id": {}},
        ]
    }
    odd_cell = Cell("code", "", tags=frozenset({"a"}))
    assert cells_of(odd) == (odd_cell, Cell("raw", ""), Cell("raw", "ab"))
    assert cells_of({"cells": None}) == ()


def test_the_front_end_is_known_by_what_the_cell_came_with(shell: InteractiveShell) -> None:
    assert front_end(asking_shell()) == FrontEnd(has_kernel=True, cell_id="ask", allows_input=True)
    assert front_end(asking_shell()).may_have_widgets
    assert not front_end(asking_shell(cell_id=None)).may_have_widgets
    assert front_end(shell).has_kernel is False


def test_in_a_terminal_the_history_is_the_notebook(shell: InteractiveShell) -> None:
    run(shell, "a = 1")
    recorder = OutputRecorder(shell)
    recorder.start()
    run(shell, "a + 1")
    run(shell, "a / 0")
    read: list[NotebookSnapshot] = []
    shell.user_ns["read"] = lambda: read.append(read_notebook(shell, None, recorder, {}))
    run(shell, "read()")
    recorder.stop()
    run(shell, "'not recorded'")
    [snapshot] = read
    error = {"output_type": "error", "ename": "ZeroDivisionError", "traceback": []}
    error["evalue"] = "ZeroDivisionError: division by zero"
    result = {
        "output_type": "execute_result",
        "data": {"text/plain": "2"},
        "metadata": {},
        "execution_count": 2,
    }
    assert snapshot == NotebookSnapshot(
        "kernel",
        (
            Cell("code", "a = 1", execution_count=1),
            Cell("code", "a + 1", outputs=(result,), execution_count=2),
            Cell("code", "a / 0", outputs=(error,), execution_count=3),
            Cell("code", "read()", execution_count=4),
        ),
        current=3,
    )
    assert [cell.source for cell in recorder.cells()] == ["a + 1", "a / 0", "read()"]


def test_a_result_that_came_after_a_cell_was_read_is_read_the_next_time(shell: InteractiveShell) -> None:
    recorder = OutputRecorder(shell)
    recorder.start()
    read: list[NotebookSnapshot] = []
    shell.user_ns["read"] = lambda: read.append(read_notebook(shell, None, recorder, {}))
    run(shell, "read() or 7")
    run(shell, "read()")
    recorder.stop()
    outputs = [[each["data"] for each in snapshot.cells[0].outputs] for snapshot in read]
    assert outputs == [[], [{"text/plain": "7"}]]
