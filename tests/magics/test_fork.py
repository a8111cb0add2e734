"""A forked child asks on an engine, a login and connections of its own, or is told in one line; its parent goes on."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import codex_nb
from codex_nb.simulator import Call, End, Hold, Reply, Say, Simulator
from tests.magics.conftest import Notebook
from tests.patience import PATIENCE_S

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="only POSIX forks"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]


def ask() -> str:
    return "asked" if "You asked" in codex_nb.ask("What is it?").text else "something else"


def in_child(function: Callable[[], object]) -> str:
    """Return what the function returned, or raised, in a forked child."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        said = "nothing"
        try:
            said = str(function())
        except BaseException as error:  # noqa: BLE001 - a child of pytest must not go on as pytest
            said = f"{type(error).__name__}: {error}"
        finally:
            os.write(writer, said.encode())
            os._exit(0)
    os.close(writer)
    try:
        if not select.select([reader], [], [], PATIENCE_S)[0]:
            os.kill(child, signal.SIGKILL)
            return "hangs"
        return os.read(reader, 10_000).decode()
    finally:
        os.close(reader)
        os.waitpid(child, 0)


def in_thread(function: Callable[[], str]) -> str:
    said: list[str] = []
    thread = threading.Thread(target=lambda: said.append(function()))
    thread.start()
    thread.join()
    return said[0]


@contextlib.contextmanager
def turn_running(sim: Simulator) -> Iterator[None]:
    """Keep a question of another thread waiting for its answer."""
    sim.add_replies(Reply(stream=(Say("half"), Hold(), Say("whole"), End())))
    said: list[str] = []
    asking = threading.Thread(target=lambda: said.append(codex_nb.ask("slowly").text))
    asking.start()
    assert sim.wait_held(timeout_s=PATIENCE_S)
    yield
    sim.release()
    asking.join()
    assert said == ["half\n\nwhole"]


def connections(sim: Simulator) -> list[int]:
    """Return the connections on which the questions came, in order."""
    return [request.connection for request in sim.requests.to("/responses")]


WAYS: dict[str, Callable[[], str]] = {
    "fork": lambda: in_child(ask),
    "fork in a thread": lambda: in_thread(lambda: in_child(ask)),
    "a child of a child": lambda: in_child(lambda: in_child(ask)),
    "map in a child": lambda: in_child(
        lambda: "asked" if len(codex_nb.map(["one", "two"])) == 2 else "something else"
    ),
}


@pytest.mark.usefixtures("codex_home")
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_forked_child_asks_on_connections_of_its_own(sim: Simulator, way: Callable[[], str]) -> None:
    assert (ask(), way(), ask()) == ("asked", "asked", "asked")
    first, *of_children, last = connections(sim)
    assert first == last
    assert first not in of_children


@pytest.mark.usefixtures("codex_home")
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_child_that_is_forked_before_any_question_asks(way: Callable[[], str]) -> None:
    assert (way(), ask()) == ("asked", "asked")


@pytest.mark.usefixtures("codex_home")
def test_a_pool_of_forked_processes_asks() -> None:
    assert ask() == "asked"
    with multiprocessing.get_context("fork").Pool(2) as pool:
        answers = pool.map(codex_nb.ask, ["one", "two", "three"])
    assert [answer.status for answer in answers] == ["completed"] * 3
    assert ask() == "asked"


@pytest.mark.usefixtures("codex_home")
def test_a_child_that_is_forked_while_a_turn_runs_asks_and_the_turn_goes_on(sim: Simulator) -> None:
    with turn_running(sim):
        assert in_child(ask) == "asked"
    assert ask() == "asked"


def test_a_child_that_ends_leaves_the_threads_and_logins_of_its_parent_alone(
    sim: Simulator, codex_home: Path
) -> None:
    sim.add_replies(Reply(stream=(Say("half"), Hold(), Say("whole"), End())))
    asking = threading.Thread(target=lambda: codex_nb.ask("slowly", thread="kept"))
    asking.start()
    assert sim.wait_held(timeout_s=PATIENCE_S)
    before = {path: path.read_bytes() for path in codex_home.rglob("*") if path.is_file()}
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            codex_nb.api.close()
            codex_nb.api._shell()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert {path: path.read_bytes() for path in codex_home.rglob("*") if path.is_file()} == before
    sim.release()
    asking.join()


def test_a_magic_in_a_forked_child_is_refused_in_one_line(notebook: Notebook) -> None:
    assert notebook.run("%%codex\nWhat is it?").succeeded
    refusal = in_child(lambda: notebook.run("%%codex\nWhat is it?").failure)
    assert refusal == "%codex does not run in a forked process. Call codex_nb.ask there."
    assert notebook.run("%%codex\nWhat is it?").succeeded


def test_a_child_that_the_models_code_forks_ends_with_the_code(notebook: Notebook, sim: Simulator) -> None:
    code = "import os\nchild = os.fork()\nif child: status = os.waitpid(child, 0)[1]"
    sim.add_replies(
        Reply(stream=(Call("run_python", {"code": code}), End())),
        Reply(stream=(Say("It has run."), End())),
    )
    assert notebook.run("%%codex --approval all\nFork.").succeeded
    assert (notebook.namespace["status"], notebook.namespace["_codex"].text) == (0, "It has run.")
    assert len(sim.requests.to("/responses")) == 2
