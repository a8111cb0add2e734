"""What the user keeps out of everything that is sent: cells marked ``codex-skip``, what they bind, what quotes them.

:func:`hidden_in` decides it, from the notebook and from what ran in this kernel; whatever sends something asks the
:class:`Hidden` that it returns. Nothing of the user's objects is run.
"""

from __future__ import annotations

import json
import linecache
import re
import types
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from codex_nb.notebook import Cell, Run
from codex_nb.tools.bindings import BindingFlow, as_python, bound_names, words_of
from codex_nb.tools.outputs import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from codex_nb.notebook import NotebookSnapshot

SKIP_TAG = "codex-skip"
LINE_LEFT_OUT = "[a line of a cell marked codex-skip]"
FRAME_LEFT_OUT = "[a frame in a cell marked codex-skip]"
CELL_LEFT_OUT = "[left out: this cell is marked codex-skip]"
NOTEBOOK_LIMIT = 100_000_000  # bytes of a notebook's file that is read
_WRAPPINGS = 20
_SKIP_COMMENT = re.compile(r"^[^\S\n]*+(?:#++|<!--|//)[^\S\n]*+codex-skip\b", re.MULTILINE)
# IPython's own names for what cells said and showed: In, Out, _, _3, _i, _i3, …
_HISTORY = re.compile(r"In|Out|_+|_ih|_oh|_i+|_i?\d+")
_FRAME = re.compile(r"[\s|]*(?:File |Cell In ?\[|Input In ?\[|<ipython-input)")
_IN_FRAME = re.compile(r"-+>|\s*\|\s\s|(?!\s*\|)\s")
_QUOTED = re.compile(r"[\s|│❱]*(?:-+>\s*)?(?:\d+\s+)?[\s│]*(?P<code>.*?)[\s│]*")
_NUMBERED = re.compile(r"[ \d]{6}\d |-+> ?\d+ ")
_VALUE = re.compile(r" {8}(?!\s*\d+\s)(?P<of>.*?) = ")
_CUT = re.compile(r"… \[[\d,]+ characters left out\] …")
_TELLING = re.compile(r"[^\W\d_]")


def is_skipped(cell: Cell) -> bool:
    """Whether a cell has the mark, as a tag or as a comment line."""
    return SKIP_TAG in cell.tags or (SKIP_TAG in cell.source and bool(_SKIP_COMMENT.search(cell.source)))


