"""What tells of a skipped cell is taken out of any text that quotes it, and nothing else is."""

from __future__ import annotations

import json
import sys

import pytest

from codex_nb.tools.hiding import FRAME_LEFT_OUT, LINE_LEFT_OUT, Hidden, hidden_in
from codex_nb.tools.nbmodel import Cell, NotebookSnapshot, Run

SKIPPED = Cell(
    "code", '# codex-skip\nsecret = load("the patients")\ndef f(x):\n    return x[secret]\n    # 1\n)'
)
SEEN = Cell("code", "f(rows)\nreturn_value = 1\n    return x")
NOTEBOOK = NotebookSnapshot("document", (SKIPPED, SEEN))


def told(text: str, *runs: Run) -> str:
    return hidden_in(NOTEBOOK, runs or None).text(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nothing of it\n\n42\n)", "nothing of it\n\n42\n)"),
        ('a\n  secret =  load("the patients")\nb', f"a\n{LINE_LEFT_OUT}\nb"),
        ("\x1b[31m----> 4     \x1b[0mreturn\x1b[32m x[secret]\x1b[0m", LINE_LEFT_OUT),
        ("│ ❱ 4 │   return x[secret]      │", LINE_LEFT_OUT),
        ("return x", "return x"),
        (
            ("Cell In[2], line 1\n----> 1 f(rows)\n\nCell In[1], line 4, in f(x)\n      3 def f(x):\n"
            "----> 4     return x[secret]\n\nKeyError: 'x'"),
            f"Cell In[2], line 1\n----> 1 f(rows)\n\n{FRAME_LEFT_OUT}\n\nKeyError: 'x'",
        ),
        (
            ('Traceback (most recent call last):\n  File "<ipython-input-2>", line 1, in <module>\n    f(rows)\n'
            '  File "<ipython-input-1>", line 4, in f\n    return x[secret]\n           ~^^^^^^^^\nKeyError: 1'),
            ('Traceback (most recent call last):\n  File "<ipython-input-2>", line 1, in <module>\n    f(rows)\n'
            f"{FRAME_LEFT_OUT}\nKeyError: 1"),
        ),
        (
            ('  | Traceback (most recent call last):\n  |   File "<ipython-input-1>", line 4, in f\n'
            "  |     return x[secret]\n  | KeyError: 1"),
            f"  | Traceback (most recent call last):\n{FRAME_LEFT_OUT}\n  | KeyError: 1",
        ),
        (
            ("Cell In[2], line 1, in run(rows='of secret')\n----> 1 f(rows)\n        secret =    a\n0  1\n"
            "        rows = [1]"),
            "Cell In[2], line 1, in run\n----> 1 f(rows)",
        ),
        (
            "secret = load(\n… [1,000 characters left out] …\nx[secret]\nend",
            f"{LINE_LEFT_OUT}\n… [1,000 characters left out] …\n{LINE_LEFT_OUT}\nend",
        ),
        ("File list:\n  a.txt\n  b.txt", "File list:\n  a.txt\n  b.txt"),
        (
            "['Traceback:\\n', '  File \"a\", line 4, in f\\n    return x[secret]\\n', 'KeyError: 1\\n']\nend",
            f"{LINE_LEFT_OUT}\nend",
        ),
        ("['# codex-skip\\nsecret = load(\"the patients\")\\ndef f(x):']", LINE_LEFT_OUT),
        ("['a', 'b\\nc']", "['a', 'b\\nc']"),
        (
            ("╭──── Traceback ────╮\n│ in f:4            │\n│ ❱ 4 return x[secret]  │\n╰────────╯\nKeyError: 1\n"
            "╭──── Traceback ────╮\n│ in run:1          │\n│ ╭─── locals ────╮ │\n│ │ rows = [1]    │ │\n"
            "│ ╰───────────────╯ │\n╰───────────────────╯\nKeyError: 2\n╭──╮\n│ a│\n╰──╯"),
            f"{FRAME_LEFT_OUT}\nKeyError: 1\n{FRAME_LEFT_OUT}\nKeyError: 2\n╭──╮\n│ a│\n╰──╯",
        ),
    ],
)  # fmt: skip
def test_lines_of_a_skipped_cell_are_left_out_of_a_text(text: str, expected: str) -> None:
    assert told(text) == expected
    assert Hidden().text(text) == text


