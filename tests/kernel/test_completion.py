"""Tab completion and ``?`` in real kernels, requested as front ends do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import codex_nb.magics.threads  # noqa: F401 -- registers the subcommands
from codex_nb.labels import LOGIN_METHODS
from codex_nb.magics.options import APPROVALS, DISPLAYS, SUBCOMMANDS, flags
from codex_nb.simulator import Simulator
from tests.kernel.kernel_client import RunningKernel, running
from tests.kernel.provision import ROOT, VERSIONS, KernelVersion

PREPARE = """
import dataclasses, os, types, typing
@dataclasses.dataclass
class Reading: height: float
class Chart:
    def savefig(self, *_, **__): ...
readings_schema, read_count, chart = {'type': 'object'}, 3, Chart()
Readings = list[Reading]
shapes = types.ModuleType('shapes'); shapes.Ring, shapes.radius = type('Ring', (), {}), 2
"""
MODELS = ("simulator-classic", "simulator-lite")
OFFERED = ("low", "medium", "high")  # by the list of models
WITH_FILES = ("chart.png", "notes.txt", "two words.txt", ".hidden")


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulator]:
    """Run a simulator with its usual behaviour."""
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda version: version.name)
def signed_in(
    request: pytest.FixtureRequest, sim: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningKernel]:
    """Start a kernel in which the models have been listed and two questions asked, in two threads."""
    version: KernelVersion = request.param
    home, folder = tmp_path_factory.mktemp("codex-home"), tmp_path_factory.mktemp("notebook")
    (home / "config.toml").write_text(sim.config_toml())
    (home / "thrifty.config.toml").write_text('model_reasoning_effort = "low"\n')
    sim.write_login(home)
    for name in WITH_FILES:
        (folder / name).write_text(name)
    (folder / "plots").mkdir()
    own = {
        "CODEX_HOME": str(home),
        "JPY_SESSION_NAME": str(folder / "notebook.ipynb"),
        "PYTHONPATH": str(ROOT),
    }
    with running(version, {**os.environ, **sim.environ(), **own}) as kernel:
        for code in (
            PREPARE,
            "%load_ext codex_nb",
            "%codex models",
            "%%codex -t penguins\nHow many?",
            "%%codex -t plovers\nHow many?",
        ):
            assert kernel.run(code)["status"] == "ok"
        yield kernel


@pytest.fixture
def kernel(signed_in: RunningKernel, sim: Simulator) -> RunningKernel:
    """Give the kernel; from now on the simulator's requests are counted."""
    sim.requests.clear()
    return signed_in


def completed(kernel: RunningKernel, code: str) -> list[str]:
    """Press Tab at the bar; return the line with each completion."""
    before, _, after = code.partition("|")
    request = kernel.request("complete_request", {"code": before + after, "cursor_pos": len(before)})
    reply = kernel.reply(request)
    assert reply["status"] == "ok"
    line = before.rsplit("\n", 1)[-1]
    start = reply["cursor_start"] - (len(before) - len(line))
    return [line[:start] + match for match in reply["matches"]]


def typed(kernel: RunningKernel, code: str) -> dict[str, str]:
    """Press Tab at the end; return each completion with its type, which front ends do not break."""
    reply = kernel.reply(kernel.request("complete_request", {"code": code, "cursor_pos": len(code)}))
    types = {each["text"]: each["type"] for each in reply["metadata"]["_jupyter_types_experimental"]}
    assert " " not in "".join(types.values())
    return {text: each.replace("\N{NO-BREAK SPACE}", " ") for text, each in types.items()}


def after(lead: str, *names: str) -> list[str]:
    return in_order(lead, *sorted(names))


def in_order(lead: str, *names: str) -> list[str]:
    return [f"{lead}{name}" for name in names]


def test_subcommands_and_what_follows_them(kernel: RunningKernel, sim: Simulator) -> None:
    assert completed(kernel, "%codex model sim|") == after("%codex model ", *MODELS)
    assert completed(kernel, "%codex |") == after("%codex ", *SUBCOMMANDS)
    assert completed(kernel, "%codex mod|") == ["%codex model", "%codex models"]
    assert completed(kernel, "%codex effort |") == in_order("%codex effort ", *OFFERED)
    assert completed(kernel, "%codex thread p|") == after("%codex thread ", "penguins", "plovers")
    assert completed(kernel, "%codex login |") == in_order("%codex login ", *LOGIN_METHODS)
    assert completed(kernel, "%codex login device |") == ["%codex login device thrifty"]
    assert completed(kernel, "%codex usage |") == ["%codex usage thrifty"]
    assert completed(kernel, "%codex fix -e hi|") == ["%codex fix -e high"]
    assert "%codex fix --below" in completed(kernel, "%codex fix --be|")
    assert dict(sim.requests.counts) == {}


