"""Approvals in a real kernel, from each kind of front end: nothing runs before the decision."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from codex_nb.simulator import Call, End, RecordedRequest, Reply, Say, Simulator
from tests.kernel.front_ends import APPROVE, Answer, AskingFrontEnd, Console, Headless, Page, Ran
from tests.kernel.kernel_client import RunningKernel, running
from tests.kernel.provision import ROOT, VERSIONS, KernelVersion
from tests.patience import PATIENCE_S
from tests.sent import context_of, offered_tools, outputs_of

HINT = "Nobody could approve this call"
FRONT_ENDS: Mapping[str, AskingFrontEnd] = {"buttons": Page(), "stdin": Console(), "headless": Headless()}
PLANT = "from pathlib import Path\nPath('effect.txt').write_text('ran')\nplanted = 'ran'\nprint('it', 'ran')"
CALLS: Mapping[str, dict[str, Any]] = {
    "run_python": {"code": PLANT},
    "inspect": {"names": ["altitude"]},
    "read_file": {"path": "notes.txt"},
    "list_files": {},
    "insert_cells": {"cells": [{"kind": "code", "source": "inserted = 1"}]},
    "update_plan": {"plan": [{"step": "Look around", "status": "in_progress"}]},
}
SHOWS = {"run_python": "it ran", "inspect": "8848", "read_file": "the notes", "list_files": "notes.txt"}
SHOWS["update_plan"] = "Plan updated"
UNASKED = {"update_plan", "inspect"}
READS = {"read_file", "list_files"}
# A thread of the user reports, while the cell runs, whether the namespace contains what the model's code sets.
WATCH = """
import threading, time
from pathlib import Path
def _watch():
    while True:
        if Path('look').exists():
            Path('look').unlink()
            Path('saw.part').write_text(repr('planted' in globals()))
            Path('saw.part').rename('saw')
        time.sleep(0.005)
threading.Thread(target=_watch, daemon=True).start()
altitude = 8848
"""


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulator]:
    """Run a simulator for the whole table."""
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the notebook's folder."""
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "notes.txt").write_text("the notes")
    return folder


@pytest.fixture(scope="module")
def environ(sim: Simulator, tmp_path_factory: pytest.TempPathFactory, folder: Path) -> dict[str, str]:
    """Give the variables of a kernel that is signed in to the simulator."""
    home = tmp_path_factory.mktemp("codex-home")
    (home / "config.toml").write_text(sim.config_toml())
    sim.write_login(home)
    own = {"CODEX_HOME": str(home), "JPY_SESSION_NAME": str(folder / "notebook.ipynb")}
    return {**os.environ, **sim.environ(), **own}


@pytest.fixture(scope="module")
def signed_in(environ: dict[str, str], folder: Path) -> Iterator[RunningKernel]:
    """Start the newest kernel in the notebook's folder, with the extension loaded."""
    with running(VERSIONS[-1], environ) as kernel:
        for code in (f"import os; os.chdir({str(folder)!r})", WATCH, "%load_ext codex_nb"):
            assert kernel.run(code)["status"] == "ok"
        yield kernel


@pytest.fixture
def kernel(signed_in: RunningKernel, sim: Simulator, folder: Path) -> RunningKernel:
    """Give the kernel as if nothing had been asked or allowed yet."""
    sim.requests.clear()
    (folder / "effect.txt").unlink(missing_ok=True)
    signed_in.published.clear()
    for code in ("%reload_ext codex_nb", "globals().pop('planted', None);"):
        assert signed_in.run(code)["status"] == "ok"
    return signed_in


def saw_the_plant(folder: Path) -> bool:
    """Ask the watching thread whether the namespace contains the value now."""
    (folder / "look").touch()
    deadline = time.monotonic() + PATIENCE_S
    while not (folder / "saw").exists():
        assert time.monotonic() < deadline, "the watching thread is silent"
        time.sleep(0.002)
    seen = (folder / "saw").read_text()
    (folder / "saw").unlink()
    return {"True": True, "False": False}[seen]


def expected(policy: str, tool: str, front_end: str) -> str:
    """Say what the documentation's table says."""
    if tool == "insert_cells" and front_end != "buttons":
        return "not offered"  # there is no open document to insert into
    if tool in UNASKED:
        return "runs"
    if policy == "read-only" and tool not in READS:
        return "not offered"
    if policy == "all" or (policy == "auto" and tool in READS):
        return "runs"
    return "refused" if front_end == "headless" else "asked"


def ask(
    kernel: RunningKernel,
    sim: Simulator,
    front_end: str,
    policy: str,
    *calls: Call,
    on_ask: Callable[[str], Answer] = lambda _: APPROVE,
) -> tuple[Ran, list[RecordedRequest]]:
    """Ask a question that the model answers by these calls; return the cell and the requests."""
    sim.add_replies(Reply(stream=(*calls, End())), Reply(stream=(Say("Done."), End())))
    cell = f"%%codex --fresh --no-context -t {front_end}-{policy}-{time.monotonic_ns()} --approval {policy}\nDo it."
    ran = FRONT_ENDS[front_end].run(kernel, cell, on_ask)
    return ran, sim.requests.to("/responses", "POST")


