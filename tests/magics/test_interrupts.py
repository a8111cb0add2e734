"""An interrupt or a stop at any instant of a cell: it ends, nothing of it lives on, and the next cell works."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import codex_nb
from codex_nb.host.engine import engine
from codex_nb.simulator import Call, End, Reply, Say, Scenario, Simulator, Think
from tests.magics.conftest import Notebook
from tests.magics.front_end import FrontEnd, front_end
from tests.patience import PATIENCE_S

# an interrupt that comes while Python closes a generator is printed, not raised
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

PACKAGE = Path(codex_nb.__file__).parent
Place = tuple[str, int]  # of a line: its file and number

TURN = (
    Reply(
        stream=(
            Think(("Hm.",)),
            Say("I look."),
            Call("run_python", {"code": "made = [6 * 7]\nprint('ran')\nmade"}),
            End(),
        ),
        authenticated=True,
    ),
    Reply(stream=(Say("It is **42**."), End()), authenticated=True),
)
# The sign of an unfinished line; shortened names and ids ("a…@example.com", "…9e01") go on behind it.
ALIVE = re.compile(r"…(?![@\w])|is working|is answering|Waiting|Running")


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """Run a simulator whose device codes are asked for without pauses."""
    with Simulator(poll_interval_s=0) as simulator:
        yield simulator


class Trials:
    """Runs one cell again and again, each time disturbed at another instant, and looks at what is left of it.

    In each run the login is lost after the notebook was read, so that the user has to sign in during the turn; a call
    of the model is approved and runs; its output is sent and answered.
    """

    def __init__(self, notebook: Notebook, sim: Simulator, page: FrontEnd, codex_home: Path) -> None:
        self._notebook = notebook
        self._sim = sim
        self.page = page
        self._login = codex_home / "auth.json"
        self.interrupted = 0  # runs that ended with a KeyboardInterrupt
        self.problems: list[str] = []
        page.on_message = self._lose_login

    def _lose_login(self, message: Mapping[str, Any]) -> None:
        if message["kind"] == "request":
            self._login.unlink(missing_ok=True)

    def undisturbed(self, cell: str) -> None:
        """Run the cell to its end."""
        self._sim.play(Scenario(TURN))
        assert self._notebook.run(cell, cell_id="asking").succeeded
        self._settle("undisturbed", ())

    def disturbed(self, cell: str, where: object, disturbing: AbstractContextManager[None]) -> None:
        """Run the cell in the block that disturbs it, then another cell undisturbed; note what is wrong."""
        streams, threads = (sys.stdout, sys.stderr, self._notebook.shell.display_pub), self._threads()
        self.page.forget()
        self._sim.requests.clear()
        self._sim.play(Scenario(TURN))
        failure: BaseException | None
        try:
            with disturbing:
                failure = self._notebook.run(cell, cell_id="asking").failure
        except KeyboardInterrupt as error:  # before IPython has begun to run the cell
            failure = error
        self.interrupted += isinstance(failure, KeyboardInterrupt)
        if not isinstance(failure, KeyboardInterrupt | None):
            self.problems.append(f"{where}: {failure!r}")
        self._settle(where, threads)
        if streams != (sys.stdout, sys.stderr, self._notebook.shell.display_pub):
            self.problems.append(f"{where}: a replaced stream")
        self._ask_again(where)

    def _settle(self, where: object, threads: object) -> None:
        """Wait for what may outlive the cell by a moment, and look at what it has left."""
        sessions = [answer for _, answer in self._session.background]
        left = lambda: [  # noqa: E731 - waited for and told
            *self.page.dead(),
            *filter(ALIVE.search, self.page.texts()),
            *(f"open {request.path}" for request in self._sim.requests if request.outcome == "open"),
            *(f"running {answer}" for answer in sessions if not answer.done()),
            *(set(self._threads()) - set(threads or self._threads())),
        ]
        deadline = time.monotonic() + PATIENCE_S
        while left() and time.monotonic() < deadline:
            self._notebook.run("pass")  # calls of a turn in the background run between cells
            time.sleep(0.005)
        self.problems += [f"{where}: {each}" for each in left()]
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            self.problems.append(f"{where}: the handler of interrupts")

    def _ask_again(self, where: object) -> None:
        self._sim.play(Scenario())
        ran = self._notebook.run("%%codex --fresh\nAnd now?", cell_id="asking")
        items = self._sim.requests.to("/responses")[-1].body["input"] if ran.succeeded else []
        calls = sorted(item["call_id"] for item in items if item.get("type") == "function_call")
        outputs = sorted(item["call_id"] for item in items if item.get("type") == "function_call_output")
        if not ran.succeeded or calls != outputs or self.page.dead():
            self.problems.append(f"{where}: the next cell {ran.failure!r} {calls} {outputs}")

    @property
    def _session(self) -> Any:
        loaded: Any = self._notebook.shell.magics_manager.registry["CodexMagics"]
        return loaded.session

    @staticmethod
    def _threads() -> list[str]:
        return sorted(each.name for each in threading.enumerate() if not each.name.startswith("asyncio_"))


@pytest.fixture
def trials(notebook: Notebook, sim: Simulator, codex_home: Path) -> Iterator[Trials]:
    with front_end(notebook, sim) as page:
        trials = Trials(notebook, sim, page, codex_home)
        yield trials


# The cell's thread: at lines of the package


@contextmanager
def lines(at: Callable[[Place], None], file: str | None = None) -> Iterator[None]:
    """Call ``at`` with each line of the package, or of one file of it, that this thread runs."""

    def of_line(frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line":
            at((frame.f_code.co_filename, frame.f_lineno))
        return of_line

    def of_call(frame: FrameType, _event: str, _argument: object) -> Any:
        name = frame.f_code.co_filename
        is_ours = name == file if file else name.startswith(str(PACKAGE)) and "simulator" not in name
        return of_line if is_ours else None

    before = sys.gettrace()
    sys.settrace(of_call)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def interrupting_at(place: Place) -> Iterator[None]:
    """Interrupt this thread when it comes to a line for the first time."""
    left = [signal.SIGINT]

    def at(reached: Place) -> None:
        if reached == place and left:
            signal.raise_signal(left.pop())

    with lines(at, place[0]):
        yield


def places(trials: Trials, cell: str, count: int) -> list[Place]:
    """Return lines that a cell runs, spread over all of them in the order in which it comes to them."""
    found: dict[Place, None] = {}
    with lines(found.setdefault):
        trials.undisturbed(cell)
    every = list(found)
    return [every[index * len(every) // count] for index in range(count)]


CELLS: dict[str, tuple[str, str, int]] = {
    "the widget": ("auto", "%%codex --fresh -o answer\nHow many?", 80),
    "HTML": ("html", "%%codex --fresh --approval all -o answer\nHow many?", 30),
    "text": ("text", "%%codex --fresh --approval all -o answer\nHow many?", 20),
    "in the background": ("auto", "%%codex --fresh --background\nHow many?", 20),
    "a call from Python": ("auto", "import codex_nb\ncodex_nb.ask('How many?', context=True)", 10),
    "many calls": ("auto", "import codex_nb\ncodex_nb.map(['One?', 'Two?'])", 10),
    "the account": ("auto", "%codex status", 10),
}


@pytest.mark.parametrize("kind", CELLS)
def test_an_interrupt_at_any_line_ends_the_cell_and_leaves_nothing(trials: Trials, kind: str) -> None:
    display, cell, count = CELLS[kind]
    trials._notebook.run(f"%config CodexMagics.display = {display!r}")
    trials.undisturbed(cell)
    for place in places(trials, cell, count):
        trials.disturbed(cell, place, interrupting_at(place))
    assert trials.problems == []
    assert (
        trials.interrupted >= count // 4
    )  # the rest: IPython's own hooks, calls of a turn in the background


# The engine: between two awaits


class Stepped(Coroutine[Any, Any, Any]):
    """A coroutine that calls ``on_step`` before each part of it between two awaits."""

    def __init__(self, inner: Coroutine[Any, Any, Any], on_step: Callable[[], None]) -> None:
        self._inner = inner
        self._on_step = on_step

    def send(self, value: Any) -> Any:
        self._on_step()
        return self._inner.send(value)

    def throw(self, *error: Any) -> Any:
        return self._inner.throw(*error)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()


@contextmanager
def steps(at: Callable[[int], None]) -> Iterator[None]:
    """Call ``at`` on the engine's thread with the number of each step that its tasks take."""
    number, is_inside = 0, True

    def on_step() -> None:
        nonlocal number
        if is_inside:
            number += 1
            at(number)

    def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> asyncio.Task[Any]:
        return asyncio.Task(Stepped(coroutine, on_step), loop=loop, **more)

    async def set_factory(factory: Any) -> None:
        asyncio.get_running_loop().set_task_factory(factory)

    engine().run(set_factory(make))
    try:
        yield
    finally:
        is_inside = False
        engine().run(set_factory(None))


def interrupt(_page: FrontEnd) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def press_stop(page: FrontEnd) -> None:
    for widget in list(page.open):
        page.say(widget, {"kind": "action", "name": "stop", "view": "view"})


@pytest.mark.parametrize("disturb", [interrupt, press_stop])
def test_a_turn_that_is_ended_between_any_two_awaits_leaves_nothing(
    trials: Trials, disturb: Callable[[FrontEnd], None]
) -> None:
    cell, counted = CELLS["the widget"][1], 0

    def count(number: int) -> None:
        nonlocal counted
        counted = number

    trials.undisturbed(cell)
    with steps(count):
        trials.undisturbed(cell)
    for place in range(1, counted, max(1, counted // 40)):
        at_place = steps(lambda number: disturb(trials.page) if number == place else None)  # noqa: B023 - used at once
        trials.disturbed(cell, f"step {place} of {counted}", at_place)
    assert trials.problems == []
    assert bool(trials.interrupted) is (disturb is interrupt)
