"""Stop and interrupt end a streaming cell, close its connection and leave the kernel usable."""

from __future__ import annotations

from tests.kernel.dripping import DrippingServer
from tests.kernel.kernel_client import TIMEOUT_S, RunningKernel


def start_streaming(
    kernel: RunningKernel, server: DrippingServer, code: str = "show(streaming_from(url))"
) -> str:
    assert kernel.run(f"url = {server.url!r}")["status"] == "ok"
    cell = kernel.start(code)
    kernel.read_text("drip")
    return cell


def test_the_kernels_interrupt_is_a_keyboard_interrupt_and_closes_the_stream(
    kernel: RunningKernel, server: DrippingServer
) -> None:
    cell = start_streaming(kernel, server)
    kernel.manager.interrupt_kernel()
    reply = kernel.finish(cell)
    assert (reply["status"], reply["ename"], reply["traceback"]) == (
        "error",
        "TurnInterrupted",
        ["KeyboardInterrupt: Interrupted. The partial answer is kept."],
    )
    assert server.saw_close.wait(TIMEOUT_S)
    assert kernel.text(cell).endswith("<cancelled>\n")


def test_code_that_catches_the_interrupt_has_the_partial_answer(
    kernel: RunningKernel, server: DrippingServer
) -> None:
    cell = start_streaming(
        kernel,
        server,
        "try: show(streaming_from(url))\nexcept KeyboardInterrupt as stopped: partial = stopped.answer",
    )
    queued = kernel.start("print(partial.status, partial.text.startswith('drip'))")
    kernel.manager.interrupt_kernel()
    assert [kernel.finish(each)["status"] for each in (cell, queued)] == ["ok", "ok"]
    assert kernel.text(queued) == "cancelled True\n"


def test_an_interrupt_aborts_queued_cells_as_any_keyboard_interrupt_does(
    kernel: RunningKernel, server: DrippingServer
) -> None:
    cell = start_streaming(kernel, server)
    queued = kernel.start("print('never')")
    kernel.reply(kernel.request("kernel_info_request", {}))  # so the cell before it has arrived, too
    kernel.manager.interrupt_kernel()
    assert [kernel.finish(each)["status"] for each in (cell, queued)] == ["error", "aborted"]


def test_the_stop_button_ends_the_cell_as_usual_and_queued_cells_run(
    kernel: RunningKernel, server: DrippingServer
) -> None:
    cell = start_streaming(kernel, server, "answer = show(streaming_from(url))")
    queued = kernel.start("print(answer.status)")
    kernel.click(do="stop")
    assert [kernel.finish(each)["status"] for each in (cell, queued)] == ["ok", "ok"]
    assert server.saw_close.wait(TIMEOUT_S)
    assert kernel.text(queued) == "cancelled\n"


def test_an_interrupt_of_the_models_code_breaks_it_and_ends_the_turn(kernel: RunningKernel) -> None:
    code = "import time\nprint('working')\nfor _ in range(3000): time.sleep(0.01)\nprint('worked')"
    cell = kernel.start(f"show(running_code({code!r}))")
    kernel.read_text("working")
    kernel.manager.interrupt_kernel()
    reply = kernel.finish(cell)
    assert (reply["status"], reply["ename"]) == ("error", "TurnInterrupted")
    assert "worked" not in kernel.text(cell)


def test_an_interrupt_of_awaiting_code_leaves_nothing_running(kernel: RunningKernel) -> None:
    code = (
        "import asyncio\nended = []\n"
        "try:\n    print('working')\n    await asyncio.sleep(600)\nfinally:\n    ended.append('cleaned up')"
    )
    cell = kernel.start(f"show(running_code({code!r}))")
    kernel.read_text("working")
    kernel.manager.interrupt_kernel()
    assert kernel.finish(cell)["ename"] == "TurnInterrupted"
    assert [name for kind, name in kernel.outputs(cell) if kind == "error"] == [
        "KeyboardInterrupt",
        "TurnInterrupted",
    ]
    assert kernel.value("ended") == ["cleaned up"]


def test_a_second_interrupt_breaks_a_click_that_hangs(kernel: RunningKernel) -> None:
    cell = kernel.start("show(until_pressed)")
    kernel.read_text("started")
    kernel.click(do="hang")
    kernel.read_text("click 1")
    kernel.manager.interrupt_kernel()
    kernel.read_text("interrupted once")
    kernel.manager.interrupt_kernel()
    assert kernel.finish(cell)["ename"] == "KeyboardInterrupt"
    assert kernel.run("show(running_code('1 + 1'))")["status"] == "ok"


def test_streams_close_as_before_after_the_loop_was_re_entered(
    kernel: RunningKernel, server: DrippingServer
) -> None:
    kernel.run("show(running_code('import asyncio\\nawait asyncio.sleep(0)'))")
    cell = start_streaming(kernel, server)
    kernel.click(do="stop")
    assert kernel.finish(cell)["status"] == "ok"
    assert server.saw_close.wait(TIMEOUT_S)


def test_after_an_interrupt_the_next_turn_and_the_loop_work_as_before(
    kernel: RunningKernel, server: DrippingServer
) -> None:
    cell = start_streaming(kernel, server)
    kernel.manager.interrupt_kernel()
    kernel.finish(cell)
    assert kernel.run("import asyncio\nawait asyncio.wait_for(asyncio.sleep(0.01), 10)")["status"] == "ok"
    assert kernel.run("show(running_code('1 + 1'))")["status"] == "ok"