@pytest.mark.parametrize("front_end", FRONT_ENDS)
@pytest.mark.parametrize("tool", CALLS)
@pytest.mark.parametrize("policy", ["ask", "auto", "all", "read-only"])
def test_what_runs_is_what_the_table_says(
    kernel: RunningKernel, sim: Simulator, folder: Path, policy: str, tool: str, front_end: str
) -> None:
    outcome = expected(policy, tool, front_end)
    before: list[tuple[bool, bool]] = []

    def look_then_approve(_: str) -> Answer:
        before.append(((folder / "effect.txt").exists(), saw_the_plant(folder)))
        return APPROVE

    call = Call(tool, CALLS[tool], call_id="call_1")
    ran, (first, second) = ask(kernel, sim, front_end, policy, call, on_ask=look_then_approve)

    assert ran.status == "ok"
    assert (tool in offered_tools(first)) is (outcome != "not offered")
    assert before == ([(False, False)] if outcome == "asked" else [])
    output = outputs_of(second)["call_1"]
    runs = outcome in {"runs", "asked"}
    assert (HINT in output) is (outcome == "refused")
    assert (f"unsupported call: {tool}" in output) is (outcome == "not offered")
    assert ("rejected" in output or HINT in output or "unsupported" in output) is not runs
    if tool in SHOWS:
        assert (SHOWS[tool] in output) is runs
    planted = runs and tool == "run_python"
    effects = ((folder / "effect.txt").exists(), saw_the_plant(folder), ran.inserted)
    inserts = runs and tool == "insert_cells"
    assert effects == (planted, planted, [("code", "inserted = 1")] if inserts else [])


REJECTED = {"decision": "reject", "message": "Not on my disk.", "typed": "n Not on my disk."}


@pytest.mark.parametrize("front_end", ["buttons", "stdin"])
def test_a_rejection_runs_nothing_and_its_word_reaches_the_model(
    kernel: RunningKernel, sim: Simulator, folder: Path, front_end: str
) -> None:
    call = Call("run_python", {"code": PLANT}, call_id="call_1")
    ran, (_, second) = ask(kernel, sim, front_end, "ask", call, on_ask=lambda _: REJECTED)
    assert ran.status == "ok"
    assert "Not on my disk." in outputs_of(second)["call_1"]
    assert ((folder / "effect.txt").exists(), saw_the_plant(folder)) == (False, False)


@pytest.mark.parametrize("front_end", ["buttons", "stdin"])
def test_stop_ends_the_turn_and_runs_neither_this_call_nor_the_next(
    kernel: RunningKernel, sim: Simulator, folder: Path, front_end: str
) -> None:
    calls = [Call("run_python", {"code": PLANT}, call_id=f"call_{n}") for n in (1, 2)]
    sim.add_replies(Reply(stream=(*calls, End())))
    cell = f"%%codex --fresh --no-context -t stop-{front_end}\nDo it."
    ran = FRONT_ENDS[front_end].run(kernel, cell, lambda _: {"decision": "stop", "typed": "s"})
    assert (ran.status, len(ran.asked), sim.requests.count("/responses")) == ("ok", 1, 1)
    assert kernel.value("_codex.status") == "cancelled"
    assert ((folder / "effect.txt").exists(), saw_the_plant(folder)) == (False, False)


@pytest.mark.parametrize("front_end", ["buttons", "stdin"])
def test_a_tool_that_was_allowed_for_the_session_is_not_asked_for_again(
    kernel: RunningKernel, sim: Simulator, front_end: str
) -> None:
    always = {"decision": "approve_tool", "typed": "a"}
    calls = [Call("run_python", {"code": f"print({n})"}, call_id=f"call_{n}") for n in (1, 2)]
    ran, _ = ask(kernel, sim, front_end, "ask", *calls, on_ask=lambda _: always)
    again, _ = ask(kernel, sim, front_end, "ask", calls[0], on_ask=lambda _: always)
    assert (len(ran.asked), len(again.asked)) == (1, 0)
    kernel.run("%codex approvals --clear")
    anew, _ = ask(kernel, sim, front_end, "ask", calls[0], on_ask=lambda _: always)
    assert len(anew.asked) == 1


