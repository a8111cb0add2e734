"""Hidden cells: what cells marked codex-skip bind, and what is removed from everything that is sent.

The names that a cell binds are read from its syntax tree, and so is how cells that run later hand their values on.
"""

from __future__ import annotations

import ast
import functools
import gc
import inspect
import json
import linecache
import math
import re
import sys
import types
import unicodedata
import warnings
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, NewType, cast

from codex_nb.parse import loads
from codex_nb.tools.describe import strip_ansi
from codex_nb.tools.introspection import (
    exact_text,
    find,
    instance_vars,
    is_ndarray,
    is_one_of,
    library_of,
    module_of,
    mro_of,
    notebook_vars,
    qualified_name,
    snapshot,
    vars_of,
)
from codex_nb.tools.introspection import field as field_of
from codex_nb.tools.nbmodel import Run, cell_of, may_be_skipped
from codex_nb.tools.secrets import word_set

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from codex_nb.tools.nbmodel import Cell, NotebookSnapshot


_WORD = re.compile(r"[^\W\d]\w*")
_REMEMBERED = 2_000
_TREES = 256
_ROUNDS = 5
# Of a magic that is not known each word may name a variable that it fills. These take Python alone, these bind nothing,
# and the body of these is text for people or for another program.
_PYTHON_MAGICS = word_set("time timeit prun debug memit lprun mprun")
_READING_MAGICS = word_set(
    "pinfo pinfo2 psearch pdoc psource who whos matplotlib config xmode load_ext reload_ext pip conda codex"
)
_TEXT_MAGICS = word_set("codex markdown latex html svg javascript js writefile file")
# Methods that put something into their object.
_CHANGING = word_set(
    "append appendleft extend extendleft insert update add setdefault put put_nowait fill write writelines"
    " __setitem__ __setattr__"
)
# Functions and methods whose result is what they are given, or parts of it, in another container or form.
_HANDING_ON = word_set(
    "list tuple set frozenset dict sorted reversed enumerate zip filter iter next copy deepcopy str repr bytes int"
    " float vars getattr items values keys get pop popitem head tail tolist to_list to_dict to_numpy to_frame view"
    " array asarray Series DataFrame Index deque OrderedDict SimpleNamespace select slice limit clone lazy collect"
    " column to_pandas to_arrow to_pylist to_pydict to_dicts rows ascii format join map dumps loads getvalue splitlines"
    " to_csv to_json to_string to_html to_markdown to_latex to_records"
    " strip lstrip rstrip split rsplit partition rpartition replace encode decode upper lower title casefold"
    " merge concat sort_values sort_index query sample drop drop_duplicates dropna fillna reset_index set_index rename"
    " melt explode astype assign where mask nlargest nsmallest unique value_counts transpose stack unstack pivot"
)
# Through these a cell reaches values without the names that hold them.
_REACHING = word_set("globals locals vars eval exec get_ipython sys builtins __main__ In Out")


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


def _imported_modules_in(source: str) -> frozenset[str]:
    """Return the names under which a cell imports modules and binds nothing else."""
    statements = tree.body if (tree := parse_cell(source)) is not None else []
    imports = [each for each in statements if isinstance(each, ast.Import)]
    others = [each for each in statements if not isinstance(each, ast.Import)]
    modules = {name for each in imports for name in _bound_in(each)}
    return frozenset(modules.difference(*map(_bound_in, others)))


@functools.lru_cache(maxsize=_REMEMBERED)
def _modules_in(source: str) -> frozenset[str]:
    """Return the names that a cell imports as modules."""
    tree = parse_cell(source) or ast.Module([], [])
    return frozenset(
        name for each in ast.walk(tree) if isinstance(each, ast.Import) for name in _bound_in(each)
    )


@functools.lru_cache(maxsize=_REMEMBERED)
def _texts_in(source: str) -> frozenset[str]:
    """Return the texts that a cell writes out."""
    constants = (
        each.value
        for each in ast.walk(parse_cell(source) or ast.Module([], []))
        if isinstance(each, ast.Constant)
    )
    return frozenset(text for each in constants if (text := _telling_text(each)) is not None)


