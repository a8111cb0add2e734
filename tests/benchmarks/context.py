"""Gathering the notebook's context, and folding a turn: what a question costs before and while it is answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pandas as pd

from codex_nb.responses.events import OutputTextDelta, ResponseEvent, ResponseFinished
from codex_nb.responses.request import ResponsesRequest
from codex_nb.session.context import BUDGET, build_context
from codex_nb.session.events import TurnState, reduce
from codex_nb.session.outbound import Redactor, UntrustedBlock, tokens_of
from codex_nb.session.prompt import NotebookContext
from codex_nb.tools.describe import describe
from codex_nb.tools.nbmodel import Cell, NotebookSnapshot
from tests.benchmarks.fresh import median_of, on_this_machine
from tests.benchmarks.table import Reference, Row, Topic
from tests.session.generated import generated
from tests.session.scripted import make_turn
from tests.tools.objects import KINDS

DELTAS = 20_000
REDACTOR = Redactor({"$SERVICE_KEY": "fabricated value 1", "the login's token": "fabricated" * 80})

WORD = OutputTextDelta(type="response.output_text.delta", delta=" word", item_id="msg_1")


def notebook(cells: int, output_bytes: int) -> NotebookSnapshot:
    """Return a notebook of code cells that each print so many bytes, in lines."""
    line = "2026-11-20 12:00:00 INFO step finished, loss 0.1234, accuracy 0.9876\n"
    output = {"output_type": "stream", "name": "stdout", "text": [line] * max(1, output_bytes // len(line))}
    made = tuple(
        Cell("code", f"x{n} = step({n})\nframe_{n % 20}.describe()", f"cell-{n}", (output,), n)
        for n in range(cells)
    )
    return NotebookSnapshot("document", made, cells - 1, "notebook.ipynb")


def namespace() -> dict[str, object]:
    """Return variables as an afternoon leaves them: three frames, some arrays, many small values."""
    frame = pd.DataFrame(np.zeros((10_000, 10)), columns=list("abcdefghij"))
    return (
        {f"x{n}": n for n in range(50)}
        | {f"frame_{n}": frame for n in range(3)}
        | {"array": np.zeros((9, 9))}
    )


def fresh(snapshot: NotebookSnapshot) -> NotebookSnapshot:
    """Return the notebook as it is at a first question: no cell remembers its texts."""
    return replace(snapshot, cells=tuple(map(replace, snapshot.cells)))


def gathered(snapshot: NotebookSnapshot) -> tuple[float, NotebookContext]:
    """Return the milliseconds of CPU that gathering, fencing and comparing cost, and the context."""
    variables = namespace()

    def once() -> float:
        new = fresh(snapshot)
        begin = time.process_time()
        context = build_context(new, variables, "What does frame_1 hold?", redactor=REDACTOR)
        context.render((), UntrustedBlock())
        assert context.fingerprint
        return (time.process_time() - begin) * 1e3

    return median_of(once), build_context(snapshot, variables, "What does frame_1 hold?", redactor=REDACTOR)


def of_generated(seed: int) -> float:
    """Return the milliseconds of CPU that the context of a generated notebook costs."""
    snapshot, variables, prompt = generated(seed)

    def once() -> float:
        new = fresh(snapshot)
        begin = time.process_time()
        build_context(new, variables, prompt, redactor=REDACTOR).render((), UntrustedBlock())
        return (time.process_time() - begin) * 1e3

    return min(once() for _ in range(3))


class Talker:
    """A client that says one word after the other."""

    async def stream(self, request: ResponsesRequest) -> AsyncIterator[ResponseEvent]:
        """Yield deltas and the end."""
        for _ in range(DELTAS):
            yield WORD
        yield ResponseFinished("resp_1", "completed")


async def folded() -> float:
    """Return the microseconds that the turn and its fold cost for one delta."""
    state = TurnState()
    begin = time.process_time()
    async for event in make_turn().events(Talker()):
        state = reduce(state, event)
    return (time.process_time() - begin) / DELTAS * 1e6


def described(name: str) -> tuple[float, int]:
    """Return the milliseconds of CPU that describing a kind of object costs without ``@``, and the bytes."""
    value, sizes = KINDS[name].make(), list[int]()

    def once() -> float:
        begin = time.process_time()
        sizes.append(len(describe("value", value).text.encode("utf-8", "replace")))
        return (time.process_time() - begin) * 1e3

    once()  # the first of a class looks its library up
    return min(once() for _ in range(3)), sizes[-1]


def rows_of_objects() -> list[Row]:
    """Describe every kind of object of the table of objects."""
    found = {name: described(name) for name in KINDS}
    slowest, largest = max(found, key=lambda name: found[name]), max(found, key=lambda name: found[name][1])
    return [
        Row(
            Topic.CONTEXT,
            f"describing each of {len(found)} kinds of objects, the slowest",
            found[slowest][0],
            "ms CPU",
            on_this_machine(40, "ms"),
            note=slowest,
        ),
        Row(
            Topic.CONTEXT,
            "the same, the largest",
            found[largest][1],
            "bytes",
            Reference("the budget", 3_000),
            note=f"{largest}; median {sorted(size for _, size in found.values())[len(found) // 2]} bytes",
        ),
    ]


def rows() -> list[Row]:
    """Gather from an ordinary notebook and from a monstrous one; describe objects; fold a long answer."""
    ordinary, _ = gathered(notebook(200, 400))
    monstrous, context = gathered(notebook(1000, 50_000))
    fold = median_of(lambda: asyncio.run(folded()))
    slowest = max(map(of_generated, range(100)))
    tokens = tokens_of(context.render((), UntrustedBlock()))
    return [
        Row(
            Topic.CONTEXT,
            "context of a 200-cell notebook",
            ordinary,
            "ms CPU",
            on_this_machine(25, "ms"),
            note="the budget is the whole warm path's",
        ),
        Row(
            Topic.CONTEXT,
            "context of 1,000 cells with 50 MB of outputs",
            monstrous,
            "ms CPU",
            on_this_machine(200, "ms"),
        ),
        Row(Topic.CONTEXT, "the same, its tokens", tokens, "tokens", Reference("the budget", BUDGET)),
        Row(
            Topic.CONTEXT,
            "context of 100 generated notebooks, the slowest",
            slowest,
            "ms CPU",
            on_this_machine(60, "ms"),
        ),
        *rows_of_objects(),
        Row(Topic.DECODE, "turn and fold, per delta", fold, "µs CPU", on_this_machine(10, "µs")),
    ]
