"""Turns for :mod:`tests.browser.transcript_stage`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

from codex_nb.session.events import (
    Answer,
    Notice,
    RetryScheduled,
    ToolCallReady,
    ToolCallStarted,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnStarted,
    Usage,
)
from tests.browser.transcript_stage import (
    STARTED,
    Stage,
    StepStarted,
    finish,
    open_widgets,
    running,
    saying,
    thinking,
)

CODE = """\
import pandas as pd

print(f"rows: {len(penguins)}, columns: {penguins.shape[1]}")
penguins.plot(title="body mass")
"""

ANSWER = r"""The frame has **336 rows**; mean body mass follows $m = \frac{1}{n}\sum_i m_i$.

| species | n | body mass (g) |
|:--|--:|--:|
| Adelie | 146 | 3,706 |
| Chinstrap | 68 | 3,733 |
| Gentoo | 122 | 5,092 |

1. Gentoo are the heaviest by far.
2. Adelie and Chinstrap overlap:

```python
# mean body mass of each species
penguins.groupby("species")["body_mass_g"].agg(["count", "mean"]).round(0)
```

> Costs of $5 or $6 are not formulas; `$HOME` neither.

$$
\hat\beta = (X^\top X)^{-1} X^\top y
$$
"""


def a_look_at_penguins() -> Iterator[Any]:
    """Think, say, run code with a print and a figure, say more."""
    return itertools.chain(
        [STARTED, StepStarted(1)],
        thinking("r1", "**Looking at the data**\n\nThe user asks about penguins; the frame comes first."),
        saying("m1", "I look at the frame before I answer."),
        running(1, CODE, print_and_plot, summary="Look at the frame and plot it."),
        [StepStarted(2)],
        saying("m2", ANSWER),
        [finish(ANSWER)],
    )


PLAN = ("Look at the frame", "Leave out what is not complete", "Compare the species", "Say what it means")


def planning(call_number: int, at: int, explanation: str = "") -> Iterator[Any]:
    """Call for the plan as it is while the step ``at`` is in progress."""
    statuses = ["completed"] * at + ["in_progress"] * (at < len(PLAN)) + ["pending"] * (len(PLAN) - at - 1)
    steps = [{"step": step, "status": status} for step, status in zip(PLAN, statuses, strict=True)]
    arguments = json.dumps({"plan": steps, "explanation": explanation})
    return iter(
        [
            ToolCallStarted(call_number, "update_plan"),
            ToolCallReady(call_number, "update_plan", arguments),
            ToolStarted(call_number),
            ToolFinished(call_number, "Plan updated", ok=True),
        ]
    )


def a_plan() -> Iterator[Any]:
    """Show a plan, run code with outputs, go on with the plan above them."""
    return itertools.chain(
        [STARTED, StepStarted(1)],
        planning(11, 0),
        running(1, CODE, print_and_plot, summary="Look at the frame and plot it."),
        planning(12, 2, "Eight rows are not complete; the rest is enough."),
        running(2, "penguins.groupby('species').mean()", lambda: "done", summary="Compare."),
        planning("p3", 4),
        saying("m1", "That was it."),
        [finish("That was it.")],
    )


def print_and_plot() -> str:
    """Do what the code would do in the running cell."""
    import matplotlib.pyplot as plt

    print("rows: 336, columns: 8")  # noqa: T201 -- an output to look at
    plt.figure(figsize=(5, 2))
    plt.plot([3, 1, 4, 1, 5, 9, 2, 6])
    plt.show()
    return "rows: 336, columns: 8\n[1 figure shown in the notebook]"


def a_long_answer(paragraphs: int = 20_000) -> Iterator[Any]:
    """Say one paragraph after the other, slowly enough to be stopped or reloaded in the middle."""
    text = "".join(f"Paragraph {number} of a *long* answer.\n\n" for number in range(paragraphs))
    return itertools.chain([STARTED, StepStarted(1)], saying("m1", text, pace=0.05, size=40), [finish(text)])


def a_call(code: str = CODE) -> Iterator[Any]:
    """Ask for one call, then say what came of it."""
    return itertools.chain(
        [STARTED, StepStarted(1)],
        running(1, code, lambda: "done", summary="Run it."),
        saying("m1", "That was it."),
        [finish("That was it.")],
    )


def a_text_and_a_call(code: str, *, paragraphs: int) -> Iterator[Any]:
    """Say many paragraphs, then ask for a call."""
    text = "".join(f"Paragraph {number} of a *long* answer.\n\n" for number in range(paragraphs))
    return itertools.chain(
        [STARTED, StepStarted(1)],
        saying("m1", text, pace=0.01, size=60),
        running(1, code, lambda: "done", summary="Run it."),
        [finish(text)],
    )


def a_turn_full_of(hostile: Sequence[str]) -> Iterator[Any]:
    """Put hostile texts into every place that a model or a server fills, and ask for one of them."""
    everything = "\n\n".join(hostile)
    started = TurnStarted("t", everything, hostile[0], hostile[1], hostile[2], hostile[3], hostile[4])
    usage = Usage(1, 0, 1, 0, 2)
    answer = Answer(everything, status="failed", usage=usage, model=everything, billing=everything)
    return itertools.chain(
        [started, Notice("hint", everything), RetryScheduled(1, 2, 0.0, everything)],
        thinking("r1", everything, size=400),
        itertools.chain.from_iterable(saying(f"m{n}", text, pace=0) for n, text in enumerate(hostile)),
        running(1, everything, lambda: everything, summary=everything, name=everything, language="html"),
        a_plan_of(hostile),
        [ToolFinished(1, everything, ok=True), TurnFinished(answer, everything)],
    )


def a_plan_of(hostile: Sequence[str]) -> list[Any]:
    """Put hostile texts into a plan."""
    steps = [{"step": text, "status": "in_progress"} for text in hostile[:40] if text.strip()]
    arguments = json.dumps({"plan": steps, "explanation": hostile[0]})
    return [ToolCallReady(11, "update_plan", arguments), ToolFinished(11, "Plan updated", ok=True)]


__all__ = [
    "Stage",
    "a_call",
    "a_long_answer",
    "a_look_at_penguins",
    "a_plan",
    "a_text_and_a_call",
    "a_turn_full_of",
    "open_widgets",
]