@functools.lru_cache(maxsize=_TREES)
def _attributes_set(source: str) -> frozenset[tuple[str, str]]:
    """Return the attributes that a cell sets, each with the name of what it sets it on, which may be a module."""
    found = set[tuple[str, str]]()
    for node in ast.walk(parse_cell(source) or ast.Module([], [])):
        match node:
            case ast.Attribute(value=ast.Name(id=owner), attr=name, ctx=ast.Store()):
                found.add((owner, name))
            case ast.Call(
                func=ast.Name(id="setattr"), args=[ast.Name(id=owner), ast.Constant(value=str(name)), *_]
            ):
                found.add((owner, name))
            case ast.Subscript(value=held, slice=ast.Constant(value=str(name)), ctx=ast.Store()):
                found |= {(owner, name) for owner in _whose_names(held)}
            case ast.Call(func=ast.Attribute(value=held, attr="update"), keywords=keywords):
                found |= {(owner, each.arg) for owner in _whose_names(held) for each in keywords if each.arg}
    return frozenset(found)


def _whose_names(held: ast.expr) -> set[str]:
    """Return the name of the module or class whose dictionary an expression is: ``vars(math)``, ``math.__dict__``."""
    match held:
        case ast.Attribute(value=ast.Name(id=owner), attr="__dict__"):
            return {owner}
        case ast.Call(func=ast.Name(id="vars"), args=[ast.Name(id=owner)]):
            return {owner}
        case _:
            return set()


@functools.lru_cache(maxsize=_TREES)
def parse_cell(source: str) -> ast.Module | None:
    """Return the syntax tree of a cell, its magics and shell commands turned into calls as IPython does."""
    tree = _tree(source)
    if tree is None:
        transformed = _to_python(source)
        tree = None if transformed is None else _tree(transformed)
    return tree


@functools.lru_cache(maxsize=_TREES)
def _to_python(source: str) -> str | None:
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
            return _changed_by(node) | {
                name for call in _magic_calls(node) for name in _bound_by_magic(*call)
            }
        case _:
            return ()


def _changed_by(call: ast.Call) -> set[str]:
    """Return the name of what a call puts something into."""
    match call:
        case ast.Call(func=ast.Attribute(value=owner, attr=name)) if name in _CHANGING or any(
            each.arg == "inplace" for each in call.keywords
        ):
            return _owner(owner)
        case ast.Call(func=ast.Name(id="setattr" | "delattr"), args=[owner, *_]):
            return _owner(owner)
        case _:
            return set()


def _owner(owner: ast.expr) -> set[str]:
    """Return the name of what a part belongs to."""
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
    held = vars_of(sys.modules.get(module))
    listed = held.get("__all__")
    if type(listed) is list or type(listed) is tuple:
        return {name for name in listed if type(name) is str}
    return {name for name in list(held) if not name.startswith("_")}


