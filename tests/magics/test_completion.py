"""What Tab offers: in which order, of which kind, and with a few words about each."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from IPython.core.completer import provisionalcompleter

import codex_nb.magics.threads  # noqa: F401 -- registers the subcommands
from codex_nb.magics.options import SUBCOMMANDS, options_and_help
from codex_nb.simulator import Simulator, model_entry
from tests.magics.conftest import Notebook
from tests.magics.test_terminal_text import HOSTILE

HIDING = {"\u2028", "\u2029", "\u3164"}
OPTIONS = {flag: text for flags, text in options_and_help() for flag in flags}
COMMANDS = {each.name: each.help for each in SUBCOMMANDS.values()}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the notebook a folder with a few files."""
    folder = tmp_path / "notebook"
    (folder / "plots").mkdir(parents=True)
    for name in ("birds.csv", "plot.png"):
        (folder / name).touch()
    monkeypatch.setenv("JPY_SESSION_NAME", str(folder / "notebook.ipynb"))
    return folder


def typed(notebook: Notebook, line: str) -> list[tuple[str, str]]:
    """Press Tab at the end; return what is offered, each with its type."""
    with provisionalcompleter():
        found = list(notebook.shell.Completer.completions(line, len(line)))
    return [(each.text, each.type.replace("\N{NO-BREAK SPACE}", " ")) for each in found]


@pytest.mark.parametrize(
    ("line", "described", "kind"),
    [("%%codex -", OPTIONS, "option"), ("%codex fix -", OPTIONS, "option"), ("%codex ", COMMANDS, "command")],
)
def test_options_and_commands_come_with_the_words_of_the_help(
    notebook: Notebook, line: str, described: dict[str, str], kind: str
) -> None:
    offered = {name: about for name, about in typed(notebook, line) if name in described}
    assert offered.keys() == described.keys()
    for name, about in offered.items():
        word, _, text = about.partition(": ")
        assert (word, text.removesuffix("…").strip()) != (kind, "")
        assert (word, described[name].startswith(text.removesuffix(" …"))) == (kind, True)


def test_a_mention_offers_variables_then_cells_by_number_then_files(notebook: Notebook, folder: Path) -> None:
    del folder
    cells = [f"z{number} = {number}" for number in range(11)]
    for source in ("class Orders: ...", "orders, alpha = [1, 2], 0.5", *cells):
        notebook.run(source)
    offered = typed(notebook, "%%codex\nWhat is in @")
    names = [name for name, _ in offered]
    wanted = ("@alpha", "@orders", "@cell:1", "@cell:2", "@cell:10", "@file:", "@image:")
    places = [names.index(name) for name in wanted]
    assert places == sorted(places)
    types = dict(offered)
    assert types["@alpha"] == "variable: float = 0.5"
    assert types["@Orders"].startswith("class")
    assert types["@cell:2"] == "cell: orders, alpha = [1, 2], 0.5"
    assert all(each and each != "<unknown>" for _, each in offered)


def test_no_name_is_offered_that_ipython_would_run(
    notebook: Notebook, sim: Simulator, folder: Path, codex_home: Path
) -> None:
    name = "{ran.append(1)}"
    notebook.namespace.update(ran=[], name=name)
    for place in (folder, folder / "plots"):
        (place / f"{name}.png").touch()
        (place / f"plain{name}.csv").touch()
    (codex_home / "prompts").mkdir()
    (codex_home / "prompts" / f"{name}.md").write_text("hello")
    sim.state.catalog.entries.insert(0, model_entry(f"odd{name}", "Odd", 0, is_lite=False))
    notebook.run("import codex_nb\ncodex_nb.ask('hello', thread=name)")
    lines = (
        *(
            "%codex thread ",
            "%codex -m ",
            "%codex @file:",
            "%codex @file:plots/",
            '%codex @file:"',
            "%codex --image ",
        ),
        *(
            "%codex export ",
            "%codex /",
            "%%codex -t ",
            "%%codex --image ",
            "x = %codex @file:",
            "%codex context @pl",
        ),
    )
    for line in lines:
        for text, _ in typed(notebook, line):
            if "{" in text:
                notebook.run(line[: line.rindex(" ") + 1] + text)
    assert notebook.namespace["ran"] == []
    assert f"@file:plain{name}.csv" in [text for text, _ in typed(notebook, "%%codex\nSee @file:pl")]


@pytest.mark.parametrize("hidden", [*HOSTILE.values(), "\u3164", "\U000e0041", "\U000f0000", "a\nb", "a\tb"])
def test_what_is_offered_hides_nothing(
    notebook: Notebook, sim: Simulator, folder: Path, codex_home: Path, hidden: str
) -> None:
    name = f"odd{hidden}".replace("/", "").replace("\0", "")
    for place in (folder, folder / "plots"):
        (place / f"{name}.png").touch()
        (place / f"{name}d").mkdir()
    (folder / "plain größe 図.png").touch()
    (codex_home / "prompts").mkdir()
    for prompt in (name, "plain"):
        (codex_home / "prompts" / f"{prompt}.md").write_text("hello")
    sim.state.catalog.entries.insert(0, model_entry(f"odd{hidden}", "Odd", 0, is_lite=False))
    notebook.namespace["name"] = f"odd{hidden}"
    notebook.run("import codex_nb\ncodex_nb.ask('hello', thread=name)")
    lines = (
        "%codex -m ",
        "%codex thread ",
        "%codex /",
        "%codex @file:",
        "%codex --image ",
        "%codex @file:plots/",
    )
    offered = {line: [text for text, _ in typed(notebook, line)] for line in lines}
    letters = {letter for texts in offered.values() for text in texts for letter in text}
    assert {each for each in letters if unicodedata.category(each)[0] == "C" or each in HIDING} == set()
    assert all(offered[line] for line in lines[:3])
    assert '@file:"plain größe 図.png' in offered["%codex @file:"]


def test_values_of_options_have_their_kind(notebook: Notebook, sim: Simulator, folder: Path) -> None:
    del folder
    notebook.run("%codex models")
    notebook.run("%%codex -t birds\nHow many?")
    sim.requests.clear()
    assert typed(notebook, "%%codex -t bi") == [("birds", "thread: How many?")]
    assert {kind for _, kind in typed(notebook, "%%codex -e ")} == {"effort"}
    assert all(kind.startswith("model: ") for _, kind in typed(notebook, "%%codex -m "))
    assert all(kind.startswith("policy: ") for _, kind in typed(notebook, "%%codex --approval "))
    assert ("@birds.csv", "file") in typed(notebook, "%%codex\nSum @bi")
    assert typed(notebook, "%%codex\nSee @image:pl") == [
        ("@image:plot.png", "file"),
        ("@image:plots/", "folder"),
    ]
    assert typed(notebook, "%%codex --image pl") == [("plot.png", "file"), ("plots/", "folder")]
    assert dict(sim.requests.counts) == {}


def test_many_large_variables_are_described_without_running_their_code(notebook: Notebook) -> None:
    notebook.run(
        "class Loud:\n    def __repr__(self): raise SystemExit\n    __len__ = __iter__ = __repr__\n"
        "many = {f'loud_{number:03}': Loud() for number in range(300)}\nglobals().update(many)"
    )
    offered = typed(notebook, "%%codex\n@loud_")
    assert len(offered) == 300
    assert all(about.startswith("variable") for _, about in offered)
