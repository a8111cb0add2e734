"""A real kernel runs only what the approval showed, whatever the server, the cell or the background does."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pexpect
import pytest

from codex_nb.simulator import End, Event, Item, Reply, Say, Simulator
from tests.kernel.front_ends import APPROVE, Answer, AskingFrontEnd, Colab, Console, Page
from tests.kernel.kernel_client import RunningKernel, running
from tests.kernel.provision import ROOT, VERSIONS
from tests.patience import PATIENCE_S
from tests.sent import outputs_of

HARMLESS, HIDDEN = "shown = 1", "evil = 1"
REJECT: Answer = {"decision": "reject", "typed": "n"}
MAGIC = "%%codex --fresh --no-context -t {thread} --approval ask\nDo it."
FACE = "codex_nb.ask('Do it.', thread={thread!r}, tools=[mine])"
SCREENS: Mapping[str, tuple[AskingFrontEnd, str]] = {
    "widget": (Page(), MAGIC),
    "html": (Colab(), MAGIC),
    "text": (Console(), MAGIC),
    "ask": (Console(), FACE),
}
every_screen = pytest.mark.parametrize("screen", SCREENS)
typed_screen = pytest.mark.parametrize("screen", [name for name in SCREENS if name != "widget"])


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulator]:
    """Run a simulator for all of them."""
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def signed_in(sim: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningKernel]:
    """Start the newest kernel with the extension and a tool of the user's own that runs code."""
    home: Path = tmp_path_factory.mktemp("codex-home")
    sim.write_home(home)
    environ = {**os.environ, **sim.environ(), "CODEX_HOME": str(home), "PYTHONPATH": str(ROOT)}
    with running(VERSIONS[-1], environ) as kernel:
        tool = "@codex_nb.tool\ndef mine(source: str) -> str:\n    exec(source, globals())\n    return 'ran'"
        for code in ("%load_ext codex_nb", "import codex_nb, contextlib, io", tool):
            assert kernel.run(code)["status"] == "ok"
        yield kernel


@pytest.fixture
def kernel(signed_in: RunningKernel, sim: Simulator) -> RunningKernel:
    """Give the kernel as if nothing had been asked yet."""
    sim.requests.clear()
    signed_in.published.clear()
    for code in ("%reload_ext codex_nb", "for name in ('shown', 'evil'): globals().pop(name, None)"):
        assert signed_in.run(code)["status"] == "ok"
    return signed_in


def item(screen: str, code: str, call_id: str, number: int = 1) -> dict[str, Any]:
    """Return a call of code: of ``run_python``, or of the tool that ``codex_nb.ask`` is given."""
    name, argument = ("mine", "source") if screen == "ask" else ("run_python", "code")
    return {
        "type": "function_call",
        "id": f"fc_{number}",
        "call_id": call_id,
        "name": name,
        "arguments": json.dumps({argument: code}),
    }


def completed(*items: Mapping[str, Any]) -> Event:
    """Return a terminal event that tells these items, whatever was told before."""
    response = {"id": "resp_1", "status": "completed", "model": "gpt-5.5", "output": list(items)}
    return Event({"type": "response.completed", "response": response})


def orders(screen: str) -> Mapping[str, list[Reply]]:
    """Return what a hostile server says: each would show one code and run another, or run one unseen."""
    shown, hidden = item(screen, HARMLESS, "call_1"), item(screen, HIDDEN, "call_1")
    twin = item(screen, HIDDEN, "call_1", number=2)
    renamed = {**hidden, "name": "inspect"}
    moved = {**hidden, "call_id": "call_2"}
    first = Reply(stream=(Item(shown), End()))
    return {
        "done and completed tell other code": [Reply(stream=(Item(shown), completed(hidden)))],
        "done and completed tell another tool": [Reply(stream=(Item(renamed), completed(shown)))],
        "completed tells the item as another call": [Reply(stream=(Item(shown), completed(moved)))],
        "one id twice in a response": [Reply(stream=(Item(shown), Item(twin), End()))],
        "one id twice, told at the end alone": [Reply(stream=(Say("Look."), completed(shown, twin)))],
        "one id twice, once at the end alone": [Reply(stream=(Item(shown), completed(shown, twin)))],
        "the id of an answered call": [first, Reply(stream=(Item(twin), End()))],
        "the id of an answered call, told at the end alone": [first, Reply(stream=(completed(twin),))],
    }