@dataclass
class BindingFlow:
    """Follows names from run to run.

    ``hidden`` are not sent, ``derived`` were made from those by ordinary cells; ``filled`` may hold a copy of them,
    since they were used together or there is a way without a name. Of the hidden ones, ``modules`` are imported
    modules: what an ordinary cell calls in them holds nothing that is hidden. ``imported`` are the modules of
    ordinary cells.
    """

    hidden: set[str] = field(default_factory=set)
    derived: set[str] = field(default_factory=set)
    filled: set[str] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)
    imported: set[str] = field(default_factory=set)

    def hide(self, names: AbstractSet[str], *, modules: AbstractSet[str] = frozenset()) -> None:
        """Add what a hidden cell has bound, and which of it are modules."""
        self.hidden |= names
        self.derived -= names
        self.filled -= names
        self.modules = (self.modules - names) | modules

    def follow(
        self, source: str, *, succeeded: bool, bound_elsewhere: AbstractSet[str] = frozenset()
    ) -> None:
        """Follow what an ordinary cell did with the names.

        ``bound_elsewhere`` are names that were bound while it ran though no ordinary cell says so: where it uses a
        hidden name, code of a hidden cell did that.

        What holds a hidden value, a part of it or a copy is hidden like it. A hidden name is an ordinary one again once
        a statement that is sure to have run binds it from nothing that was hidden or made from it.
        """
        self.imported |= _modules_in(source)
        if not any(name in source for name in (*self.hidden, *self.derived, *self.filled, *_REACHING, "_")):
            return
        tree = parse_cell(source)
        statements = tree.body if tree is not None else []
        if bound_elsewhere and any(_used(statement) & self.hidden for statement in statements):
            self.hide(bound_elsewhere)
        elif any(_reaches_further(_used(statement)) for statement in statements):
            self.filled |= bound_elsewhere
        for statement in statements:
            self._follow(statement, succeeded=succeeded)

    def _follow(self, statement: ast.stmt, *, succeeded: bool) -> None:
        used = _used(statement)
        if used & (self.hidden | self.derived):
            self.derived |= _bound_in(statement) - self.hidden
            handed_on = list(_handed_on(statement))
            for _ in range(_ROUNDS):  # in a loop, a later line may pass a value to an earlier one
                carrying = self.hidden - self.modules
                for names, values in handed_on:
                    if not names <= self.hidden and any(_carries(value, carrying) for value in values):
                        self.hide(names)
                        carrying |= names
        elif succeeded:
            self.hidden -= (anew := _bound_anew(statement))
            self.derived -= anew
        if _reaches_further(used) or used & (self.hidden | self.derived | self.filled):
            self.filled |= (_bound_in(statement) | _may_be_filled(statement)) - self.hidden - self.imported
        elif succeeded:
            self.filled -= _bound_anew(statement)


def _reaches_further(used: set[str]) -> bool:
    return bool(used & _REACHING) or any(map(_HISTORY.fullmatch, used))


def _may_be_filled(statement: ast.stmt) -> set[str]:
    """Return the names of what a statement may put a value into: what it calls with it, or sets a part of."""
    parts = list[ast.AST]()
    for node in ast.walk(statement):
        match node:
            case ast.Call(func=function):
                parts += _given_to(node)
                if isinstance(function, ast.Attribute):
                    parts.append(function.value)
            case ast.Attribute(ctx=ast.Store()) | ast.Subscript(ctx=ast.Store()):
                parts.append(node.value)
    return {each.id for part in parts for each in ast.walk(part) if isinstance(each, ast.Name)}


