"""``%codex fix`` and ``%codex explain`` mean the cell that ran last in time, with its own error."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

import pytest

from codex_nb.simulator import Call, End, Reply, Say, Simulator
from tests.magics.conftest import Notebook
from tests.magics.front_end import Kernel, front_end
from tests.sent import items_of, texts_of


def data_of(sim: Simulator) -> str:
    """Return the data that stands before the newest question."""
    item = items_of(sim.requests.to("/responses", "POST")[-1])[-2]
    return "\n".join(texts_of(item))


def fixed(notebook: Notebook, sim: Simulator, command: str = "fix") -> tuple[str, str]:
    """Ask for a repair; return the source and the last line of the error that were sent as the failed cell's."""
    sim.requests.clear()
    ran = notebook.run(f"%codex {command} --fresh" if command == "fix" else f"%codex {command}")
    assert ran.succeeded, ran.error
    source, error = re.findall(r"```(?:python)?\n(.*?)\n```", data_of(sim), re.DOTALL)
    return source, error.splitlines()[-1]


A, B = "alpha + 1", "beta + 1"
NAME_A = (A, "NameError: name 'alpha' is not defined")
NAME_B = (B, "NameError: name 'beta' is not defined")


@pytest.mark.parametrize("ids", [("a", "b"), (None, None)], ids=["with ids", "without ids"])
def test_the_cell_that_failed_last_is_repaired_with_its_own_error(
    notebook: Notebook, sim: Simulator, ids: tuple[str | None, str | None]
) -> None:
    first, second = ids
    notebook.run(A, cell_id=first)
    assert fixed(notebook, sim) == NAME_A
    notebook.run(B, cell_id=second)
    assert fixed(notebook, sim) == NAME_B
    notebook.run(A, cell_id=first)
    assert fixed(notebook, sim) == NAME_A
    notebook.run("alpha = ''")
    notebook.run(A, cell_id=first)
    assert fixed(notebook, sim) == (A, 'TypeError: can only concatenate str (not "int") to str')
    notebook.run("alpha = 1")
    notebook.run(A, cell_id=first)
    assert fixed(notebook, sim) == NAME_B
    notebook.run("beta = 1")
    notebook.run(B, cell_id=second)
    assert not notebook.run("%codex fix").succeeded


def test_an_edited_cell_is_repaired_as_it_ran_last(notebook: Notebook, sim: Simulator) -> None:
    notebook.run(A, cell_id="a")
    notebook.run(B, cell_id="b")
    notebook.run("alpha + gamma", cell_id="a")
    assert fixed(notebook, sim) == ("alpha + gamma", "NameError: name 'alpha' is not defined")
    notebook.run("alpha + )", cell_id="a")
    source, error = fixed(notebook, sim)
    assert (source, error.partition(":")[0]) == ("alpha + )", "SyntaxError")
    notebook.run("alpha = 1", cell_id="a")
    assert fixed(notebook, sim) == NAME_B


def test_errors_in_between_do_not_take_the_failed_cells_place(notebook: Notebook, sim: Simulator) -> None:
    notebook.run(A)
    sim.add_replies(
        Reply(stream=(Call("run_python", {"code": "delta"}, call_id="call_1"), End())),
        Reply(stream=(Say("Seen."), End())),
    )
    notebook.run("%%codex --approval all\nTry something.")
    assert fixed(notebook, sim) == NAME_A
    notebook.run("%%codex --no-such-option\nWhat?")
    assert fixed(notebook, sim) == NAME_A
    notebook.run(
        "try:\n    delta\nexcept NameError:\n    import sys\n    sys.last_value = NameError('delta')"
    )
    assert fixed(notebook, sim) == NAME_A


@pytest.mark.parametrize("code", ["%time alpha + 1", "%%time\nalpha + 1", "%%capture taken\nalpha + 1"])
def test_a_cell_that_failed_below_a_magic_is_repaired(notebook: Notebook, sim: Simulator, code: str) -> None:
    notebook.run(B)
    notebook.run(code)
    assert fixed(notebook, sim) == (code, NAME_A[1])


def test_an_error_holds_on_to_nothing_of_the_cells(notebook: Notebook) -> None:
    notebook.run(
        "import weakref\nclass Big: ...\ndef fail(big):\n    1/0\nbig = Big()\ngone = weakref.ref(big)"
    )
    notebook.run("fail(big)")
    notebook.run("del big\nfail(None)")
    notebook.run("import gc\ngc.collect()")
    assert notebook.namespace["gone"]() is None


