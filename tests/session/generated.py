"""Notebooks as people leave them: generated from a number, of every kind of cell, output and variable."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from codex_nb.host.notebook import cells_of
from codex_nb.tools.nbmodel import NotebookSnapshot
from tests.pictures import PIXEL
from tests.tools.objects import KINDS

WORDS = (
    *("rows of data", "größe", "数据", "naïve", "\u202e", "\x1b[31mred\x1b[0m", "🎲"),
    *("<b>x</b>", "`code`", "$x^2$", "C:\\data", "\ud800"),
)
SOURCES = (
    "import pandas as pd, numpy as np\n%matplotlib inline",
    "df_{n} = pd.read_csv('data_{n}.csv')\ndf_{n}.describe()",
    "for step in range({n}):\n    print(step)",
    "!pip list | head -{n}",
    "%%bash\nls -l",
    "%%timeit -n {n}\nsum(range(100))",
    "def area_{n}(width: int, height: int = 1) -> int:\n    '''Return it.'''\n    return width * height",
    "class Point_{n}:\n    x = {n}",
    "%%codex -e low\nWhat does cell {n} do?",
    "%codex explain",
    "# codex-skip\nhidden_{n} = {n}",
    "1/0",
    "this is ( no Python",
    "",
    "x_{n} = '''" + "long line " * 2_000 + "'''",
    "# Titel\n\nSome *prose* with $x^{n}$ and ![a picture](attachment:a.png)",
)
PROMPTS = (
    "Why?",
    "What is wrong with @cell:3?",
    "Explain @fig and @df_1",
    "Plot the figure",
    "@nothing @notes.txt?",
)


def generated(seed: int) -> tuple[NotebookSnapshot, dict[str, Any], str]:
    """Return a notebook, the variables of its kernel, and a question about it."""
    chance = random.Random(seed)
    raw = {
        "nbformat": 4,
        "metadata": {},
        "cells": [_cell(chance, n) for n in range(chance.choice((0, 1, 12, 40, 120)))],
    }
    cells = cells_of(raw)
    current = chance.choice((None, len(cells) - 1, chance.randrange(len(cells)))) if cells else None
    origin = chance.choice(("document", "file", "kernel"))
    snapshot = NotebookSnapshot(origin, cells, current, chance.choice((None, "notebooks/Sales.ipynb")))
    return snapshot, _variables(chance), chance.choice(PROMPTS)


def _cell(chance: random.Random, number: int) -> Mapping[str, Any]:
    source = chance.choice(SOURCES).replace("{n}", str(number))
    kind = chance.choice(("code", "code", "code", "markdown", "raw"))
    cell: dict[str, Any] = {
        "cell_type": kind,
        "metadata": {},
        "source": chance.choice((source, source.splitlines(keepends=True))),
    }
    if chance.random() < 0.8:
        cell["id"] = f"cell-{number if chance.random() < 0.98 else 0}"
    if chance.random() < 0.1:
        cell["metadata"]["tags"] = chance.choice((["codex-skip"], ["parameters"], []))
    if kind == "code":
        cell["execution_count"] = chance.choice((None, number, number + 7, 1))
        cell["outputs"] = [_output(chance) for _ in range(chance.choice((0, 0, 1, 1, 2, 12)))]
    return cell


def _output(chance: random.Random) -> dict[str, Any]:
    text = " ".join(chance.choices(WORDS, k=chance.choice((1, 5, 5, 5, 5, 400))))
    table = "<table>" + f"<tr><td>{text[:200]}</td></tr>" * chance.choice((1, 5, 5, 5, 300)) + "</table>"
    data = {
        "text/plain": chance.choice(
            (text, text.splitlines(keepends=True), "<Figure size 640x480 with 1 Axes>")
        ),
        "text/html": table,
        "image/png": PIXEL,
        "image/svg+xml": "<svg><title>a</title></svg>",
        "text/latex": "$x^2$",
        "application/json": {"rows": [{"a": 1}] * 50},
        "application/vnd.plotly.v1+json": {
            "data": [{"type": "bar"}],
            "layout": {"title": {"text": text[:50]}},
        },
        "application/vnd.jupyter.widget-view+json": {"model_id": "abc"},
        "application/x-own": text,
    }
    some = dict(chance.sample(sorted(data.items()), k=chance.randrange(1, 5)))
    return chance.choice(
        (
            {
                "output_type": "stream",
                "name": chance.choice(("stdout", "stderr")),
                "text": [f"{text}\n"] * 40,
            },
            {"output_type": "display_data", "data": some, "metadata": {}},
            {"output_type": "execute_result", "data": some, "metadata": {}, "execution_count": 3},
            {
                "output_type": "error",
                "ename": "KeyError",
                "evalue": text,
                "traceback": [text, "KeyError: 'x'"],
            },
            {"output_type": "display_data"},
            {"output_type": "an unknown one", "text": None},
        )
    )


def _variables(chance: random.Random) -> dict[str, Any]:
    kinds = chance.sample(sorted(KINDS), k=chance.choice((0, 5, 40)))
    held = {f"held_{number}": KINDS[name].make() for number, name in enumerate(kinds)}
    return {**{f"x_{n}": n for n in range(chance.choice((0, 10, 200)))}, **held}
