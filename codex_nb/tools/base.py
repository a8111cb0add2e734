"""What the model may call: ``Tool``, its result, the ``tool`` decorator, and the ports to the notebook."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Protocol,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from codex_nb.errors import InvalidArguments, UnknownTool
from codex_nb.tools.approval import ApprovalRequest, Effect
from codex_nb.tools.hiding import Hidden
from codex_nb.words import tools as words

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from codex_nb.tools.nbmodel import InsertResult, NewCell, RunResult


T = TypeVar("T")

Arguments = dict[str, Any]


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

    def complete(self, awaitable: Awaitable[T]) -> T:
        """Wait for an awaitable on the user's own loop."""
        ...

    def namespace(self) -> Mapping[str, Any]:
        """Return the user's variables, as they are at this moment."""
        ...


class Document(Protocol):
    """The notebook that the user sees."""

    async def insert(self, cells: Sequence[NewCell], after: str | None) -> InsertResult:
        """Insert cells below the cell with this id, or below the asking cell when None."""
        ...


@dataclass(frozen=True)
class Ports:
    """What a tool can reach during a turn; None stands for what this place does not have.

    ``folder`` is the notebook's folder, the only part of the disk that tools read. ``hidden`` tells what the user keeps
    out at this moment; it is called on the main thread.
    """

    main_thread: MainThread
    kernel: Kernel | None = None
    document: Document | None = None
    folder: Path | None = None
    hidden: Callable[[], Hidden] = Hidden


@dataclass(frozen=True)
class ToolResult:
    """A call's outcome for the model: text, images as data URLs, and whether it went well."""

    text: str
    images: tuple[str, ...] = ()
    ok: bool = True


class Call(Protocol):
    """The work of a tool: validated arguments in, result out; may raise anything."""

    def __call__(self, arguments: Arguments, ports: Ports) -> Awaitable[ToolResult]:
        """Carry the call out."""
        ...


@dataclass(frozen=True)
class Script:
    """How a person reads and changes the arguments of a tool as source code in ``language``.

    ``write`` gives None where the code would not say all of the arguments; ``read`` gives the arguments with what the
    code says.
    """

    write: Callable[[Arguments], str | None]
    read: Callable[[str, Arguments], Arguments]
    language: str = "python"


def accept_anything(arguments: Arguments) -> Arguments:
    """Take arguments as they are: the tool checks them itself."""
    return arguments


@dataclass(frozen=True)
class Tool:
    """One function that the model may call.

    ``parameters`` is the JSON schema of the arguments. ``check`` raises InvalidArguments for what does not fit and
    returns the arguments with defaults. ``code_argument`` names the argument that holds source code in ``language``:
    where it is the only one, an approval shows that code instead of the JSON of all arguments, as it shows their
    ``script`` where there is one. ``function`` is what the user decorated.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    effect: Effect
    call: Call
    check: Callable[[Arguments], Arguments] = accept_anything
    code_argument: str | None = None
    language: str = "json"
    script: Script | None = None
    available: Callable[[Ports], bool] = field(default=lambda _ports: True)
    function: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the decorated function as if it had no decorator."""
        if self.function is None:
            raise TypeError(words.for_the_model_alone(self.name))
        return self.function(*arguments, **named)

    def spec(self) -> dict[str, Any]:
        """Return the function tool as a request declares it."""
        return {
            "type": "function",
            "name": self.name,
            "description": self.description,
            "strict": False,
            "parameters": dict(self.parameters),
        }

    def parse(self, text: str) -> Arguments:
        """Read the JSON text that the model sent; raises InvalidArguments."""
        try:
            arguments = json.loads(text or "{}")
        except ValueError as error:
            message = f"the arguments of {self.name} are not valid JSON: {error}"
            raise InvalidArguments(message) from None
        if not isinstance(arguments, dict):
            message = f"the arguments of {self.name} must be a JSON object"
            raise InvalidArguments(message)
        return self.check(arguments)

    def request(self, call_number: int, arguments: Arguments) -> ApprovalRequest:
        """Say exactly what would run."""
        code, language = self.readable(arguments)
        return ApprovalRequest(
            call_number=call_number,
            tool=self.name,
            code=code,
            language=language,
            summary=_SUMMARIES[self.effect](self.name),
            editable=True,
        )

    def readable(self, arguments: Arguments) -> tuple[str, str]:
        """Return arguments as a person reads them, and the language that this is in."""
        if self.script is not None and (script := self.script.write(arguments)) is not None:
            return script, self.script.language
        if (code := self._code(arguments)) is not None:
            return code, self.language
        return json.dumps(arguments, indent=2, ensure_ascii=False, default=str), "json"

    def edited(self, arguments: Arguments, code: str) -> Arguments:
        """Put the text that the user edited in an approval in the place of what it showed."""
        if self.script is not None and self.script.write(arguments) is not None:
            return self.check(self.script.read(code, arguments))
        if self._code(arguments) is None:
            return self.parse(code)
        return {**arguments, str(self.code_argument): code}

    def _code(self, arguments: Arguments) -> str | None:
        code = arguments.get(self.code_argument) if self.code_argument and len(arguments) == 1 else None
        return code if isinstance(code, str) else None


