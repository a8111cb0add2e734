"""Looking at a frame: the code that is run in the user's kernel, and the report about what it printed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codex_nb.simulator.reading import Frame

_PLOT_WORDS = re.compile(r"\b(?:plot|chart|graph|draw|figure|histogram|hist|visuali[sz]e)", re.IGNORECASE)
_STATISTICS = ("mean", "std", "min", "50%", "max")
_MAX_QUOTED_LINES = 40
_MARK = "rows, columns:"


def code_for(frame: Frame, question: str) -> str:
    """Python that prints the frame's shape and statistics, and draws it when the question asks for a picture."""
    lines = [f'print("{_MARK}", {frame.name}.shape)', f"print({frame.name}.describe().to_string())"]
    if not frame.is_pandas:
        lines = [f"print({frame.name}.describe())"]
    elif _PLOT_WORDS.search(question):
        lines += [
            "import matplotlib.pyplot as plt",
            f"{frame.name}.hist(figsize=(8, 3), bins=20)",
            "plt.tight_layout()",
            "plt.show()",
        ]
    return "\n".join(lines)


def report_of(frame: Frame | None, output: str) -> str:
    """A short Markdown report with the numbers of the output."""
    name = f"`{frame.name}`" if frame else "the code"
    if _looks_refused(output):
        return f"You did not let me run the code, so I know about {name} only what the notebook shows."
    failure = re.search(r"^\W*([A-Z]\w*(?:Error|Exception)\b.*)$", output, re.MULTILINE)
    if failure:
        return f"The code that looked at {name} failed:\n\n```text\n{failure[1]}\n```"
    table = _table(output)
    if frame is None or table is None:
        quoted = "\n".join(output.splitlines()[:_MAX_QUOTED_LINES])
        return f"This is what {name} gave:\n\n```text\n{quoted}\n```"
    shape = re.search(rf"{re.escape(_MARK)} \((\d+), (\d+)\)", output)
    size = f" has **{int(shape[1]):,} rows** and **{int(shape[2]):,} columns**" if shape else ""
    return f"### What is in {name}\n\n{name}{size}. Its numbers:\n\n{table}"


def _looks_refused(output: str) -> bool:
    return bool(
        re.search(r"\b(?:rejected|declined|refused|denied|not approved)\b", output[:400], re.IGNORECASE)
    )


def _table(output: str) -> str | None:
    """The statistics of a printed ``describe()``, one row per column; None when there are none."""
    lines = output.splitlines()
    rows = {
        parts[0]: parts[1:]
        for line in lines
        if (parts := line.split()) and parts[0] in {"count", *_STATISTICS} and len(parts) > 1
    }
    start = next((number for number, line in enumerate(lines) if line.split()[:1] == ["count"]), 0)
    columns = lines[start - 1].split() if start else []
    found = [name for name in ("count", *_STATISTICS) if len(rows.get(name, ())) == len(columns)]
    if not columns or "mean" not in found:
        return None
    head = ["column", *found]
    body = [
        [f"`{column}`", *(_short(rows[name][index]) for name in found)]
        for index, column in enumerate(columns)
    ]
    table = [head, ["---"] + ["---:"] * len(found), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in table)


def _short(number: str) -> str:
    try:
        return f"{float(number):.6g}"
    except ValueError:
        return number