def _handed_on(statement: ast.stmt) -> Iterator[tuple[set[str], list[ast.expr]]]:
    """Yield names with the expressions whose values they get, in a statement and in those within it."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        waiting += _evaluated_with(node)
        match node:
            case ast.Assign(targets=targets, value=value):
                yield {name for target in targets for name in _bound_in(target)}, [value]
            case (
                ast.AnnAssign(target=target, value=ast.expr() as value)
                | ast.NamedExpr(target=target, value=value)
                | ast.AugAssign(target=target, value=value)
                | ast.For(target=target, iter=value)
                | ast.AsyncFor(target=target, iter=value)
                | ast.withitem(context_expr=value, optional_vars=ast.expr() as target)
            ):
                yield _bound_in(target), [value]
            case ast.Match(subject=value, cases=cases):
                yield {name for each in cases for name in _bound_in(each.pattern)}, [value]
            case ast.Call() if names := _changed_by(node):
                yield names, _given_to(node)


def _given_to(call: ast.Call) -> list[ast.expr]:
    """Return the arguments of a call, those with names too."""
    return [*call.args, *(each.value for each in call.keywords)]


# Expressions that hold a value which one of their parts is or holds.
_MADE_OF_PARTS = (
    *(ast.Attribute, ast.Starred, ast.Await, ast.List, ast.Tuple, ast.Set, ast.Dict),
    *(ast.JoinedStr, ast.BoolOp),
)


def _carries(value: ast.expr, hidden: AbstractSet[str]) -> bool:
    """Whether an expression is a hidden value, a part or a copy of one, or holds one; not what is computed from it."""
    waiting: list[ast.AST] = [value]
    while waiting:
        match waiting.pop():
            case ast.Name(id=name):
                if name in hidden:
                    return True
            case ast.Subscript(value=inner) | ast.NamedExpr(value=inner) | ast.FormattedValue(value=inner):
                waiting.append(inner)
            case whole if isinstance(whole, _MADE_OF_PARTS):
                waiting += ast.iter_child_nodes(whole)
            case ast.IfExp(body=body, orelse=orelse):
                waiting += [body, orelse]
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp() as made:
                waiting += [each.iter for each in made.generators]
                waiting += [made.key, made.value] if isinstance(made, ast.DictComp) else [made.elt]
            case ast.Call(func=ast.Name(id=name)) as call if name in _HANDING_ON:
                waiting += _given_to(call)
            case ast.Call(func=ast.Attribute(value=owner, attr=name)) as call if name in _HANDING_ON:
                waiting += [owner, *_given_to(call)]
            case ast.BinOp(left=ast.Constant(value=str() | bytes()), op=ast.Mod(), right=inner):
                waiting.append(inner)
    return False


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
_QUOTED = re.compile(
    r"[\s|│❱]*+(?:-++>\s*+)?(?:\d++\s++)?[\s│]*+(?P<code>(?:[^\s│]++|[\s│]++(?=[^\s│]))*+)[\s│]*+"
)
_NUMBERED = re.compile(r"[ \d]{6}\d |-+> ?\d+ ")
_VALUE = re.compile(r" {8}(?!\s*\d+\s)(?P<of>.*?) = ")
_BOX_TOP, _BOX_BOTTOM, _BOX_OF_VALUES = "╭", "╰", "─ locals ─"  # of a traceback of rich
_ESCAPED_BREAK = "\\n"  # in the representation of a text
_CUT_WORDS = "characters left out]"
_CUT = re.compile(rf"… \[[\d,]+ {re.escape(_CUT_WORDS)} …")
# where a text may show something hidden without a whole line of it
_MARKS = (_CUT_WORDS, _BOX_TOP, "File ", "Cell In", "Input In", "<ipython-input")
_LETTER = re.compile(r"[^\W\d_]")
_UNQUOTED = re.compile(r"[^\s'\\]+")  # what a representation of a line does not change


VisibleVariables = NewType("VisibleVariables", dict[str, Any])
"""Variables of which none is hidden: what a question tells of the namespace. Only :meth:`Hidden.visible` makes it."""


@dataclass(frozen=True)
class Hidden:
    """What is not sent with one question.

    ``names`` are variables, ``lines`` what tracebacks quote, ``cells`` the ids and ``sources`` the texts of cells;
    ``mentioned`` are the names that the user mentions, which are sent all the same. ``derived`` are variables that
    ordinary cells made with hidden ones, and ``filled`` those that may hold a copy of one. ``attributes`` are what
    skipped cells have set, and on which names. ``texts`` are those that skipped cells write out, ``told`` those of
    ordinary cells.
    """

    names: frozenset[str] = frozenset()
    derived: frozenset[str] = frozenset()
    filled: frozenset[str] = frozenset()
    lines: frozenset[str] = frozenset()
    cells: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    mentioned: frozenset[str] = frozenset()
    attributes: frozenset[tuple[str, str]] = frozenset()
    texts: frozenset[str] = frozenset()
    told: frozenset[str] = frozenset()

    def allowing(self, mentioned: Iterable[str]) -> Hidden:
        """Return the same without the names that the user mentions."""
        return replace(self, mentioned=self.mentioned | frozenset(mentioned))

    def skips(self, cell: Cell) -> bool:
        """Whether nothing of a cell is sent."""
        if cell.is_skipped or cell.cell_id in self.cells:
            return True
        return cell.kind == "code" and cell.cell_id is None and cell.source.strip() in self.sources

    def visible(self, namespace: Mapping[str, Any]) -> VisibleVariables:
        """Return the variables that are not hidden: by their name, by what they hold, or by the cell that made them."""
        variables = snapshot(namespace)
        if not self.sources:
            return VisibleVariables(variables)
        hidden = [value for name, value in variables.items() if name in self.names]
        traces = _Traces(
            [*hidden, *self._held_by_modules(variables)], self.sources, texts=self.texts, told=self.told
        )
        shown = {
            name: value
            for name, value in variables.items()
            if name in self.mentioned
            or not (
                self._hides(name, value)
                or (traces.share_with(value) if name in self.derived else traces.lead_to(value))
                or (name in self.filled and traces.are_told_by(value))
            )
        }
        return VisibleVariables(shown)

    def _held_by_modules(self, variables: Mapping[str, Any]) -> Iterator[object]:
        """Yield what skipped cells have put into modules, which ordinary cells import as well."""
        for owner, name in self.attributes:
            module = variables.get(owner, sys.modules.get(owner))
            if type(module) is types.ModuleType and (value := find(vars_of(module), name)) is not None:
                yield value

    def _hides(self, name: str, value: object) -> bool:
        return (
            name in self.names
            or _HISTORY.fullmatch(name) is not None
            or (type(value) is str and any(source in value for source in self.sources))
            or any(_text_of_cell(function) in self.sources for function in _wrapped(value))
        )

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
        plain = strip_ansi(text)
        if not self._may_quote(plain) and not any(mark in plain for mark in _MARKS):
            return text
        lines = plain.split("\n")
        hidden = [self._quotes(lines, place) for place in range(len(lines))]
        kept: list[str] = []
        for start, end in _blocks(lines):
            frame = lines[start:end]
            if frame[0].startswith(_BOX_TOP):
                is_left_out = any(hidden[start:end]) or any(_BOX_OF_VALUES in line for line in frame)
                kept += [FRAME_LEFT_OUT] if is_left_out else frame
            elif not _FRAME.match(frame[0]):
                kept.append(LINE_LEFT_OUT if hidden[start] else frame[0])
            elif any(hidden[start:end]):
                kept.append(FRAME_LEFT_OUT)
            elif any(map(self._shows_hidden_value, frame)):
                kept += [frame[0].partition("(")[0], *filter(_NUMBERED.match, frame)]
            else:
                kept += frame
        return text if kept == lines else "\n".join(kept)

    def _may_quote(self, text: str) -> bool:
        """Whether a text holds all the words of a skipped line, as in a representation too: few do."""
        return any(all(word in text for word in words) for words in self._words)

    @cached_property
    def _words(self) -> tuple[list[str], ...]:
        return tuple(sorted(_UNQUOTED.findall(line), key=len, reverse=True) for line in self.lines)

    def _shows_hidden_value(self, line: str) -> bool:
        """Whether a line of a verbose traceback shows the value of a hidden name."""
        assignment = _VALUE.match(line)
        return assignment is not None and bool(
            identifiers_in(assignment["of"]) & (self.names - self.mentioned)
        )

    def _quotes(self, lines: Sequence[str], place: int) -> bool:
        """Whether a line quotes a skipped cell; next to a truncation mark, part of a line is enough."""
        line = lines[place]
        if _ESCAPED_BREAK in line:
            pieces = line.replace("\\'", "'").split(_ESCAPED_BREAK) if self._may_quote(line) else []
            return any(_quoted_code(piece) in self.lines for piece in pieces)
        if self._may_quote(line) and {_quoted_code(line), _collapse_whitespace(line)} & self.lines:
            return True
        if _is_cut(lines, place + 1):
            return self._holds_part(line, str.startswith)
        return _is_cut(lines, place - 1) and self._holds_part(line, str.endswith)

    def _holds_part(self, line: str, is_part: Callable[[str, str], bool]) -> bool:
        code = _quoted_code(line)
        return _LETTER.search(code) is not None and any(is_part(each, code) for each in self.lines)

    def notebook(self, text: str) -> str:
        """Return the text of a notebook's file without the skipped cells in it.

        Raises ValueError for a text that may have such cells and cannot be parsed.
        """
        if not may_be_skipped(text) and not self.sources:
            return text
        try:
            document = loads(text, keep_surrogates=True)
        except ValueError:
            raise ValueError("cannot be parsed, and may hold cells marked codex-skip") from None
        cells = document.get("cells") if isinstance(document, dict) else None
        raws = [raw for raw in cells if isinstance(raw, dict)] if isinstance(cells, list) else []
        for raw in raws:
            outputs = raw.get("outputs")
            if self.skips(cell_of(raw)):
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
        cells=frozenset(cell.cell_id for cell in cells if cell.is_skipped and cell.cell_id is not None),
        sources=frozenset(cell.source.strip() for cell in cells if cell.is_skipped and cell.kind == "code"),
    )
    runs = list(runs)
    skipped = [run for run in runs if marked.skips(run.cell)]
    if not marked.sources and not marked.cells and not skipped:
        return marked
    flow, ordinary = BindingFlow(), set[str]()
    for source in marked.sources - {run.cell.source.strip() for run in skipped}:
        flow.hide(bound_names(source), modules=_imported_modules_in(source))
    for run in runs:
        if marked.skips(run.cell):
            source = run.cell.source
            flow.hide(bound_names(source) | run.changed, modules=_imported_modules_in(source))
        else:
            ordinary |= bound_names(run.cell.source)
            elsewhere = frozenset(run.changed - ordinary)
            flow.follow(run.cell.source, succeeded=run.succeeded, bound_elsewhere=elsewhere)
    texts = marked.sources | {run.cell.source.strip() for run in skipped}
    sources = texts | {python.strip() for text in texts if (python := _to_python(text)) is not None}
    shown = {line for cell in cells if not marked.skips(cell) for line in _code_lines(cell.source)}
    lines = {line for source in sources for line in _code_lines(source)} - shown
    return replace(
        marked,
        names=frozenset(flow.hidden),
        derived=frozenset(flow.derived),
        filled=frozenset(flow.filled | flow.derived),
        lines=frozenset(lines),
        sources=frozenset(sources),
        attributes=frozenset(each for text in texts for each in _attributes_set(text)),
        texts=frozenset(each for text in texts for each in _texts_in(text)),
        told=frozenset(
            each for run in runs if not marked.skips(run.cell) for each in _texts_in(run.cell.source)
        ),
    )


def _code_lines(source: str) -> Iterator[str]:
    return (line for line in map(_collapse_whitespace, source.splitlines()) if _LETTER.search(line))


def _quoted_code(line: str) -> str:
    """Return the code that a line of a traceback quotes, without what stands around it."""
    quoted = _QUOTED.fullmatch(line)
    return _collapse_whitespace(quoted["code"] if quoted else "")


def _collapse_whitespace(line: str) -> str:
    return " ".join(line.split())


def _is_cut(lines: Sequence[str], place: int) -> bool:
    """Whether a line says that what was there was left out of a truncated text."""
    return (
        0 <= place < len(lines) and _CUT_WORDS in lines[place] and bool(_CUT.fullmatch(lines[place].strip()))
    )


def _blocks(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the frames of tracebacks, from their heading to their last line, and each other line by itself."""
    headings = [place for place, line in enumerate(lines) if _FRAME.match(line)]
    if headings == [0]:  # a frame by itself, in which a value may take several lines
        yield 0, len(lines)
        return
    start = 0
    while start < len(lines):
        end = start + 1
        if lines[start].startswith(_BOX_TOP):
            while end < len(lines) and lines[end - 1][:1] != _BOX_BOTTOM:
                end += 1
        elif start in headings:
            while end < len(lines) and _IN_FRAME.match(lines[end]) and end not in headings:
                end += 1
        yield start, end
        start = end