@pytest.mark.parametrize(
    ("command", "shown"), [("fix", True), ("fix --below", False), ("fix --below Why?", False)]
)
def test_a_failed_cell_of_an_open_notebook_is_named_unless_its_correction_is_to_stand_below(
    notebook: Notebook, sim: Simulator, command: str, shown: bool
) -> None:
    with front_end(notebook, sim) as page:
        page.cells = [
            {"id": "failed", "cell_type": "code", "source": A, "outputs": [], "metadata": {}},
            {"id": "asking", "cell_type": "code", "source": "%codex fix", "outputs": [], "metadata": {}},
        ]
        notebook.run(A, cell_id="failed")
        assert notebook.run(f"%codex {command}").succeeded
        assert ("(id=failed)" in data_of(sim)) == shown
        question = "\n".join(texts_of(items_of(sim.requests.to("/responses", "POST")[-1])[-1]))
        assert ("edit_cell" in question) == shown
        assert ("Why?" in question) == ("Why?" in command)


def explained(notebook: Notebook, sim: Simulator) -> str:
    sim.requests.clear()
    assert notebook.run("%codex explain --fresh").succeeded
    return data_of(sim)


def test_the_cell_that_ran_last_is_explained(notebook: Notebook, sim: Simulator) -> None:
    notebook.run("one = 1", cell_id="a")
    notebook.run("two = 2", cell_id="b")
    assert "two = 2" in explained(notebook, sim)
    notebook.run("one = 1", cell_id="a")
    data = explained(notebook, sim)
    assert "one = 1" in data
    assert "two = 2" not in data
    notebook.run(B, cell_id="b")
    notebook.run(A, cell_id="a")
    data = explained(notebook, sim)
    assert A in data
    assert NAME_A[1] in data
    assert NAME_B[1] not in data


class Document(Kernel):
    """A front end that tells the kernel which cells were deleted since the last run."""

    def __init__(self) -> None:
        super().__init__()
        self.deleted: list[str] = []

    def get_parent(self, channel: str = "shell") -> dict[str, Any]:
        request = super().get_parent(channel)
        return request | {"metadata": {"cellId": "asking", "deletedCells": self.deleted}}


class Order:
    """Cells that run, fail, are edited and deleted in a random order, and what a person knows of them."""

    def __init__(self, notebook: Notebook, seed: int) -> None:
        self._random = random.Random(seed)
        self._notebook = notebook
        self._names = (f"name_{seed}_{number}" for number in range(1_000))
        self.ran: dict[str, tuple[str, str]] = {}  # the newest run of each cell: its source and its error

    def step(self) -> None:
        """Run a cell as it was or with another text, or delete one."""
        cell = self._random.choice("abc")
        action = self._random.choice(["fail", "fail", "succeed", "again", "delete"])
        if action == "delete":
            self._notebook.shell.kernel.deleted = [cell]
            self.ran.pop(cell, None)
            return
        source = next(self._names) if action == "fail" else f"{next(self._names)} = 1"
        if action == "again" and cell in self.ran:
            source = self.ran[cell][0]
        failed = not self._notebook.run(source, cell_id=cell).succeeded
        self._notebook.shell.kernel.deleted = []
        self.ran.pop(cell, None)
        self.ran[cell] = (source, f"NameError: name '{source}' is not defined" if failed else "")


@pytest.fixture
def document(notebook: Notebook) -> Iterator[Notebook]:
    """Give a shell whose front end tells of deleted cells."""
    notebook.shell.run_line_magic("unload_ext", "codex_nb")
    notebook.shell.kernel = Document()
    notebook.shell.run_line_magic("load_ext", "codex_nb")
    notebook.shell.run_line_magic("config", "CodexMagics.display = 'text'")
    yield notebook
    notebook.shell.kernel = None


@pytest.mark.parametrize("seed", range(4))
def test_in_every_order_the_cell_that_failed_last_is_repaired_and_the_one_that_ran_last_explained(
    document: Notebook, sim: Simulator, seed: int
) -> None:
    order = Order(document, seed)
    for _ in range(12):
        order.step()
        failed = [run for run in order.ran.values() if run[1]]
        if failed:
            assert fixed(document, sim) == failed[-1]
        else:
            assert not document.run("%codex fix").succeeded
        if order.ran:
            source, error = [*order.ran.values()][-1]
            data = explained(document, sim)
            assert f"```python\n{source}\n```" in data
            assert re.findall("NameError: .*", data) == ([error] if error else [])
