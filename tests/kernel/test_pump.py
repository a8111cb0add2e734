"""While a cell waits for an answer, its kernel handles clicks; everything else waits for the cell to end."""

from __future__ import annotations

from tests.kernel.kernel_client import RunningKernel

RELEASE = {"do": "release"}


def test_a_click_reaches_python_on_the_main_thread_while_the_cell_runs(kernel: RunningKernel) -> None:
    cell = kernel.start("answer = show(until_pressed)")
    kernel.read_text("started")
    kernel.click(**RELEASE)
    assert kernel.finish(cell)["status"] == "ok"
    assert kernel.value("(clicks, pumps)") == ([("MainThread", RELEASE)], ["KernelPump"])


def test_what_a_click_prints_belongs_to_the_click_and_the_rest_to_the_cell(kernel: RunningKernel) -> None:
    cell = kernel.start("show(until_pressed); print('after')")
    kernel.read_text("started")
    click = kernel.click(**RELEASE)
    kernel.finish(cell)
    assert (kernel.text(click), kernel.text(cell)) == ("click 1\n", "started released <completed>\nafter\n")


def test_a_queued_cell_runs_after_the_cell(kernel: RunningKernel) -> None:
    first = kernel.start("show(until_pressed)")
    kernel.read_text("started")
    second = kernel.start("print('second', len(clicks))")
    third = kernel.start("print('third')")
    kernel.click(**RELEASE)
    assert [kernel.finish(cell)["status"] for cell in (first, second, third)] == ["ok", "ok", "ok"]
    assert (kernel.text(second), kernel.text(third)) == ("second 1\n", "third\n")
    assert _order(kernel, first, second, third) == [first, second, third]


def test_when_the_cell_raises_the_queued_ones_are_aborted_as_always(kernel: RunningKernel) -> None:
    first = kernel.start("show(until_pressed); 1/0")
    kernel.read_text("started")
    second = kernel.start("print('never')")
    kernel.click(**RELEASE)
    assert [kernel.finish(cell)["status"] for cell in (first, second)] == ["error", "aborted"]
    assert kernel.value("1 + 1") == 2


def test_a_page_that_reconnects_is_answered_while_the_cell_runs(kernel: RunningKernel) -> None:
    cell = kernel.start("show(until_pressed)")
    kernel.read_text("started")
    info = kernel.request("kernel_info_request", {})
    comms = kernel.request("comm_info_request", {"target_name": "button"})
    assert kernel.reply(info)["language_info"]["name"] == "python"
    assert "button" in kernel.reply(comms)["comms"]
    assert cell not in kernel.replies
    kernel.click(**RELEASE)
    assert kernel.finish(cell)["status"] == "ok"


def test_a_completion_asked_for_meanwhile_is_answered_afterwards(kernel: RunningKernel) -> None:
    cell = kernel.start("show(until_pressed)")
    kernel.read_text("started")
    completion = kernel.request("complete_request", {"code": "until_pre", "cursor_pos": 9})
    kernel.click(**RELEASE)
    assert "until_pressed" in kernel.reply(completion)["matches"]
    assert kernel.finish(cell)["status"] == "ok"


def test_a_click_whose_handler_fails_is_logged_and_the_cell_goes_on(kernel: RunningKernel) -> None:
    kernel.run("""
        import logging
        class Noted(logging.Handler):
            def emit(self, record): results.append(str(record.exc_info and record.exc_info[1]))
        noted = Noted()
        loggers = [shell.kernel.log, logging.getLogger("Comm"), logging.getLogger("ipykernel.comm")]
        for logger in loggers: logger.addHandler(noted)
    """)
    cell = kernel.start("show(until_pressed)")
    kernel.read_text("started")
    kernel.click(do="raise")
    kernel.click(**RELEASE)
    assert kernel.finish(cell)["status"] == "ok"
    kernel.run("for logger in loggers: logger.removeHandler(noted)")
    assert kernel.value("(len(clicks), [each for each in results if each != 'None'])") == (
        2,
        ["the handler of the click failed"],
    )


def test_a_handler_that_must_wait_for_the_loop_is_seen_through_after_the_cell(kernel: RunningKernel) -> None:
    kernel.run("""
        import asyncio
        usual = shell.kernel.shell_handlers["comm_info_request"]
        async def patient(stream, ident, parent):
            await asyncio.sleep(0.01)
            await usual(stream, ident, parent)
        shell.kernel.shell_handlers["comm_info_request"] = patient
    """)
    cell = kernel.start("show(until_pressed)")
    kernel.read_text("started")
    comms = kernel.request("comm_info_request", {})
    kernel.click(**RELEASE)
    assert kernel.finish(cell)["status"] == "ok"
    assert "button" in kernel.finish(comms)["comms"]
    kernel.run('shell.kernel.shell_handlers["comm_info_request"] = usual')


def test_a_click_reports_busy_and_idle_and_the_kernel_stays_busy_with_the_cell(kernel: RunningKernel) -> None:
    cell = kernel.start("show(until_pressed)")
    kernel.read_text("started")
    click = kernel.click(do="nothing")
    kernel.read_text("click 1")
    kernel.click(**RELEASE)
    kernel.finish(cell)
    states = [
        (message["parent_header"]["msg_id"], message["content"]["execution_state"])
        for message in kernel.published
        if message["msg_type"] == "status" and message["parent_header"].get("msg_id") in {cell, click}
    ]
    assert states == [
        (cell, "busy"),
        (click, "busy"),
        (click, "idle"),
        (cell, "busy"),
        (cell, "busy"),
        (cell, "idle"),
    ]


def test_a_turn_inside_a_turn_keeps_the_order_of_queued_cells(kernel: RunningKernel) -> None:
    first = kernel.start("show(running_code('show(until_pressed)'))")
    kernel.read_text("started")
    second = kernel.start("print('second')")
    third = kernel.start("print('third')")
    kernel.click(**RELEASE)
    assert [kernel.finish(cell)["status"] for cell in (first, second, third)] == ["ok", "ok", "ok"]
    assert _order(kernel, first, second, third) == [first, second, third]


def test_code_that_awaits_keeps_the_order_of_queued_cells(kernel: RunningKernel) -> None:
    waiting = "import asyncio\nprint('waiting')\nawait asyncio.sleep(0.5)\nprint('waited')"
    turn = f"both(until_pressed, running_code({waiting!r}))"
    first = kernel.start(f"show({turn})")
    kernel.read_text("started")
    second = kernel.start("print('second')")
    kernel.click(**RELEASE)
    kernel.read_text("waiting")
    third = kernel.start("print('third')")
    kernel.read_text("waited")
    assert [kernel.finish(cell)["status"] for cell in (first, second, third)] == ["ok", "ok", "ok"]
    assert _order(kernel, first, second, third) == [first, second, third]


def _order(kernel: RunningKernel, *cells: str) -> list[str]:
    """Return the cells in the order in which they began to run."""
    began = [
        message["parent_header"]["msg_id"]
        for message in kernel.published
        if message["msg_type"] == "execute_input"
    ]
    return [cell for cell in began if cell in cells]
