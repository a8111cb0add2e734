"""The kernel's interrupt during a stream: until the cell is free, and until the HTTP stream is closed."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from jupyter_client.manager import KernelManager

from codex_nb.simulator.scenario import Reply, Say, Scenario
from tests.benchmarks.simulated import PATIENCE_S, signed_in
from tests.benchmarks.table import Reference, Row, Topic

ROUNDS = 5
ENDLESS = Scenario((Reply(stream=(Say("This goes on and on. " * 40, gate="interrupted"),), times=None),))


@dataclass(frozen=True)
class Stopped:
    """Milliseconds from the interrupt."""

    cell_free: float
    stream_closed: float


def interrupt_once() -> list[Stopped]:
    """Interrupt some streaming cells of one kernel."""
    with signed_in(ENDLESS) as (simulator, environ):
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
                simulator.requests.wait(lambda log, n=number: log.count("/responses") > n, PATIENCE_S)
                simulator.wait_held("interrupted", PATIENCE_S)
                time.sleep(0.3)  # what arrived is drawn, the cell waits for more
                begin = time.monotonic()
                manager.interrupt_kernel()
                request = simulator.requests.to("/responses", "POST")[-1]
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
    stopped = interrupt_once()
    human = Reference("what a person notices", 300)
    found = []
    for what, times in (
        ("the cell is free", [one.cell_free for one in stopped]),
        ("the HTTP stream is closed", [one.stream_closed for one in stopped]),
    ):
        row = f"interrupt: {what}; worst of {len(times)}: {max(times):.0f}"
        found.append(Row(Topic.INTERRUPT, row, statistics.median(times), "ms", human))
    return found
