"""From a cell's options to a turn request: its schema, images, context and tools, and what fix and explain refer to."""

from __future__ import annotations

import ast
import base64
import builtins
import io
import typing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from codex_nb.config.settings import ApprovalPolicy
from codex_nb.magics.options import SUBCOMMANDS, OptionError
from codex_nb.session.context import NotebookContext, build_context
from codex_nb.session.notebook_context import TurnRequest, is_question
from codex_nb.tools.base import ToolSet, builtin_tools, found_tools
from codex_nb.tools.file_access import FileRefused, is_image, path_of_user, read_apart, read_image
from codex_nb.tools.nbmodel import Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from codex_nb.magics.options import CellOptions
    from codex_nb.magics.session import NotebookReading, ShellSession
    from codex_nb.profile import Profile
    from codex_nb.tools.base import Tool
    from codex_nb.tools.hiding import Hidden
    from codex_nb.tools.nbmodel import Cell, NotebookSnapshot


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
                raise self._refused(f"{ast.unparse(node)[:80]} is not a type")

    def _named(self, name: str) -> Any:
        if name in self._namespace:
            return self._namespace[name]
        own = getattr(builtins, name, None)
        if isinstance(own, type):
            return own
        if name in typing.__all__:
            return getattr(typing, name)
        raise OptionError(f"--schema {self._written[:200]}: {name!r} is not in your namespace.")

    def _inside(self, node: ast.Attribute) -> Any:
        if not isinstance(node.value, ast.Name | ast.Attribute):
            raise self._refused(f"{ast.unparse(node)[:80]} is not a type")
        owner = self._of(node.value)
        if not hasattr(owner, node.attr):
            inner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            raise OptionError(f"--schema {self._written[:200]}: {inner!r} has no {node.attr!r}.")
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
            raise self._refused(f"{ast.unparse(node)[:80]} is not a literal") from None

    def _made(self, generic: Any, arguments: Any) -> Any:
        kind = type(generic)
        if not (issubclass(kind, type) or kind.__module__ in _MODULES):
            raise self._refused(f"{kind.__name__} is not a type with parameters")
        try:
            return generic[arguments]
        except TypeError as error:
            raise self._refused(str(error)) from None

    def _refused(self, reason: str) -> OptionError:
        return OptionError(f"--schema {self._written[:200]}: {reason}.", hint=_HINT)


_IMAGES = "Name a figure, or a .png, .jpg, .gif or .webp file."


def make_question(session: ShellSession, options: CellOptions, profile: Profile) -> TurnRequest:
    """Put together what the cell asks, without the notebook yet; raises OptionError for what does not exist.

    An option wins over the session's setting, and that one over config.toml. Runs on the main thread: it reads the
    live namespace.
    """
    config, namespace = session.config, session.namespace
    thread = options.thread or session.thread or session.own_thread
    approval = options.approval or config.approval
    return TurnRequest(
        prompt=options.prompt,
        model=options.model or config.model,
        effort=options.effort or config.effort,
        thread=thread,
        images=tuple(image_url(name, namespace, session.folder) for name in options.images),
        schema=find_schema(options.schema, namespace) if options.schema else None,
        approval=ApprovalPolicy(approval) if approval else profile.settings.approval,
        folder=session.folder,
        use_cache=session.may_use_cache(thread),
        fresh=options.fresh,
        earlier=session.earlier(options.prompt),
    )


def with_notebook(
    question: TurnRequest, options: CellOptions, profile: Profile, reading: NotebookReading
) -> TurnRequest:
    """Add what comes from the notebook as it was read: the context, the user's own tools, the subject.

    Raises CellSkipped for a subject that the user excludes.
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
    """Put together what is sent from the notebook and the namespace."""
    session = reading.session
    return build_context(
        reading.snapshot,
        session.namespace,
        reading.prompt,
        redactor=profile.assistant.redactor(),
        folder=session.folder,
        budget=session.config.context_tokens,
        hidden=hidden,
        subcommands={name for name, each in SUBCOMMANDS.items() if not each.asks},
    )


def offered_tools(namespace: Mapping[str, Any], more: Sequence[Tool[Any]] = ()) -> ToolSet:
    """Offer the notebook's tools and the user's own: every ``@codex_nb.tool`` in the namespace."""
    return builtin_tools().with_tools([*found_tools(namespace), *more])


def image_url(name: str, namespace: Mapping[str, Any], folder: Path | None) -> str:
    """Make a data URL of a figure or image in the namespace, or of a file; raises OptionError."""
    if name in namespace:
        return f"data:image/png;base64,{base64.b64encode(_png(name, namespace[name])).decode('ascii')}"
    missing = f"--image {name}: neither a figure in your namespace nor an image file."
    if not is_image(name):
        raise OptionError(missing, hint=_IMAGES)
    try:
        return read_apart(lambda: read_image(path_of_user(name, folder)))
    except FileRefused as refusal:
        raise OptionError(f"--image: {name} {refusal}.", hint=_IMAGES) from refusal
    except OSError as error:
        raise OptionError(missing, hint=_IMAGES) from error


def _png(name: str, value: Any) -> bytes:
    buffer = io.BytesIO()
    figure = value if hasattr(value, "savefig") else getattr(value, "figure", None)
    if figure is not None and hasattr(figure, "savefig"):
        figure.savefig(buffer, format="png", bbox_inches="tight")
    elif hasattr(value, "save") and hasattr(value, "size"):
        value.save(buffer, format="PNG")
    else:
        raise OptionError(
            f"--image {name}: {type(value).__name__} is neither a figure nor an image.", hint=_IMAGES
        )
    return buffer.getvalue()


def last_failure(runs: Iterable[Run]) -> Run | None:
    """Return the newest failed run of a cell that has not run since; cells that ask Codex do not count.

    Where the front end gives cells no ids, the same text is the same cell.
    """
    newest: dict[tuple[str | None, str], Run] = {}
    for run in runs:
        if not is_question(run.cell):
            key = (run.cell.cell_id, "" if run.cell.cell_id is not None else run.cell.source.strip())
            newest.pop(key, None)
            newest[key] = run
    return next((run for run in reversed(newest.values()) if run.error), None)


def explained_run(snapshot: NotebookSnapshot | None, runs: Iterable[Run]) -> Run | None:
    """Return the cell above the asking one in the open notebook or its file; without those, the one that ran last."""
    asked_about = [run for run in runs if not is_question(run.cell)]
    if snapshot is None or snapshot.current is None or snapshot.origin == "kernel":
        return asked_about[-1] if asked_about else None
    cell = next((each for each in reversed(snapshot.cells[: snapshot.current]) if _has_code(each)), None)
    if cell is None:
        return None
    ran = [run for run in asked_about if _is_same(run.cell, cell)]
    return Run(cell, error=ran[-1].error if ran else "")


def _has_code(cell: Cell) -> bool:
    return cell.kind == "code" and bool(cell.source.strip()) and not is_question(cell)


def _is_same(run: Cell, cell: Cell) -> bool:
    return run.source.strip() == cell.source.strip() and run.cell_id in {None, cell.cell_id}
