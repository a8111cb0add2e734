"""The table of budgets: what is measured, beside a reference measured in the same run, and whether that holds."""

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
    MAP = auto()
    OTHER = auto()


@dataclass(frozen=True)
class Reference:
    """What a figure is compared with, in the figure's unit: measured in the same run, or the budget itself."""

    name: str
    value: float


@dataclass(frozen=True)
class Row:
    """One figure; it holds while it is at most ``limit`` times its reference (None: no budget, told only)."""

    topic: Topic
    what: str
    measured: float
    unit: str
    reference: Reference
    limit: float | None = 1.0
    note: str = ""

    @property
    def ratio(self) -> float:
        """The figure as a multiple of its reference."""
        return self.measured / self.reference.value

    @property
    def verdict(self) -> str:
        """``holds``, ``short``, or nothing where no budget is set."""
        if self.limit is None:
            return ""
        return "holds" if self.ratio <= self.limit else "short"

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        return (
            self.what,
            f"{number(self.measured)} {self.unit}",
            f"{self.reference.name}: {number(self.reference.value)}",
            f"{self.ratio:.2f}",
            "" if self.limit is None else f"{self.limit:.2f}",
            self.verdict,
            self.note,
        )


def number(value: float) -> str:
    """Return a figure with three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


HEADINGS = ("what", "measured", "reference", "ratio", "limit", "verdict", "for comparison")
WIDTHS = (44, 14, 34, 6, 6, 7, 40)


def printed(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the table's lines; rows in the order of their topics, cells wrapped to the columns' widths."""
    rule = "-+-".join("-" * width for width in WIDTHS)
    yield from _line(HEADINGS)
    yield rule
    for row in sorted(rows, key=lambda row: row.topic):
        yield from _line(row.cells)
        yield rule


def _line(cells: tuple[str, ...]) -> Iterator[str]:
    wrapped = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, WIDTHS, strict=True)]
    for line in range(max(map(len, wrapped))):
        parts = [column[line] if line < len(column) else "" for column in wrapped]
        yield " | ".join(part.ljust(width) for part, width in zip(parts, WIDTHS, strict=True)).rstrip()
