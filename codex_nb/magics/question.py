"""From a cell's options to a turn request: its context, images, schema and tools."""

from __future__ import annotations

import ast
import base64
import builtins
import io
import typing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codex_nb.magics.options import OptionError
from codex_nb.session.context import NotebookContext, build_context
from codex_nb.session.notebook_context import TurnRequest
from codex_nb.tools.base import Tool, ToolSet, builtin_tools
from codex_nb.tools.files import FileRefused, read_bounded, real_path
from codex_nb.words import question as words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from codex_nb.magics.options import CellOptions
    from codex_nb.magics.session import NotebookReading, ShellSession
    from codex_nb.profile import Profile
    from codex_nb.tools.hiding import Hidden


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


IMAGE_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}
LARGEST_IMAGE = 20_000_000


def make_question(session: ShellSession, options: CellOptions, profile: Profile) -> TurnRequest:
    """Put together what the cell asks, still without the notebook; an option that names nothing is refused here.

    Runs on the main thread: it reads the live namespace.
    """
    namespace = session.namespace
    choices = session.choices(options, profile)
    return TurnRequest(
        prompt=options.prompt,
        model=choices.model,
        effort=choices.effort,
        thread=choices.thread,
        images=tuple(image_url(name, namespace, session.folder) for name in options.images),
        schema=find_schema(options.schema, namespace) if options.schema else None,
        approval=choices.approval,
        folder=session.folder,
        use_cache=session.may_replay(choices.thread),
        fresh=options.fresh,
        earlier=session.earlier(options.prompt),
    )


def with_notebook(
    question: TurnRequest, options: CellOptions, profile: Profile, reading: NotebookReading
) -> TurnRequest:
    """Add what comes from the notebook as it was read: the context, the tools of the user's own, the subject.

    Raises CellSkipped for a subject that the user keeps out.
    """
    hidden = reading.hidden()
    namespace = hidden.visible(reading.session.namespace)
    return replace(
        question,
        data=options.subject(reading) if options.subject is not None else (),
        tools=offered_tools(namespace) if options.tools else ToolSet(),
        context=gather(reading, profile, hidden) if options.context else None,
    )


def gather(reading: NotebookReading, profile: Profile, hidden: Hidden) -> NotebookContext:
    """Put together what is sent of the notebook and the namespace."""
    session = reading.session
    return build_context(
        reading.snapshot,
        session.namespace,
        reading.prompt,
        redactor=profile.assistant.redactor(),
        folder=session.folder,
        budget=session.config.context_tokens,
        hidden=hidden,
    )


def offered_tools(namespace: Mapping[str, Any], more: Sequence[Tool[Any]] = ()) -> ToolSet:
    """Offer the notebook's tools and the user's own: every ``@codex_nb.tool`` in the namespace."""
    # isinstance would ask an object for its __class__, and so run code of whatever lies in the namespace
    own = [value for value in namespace.values() if issubclass(type(value), Tool)]
    return builtin_tools().with_tools([*own, *more])


def image_url(name: str, namespace: Mapping[str, Any], folder: Path | None) -> str:
    """Make a data URL of a figure or picture in the namespace, or of a file."""
    if name in namespace:
        return _data_url("image/png", _picture(name, namespace[name]))
    path = Path(name).expanduser()
    path = path if path.is_absolute() or folder is None else folder / path
    kind = IMAGE_TYPES.get(path.suffix.lower())
    if kind is None:
        raise OptionError(words.no_image(name))
    try:
        content = read_bounded(real_path(path), LARGEST_IMAGE)
    except (FileRefused, OSError) as error:
        raise OptionError(words.no_image(name)) from error
    if content.size > LARGEST_IMAGE:
        raise OptionError(words.image_too_large(name, str(LARGEST_IMAGE // 1_000_000)))
    return _data_url(kind, content.data)


def _picture(name: str, value: Any) -> bytes:
    buffer = io.BytesIO()
    figure = value if hasattr(value, "savefig") else getattr(value, "figure", None)
    if figure is not None and hasattr(figure, "savefig"):
        figure.savefig(buffer, format="png", bbox_inches="tight")
    elif hasattr(value, "save") and hasattr(value, "size"):
        value.save(buffer, format="PNG")
    else:
        raise OptionError(words.not_an_image(name, type(value).__name__))
    return buffer.getvalue()


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
