"""The kernel's interrupt during a stream: until the cell is free, and until the stream is closed, by transport."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from jupyter_client.manager import KernelManager

from codex_nb.simulator.scenario import FRAME, Reply, Say, Scenario
from tests.benchmarks.simulated import PATIENCE_S, signed_in
from tests.benchmarks.table import Reference, Row, Topic

ROUNDS = 5
ENDLESS = Scenario((Reply(stream=(Say("This goes on and on. " * 40, gate="interrupted"),), times=None),))


@dataclass(frozen=True)
class Stopped:
    """Milliseconds from the interrupt."""

    cell_free: float
    stream_closed: float


def interrupt_once(transport: str) -> list[Stopped]:
    """Interrupt some streaming cells of one kernel."""
    method = FRAME if transport == "websocket" else "POST"
    with signed_in(ENDLESS) as (simulator, environ):
        environ["CODEX_NB_TRANSPORT"] = transport
        manager = KernelManager(kernel_name="python3")
        manager.start_kernel(env=environ)
        client = manager.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=PATIENCE_S)
            client.execute_interactive("%load_ext codex_nb", timeout=PATIENCE_S, output_hook=lambda _: None)
            stopped = []
            for number in range(ROUNDS):
                question = client.execute("%%codex --no-tools\nGo on and on.")
                simulator.requests.wait(lambda log, n=number: log.count("/responses", method) > n, PATIENCE_S)
                simulator.wait_held("interrupted", PATIENCE_S)
                time.sleep(0.3)  # what arrived is drawn, the cell waits for more
                begin = time.monotonic()
                manager.interrupt_kernel()
                request = simulator.requests.to("/responses", method)[-1]
                simulator.requests.wait(lambda _, r=request: r.outcome == "client_closed", PATIENCE_S)
                closed = time.monotonic()
                while client.get_shell_msg(timeout=PATIENCE_S)["parent_header"].get("msg_id") != question:
                    pass
                free = time.monotonic()
                stopped.append(Stopped((free - begin) * 1000, (closed - begin) * 1000))
            return stopped
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


def rows() -> list[Row]:
    """Measure in a kernel of the newest kind."""
    http, socket = (interrupt_once(transport) for transport in ("http", "websocket"))
    human = Reference("what a person notices", 300)
    found = []
    for what, times in (
        ("the cell is free", [one.cell_free for one in http]),
        ("the HTTP stream is closed", [one.stream_closed for one in http]),
        ("the cell is free, over a websocket", [one.cell_free for one in socket]),
        ("the websocket is closed", [one.stream_closed for one in socket]),
    ):
        row = f"interrupt: {what}; worst of {len(times)}: {max(times):.0f}"
        found.append(Row(Topic.INTERRUPT, row, statistics.median(times), "ms", human))
    return found