_CONTAINERS = (list, tuple, set, frozenset)
_COMMON_NUMBERS = (0.0, 1.0, math.inf, -math.inf, math.pi, math.e, math.tau)
_CACHED_INTEGERS = 256  # the interpreter makes those up to it once
_SHORTEST_TEXT = 8  # of an identifier: the interpreter makes equal ones once
_TRACEBACK = BaseException.__dict__["__traceback__"]  # which no subclass overrides
_LONGEST_TEXT = 10_000
_BEGINNING = 500  # by which a text is known
_MOST_TEXT = 200_000  # in which texts are looked for
_MAX_TEXTS = 2_000
_MAX_ENTRIES = 500  # of a container; a description shows fewer
_MAX_REACHED = 1_000  # of one value
_MAX_REACHED_IN_ALL = 50_000
_NEAREST = 50
_SHELL = frozenset({"IPython", "ipykernel", "traitlets", "codex_nb", "ipywidgets", "comm", "zmq"})


class _Traces:
    """Finds values that are hidden objects or hold one, by identity and without asking them."""

    def __init__(
        self,
        hidden: Iterable[object],
        sources: AbstractSet[str],
        *,
        texts: AbstractSet[str] = frozenset(),
        told: AbstractSet[str] = frozenset(),
    ) -> None:
        self._hidden = [*hidden, *_errors_of(sources)]
        self._sources = sources
        self._written, self._told = texts, told
        self._ids = {id(value) for value in self._hidden if _is_distinct(value)}
        self._cleared: set[int] = set()
        self._ways: dict[int, Callable[[Any], Iterable[Any]]] = {}

    @cached_property
    def _parts(self) -> set[int]:
        return self._ids | {id(each) for each in self._all_held if _is_part(each)}

    @cached_property
    def _all_held(self) -> list[object]:
        return list(self._reached(self._hidden, set(), set()))

    @cached_property
    def _texts(self) -> list[str]:
        """The texts of which no part may be told; what an ordinary cell writes out as well is told anyway."""
        held = {text for each in self._all_held if (text := _telling_text(each)) is not None}
        return sorted(islice((held | self._written) - self._told, _MAX_TEXTS), key=len)

    @cached_property
    def _joined(self) -> str:
        return "\0".join(self._texts)[:_MOST_TEXT]

    @cached_property
    def _beginnings(self) -> list[str]:
        return list(dict.fromkeys(text[:_BEGINNING] for text in self._texts))

    def lead_to(self, value: object) -> bool:
        """Whether a value is a hidden object, of a hidden class, or holds such an object or a cell's text."""
        if id(value) in self._ids:
            return True
        seen: set[int] = set()
        for held in self._reached([value], self._cleared, seen):
            if id(held) in self._ids or (type(held) is str and held.strip() in self._sources):
                return True
        self._cleared |= seen
        return False

    def share_with(self, value: object) -> bool:
        """Whether a value that was made from hidden ones is or holds a part of them, or uses their memory."""
        return any(id(held) in self._parts for held in self._reached([value], set(), set()))

    def are_told_by(self, value: object) -> bool:
        """Whether a value holds a hidden text or a part of one, wherever it has it from."""
        texts = list[str]()
        for held in self._reached([value], set(), set()):
            if issubclass(type(held), dict):
                keys = map(
                    _telling_text, islice(dict.__iter__(cast("dict[object, object]", held)), _MAX_ENTRIES)
                )
                texts += [text for text in keys if text is not None]
            if (text := _telling_text(held)) is not None:
                if text[:_BEGINNING] in self._joined and text not in self._told:
                    return True
                texts.append(text)
        joined = "\0".join(texts)[:_MOST_TEXT]
        return any(beginning in joined for beginning in self._beginnings)

    def _reached(self, values: list[object], known: set[int], seen: set[int]) -> Iterator[object]:
        """Yield values and what they hold, the nearest first, except what is known or was seen."""
        waiting = list(values)
        limit = max(_NEAREST, min(_MAX_REACHED, _MAX_REACHED_IN_ALL - len(known))) * len(values)
        for held in waiting:
            if id(held) in known or id(held) in seen:
                continue
            if len(seen) >= limit:
                return
            seen.add(id(held))
            yield held
            kind = type(held)
            if id(kind) not in self._ways:
                self._ways[id(kind)] = _way_into(held)
            if len(waiting) < 2 * limit:
                waiting += self._ways[id(kind)](held)