def test_the_lines_of_each_version_that_ran_are_left_out_and_those_of_cells_that_are_sent_are_not() -> None:
    older = Run(Cell("code", "# codex-skip\n!ls {old_folder}\nf(rows)", "one"))
    assert told("x\nget_ipython().system('ls {old_folder}')", older) == f"x\n{LINE_LEFT_OUT}"
    assert told("----> 3 f(rows)", older) == "----> 3 f(rows)"


@pytest.mark.parametrize("around", ["", "größe 数据 🎲\n" * 300, "file not found\n"])
@pytest.mark.parametrize("code", ['name = "it\'s mine"', "x = 1", "print('a', \"b\")", "größe = 'ä'"])
def test_a_line_is_found_in_a_text_of_any_kind_also_in_a_representation(code: str, around: str) -> None:
    run = Run(Cell("code", f"# codex-skip\n{code}", "one"))
    assert told(f"{around}{code}", run) == f"{around}{LINE_LEFT_OUT}"
    written = [f"first\n{code}\nmore"]
    assert told(f"{around}{written}", run) == f"{around}{LINE_LEFT_OUT}"
    assert told(f"{around}{code} + 1", run) == f"{around}{code} + 1"


@pytest.mark.parametrize(
    ("kind", "output"),
    [
        ("stream", {"output_type": "stream", "name": "stderr", "text": ["a\n", "return x[secret]\n"]}),
        ("error", {"output_type": "error", "ename": "E", "evalue": "e", "traceback": ["a", "return x[secret]"]}),
        ("data", {"output_type": "display_data", "data": {"text/plain": "return x[secret]", "image/png": "a"}}),
    ],
)  # fmt: skip
def test_every_kind_of_output_is_searched(kind: str, output: dict[str, object]) -> None:
    del kind
    (cleaned,) = hidden_in(NOTEBOOK).outputs([output])
    assert "secret" not in str(cleaned)
    assert LINE_LEFT_OUT in str(cleaned)
    assert cleaned.keys() == output.keys()
    assert Hidden().outputs([output]) == (output,)


def test_a_cell_is_skipped_by_its_mark_by_its_id_or_where_it_has_none_by_its_text() -> None:
    cells = (
        Cell("code", "a = 1", "one", tags=frozenset({"codex-skip"})),
        Cell("markdown", "<!-- codex-skip -->\nprose", "two"),
        Cell("code", "b = 1", "three"),
    )
    hidden = hidden_in(NotebookSnapshot("document", cells))
    asked = [*cells, Cell("code", "edited", "one"), Cell("code", "a = 1\n"), Cell("code", "a = 1", "four")]
    assert [hidden.skips(cell) for cell in asked] == [True, True, False, True, True, False]
    assert hidden.names == {"a"}


@pytest.mark.parametrize("word", ["codex-skip", "codex_skip", "CODEX-SKIP", "Codex-Skip: private"])
@pytest.mark.parametrize("start", ["#", "# ", "  ## ", "%%sql\n-- ", "// ", "<!-- "])
def test_the_mark_is_known_in_each_language_and_spelling(start: str, word: str) -> None:
    source = f"{start}{word}\nsecret"
    assert hidden_in(NotebookSnapshot("document", (Cell("code", source),))).skips(Cell("code", source))
    assert "secret" not in Hidden().notebook(json.dumps({"cells": [{"cell_type": "code", "source": source}]}))


def test_nothing_is_hidden_where_nothing_is_marked() -> None:
    hidden = hidden_in(NotebookSnapshot("document", (SEEN, Cell("code", "'not # codex-skip'"))))
    assert hidden == Hidden()
    assert hidden.visible({"_": 1}) == {"_": 1}


def test_lines_are_looked_for_without_going_through_a_large_output_again_and_again() -> None:
    hidden, text = hidden_in(NOTEBOOK), "\n".join(f"line {number}" for number in range(20_000))
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        assert hidden.text(text) == text
    finally:
        sys.setprofile(None)
    assert calls < 20_000 * 30
