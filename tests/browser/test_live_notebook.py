"""The open notebook as context: unsaved edits, inserted cells, restarted kernels, cells run again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from nbformat import NotebookNode

from codex_nb.parse import picture_url
from codex_nb.simulator import Call, End, RecordedRequest, Reply, Say, Simulator
from tests.browser.asking import LOAD, lead_to
from tests.browser.jupyter_server import FrontEnd
from tests.browser.notebook_page import NotebookPage
from tests.sent import context_of, items_of, outputs_of, texts_of

PROSE = "# %% [markdown]\n"
FRAME = "import pandas as pd\nclimbers = pd.DataFrame({'height': [1.6, 1.7, 1.8], 'weight': [60, 70, 85]})\nclimbers"
TAG_SKIP = """i => window.jupyterapp.shell.currentWidget.content.widgets[i].model.setMetadata('tags', ['codex-skip'])"""
SOURCES = """() => window.jupyterapp.shell.currentWidget.content.widgets.map(
  cell => [cell.model.type, cell.model.sharedModel.getSource()])"""
IS_DIRTY = "() => window.jupyterapp.shell.currentWidget.context.model.dirty"


@pytest.fixture
def sim(kernel_environ: dict[str, str]) -> Iterator[Simulator]:
    """Run a simulator with its usual behaviour; the kernel is signed in to it."""
    with Simulator() as simulator:
        lead_to(simulator, kernel_environ)
        yield simulator


def restart(notebook: NotebookPage) -> None:
    """Restart the kernel by the front end's own command, its question answered with yes."""
    notebook.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:restart-kernel'); }")
    notebook.page.get_by_role("dialog").get_by_role("button", name="Confirm Kernel Restart").click()
    notebook.page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.content.widgets.length > 0"
        " && document.querySelector('.jp-Dialog') === null"
    )
    notebook.wait_for_kernel("idle")


def in_order(text: str, *parts: str) -> bool:
    """Whether the text contains the parts in order."""
    places = [text.find(part) for part in parts]
    return -1 not in places and places == sorted(places)


def cells_below(notebook: NotebookPage, index: int) -> list[tuple[str, str]]:
    """Return kind and source of every cell below one."""
    return [(kind, source) for kind, source in notebook.page.evaluate(SOURCES)][index + 1 :]


def insertion(*sources: str, call_id: str) -> Call:
    """Return a call that inserts cells, those that begin with # as Markdown."""
    cells = [{"kind": "markdown" if each.startswith("#") else "code", "source": each} for each in sources]
    return Call("insert_cells", {"cells": cells}, call_id=call_id)


