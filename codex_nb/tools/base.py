"""What the model may call: ``Tool``, its arguments and result, the ports to the notebook, and the ``tool`` decorator.

The decorator describes a typed Python function to the model by its annotations and docstring.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import pkgutil
import re
from dataclasses import dataclass, field, replace
from types import FunctionType, MethodType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Generic,
    Literal,
    Protocol,
    Self,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.json_schema import GenerateJsonSchema

from codex_nb.errors import InvalidArguments, ToolError, UnknownTool
from codex_nb.parse import JsonObject, loads
from codex_nb.tools.approval import ApprovalRequest, Approved, Effect
from codex_nb.tools.hiding import Hidden

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping, Sequence
    from pathlib import Path

    from codex_nb.tools.approval import CallKey, Decision
    from codex_nb.tools.describe import CellState, NewCell, RunResult
    from codex_nb.tools.nbmodel import NotebookSnapshot


T = TypeVar("T")


class MainThread(Protocol):
    """Runs a function where the user's code runs: on the thread of the cell."""

    async def call(self, function: Callable[[], T]) -> T:
        """Return what the function returned there, or raise what it raised."""
        ...


class Kernel(Protocol):
    """The user's Python; every method is called on the main thread."""

    def run(self, code: str) -> RunResult:
        """Run code as a cell does: outputs appear in the notebook and come back; exceptions are results."""
        ...

    def show(self, outputs: Sequence[Mapping[str, Any]]) -> None:
        """Show nbformat outputs of an earlier run in the notebook."""
        ...

    def complete(self, awaitable: Awaitable[T]) -> T:
        """Wait for an awaitable on the user's own loop."""
        ...

    def namespace(self) -> Mapping[str, Any]:
        """Return the user's variables, as they are at this moment."""
        ...


class Document(Protocol):
    """The notebook that is open in the front end.

    Cells are named by their nbformat ids. A change is made wholly or not at all, and only to cells whose source is
    still the one given; otherwise :class:`ToolError` says why not.
    """

    async def read(self) -> NotebookSnapshot:
        """Return the notebook as it is now."""
        ...

    async def insert(self, cells: Sequence[NewCell], after: str | None) -> tuple[str, ...]:
        """Insert cells below the cell ``after``, for None below the asking one; return their ids."""
        ...

    async def edit(self, cell_id: str, before: str, after: str) -> None:
        """Give a cell another source."""
        ...

    async def delete(self, sources: Mapping[str, str]) -> None:
        """Delete cells, given with their sources."""
        ...

    async def move(self, cell_id: str, after: str | None) -> None:
        """Move a cell below another, for None to the top."""
        ...


@dataclass(frozen=True)
class Ports:
    """What a tool can reach during a turn; None stands for what this place does not have.

    ``document`` is the open notebook. ``run_cell`` runs the cell of an id as the user does, with its outputs below it,
    provided that its source is the one given. ``shown_cells`` are the sources that the model has been shown, by cell
    id: only these may be changed.
    ``folder`` is the notebook's folder, the only part of the disk that tools read. ``hidden`` returns what the user
    keeps out at this moment; it is called on the main thread. ``ask_user`` asks the user to fill in arguments during a
    call that may ask, and returns None where they do not.
    """

    main_thread: MainThread
    kernel: Kernel | None = None
    document: Document | None = None
    folder: Path | None = None
    hidden: Callable[[], Hidden] = Hidden
    run_cell: Callable[[str, str], Awaitable[RunResult]] | None = None
    shown_cells: dict[str, str] = field(default_factory=dict)
    ask_user: Callable[[Arguments], Awaitable[JsonObject | None]] | None = None


def required(port: T | None, otherwise: str) -> T:
    """Return what a tool needs of the ports; raises ToolError with this text where this place does not have it."""
    if port is None:
        raise ToolError(otherwise)
    return port


@dataclass(frozen=True)
class ToolResult:
    """A call's outcome for the model: text, images as data URLs, and whether it went well.

    ``outputs`` are what the notebook has shown, as nbformat outputs; ``changes`` tells in one line which variables the
    call has made, changed or deleted. ``cells`` are the notebook's cells that it changed or ran, in the order of time.
    """

    text: str
    images: tuple[str, ...] = ()
    ok: bool = True
    outputs: tuple[Mapping[str, Any], ...] = field(default=(), repr=False, compare=False)
    changes: str = ""
    cells: tuple[CellState, ...] = field(default=(), repr=False, compare=False)


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


