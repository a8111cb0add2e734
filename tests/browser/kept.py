"""The notebook of the persistence tests: every kind of ending, from a real kernel and a front end with widgets.

``python -m tests.browser.kept FILE FOLDER`` creates it in its own process, because the browser tests keep an event loop
running in theirs. ``ENDS`` lists what each cell must show in every reader.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import nbformat

from codex_nb.simulator import Call, End, Reply, Say, Simulator, Think
from tests.kernel.front_ends import APPROVE, Answer, Page
from tests.kernel.kernel_client import TIMEOUT_S, RunningKernel, running
from tests.kernel.provision import ROOT, VERSIONS
from tests.patience import PATIENCE_S

HOSTILE = (
    "<script>window.hostile = 1</script><img src='https://hostile.example/a.png' onerror='window.hostile = 1'>"
    "<style>body { display: none }</style> ![b](https://hostile.example/b.png)"
)
TABLE = "| die | mean |\n|---|--:|\n| six | 3.5 |"
MEAN = f"The **mean** is 3.5.\n\n{TABLE}\n\n```python\nsum(faces) / 6\n```\n\n{HOSTILE}"
PLOT = """import matplotlib.pyplot as plt
print('six faces drawn')
plt.plot([1, 2, 3, 4, 5, 6]);"""
HALFWAY = "Half of it is written, and the other half never comes, for it was stopped."
MODEL_CALL = Call("run_python", {"code": PLOT}, call_id="call_plot")
REFUSED_CALL = Call("run_python", {"code": "shutil.rmtree('data')"}, call_id="call_remove")
MIDDLE_CALL = Call("run_python", {"code": "print('half', 'way')"}, call_id="call_middle")
VALUE_CELL = "%%codex -o sides --schema Whole\nHow many sides has a die?"
BATCH_CELL = "import codex_nb\ncodex_nb.map(['Is six even?', 'Is five even?'], schema=bool)"
PLANS = tuple(
    Call(
        "update_plan",
        {
            "plan": [
                {"step": "Load the throws", "status": "completed"},
                {"step": "Count the sixes", "status": status},
            ]
        },
        call_id=f"call_plan_{status}",
    )
    for status in ("in_progress", "completed")
)
FAULT = {"code": "invalid_prompt", "message": "This question cannot be answered."}
FIGURE = "figure"
"""The mark of a cell that contains an image."""


@dataclass(frozen=True)
class Ending:
    """One kind of end: the cell, what the simulator plays for it, and the text that must be found, by what it is."""

    name: str
    source: str
    marks: Mapping[str, str]
    replies: tuple[Reply, ...] = ()
    on_ask: Answer = field(default_factory=lambda: APPROVE)
    login_ends: Literal["", "before", "while it is asked"] = ""
    goes_on: bool = False


def answering(*steps: Any) -> Reply:
    """Return a reply of these steps that ends as it should."""
    return Reply(stream=(*steps, End()))


PAYER = {"footer": "ChatGPT Plus"}
MEAN_CELL = "%%codex --no-context\nWhat is the mean of a die?"
ENDS = (
    Ending(
        "completed",
        MEAN_CELL,
        {"answer": "mean is 3.5", "code": "sum(faces) / 6", "reasoning": "Weighing the faces", **PAYER},
        (answering(Think(("**Weighing the faces**\n\nAll are alike.",)), Say(MEAN)),),
    ),
    Ending(
        "stored answer",
        MEAN_CELL,
        {
            "answer": "mean is 3.5",
            "code": "sum(faces) / 6",
            "reasoning": "Weighing the faces",
            "notice": "no request was made",
            **PAYER,
        },
    ),
    Ending(
        "with a tool's outputs and figure",
        "%%codex\nDraw a die.",
        {
            "answer": "The line rises",
            "code": "plt.plot([1, 2",
            "output": "six faces drawn",
            FIGURE: "",
            **PAYER,
        },
        (answering(Say("I draw it."), MODEL_CALL), answering(Say("The line rises."))),
    ),
    Ending(
        "stopped",
        "%%codex\nGo on for ever.",
        {"answer": "Half of it is written", "ending": "Stopped. The partial answer is kept."},
        (Reply(stream=(Say(HALFWAY, gate="never"), End())),),
    ),
    Ending(
        "failed",
        "%%codex\nFail.",
        {"answer": "It begins well.", "ending": "This question cannot be answered."},
        (Reply(stream=(Say("It begins well."), End("failed", error=FAULT))),),
    ),
    Ending(
        "incomplete",
        "%%codex\nBe long.",
        {"answer": "As far as it goes", "ending": "incomplete", **PAYER},
        (Reply(stream=(Say("As far as it goes"), End("incomplete", reason="max_output_tokens"))),),
    ),
    Ending(
        "refused tool",
        "%%codex\nClean up.",
        {"answer": "Then I leave it", "code": "shutil.rmtree('data')", "call": "Python (rejected)", **PAYER},
        (answering(REFUSED_CALL), answering(Say("Then I leave it."))),
        {"decision": "reject", "message": "Never."},
    ),
    Ending(
        "sign-in line",
        "%%codex\nWho are you?",
        {"sign-in": "Signed in", "answer": "I am here again", **PAYER},
        (Reply(stream=(Say("I am here again."), End()), authenticated=True),),
        login_ends="before",
    ),
    Ending(
        "sign-in in the middle",
        "%%codex\nHow far are we?",
        {
            "code": "print('half'",
            "output": "half way",
            "sign-in": "Signed in",
            "answer": "Here we are",
            **PAYER,
        },
        (
            answering(Say("I look."), MIDDLE_CALL),
            Reply(stream=(Say("Here we are."), End()), authenticated=True),
        ),
        login_ends="while it is asked",
    ),
    Ending(
        "plan",
        "%%codex\nHow many sixes?",
        {"plan": "Count the sixes", "answer": "There are three", **PAYER},
        (answering(PLANS[0]), answering(PLANS[1]), answering(Say("There are three."))),
    ),
    Ending(
        "in the background",
        "%%codex --background\nTake your time.",
        {"answer": "It is done behind", **PAYER},
        (answering(Say("It is done behind the others.")),),
        goes_on=True,
    ),
    Ending(
        "value",
        VALUE_CELL,
        {"answer": "8128", **PAYER},
        (answering(Say('{"value": 8128}')),),
    ),
    Ending(
        "batch",
        BATCH_CELL,
        {"answers": "True"},
        (answering(Say('{"value": true}')), answering(Say('{"value": true}'))),
    ),
    Ending(
        "account status",
        "%codex status",
        {"account": "@example.com", "plan": "ChatGPT Plus", "limits": "12 %"},
    ),
)
KEPT = {"stream", "display_data", "execute_result", "error"}
FIRST = 1  # the cell of the first end


class Reader(Page):
    """A user of JupyterLab: approves, declines, and stops an answer half-way."""

    stopping = False

    def _hear(
        self, kernel: RunningKernel, comm: str, told: Mapping[str, Any], on_ask: Callable[[str], Answer]
    ) -> None:
        super()._hear(kernel, comm, told, on_ask)
        if (
            self.stopping and told["kind"] in {"frame", "full"} and "written" in str(told)
        ):  # in its second piece
            self.stopping = False
            self._say(kernel, comm, {"kind": "action", "name": "stop", "view": "view"})

    def wait_for_the_background(self, kernel: RunningKernel) -> None:
        """Go on as the front end after the cell has ended, until the widget is closed."""
        while not any(message["msg_type"] == "comm_close" for message in kernel.published):
            message = kernel.client.get_iopub_msg(timeout=TIMEOUT_S)
            kernel.published.append(message)
            self._take(kernel, message, lambda _: APPROVE)


def outputs_of(messages: list[dict[str, Any]]) -> list[nbformat.NotebookNode]:
    """Return the outputs as a front end saves them: updates in their places, prints joined."""
    outputs: list[nbformat.NotebookNode] = []
    shown: dict[str, nbformat.NotebookNode] = {}
    cell = next(each["parent_header"] for each in messages if each["msg_type"] == "execute_input")["msg_id"]
    for message in messages:
        content, kind = message["content"], message["msg_type"]
        if kind == "update_display_data":
            place = shown[content["transient"]["display_id"]]
            place.data, place.metadata = (nbformat.from_dict(content[each]) for each in ("data", "metadata"))
        elif kind in KEPT and message["parent_header"].get("msg_id") == cell:
            output = nbformat.v4.output_from_msg(message)
            before = outputs[-1] if outputs else None
            if kind == "stream" and before is not None and before.get("name") == output.name:
                before.text += output.text
                continue
            outputs.append(output)
            shown[content.get("transient", {}).get("display_id", "")] = output
    return outputs


def confirm_a_code(sim: Simulator, asked_before: int) -> None:
    """Confirm the code of the next sign-in, as the user does at another page."""
    if sim.requests.wait(lambda log: log.count("/deviceauth/token") > asked_before, PATIENCE_S):
        for code in sim.waiting_device_codes():
            sim.approve_device_code(code)


def end_the_login(sim: Simulator) -> None:
    """Expire the session, and confirm the code of the next sign-in."""
    asked_before = sim.requests.count("/deviceauth/token")
    sim.expire_access_tokens()
    sim.expire_refresh_tokens()
    threading.Thread(target=confirm_a_code, args=(sim, asked_before), daemon=True).start()


def run_all(kernel: RunningKernel, sim: Simulator, notebook: nbformat.NotebookNode) -> None:
    """Run every end's cell as a user does, and keep its outputs."""
    reader = Reader()
    for number, ending in enumerate(ENDS, start=FIRST):
        cell = notebook.cells[number]
        reader.cell_id = cell.id
        sim.add_replies(*ending.replies)
        reader.stopping = ending.name == "stopped"
        if ending.login_ends == "before":
            end_the_login(sim)

        def decide(_code: str, ending: Ending = ending) -> Answer:
            if ending.login_ends == "while it is asked":
                end_the_login(sim)
            return ending.on_ask

        reader.run(kernel, cell.source, decide)
        if ending.goes_on:
            reader.wait_for_the_background(kernel)
        kernel.run("'what the front end said last has been taken'")
        cell.outputs, cell.execution_count = outputs_of(kernel.published), number + 1


def main(file: Path, folder: Path) -> None:
    """Write the notebook."""
    home = folder / "codex-home"
    home.mkdir(mode=0o700, parents=True)
    sources = ["%load_ext codex_nb\nWhole = int", *(ending.source for ending in ENDS)]
    cells = [nbformat.v4.new_code_cell(source, id=f"cell-{number}") for number, source in enumerate(sources)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    with Simulator() as sim:
        sim.write_home(home)
        own = {"CODEX_HOME": str(home), "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
        environ = {**os.environ, **sim.environ(), **own, "PYTHONPATH": str(ROOT)}
        with running(VERSIONS[-1], environ) as kernel:
            kernel.run(sources[0])
            run_all(kernel, sim, notebook)
    nbformat.write(notebook, file)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
