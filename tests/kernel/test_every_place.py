"""Consoles, unattended runs, and front ends without widgets."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
import pexpect
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from codex_nb.simulator import Call, End, Reply, Say, Simulator, Think, error_replies
from tests.kernel.front_ends import APPROVE, AskingFrontEnd, Colab, Console, Headless, Page, Ran, left_of
from tests.kernel.kernel_client import RunningKernel, running
from tests.kernel.provision import VERSIONS
from tests.patience import PATIENCE_S

PLAIN = {"text/html", "text/markdown", "text/plain"}
SLOWLY = Say("**Word by word** it goes on and on, for a second or two.", delta_chars=2, delay_s=0.06)
CALL = (
    Reply(stream=(Say("I look."), Call("run_python", {"code": "print('ran', 6 * 7)"}, call_id="c"), End())),
    Reply(stream=(Say("It *is* 42."), End())),
)
HEADLESS = [
    "%load_ext codex_nb",
    "%%codex\nHow many?",
    "%codex status",
    "print(_codex.text, len(_codex.items))",
]


@pytest.fixture
def environ(environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Give the variables of somebody who has a Jupyter of their own as well."""
    folders = {f"JUPYTER_{name}_DIR": str(tmp_path / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    return environ | folders


@pytest.fixture
def kernel(environ: dict[str, str]) -> Iterator[RunningKernel]:
    """Start a kernel with the extension loaded."""
    with running(VERSIONS[-1], environ) as kernel:
        assert kernel.run("%load_ext codex_nb")["status"] == "ok"
        yield kernel


# jupyter console


@pytest.mark.parametrize("is_simple", [True, False], ids=["simple prompt", "full prompt"])
def test_jupyter_console_streams_text_and_asks_by_typing(
    environ: dict[str, str], sim: Simulator, is_simple: bool
) -> None:
    sim.add_replies(*CALL)
    options = ["--simple-prompt"] if is_simple else []
    screen = io.StringIO()
    console = pexpect.spawn(
        sys.executable,
        ["-m", "jupyter_console", *options],
        env=environ | {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
        encoding="utf-8",
        timeout=PATIENCE_S,
        dimensions=(50, 200),
    )
    console.logfile_read = screen
    try:
        console.expect(prompt(1))
        console.send("%load_ext codex_nb\r")
        console.expect(prompt(2))
        console.send("%codex What is it?\r" if is_simple else "%%codex\rWhat is it?\r\r\r")
        console.expect_exact("print('ran', 6 * 7)")
        console.expect_exact("Run it? [y]es")
        console.send("y\r")
        console.expect(prompt(3))
        console.sendeof()
    finally:
        console.close(force=True)
    shown = screen.getvalue()
    for text in ("I look.", "ran 42", "It *is* 42.", "ChatGPT Plus"):
        assert text in shown
    assert [word for word in ("<div", "<p>", "codex-", "Widget", "widget", "Output()") if word in shown] == []


def prompt(number: int) -> str:
    """Return the pattern of an input prompt, coloured or not."""
    color = r"(?:\x1b\[[0-9;]*m)*"
    return rf"In \[{color}{number}{color}\]: "


# Unattended runs


def by_nbclient(
    notebook: nbformat.NotebookNode, folder: Path, environ: Mapping[str, str]
) -> nbformat.NotebookNode:
    client = NotebookClient(notebook, timeout=PATIENCE_S, kernel_name="python3", allow_errors=True)
    return client.execute(env=dict(environ), cwd=str(folder))


def by_papermill(
    notebook: nbformat.NotebookNode, folder: Path, environ: Mapping[str, str]
) -> nbformat.NotebookNode:
    nbformat.write(notebook, folder / "in.ipynb")
    options = ["in.ipynb", "out.ipynb", "--kernel", "python3", "--no-progress-bar"]
    subprocess.run(
        [sys.executable, "-m", "papermill", *options],
        env=dict(environ),
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=PATIENCE_S,
    )
    return nbformat.read(folder / "out.ipynb", as_version=4)


@pytest.mark.parametrize("run", [by_nbclient, by_papermill], ids=["nbclient", "papermill"])
def test_without_a_person_there_is_plain_text_no_question_and_no_widget(
    run: Callable[..., nbformat.NotebookNode], environ: dict[str, str], sim: Simulator, tmp_path: Path
) -> None:
    sim.add_replies(*CALL)
    notebook = new_notebook(cells=[new_code_cell(source) for source in HEADLESS])
    ran = run(notebook, tmp_path, environ)
    _, answer, status, last = [cell.outputs for cell in ran.cells]
    assert {output.get("name") for output in answer} == {"stdout"}
    written = "".join(output.text for output in answer)
    for text in ("I look.", "Nobody could approve this call", "It *is* 42."):
        assert text in written
    assert "ran 42" not in written
    assert "Run it?" not in written
    assert "a…@example.com" in str(status)
    assert last[0].text.startswith("It *is* 42.")
    assert "widget" not in nbformat.writes(ran)


# Front ends with a document but without the widget's half


def test_where_no_widget_answers_html_is_replaced_as_it_comes_and_a_bundle_stays(
    kernel: RunningKernel, sim: Simulator
) -> None:
    sim.add_replies(Reply(stream=(SLOWLY, End())))
    ran = Colab().run(kernel, "%%codex\nGo on.", nobody)
    assert ran.status == "ok"
    shown = [text for text in updates(kernel) if "Word" in text]
    assert len(shown) > 2  # more than the beginning and the end
    assert shown == sorted(shown, key=len)
    (left,) = outputs_left(kernel)
    assert set(left) == PLAIN
    assert "<strong>Word by word</strong> it goes on and on, for a second or two." in left["text/html"]
    waiting = widgets_left(kernel)  # for an answer that may still come; the next question has one of its own
    sim.add_replies(Reply(stream=(Say("Again."), End())))
    assert Colab().run(kernel, "%%codex\nAgain.", nobody).status == "ok"
    assert (len(waiting), waiting & widgets_left(kernel)) == (2, set())


def test_where_no_widget_answers_consent_is_asked_for_by_typing(
    kernel: RunningKernel, sim: Simulator
) -> None:
    sim.add_replies(*CALL)
    ran = Colab().run(kernel, "%%codex\nLook.", approve)
    assert (ran.status, len(ran.asked)) == ("ok", 1)
    kept = outputs_left(kernel)
    assert [set(data) & PLAIN for data in kept if "text/html" in data] == [PLAIN] * 2
    assert "ran 42\n" in [data.get("stream") for data in kept]
    assert "It <em>is</em> 42." in kept[-1]["text/html"]


class Slow(Page):
    """A page that loads the widget's script too late for the first cell, and draws the next one's after a while."""

    DRAWS_AFTER_S = 0.7  # longer than a front end that never answers is waited for

    def __init__(self) -> None:
        super().__init__()
        self.loading: str | None = None
        self.has_loaded = False

    def _take(
        self, kernel: RunningKernel, message: Mapping[str, Any], on_ask: Callable[[str], Mapping[str, Any]]
    ) -> None:
        kind, content = message["msg_type"], message["content"]
        if kind == "comm_open" and not self.has_loaded and "_esm" in content["data"]["state"]:
            self.loading = content["comm_id"]
            return
        if kind == "comm_open" and self.has_loaded:
            time.sleep(self.DRAWS_AFTER_S)
        if kind == "update_display_data" and self.loading is not None:
            self._say(kernel, self.loading, {"kind": "loaded"})
            self.loading, self.has_loaded = None, True
        super()._take(kernel, message, on_ask)


def test_a_widget_that_came_too_late_for_one_cell_is_waited_for_by_the_next(
    kernel: RunningKernel, sim: Simulator
) -> None:
    sim.add_replies(Reply(stream=(SLOWLY, End())), Reply(stream=(Say("An *answer*."), End())))
    page, drawn = Slow(), []
    for question in ("Go on.", "Answer."):
        assert page.run(kernel, f"%%codex\n{question}", nobody).status == "ok"
        drawn.append(frames(kernel) > 0)
        kernel.run("'what the front end said last has been taken'")
    assert drawn == [False, True]


# From Python


ASKS = "import codex_nb\nfor _ in range(3): answer = codex_nb.ask('hi')"


def test_asking_from_python_shows_one_live_line_in_its_cell(kernel: RunningKernel, sim: Simulator) -> None:
    sim.add_replies(Reply(stream=(Think("Looking."), Say("An answer."), End()), times=3))
    assert Page().run(kernel, ASKS, nobody).status == "ok"
    shown = [
        (each["msg_type"], each["content"]["data"]["text/plain"])
        for each in kernel.published
        if each["msg_type"].endswith("display_data")
    ]
    assert [kind for kind, _ in shown].count("display_data") == 1
    assert len({text for _, text in shown}) > 1
    (left,) = left_of(kernel)
    assert "tokens in" in left


def test_asking_from_python_shows_nothing_where_nobody_sees_it(kernel: RunningKernel) -> None:
    assert Headless().run(kernel, ASKS, nobody).status == "ok"
    assert left_of(kernel) == []
    assert Page().run(kernel, f"%%capture captured\n{ASKS}", nobody).status == "ok"
    assert left_of(kernel) == []


# What cannot be asked


def test_a_wrong_option_leaves_its_line_and_no_widget(kernel: RunningKernel) -> None:
    ran = Page().run(kernel, "%%codex --schema Nope\nhi", nobody)
    kernel.run("'what the front end said last has been taken'")
    (line,) = [data["stream"] for data in outputs_left(kernel) if "stream" in data]
    assert (ran.status, line) == (
        "error",
        "UsageError: --schema Nope: 'Nope' is not in your namespace. See %codex help.\n",
    )
    assert [m for m in kernel.published if m["msg_type"] in {"comm_open", "display_data"}] == []


def test_a_failed_answer_says_why_and_the_error_of_the_cell_is_its_class_alone(
    kernel: RunningKernel, sim: Simulator
) -> None:
    sim.add_replies(error_replies.bad_request("boom"))
    assert Page().run(kernel, "%%codex\nhi", nobody).status == "error"
    kernel.run("'what the front end said last has been taken'")
    (error,) = [each["content"] for each in kernel.published if each["msg_type"] == "error"]
    assert (error["ename"], error["traceback"]) == ("BadRequest", ["BadRequest"])
    assert "boom" in error["evalue"]


# The setting overrides what would be chosen


@pytest.mark.parametrize(
    ("display", "front_end", "kinds"),
    [
        ("auto", Page(), [PLAIN]),
        ("text", Page(), [{"stream"}]),
        ("html", Page(), [PLAIN]),
        ("widget", Page(cell_id=None), [PLAIN]),
        ("auto", Page(cell_id=None), [{"stream"}]),
        ("html", Console(), [PLAIN]),
        ("text", Colab(), [{"stream"}]),
        ("widget", Colab(), [PLAIN]),
        ("auto", Console(), [{"stream"}]),
    ],
    ids=lambda value: (
        type(value).__name__ if hasattr(value, "run") else str(value) if isinstance(value, str) else ""
    ),
)
def test_the_setting_overrides_the_choice(
    kernel: RunningKernel, sim: Simulator, display: str, front_end: AskingFrontEnd, kinds: list[set[str]]
) -> None:
    sim.add_replies(Reply(stream=(Say("An *answer*."), End())))
    assert kernel.run(f"%config CodexMagics.display = {display!r}")["status"] == "ok"
    kernel.published.clear()
    ran: Ran = front_end.run(kernel, "%%codex\nAnswer.", nobody)
    kernel.run("'what the front end said last has been taken'")
    kernel.published[:] = [message for message in kernel.published if message["msg_type"] != "execute_result"]
    assert (ran.status, ran.asked) == ("ok", [])
    assert [set(data) for data in outputs_left(kernel)] == kinds
    is_answered_by_a_widget = (
        display in {"auto", "widget"} and isinstance(front_end, Page) and kinds == [PLAIN]
    )
    assert (frames(kernel) > 0) == is_answered_by_a_widget
    assert ("comm_open" in [message["msg_type"] for message in kernel.published]) == (
        is_answered_by_a_widget or (display == "widget")
    )
    assert (widgets_left(kernel) != set()) == (display == "widget" and isinstance(front_end, Colab))


def nobody(prompt: str) -> Mapping[str, Any]:
    message = f"nothing should ask: {prompt}"
    raise AssertionError(message)


def approve(_: str) -> Mapping[str, Any]:
    return APPROVE


def updates(kernel: RunningKernel) -> list[str]:
    """Return each HTML that the cell's outputs were given, in order, as text."""
    found = [message["content"].get("data", {}).get("text/html", "") for message in kernel.published]
    return [re.sub(r"<[^>]+>", "", html) for html in found if html]


def frames(kernel: RunningKernel) -> int:
    """Count the frames that were sent to a widget."""
    said = [message["content"]["data"] for message in kernel.published if message["msg_type"] == "comm_msg"]
    return sum(data.get("content", {}).get("kind") in {"frame", "full"} for data in said)


def outputs_left(kernel: RunningKernel) -> list[dict[str, Any]]:
    """Return the outputs as a front end has them at the end: data by type, a stream's text under ``stream``."""
    outputs: list[dict[str, Any]] = []
    shown: dict[str, dict[str, Any]] = {}
    for message in kernel.published:
        content, kind = message["content"], message["msg_type"]
        if kind == "stream":
            if not (outputs and "stream" in outputs[-1]):
                outputs.append({"stream": ""})
            outputs[-1]["stream"] += content["text"]
        elif kind in {"display_data", "execute_result"}:
            outputs.append(dict(content["data"]))
            shown[content.get("transient", {}).get("display_id", "")] = outputs[-1]
        elif kind == "update_display_data":
            output = shown[content["transient"]["display_id"]]
            output.clear()
            output.update(content["data"])
    return outputs


def widgets_left(kernel: RunningKernel) -> set[str]:
    """Return the widgets that were opened and not closed."""
    opened = {m["content"]["comm_id"] for m in kernel.published if m["msg_type"] == "comm_open"}
    closed = {m["content"]["comm_id"] for m in kernel.published if m["msg_type"] == "comm_close"}
    return opened - closed