# Not a pattern in the schema: servers that make grammars of schemas refuse most patterns.
NotBlank = Annotated[str, AfterValidator(_not_blank)]


@dataclass(frozen=True)
class CallDisplay:
    """How the arguments of one call are shown, and what approving them means.

    ``summary`` takes the place of the tool's own. ``before`` is the source that the code takes the place of.
    ``variant`` names a way of calling the tool that an approval of the tool covers only if it was given for that way.
    ``is_question`` tells that the arguments are the user's own answer, which is given once; ``choices`` are what its
    named answers are chosen from.
    """

    summary: str = ""
    language: str = "python"
    editable: bool = True
    before: str | None = None
    variant: str = ""
    is_question: bool = False
    choices: tuple[tuple[str, tuple[object, ...]], ...] = ()


class Arguments(BaseModel):
    """The arguments of a tool. Unknown ones are ignored, although the schema asks the model not to send any."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, json_schema_extra={"additionalProperties": False}, defer_build=True
    )

    def to_json(self) -> JsonObject:
        """Return the arguments as the JSON object that would give them."""
        return self.model_dump(mode="json")

    def to_code(self) -> str | None:
        """Return the source that the arguments stand for, None where there is none."""
        return None

    @property
    def view(self) -> CallDisplay:
        """How an approval shows these arguments, beside their code."""
        return CallDisplay()

    def with_code(self, code: str) -> Self:
        """Return the arguments that edited source stands for; raises ValidationError."""
        return self.model_validate_json(code)


A = TypeVar("A", bound=Arguments)


@dataclass(frozen=True, eq=False)
class Tool(Generic[A]):
    """One function that the model may call.

    ``title`` names the tool for the user and ``summary`` describes a call in one sentence. With
    ``shows_outputs`` the notebook shows what a call gives as a cell's own outputs. ``requires`` is the field of the
    ports without which the tool is not offered. ``prepare`` looks up what a call is about before the user is asked:
    it returns the arguments that are shown and approved, or raises :class:`ToolError`. ``may_ask`` tells that a call
    may ask the user while it runs.
    """

    name: str
    description: str
    arguments: type[A]
    effect: Effect
    call: Callable[[Approved[A], Ports], Awaitable[ToolResult]]
    title: str
    summary: str
    shows_outputs: bool = False
    requires: Literal["kernel", "folder", "document", "run_cell"] | None = None
    prepare: Callable[[A, Ports], Awaitable[A]] | None = None
    may_ask: bool = False

    def is_available(self, ports: Ports) -> bool:
        """Whether the tool can work with these ports."""
        return self.requires is None or getattr(ports, self.requires) is not None

    @property
    def needs_notebook(self) -> bool:
        """Whether it works on the open notebook or in its folder, which not every front end tells."""
        return self.requires in {"document", "run_cell", "folder"}

    @property
    def parameters(self) -> JsonObject:
        """The JSON schema of the arguments, without references: not every server follows them."""
        schema: JsonObject = json.loads(_inlined_schema(self.arguments))
        return schema

    def spec(self) -> JsonObject:
        """Return the function tool as a request declares it."""
        return {
            "type": "function",
            "name": self.name,
            "description": self.description,
            "strict": False,
            "parameters": self.parameters,
        }

    def parse(self, text: str) -> A:
        """Read the JSON text that the model sent; raises InvalidArguments."""
        try:
            values = loads(text or "{}", keep_surrogates=True)
        except ValueError as error:
            raise InvalidArguments(f"the arguments of {self.name} are not valid JSON: {error}") from None
        if not isinstance(values, dict):
            raise InvalidArguments(f"the arguments of {self.name} must be a JSON object")
        return self._validated(lambda: self.validate(values))

    def validate(self, values: JsonObject) -> A:
        """Return the arguments that a JSON object gives; raises ValidationError."""
        return self.arguments.model_validate(values)

    def request(self, call_number: int, arguments: A) -> ApprovalRequest:
        """Return the approval request, which shows exactly what would run."""
        code, view = arguments.to_code(), arguments.view
        return ApprovalRequest(
            call_number=call_number,
            tool=self.name,
            code=json.dumps(arguments.to_json(), indent=2, ensure_ascii=False) if code is None else code,
            language="json" if code is None else view.language,
            summary=view.summary or self.summary,
            editable=view.editable,
            before=view.before,
            is_question=view.is_question,
            choices=view.choices,
        )

    def approve(self, arguments: A, request: ApprovalRequest, decision: Decision) -> Approved[A]:
        """Return what may run: the arguments, or what the user made of them. Raises InvalidArguments."""
        code = decision.code
        if code is None or code == request.code:
            return Approved(arguments, decision)
        if request.language == "json":
            return Approved(self.parse(code), decision)
        return Approved(self._validated(lambda: arguments.with_code(code)), decision)

    @property
    def identity(self) -> Hashable:
        """What an approval of the tool is remembered for."""
        return self

    def key(self, arguments: A) -> CallKey:
        """Return what identifies the call: the tool (or one way of calling it) and its canonical arguments."""
        variant = arguments.view.variant
        identity = (self.identity, variant) if variant else self.identity
        return identity, json.dumps(arguments.to_json(), sort_keys=True)

    def _validated(self, make: Callable[[], A]) -> A:
        try:
            return make()
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(str(part) for part in problem['loc']) or 'arguments'}: {problem['msg']}"
                for problem in error.errors(include_url=False, include_input=False)
            )
            raise InvalidArguments(f"invalid arguments for {self.name}: {problems}") from None


class _WithoutTitles(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False


def arguments_schema(model: type[BaseModel]) -> JsonObject:
    """Return a model's JSON schema without the titles that pydantic makes up."""
    schema = model.model_json_schema(schema_generator=_WithoutTitles)
    return {"properties": {}, **_without_heading(schema)}


