"""Draws the architecture diagram from the code: packages by import level, their modules, and their imports.

``make docs`` writes it to ``docs/_generated/architecture.svg``.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

WIDTH, ROW_GAP, BOX_GAP, MARGIN = 1180, 44, 18, 20
LINE, TITLE = 15, 22
APART = "simulator"  # imports nothing of the client, and is drawn beside it


@dataclass
class Box:
    """A package or a top-level module: the modules in it, and what it imports."""

    name: str
    modules: list[str] = field(default_factory=list)
    imports: set[str] = field(default_factory=set)
    x: float = 0
    y: float = 0
    width: float = 0
    lines: list[str] = field(default_factory=list)

    @property
    def height(self) -> float:
        """The height that its text needs."""
        return TITLE + LINE * len(self.lines) + 10


def read_boxes(package: Path) -> dict[str, Box]:
    """Read every module's imports, and group the modules by package."""
    boxes: dict[str, Box] = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        name = parts[0]
        box = boxes.setdefault(name, Box(name))
        if len(parts) > 1 and parts[-1] != "__init__":
            box.modules.append(parts[-1])
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == package.name:
                inside = (node.module or "").split(".")[1:]
                box.imports |= {inside[0]} if inside else {alias.name for alias in node.names}
    for box in boxes.values():
        box.imports = {target for target in box.imports if target in boxes and target != box.name}
    return boxes


def levels(boxes: dict[str, Box]) -> list[list[Box]]:
    """Return the boxes by level, the highest first: a box is above everything that it imports."""
    known: dict[str, int] = {}

    def level(name: str) -> int:
        if name not in known:
            known[name] = 0  # a cycle ends here
            known[name] = 1 + max(map(level, sorted(boxes[name].imports)), default=0)
        return known[name]

    rows: dict[int, list[Box]] = defaultdict(list)
    for name in sorted(boxes):
        rows[level(name)].append(boxes[name])
    return [rows[number] for number in sorted(rows, reverse=True)]


def place(rows: list[list[Box]]) -> float:
    """Give each box its position; return the height of the diagram."""
    y = float(MARGIN)
    for row in rows:
        weights = [max(len(box.name) / 7, len(box.modules) ** 0.7) for box in row]
        room = WIDTH - 2 * MARGIN - BOX_GAP * (len(row) - 1)
        x = float(MARGIN)
        for box, weight in zip(row, weights, strict=True):
            box.width = min(room * weight / sum(weights), 520 if box.modules else 150)
            box.lines = wrapped(box.modules, int(box.width / 6.6))
        x += (room - sum(box.width for box in row)) / 2
        for box in row:
            box.x, box.y = x, y
            x += box.width + BOX_GAP
        y += max(box.height for box in row) + ROW_GAP
    return y - ROW_GAP + MARGIN


def wrapped(names: list[str], columns: int) -> list[str]:
    """Join names into lines of a given width."""
    lines: list[str] = []
    for name in names:
        if lines and len(lines[-1]) + len(name) + 3 <= columns:
            lines[-1] += f" · {name}"
        else:
            lines.append(name)
    return lines


def direct(box: Box, boxes: dict[str, Box]) -> set[str]:
    """Return the imports that are not also reached through another import; only these are drawn."""
    reached: set[str] = set()
    waiting = [inner for target in box.imports for inner in boxes[target].imports]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += boxes[name].imports
    return box.imports - reached


def draw(package: Path) -> str:
    """Return the diagram as SVG."""
    boxes = read_boxes(package)
    rows = levels(boxes)
    height = place(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height:.0f}" fill="#ffffff"/>',
    ]
    for box in boxes.values():
        for target in sorted(direct(box, boxes)):
            other = boxes[target]
            parts.append(
                f'<line x1="{box.x + box.width / 2:.0f}" y1="{box.y + box.height:.0f}" '
                f'x2="{other.x + other.width / 2:.0f}" y2="{other.y:.0f}" stroke="#c8d1dc" stroke-width="1"/>'
            )
    for box in boxes.values():
        colour = "#fdf3dc" if box.name == APART else "#eaf2fb" if box.modules else "#f4f4f4"
        parts.append(
            f'<rect x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" height="{box.height:.0f}" rx="6" '
            f'fill="{colour}" stroke="#8fa3b8"/>'
        )
        parts.append(
            f'<text x="{box.x + 10:.0f}" y="{box.y + 17:.0f}" font-size="13" font-weight="bold">'
            f"{escape(box.name)}</text>"
        )
        for number, line in enumerate(box.lines):
            y = box.y + TITLE + 11 + LINE * number
            parts.append(
                f'<text x="{box.x + 10:.0f}" y="{y:.0f}" font-size="11" fill="#444">{escape(line)}</text>'
            )
    return "\n".join([*parts, "</svg>", ""])
