"""What servers and files say is only ever read in a terminal: nothing of it moves, hides or acts there."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest

from codex_nb.simulator import ADA, End, Reply, Say, Simulator, model_entry
from tests.magics.conftest import Cell, Notebook

HOSTILE = {
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "window title": "\x1b]0;pwned\x07",
    "clear the screen": "\x1b[2J\x1b[H",
    "link": "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "device control": "\x1bP$q\x1b\\",
    "C1 sequence": "\x9b31m",
    "C1 string": "\x9d0;pwned\x9c",
    "backspaces": "no\x08\x08yes",
    "carriage return": "evil\rsafe",
    "bell and null": "\x07\x00",
    "delete": "\x7f",
    "right to left": "\u202egnp.exe\u202c",
    "isolates": "\u2066x\u2069\u2067y\u2069",
    "marks": "\u200e\u200f\u061c",
    "separators": "a\u2028b\u2029c\x85d",
    "unseen": "a\u200bb\u2060c\ufeffd",
}
every_name = pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)


def acting(cell: Cell) -> list[str]:
    """Return the characters that a terminal acts on, or that turn or hide text, of what a cell wrote."""
    return [
        f"U+{ord(one):04X}"
        for one in cell.out + cell.error
        if unicodedata.category(one) in {"Cc", "Cf", "Zl", "Zp"} and one not in "\n\t"
    ]


@every_name
def test_the_names_of_models(notebook: Notebook, sim: Simulator, hostile: str) -> None:
    entry = model_entry(f"model{hostile}", f"Model {hostile}", 0, is_lite=False)
    entry |= {"description": hostile, "supported_reasoning_levels": [{"effort": f"low{hostile}"}]}
    sim.state.catalog.entries.insert(0, entry)
    listed = notebook.run("%codex models")
    assert ("Model " in listed.out, acting(listed)) == (True, [])
    for line in ("%codex model modal", "%codex hello", "%codex status", "%codex config"):
        assert acting(notebook.run(line)) == []


@every_name
def test_the_account_and_its_plan(notebook: Notebook, sim: Simulator, codex_home: Path, hostile: str) -> None:
    sim.write_login(codex_home, replace(ADA, email=f"ada{hostile}@example.com", plan=f"plus{hostile}"))
    notebook.run("%config CodexMagics.footer = 'account'")
    cells = [
        notebook.run(line) for line in ("%codex status", "%codex hello", "%codex usage", "%codex logout")
    ]
    assert [acting(cell) for cell in cells] == [[], [], [], []]
    assert [("ada" in cell.out, "plus" in cell.out.lower()) for cell in (cells[0], cells[1])] == [
        (True, True),
        (True, True),
    ]
    assert "ada" in cells[3].out


@every_name
def test_the_names_of_threads(notebook: Notebook, hostile: str) -> None:
    notebook.shell.user_ns["line"] = f"--thread thread{hostile}"
    shown = [
        notebook.run("get_ipython().run_cell_magic('codex', line.replace(' ', ' \"', 1) + '\"', 'hello')"),
        notebook.run("get_ipython().run_line_magic('codex', 'thread ' + line[9:])"),
        *map(notebook.run, ("%codex threads", "%codex config", "%codex new")),
    ]
    assert [acting(cell) for cell in shown] == [[]] * 5


@every_name
def test_the_name_of_a_provider(notebook: Notebook, sim: Simulator, codex_home: Path, hostile: str) -> None:
    quoted = "".join(f"\\U{ord(one):08X}" for one in hostile)
    table = (
        f'[model_providers.own]\nname = "Own {quoted}"\nbase_url = "{sim.base_url}/v1"\nenv_key = "OWN_KEY"\n'
    )
    (codex_home / "config.toml").write_text(f'model_provider = "own"\nmodel = "x"\n{table}')
    shown = [
        notebook.run(line) for line in ("%codex hello", "%codex models", "%codex status", "%codex config")
    ]
    assert [acting(cell) for cell in shown] == [[]] * 4
    assert "Own" in shown[0].out + shown[0].error


@every_name
def test_why_a_server_refuses(notebook: Notebook, sim: Simulator, hostile: str) -> None:
    error = {"message": f"It says {hostile} so.", "code": f"code{hostile}", "type": hostile}
    sim.add_replies(Reply(status=400, body={"error": error}))
    refused = notebook.run("%codex hello")
    assert ("It says" in refused.out + refused.error, acting(refused)) == (True, [])


@every_name
def test_the_answer_itself(notebook: Notebook, sim: Simulator, hostile: str) -> None:
    sim.add_replies(Reply(stream=(Say(f"An answer{hostile}."), End())))
    asked = notebook.run("%codex hello")
    again = notebook.run("_codex")
    assert ("An answer" in asked.out, "An answer" in again.out) == (True, True)
    assert (acting(asked), acting(again)) == ([], [])


def test_what_is_written_in_any_script_stays_as_it_is(notebook: Notebook, sim: Simulator) -> None:
    text = "Größe 大きさ мера μέγεθος مقاس גודל 🧑‍🚀 naïve"
    sim.add_replies(Reply(stream=(Say(text), End())))
    assert text in notebook.run("%codex hello").out
    assert text in notebook.run("_codex").out