def _way_into(value: Any) -> Callable[[Any], Iterable[Any]]:
    """Return how what a value holds is had, without the contents of libraries, modules and the shell itself."""
    kind = type(value)
    if is_one_of(kind, _CONTAINERS):
        return lambda held: list(islice(held, _MAX_ENTRIES))
    if kind is dict:
        return lambda held: [] if _is_of_module(held) else list(islice(held.values(), _MAX_ENTRIES))
    if issubclass(kind, type):
        return lambda held: [member for _, member in islice(notebook_vars(held), _MAX_ENTRIES)]
    if kind is types.FunctionType:
        return lambda held: [held.__closure__, held.__defaults__, held.__kwdefaults__]
    if is_ndarray(value):
        return _held_by_array
    names = {qualified_name(base) for base in mro_of(kind)}
    is_opaque = is_one_of(kind, (types.ModuleType, types.FrameType, types.CodeType))
    # Frames that are computed from others share their labels.
    if (
        is_opaque
        or module_of(kind).partition(".")[0] in _SHELL
        or (library_of(value) == "pandas" and "Index" in names)
    ):
        return lambda _: ()
    return (lambda held: [field_of(held, "base")]) if "ndarray" in names else gc.get_referents


def _telling_text(value: Any) -> str | None:
    """Return a text that is long enough to be known again wherever it stands; None for anything else."""
    kind = type(value)
    if kind is bytes or kind is bytearray:
        value = value[:_LONGEST_TEXT].decode("utf-8", "replace")
    elif kind is not str:
        return None
    is_telling = len(value) >= _SHORTEST_TEXT and not value.startswith("__")
    return value[:_LONGEST_TEXT] if is_telling else None


