"""What the model may call: :class:`Tool`, what it answers, and the ports through which it reaches the notebook."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from codex_nb.errors import InvalidArguments, UnknownTool
from codex_nb.tools.approval import ApprovalRequest, Effect
from codex_nb.tools.hiding import Hidden
from codex_nb.words import tools as words

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from codex_nb.notebook import InsertResult, NewCell, RunResult

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
        Effect.SHOWS: words.shows,
        Effect.LOOKS: words.looks,
        Effect.CHANGES: words.changes,
        Effect.RUNS_CODE: words.runs_code,
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