@functools.lru_cache(maxsize=100)
def _inlined_schema(model: type[BaseModel]) -> str:
    """Return a model's JSON schema as JSON, with its definitions in place of the references to them."""
    schema = arguments_schema(model)
    definitions = schema.pop("$defs", {})

    def inlined(part: JsonObject) -> JsonObject:
        name = part.get("$ref", "").rpartition("/")[2]
        return _without_heading(definitions[name]) if name else part

    return json.dumps(json.loads(json.dumps(schema), object_hook=inlined))


def _without_heading(schema: JsonObject) -> JsonObject:
    return {key: value for key, value in schema.items() if key not in {"title", "description"}}


@dataclass(frozen=True)
class ToolSet:
    """The tools that one turn offers, by name; a later tool takes the place of an earlier one of its name."""

    tools: tuple[Tool[Any], ...] = ()

    def __iter__(self) -> Iterator[Tool[Any]]:
        return iter({tool.name: tool for tool in self.tools}.values())

    def __len__(self) -> int:
        return len({tool.name for tool in self.tools})

    def specs(self) -> tuple[JsonObject, ...]:
        """Return the declarations in a stable order, so that requests of one thread begin alike."""
        return tuple(tool.spec() for tool in sorted(self, key=lambda tool: tool.name))

    def get(self, name: str) -> Tool[Any] | None:
        """Return the tool of this name, None when there is none."""
        return next((tool for tool in self if tool.name == name), None)

    def find(self, name: str) -> Tool[Any]:
        """Return the tool of this name; raises UnknownTool with the message of the Codex CLI."""
        if (tool := self.get(name)) is None:
            raise UnknownTool(f"unsupported call: {name}")
        return tool

    def with_tools(self, more: Sequence[Tool[Any]]) -> ToolSet:
        """Return a set that offers these as well; a built-in tool gives its name to no other."""
        names = {tool.name for tool in builtin_tools()}
        return ToolSet((*self.tools, *(tool for tool in more if tool.name not in names)))

    def only(self, wanted: Callable[[Tool[Any]], bool]) -> ToolSet:
        """Return the set of the tools that pass a test."""
        return ToolSet(tuple(tool for tool in self if wanted(tool)))


@functools.cache
def builtin_tools() -> ToolSet:
    """Return the tools of this package: every ``Tool`` at the top of one of its modules."""
    package = importlib.import_module("codex_nb.tools")
    names = (f"{package.__name__}.{each.name}" for each in pkgutil.iter_modules(package.__path__))
    values = [value for name in names for value in vars(importlib.import_module(name)).values()]
    return ToolSet(tuple(value for value in values if isinstance(value, Tool)))


