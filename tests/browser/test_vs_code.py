"""VS Code's widget manager with a real kernel: the live transcript, and the fallbacks without a widget."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext

from codex_nb.simulator import Call, End, Reply, Say, Simulator, Think
from tests.browser.asking import LOAD, lead_to
from tests.browser.jupyter_server import FrontEnd, JupyterServer
from tests.browser.vs_code import VsCode, widget_scripts
from tests.patience import PATIENCE_S
from tests.sent import context_of, offered_tools, outputs_of

STDOUT = "application/vnd.code.notebook.stdout"
WIDGETS_LEFT = """from ipywidgets.widgets import widget
print([each for each in widget._instances.values() if "Codex" in type(each).__name__])"""
PLAIN = {"text/html", "text/markdown", "text/plain"}
CALL = (
    Reply(
        stream=(
            Think(("**Looking**\n\nIt is small.",)),
            Say("I *look* at it before I answer.", gate="middle"),
            Call("run_python", {"code": "print('ran', 6 * 7)"}, call_id="call_look"),
            End(),
        )
    ),
    Reply(stream=(Say("It **is** 42.\n\n```python\n6 * 7\n```", gate="end"), End())),
)


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """Run a simulator with its usual behaviour."""
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def vs_code(
    browser_context: BrowserContext,
    servers: Callable[[FrontEnd], JupyterServer],
    sim: Simulator,
    kernel_environ: dict[str, str],
) -> Iterator[VsCode]:
    """Give a notebook whose kernel is signed in to the simulator; it is not open yet."""
    server = servers(FrontEnd.LAB)
    lead_to(sim, kernel_environ)
    page = VsCode(browser_context.new_page(), server, server.add_kernel(kernel_environ))
    yield page
    page.close()


def test_the_transcript_streams_asks_for_approval_and_is_saved_as_a_bundle(
    vs_code: VsCode, sim: Simulator
) -> None:
    sim.add_replies(*CALL)
    vs_code.open(widget_scripts())
    vs_code.run(LOAD)
    cell = vs_code.start("%%codex\nWhat is it?")
    shown = vs_code.output(cell)

    shown.locator(".codex-live em", has_text="look").wait_for()  # the response stops in the middle
    assert (vs_code.state(cell), sim.requests.count("/responses", "POST")) == ("running", 1)
    sim.release("middle")
    shown.get_by_role("button", name="Approve", exact=True).click()
    shown.locator(
        ".codex-live strong", has_text="is"
    ).wait_for()  # in a second transcript, below what was printed
    assert (vs_code.state(cell), "ran 42" in shown.inner_text()) == ("running", True)
    sim.release("end")
    vs_code.wait_until_run(cell)

    shown.locator(".codex-live").wait_for(state="detached")
    assert [set(data) for data in vs_code.outputs(cell)] == [PLAIN, {STDOUT}, PLAIN]
    assert "It is 42." in shown.inner_text()
    shown.locator(".codex-fresh .highlight").last.get_by_role("button", name="Copy").wait_for()
    assert vs_code.outputs(vs_code.run(WIDGETS_LEFT)) == [{STDOUT: "[]\n"}]
    assert (vs_code.missing(), vs_code.console_errors, vs_code.script_errors) == ([], [], [])


def test_retry_asks_again_after_a_stopped_answer_in_vs_code(vs_code: VsCode, sim: Simulator) -> None:
    sim.add_replies(Reply(stream=(Say("It begins", gate="never"), End())))
    sim.add_replies(Reply(stream=(Say("This time it ends."), End())))
    vs_code.open(widget_scripts())
    vs_code.run(LOAD)
    cell = vs_code.start("%%codex\nGo on.")
    shown = vs_code.output(cell)
    shown.get_by_text("It begins").wait_for()
    shown.get_by_role("button", name="Stop").click()
    vs_code.wait_until_run(cell)
    shown.get_by_role("button", name="Retry").click()
    vs_code.page.get_by_text("This time it ends.").wait_for()
    assert vs_code.script_errors == []


def test_the_context_is_the_cells_that_ran_and_no_cells_are_inserted(vs_code: VsCode, sim: Simulator) -> None:
    cells = {"cells": [{"kind": "code", "source": "inserted = 1"}]}
    sim.add_replies(Reply(stream=(Call("insert_cells", cells, call_id="call_insert"), End())))
    sim.add_replies(Reply(stream=(Say("Done.\n\n```python\n1\n```"), End())))
    vs_code.open(widget_scripts())
    vs_code.run(LOAD)
    vs_code.run("altitude = 8848")
    cell = vs_code.start("%%codex --approval all\nInsert one.")
    vs_code.wait_until_run(cell)
    first, second = sim.requests.to("/responses", "POST")
    assert "altitude = 8848" in context_of(first)
    assert "inserted = 1" not in str(outputs_of(second))
    assert "unsupported call: insert_cells" in str(outputs_of(second))
    assert not offered_tools(first) & {
        "read_cells",
        "insert_cells",
        "edit_cell",
        "delete_cells",
        "move_cell",
        "run_cell",
    }
    tools = vs_code.output(cell).locator(".codex-fresh .codex-code-tools").last
    tools.get_by_role("button", name="Copy").wait_for()
    assert tools.get_by_role("button").count() == 1


def test_a_sign_in_appears_in_the_cell_and_the_cell_continues(vs_code: VsCode, sim: Simulator) -> None:
    sim.add_replies(Reply(stream=(Say("Here again."), End()), authenticated=True))
    sim.expire_access_tokens()
    sim.expire_refresh_tokens()
    vs_code.open(widget_scripts())
    vs_code.run(LOAD)
    cell = vs_code.start("%%codex\nWho am I?")
    shown = vs_code.output(cell)
    shown.locator(".codex-live").wait_for()
    assert sim.requests.wait(lambda log: log.count("/deviceauth/token") > 0, PATIENCE_S)
    (code,) = sim.waiting_device_codes()
    shown.get_by_text(code).wait_for()
    sim.approve_device_code(code)
    vs_code.wait_until_run(cell)
    *nothing, signed_in, answer = vs_code.outputs(cell)  # a widget cannot come in the place of another there
    assert [data["text/plain"] for data in nothing] in ([], [""])
    assert "Signed in as a…@example.com" in signed_in["text/plain"]
    assert "Here again." in answer["text/plain"]
    assert vs_code.script_errors == []


def test_without_the_widget_answers_are_html_and_approval_is_typed(vs_code: VsCode, sim: Simulator) -> None:
    sim.add_replies(*CALL)
    vs_code.open({})
    vs_code.run(LOAD)
    cell = vs_code.start("%%codex\nWhat is it?")
    shown = vs_code.output(cell)

    shown.locator("em", has_text="look").wait_for()
    assert (vs_code.state(cell), set(vs_code.missing())) == ("running", {"anywidget"})
    sim.release("middle")
    assert "Run it?" in vs_code.type_in("y")
    shown.get_by_text("It is 42.").wait_for()
    sim.release("end")
    vs_code.wait_until_run(cell)

    assert [set(data) for data in vs_code.outputs(cell)] == [PLAIN, {STDOUT}, PLAIN]
    assert [
        word for word in ("Error", "Failed", "anywidget", "Codex is answering") if word in shown.inner_text()
    ] == []
    assert vs_code.script_errors == []


def test_a_widget_loaded_too_late_for_one_cell_works_in_the_next(vs_code: VsCode, sim: Simulator) -> None:
    sim.add_replies(Reply(stream=(Say("First comes HTML.", gate="first"), End())))
    sim.add_replies(Reply(stream=(Say("Then comes a widget.", gate="second"), End())))
    vs_code.open(widget_scripts(), late_ms=3000)
    vs_code.run(LOAD)
    first = vs_code.start("%%codex\nOne.")
    vs_code.output(first).locator(".codex-answer").wait_for()
    vs_code.page.wait_for_function("() => window.requirejs.defined('anywidget')")
    sim.release("first")
    vs_code.wait_until_run(first)
    second = vs_code.start("%%codex\nTwo.")
    vs_code.output(second).locator(".codex-live").wait_for()
    sim.release("second")
    vs_code.wait_until_run(second)
    assert [set(data) for data in vs_code.outputs(first)] == [PLAIN]
    assert "First comes HTML." in vs_code.output(first).inner_text()
    assert vs_code.script_errors == []
