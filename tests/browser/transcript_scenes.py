"""Turns to look at, for :mod:`tests.browser.transcript_stage`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from tests.browser.transcript_stage import STARTED, Stage, StepStarted, finish, running, saying, thinking

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
        running("c1", CODE, print_and_plot, summary="Look at the frame and plot it."),
        [StepStarted(2)],
        saying("m2", ANSWER),
        [finish(ANSWER)],
    )


def print_and_plot() -> str:
    """Do what the code would do in the running cell."""
    import matplotlib.pyplot as plt

    print("rows: 336, columns: 8")  # noqa: T201 -- an output to look at
    plt.figure(figsize=(5, 2))
    plt.plot([3, 1, 4, 1, 5, 9, 2, 6])
    plt.show()
    return "rows: 336, columns: 8\n[1 figure shown in the notebook]"


__all__ = ["Stage", "a_look_at_penguins"]
