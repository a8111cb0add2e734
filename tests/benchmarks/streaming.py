"""What a streamed answer costs the kernel, the connection and the browser, in real JupyterLab, for three lengths."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import WebSocket, sync_playwright

from codex_nb.simulator.scenario import End, Reply, Say, Scenario
from tests import tiers
from tests.benchmarks.answers import answer_of
from tests.benchmarks.decode import MANY, events, in_chunks, microseconds, theirs
from tests.benchmarks.fresh import cpu_seconds
from tests.benchmarks.simulated import signed_in
from tests.benchmarks.table import Reference, Row, Topic
from tests.browser.conftest import CHROMIUM_FLAGS
from tests.browser.jupyter_server import FrontEnd, JupyterServer
from tests.browser.notebook_page import NotebookPage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from playwright.sync_api import CDPSession, Page

LENGTHS = (2_000, 20_000, 100_000)
DELTA_CHARS = 4
DELTA_DELAY_S = 0.001
WARM_UP = 1_500
ONE_WORD = "Hello."
PRINTING = (
    "import time\nfor _ in range(250):\n"
    "    print(('words ' * 13 + '.\\n') * 5, end='', flush=True)\n    time.sleep(0.1)"
)  # 100,000 characters without a mark, as any program may show them: the least that a page can be asked for
PATIENCE_MS = 240_000


class Traffic:
    """Counts what arrives from the kernel."""

    def __init__(self, page: Page) -> None:
        self.bytes = 0
        self.widget_messages = 0
        page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framereceived", self._count)

    def _count(self, payload: str | bytes) -> None:
        data = payload.encode() if isinstance(payload, str) else payload
        self.bytes += len(data)
        self.widget_messages += b'"method":"custom"' in data.replace(b": ", b":")


@dataclass(frozen=True)
class Cost:
    """One streamed answer; CPU and busy times in seconds, sizes in bytes."""

    seconds: float
    kernel_cpu: float
    received: int
    messages: int
    browser_busy: float
    stored: int


def busy_seconds(session: CDPSession) -> float:
    """Return the CPU time of the page's main thread so far; what other programs take from it does not count."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(float(metric["value"]) for metric in metrics if metric["name"] == "TaskDuration")


def costs(answers: Sequence[str]) -> Iterator[Cost]:
    """Stream the answers into cells of one notebook, one after the other; then print as much as the longest of them."""
    with (
        tempfile.TemporaryDirectory() as folder,
        signed_in() as (simulator, environ),
        JupyterServer(FrontEnd.LAB, Path(folder)) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=tiers.chromium(), args=list(CHROMIUM_FLAGS))
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        kernel = server.add_kernel({name: environ[name] for name in environ if name.startswith("CODEX_")})
        cells = ["%load_ext codex_nb\nimport os; print('pid', os.getpid())"]
        cells += [f"%%codex --no-tools\nGive me {len(answer)} characters." for answer in answers]
        cells.append(PRINTING)
        notebook = NotebookPage(page, server, server.add_notebook("streaming.ipynb", cells, kernel))
        traffic = Traffic(page)
        notebook.open()
        notebook.run(0)
        pid = int(notebook.save().cells[0].outputs[0].text.split()[1])
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        for index, answer in enumerate(answers, start=1):
            saying = Say(answer, delta_chars=DELTA_CHARS, delay_s=DELTA_DELAY_S)
            simulator.play(Scenario((Reply(stream=(saying, End())),)))
            yield cost_of(notebook, index, traffic, pid, session)
        yield cost_of(notebook, len(answers) + 1, traffic, pid, session)


def cost_of(notebook: NotebookPage, index: int, traffic: Traffic, pid: int, session: CDPSession) -> Cost:
    """Run one cell and measure it to the end of its drawing."""
    cpu, received, messages, busy = (
        cpu_seconds(pid),
        traffic.bytes,
        traffic.widget_messages,
        busy_seconds(session),
    )
    begin = time.monotonic()
    notebook.run(index, timeout_ms=PATIENCE_MS)
    seconds = time.monotonic() - begin
    notebook.settle(1.0)
    stored = notebook.save().cells[index].outputs
    return Cost(
        seconds,
        cpu_seconds(pid) - cpu,
        traffic.bytes - received,
        traffic.widget_messages - messages,
        busy_seconds(session) - busy,
        sum(len(json.dumps(output).encode()) for output in stored),
    )


def rows() -> list[Row]:
    """Measure the three lengths; what a turn costs anyway is measured with an answer of one word and taken off.

    The first answer has code, tables and formulas in it, for what is loaded with the first of each belongs to no delta.
    """
    _, base, *measured, printed = costs(
        [answer_of(WARM_UP), ONE_WORD, *(answer_of(length) for length in LENGTHS)]
    )
    chunks = in_chunks(events(MANY))
    decoding = Reference("openai-python, decoding alone", microseconds(theirs, chunks, MANY))
    whole = Reference("100k", measured[-1].browser_busy)
    found = []
    for length, cost in zip(LENGTHS, measured, strict=True):
        size = f"{length // 1000}k characters"
        streamed = cost.received - base.received - cost.stored
        frames = cost.messages
        found += [
            Row(
                Topic.PER_DELTA,
                f"kernel CPU per delta, wire to transcript, {size}",
                (cost.kernel_cpu - base.kernel_cpu) / (length / DELTA_CHARS) * 1e6,
                "µs CPU",
                decoding,
                0.5,
                "ipycodex 19,500",
            ),
            Row(
                Topic.BYTES,
                f"streamed to the browser, {size}, {frames} frames",
                streamed / 1000,
                "kB",
                Reference("2 n + 1 kB a frame", 2 * length / 1000 + frames),
                note="100k: re-sent Markdown 25.9 MB, ipywidgets.HTML over 45 MB"
                if length == LENGTHS[-1]
                else "",
            ),
            Row(
                Topic.BYTES,
                f"stored in the notebook, {size}",
                cost.stored / 1000,
                "kB",
                Reference("5 n + 20 kB", 5 * length / 1000 + 20),
            ),
            Row(
                Topic.REDRAWS,
                f"front end, {size}: messages drawn",
                frames / cost.seconds,
                "a second",
                Reference("20 a second", 20),
            ),
            Row(
                Topic.REDRAWS,
                f"front end, {size}: browser busy",
                cost.browser_busy,
                "s",
                Reference("12 s", 12) if length == LENGTHS[-1] else whole,
                1.0 if length == LENGTHS[-1] else None,
                f"printed as plain text {printed.browser_busy:.1f} s; re-sent over 80 s"
                if length == LENGTHS[-1]
                else "",
            ),
        ]
    return found
