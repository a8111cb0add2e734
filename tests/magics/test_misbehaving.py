"""A namespace full of objects that misbehave when they are asked anything: a whole question runs none of their code."""

from __future__ import annotations

import numpy as np
from IPython.core.completer import provisionalcompleter

from codex_nb.simulator import Call, End, Reply, Say, Simulator
from tests.magics.conftest import Notebook
from tests.sent import context_of, outputs_of
from tests.tools.test_describe import ran, traps


def test_a_question_runs_no_code_of_the_users_objects_and_describes_them(
    notebook: Notebook, sim: Simulator
) -> None:
    objects = traps() | {"huge": np.broadcast_to(np.float64(0), (10**5, 13_000))}
    notebook.namespace.update(objects)
    names = sorted(objects)
    sim.add_replies(
        Reply(stream=(Call("inspect", {"names": names}, call_id="call_1"), End())),
        Reply(stream=(Call("inspect", {"names": []}, call_id="call_2"), End())),
        Reply(stream=(Say("Done."), End())),
    )
    ran.clear()
    notebook.run(f"%codex context {' '.join(f'@{name}' for name in names)}")
    asked = notebook.run(f"%%codex --approval auto\nWhat are {' '.join(f'@{name}' for name in names)}?")
    assert (ran, asked.succeeded) == ([], True)
    *_, last = sim.requests.to("/responses", "POST")
    told, inspected = context_of(last), outputs_of(last)
    for name in names:
        assert f"@{name}" in told
        assert f"{name}: " in inspected["call_1"]
    assert "100000" in told.replace(",", "").replace("_", "")
    assert ran == []


def test_completing_a_mention_runs_no_code_of_the_users_objects(notebook: Notebook) -> None:
    notebook.namespace.update(traps())
    ran.clear()
    line = "%codex What is @"
    with provisionalcompleter():
        found = {completion.text for completion in notebook.shell.Completer.completions(line, len(line))}
    assert "@methods" in found
    assert ran == []
