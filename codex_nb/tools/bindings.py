"""The names that a cell binds, read from its syntax tree, and how cells that run later hand their values on."""

from __future__ import annotations

import ast
import functools
import re
import sys
import unicodedata
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from codex_nb.tools.introspection import vars_of
from codex_nb.tools.secrets import word_set

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from collections.abc import Set as AbstractSet


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
    " column to_pandas to_arrow to_pylist to_pydict to_dicts rows"
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


def imported_modules_in(source: str) -> frozenset[str]:
    """Return the names under which a cell imports modules and binds nothing else."""
    statements = tree.body if (tree := parse_cell(source)) is not None else []
    imports = [each for each in statements if isinstance(each, ast.Import)]
    others = [each for each in statements if not isinstance(each, ast.Import)]
    modules = {name for each in imports for name in _bound_in(each)}
    return frozenset(modules.difference(*map(_bound_in, others)))


@functools.lru_cache(maxsize=_TREES)
def attributes_set(source: str) -> frozenset[tuple[str, str]]:
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
    return frozenset(found)


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
    found = sys.modules.get(module)
    held = vars_of(found)
    listed = held.get("__all__")
    if type(listed) is list or type(listed) is tuple:
        return {name for name in listed if type(name) is str}
    return {name for name in list(held) if not name.startswith("_")}


@dataclass
class BindingFlow:
    """Follows names from run to run.

    ``hidden`` are not sent, ``derived`` were made from those by ordinary cells. Of the hidden ones, ``modules`` are
    imported modules: what an ordinary cell calls in them holds nothing that is hidden.
    """

    hidden: set[str] = field(default_factory=set)
    derived: set[str] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)

    def hide(self, names: AbstractSet[str], *, modules: AbstractSet[str] = frozenset()) -> None:
        """Add what a hidden cell has bound, and which of it are modules."""
        self.hidden |= names
        self.derived -= names
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
        if not any(name in source for name in (*self.hidden, *self.derived)):
            return
        tree = parse_cell(source)
        statements = tree.body if tree is not None else []
        if bound_elsewhere and any(_used(statement) & self.hidden for statement in statements):
            self.hide(bound_elsewhere)
        for statement in statements:
            self._follow(statement, succeeded=succeeded)

    def _follow(self, statement: ast.stmt, *, succeeded: bool) -> None:
        if _used(statement) & (self.hidden | self.derived):
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
            ):
                yield _bound_in(target), [value]
            case ast.For(target=target, iter=value) | ast.AsyncFor(target=target, iter=value):
                yield _bound_in(target), [value]
            case ast.withitem(context_expr=value, optional_vars=ast.expr() as target):
                yield _bound_in(target), [value]
            case ast.Match(subject=value, cases=cases):
                yield {name for each in cases for name in _bound_in(each.pattern)}, [value]
            case ast.AugAssign(target=target, value=value):
                yield _bound_in(target), [value]
            case ast.Call(args=arguments, keywords=keywords) if names := _changed_by(node):
                yield names, [*arguments, *(each.value for each in keywords)]


def _carries(value: ast.expr, hidden: AbstractSet[str]) -> bool:
    """Whether an expression is a hidden value, a part or a copy of one, or holds one; not what is computed from it."""
    waiting: list[ast.expr] = [value]
    while waiting:
        match waiting.pop():
            case ast.Name(id=name):
                if name in hidden:
                    return True
            case ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.Starred(value=inner):
                waiting.append(inner)
            case ast.NamedExpr(value=inner) | ast.FormattedValue(value=inner) | ast.Await(value=inner):
                waiting.append(inner)
            case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
                waiting += parts
            case ast.JoinedStr(values=parts) | ast.BoolOp(values=parts):
                waiting += parts
            case ast.Dict(keys=keys, values=parts):
                waiting += [*parts, *filter(None, keys)]
            case ast.IfExp(body=body, orelse=orelse):
                waiting += [body, orelse]
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp() as made:
                waiting += [each.iter for each in made.generators]
                waiting += [made.key, made.value] if isinstance(made, ast.DictComp) else [made.elt]
            case ast.Call(func=ast.Name(id=name), args=arguments) if name in _HANDING_ON:
                waiting += arguments
            case ast.Call(func=ast.Attribute(value=owner, attr=name), args=arguments) if name in _HANDING_ON:
                waiting += [owner, *arguments]
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
