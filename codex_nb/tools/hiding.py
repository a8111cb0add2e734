"""Hidden cells: what cells marked codex-skip bind, and what is removed from everything that is sent."""

from __future__ import annotations

import ast
import functools
import inspect
import json
import linecache
import re
import sys
import types
import unicodedata
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from codex_nb.tools.introspection import exact_text, find, instance_vars, snapshot
from codex_nb.tools.nbmodel import SKIP_TAG, Cell, Run, is_skipped, strip_ansi

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from codex_nb.tools.nbmodel import NotebookSnapshot


_WORD = re.compile(r"[^\W\d]\w*")
_REMEMBERED = 2_000
_TREES = 256
# Of a magic that is not known each word may name a variable that it fills. These take Python alone, these bind nothing,
# and the body of these is text for people or for another program.
_PYTHON_MAGICS = frozenset({"time", "timeit", "prun", "debug", "memit", "lprun", "mprun"})
_READING_MAGICS = frozenset(
    {"pinfo", "pinfo2", "psearch", "pdoc", "psource", "who", "whos", "matplotlib", "config", "xmode"}
    | {"load_ext", "reload_ext", "pip", "conda", "codex"}
)
_TEXT_MAGICS = frozenset(
    {"codex", "markdown", "latex", "html", "svg", "javascript", "js", "writefile", "file"}
)


def identifiers_in(text: str) -> frozenset[str]:
    """Return every word that could be a name."""
    return frozenset(unicodedata.normalize("NFKC", word) for word in _WORD.findall(text))


@functools.lru_cache(maxsize=_REMEMBERED)
def bound_names(source: str) -> frozenset[str]:
    """Return the names of the namespace that running a cell can bind, delete, or change a part of.

    Of a cell that cannot be parsed these are all the words in it.
    """
    tree = parse_cell(source)
    if tree is None:
        return identifiers_in(source)
    return frozenset(_bound_in(tree))


@functools.lru_cache(maxsize=_TREES)
def parse_cell(source: str) -> ast.Module | None:
    """Return the syntax tree of a cell, its magics and shell commands turned into calls as IPython does."""
    tree = _tree(source)
    if tree is None:
        transformed = to_python(source)
        tree = None if transformed is None else _tree(transformed)
    return tree


@functools.lru_cache(maxsize=_TREES)
def to_python(source: str) -> str | None:
    """Return the Python that IPython makes of a cell, None where it cannot."""
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        transformed: str = TransformerManager().transform_cell(source)
    except Exception:  # noqa: BLE001 -- a cell of any text may come here
        return None
    return transformed


