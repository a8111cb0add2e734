"""The ``tool`` decorator: a typed Python function becomes a tool, its schema made from annotations and docstring."""

from __future__ import annotations

import inspect
import json
import re
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints, overload

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from codex_nb.errors import InvalidArguments
from codex_nb.tools.approval import Effect
from codex_nb.tools.tool import Arguments, Ports, Tool, ToolResult
from codex_nb.words import tools as words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
    *, name: str | None = None, description: str | None = None, effect: Effect | str = Effect.RUNS_CODE
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    effect: Effect | str = Effect.RUNS_CODE,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Offer a typed function to the model.

    ``effect="looks"`` declares that the function only looks: under the policy ``auto`` it then runs unasked. Raises
    TypeError when the signature cannot be described to a model.

    >>> @codex_nb.tool(effect="looks")
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
    if effect is Effect.SHOWS:
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