@every_screen
@pytest.mark.parametrize("order", orders("widget"))
def test_a_server_that_contradicts_itself_runs_nothing_that_was_not_shown(
    kernel: RunningKernel, sim: Simulator, screen: str, order: str
) -> None:
    sim.add_replies(*orders(screen)[order])
    front_end, cell = SCREENS[screen]
    ran = front_end.run(kernel, cell.format(thread=f"{screen} {order}".replace(" ", "-")), lambda _: APPROVE)
    answered_before = order.startswith("the id of an answered call")
    assert kernel.value("('shown' in globals(), 'evil' in globals())") == (answered_before, False)
    assert (ran.status, len(ran.asked)) == ("error", int(answered_before))
    assert all(HARMLESS in asked and HIDDEN not in asked for asked in ran.asked)


@every_screen
def test_every_question_carries_the_code_that_its_answer_lets_run(
    kernel: RunningKernel, sim: Simulator, screen: str
) -> None:
    codes = [f"shown = {number}" for number in range(3)]
    calls = [item(screen, code, f"call_{number}", number) for number, code in enumerate(codes)]
    sim.add_replies(Reply(stream=(*map(Item, calls), End())), Reply(stream=(Say("Done."), End())))
    front_end, cell = SCREENS[screen]
    seen: list[Any] = []

    def answer(asked: str) -> Answer:
        seen.append([code for code in codes if code in asked])
        return APPROVE if codes[1] in asked else REJECT

    assert front_end.run(kernel, cell.format(thread=f"codes-{screen}"), answer).status == "ok"
    assert (seen, kernel.value("shown")) == ([[code] for code in codes], 1)


@every_screen
@pytest.mark.parametrize("answer", [APPROVE, REJECT], ids=["approved", "rejected"])
def test_half_a_surrogate_pair_in_code_is_shown_and_ends_no_cell(
    kernel: RunningKernel, sim: Simulator, screen: str, answer: Answer
) -> None:
    code = "shown = len('\ud800')"
    sim.add_replies(
        Reply(stream=(Item(item(screen, code, "call_1")), End())), Reply(stream=(Say("Done."), End()))
    )
    front_end, cell = SCREENS[screen]
    ran = front_end.run(kernel, cell.format(thread=f"half-{screen}-{answer['typed']}"), lambda _: answer)
    assert (ran.status, len(ran.asked)) == ("ok", 1)
    assert "shown = len('⟦U+D800⟧')" in ran.asked[0]
    assert "call_1" in outputs_of(sim.requests.to("/responses", "POST")[-1])
    assert kernel.value("codex_nb.ask('And now?', thread='afterwards').status") == "completed"


def test_a_decision_that_is_sent_again_does_not_answer_the_next_question(
    kernel: RunningKernel, sim: Simulator
) -> None:
    clicks: list[dict[str, Any]] = []

    class Repeating(Page):
        """A page whose messages of the first approval are sent once more when the next one asks."""

        def _say(self, kernel: RunningKernel, comm: str, said: Mapping[str, Any]) -> None:
            if said.get("name") == "decide":
                clicks.append(dict(said))
                super()._say(kernel, comm, clicks[0])
            super()._say(kernel, comm, said)

    calls = [item("widget", code, f"call_{n}", n) for n, code in enumerate((HARMLESS, HIDDEN))]
    sim.add_replies(Reply(stream=(*map(Item, calls), End())), Reply(stream=(Say("Done."), End())))
    answers = iter((APPROVE, REJECT))
    ran = Repeating().run(kernel, MAGIC.format(thread="late"), lambda _: next(answers))
    assert (ran.status, ran.asked) == ("ok", [HARMLESS, HIDDEN])
    assert kernel.value("('shown' in globals(), 'evil' in globals())") == (True, False)


