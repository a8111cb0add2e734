"""A turn inside a turn, and one behind another: refused in one line, or answered; nothing waits for ever."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from typing import Any, cast

import pytest

from codex_nb import Answer
from codex_nb.errors import CodexError
from codex_nb.simulator import Call, End, Hold, Reply, Say, Simulator
from tests.magics.conftest import Notebook
from tests.magics.front_end import front_end
from tests.patience import PATIENCE_S

ASK = "get_ipython().run_cell_magic('codex', '{options}', 'Why?')"
IN_THREAD = "import threading\nt = threading.Thread(target=lambda: {ask})\nt.start(); t.join()"
IN_HOOK = (
    "shell = get_ipython()\ndef hook(_):\n    shell.events.unregister('post_run_cell', hook)\n    {ask}\n"
    "shell.events.register('post_run_cell', hook)\nshell.run_cell('1')"
)
IN_DISPLAY = "class Asks:\n    def _repr_html_(self): {ask}\n    def __repr__(self): return 'asks'\nAsks()"
NESTED = {
    "a cell": "get_ipython().run_cell('%%codex {options}\\nWhy?')",
    "a cell magic": "{ask}",
    "a line magic": "get_ipython().run_line_magic('codex', '{options} Why?')",
    "a thread": IN_THREAD,
    "a hook": IN_HOOK,
    "a repr": IN_DISPLAY,
    "a coroutine": "import asyncio\nasync def a(): {ask}\nasyncio.run(a())",
    "asyncio.to_thread": ("import asyncio\nasyncio.run(asyncio.to_thread(lambda: {ask}))"),
    "an executor": (
        "from concurrent.futures import ThreadPoolExecutor as E\nwith E() as e: e.submit(lambda: {ask}).result()"
    ),
    "a magic that captures": "get_ipython().run_cell_magic('capture', 'x', '%%codex {options}\\nWhy?')",
    "a magic that profiles": "get_ipython().run_cell_magic('prun', '', '%%codex {options}\\nWhy?')",
    "a thread without the context": (
        "import contextvars, threading\n"
        "t = threading.Thread(target=lambda: contextvars.Context().run(lambda: {ask}))\nt.start(); t.join()"
    ),
    "a finalizer": "class Asks:\n    def __del__(self): {ask}\nAsks(); import gc; collected = gc.collect()",
    "a signal": (
        "import signal\nbefore = signal.signal(signal.SIGTERM, lambda *_: {ask})\n"
        "try: signal.raise_signal(signal.SIGTERM)\nfinally: signal.signal(signal.SIGTERM, before)"
    ),
    "an exception hook": "try: 1/0\nexcept ZeroDivisionError: {ask}",
}


@pytest.mark.parametrize("options", ["", "--thread other", "--background"])
@pytest.mark.parametrize("code", NESTED.values(), ids=NESTED)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_question_inside_a_turn_is_refused_and_the_turn_goes_on(
    notebook: Notebook, sim: Simulator, code: str, options: str
) -> None:
    code = code.replace("{ask}", ASK).replace("{options}", options)
    sim.add_replies(
        Reply(stream=(Call("run_python", {"code": code}), End())), Reply(stream=(Say("It is 42."), End()))
    )
    assert notebook.run("%%codex --approval all -o answer\nHow many?").succeeded
    assert notebook.namespace["answer"].text == "It is 42."
    assert len(sim.requests.to("/responses")) == 2
    assert notebook.run("%%codex --fresh\nAnd now?").succeeded


def test_a_question_of_a_widgets_callback_is_refused_while_a_cell_answers(
    notebook: Notebook, sim: Simulator
) -> None:
    sim.add_replies(Reply(stream=(Say("It is 42."), End())))
    failures: list[BaseException | None] = []
    with front_end(notebook, sim) as page:

        def ask(message: Mapping[str, Any]) -> None:
            if message["kind"] == "full" and not failures:
                failures.append(None)
                failures[0] = notebook.shell.run_cell("%%codex\nWhy?").error_in_exec

        page.on_message = ask
        assert notebook.run("%%codex -o answer\nHow many?", cell_id="asking").succeeded
    assert isinstance(failures[0], CodexError)
    assert failures[0].line == "Codex is already answering in this cell. Ask when it has ended."
    assert notebook.namespace["answer"].text == "It is 42."


def test_what_the_code_of_a_turn_leaves_running_may_ask_later(notebook: Notebook, sim: Simulator) -> None:
    code = "import asyncio, contextvars\ncontext = contextvars.copy_context()"
    sim.add_replies(
        Reply(stream=(Call("run_python", {"code": code}), End())), Reply(stream=(Say("It is 42."), End()))
    )
    assert notebook.run("%%codex --approval all\nHow many?").succeeded
    later = "async def later(): context.run(lambda: get_ipython().run_cell_magic('codex', '-o late', 'Why?'))"
    assert notebook.run(later).succeeded
    asyncio.run(notebook.namespace["later"]())
    assert notebook.namespace["late"].status == "completed"


def test_a_question_below_one_in_the_background_runs_the_code_that_it_waits_for(
    notebook: Notebook, sim: Simulator
) -> None:
    sim.add_replies(
        Reply(stream=(Hold(), Call("run_python", {"code": "made = 6 * 7"}), End())),
        Reply(stream=(Say("Made."), End())),
        Reply(stream=(Say("It is 42."), End())),
    )
    assert notebook.run("%%codex --background --approval all\nMake it.").succeeded
    assert sim.wait_held(timeout_s=PATIENCE_S)
    releasing = threading.Timer(0.2, sim.release)
    releasing.start()
    assert notebook.run("%%codex -o answer\nHow many?").succeeded
    releasing.join()
    assert (notebook.namespace["made"], notebook.namespace["answer"].text) == (42, "It is 42.")
    first, second, third = (request.body["input"] for request in sim.requests.to("/responses"))
    assert len(first) < len(second) < len(third)


def wait_for(notebook: Notebook, name: str) -> Answer:
    """Return what a question in the background binds to a name, once it does."""
    until = time.monotonic() + PATIENCE_S
    while name not in notebook.namespace and time.monotonic() < until:
        notebook.run("pass")
    return cast("Answer", notebook.namespace.pop(name))


def test_the_question_that_was_asked_last_has_the_last_word(notebook: Notebook, sim: Simulator) -> None:
    sim.add_replies(
        Reply(stream=(Hold(), Say("Late."), End())),
        Reply(stream=(Say("Early."), End())),
        Reply(stream=(Say("Asked again."), End())),
    )
    assert notebook.run("%%codex --background --thread other -o slow\nA long one?").succeeded
    assert sim.wait_held(timeout_s=PATIENCE_S)
    assert notebook.run("%%codex -o quick\nA short one?").succeeded
    sim.release()
    assert wait_for(notebook, "slow").text == "Late."
    assert notebook.namespace["_codex"] is notebook.namespace["quick"]
    assert notebook.run("%%codex --background -o newest\nAnd now?").succeeded
    newest = wait_for(notebook, "newest")
    assert (newest.text, notebook.namespace["_codex"]) == ("Asked again.", newest)
