"""Codex's own agent in an open notebook: the real Codex CLI, decided by clicks, live and saved."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from codex_nb.simulator import Call, End, Reply, Say, Scenario, Search, Simulator, Think
from codex_nb.simulator.scenario import Step
from tests import tiers
from tests.browser.asking import LOAD, lead_to
from tests.browser.jupyter_server import FrontEnd
from tests.browser.notebook_page import NotebookPage
from tests.contract.cli import without_traces
from tests.contract.test_agent import processes_with, shop_table
from tests.contract.test_agent_items import CAT, DONE, ERRORS, ITEMS, MADE, ORDERS, QUESTION, STEPS
from tests.patience import PATIENCE_S

only_lab = pytest.mark.parametrize("front_end", [FrontEnd.LAB])
ASK = "%%codex --agent --no-context -m simulator-classic"
PATCH = """apply_patch <<'EOF'
*** Begin Patch
*** Update File: agent-old.txt
@@
-before
+after
*** End Patch
EOF
"""


def reply(*steps: Step) -> Reply:
    return Reply(stream=(*steps, End()))


def command(text: str, call_id: str, *before: Step) -> Reply:
    return reply(*before, Call("exec_command", {"cmd": text}, call_id))


ACTIONS = (
    command("echo it > agent-ran.txt; cat agent-ran.txt", "c1", Think(("I look first.",))),
    command("touch agent-declined.txt", "c2"),
    command(PATCH, "c3"),
    reply(Call("request_user_input", {"questions": [QUESTION]}, "c4")),
    reply(Call("update_plan", {"explanation": "Two steps.", "plan": STEPS}, "c5")),
    reply(
        Search(("weather oslo",), item_id="ws_1"),
        Say("All of it is *done*, and this sentence comes last.", gate="end"),
    ),
)


KEPT = (
    "I look first.",
    "[Shell command (done)]\n/bin/bash -lc 'echo it > agent-ran.txt; cat agent-ran.txt'",
    "[Shell command (rejected)]\n/bin/bash -lc 'touch agent-declined.txt'\n\nleave that out",
    "-before\n+after",
    '[Questions to you (done, edited by you)]\n{"answers": {"colour": "Green"}}',
    "1. [x] Look\n2. [-] Fix",
    "Searched the web: weather oslo",
    "All of it is *done*, and this sentence comes last.",
    "through Codex CLI 0.171.0",
)


@pytest.fixture(autouse=True, scope="module")
def nothing_left_of_the_sandbox() -> Iterator[None]:
    """Leave the folders for temporary files as they were, when the kernels have ended."""
    with without_traces():
        yield


@pytest.fixture
def sim(kernel_environ: dict[str, str]) -> Iterator[Simulator]:
    """Run a simulator that the CLI takes for its backend; the kernel is signed in to it."""
    program = tiers.codex_cli()
    assert program is not None, "the Codex CLI is not here: python -m tests.provision contract"
    with Simulator(tls=True) as simulator:
        simulator.change(websockets=False)
        lead_to(simulator, kernel_environ)
        kernel_environ["CODEX_NB_CODEX"] = str(program)
        yield simulator


def words_of(text: str) -> str:
    """Return what a transcript says from its reasoning to the plan's open step, without marks and spacing."""
    words = " ".join(re.findall(r"[\w./-]+", text))
    return words.partition("Reasoning")[2].partition("Fix")[0]