CAPTURES: Mapping[str, Callable[[str, str], str]] = {
    "%%capture": lambda magic, call: f"%%capture kept\n{magic or call}",
    "capture_output": lambda magic, call: _within("capture_output()", magic, call),
    "redirect_stdout": lambda magic, call: _within("contextlib.redirect_stdout(io.StringIO())", magic, call),
    "an Output that is not displayed": lambda magic, call: _within("ipywidgets.Output()", magic, call),
    "a replaced stdout": lambda magic, call: _replaced("sys", "stdout", "io.StringIO()", magic, call),
    "a replaced publisher": lambda magic, call: _replaced(
        "shell", "display_pub", "CapturingDisplayPublisher()", magic, call
    ),
}
SETUP = """
import sys, io, contextlib, ipywidgets
from IPython.utils.capture import capture_output
from IPython.core.displaypub import CapturingDisplayPublisher
shell = get_ipython()
"""


def _call(magic: str, call: str) -> str:
    if not magic:
        return call
    line, _, body = magic.removeprefix("%%codex ").partition("\n")
    return f"shell.run_cell_magic('codex', {line!r}, {body!r})"


def _within(context: str, magic: str, call: str) -> str:
    return f"{SETUP}\nwith {context}:\n    {_call(magic, call)}"


def _replaced(owner: str, name: str, value: str, magic: str, call: str) -> str:
    return (
        f"{SETUP}\nbefore, {owner}.{name} = {owner}.{name}, {value}\n"
        f"try:\n    {_call(magic, call)}\nfinally:\n    {owner}.{name} = before"
    )


@typed_screen
@pytest.mark.parametrize("capture", CAPTURES)
def test_where_what_is_shown_is_captured_nothing_is_asked_and_the_call_is_refused(
    kernel: RunningKernel, sim: Simulator, screen: str, capture: str
) -> None:
    sim.add_replies(
        Reply(stream=(Item(item(screen, HIDDEN, "call_1")), End())), Reply(stream=(Say("Done."), End()))
    )
    front_end, cell = SCREENS[screen]
    cell = cell.format(thread=f"captured-{screen}-{list(CAPTURES).index(capture)}")
    source = CAPTURES[capture]("" if screen == "ask" else cell, cell)
    ran = front_end.run(kernel, source, lambda _: APPROVE)
    told = outputs_of(sim.requests.to("/responses", "POST")[-1])["call_1"]
    assert (ran.status, ran.asked, kernel.value("'evil' in globals()")) == ("ok", [], False)
    assert "captured" in told
    assert "--approval all" in told


@pytest.mark.parametrize("screen", ["html", "text"])
def test_a_background_cell_never_reads_stdin_and_its_call_is_refused_at_once(
    kernel: RunningKernel, sim: Simulator, screen: str
) -> None:
    sim.add_replies(
        Reply(stream=(Item(item(screen, HIDDEN, "call_1")), End())),
        Reply(stream=(Say("Done."), End())),
    )
    front_end, cell = SCREENS[screen]
    cell = cell.format(thread=f"background-{screen}").replace("%%codex", "%%codex --background")
    assert front_end.run(kernel, cell, lambda _: APPROVE).status == "ok"
    assert sim.requests.wait(lambda log: log.count("/responses", "POST") == 2)  # the refusal went out
    told = outputs_of(sim.requests.to("/responses", "POST")[-1])["call_1"]
    assert "Nobody could approve this call" in told
    typed = Console().run(kernel, "print('typed', input('Your name? '))", lambda _: {"typed": "Ada"})
    assert (typed.asked, typed.text) == (["Your name? "], "typed Ada\n")
    assert kernel.value("'evil' in globals()") is False


# Terminal IPython: no kernel, one way for what is shown and what is typed


