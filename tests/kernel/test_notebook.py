"""A kernel records what its cells showed, from any thread and by any means."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.kernel_client import RunningKernel

READ = "snapshot = read_notebook(shell, None, recorder, {})"


@pytest.fixture
def recording(kernel: RunningKernel) -> Iterator[RunningKernel]:
    assert (
        kernel.run("""
        from codex_nb.host.notebook import read_notebook
        from codex_nb.host.notebook import OutputRecorder
        recorder = OutputRecorder(shell); recorder.start()
    """)["status"]
        == "ok"
    )
    yield kernel
    assert kernel.run("recorder.stop()")["status"] == "ok"
    assert kernel.value("'send' in vars(shell.kernel.session)") is False


def test_every_kind_of_output_is_filed_under_its_cell(recording: RunningKernel) -> None:
    cells = {
        "streams": "import sys\nprint('out')\nprint('err', file=sys.stderr)",
        "result": "6 * 7",
        "displays": "handle = display({'text/plain': 'first'}, raw=True, display_id='d')",
        "figure": "import matplotlib.pyplot as plt\n_ = plt.subplots(figsize=(1, 1))",
        "error": "1/0",
        "update": "handle.update({'text/plain': 'second'}, raw=True)",
    }
    for cell_id, code in cells.items():
        recording.run(code, cell_id=cell_id)
    recording.run(READ, cell_id="asking")
    found = recording.value(
        "{c.cell_id: [(o['output_type'], o.get('text') or sorted(o.get('data', ())) or o.get('ename'))"
        " for o in c.outputs] for c in snapshot.cells if c.cell_id}"
    )
    assert found == {
        "streams": [("stream", "out\n"), ("stream", "err\n")],
        "result": [("execute_result", ["text/plain"])],
        "displays": [("display_data", ["text/plain"])],
        "figure": [("display_data", ["image/png", "text/plain"])],
        "error": [("error", "ZeroDivisionError")],
        "update": [],
        "asking": [],
    }
    assert recording.value("[c.outputs[0]['data'] for c in snapshot.cells if c.cell_id == 'displays']") == [
        {"text/plain": "second"}
    ]
    assert recording.value("(snapshot.origin, snapshot.cells[snapshot.current].cell_id)") == (
        "kernel",
        "asking",
    )


def test_outputs_of_other_threads_and_of_async_cells_are_filed_too(recording: RunningKernel) -> None:
    threaded = (
        "import threading\n"
        "t = threading.Thread(target=lambda: (print('threaded'), display({'text/plain': 't'}, raw=True)))\n"
        "t.start(); t.join()"
    )
    recording.run(threaded, cell_id="thread")
    recording.run("import asyncio\nawait asyncio.sleep(0)\nprint('awaited')\n'result'", cell_id="async")
    found = recording.value(
        "{c.cell_id: sorted(o['output_type'] for o in c.outputs) for c in recorder.cells() if c.cell_id}"
    )
    if (
        recording.version != "7.0.1"
    ):  # there, a display of another thread finds no parent and raises, in ipykernel
        assert found["thread"] == ["display_data", "stream"]
    assert found["async"] == ["execute_result", "stream"]


def test_a_cell_that_runs_again_keeps_its_place_and_takes_its_newest_output(recording: RunningKernel) -> None:
    for cell_id, code in (("a", "print(1)"), ("b", "print(2)"), ("a", "print(3)")):
        recording.run(code, cell_id=cell_id)
    assert recording.value(
        "[(c.cell_id, c.source, c.outputs[0]['text']) for c in recorder.cells() if c.cell_id in ('a', 'b')]"
    ) == [("a", "print(3)", "3\n"), ("b", "print(2)", "2\n")]


def test_a_deleted_cell_is_forgotten(recording: RunningKernel) -> None:
    recording.run("1", cell_id="kept")
    recording.run("2", cell_id="deleted")
    recording.run("3", cell_id="next", deleted=("deleted",))
    assert recording.value("[c.cell_id for c in recorder.cells() if c.cell_id]") == ["kept", "next"]


def test_what_asks_is_known_by_its_request(kernel: RunningKernel) -> None:
    kernel.run("from codex_nb.host.shell import front_end")
    kernel.run("end = front_end(shell)", cell_id="asking", allow_stdin=True)
    assert kernel.value("(end.has_kernel, end.cell_id, end.allows_input)") == (True, "asking", True)
    kernel.run("end = front_end(shell)")
    assert kernel.value("(end.has_kernel, end.cell_id, end.allows_input)") == (True, None, False)


def test_cells_from_before_the_recorder_are_there_with_their_source(kernel: RunningKernel) -> None:
    kernel.run("'long ago'")
    kernel.run(
        "from codex_nb.host.notebook import read_notebook\nsnapshot = read_notebook(shell, None, None, {})"
    )
    assert kernel.value("[c.source for c in snapshot.cells][-2]") == "'long ago'"


def test_what_the_models_code_shows_belongs_to_the_cell_that_asked(recording: RunningKernel) -> None:
    recording.run("show(running_code('print(\"from the model\")'));", cell_id="asked")
    assert recording.value("[c.outputs[0]['text'] for c in recorder.cells() if c.cell_id == 'asked']") == [
        "from the model\n<completed>\n"
    ]


def test_memory_is_bounded_and_sources_are_never_lost(kernel: RunningKernel) -> None:
    kernel.run("""
        from codex_nb.host.notebook import OutputRecorder
        recorder = OutputRecorder(shell, memory_limit=250_000); recorder.start()
    """)
    for number in range(4):
        kernel.run(f"print('x' * 100_000)  # {number}", cell_id=f"big-{number}")
    kept = kernel.value(
        "[(c.cell_id, len(c.outputs)) for c in recorder.cells() if (c.cell_id or '').startswith('big')]"
    )
    kernel.run("recorder.stop()")
    assert kept == [("big-0", 0), ("big-1", 0), ("big-2", 1), ("big-3", 1)]