_SUMMARIES: Mapping[Effect, Callable[[str], str]] = MappingProxyType(
    {
        Effect.NONE: words.shows,
        Effect.READ: words.looks,
        Effect.EDIT: words.changes,
        Effect.EXECUTE: words.runs_code,
    }
)


@dataclass(frozen=True)
class ToolSet:
    """The tools that one turn offers, by name; a later tool takes the place of an earlier one of its name."""

    tools: tuple[Tool, ...] = ()

    def __iter__(self) -> Iterator[Tool]:
        return iter({tool.name: tool for tool in self.tools}.values())

    def __len__(self) -> int:
        return len({tool.name for tool in self.tools})

    def specs(self) -> tuple[dict[str, Any], ...]:
        """Return the declarations in a stable order, so that requests of one thread begin alike."""
        return tuple(tool.spec() for tool in sorted(self, key=lambda tool: tool.name))

    def find(self, name: str) -> Tool:
        """Return the tool of this name; raises UnknownTool with the words that the Codex CLI uses."""
        for tool in self:
            if tool.name == name:
                return tool
        message = f"unsupported call: {name}"
        raise UnknownTool(message)

    def with_tools(self, more: Sequence[Tool]) -> ToolSet:
        """Return a set that offers these as well."""
        return ToolSet((*self.tools, *more))

    def only(self, wanted: Callable[[Tool], bool]) -> ToolSet:
        """Return the set of the tools that pass a test."""
        return ToolSet(tuple(tool for tool in self if wanted(tool)))


_GOOGLE_ENTRY = re.compile(r"^\s++(\w++)\s*+(?:\([^)]*+\)\s*+)?:\s*(.+)$")
_SPHINX_ENTRY = re.compile(r"^\s*+:param\s++(?:[\w\[\], |.]*(?<=\s))?(?<!\w)(\w++)\s*+:\s*(.+)$")
_NUMPY_ENTRY = re.compile(r"^(\w+)\s*(?::.*)?$")
_SECTION = re.compile(
    r"^(args|arguments|parameters|params|returns?|raises|yields?|examples?|notes?)\s*+(?::\s*+)?$",
    re.IGNORECASE,
)
_ARGUMENT_SECTIONS = frozenset({"args", "arguments", "parameters", "params"})


