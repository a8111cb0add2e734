"""What an answer ran becomes cells, and an answer that is to be a cell is one."""

from __future__ import annotations

from typing import Any

import pytest

from codex_nb.magics.cell import code_of
from codex_nb.simulator import Call, End, Reply, Say, Simulator
from codex_nb.tools.describe import NewCell, RunResult, cells_that_ran
from tests.magics.conftest import Kernels, Notebook
from tests.magics.front_end import FrontEnd, front_end
from tests.sent import items_of, texts_of


def runs(*codes: str) -> list[Reply]:
    """Make a model that runs these, one after the other."""
    calls = [Call("run_python", {"code": code}, call_id=f"call_{n}") for n, code in enumerate(codes)]
    return [*(Reply(stream=(call, End())) for call in calls), Reply(stream=(Say("Ready."), End()))]


def says(text: str) -> Reply:
    return Reply(stream=(Say(text), End()))


def document(*sources: str) -> list[dict[str, Any]]:
    """Make the cells of a notebook whose first one asks."""
    ids = ["asking", *(f"cell {number}" for number in range(1, len(sources)))]
    return [
        {"id": cell_id, "cell_type": "code", "source": source, "outputs": [], "metadata": {}}
        for cell_id, source in zip(ids, sources, strict=True)
    ]


def next_input(notebook: Notebook) -> str | None:
    """Return what stands in a terminal's next prompt."""
    return getattr(notebook.shell, "rl_next_input", None)


ASK = "%%codex --approval all --fresh\nRun something."


def test_in_a_terminal_what_ran_is_printed_and_is_the_next_input(notebook: Notebook, sim: Simulator) -> None:
    sim.add_replies(*runs("a = 6", "1/0", "b = a * 7\nb"))
    assert notebook.run(ASK).succeeded
    kept = notebook.run("%codex keep")
    assert kept.succeeded
    assert next_input(notebook) == "a = 6\n\nb = a * 7\nb"
    assert "b = a * 7" in kept.out
    assert "1/0" not in kept.out
    assert "failed" in kept.out


@pytest.mark.parametrize(
    "replies", [(), (says("Nothing to run."),), tuple(runs("1/0"))], ids=["unasked", "no code", "failed code"]
)
def test_where_nothing_ran_nothing_is_kept(
    notebook: Notebook, sim: Simulator, replies: tuple[Reply, ...]
) -> None:
    sim.add_replies(*runs("a = 6"))
    notebook.run(ASK)
    if replies:
        sim.add_replies(*replies)
        notebook.run(ASK)
    else:
        notebook.run("%reload_ext codex_nb")
    notebook.shell.rl_next_input = None
    assert not notebook.run("%codex keep").succeeded
    assert next_input(notebook) is None


def test_what_ran_is_inserted_below_the_answer(notebook: Notebook, sim: Simulator) -> None:
    with front_end(notebook, sim) as page:
        page.cells = document(ASK, "%codex keep")
        sim.add_replies(*runs("print('six')", "1/0", "6 * 7"))
        assert notebook.run(ASK).succeeded
        offered = page.kept
        assert notebook.run("%codex keep").succeeded
        assert page.inserted == [("asking", offered)]
        first, second = offered
        assert (first["kind"], first["source"]) == ("code", "print('six')")
        assert (second["kind"], second["source"]) == ("code", "6 * 7")
        assert page.kept == []


def test_an_edited_call_is_kept_as_it_ran(notebook: Notebook, sim: Simulator) -> None:
    with front_end(notebook, sim) as page:
        page.cells = document(ASK)
        page.edits = {"1 + 1": "2 + 2"}
        sim.add_replies(*runs("1 + 1"))
        assert notebook.run("%%codex --fresh\nRun something.").succeeded
        assert [cell["source"] for cell in page.kept] == ["2 + 2"]


def test_a_cell_has_the_outputs_of_its_code_unless_they_are_large() -> None:
    picture = {"output_type": "display_data", "data": {"image/png": "A" * 900_000}, "metadata": {}}
    printed = {"output_type": "stream", "name": "stdout", "text": "six\n"}
    ran = [
        ("print('six')", RunResult((printed,))),
        ("1/0", RunResult((printed,), "ZeroDivisionError: division by zero")),
        ("\nfigure\n", RunResult((picture,))),
        ("figure", RunResult((picture,))),
        ("print('six')", RunResult((printed,))),
    ]
    assert cells_that_ran(ran) == (
        NewCell("code", "print('six')", (printed,)),
        NewCell("code", "figure", (picture,)),
        NewCell("code", "figure"),
        NewCell("code", "print('six')", (printed,)),
    )


