"""A cell that the model runs is as one that is run by hand, on every supported ipykernel version."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from codex_nb.simulator import Call, End, Reply, Say, Simulator
from tests.browser.asking import LOAD, lead_to
from tests.browser.jupyter_server import FrontEnd
from tests.browser.notebook_page import NotebookPage
from tests.kernel.provision import VERSIONS, KernelVersion
from tests.sent import outputs_of

KINDS = [
    "import time\nfor number in range(5):\n    print(number)\n    time.sleep(0.02)",
    "import sys\nprint('out')\nprint('err', file=sys.stderr)\n'the result'",
    "def fails(): return 1 / 0\nfails()",
    "from IPython.display import HTML, Markdown\nhandle = display('one', display_id=True)\nhandle.update('two')",
    "from IPython.display import clear_output\nfor number in range(5):\n    clear_output(wait=True)\n    print(number)",
    "display(HTML('<b>bold</b>'), Markdown('*text*'))\n5",
    "import ipywidgets\nipywidgets.IntSlider(3)",
    "caught = ipywidgets.Output()\ndisplay(caught)\nwith caught:\n    print('inside')",
    "import asyncio\nawait asyncio.sleep(0.02)\n'awaited'",
    "print('x' * 200_000)",
    "import matplotlib.pyplot as plt\nplt.plot([1, 2, 4])\nplt.show()",
    (
        "import plotly.graph_objects as go, plotly.io\nplotly.io.renderers.default = 'plotly_mimetype'\n"
        "go.Figure(go.Bar(y=[1, 2]))"
    ),
    "from tqdm.notebook import tqdm\nfor each in tqdm(range(3)):\n    pass",
]
TYPED = "name = input('Who? ')\nprint('Hello', name)"
ENDLESS = "import time\nprint('it begins')\nwhile True:\n    time.sleep(0.02)"
NUMBERS = "print(len(In) - 1, _, sorted(Out)[-1])"
ASK = "%%codex --approval all --fresh --no-context\n"
CELLS = (
    "() => window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells.map(cell => cell.toJSON())"
)


@pytest.fixture
def sim(kernel_environ: dict[str, str]) -> Iterator[Simulator]:
    """Run a simulator with its usual behaviour; the kernel is signed in to it."""
    with Simulator() as simulator:
        lead_to(simulator, kernel_environ)
        yield simulator


def cells_of(notebook: NotebookPage) -> list[dict[str, Any]]:
    """Return the cells of the open document."""
    return list(notebook.page.evaluate(CELLS))


def shown(cell: dict[str, Any]) -> list[Any]:
    """Return a cell's outputs without what differs with every run: counts, ids, addresses."""
    text = json.dumps(cell["outputs"], sort_keys=True)
    text = re.sub(r"In\[\d+\]|In \[\d+\]|ipython-input-\d+-\w+|ipykernel_\d+/\d+", "In[n]", text)
    text = re.sub(r'"model_id": "\w+"|"execution_count": \d+|"transient": \{[^}]*\}', '""', text)
    return [re.sub(r"0x[0-9a-f]+", "0x", text)]


def run(cell_ids: list[str]) -> Reply:
    """Return a reply that runs cells."""
    calls = [Call("run_cell", {"cell_id": each}, call_id=f"call_{each}") for each in cell_ids]
    return Reply(stream=(*calls, End()))


@pytest.mark.parametrize("front_end", [FrontEnd.LAB])
@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: f"ipykernel {version.name}")
def test_outputs_counts_and_history_are_those_of_a_run_by_hand(
    open_notebook: Callable[..., NotebookPage], sim: Simulator, version: KernelVersion
) -> None:
    typing, typed, stopping, queued, endless = range(1, 6)
    above = [f"{ASK}Run it.", TYPED, f"{ASK}Run it.", "print('queued', 6 * 7)", ENDLESS]
    first, asking = endless + 1, endless + 1 + len(KINDS)
    again = asking + 1 + len(KINDS)
    sources = [LOAD, *above, *KINDS, f"{ASK}Run them.", *KINDS, "'the result'", NUMBERS]
    notebook = open_notebook(sources, python=str(version.python))
    ids = [cell["id"] for cell in cells_of(notebook)]
    notebook.run(0)

    sim.add_replies(run([ids[typed]]), Reply(stream=(Say("It ran."), End())))
    notebook.start(typing)
    answer = notebook.cell(typed).locator(".jp-Stdin-input")
    answer.fill("Ada")
    answer.press("Enter")
    notebook.wait_until_run(typing)
    notebook.wait_for_text(typed, "Hello Ada")

    sim.add_replies(run([ids[endless]]))
    notebook.start(stopping)
    notebook.start(queued)
    notebook.wait_for_text(endless, "it begins")
    notebook.output(stopping).get_by_role("button", name="Stop", exact=True).click()
    notebook.wait_for_text(endless, "KeyboardInterrupt")
    notebook.wait_for_text(queued, "queued 42")
    notebook.wait_for_text(stopping, "Stopped")

    for index in range(first, asking):
        notebook.run(index)
    sim.add_replies(run(ids[asking + 1 : again]), Reply(stream=(Say("All ran."), End())))
    notebook.run(asking)
    cells = cells_of(notebook)
    by_hand, by_model = cells[first:asking], cells[asking + 1 : again]
    assert [shown(cell) for cell in by_model] == [shown(cell) for cell in by_hand]
    count = cells[asking]["execution_count"]
    assert [cell["execution_count"] for cell in by_model] == list(range(count + 1, count + 1 + len(KINDS)))
    told = outputs_of(sim.requests.to("/responses", "POST")[-1])
    assert "the result" in str(told[f"call_{ids[asking + 2]}"])
    assert "ZeroDivisionError" in str(told[f"call_{ids[asking + 3]}"])
    notebook.run(again)
    notebook.run(again + 1)
    number = count + len(KINDS) + 2
    assert notebook.execution_count(again + 1) == number
    notebook.wait_for_text(again + 1, f"{number} the result {number - 1}")


# A server passes on a million bytes a second.
LARGE = "import time\nfor number in range(50):\n    print(str(number % 10) * 100_000)\n    time.sleep(0.12)"


@pytest.mark.parametrize("front_end", [FrontEnd.LAB])
def test_five_megabytes_are_shown_as_by_hand(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    notebook = open_notebook([LOAD, LARGE, f"{ASK}Run it.", LARGE])
    notebook.run(0)
    notebook.run(1)
    sim.add_replies(run([cells_of(notebook)[3]["id"]]), Reply(stream=(Say("It ran."), End())))
    notebook.run(2)
    _, by_hand, _, by_model = cells_of(notebook)
    assert by_model["outputs"] == by_hand["outputs"]
    assert len(json.dumps(by_model["outputs"])) > 5_000_000
    told = str(outputs_of(sim.requests.to("/responses", "POST")[-1]))
    assert len(told) < 40_000
