"""A question asked over a namespace in which every variable is hostile, or that threads change meanwhile."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.completer import CompletionContext

from codex_nb.simulator import Call, End, Reply, Say, Simulator
from codex_nb.tools.introspection import library_of
from tests.magics.conftest import Notebook
from tests.sent import context_of, outputs_of
from tests.tools.hostile import CASES, Colliding, armed, text

DRAWN = {"matplotlib", "altair", "plotly", "PIL"}


@pytest.fixture
def hostile(notebook: Notebook) -> Iterator[Notebook]:
    """Fill the namespace with one of each hostile value; none of their classes is left for other tests."""
    notebook.run("ordinary = 'seen'")
    notebook.namespace.update({f"value_{number}": make() for number, make in enumerate(CASES.values())})
    notebook.namespace.update({Colliding("ordinary_2"): 1, text("subclass"): 2})
    yield notebook
    notebook.shell.reset(new_session=False)
    notebook.namespace.clear()
    gc.collect()


def test_no_command_runs_a_hook_of_a_variable(hostile: Notebook, sim: Simulator) -> None:
    names = [f"value_{number}" for number in range(len(CASES))]
    looks = [
        Call("inspect", {"names": names[n : n + 20]}, call_id=f"call_{n}") for n in range(0, len(names), 20)
    ]
    sim.add_replies(
        Reply(stream=(Call("inspect", {}, call_id="all"), *looks, End())), Reply(stream=(Say("Seen."), End()))
    )
    # A figure that is mentioned is drawn by its library, as with --image.
    mentions = " ".join(f"@{name}" for name in names if library_of(hostile.namespace[name]) not in DRAWN)
    with armed() as ran:
        shown = hostile.run(f"%codex context What are {mentions}?")
        asked = hostile.run(f"%%codex --approval auto\nWhat are {mentions}?")
        hostile.run("# codex-skip\nexec('hidden = [value_0, value_1]')")
        hostile.run("1/0")
        fixed = hostile.run("%codex fix")
    assert ran == []
    assert shown.succeeded
    assert asked.succeeded
    assert fixed.succeeded
    first, second, *_ = sim.requests.to("/responses", "POST")
    assert "ordinary: str of 4 = 'seen'" in outputs_of(second)["all"]
    assert context_of(first)


def complete(notebook: Notebook, line: str) -> list[str]:
    """Ask the extension's own matcher: those of IPython look at variables in their own way."""
    (matcher,) = (each for each in notebook.shell.Completer.custom_matchers if "codex" in matcher_id(each))
    context = CompletionContext(
        token="", full_text=line, cursor_position=len(line), cursor_line=0, limit=None
    )
    return [each.text for each in matcher(context)["completions"]]


def matcher_id(matcher: Any) -> str:
    return str(getattr(matcher, "matcher_identifier", ""))


@pytest.mark.parametrize("flag", ["-o ", "--schema ", "--schema value_1.", "--image ", "@"])
def test_completion_runs_no_hook_of_a_variable(hostile: Notebook, flag: str) -> None:
    with armed() as ran:
        found = complete(hostile, f"%codex {flag}")
    assert ran == []
    assert found or flag.endswith(".")


@contextlib.contextmanager
def changing(notebook: Notebook) -> Iterator[None]:
    """Let threads add and remove names as fast as they can."""
    stop = threading.Event()

    def change(start: int) -> None:
        number = start
        while not stop.is_set():
            number += 1
            notebook.namespace[f"made_{number % 3_000}"] = number
            notebook.namespace.pop(f"made_{(number * 7) % 3_000}", None)

    threads = [threading.Thread(target=change, args=(start,)) for start in (0, 1_000)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_question_is_answered_while_threads_change_the_namespace(
    notebook: Notebook, sim: Simulator
) -> None:
    notebook.run("# codex-skip\nkept_out = ['kept0out4711']")
    with changing(notebook):
        for _ in range(10):
            asked = notebook.run("%%codex\nWhat is there?")
            assert asked.succeeded, asked.error
            assert "kept_out" in complete(notebook, "%codex -o ")
    assert len(sim.requests.to("/responses", "POST")) == 10
    assert all("kept0out4711" not in str(request.body) for request in sim.requests.to("/responses", "POST"))
