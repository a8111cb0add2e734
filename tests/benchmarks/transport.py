"""The ways of a question: until the first delta of a later one, and what it uploads; by HTTP, websocket and agent."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from codex_nb.simulator import FRAME
from codex_nb.simulator.scenario import End, Reply, Say, Scenario
from tests import tiers
from tests.benchmarks.simulated import shell, signed_in
from tests.benchmarks.table import Reference, Row, Topic

if TYPE_CHECKING:
    from pathlib import Path

    from codex_nb.simulator import Simulator

QUESTIONS = 20
TRANSPORTS = ("http", "websocket")
ANSWER = Scenario((Reply(stream=(Say("A short answer, as it often is."), End()), times=None),))

ASKS = f"""
import asyncio
from pathlib import Path
from codex_nb.profile import open_profile_at
from codex_nb.responses.events import Delta
from codex_nb.responses.request import ResponsesRequest

def message(text):
    return {{"type": "message", "role": "user", "content": [{{"type": "input_text", "text": text}}]}}

async def measure():
    waits = []
    async with open_profile_at(os.environ, folder=Path.cwd()) as profile:
        model = (await profile.backend.choose(None)).slug
        items = [message("A notebook of some length. " * 100)]
        for number in range({QUESTIONS}):
            items.append(message(f"Question {{number}}"))
            request = ResponsesRequest(model, tuple(items), thread_id="measured", prompt_cache_key="measured")
            begin, first = time.perf_counter(), None
            async for event in profile.backend.stream(request):
                if first is None and isinstance(event, Delta):
                    first = time.perf_counter() - begin
            items += event.items
            waits.append(first * 1000)
    return waits[2:]

mark(asyncio.run(measure()))
"""
AGENT = f"""
import asyncio
from pathlib import Path
from codex_nb.profile import open_profile_at
from codex_nb.session.events import TextDelta
from codex_nb.session.prompt import TurnRequest
from codex_nb.tools.approval import DenyAll
from codex_nb.tools.base import Ports
from tests.session.scripted import SameThread

async def measure():
    waits = []
    async with open_profile_at(os.environ, folder=Path.cwd()) as profile:
        for number in range({QUESTIONS}):
            request = TurnRequest(f"Question {{number}}", thread="measured", agent=True, model="simulator-classic")
            begin, first = time.perf_counter(), None
            async for event in profile.assistant.turn(request, ports=Ports(SameThread()), approver=DenyAll()):
                if first is None and isinstance(event, TextDelta):
                    first = time.perf_counter() - begin
            waits.append(first * 1000)
    return waits

mark(asyncio.run(measure()))
"""
CELLS = """
for number in range(6):
    shell.run_cell(f"x{number} = list(range({number}))", store_history=True)
    ask(f"What is x{number}?", "--approval all")
mark()
"""


def first_deltas(transport: str) -> list[float]:
    """Ask in a thread of some length; milliseconds until the first delta of each later question."""
    with signed_in(ANSWER) as (_, environ):
        environ["CODEX_NB_TRANSPORT"] = transport
        with shell(ASKS, environ) as child:
            waits: list[float] = child.next_mark()
            return waits


def first_deltas_of_the_agent(program: Path) -> list[float]:
    """Ask the agent in the real Codex CLI; milliseconds until the first delta of each question, the start included."""
    with signed_in(ANSWER, tls=True) as (_, environ):
        environ["CODEX_NB_CODEX"] = str(program)
        with shell(AGENT, environ) as child:
            waits: list[float] = child.next_mark()
            return waits


def uploads(transport: str) -> list[int]:
    """Ask in a notebook with context and tools; the bytes of each request, before any compression."""
    with signed_in(ANSWER) as (simulator, environ):
        environ["CODEX_NB_TRANSPORT"] = transport
        with shell(CELLS, environ) as child:
            child.next_mark()
            return sizes(simulator, FRAME if transport == "websocket" else "POST")


def sizes(simulator: Simulator, method: str) -> list[int]:
    return [request.size for request in simulator.requests.to("/responses", method)]


def agent_rows(http: float) -> list[Row]:
    """Measure the agent, where the real Codex CLI is."""
    program = tiers.codex_cli()
    if program is None:
        return []
    waits = first_deltas_of_the_agent(program)
    return [
        Row(
            Topic.OTHER,
            "the agent: until the first delta of a later turn, on loopback",
            statistics.median(waits[2:]),
            "ms",
            Reference("directly, over HTTP", http),
            limit=5,
            note=f"35 ms beside 6.9 on a quiet machine; the first turn {waits[0]:.0f} ms, with the start of the CLI",
        )
    ]


def rows() -> list[Row]:
    """Measure both transports, one after the other."""
    http, socket = (statistics.median(first_deltas(each)) for each in TRANSPORTS)
    whole, new = (uploads(each)[-1] for each in TRANSPORTS)
    return [
        *agent_rows(http),
        Row(
            Topic.OTHER,
            "websocket, warm: until the first delta of a later question, on loopback",
            socket,
            "ms",
            Reference("over HTTP", http),
            note="3 ms beside 6.9 on a quiet machine; the CLI: 27.8 beside 58 ms",
        ),
        Row(
            Topic.OTHER,
            "websocket: upload of the sixth question of a notebook, with tools",
            new / 1000,
            "kB",
            Reference("the budget", 16),
            note=f"over HTTP {whole / 1000:.3g} kB; the CLI: 14.5 of 45.8 kB",
        ),
    ]
