"""Looking at a frame: the code that is run in the user's kernel, and what is said about its output."""

from __future__ import annotations

import re
from ast import literal_eval
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codex_nb.simulator.reading import Frame

_PLOT_WORDS = re.compile(r"\b(?:plot|chart|graph|draw|figure|histogram|hist|visuali[sz]e)", re.IGNORECASE)
_REFUSED = re.compile(r"\b(?:rejected|declined|refused|denied|not approved)\b", re.IGNORECASE)
_FAILED = re.compile(r"^\W*([A-Z]\w*(?:Error|Exception)\b.*)$", re.MULTILINE)
_SHAPE_MARK, _MISSING_MARK = "rows, columns:", "missing:"
_STATISTICS = ("count", "mean", "std", "min", "50%", "max")
_MAX_QUOTED_LINES = 40


def wants_picture(question: str) -> bool:
    """Whether a question asks for a figure."""
    return bool(_PLOT_WORDS.search(question))


def code_for(frame: Frame, question: str) -> str:
    """Python that prints shape, statistics and gaps of a frame, and draws it when the question asks for that."""
    name = frame.name
    if not frame.is_pandas:
        return f'print("{_SHAPE_MARK}", {name}.shape)\nprint({name}.describe())'
    lines = [
        f'print("{_SHAPE_MARK}", {name}.shape)',
        f"print({name}.describe().to_string())",
        f'print("{_MISSING_MARK}", {name}.isna().sum().to_dict())',
    ]
    if wants_picture(question):
        lines += [
            "import matplotlib.pyplot as plt",
            f"{name}.hist(figsize=(8, 3), bins=20)",
            "plt.tight_layout()",
            "plt.show()",
        ]
    return "\n".join(lines)


@dataclass(frozen=True)
class Findings:
    """What the output of :func:`code_for` tells."""

    shape: tuple[int, int] | None
    table: str | None
    missing: Mapping[str, int]


def read_output(output: str) -> Findings:
    """Read an output; what is not there stays empty."""
    shape = re.search(rf"{re.escape(_SHAPE_MARK)} \((\d+), (\d+)\)", output)
    size = (int(shape[1]), int(shape[2])) if shape else None
    return Findings(size, _table(output), _missing(output))


def report_of(frame: Frame | None, output: str) -> str:
    """A short Markdown report with the numbers of the output."""
    name = f"`{frame.name}`" if frame else "the code"
    if _REFUSED.search(output[:400]):
        return f"You did not let me run the code, so I know about {name} only what the notebook shows."
    if failure := _FAILED.search(output):
        return f"The code that looked at {name} failed:\n\n```text\n{failure[1]}\n```"
    found = read_output(output)
    if frame is None or found.table is None:
        quoted = "\n".join(output.splitlines()[:_MAX_QUOTED_LINES])
        return f"This is what {name} gave:\n\n```text\n{quoted}\n```"
    rows, columns = found.shape or (0, 0)
    size = f" has **{_count(rows, 'row')}** and **{_count(columns, 'column')}**" if found.shape else ""
    return f"### What is in {name}\n\n{name}{size}. Its numbers:\n\n{found.table}\n\n{_gaps(found.missing)}"


def follow_up(frame: Frame, output: str) -> str | None:
    """One sentence about a frame that was looked at before; None when the output does not allow it."""
    found = read_output(output)
    if found.shape is None or not found.missing:
        return None
    column, gaps = max(found.missing.items(), key=lambda each: each[1])
    if not gaps:
        return f"Nothing worries me: no column of `{frame.name}` has gaps."
    return f"`{column}` worries me most: {gaps:,} of its {found.shape[0]:,} values are missing."


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _gaps(missing: Mapping[str, int]) -> str:
    gaps = {column: count for column, count in missing.items() if count}
    if not gaps:
        return "No value is missing."
    told = ", ".join(f"{count:,} in `{column}`" for column, count in gaps.items())
    return f"**Missing values:** {told}. Decide what to do with them before you use the frame."


def _missing(output: str) -> dict[str, int]:
    match = re.search(rf"^{re.escape(_MISSING_MARK)} (\{{.*\}})$", output, re.MULTILINE)
    try:
        value = literal_eval(match[1]) if match else {}
    except (ValueError, SyntaxError):
        value = {}
    return {str(column): int(count) for column, count in value.items()}


def _table(output: str) -> str | None:
    """The statistics of a printed ``describe()``, one row per column; None when there are none."""
    lines = output.splitlines()
    rows = {
        parts[0]: parts[1:]
        for line in lines
        if (parts := line.split()) and parts[0] in _STATISTICS and len(parts) > 1
    }
    start = next((number for number, line in enumerate(lines) if line.split()[:1] == ["count"]), 0)
    columns = lines[start - 1].split() if start else []
    found = [name for name in _STATISTICS if len(rows.get(name, ())) == len(columns)]
    if not columns or "mean" not in found:
        return None
    body = [
        [f"`{column}`", *(_short(rows[name][index]) for name in found)]
        for index, column in enumerate(columns)
    ]
    table = [["column", *found], ["---"] + ["---:"] * len(found), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in table)


def _short(number: str) -> str:
    try:
        return f"{float(number):.6g}"
    except ValueError:
        return number
