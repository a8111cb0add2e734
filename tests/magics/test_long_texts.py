"""Texts that are made to hang whoever reads them: every question in a notebook that holds one ends all the same."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from codex_nb.simulator import Call, End, Reply, Say, Simulator
from tests.magics.conftest import Notebook
from tests.sent import context_of

SIZE = 300_000
CPU_S = 10.0  # a quadratic search of so many characters takes minutes


def repeated(piece: str) -> str:
    return piece * (SIZE // len(piece))


# What is repeated, or one beginning and a long run after it.
TEXTS = {
    "blank lines": repeated("\n"),
    "lines of spaces": repeated("   \n"),
    "spaces": "#" + repeated(" ") + "x",
    "number signs": repeated("#"),
    "hyphens": repeated("-"),
    "equals signs": repeated("="),
    "double quotes": repeated('"'),
    "single quotes": repeated("'"),
    "mixed quotes": repeated("\"'"),
    "escaped quotes": repeated('\\"'),
    "backslashes": repeated("\\"),
    "brackets": repeated("token=["),
    "braces": repeated("{'token':"),
    "short assignments": repeated("a="),
    "secret assignments": repeated("token="),
    "assignments that open a quote": repeated('token="'),
    "assignments of many values": repeated("token='abc1234567x' "),
    "different values": " ".join(f"token='abc{n}x{n}'" for n in range(SIZE // 25)),
    "commas": repeated("token,"),
    "names with underscores": repeated("a_"),
    "a name of secret words": repeated("TOKEN"),
    "exported names": repeated("export TOKEN"),
    "spaces after a name": "token" + repeated(" ") + "x",
    "an unended annotation": "token: " + repeated("a"),
    "OpenAI keys that never end": repeated("sk-"),
    "web tokens that never begin": repeated("eyJ."),
    "web tokens that never end": repeated("eyJ"),
    "private keys that never end": repeated("-----BEGIN "),
    "ends of private keys": "-----BEGIN PRIVATE KEY-----" + repeated("-----END A"),
    "bearers": repeated("bearer "),
    "a bearer of spaces": "bearer" + repeated(" ") + "x",
    "addresses": repeated("://a:"),
    "digits": repeated("1"),
    "groups of digits": repeated("1."),
    "long lines that end in a carriage return": repeated("a") + "\r",
    "carriage returns": repeated("\r"),
    "escape sequences": repeated("\x1b["),
    "operating system commands": repeated("\x1b]"),
    "signs of less": repeated("<"),
    "a sign of less and spaces": "<" + repeated(" ") + "x",
    "marks of what was left out": repeated("\n… [1 characters left out] …\n"),
    "numbers of what was left out": "\n… [" + repeated("9") + " characters left out] …\n",
    "commas of what was left out": "\n… [,,, characters left out] …\n" * 1000,
    "mentions of files": repeated('@file:"'),
    "mentions": repeated("@"),
    "runs of base64": repeated("abcdefgh1234ABCDEFGH5678 "),
    "one run of hexadecimal digits": repeated("a1"),
}  # fmt: skip


def cell(kind: str, source: str, *outputs: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"cell_type": kind, "metadata": {}, "source": source}
    return made | ({"outputs": list(outputs), "execution_count": 1} if kind == "code" else {})


def save(codex_home: Path, text: str) -> None:
    """Write the notebook that somebody sent: the text stands wherever one can stand."""
    shown = {"data": {"text/plain": text}, "metadata": {}}
    cells = [
        cell("markdown", text),
        cell("code", text),
        cell("code", f"x = 1\n{text}"),
        cell(
            "code",
            "show()",
            {"output_type": "stream", "name": "stdout", "text": text},
            {"output_type": "display_data", **shown},
            {"output_type": "error", "ename": "ValueError", "evalue": text, "traceback": [text]},
        ),
        cell("code", "%%codex\nWhat was that?", {"output_type": "display_data", **shown}),
        cell("code", "last_word = 'told'"),
    ]
    written = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (codex_home.parent / "sent.ipynb").write_text(json.dumps(written))


@pytest.mark.parametrize("kind", TEXTS)
def test_a_long_text_in_a_notebook_holds_no_question_up(
    notebook: Notebook, codex_home: Path, sim: Simulator, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    text = TEXTS[kind]
    save(codex_home, text)
    (codex_home.parent / "long.txt").write_text(text)
    (codex_home / "AGENTS.md").write_text(text)
    monkeypatch.setenv("JPY_SESSION_NAME", str(codex_home.parent / "sent.ipynb"))
    notebook.namespace["long"] = text
    looks = [
        Call("inspect", {"names": ["long"]}, call_id="call_1"),
        Call("read_file", {"path": "long.txt"}, call_id="call_2"),
        Call("run_python", {"code": "print(long)"}, call_id="call_3"),
    ]
    sim.add_replies(Reply(stream=(*looks, End())), Reply(stream=(Say("Done."), End())))
    began = time.process_time()
    assert notebook.run("%codex context What is @long, @cell:2 and @file:long.txt?").succeeded
    assert notebook.run("%%codex --approval all\nWhat is @long, @cell:2 and @file:long.txt?").succeeded
    assert time.process_time() - began < CPU_S
    assert "last_word = 'told'" in context_of(sim.requests.to("/responses", "POST")[0])


@pytest.mark.parametrize("kind", TEXTS)
def test_a_long_text_as_a_question_is_sent(notebook: Notebook, sim: Simulator, kind: str) -> None:
    notebook.namespace["text"] = f"What is this? {TEXTS[kind]}"
    sim.add_replies(Reply(stream=(Say("Done."), End())))
    began = time.process_time()
    assert notebook.run("import codex_nb\nanswer = codex_nb.ask(text)").succeeded
    assert time.process_time() - began < CPU_S
    assert len(sim.requests.to("/responses", "POST")) == 1