@dataclass(frozen=True)
class Hidden:
    """What is kept out of one question.

    ``names`` are variables, ``lines`` what tracebacks quote, ``cells`` the ids and ``sources`` the texts of cells;
    ``mentioned`` are the names that the user's own words bring in all the same.
    """

    names: frozenset[str] = frozenset()
    lines: frozenset[str] = frozenset()
    cells: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    mentioned: frozenset[str] = frozenset()

    def allowing(self, mentioned: Iterable[str]) -> Hidden:
        """Return the same without the names that the user mentions."""
        return replace(self, mentioned=self.mentioned | frozenset(mentioned))

    def skips(self, cell: Cell) -> bool:
        """Whether nothing of a cell is sent."""
        if is_skipped(cell) or cell.cell_id in self.cells:
            return True
        return cell.kind == "code" and cell.cell_id is None and cell.source.strip() in self.sources

    def hides(self, name: str, value: object = None) -> bool:
        """Whether nothing of a variable is sent: by its name, or as a function that a skipped cell defines."""
        if not self.sources or name in self.mentioned:
            return False
        return (
            name in self.names
            or _HISTORY.fullmatch(name) is not None
            or any(_text_of_cell(function) in self.sources for function in _wrapped(value))
        )

    def visible(self, namespace: Mapping[str, Any]) -> dict[str, Any]:
        """Return the variables that are not hidden."""
        return {name: value for name, value in namespace.items() if not self.hides(name, value)}

    def outputs(self, outputs: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
        """Return a cell's outputs, the lines of skipped cells taken out of its streams and tracebacks."""
        return tuple(self._output(output) for output in outputs) if self.sources else tuple(outputs)

    def _output(self, output: Mapping[str, Any]) -> Mapping[str, Any]:
        match output.get("output_type"):
            case "error":
                frames = output.get("traceback") or ()
                return {**output, "traceback": [self.text(str(frame)) for frame in frames]}
            case "stream":
                text = output.get("text", "")
                return {**output, "text": self.text(text if isinstance(text, str) else "".join(text))}
            case _:
                data = output.get("data") or {}
                texts = {kind: self.text(said) for kind, said in data.items() if isinstance(said, str)}
                texts = {kind: said for kind, said in texts.items() if kind.startswith("text/")}
                return {**output, "data": {**data, **texts}} if texts else output

    def text(self, text: str) -> str:
        """Return a text without the lines that it quotes from skipped cells; of a traceback, without their frames."""
        if not self.sources or not text:
            return text
        lines = plain(text).split("\n")
        hidden = [self._quotes(lines, place) for place in range(len(lines))]
        told: list[str] = []
        for start, end in _blocks(lines):
            frame = lines[start:end]
            if not _FRAME.match(frame[0]):
                told.append(LINE_LEFT_OUT if hidden[start] else frame[0])
            elif any(hidden[start:end]):
                told.append(FRAME_LEFT_OUT)
            elif any(map(self._tells_value, frame)):
                told += [frame[0].partition("(")[0], *filter(_NUMBERED.match, frame)]
            else:
                told += frame
        return text if told == lines else "\n".join(told)

    def _tells_value(self, line: str) -> bool:
        """Whether a line of a verbose traceback tells the value of a hidden name."""
        told = _VALUE.match(line)
        return told is not None and bool(words_of(told["of"]) & (self.names - self.mentioned))

    def _quotes(self, lines: Sequence[str], place: int) -> bool:
        """Whether a line quotes a skipped cell; beside a mark of what was left out, a part of its line will do."""
        quoted = _QUOTED.fullmatch(lines[place])
        said = _squeezed(quoted["code"] if quoted else "")
        if said in self.lines or _squeezed(lines[place]) in self.lines:
            return True
        if _TELLING.search(said) is None:
            return False
        if place + 1 < len(lines) and _CUT.fullmatch(lines[place + 1].strip()):
            return any(line.startswith(said) for line in self.lines)
        if place and _CUT.fullmatch(lines[place - 1].strip()):
            return any(line.endswith(said) for line in self.lines)
        return False

    def notebook(self, text: str) -> str:
        """Return the text of a notebook's file without the skipped cells in it.

        Raises ValueError, which says why, for a text that may have such cells and cannot be parsed.
        """
        if SKIP_TAG not in text and not self.sources:
            return text
        try:
            document = json.loads(text)
        except ValueError:
            message = "cannot be parsed, and may hold cells marked codex-skip"
            raise ValueError(message) from None
        cells = document.get("cells") if isinstance(document, dict) else None
        raws = [raw for raw in cells if isinstance(raw, dict)] if isinstance(cells, list) else []
        for raw in raws:
            outputs = raw.get("outputs")
            if self.skips(_cell_of(raw)):
                raw.update({"source": CELL_LEFT_OUT} | ({"outputs": []} if outputs else {}))
            elif isinstance(outputs, list):
                raw["outputs"] = self.outputs(each for each in outputs if isinstance(each, dict))
        return json.dumps(document, ensure_ascii=False, indent=1)


def is_notebook(path: Path) -> bool:
    """Whether a file is a notebook, by its name."""
    return path.suffix.lower() == ".ipynb"


def hidden_in(snapshot: NotebookSnapshot | None, runs: Iterable[Run] | None = None) -> Hidden:
    """Decide what is kept out; ``runs`` is what ran in this kernel in the order of time.

    Without ``runs`` the notebook's cells are taken to have run in their order. A run is kept out that had the mark
    then, or whose cell has it now.
    """
    cells = snapshot.cells if snapshot is not None else ()
    if runs is None:
        runs = [Run(cell, succeeded=True) for cell in cells if cell.kind == "code"]
    marked = Hidden(
        cells=frozenset(cell.cell_id for cell in cells if is_skipped(cell) and cell.cell_id is not None),
        sources=frozenset(cell.source.strip() for cell in cells if is_skipped(cell) and cell.kind == "code"),
    )
    runs = list(runs)
    skipped = [run for run in runs if marked.skips(run.cell)]
    if not marked.sources and not marked.cells and not skipped:
        return marked
    flow = BindingFlow()
    for source in marked.sources - {run.cell.source.strip() for run in skipped}:
        flow.hide(bound_names(source))
    for run in runs:
        if marked.skips(run.cell):
            flow.hide(bound_names(run.cell.source) | run.changed)
        else:
            flow.follow(run.cell.source, succeeded=run.succeeded)
    texts = marked.sources | {run.cell.source.strip() for run in skipped}
    sources = texts | {python.strip() for text in texts if (python := as_python(text)) is not None}
    shown = {line for cell in cells if not marked.skips(cell) for line in _lines(cell.source)}
    lines = {line for source in sources for line in _lines(source)} - shown
    return replace(marked, names=frozenset(flow.hidden), lines=frozenset(lines), sources=frozenset(sources))


def _lines(source: str) -> Iterator[str]:
    return (line for line in map(_squeezed, source.splitlines()) if _TELLING.search(line))


def _squeezed(line: str) -> str:
    return " ".join(line.split())


def _blocks(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the frames of tracebacks, from their heading to their last line, and each other line by itself."""
    headings = [place for place, line in enumerate(lines) if _FRAME.match(line)]
    if headings == [0]:  # a frame by itself, in which a value may take several lines
        yield 0, len(lines)
        return
    start = 0
    while start < len(lines):
        end = start + 1
        if start in headings:
            while end < len(lines) and _IN_FRAME.match(lines[end]) and end not in headings:
                end += 1
        yield start, end
        start = end


def _wrapped(value: object) -> Iterator[types.FunctionType]:
    """Yield a function and those that it wraps, whose name and docstring it has."""
    for _ in range(_WRAPPINGS):
        if type(value) is not types.FunctionType:
            return
        yield value
        value = value.__dict__.get("__wrapped__")


def _text_of_cell(function: types.FunctionType) -> str | None:
    """Return the Python of the cell in which a function was defined, None for one from a file."""
    match linecache.cache.get(function.__code__.co_filename):
        case (int(), None, list(lines), str()):  # a file has a time of its last change
            return "".join(lines).strip()
        case _:
            return None


def _cell_of(raw: Mapping[str, Any]) -> Cell:
    """Return as much of a cell of an nbformat dict as tells whether it is marked."""
    source, metadata, cell_id = raw.get("source", ""), raw.get("metadata"), raw.get("id")
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    return Cell(
        "code" if raw.get("cell_type") == "code" else "markdown",
        source if isinstance(source, str) else "".join(map(str, source)),
        cell_id if isinstance(cell_id, str) else None,
        tags=frozenset(map(str, tags)) if isinstance(tags, list) else frozenset(),
    )