@only_lab
def test_what_the_agent_asks_for_is_decided_by_clicks_and_kept_as_it_was_shown(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    sim.play(Scenario(ACTIONS))
    notebook = open_notebook([LOAD, f"{ASK} --search\nDo it."])
    folder = notebook.file.parent
    old = folder / "agent-old.txt"
    old.write_text("before\n")
    ran, declined = folder / "agent-ran.txt", folder / "agent-declined.txt"
    output = notebook.output(1)

    def click(name: str) -> None:
        output.get_by_role("button", name=name, exact=True).last.click()

    notebook.run(0)
    notebook.start(1)
    notebook.wait_for_text(1, "echo it > agent-ran.txt")
    output.get_by_role("button", name="Approve", exact=True).wait_for()
    notebook.screenshot("agent-command")
    assert not ran.exists()
    click("Approve")

    notebook.wait_for_text(1, "touch agent-declined.txt")
    assert ran.read_text() == "it\n"
    click("Reject")
    notebook.page.keyboard.insert_text("leave that out")
    click("Reject")

    notebook.wait_for_text(1, "+after")
    output.get_by_role("button", name="Approve", exact=True).wait_for()
    notebook.screenshot("agent-patch")
    assert (old.read_text(), declined.exists()) == ("before\n", False)
    click("Approve")

    notebook.wait_for_text(1, "Which colour?")
    assert old.read_text() == "after\n"
    click("Edit")
    output.locator("textarea.codex-editor").fill('{"answers": {"colour": "Green"}}')
    notebook.screenshot("agent-question")
    output.locator(".codex-approve").last.click()

    notebook.wait_for_text(1, "All of it is")
    live = output.inner_text()
    notebook.screenshot("agent-answering")
    sim.release("end")
    notebook.wait_until_run(1)
    notebook.wait_for_text(1, "comes last")
    notebook.screenshot("agent-answered")
    text = "\n".join(each["data"]["text/plain"] for each in notebook.save().cells[1].outputs)
    notebook.reopen_without_kernel()
    notebook.wait_for_text(1, "comes last")
    assert words_of(notebook.output(1).inner_text()) == words_of(live) != ""
    assert [words for words in KEPT if words not in text] == []
    assert not declined.exists()


@only_lab
def test_what_the_agent_makes_is_an_output_of_the_cell_or_a_cell_below(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    inserts = Call("insert_cells", {"cells": [{"kind": "code", "source": "legs = 4"}]}, "c2")
    sim.play(Scenario((MADE, reply(Say("I draw."), CAT), reply(inserts), reply(Say("This is the cat.")))))
    notebook = open_notebook([LOAD, f"{ASK} --approval all\nDraw."])
    notebook.run(0)
    notebook.run(1)
    notebook.wait_for_text(1, "This is the cat.")
    image = notebook.output(1).locator("img")
    assert image.evaluate("each => each.naturalWidth") == 1
    notebook.screenshot("agent-image")
    cells = notebook.save().cells
    assert ["image/png", "text/plain"] in [sorted(each.get("data", {})) for each in cells[1].outputs]
    assert [each.source for each in cells[2:]] == ["legs = 4"]


# What needs no decision, and how a turn can fail: the replies of the service, and what the notebook shows.
UNASKED: dict[str, tuple[tuple[Reply, ...], tuple[str, ...]]] = {
    "an MCP server of the CLI": ((reply(ORDERS), DONE), ("mcp__shop__orders", '"day": 3', "seven orders")),
    "a command that failed": (ITEMS["a command that failed"][0], ("echo no rule", "[exit code 2]")),
    "an image that failed": (ITEMS["an image that failed"][0], ("a grey cat",)),
    "another model": (ITEMS["another model"][0], ITEMS["another model"][2]),
    "a retry": (ITEMS["a retry"][0], ITEMS["a retry"][2]),
    "compaction": (ITEMS["compaction"][0], ITEMS["compaction"][2]),
}
FAILED = ("usage limit", "bad request", "context window")


@only_lab
def test_what_the_agent_does_unasked_and_how_it_fails_is_shown_and_saved(
    open_notebook: Callable[..., NotebookPage],
    sim: Simulator,
    kernel_environ: dict[str, str],
    tmp_path: Path,
) -> None:
    with (Path(kernel_environ["CODEX_HOME"]) / "config.toml").open("a") as config:
        config.write(f"\n{shop_table(tmp_path)}")
    turns = [*UNASKED.values(), *((ERRORS[kind][:1], ERRORS[kind][2:]) for kind in FAILED)]
    load = f"{LOAD}\n%config CodexMagics.agent_config = 'own'"
    notebook = open_notebook(
        [load, *(f"{ASK} --approval all\nTurn {number}." for number in range(len(turns)))]
    )
    notebook.run(0)
    for number, (replies, _) in enumerate(turns, 1):
        sim.play(Scenario(replies))
        notebook.run(number)
    notebook.screenshot("agent-unasked")
    saved = [json.dumps(cell.outputs, ensure_ascii=False) for cell in notebook.save().cells]
    for number, (_, words) in enumerate(turns, 1):
        live = notebook.output(number).text_content() or ""
        assert [each for each in words if each not in live] == []
        assert [each for each in words if json.dumps(each)[1:-1] not in saved[number]] == []


@only_lab
def test_stop_ends_the_command_and_the_thread_goes_on(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    endless = "for i in $(seq 5321); do echo begun; sleep 0.1; done; touch agent-ended.txt"
    sim.play(Scenario((command(endless, "c1"),)))
    notebook = open_notebook([LOAD, f"{ASK} --approval all\nWait.", f"{ASK} --approval all\nGo on."])
    notebook.run(0)
    notebook.start(1)
    notebook.wait_for_text(1, "begun")  # while it runs
    notebook.screenshot("agent-running")
    notebook.output(1).get_by_role("button", name="Stop").click()
    notebook.wait_until_run(1)
    notebook.wait_for_text(1, "Stopped.")
    notebook.screenshot("agent-stopped")
    assert psutil.wait_procs(processes_with("seq 5321"), timeout=PATIENCE_S)[1] == []
    sim.play(Scenario((reply(Say("It goes on.")),)))
    notebook.run(2)
    notebook.wait_for_text(2, "It goes on.")
    assert "Wait." in str(sim.requests.to("/responses", "POST")[-1].body["input"])
    assert not (notebook.file.parent / "agent-ended.txt").exists()