def _tree(source: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _bound_in(tree: ast.AST) -> set[str]:
    """Collect what a tree binds in the module's own scope; trees may be deeper than Python's stack."""
    names: set[str] = set()
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        names.update(_bound_by(node))
        waiting += _evaluated_with(node)
    return names


def _bound_by(node: ast.AST) -> Collection[str]:
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            return {name}
        case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
            return _owner(node)
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Global(names=several):
            return several
        case ast.Import(names=aliases):
            return {alias.asname or alias.name.partition(".")[0] for alias in aliases}
        case ast.ImportFrom(names=[ast.alias(name="*")]):
            return _public(node.module or "")
        case ast.ImportFrom(names=aliases):
            return {alias.asname or alias.name for alias in aliases}
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            return {name}
        case ast.MatchMapping(rest=str(name)):
            return {name}
        case ast.Call():
            return {name for call in _magic_calls(node) for name in _bound_by_magic(*call)}
        case _:
            return ()


def _owner(node: ast.Attribute | ast.Subscript) -> set[str]:
    """Return the name of what a part is assigned to."""
    owner: ast.expr = node
    while isinstance(owner, ast.Attribute | ast.Subscript):
        owner = owner.value
    return {owner.id} if isinstance(owner, ast.Name) else set()


def _evaluated_with(node: ast.AST) -> list[ast.AST]:
    """Return the child nodes that bind names in the same scope."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Lambda():
            body: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else [*node.body]
            outside = [child for child in ast.iter_child_nodes(node) if child not in body]
            return outside + [
                each for part in body for each in ast.walk(part) if isinstance(each, ast.Global)
            ]
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            return [each.target for each in ast.walk(node) if isinstance(each, ast.NamedExpr)]
        case _:
            return list(ast.iter_child_nodes(node))


def _bound_by_magic(name: str, line: str, body: str) -> set[str]:
    names: set[str] = set()
    if name not in _READING_MAGICS:
        names |= bound_names(line)
    if name not in _READING_MAGICS | _PYTHON_MAGICS:
        names |= identifiers_in(line)
    if name not in _TEXT_MAGICS:
        names |= bound_names(body)
    return names


def _magic_calls(node: ast.Call) -> Iterator[tuple[str, str, str]]:
    """Yield the name, the line and the body of the magic that an IPython call runs."""
    called = node.func
    if isinstance(called, ast.Attribute) and called.attr in {"run_line_magic", "run_cell_magic"}:
        texts = [str(each.value) for each in node.args if isinstance(each, ast.Constant)]
        name, line, body = (*texts, "", "", "")[:3]
        yield name, line, body


def _public(module: str) -> set[str]:
    """Return what ``from module import *`` binds, when the module is there."""
    found = sys.modules.get(module)
    held = vars(found) if type(found) is types.ModuleType else {}
    listed = held.get("__all__")
    if type(listed) is list or type(listed) is tuple:
        return {name for name in listed if type(name) is str}
    return {name for name in list(held) if not name.startswith("_")}


@dataclass
class BindingFlow:
    """Follows names from run to run: ``hidden`` are not sent, ``derived`` were made from those by ordinary cells."""

    hidden: set[str] = field(default_factory=set)
    derived: set[str] = field(default_factory=set)

    def hide(self, names: AbstractSet[str]) -> None:
        """Add what a hidden cell has bound."""
        self.hidden |= names
        self.derived -= names

    def follow(self, source: str, *, succeeded: bool) -> None:
        """Follow what an ordinary cell did with the names.

        A plain name for a hidden value is hidden like it. A hidden name is an ordinary one again once a statement that
        is sure to have run binds it from nothing that was hidden or made from it.
        """
        if not any(name in source for name in (*self.hidden, *self.derived)):
            return
        tree = parse_cell(source)
        for statement in tree.body if tree is not None else ():
            self._follow(statement, succeeded=succeeded)

    def _follow(self, statement: ast.stmt, *, succeeded: bool) -> None:
        bound = _bound_in(statement)
        value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
        if isinstance(value, ast.Name) and value.id in self.hidden:
            self.hide(bound)
        elif _used(statement) & (self.hidden | self.derived):
            self.derived |= bound - self.hidden
        elif succeeded:
            self.hidden -= (anew := _bound_anew(statement))
            self.derived -= anew


def _bound_anew(statement: ast.stmt) -> set[str]:
    """Return the names that a statement is sure to bind as a whole."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return {statement.name}
        case ast.Import() | ast.ImportFrom():
            return _bound_in(statement)
        case ast.Assign(targets=targets):
            return {name for target in targets for name in _bound_in(target)}
        case ast.AnnAssign(target=target, value=ast.expr()):
            return _bound_in(target)
        case _:
            return set()


def _used(statement: ast.stmt) -> set[str]:
    """Return the names that a statement reads, those in the text of a magic included."""
    used: set[str] = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            used.add(node.id)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            used.add(node.target.id)
        elif isinstance(node, ast.Call):
            for _, line, body in _magic_calls(node):
                used |= identifiers_in(line) | identifiers_in(body)
    return used


LINE_LEFT_OUT = "[a line of a cell marked codex-skip]"
FRAME_LEFT_OUT = "[a frame in a cell marked codex-skip]"
CELL_LEFT_OUT = "[left out: this cell is marked codex-skip]"
NOTEBOOK_LIMIT = 100_000_000  # bytes of a notebook's file that is read
_WRAPPINGS = 20
# IPython's own names for the inputs and outputs of cells: In, Out, _, _3, _i, _i3, …
_HISTORY = re.compile(r"In|Out|_+|_ih|_oh|_i+|_i?\d+")
_FRAME = re.compile(r"[\s|]*(?:File |Cell In ?\[|Input In ?\[|<ipython-input)")
_IN_FRAME = re.compile(r"-+>|\s*\|\s\s|(?!\s*\|)\s")
_QUOTED = re.compile(r"[\s|│❱]*(?:-+>\s*)?(?:\d+\s+)?[\s│]*(?P<code>.*?)[\s│]*")
_NUMBERED = re.compile(r"[ \d]{6}\d |-+> ?\d+ ")
_VALUE = re.compile(r" {8}(?!\s*\d+\s)(?P<of>.*?) = ")
_CUT = re.compile(r"… \[[\d,]+ characters left out\] …")
_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True)
class Hidden:
    """What is not sent with one question.

    ``names`` are variables, ``lines`` what tracebacks quote, ``cells`` the ids and ``sources`` the texts of cells;
    ``mentioned`` are the names that the user mentions, which are sent all the same.
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
        return {name: value for name, value in snapshot(namespace).items() if not self.hides(name, value)}

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
                texts = {kind: self.text(text) for kind, text in data.items() if isinstance(text, str)}
                texts = {kind: text for kind, text in texts.items() if kind.startswith("text/")}
                return {**output, "data": {**data, **texts}} if texts else output

    def text(self, text: str) -> str:
        """Return a text without the lines that it quotes from skipped cells; of a traceback, without their frames."""
        if not self.sources or not text:
            return text
        lines = strip_ansi(text).split("\n")
        hidden = [self._quotes(lines, place) for place in range(len(lines))]
        kept: list[str] = []
        for start, end in _blocks(lines):
            frame = lines[start:end]
            if not _FRAME.match(frame[0]):
                kept.append(LINE_LEFT_OUT if hidden[start] else frame[0])
            elif any(hidden[start:end]):
                kept.append(FRAME_LEFT_OUT)
            elif any(map(self._shows_hidden_value, frame)):
                kept += [frame[0].partition("(")[0], *filter(_NUMBERED.match, frame)]
            else:
                kept += frame
        return text if kept == lines else "\n".join(kept)

    def _shows_hidden_value(self, line: str) -> bool:
        """Whether a line of a verbose traceback shows the value of a hidden name."""
        assignment = _VALUE.match(line)
        return assignment is not None and bool(
            identifiers_in(assignment["of"]) & (self.names - self.mentioned)
        )

    def _quotes(self, lines: Sequence[str], place: int) -> bool:
        """Whether a line quotes a skipped cell; next to a truncation mark, part of a line is enough."""
        quoted = _QUOTED.fullmatch(lines[place])
        code = _collapse_whitespace(quoted["code"] if quoted else "")
        if code in self.lines or _collapse_whitespace(lines[place]) in self.lines:
            return True
        if _LETTER.search(code) is None:
            return False
        if place + 1 < len(lines) and _CUT.fullmatch(lines[place + 1].strip()):
            return any(line.startswith(code) for line in self.lines)
        if place and _CUT.fullmatch(lines[place - 1].strip()):
            return any(line.endswith(code) for line in self.lines)
        return False

    def notebook(self, text: str) -> str:
        """Return the text of a notebook's file without the skipped cells in it.

        Raises ValueError for a text that may have such cells and cannot be parsed.
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
    """Whether a file is a notebook or a copy of one, by its name."""
    return ".ipynb" in path.name.lower()