def _errors_of(sources: AbstractSet[str]) -> Iterator[object]:
    """Yield the last error where it comes from one of these cells: IPython and the interpreter keep it."""
    error = vars_of(sys).get("last_value")
    if not issubclass(type(error), BaseException):
        return
    frame = _TRACEBACK.__get__(error)
    while frame is not None:
        if _text_of_code(frame.tb_frame.f_code) in sources:
            yield error
            return
        frame = frame.tb_next


def _held_by_array(array: Any) -> list[Any]:
    """Return what has the memory of an array, and its entries where they are objects or texts."""
    match qualified_name(type(array.dtype)):
        case "ObjectDType":
            return [array.base, *islice(array.flat, _MAX_ENTRIES)]
        case "StrDType" | "BytesDType":
            return [array.base, *array.flat[:_MAX_ENTRIES].tolist()]
        case _:
            return [array.base]


def _is_part(value: object) -> bool:
    """Whether what a hidden value holds is data of its own: no class, and nothing that a library keeps beside data."""
    is_data = library_of(value) is None or is_ndarray(value)
    return is_data and not issubclass(type(value), type) and _is_distinct(value)


def _is_of_module(held: dict[Any, Any]) -> bool:
    first = next(iter(held), None)
    return type(first) is str and first == "__name__"


