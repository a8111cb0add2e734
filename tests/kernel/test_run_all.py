"""Run All in a real kernel without a user: the code of a saved answer gives its figure and its variable again."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from codex_nb.parse import picture_url
from codex_nb.simulator import Call, End, Reply, Say, Simulator
from tests.kernel.test_running_again import HTML, run

PLOTS = "import matplotlib.pyplot as plt\nmade = len(rows)\nprint('drawn', made)\nplt.plot(rows);"
ROWS = "rows = [int(each) for each in open('rows.txt').read().split()]"


def shown(cell: nbformat.NotebookNode) -> tuple[list[str | None], str]:
    """Return the pictures that a cell shows, and all of its text."""
    datas = [output.get("data", {}) for output in cell.outputs]
    texts = [str(output.get("text", "")) for output in cell.outputs] + [
        data.get("text/plain", "") for data in datas
    ]
    images = ["".join(data["image/png"].split()) for data in datas if "image/png" in data]
    return [picture_url(f"data:image/png;base64,{each}") for each in images], "\n".join(texts)


def test_a_figure_and_a_variable_are_there_again_without_a_request(
    environ: dict[str, str], sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    drawn = (
        Reply(stream=(Call("run_python", {"code": PLOTS}), End())),
        Reply(stream=(Say("It rises."), End())),
    )
    other = (
        Reply(stream=(Call("run_python", {"code": PLOTS}), End())),
        Reply(stream=(Say("It falls."), End())),
    )
    sim.add_replies(*drawn, *other)
    cells = [HTML, ROWS, "%%codex --approval all\nDraw the rows.", "print(made * 100)"]
    told = []
    for rows in ("1 2 3", "1 2 3", "4 3 2 1"):
        (tmp_path / "rows.txt").write_text(rows)
        notebook = run(cells, environ)
        told.append((*shown(notebook.cells[2]), notebook.cells[3].outputs[0].text))
    requests = sim.requests.count("/responses")
    (tmp_path / "rows.txt").write_text("1 2 3")
    unapproved = run([*cells[:2], "%%codex\nDraw the rows.", "'made' in globals()"], environ)
    images, text = shown(unapproved.cells[2])

    (first, answer, made), (again, same, made_again), (changed, new, made_anew) = told
    assert (first, made) == (again, made_again)
    assert (len(first), len(changed), first == changed) == (1, 1, False)
    assert [made, made_anew] == ["300\n", "400\n"]
    assert ["It rises." in each for each in (answer, same, new, text)] == [True, True, False, True]
    assert "It falls." in new
    assert (requests, sim.requests.count("/responses")) == (4, 4)
    assert (images, "drawn 3" in text, "not run again" in text) == (first, True, True)
    assert unapproved.cells[3].outputs[0].data["text/plain"] == "False"