@pytest.fixture
def terminal(sim: Simulator, tmp_path: Path) -> Iterator[pexpect.spawn]:
    """Start IPython under a pty, with the extension."""
    home = tmp_path / "codex-home"
    home.mkdir(mode=0o700)
    sim.write_home(home)
    sim.requests.clear()
    own = {"CODEX_HOME": str(home), "IPYTHONDIR": str(tmp_path / "ipython"), "PYTHONPATH": str(ROOT)}
    options = ["--no-banner", "--no-confirm-exit", "--simple-prompt", "--colors=NoColor", "--ext=codex_nb"]
    child = pexpect.spawn(
        sys.executable,
        ["-m", "IPython", *options],
        env={**os.environ, **sim.environ(), **own, "TERM": "xterm"},
        encoding="utf-8",
        timeout=PATIENCE_S,
        dimensions=(50, 200),
    )
    child.expect(r"In \[1\]:")
    type_line(child, "import contextlib, io; ask = get_ipython().run_cell_magic")
    child.expect(r"In \[2\]:")
    yield child
    child.close(force=True)


def type_line(child: pexpect.spawn, line: str) -> None:
    child.send(line + "\r")


def asked(child: pexpect.spawn) -> str:
    """Wait for a question; return what is above it, without colours."""
    child.expect_exact("Run it? ")
    return plain(child.before)


def plain(text: str) -> str:
    """Return a terminal's text without colours, which a line that wraps ends and begins anew."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def held(child: pexpect.spawn, names: tuple[str, ...]) -> tuple[bool, ...]:
    """Return which names the user's namespace contains."""
    type_line(child, "; ".join(f"print({name!r}, {name!r} in globals(), end='.\\n')" for name in names))
    found = []
    for name in names:
        child.expect(rf"{name} (True|False)\.")
        found.append(child.match[1] == "True")
    return tuple(found)


@pytest.mark.parametrize("order", orders("terminal"))
def test_in_a_terminal_too_a_server_that_contradicts_itself_runs_nothing_unseen(
    terminal: pexpect.spawn, sim: Simulator, order: str
) -> None:
    sim.add_replies(*orders("terminal")[order])
    type_line(terminal, "ask('codex', '--fresh --no-context', 'Do it.')")
    answered_before = order.startswith("the id of an answered call")
    if answered_before:
        assert HARMLESS in asked(terminal)
        type_line(terminal, "y")
    assert terminal.expect([r"In \[3\]:", r"Run it\? "]) == 0
    assert "None of its tool calls ran" in " ".join(plain(terminal.before).split())
    assert held(terminal, ("shown", "evil")) == (answered_before, False)


def test_in_a_terminal_each_question_stands_below_its_own_code(
    terminal: pexpect.spawn, sim: Simulator
) -> None:
    calls = [item("terminal", code, f"call_{n}", n) for n, code in enumerate((HARMLESS, HIDDEN))]
    sim.add_replies(Reply(stream=(*map(Item, calls), End())), Reply(stream=(Say("Done."), End())))
    type_line(terminal, "ask('codex', '--fresh --no-context', 'Do it.')")
    for code, answer in ((HARMLESS, "y"), (HIDDEN, "n")):
        told = asked(terminal)
        assert [told.count(each) for each in (HARMLESS, HIDDEN)] == [code == HARMLESS, code == HIDDEN]
        type_line(terminal, answer)
    terminal.expect(r"In \[3\]:")
    assert held(terminal, ("shown", "evil")) == (True, False)


@pytest.mark.parametrize(
    "stream", ["io.StringIO()", "type('Log', (io.StringIO,), {'isatty': lambda _: True})()"]
)
def test_in_a_terminal_a_redirected_stdout_asks_nothing(
    terminal: pexpect.spawn, sim: Simulator, stream: str
) -> None:
    sim.add_replies(
        Reply(stream=(Item(item("terminal", HIDDEN, "call_1")), End())), Reply(stream=(Say("Done."), End()))
    )
    type_line(
        terminal,
        f"with contextlib.redirect_stdout({stream}): ask('codex', '--fresh --no-context', 'Do it.')\r",
    )
    terminal.expect(r"In \[3\]:")
    assert "captured" in outputs_of(sim.requests.to("/responses", "POST")[-1])["call_1"]
    assert held(terminal, ("evil",)) == (False,)