@overload
def tool(function: Callable[..., Any]) -> FunctionTool: ...
@overload
def tool(
    *, name: str | None = None, description: str | None = None, effect: Effect | str = Effect.EXECUTE
) -> Callable[[Callable[..., Any]], FunctionTool]: ...
def tool(
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    effect: Effect | str = Effect.EXECUTE,
) -> FunctionTool | Callable[[Callable[..., Any]], FunctionTool]:
    """Offer a typed function to the model.

    ``effect="read"`` declares that the function only reads. Under the policy ``auto`` it then runs without approval
    when it was passed to :func:`codex_nb.ask`, and is asked about once when it was found in the notebook.
    Raises TypeError when the signature cannot be described to a model.

    >>> @codex_nb.tool(effect="read")
    ... def open_orders(customer: str) -> int:
    ...     '''How many orders of a customer are open.'''
    ...     return 3
    >>> codex_nb.ask("How many orders are open?", tools=[open_orders], approval="auto").status
    'completed'
    """
    decorate = functools.partial(_function_tool, name=name, description=description, effect=Effect(effect))
    return decorate if function is None else decorate(function)


class FunctionArguments(Arguments):
    """The arguments of a user's function as the model sent them."""

    values: dict[str, Any]

    def to_json(self) -> JsonObject:
        """Return the arguments as they were sent."""
        return self.values


@dataclass(frozen=True, eq=False)
class _TheObject:
    value: object

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return type(other) is _TheObject and other.value is self.value


@dataclass(frozen=True, eq=False, kw_only=True)
class FunctionTool(Tool[FunctionArguments]):
    """A user's function as a tool; it can still be called as the function that it is.

    ``model`` has the parameters as its fields.
    """

    function: Callable[..., Any]
    model: type[BaseModel]

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the decorated function as if it had no decorator."""
        return self.function(*arguments, **named)

    @property
    def parameters(self) -> JsonObject:
        """The JSON schema of the function's parameters."""
        return arguments_schema(self.model)

    def validate(self, values: JsonObject) -> FunctionArguments:
        """Check the arguments against the annotations; raises ValidationError."""
        self.model.model_validate(values)
        return FunctionArguments(values=values)

    @property
    def identity(self) -> Hashable:
        """The function: it may become a tool anew for every question. An object says of no other that it equals it."""
        function = self.function
        return function if type(function) in (FunctionType, MethodType) else _TheObject(function)


def _function_tool(
    function: Callable[..., Any], name: str | None, description: str | None, effect: Effect
) -> FunctionTool:
    if effect not in _SUMMARIES:
        raise TypeError(
            f"A function runs code, so its effect cannot be {str(effect)!r}. Use 'read', 'edit' or 'execute'."
        )
    name = name or str(getattr(function, "__name__", ""))
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise TypeError(f"{name!r} is not a valid tool name. Use up to 64 letters, digits, '_' and '-'.")
    if builtin_tools().get(name) is not None:
        raise TypeError(
            f"{name!r} is the name of a built-in tool. Give yours another: @codex_nb.tool(name=…)."
        )
    summary, details = read_docstring(inspect.getdoc(function) or "")
    model, names = _arguments_model(function, name, details)

    async def call(approved: Approved[FunctionArguments], ports: Ports) -> ToolResult:
        """Call the function where the user's code runs; a coroutine is awaited on the user's loop."""
        checked = model.model_validate(approved.arguments.values)
        values = {each: getattr(checked, f"argument_{number}") for number, each in enumerate(names)}
        kernel = ports.kernel
        if not inspect.iscoroutinefunction(function):
            return await ports.main_thread.call(lambda: as_result(function(**values)))
        if kernel is None:
            return as_result(await function(**values))
        return await ports.main_thread.call(lambda: as_result(kernel.complete(function(**values))))

    return FunctionTool(
        name=name,
        description=description or summary or f"Calls {name}.",
        arguments=FunctionArguments,
        effect=effect,
        call=call,
        title=name,
        summary=f"{name} {_SUMMARIES[effect]}.",
        function=function,
        model=model,
    )


