"""Skipped and failed cells in real kernels, with the tags and ids that front ends send."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from codex_nb.simulator import Call, End, Reply, Say, Simulator
from tests.kernel.kernel_client import RunningKernel, running
from tests.kernel.provision import VERSIONS
from tests.leaks import assert_no_leak
from tests.patience import PATIENCE_S
from tests.sent import items_of, outputs_of, texts_of

MARK = "kept0out4711"
SKIP = ("codex-skip",)


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def kernel(request: pytest.FixtureRequest, environ: dict[str, str]) -> Iterator[RunningKernel]:
    """Start a kernel of each generation with the extension loaded, which shows its answers as text."""
    with running(request.param, environ) as kernel:
        loaded = kernel.run("%load_ext codex_nb\n%config CodexMagics.display = 'text'", cell_id="load")
        assert loaded["status"] == "ok"
        yield kernel


def assert_kept_out(sim: Simulator) -> None:
    for request in sim.requests:
        assert_no_leak(request.raw_body, {"what is kept out": MARK}, request.path)


def sent(sim: Simulator) -> list[str]:
    """Return the texts of the newest request."""
    request = sim.requests.to("/responses", "POST")[-1]
    return [text for item in items_of(request) for text in texts_of(item)]


def test_a_tag_that_the_front_end_sends_keeps_a_cell_out(kernel: RunningKernel, sim: Simulator) -> None:
    code = f'first, (second, *rest) = 1, (2, "{MARK}")\ndef broken(rows):\n    return rows["{MARK}"[:4]]'
    assert kernel.run(code, cell_id="private", tags=SKIP)["status"] == "ok"
    kernel.run("len(rest)", cell_id="uses")
    kernel.run("broken({})", cell_id="fails")
    sim.add_replies(
        Reply(
            stream=(
                Call("inspect", {"names": []}, call_id="call_1"),
                Call("inspect", {"names": ["rest", "broken"]}, call_id="call_2"),
                Call("run_python", {"code": "broken({'a': 1})"}, call_id="call_3"),
                End(),
            )
        ),
        Reply(stream=(Say("Seen."), End())),
    )
    asked = "%%codex --approval all\nWhat is there?"
    assert kernel.run(asked, cell_id="ask")["status"] == "ok"
    assert "KeyError" in outputs_of(sim.requests.to("/responses", "POST")[-1])["call_3"]
    assert kernel.run("%codex fix", cell_id="ask")["status"] == "ok"
    assert "broken({})" in sent(sim)[-2]
    assert kernel.run("%codex explain", cell_id="ask")["status"] == "ok"
    assert_kept_out(sim)
    before = len(sim.requests)
    kernel.run(f"'{MARK}'.missing", cell_id="private", tags=SKIP)
    for command in ("fix", "explain"):
        kernel.run(f"%codex {command}", cell_id="ask")
    assert len(sim.requests) == before
    assert kernel.published[-1]["msg_type"] == "status"
    assert sum("codex-skip" in str(message["content"]) for message in kernel.published[-12:]) >= 1


@pytest.mark.parametrize("ids", [("a", "b"), (None, None)], ids=["with ids", "without ids"])
def test_the_cell_that_failed_last_is_repaired(
    kernel: RunningKernel, sim: Simulator, ids: tuple[str | None, str | None]
) -> None:
    first, second = ids

    for code, cell_id, error in (
        ("alpha + 1", first, "name 'alpha'"),
        ("beta + 1", second, "name 'beta'"),
        ("alpha + 1", first, "name 'alpha'"),
        ("%time gamma", second, "name 'gamma'"),
        ("%%time\n\ndelta", first, "name 'delta'"),
        ("1/0", second, "ZeroDivisionError"),
    ):
        kernel.run(code, cell_id=cell_id)
        assert kernel.run("%codex fix --no-context --fresh", cell_id="ask")["status"] == "ok"
        data = sent(sim)[-2]
        assert f"```python\n{code}\n```" in data
        assert error in data.rpartition("\n```")[0].splitlines()[-1]


def test_where_tags_are_not_visible_it_is_told_once(environ: dict[str, str], tmp_path: Path) -> None:
    """Run by nbclient or papermill, a cell comes as its code alone: without its tags and its id."""
    sources = ["%load_ext codex_nb", "x = 1", "%%codex\nWhat is x?", "%%codex\nAnd now?"]
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    notebook.cells[1].metadata["tags"] = list(SKIP)
    ran: nbformat.NotebookNode = NotebookClient(notebook, timeout=PATIENCE_S, kernel_name="python3").execute(
        env=dict(environ), cwd=str(tmp_path)
    )
    told = ["codex-skip" in str(cell.outputs) for cell in ran.cells]
    assert told == [False, False, True, False]


def test_a_person_in_a_console_is_not_told_of_tags(kernel: RunningKernel) -> None:
    asked = kernel.start("%%codex\nWhat is there?", allow_stdin=True)
    kernel.finish(asked)
    assert "codex-skip" not in kernel.text(asked)
