"""What the model may call: ``Tool``, its arguments and result, the ports to the notebook, and the built-in tools."""

from __future__ import annotations

import functools
import importlib
import json
import pkgutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from codex_nb.errors import InvalidArguments, UnknownTool
from codex_nb.parse import loads
from codex_nb.tools.approval import ApprovalRequest, Approved
from codex_nb.tools.hiding import Hidden

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping, Sequence
    from pathlib import Path

    from codex_nb.tools.approval import CallKey, Decision, Effect
    from codex_nb.tools.nbmodel import InsertResult, NewCell, RunResult

T = TypeVar("T")
JsonObject = dict[str, Any]


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


@dataclass(frozen=True)
class Ports:
    """What a tool can reach during a turn; None stands for what this place does not have.

    ``insert_cells`` inserts cells into the open notebook below the cell with an id, for None below the asking cell.
    ``folder`` is the notebook's folder, the only part of the disk that tools read. ``hidden`` returns what the user
    keeps out at this moment; it is called on the main thread.
    """

    main_thread: MainThread
    kernel: Kernel | None = None
    insert_cells: Callable[[Sequence[NewCell], str | None], Awaitable[InsertResult]] | None = None
    folder: Path | None = None
    hidden: Callable[[], Hidden] = Hidden


@dataclass(frozen=True)
class ToolResult:
    """A call's outcome for the model: text, images as data URLs, and whether it went well."""

    text: str
    images: tuple[str, ...] = ()
    ok: bool = True


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


# Not a pattern in the schema: servers that make grammars of schemas refuse most patterns.
NotBlank = Annotated[str, AfterValidator(_not_blank)]


class Arguments(BaseModel):
    """The arguments of a tool. Unknown ones are ignored, although the schema asks the model not to send any."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, json_schema_extra={"additionalProperties": False}
    )

    def to_json(self) -> JsonObject:
        """Return the arguments as the JSON object that would give them."""
        return self.model_dump(mode="json")

    def to_code(self) -> str | None:
        """Return Python source equivalent to the arguments, None where there is none."""
        return None

    def with_code(self, code: str) -> Self:
        """Return the arguments that edited source stands for; raises ValidationError."""
        return self.model_validate_json(code)


A = TypeVar("A", bound=Arguments)


@dataclass(frozen=True, eq=False)
class Tool(Generic[A]):
    """One function that the model may call.

    ``title`` names the tool for the user and ``summary`` describes a call in one sentence. With
    ``shows_outputs`` the notebook shows what a call gives as a cell's own outputs. ``requires`` is the field of the
    ports without which the tool is not offered.
    """

    name: str
    description: str
    arguments: type[A]
    effect: Effect
    call: Callable[[Approved[A], Ports], Awaitable[ToolResult]]
    title: str
    summary: str
    shows_outputs: bool = False
    requires: Literal["kernel", "folder", "insert_cells"] | None = None

    def is_available(self, ports: Ports) -> bool:
        """Whether the tool can work with these ports."""
        return self.requires is None or getattr(ports, self.requires) is not None

    @property
    def parameters(self) -> JsonObject:
        """The JSON schema of the arguments, without references: not every server follows them."""
        schema = arguments_schema(self.arguments)
        definitions = schema.pop("$defs", {})

        def inlined(part: JsonObject) -> JsonObject:
            name = part.get("$ref", "").rpartition("/")[2]
            return _without_heading(definitions[name]) if name else part

        inlined_schema: JsonObject = json.loads(json.dumps(schema), object_hook=inlined)
        return inlined_schema

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
        code = arguments.to_code()
        return ApprovalRequest(
            call_number=call_number,
            tool=self.name,
            code=json.dumps(arguments.to_json(), indent=2, ensure_ascii=False) if code is None else code,
            language="json" if code is None else "python",
            summary=self.summary,
            editable=True,
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
        """Return what identifies the call: the tool and its canonical arguments."""
        return self.identity, json.dumps(arguments.to_json(), sort_keys=True)

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