def found_tools(namespace: Mapping[str, Any]) -> list[FunctionTool]:
    """Return the tools in a namespace; nobody named them, so one that says it reads is asked about once."""
    # isinstance would ask an object for its __class__, and so run code of whatever lies in the namespace
    found = [value for value in namespace.values() if type(value) is FunctionTool]
    return [
        replace(each, effect=Effect.DECLARED_READ) if each.effect is Effect.READ else each for each in found
    ]


_SUMMARIES = {
    Effect.READ: "reads and changes nothing",
    Effect.EDIT: "changes the notebook",
    Effect.EXECUTE: "runs code in this kernel",
}
_GOOGLE_ENTRY = re.compile(r"^\s++(\w++)\s*+(?:\([^)]*+\)\s*+)?:\s*(.+)$")
_SPHINX_ENTRY = re.compile(r"^\s*+:param\s++(?:[\w\[\], |.]*(?<=\s))?(?<!\w)(\w++)\s*+:\s*(.+)$")
_NUMPY_ENTRY = re.compile(r"^(\w+)\s*(?::.*)?$")
_SECTION = re.compile(
    r"^(args|arguments|parameters|params|returns?|raises|yields?|examples?|notes?)\s*+(?::\s*+)?$",
    re.IGNORECASE,
)
_ARGUMENT_SECTIONS = frozenset({"args", "arguments", "parameters", "params"})


def read_docstring(text: str) -> tuple[str, Mapping[str, str]]:
    """Split a docstring into its prose and the descriptions of the arguments (Google, NumPy and Sphinx styles)."""
    prose: list[str] = []
    details: dict[str, str] = {}
    section = ""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        heading = _SECTION.match(line)
        if entry := _SPHINX_ENTRY.match(line):
            details[entry[1]] = entry[2].strip()
        elif heading:
            section = heading[1].lower()
        elif not section and not line.lstrip().startswith(":"):
            prose.append(line)
        elif section in _ARGUMENT_SECTIONS:
            following = lines[number + 1].strip() if number + 1 < len(lines) else ""
            details.update(_argument_entry(line, following))
    return "\n".join(prose).strip(), details


def _argument_entry(line: str, following: str) -> dict[str, str]:
    if entry := _GOOGLE_ENTRY.match(line):
        return {entry[1]: entry[2].strip()}
    if (entry := _NUMPY_ENTRY.match(line)) and following:
        return {entry[1]: following}
    return {}


def _arguments_model(
    function: Callable[..., Any], name: str, details: Mapping[str, str]
) -> tuple[type[BaseModel], tuple[str, ...]]:
    hints = _hints(function, name)
    fields: dict[str, Any] = {}
    names: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY}:
            raise TypeError(
                f"{name}: {parameter} cannot be described to a model. Give every argument a name."
            )
        annotation = hints.get(parameter.name, Any)
        default = ... if parameter.default is parameter.empty else parameter.default
        described = details.get(parameter.name) or _annotated_text(annotation)
        # A field's own name could collide with an attribute of the model; the alias is what the model writes.
        key = f"argument_{len(names)}"
        fields[key] = (annotation, Field(default, alias=parameter.name, title=None, description=described))
        names.append(parameter.name)
    try:
        made = create_model(f"{name}_arguments", __config__=ConfigDict(extra="forbid"), **fields)
        made.model_json_schema()
    except Exception as error:
        raise TypeError(f"{name}: its annotations cannot be described to a model: {error}") from error
    return made, tuple(names)


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except NameError as error:
        raise TypeError(f"{name}: an annotation names something that is not defined: {error}") from error


def _annotated_text(annotation: object) -> str | None:
    if get_origin(annotation) is not Annotated:
        return None
    return next((extra for extra in get_args(annotation)[1:] if isinstance(extra, str)), None)


def as_result(value: object) -> ToolResult:
    """Return what a function returned as a result: text as it is, JSON where possible, ``str`` otherwise."""
    if isinstance(value, ToolResult):
        return value
    if value is None:
        return ToolResult("(returned nothing)")
    if isinstance(value, str):
        return ToolResult(value)
    try:
        return ToolResult(json.dumps(value, ensure_ascii=False))
    except (TypeError, ValueError):
        return ToolResult(str(value))