def test_what_was_allowed_for_the_session_is_listed(kernel: RunningKernel, sim: Simulator) -> None:
    def listed() -> list[str]:
        kernel.run("from IPython.utils.capture import capture_output")
        kernel.run("with capture_output() as held: get_ipython().run_line_magic('codex', 'approvals')")
        text: str = kernel.value("held.outputs[0].data['text/plain']")
        return [line.strip("| ") for line in text.splitlines() if line.startswith("| `")]

    assert listed() == []
    exact = {"decision": "approve_code", "typed": "c"}
    ask(
        kernel,
        sim,
        "buttons",
        "ask",
        Call("run_python", {"code": "print(1)"}, call_id="call_1"),
        on_ask=lambda _: exact,
    )
    (row,) = listed()
    assert row.startswith("`run_python`")
    assert "print(1)" in row
    whole = {"decision": "approve_tool", "typed": "a"}
    ask(
        kernel,
        sim,
        "buttons",
        "ask",
        Call("read_file", {"path": "notes.txt"}, call_id="call_2"),
        on_ask=lambda _: whole,
    )
    assert [row.split(" | ")[0] for row in listed()] == ["`run_python`", "`read_file`"]
    kernel.run("%codex approvals --clear read_file")
    assert [row.split(" | ")[0] for row in listed()] == ["`run_python`"]
    kernel.run("%codex approvals --clear")
    assert listed() == []


def test_what_runs_is_the_code_as_the_user_changed_it(
    kernel: RunningKernel, sim: Simulator, folder: Path
) -> None:
    harmless = "changed = 'by the user'\nprint(changed)"
    call = Call("run_python", {"code": PLANT}, call_id="call_1")
    edited = {"decision": "approve", "code": harmless}
    ran, (_, second) = ask(kernel, sim, "buttons", "ask", call, on_ask=lambda _: edited)
    assert ran.asked == [PLANT]
    assert all(part in outputs_of(second)["call_1"] for part in (harmless, "by the user", "changed the code"))
    assert ((folder / "effect.txt").exists(), saw_the_plant(folder)) == (False, False)


DOCUMENT = (
    {"cell_type": "markdown", "id": "title", "source": "# Never saved"},
    {"cell_type": "code", "id": "frame", "source": "value = 6 * 7", "outputs": [], "execution_count": 1},
    {"cell_type": "code", "id": "asking", "source": "%%codex", "outputs": [], "execution_count": None},
    {"cell_type": "code", "id": "below", "source": "below = 1", "outputs": [], "execution_count": None},
)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_every_generation_of_kernels_reads_asks_runs_and_inserts(
    sim: Simulator, environ: dict[str, str], folder: Path, version: KernelVersion
) -> None:
    sim.requests.clear()
    (folder / "effect.txt").unlink(missing_ok=True)
    calls = (
        Call("run_python", {"code": PLANT + "\nawait __import__('asyncio').sleep(0)"}, call_id="call_1"),
        Call("insert_cells", CALLS["insert_cells"], call_id="call_2"),
    )
    for _ in range(2):
        sim.add_replies(Reply(stream=(*calls, End())), Reply(stream=(Say("Done."), End())))
    with running(version, {**environ, "PYTHONPATH": str(ROOT)}) as kernel:
        for code in (f"import os; os.chdir({str(folder)!r})", "value = 6 * 7", "%load_ext codex_nb"):
            assert kernel.run(code)["status"] == "ok"
        cell = f"%%codex --fresh -t {version.name}-{{}}\nWhat is value?"
        page = Page(DOCUMENT).run(kernel, cell.format("page"), lambda _: APPROVE)
        console = Console().run(kernel, cell.format("console"), lambda _: APPROVE)
        assert kernel.value("planted") == "ran"
    assert [(each.status, len(each.asked)) for each in (page, console)] == [("ok", 2), ("ok", 1)]
    assert page.inserted == [("code", "inserted = 1")]
    seen, inserted, from_history, _ = sim.requests.to("/responses", "POST")
    told = context_of(seen)
    assert "Asked in cell 3 of 4" in told
    assert "# Never saved" in told
    assert "below = 1" not in told
    assert "value = 6 * 7" in context_of(from_history)
    assert "it ran" in outputs_of(inserted)["call_1"]
    assert "Inserted 1 cell with the id inserted-0." in outputs_of(inserted)["call_2"]


@pytest.mark.parametrize(("policy", "runs"), [("ask", False), ("auto", False), ("all", True)])
def test_nbclient_runs_what_all_allows_and_is_refused_at_once_otherwise(
    sim: Simulator, environ: dict[str, str], folder: Path, policy: str, runs: bool
) -> None:
    (folder / "effect.txt").unlink(missing_ok=True)
    sim.add_replies(
        Reply(stream=(Call("run_python", {"code": PLANT}, call_id="call_1"), End())),
        Reply(stream=(Say("Done."), End())),
    )
    sources = [
        "%load_ext codex_nb",
        "print('computed', 6 * 7)",
        f"%%codex --fresh -t nbclient-{policy} --approval {policy}\nDo it.",
        "7 * 6",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    client = NotebookClient(
        notebook, timeout=PATIENCE_S, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=environ)
    shown = str(notebook.cells[2].outputs)
    assert ((folder / "effect.txt").exists(), HINT in shown, "--approval all" in shown) == (
        runs,
        not runs,
        not runs,
    )
    assert ("Approval policy 'all'" in shown) is runs
    assert "computed 42" in context_of(sim.requests.to("/responses", "POST")[-1])
    assert notebook.cells[3].outputs[0]["data"]["text/plain"] == "42"
    assert "widget-view" not in str(notebook.cells)
