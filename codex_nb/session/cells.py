"""Cells in words: what of a cell is told, at which length, and which cells are left alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codex_nb.tools.outputs import joined, output_images, output_text, shorten

if TYPE_CHECKING:
    from codex_nb.notebook import Cell

SKIP_TAG = "codex-skip"
_SKIP_COMMENT = re.compile(r"^[^\S\n]*+(?:#++|<!--|//)[^\S\n]*+codex-skip\b", re.MULTILINE)
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]{6,}")
_ASSIGNED = re.compile(r"^[ \t]*+([A-Za-z_]\w*+)[ \t]*+(?::[^=\n]++)?=(?!=)", re.MULTILINE)
# Lines such as "%codex status" ask nothing of the model.
_COMMANDS = frozenset(
    {"status", "login", "logout", "models", "model", "effort", "usage", "context", "thread", "threads", "new"}
    | {"config", "help"}
)
_ANSWER_TYPES = ("text/markdown", "text/plain")


@dataclass(frozen=True)
class Level:
    """How much of a cell is told, in characters: of its source, and of each output."""

    source: int
    output: int
    outputs: int = 8


NEAR = Level(8_000, 3_000)
MIDDLE = Level(4_000, 1_000)
FAR = Level(1_500, 300, 3)
BARE = Level(600, 0, 0)
FULL = Level(40_000, 20_000, 50)


def is_skipped(cell: Cell) -> bool:
    """Whether the user keeps a cell out of everything that is sent."""
    return SKIP_TAG in cell.tags or _SKIP_COMMENT.search(cell.source) is not None


def is_question(cell: Cell) -> bool:
    """Whether a cell asked Codex."""
    return cell.kind == "code" and cell.source.lstrip().startswith(("%%codex", "%codex "))


def assigned_names(source: str) -> set[str]:
    """Return the names that a cell's lines assign."""
    return set(_ASSIGNED.findall(source))


def cell_text(cell: Cell, level: Level) -> str:
    """Return a cell's source and outputs at a level; object addresses, which change with every run, are left out."""
    source = shorten(cell.source.strip("\n"), level.source)
    if cell.kind != "code":
        return source
    lines = [source] if source.strip() else []
    shown = cell.outputs[: level.outputs] if level.output else ()
    texts = [text for output in shown if (text := output_text(output, level.output))]
    if texts:
        lines.append("Output:\n" + _ADDRESS.sub("", "\n".join(texts)))
    if level.output and (pictures := _picture_count(cell)):
        lines.append(f"[{pictures} image{'s' * (pictures > 1)} shown]")
    if len(cell.outputs) > len(shown):
        lines.append(f"[{len(cell.outputs) - len(shown)} outputs not told]")
    return "\n".join(lines)


def question_of(cell: Cell, limit: int) -> tuple[str, str] | None:
    """Return an earlier question, options included, and its answer; None for a cell that asked nothing of the model."""
    source = cell.source.lstrip()
    asked = source.removeprefix("%%codex") if source.startswith("%%codex") else source.removeprefix("%codex ")
    if not source.startswith("%%codex") and asked.split()[:1] and asked.split()[0] in _COMMANDS:
        return None
    answer = ""
    for output in cell.outputs:
        data = output.get("data") or {}
        kind = next((kind for kind in _ANSWER_TYPES if kind in data), None)
        if kind is not None:
            answer = joined(data[kind], limit)
    if not answer and not source.startswith("%%codex"):
        return None
    return shorten(asked.strip(), limit), answer.strip()


def cell_images(cell: Cell) -> tuple[str, ...]:
    """Return the images that a cell shows, as data URLs."""
    return output_images(cell.outputs)


def _picture_count(cell: Cell) -> int:
    return sum(
        1
        for output in cell.outputs
        if any(str(kind).startswith("image/") for kind in output.get("data") or ())
    )