def _is_distinct(value: Any) -> bool:
    """Whether the same object elsewhere means that it was handed on: not one that all code shares."""
    kind = type(value)
    if value is None or kind is bool or kind is types.ModuleType or kind is types.BuiltinFunctionType:
        return False
    if issubclass(kind, type):
        return module_of(value) == "__main__"
    if kind is types.FunctionType:
        return lines_of_cell(value) is not None
    if kind is int:
        return int(abs(value)) > _CACHED_INTEGERS
    if kind is float:
        is_shared = math.isnan(value) or value in _COMMON_NUMBERS
        return not is_shared
    if kind is str:
        return len(value) >= _SHORTEST_TEXT or (len(value) > 1 and not str.isidentifier(value))
    if kind is tuple or kind is frozenset:
        return len(value) > 0
    if kind is bytes:
        return len(value) > 1
    names = {qualified_name(base) for base in mro_of(kind)}
    return library_of(value) is None or not names & {"dtype", "NAType", "NaTType", "ExtensionDtype"}


def _wrapped(value: object) -> Iterator[types.FunctionType]:
    """Yield a function and those that it wraps, whose name and docstring it has."""
    for _ in range(_WRAPPINGS):
        if type(value) is not types.FunctionType:
            return
        yield value
        value = find(instance_vars(value), "__wrapped__")


def _text_of_cell(function: types.FunctionType) -> str | None:
    """Return the Python of the cell in which a function was defined, None for one from a file."""
    return _text_of_code(function.__code__)


def _text_of_code(code: types.CodeType) -> str | None:
    lines = _lines_of_code(code)
    return None if lines is None else "".join(lines).strip()


def lines_of_cell(function: types.FunctionType) -> list[str] | None:
    """Return the lines of the cell in which a function was defined, None for one from a file."""
    return _lines_of_code(function.__code__)


def _lines_of_code(code: types.CodeType) -> list[str] | None:
    match linecache.cache.get(code.co_filename):
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
