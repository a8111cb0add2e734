"""The ``tool`` decorator: a typed Python function, described to the model by its annotations and docstring."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints, overload

from pydantic import BaseModel, ConfigDict, Field, create_model

from codex_nb.tools.approval import Effect
from codex_nb.tools.base import (
    Arguments,
    JsonObject,
    Ports,
    Tool,
    ToolResult,
    arguments_schema,
    builtin_tools,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from codex_nb.tools.approval import Approved


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

    def decorate(target: Callable[..., Any]) -> FunctionTool:
        return _function_tool(target, name, description, Effect(effect))

    return decorate if function is None else decorate(function)


class FunctionArguments(Arguments):
    """The arguments of a user's function as the model sent them."""

    values: dict[str, Any]

    def to_json(self) -> JsonObject:
        """Return the arguments as they were sent."""
        return self.values


@dataclass(frozen=True, eq=False, kw_only=True)
class FunctionTool(Tool[FunctionArguments]):
    """A user's function as a tool; it can still be called as the function that it is.

    ``model`` has the parameters, called ``names``, as its fields.
    """

    function: Callable[..., Any]
    model: type[BaseModel]
    names: tuple[str, ...]

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
        """The function: it may become a tool anew for every question."""
        return self.function


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
        names=names,
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
