"""A background turn continues while other cells run; its tool calls wait for the main thread."""

from __future__ import annotations

from tests.kernel.dripping import DrippingServer
from tests.kernel.kernel_client import TIMEOUT_S, RunningKernel

BUSY = "import time\nprint('busy')\nwhile not seen: time.sleep(0.01)\nprint('was busy')"


def test_the_transcript_goes_on_while_another_cell_blocks_the_main_thread(
    kernel: RunningKernel, server: DrippingServer
) -> None:
    kernel.run(f"url = {server.url!r}")
    cell = kernel.start("future = show_in_background(streaming_from(url))")
    assert kernel.finish(cell)["status"] == "ok"
    kernel.read_text("drip")
    other = kernel.start("import time\nprint('blocking')\ntime.sleep(0.3)\nprint('blocked')")
    kernel.read_text("blocking")
    position = len(kernel.published)
    kernel.finish(other)
    meanwhile = [m["content"].get("text", "") for m in kernel.published[position:]]
    assert "drip" in "".join(meanwhile).partition("blocked")[0]
    drips = [m for m in kernel.published if "drip" in str(m["content"].get("text"))]
    assert {m["parent_header"]["msg_id"] for m in drips} == {cell}
    kernel.run("stop()")
    assert kernel.value("future.result(15).status") == "cancelled"
    assert server.saw_close.wait(TIMEOUT_S)


def test_a_call_waits_until_no_cell_runs_and_shows_in_its_own_cell(kernel: RunningKernel) -> None:
    kernel.run("seen = []")
    busy = kernel.start(BUSY.replace("while not seen", "for _ in range(30)").replace(": time", ":\n    time"))
    cell = kernel.start(
        "future = show_in_background(running_code('seen.append(threading.current_thread().name); print(\"ran\")'))"
    )
    assert [kernel.finish(each)["status"] for each in (busy, cell)] == ["ok", "ok"]
    assert kernel.run("import time\nprint('cell')")["status"] == "ok"
    ran = kernel.read_text("ran\n")
    assert ran["parent_header"]["msg_id"] == cell
    assert kernel.value("(seen, future.result(15).status)") == (["MainThread"], "completed")


def test_a_call_never_runs_in_the_middle_of_a_cell(kernel: RunningKernel) -> None:
    kernel.run("import asyncio\nlog = []")
    asking = kernel.start("future = show_in_background(running_code('log.append(\"call\")'))")
    code = "log.append('begin')\nfor _ in range(20): await asyncio.sleep(0.01)\nlog.append('end')"
    awaiting = kernel.start(code)
    assert [kernel.finish(each)["status"] for each in (asking, awaiting)] == ["ok", "ok"]
    assert kernel.value("future.result(15).status") == "completed"
    log = kernel.value("log")
    assert sorted(log) == ["begin", "call", "end"]
    assert log.index("end") == log.index("begin") + 1


def test_an_interrupt_of_a_background_call_ends_that_turn_and_nothing_else(kernel: RunningKernel) -> None:
    code = "import time\nprint('working')\nfor _ in range(3000): time.sleep(0.01)"
    kernel.run(f"future = show_in_background(running_code({code!r}))")
    kernel.read_text("working")
    kernel.manager.interrupt_kernel()
    assert kernel.run("print(future.result(15).status)")["status"] == "ok"
    assert kernel.value("future.result(15).status") == "cancelled"