@overload
def tool(function: Callable[..., Any]) -> Tool: ...
@overload
def tool(
    *, name: str | None = None, description: str | None = None, effect: Effect | str = Effect.EXECUTE
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    effect: Effect | str = Effect.EXECUTE,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Offer a typed function to the model.

    ``effect="read"`` declares that the function only looks: under the policy ``auto`` it then runs unasked. Raises
    TypeError when the signature cannot be described to a model.

    >>> @codex_nb.tool(effect="read")
    ... def open_orders(customer: str) -> int:
    ...     '''How many orders of a customer are open.'''
    ...     return 3
    >>> codex_nb.ask("How many orders are open?", tools=[open_orders], approval="auto").status
    'completed'
    """

    def decorate(target: Callable[..., Any]) -> Tool:
        return make_tool(target, name=name, description=description, effect=Effect(effect))

    return decorate if function is None else decorate(function)


def make_tool(
    function: Callable[..., Any], *, name: str | None, description: str | None, effect: Effect
) -> Tool:
    """Describe a function as a tool that runs it on the main thread."""
    if effect is Effect.NONE:
        raise TypeError(words.NEVER_ASKED_FOR)
    chosen = name or str(getattr(function, "__name__", ""))
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", chosen):
        raise TypeError(words.not_a_name(chosen))
    summary, details = read_docstring(inspect.getdoc(function) or "")
    model, names = _arguments_model(function, chosen, details)
    described = _Described(function, chosen, model, names)
    return Tool(
        name=chosen,
        description=description or summary or f"Calls {chosen}.",
        parameters=_schema(model),
        effect=effect,
        call=described.call,
        check=described.check,
        function=function,
    )


def read_docstring(text: str) -> tuple[str, Mapping[str, str]]:
    """Split a docstring into its prose and what it says of each argument (Google, NumPy and Sphinx styles)."""
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
            raise TypeError(words.argument_without_a_name(name, str(parameter)))
        annotation = hints.get(parameter.name, Any)
        default = ... if parameter.default is parameter.empty else parameter.default
        described = details.get(parameter.name) or _said_in(annotation)
        # A field's own name could collide with an attribute of the model; the alias is what the model writes.
        key = f"argument_{len(names)}"
        fields[key] = (annotation, Field(default, alias=parameter.name, title=None, description=described))
        names.append(parameter.name)
    try:
        made = create_model(f"{name}_arguments", __config__=ConfigDict(extra="forbid"), **fields)
        made.model_json_schema()
    except Exception as error:
        raise TypeError(words.annotations_unusable(name, str(error))) from error
    return made, tuple(names)


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except NameError as error:
        raise TypeError(words.annotation_undefined(name, str(error))) from error


def _said_in(annotation: object) -> str | None:
    if get_origin(annotation) is not Annotated:
        return None
    return next((extra for extra in get_args(annotation)[1:] if isinstance(extra, str)), None)


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(by_alias=True)
    schema.pop("title", None)
    for described in schema.get("properties", {}).values():
        described.pop("title", None)
    schema.setdefault("properties", {})
    return schema


class _Described:
    """A user's function with the model of its arguments."""

    def __init__(
        self, function: Callable[..., Any], name: str, model: type[BaseModel], names: tuple[str, ...]
    ) -> None:
        self._function = function
        self._name = name
        self._model = model
        self._names = names

    def check(self, arguments: Arguments) -> Arguments:
        """Hold a call's arguments against the annotations; raises InvalidArguments."""
        try:
            self._model.model_validate(arguments)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(str(part) for part in problem['loc']) or 'arguments'}: {problem['msg']}"
                for problem in error.errors(include_url=False, include_input=False)
            )
            message = f"invalid arguments for {self._name}: {problems}"
            raise InvalidArguments(message) from None
        return arguments

    async def call(self, arguments: Arguments, ports: Ports) -> ToolResult:
        """Call the function where the user's code runs; a coroutine is awaited on the user's loop."""
        checked = self._model.model_validate(arguments)
        values = {name: getattr(checked, f"argument_{number}") for number, name in enumerate(self._names)}
        kernel = ports.kernel
        if not inspect.iscoroutinefunction(self._function):
            return await ports.main_thread.call(lambda: as_result(self._function(**values)))
        if kernel is None:
            return as_result(await self._function(**values))
        return await ports.main_thread.call(lambda: as_result(kernel.complete(self._function(**values))))


def as_result(value: object) -> ToolResult:
    """Put what a function returned into words: text as it is, JSON where possible, ``str`` otherwise."""
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
