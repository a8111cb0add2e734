"""The table of budgets: its rows, their order, how it is printed."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from enum import IntEnum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Topic(IntEnum):
    """What a row is about, in the order of the table."""

    LOAD = auto()
    FIRST_REQUEST = auto()
    WARM_REQUEST = auto()
    CONTEXT = auto()
    DECODE = auto()
    PER_DELTA = auto()
    BYTES = auto()
    REDRAWS = auto()
    INTERRUPT = auto()
    PREFIX = auto()
    SIZE = auto()
    OTHER = auto()


@dataclass(frozen=True)
class Row:
    """One line: what is measured, the budget, the figure with its unit, and what stands beside it for comparison."""

    topic: Topic
    what: str
    budget: str
    measured: str
    beside: str = ""


HEADINGS = ("what", "budget", "measured", "beside")
WIDTHS = (46, 22, 34, 44)


def printed(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the table's lines; rows in the order of their topics, cells wrapped to the columns' widths."""
    rule = "-+-".join("-" * width for width in WIDTHS)
    yield from _line(HEADINGS)
    yield rule
    for row in sorted(rows, key=lambda row: row.topic):
        yield from _line((row.what, row.budget, row.measured, row.beside))
        yield rule


def _line(cells: tuple[str, ...]) -> Iterator[str]:
    wrapped = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, WIDTHS, strict=True)]
    for number in range(max(map(len, wrapped))):
        parts = [column[number] if number < len(column) else "" for column in wrapped]
        yield " | ".join(part.ljust(width) for part, width in zip(parts, WIDTHS, strict=True)).rstrip()
