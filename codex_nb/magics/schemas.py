"""The type after ``--schema``: read as Python reads an annotation, from names, subscripts, ``|`` and literals alone."""

from __future__ import annotations

import ast
import builtins
import typing
from typing import TYPE_CHECKING, Any

from codex_nb.magics.options import OptionError
from codex_nb.words import question as words

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST = 2_000
_MODULES = frozenset({"typing", "typing_extensions", "types"})  # whose objects take types in brackets
_HINT = (
    "Write a type such as City, list[City], City | None or Literal['a', 'b'], or the name of a JSON schema."
)


def find_schema(written: str, namespace: Mapping[str, Any]) -> Any:
    """Return the type, or the JSON schema, that an option names; raises OptionError.

    Names are looked up in the namespace, among Python's own types and in ``typing``. Nothing is called.
    """
    return _Annotation(written, namespace).value()


class _Annotation:
    """One written type and the names that it may use."""

    def __init__(self, written: str, namespace: Mapping[str, Any]) -> None:
        self._written = written
        self._namespace = namespace

    def value(self) -> Any:
        """Return what is written."""
        if len(self._written) > _LONGEST:
            raise self._refused("it is too long")
        try:
            return self._of(self._parsed(self._written))
        except RecursionError:
            raise self._refused("it is nested too deeply") from None

    def _parsed(self, text: str) -> ast.expr:
        try:
            return ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise self._refused(getattr(error, "msg", None) or "it cannot be read") from None

    def _of(self, node: ast.expr) -> Any:
        match node:
            case ast.Name():
                return self._named(node.id)
            case ast.Attribute():
                return self._inside(node)
            case ast.Constant(value=None):
                return type(None)
            case ast.Constant(value=str() as quoted):
                return self._of(self._parsed(quoted))
            case ast.BinOp(op=ast.BitOr()):
                return self._made(typing.Union, (self._of(node.left), self._of(node.right)))
            case ast.Subscript():
                return self._subscripted(node)
            case _:
                raise self._refused(f"{ast.unparse(node)[:80]} is no type")

    def _named(self, name: str) -> Any:
        if name in self._namespace:
            return self._namespace[name]
        own = getattr(builtins, name, None)
        if isinstance(own, type):
            return own
        if name in typing.__all__:
            return getattr(typing, name)
        raise OptionError(words.no_schema(self._written[:200], name))

    def _inside(self, node: ast.Attribute) -> Any:
        if not isinstance(node.value, ast.Name | ast.Attribute):
            raise self._refused(f"{ast.unparse(node)[:80]} is no type")
        owner = self._of(node.value)
        if not hasattr(owner, node.attr):
            inner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            raise OptionError(words.no_schema_inside(self._written[:200], inner, node.attr))
        return getattr(owner, node.attr)

    def _subscripted(self, node: ast.Subscript) -> Any:
        generic = self._of(node.value)
        entries = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        types = 0 if generic is typing.Literal else 1 if generic is typing.Annotated else len(entries)
        arguments = (*map(self._argument, entries[:types]), *map(self._literal, entries[types:]))
        return self._made(generic, arguments if isinstance(node.slice, ast.Tuple) else arguments[0])

    def _argument(self, node: ast.expr) -> Any:
        return ... if isinstance(node, ast.Constant) and node.value is ... else self._of(node)

    def _literal(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name | ast.Attribute):  # a member of an enumeration
            return self._of(node)
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError):
            raise self._refused(f"{ast.unparse(node)[:80]} is no literal") from None

    def _made(self, generic: Any, arguments: Any) -> Any:
        kind = type(generic)
        if not (issubclass(kind, type) or kind.__module__ in _MODULES):
            raise self._refused(f"{kind.__name__} is no type with parameters")
        try:
            return generic[arguments]
        except TypeError as error:
            raise self._refused(str(error)) from None

    def _refused(self, reason: str) -> OptionError:
        return OptionError(f"--schema {self._written[:200]}: {reason}.", hint=_HINT)