CODE = "Here it is:\n```python\nx = 1\nprint(x)\n```\n"


def asked(page: FrontEnd, notebook: Notebook, sim: Simulator, answer: str) -> str:
    """Ask for a cell; return what the answer's outputs show."""
    sim.add_replies(says(answer))
    page.forget()
    assert notebook.run("%%codex --cell --fresh\nOne, please.").succeeded
    return "\n".join(page.texts())


def test_the_answer_is_the_next_cell_and_nothing_else(notebook: Notebook, sim: Simulator) -> None:
    with front_end(notebook, sim) as page:
        page.cells = document("%%codex --cell\nOne, please.", "after = 1")
        shown = asked(page, notebook, sim, CODE)
        cell = {"kind": "code", "source": "x = 1\nprint(x)", "outputs": ()}
        assert page.inserted == [("asking", [cell])]
        assert "Here it is" not in shown
        assert "print(x)" not in shown
        assert notebook.namespace["_codex"].text == CODE
        request = sim.requests.to("/responses", "POST")[-1]
        assert {"run_python", "insert_cells"}.isdisjoint(tool["name"] for tool in request.body["tools"])
        assert "code" in "\n".join(texts_of(items_of(request)[-1]))


def test_a_cell_that_is_run_again_does_not_insert_the_same_cell_again(
    notebook: Notebook, sim: Simulator
) -> None:
    with front_end(notebook, sim) as page:
        page.cells = document("%%codex --cell\nOne, please.", "x = 1\nprint(x)")
        shown = asked(page, notebook, sim, CODE)
        assert page.inserted == []
        assert "already" in shown


@pytest.mark.parametrize("answer", ["I cannot do that.", "Hello", "", "```sh\nls\n```"])
def test_an_answer_that_is_not_code_is_shown(notebook: Notebook, sim: Simulator, answer: str) -> None:
    with front_end(notebook, sim) as page:
        page.cells = document("%%codex --cell\nOne, please.")
        shown = asked(page, notebook, sim, answer)
        assert page.inserted == []
        assert answer in shown


def test_where_the_notebook_takes_no_cell_the_code_is_shown_and_the_next_input(
    notebook: Notebook, sim: Simulator
) -> None:
    sim.add_replies(says(CODE))
    ran = notebook.run("%%codex --cell\nOne, please.")
    assert "print(x)" in ran.out
    assert next_input(notebook) == "x = 1\nprint(x)"


def test_a_broken_off_answer_is_no_cell(notebook: Notebook, sim: Simulator) -> None:
    sim.add_replies(Reply(stream=(Say("```python\nx = 1\n"), End("incomplete", reason="max_output_tokens"))))
    ran = notebook.run("%%codex --cell\nOne, please.")
    assert "x = 1" in ran.out
    assert next_input(notebook) is None


def test_a_stored_answer_is_a_cell_too(kernels: Kernels, sim: Simulator) -> None:
    sim.add_replies(says(CODE))
    for _ in range(2):
        with kernels() as notebook:
            notebook.run("%%codex --cell\nOne, please.")
            assert next_input(notebook) == "x = 1\nprint(x)"
    assert len(sim.requests.to("/responses", "POST")) == 1


def test_a_cell_and_a_value_exclude_each_other(notebook: Notebook, sim: Simulator) -> None:
    assert not notebook.run("%%codex --cell --schema int\nOne, please.").succeeded
    assert not sim.requests.to("/responses", "POST")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("```python\na = 1\n```", "a = 1"),
        ("```\na = 1\n```", "a = 1"),
        (
            "```py\nimport os\n```\nand\n```ipython\n%matplotlib inline\n```",
            "import os\n\n%matplotlib inline",
        ),
        ("1. First:\n\n   ```python\n   if a:\n       b\n   ```", "if a:\n    b"),
        ("~~~~Python\nprint('```')\n~~~~", "print('```')"),
        ("import os\nos.getcwd()", "import os\nos.getcwd()"),
        ("a = 1", "a = 1"),
        ("Done", ""),
        ("Use `a`.", ""),
        ("```json\n{}\n```", ""),
        ("", ""),
    ],
)
def test_the_code_of_an_answer_is_its_python(answer: str, code: str) -> None:
    assert code_of(answer) == code