def hidden_in(snapshot: NotebookSnapshot | None, runs: Iterable[Run] | None = None) -> Hidden:
    """Decide what is not sent; ``runs`` is what ran in this kernel, oldest first.

    Without ``runs`` the notebook's cells are taken to have run in their order. A run is hidden that had the mark
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
    sources = texts | {python.strip() for text in texts if (python := to_python(text)) is not None}
    shown = {line for cell in cells if not marked.skips(cell) for line in _code_lines(cell.source)}
    lines = {line for source in sources for line in _code_lines(source)} - shown
    return replace(marked, names=frozenset(flow.hidden), lines=frozenset(lines), sources=frozenset(sources))


def _code_lines(source: str) -> Iterator[str]:
    return (line for line in map(_collapse_whitespace, source.splitlines()) if _LETTER.search(line))


def _collapse_whitespace(line: str) -> str:
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
        value = find(instance_vars(value), "__wrapped__")


def _text_of_cell(function: types.FunctionType) -> str | None:
    """Return the Python of the cell in which a function was defined, None for one from a file."""
    lines = lines_of_cell(function)
    return None if lines is None else "".join(lines).strip()


def lines_of_cell(function: types.FunctionType) -> list[str] | None:
    """Return the lines of the cell in which a function was defined, None for one from a file."""
    match linecache.cache.get(function.__code__.co_filename):
        case (int(), None, list(lines), str()):  # a file has a time of its last change
            return [exact_text(line) for line in lines]
        case _:
            return None


def source_of(function: types.FunctionType) -> str | None:
    """Return the source of a function that a cell defines, None for every other: no file is read for it."""
    lines = lines_of_cell(function)
    first = function.__code__.co_firstlineno
    if lines is None or not 0 < first <= len(lines):
        return None
    return "".join(inspect.getblock(lines[first - 1 :]))


def _cell_of(raw: Mapping[str, Any]) -> Cell:
    """Return the parts of an nbformat cell that decide whether it is marked."""
    source, metadata, cell_id = raw.get("source", ""), raw.get("metadata"), raw.get("id")
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    return Cell(
        "code" if raw.get("cell_type") == "code" else "markdown",
        source if isinstance(source, str) else "".join(map(str, source)),
        cell_id if isinstance(cell_id, str) else None,
        tags=frozenset(map(str, tags)) if isinstance(tags, list) else frozenset(),
    )