def test_options_and_their_values_come_from_memory_caches_and_folders(
    kernel: RunningKernel, sim: Simulator
) -> None:
    assert completed(kernel, "%%codex -|\nHow many?") == after("%%codex ", *flags())
    assert completed(kernel, "%%codex --fresh --mo|\nHow many?") == ["%%codex --fresh --model"]
    assert completed(kernel, "%%codex --effort=l|") == ["%%codex --effort=low"]
    assert completed(kernel, "%%codex --approval |") == in_order("%%codex --approval ", *APPROVALS)
    assert completed(kernel, "%%codex -t pl|\nHow many?") == ["%%codex -t plovers"]
    assert completed(kernel, "%%codex --profile |") == ["%%codex --profile thrifty"]
    assert completed(kernel, "%%codex -m |\nHow many?") == after("%%codex -m ", *MODELS)
    assert completed(kernel, "%%codex --schema rea|") == ["%%codex --schema readings_schema"]
    assert completed(kernel, "%%codex --schema Rea|") == after("%%codex --schema ", "Reading", "Readings")
    assert completed(kernel, "%%codex --schema shapes.|") == ["%%codex --schema shapes.Ring"]
    assert completed(kernel, "%%codex --image |") == after("%%codex --image ", "chart", "chart.png", "plots/")
    assert completed(kernel, "%%codex -o read_|") == ["%%codex -o read_count"]
    assert dict(sim.requests.counts) == {}


def test_mentions_are_completed_on_every_line_of_a_question(kernel: RunningKernel, sim: Simulator) -> None:
    assert completed(kernel, "%%codex\nCompare\n  (@read_|count) with that") == ["  (@read_count"]
    last = kernel.run("pass")["execution_count"]
    ran = [f"See @cell:{number}" for number in range(1, last + 1)]
    assert completed(kernel, "%%codex -e low\nSee @cell:|") == ran
    files = ["See @file:chart.png", "See @file:notes.txt", "See @file:plots/", 'See @file:"two words.txt']
    assert completed(kernel, "%%codex\nSee @file:|") == files
    assert completed(kernel, "%%codex\nSee @file:n| please\nand more") == ["See @file:notes.txt"]
    assert completed(kernel, '%%codex\nSee @file:"two w|') == ['See @file:"two words.txt']
    assert completed(kernel, "%codex look at @cha|") == [
        "%codex look at @chart",
        "%codex look at @chart.png",
    ]
    assert dict(sim.requests.counts) == {}


def test_front_ends_receive_types_and_descriptions(kernel: RunningKernel) -> None:
    assert typed(kernel, "%%codex --mo") == {"--model": "option: the model to use; see %codex models"}
    assert typed(kernel, "%codex las") == {"last": "command: show the last answer again"}
    assert typed(kernel, "%%codex\nSee @read_") == {"@read_count": "variable: int = 3"}
    assert "<unknown>" not in "".join(typed(kernel, "%%codex\nSee @").values())


def test_a_line_magic_is_completed_wherever_it_stands(kernel: RunningKernel) -> None:
    assert completed(kernel, "total = 1\n%codex effort h|") == ["%codex effort high"]
    assert completed(kernel, "answer = %codex -e h|") == ["answer = %codex -e high"]
    assert completed(kernel, "\n\n%%codex -e h|\nHow many?") == ["%%codex -e high"]


def test_settings_are_completed_by_name_and_value(kernel: RunningKernel) -> None:
    shown = completed(kernel, "%config CodexMagics.dis|")
    assert [name.partition("=")[0] for name in shown] == ["%config CodexMagics.display"]
    assert completed(kernel, "%config CodexMagics.display = |") == in_order(
        "%config CodexMagics.display = ", *(f'"{name}"' for name in DISPLAYS)
    )
    assert completed(kernel, '%config CodexMagics.effort = "h|') == ['%config CodexMagics.effort = "high']


def test_ordinary_cells_are_completed_as_without_the_extension(kernel: RunningKernel) -> None:
    ordinary = (
        "read_|",
        "os.path.joi|",
        "x = 1\nread_|",
        "%tim|",
        "@read_|",
        "print('%codex mo|')",
        "readings_schema.ke|",
    )
    loaded = [completed(kernel, code) for code in ordinary]
    assert ("read_count" in loaded[0], "readings_schema.keys" in loaded[-1]) == (True, True)
    assert kernel.run("%unload_ext codex_nb")["status"] == "ok"
    try:
        assert [completed(kernel, code) for code in ordinary] == loaded
    finally:
        assert kernel.run("%load_ext codex_nb")["status"] == "ok"


def test_a_configuration_that_cannot_be_read_leaves_completion_quiet(
    kernel: RunningKernel,
) -> None:
    home = Path(kernel.value("os.environ['CODEX_HOME']"))
    config = (home / "config.toml").read_text()
    (home / "config.toml").write_text("this is no toml")
    assert kernel.run("%reload_ext codex_nb")["status"] == "ok"
    kernel.published.clear()
    try:
        assert completed(kernel, "%codex thread pen|") == []
        assert completed(kernel, "%codex eff|") == ["%codex effort"]
        assert kernel.value("1") == 1
        assert "Error" not in str(kernel.published)
    finally:
        (home / "config.toml").write_text(config)
        assert kernel.run("%reload_ext codex_nb")["status"] == "ok"


@pytest.mark.parametrize("question", ["%codex?", "%%codex?"])
def test_a_question_mark_shows_the_reference(kernel: RunningKernel, question: str) -> None:
    (page,) = kernel.run(question)["payload"]
    text = page["data"]["text/plain"]
    assert [
        name for name in (*SUBCOMMANDS, *flags(), "@cell:3", "%config CodexMagics") if name not in text
    ] == []