def test_an_unsaved_cell_is_part_of_the_context(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    notebook = open_notebook(
        [
            LOAD,
            f"{PROSE}# As it was saved",
            "climbers = None",
            "secret_plan = 'not for the model'",
            f"{PROSE}The last words before the question.",
            "%%codex --approval all\nWhat is the mean height?",
            "below = 'the question'",
        ]
    )
    notebook.run(0)
    notebook.page.evaluate(TAG_SKIP, 3)
    notebook.cell(1).dblclick()
    notebook.write(1, "# Heights, not saved yet")
    notebook.write(2, FRAME)
    notebook.run(2)
    notebook.run(3)
    assert notebook.page.evaluate(IS_DIRTY)
    notebook.run(5)

    first, last = sim.requests.to("/responses", "POST")
    told = context_of(first)
    assert in_order(
        told,
        "Asked in cell 6 of 7",
        "# Heights, not saved yet",
        FRAME,
        "height  weight",
        "The last words before the question.",
    )
    assert not any(
        word in told for word in ("As it was saved", "climbers = None", "secret_plan", "not for the model")
    )
    assert "the question'" not in told
    assert "1.7" in str(outputs_of(last))
    notebook.wait_for_text(5, "1.7")
    assert notebook.saved().cells[2].source == "climbers = None"


def test_a_skip_tag_set_after_a_failure_prevents_fix_and_explain(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    notebook = open_notebook(
        [LOAD, "one = 1", "alpha, *rest = 'not for the model', beta", "%codex explain", "%codex fix", "gamma"]
    )
    notebook.run(0)
    notebook.run(1)
    notebook.run(2)
    notebook.page.evaluate(TAG_SKIP, 2)
    for asking in (3, 4):
        notebook.run(asking)
        notebook.wait_for_text(asking, "codex-skip")
    assert sim.requests.to("/responses", "POST") == []
    notebook.run(5)
    notebook.run(4)
    (fixed,) = sim.requests.to("/responses", "POST")
    data = texts_of(items_of(fixed)[-2])[0]
    assert in_order(data, "```python", "gamma", "name 'gamma' is not defined")
    assert "not for the model" not in str(fixed.body)


def test_explain_refers_to_the_cell_above(open_notebook: Callable[..., NotebookPage], sim: Simulator) -> None:
    notebook = open_notebook([LOAD, "one = 1", "%codex explain", "two = 2"])
    for index in (0, 1, 3, 2):
        notebook.run(index)
    (asked,) = sim.requests.to("/responses", "POST")
    data = texts_of(items_of(asked)[-2])[0]
    assert "one = 1" in data
    assert "two = 2" not in data


def test_inserted_cells_appear_below_in_order(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    sim.add_replies(
        Reply(
            stream=(
                insertion("# One", "two = 2", "three = 3", call_id="call_1"),
                Call("run_python", {"code": "print('shown in between')"}, call_id="call_2"),
                insertion("# Four", "five = 5", call_id="call_3"),
                End(),
            )
        ),
        Reply(stream=(insertion("six = 6", call_id="call_4"), End())),
        Reply(stream=(Say("Six cells are below."), End())),
    )
    notebook = open_notebook([LOAD, "%%codex --approval all\nWrite six cells.", "'the end'"])
    notebook.run(0)
    notebook.run(1)
    notebook.wait_for_text(1, "Six cells are below.")
    assert cells_below(notebook, 1) == [
        ("markdown", "# One"),
        ("code", "two = 2"),
        ("code", "three = 3"),
        ("markdown", "# Four"),
        ("code", "five = 5"),
        ("code", "six = 6"),
        ("code", "'the end'"),
    ]
    told = outputs_of(sim.requests.to("/responses", "POST")[-1])
    assert [told[f"call_{n}"].count("Inserted") for n in (1, 3, 4)] == [1, 1, 1]
    notebook.run(3)  # they are ordinary cells
    assert notebook.execution_count(3) is not None


def test_a_thread_continues_after_a_kernel_restart(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    notebook = open_notebook([LOAD, "%%codex\nMy name is Ada.", "%%codex\nWhat is my name?"])
    notebook.run(0)
    notebook.run(1)
    restart(notebook)
    notebook.start(0)
    notebook.run(2)
    first, second = map(items_of, sim.requests.to("/responses", "POST"))
    assert second[: len(first)] == first
    assert "assistant" in {item.get("role") for item in second[len(first) :]}
    assert "What is my name?" in str(second[-1])


def test_a_cell_run_again_sends_only_the_cells_above(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    notebook = open_notebook(
        [LOAD, "above = 'the cell above'", "%%codex\nWhat is here?", "beneath = 'the cell beneath'"]
    )
    notebook.run(0)
    notebook.run(1)
    notebook.write(2, "%%codex -t one\nWhat is here?")
    notebook.run(2)
    notebook.run(3)
    notebook.write(2, "%%codex -t two\nWhat is here now?")
    notebook.run(2)
    first, again = map(context_of, sim.requests.to("/responses", "POST"))
    for told in (first, again):
        assert "Asked in cell 3 of 4" in told
        assert "above = 'the cell above'" in told
        assert "beneath = 'the cell beneath'" not in told


def test_run_all_after_a_restart_asks_only_questions_whose_answer_may_differ(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    notebook = open_notebook(
        [
            LOAD,
            "heights = [1.62, 1.78]",
            "%%codex\nWhich heights are there?",
            "%%codex\nAnd in feet?",
            "import os\nimport pandas as pd\nframe = pd.DataFrame({'height': heights, 'process': os.getpid()})",
            "%%codex --approval all\nWhat is the mean height in frame?",
            "print('the kernel is process', os.getpid())",
        ]
    )
    for index in range(7):
        notebook.run(index)
    asked = [sim.requests.count("/responses")]
    for _ in range(2):
        restart(notebook)
        before = notebook.output(6).inner_text()
        notebook.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
        notebook.output(6).filter(has_not_text=before.strip()).get_by_text("the kernel is process").wait_for()
        notebook.wait_for_text(2, "Saved answer")
        notebook.wait_for_text(3, "Saved answer")
        notebook.wait_for_text(5, "no model was used")
        asked.append(sim.requests.count("/responses"))
    assert asked[0] < asked[1] < asked[2]
    saved = notebook.save()
    assert ["Saved answer" in str(saved.cells[index].outputs) for index in (2, 3, 5)] == [True, True, False]
    assert "frame" in str(saved.cells[5].outputs)


BULKY = """from IPython.display import display
for _ in range(20):
    display({'text/plain': 'begin ' + 'x, ' * 130_000 + 'end', 'text/html': 'y' * 400_000}, raw=True)"""


def test_a_question_does_not_change_outputs_that_it_cannot_describe(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    sent: list[int] = []
    notebook = open_notebook([LOAD, BULKY, "%%codex\nWhat is there?", "%%codex\nWhat is in @cell:2?"])
    notebook.page.on(
        "websocket", lambda socket: socket.on("framesent", lambda payload: sent.append(len(payload)))
    )
    notebook.reload(wait_for_kernel=True)
    for index in range(4):
        notebook.run(index)
    first, second = map(context_of, sim.requests.to("/responses", "POST"))
    assert "begin x, x" in first
    assert "x, end" in first
    (left_out,) = set(re.findall(r"\[([\d,]+) characters left out\]", first))
    assert int(left_out.replace(",", "")) > 380_000  # counted from the whole, not from what the page sent
    assert second.count("x") > 2 * first.count("x")
    assert sum(sent) < 1_500_000


FIGURE = "import matplotlib.pyplot as plt\nfigure, axes = plt.subplots(figsize=(1, 1))\naxes.plot([1, 2]);"


def images_of(request: RecordedRequest) -> list[str]:
    """Return the images that the last question sends along."""
    return [part["image_url"] for part in items_of(request)[-1]["content"] if "image_url" in part]


@pytest.mark.parametrize("front_end", [FrontEnd.LAB])
def test_a_figure_is_sent_only_if_the_question_is_about_it(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    questions = ("What is one plus one?", "What does the figure show?", "What is wrong with @cell:2?")
    notebook = open_notebook([LOAD, FIGURE, *(f"%%codex --no-tools\n{question}" for question in questions)])
    for index in range(5):
        notebook.run(index)
    shown = notebook.save().cells[1].outputs[0]["data"]["image/png"]
    figure = picture_url("data:image/png;base64," + "".join(shown.split()))
    assert [images_of(request) for request in sim.requests.to("/responses", "POST")] == [
        [],
        [figure],
        [figure],
    ]


@pytest.mark.parametrize("front_end", [FrontEnd.LAB])
def test_the_context_shown_is_the_context_sent(
    open_notebook: Callable[..., NotebookPage], sim: Simulator
) -> None:
    notebook = open_notebook([LOAD, f"{PROSE}# Saved", "number = 187\nnumber", "%codex context How tall?"])
    notebook.run(0)
    notebook.cell(1).dblclick()
    notebook.write(1, "# Not saved")
    notebook.run(2)
    notebook.run(3)
    shown = plain_texts(notebook.save().cells[3].outputs)
    assert sim.requests.count("/responses") == 0
    notebook.write(3, "%%codex\nHow tall?")
    notebook.run(3)
    (request,) = sim.requests.to("/responses", "POST")
    sent = [text for item in items_of(request) for text in texts_of(item)]
    assert "# Not saved" in context_of(request)
    assert [text for text in sent if without_codes(text) not in without_codes(shown)] == []


def plain_texts(outputs: list[NotebookNode]) -> str:
    """Return what outputs say as plain text."""
    return "\n".join(each.get("text", "") or each["data"]["text/plain"] for each in outputs)


def without_codes(text: str) -> str:
    """Return a text without the random words of its fences, which are others for every question."""
    return re.sub(r"data-[0-9a-f]{12}", "data-CODE", text).strip()
