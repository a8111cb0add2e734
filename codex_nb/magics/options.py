"""What a user writes: the settings of the magics, the options of a question, the types of --schema, the subcommands."""

from __future__ import annotations

import argparse
import ast
import builtins
import enum
import keyword
import re
import types
import typing
import unicodedata
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn

from traitlets import Bool, Enum, Integer, List, TraitError, Unicode, validate
from traitlets.config import Configurable

from codex_nb.errors import CodexError, ConfigError
from codex_nb.labels import AGENT_CONFIGS, EFFORTS, SIMILAR, TRANSPORTS, ApprovalPolicy
from codex_nb.tools.introspection import (
    class_attribute,
    class_vars,
    find,
    instance_vars,
    module_of,
    qualified_name,
    vars_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    # what a subcommand asks about, found in the NotebookReading of the question
    Subject = Callable[..., tuple[tuple[str, str], ...]]
    # called with the ShellSession and the rest of the line
    Handler = Callable[[Any, str], Any]

APPROVALS = tuple(ApprovalPolicy)
DISPLAYS = ("auto", "widget", "html", "text")

_QUOTE_ALL = "Quote all of the value, or none of it."
# Special names, the outputs and inputs of cells and where IPython keeps them, and the last answer.
_IPYTHON_NAME = re.compile(r"__|_(?:i*\d*|[diosh]h|exit_code|codex)$")
_RESERVED = frozenset({"In", "Out", "exit", "quit", "get_ipython", "display", "codex_nb"})
_ANOTHER_NAME = "Choose another variable, such as -o answer."


class SessionConfig(Configurable):
    """What the user set for the session; None leaves a choice to config.toml."""

    model = Unicode(None, allow_none=True, help="The model to use; None is the one in config.toml.").tag(
        config=True
    )
    effort = Unicode(None, allow_none=True, help="Reasoning effort: low, medium, high, …").tag(config=True)
    approval = Unicode(
        None, allow_none=True, help="When to ask before a tool runs: ask, auto, all or read-only."
    ).tag(config=True)
    profile = Unicode(None, allow_none=True, help="The login or config profile to use.").tag(config=True)
    display = Enum(DISPLAYS, default_value="auto", help="How answers are shown.").tag(config=True)
    context_tokens = Integer(24_000, min=0, help="The most tokens of notebook context to send.").tag(
        config=True
    )
    engine = Enum(
        ("direct", "agent"),
        default_value="direct",
        help='What answers: "direct" for this package, "agent" for the agent of the Codex CLI.',
    ).tag(config=True)
    agent_config = Enum(
        AGENT_CONFIGS,
        default_value="private",
        help="What the agent is told of your CODEX_HOME: "
        '"private" for nothing but the provider, "own" for config.toml, MCP servers, skills and AGENTS.md.',
    ).tag(config=True)
    replay = Enum(
        ("auto", "off"),
        default_value="auto",
        help='Whether Run All shows saved answers whose question is unchanged: "auto" or "off".',
    ).tag(config=True)
    footer = Enum(
        ("plan", "account", "off"),
        default_value="plan",
        help='What is saved below an answer: model, tokens and "plan", or "off"; "account" saves your e-mail, too.',
    ).tag(config=True)
    error_buttons = Bool(False, help="Whether to offer Explain and Fix below a cell that failed.").tag(
        config=True
    )
    openai_api_key = Enum(
        ("ignore", "use"),
        default_value="ignore",
        help='Whether to sign in with the variable OPENAI_API_KEY: "use" or "ignore".',
    ).tag(config=True)
    token_provider = Unicode(
        None,
        allow_none=True,
        help="module:function of a host program that provides tokens; it is called again when they are rejected.",
    ).tag(config=True)
    insecure_providers = List(
        Unicode(), help="Providers of config.toml, by id, whose API key may be sent over plain http."
    ).tag(config=True)

    transport = Enum(
        TRANSPORTS,
        default_value=None,
        allow_none=True,
        help="How questions travel: http (the default), websocket, or auto: a websocket where that is known to work.",
    ).tag(config=True)

    @validate("approval")
    def _known_policy(self, proposal: Any) -> str | None:
        value: str | None = proposal["value"]
        try:
            from codex_nb.config.settings import approval_policy

            return value and approval_policy(value, path="%config", key="approval")
        except ConfigError as error:
            raise TraitError(error.line) from None


class OptionError(CodexError):
    """A magic's line that cannot be understood."""

    default_hint = "See %codex help."


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question that names the known word nearest to this one; nothing where none is near."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1, cutoff=SIMILAR)
    return f"Did you mean {near[0]}?" if near else ""


@dataclass(frozen=True)
class CellOptions:
    """What one cell asks for; None means that the setting decides.

    ``subject`` gives the texts that the question is about, once the notebook was read; ``shown_cells`` are the sources
    of the cells that are in them as a whole, by cell id.
    """

    model: str | None = None
    effort: str | None = None
    thread: str | None = None
    output: str | None = None
    schema: str | None = None
    images: tuple[str, ...] = ()
    context: bool = True
    tools: bool = True
    mcp: bool = True
    search: bool | None = None
    approval: str | None = None
    profile: str | None = None
    fresh: bool = False
    background: bool = False
    cell: bool = False
    agent: bool = False
    help: bool = False
    prompt: str = ""
    subject: Subject | None = None
    shown_cells: Mapping[str, str] = field(default_factory=dict)


class _Parser(argparse.ArgumentParser):
    """An argparse parser that raises instead of exiting."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(f"%%codex: {message}.")


def _identifier(text: str) -> str:
    """Return the name as Python reads it; refuse one that is invalid, or that Python or IPython needs itself."""
    if not text.isidentifier():
        raise OptionError(f"%%codex: {text!r} is not a valid variable name.", hint=_ANOTHER_NAME)
    name = unicodedata.normalize("NFKC", text)
    if keyword.iskeyword(name):
        raise OptionError(f"%%codex: {text!r} is a keyword of Python.", hint=_ANOTHER_NAME)
    if name in _RESERVED or _IPYTHON_NAME.match(name) or hasattr(builtins, name):
        raise OptionError(f"%%codex: {text!r} is a name of Python or IPython.", hint=_ANOTHER_NAME)
    return name


def _policy(text: str) -> str:
    try:
        from codex_nb.config.settings import approval_policy

        return approval_policy(text, path="%%codex", key="--approval")
    except ConfigError as error:
        raise OptionError(f"%%codex: {error}", hint=error.hint) from None


def known_effort(level: str, offered: Sequence[str], *, source: str) -> str:
    """Return an effort that Codex or the model knows. Raises OptionError for any other."""
    known = (*EFFORTS, *(each for each in offered if each not in EFFORTS))
    if level not in known:
        hint = f"{did_you_mean(level, known)} Choose one of: {', '.join(known)}."
        raise OptionError(f"{source} {level!r}.", hint=hint.strip())
    return level


@cache
def parser() -> argparse.ArgumentParser:
    """Return the parser of the options of a question."""
    parser = _Parser(prog="%%codex", add_help=False, allow_abbrev=False)
    add = parser.add_argument
    add("-m", "--model", help="the model to use; see %%codex models")  # argparse formats it
    add("-e", "--effort", help=f"reasoning effort, as far as the model offers it: {', '.join(EFFORTS)}")
    add("-t", "--thread", help="the thread to continue, or the name of a new one")
    add("-o", "--output", type=_identifier, help="also assign the answer to this variable")
    add(
        "--schema",
        help="a type, such as City, list[City] or City | None, or a JSON schema for the answer's value",
    )
    add(
        "--image",
        dest="images",
        action="append",
        default=[],
        help="a figure in your namespace or an image file",
    )
    add("--no-context", dest="context", action="store_false", help="do not send the notebook")
    add("--no-tools", dest="tools", action="store_false", help="offer the model no tools")
    add(
        "--search",
        dest="search",
        action="store_true",
        default=None,
        help="let the model search the web, in live pages",
    )
    add("--no-search", dest="search", action="store_false", help="let it search nothing")
    add("--no-mcp", dest="mcp", action="store_false", help="offer no tools of MCP servers")
    add(
        "--approval",
        type=_policy,
        help="when to ask before a tool runs: ask, auto, all, read-only",
    )
    add("--profile", help="use another login or config profile")
    add("--fresh", action="store_true", help="ask again instead of showing the saved answer")
    add(
        "--background",
        action="store_true",
        help="run in the background; a question asked later keeps `_codex`",
    )
    add("--cell", action="store_true", help="put the answer's code into a cell below, and nothing else")
    add("--agent", action="store_true", help="let the agent of the Codex CLI answer: shell, patches, sandbox")
    add("-h", "--help", action="store_true", help="show this help")
    return parser


@cache
def flags_with_value() -> Mapping[str, str]:
    """Return what each option that takes a value is a value of, by its spellings."""
    return {
        flag: action.dest
        for action in parser()._actions  # noqa: SLF001  argparse has no public list
        if action.nargs is None
        for flag in action.option_strings
    }


def flags() -> tuple[str, ...]:
    """Return all spellings of the options, sorted."""
    return tuple(sorted(flag for spellings, _ in options_and_help() for flag in spellings))


def options_and_help() -> Iterator[tuple[list[str], str]]:
    """Yield each option's spellings and its help."""
    for action in parser()._actions:  # noqa: SLF001  as above
        yield list(action.option_strings), str(action.help).replace("%%", "%")


@lru_cache
def parse_options(line: str) -> CellOptions:
    """Parse a magic's line, options first; the words after them are the prompt, as they stand."""
    words, rest = [], line.strip()
    while rest.startswith("-"):
        flag, separator, rest = _split_flag(rest)
        if flag not in flags_with_value():
            words.append(flag)
            continue
        if not rest or (rest.startswith("-") and separator != "="):
            raise OptionError(f"%%codex: {flag} needs a value.")
        value, rest = _type(rest) if flag == "--schema" else first_word(rest)
        words.append(f"{flag}={value}")
    known, unknown = parser().parse_known_args(words)
    if unknown:
        near = did_you_mean(unknown[0], flags())
        hint = f"{near} %codex help lists the options." if near else None
        raise OptionError(f"%%codex: unknown option {unknown[0]}.", hint=hint)
    if known.cell and known.schema:
        raise OptionError("%%codex: --cell asks for code, --schema for a value.", hint="Choose one of them.")
    return CellOptions(**vars(known) | {"images": tuple(known.images), "prompt": rest})


def _split_flag(text: str) -> tuple[str, str, str]:
    """Split an option off the front: its name, what separates it from what follows, and that."""
    word, space, rest = text.partition(" ")
    name, assigned, value = word.partition("=")
    if assigned and name in flags_with_value():
        return name, assigned, f"{value}{space}{rest}"
    return word, space, rest.lstrip()


def first_word(text: str) -> tuple[str, str]:
    """Split a word, quoted or not, off the front."""
    quote = text[0] if text[0] in "\"'" else None
    word, closed, rest = text[1:].partition(quote) if quote else text.partition(" ")
    if quote and not closed:
        raise OptionError("%%codex: unclosed quote in the options.")
    if quote and rest[:1].strip():
        raise OptionError(
            f"%%codex: {rest.split()[0][:80]!r} follows a closing quotation mark.", hint=_QUOTE_ALL
        )
    return word, rest.lstrip()


def _type(text: str) -> tuple[str, str]:
    """Split a type off the front, quoted as a whole or not: ``City | None`` and ``dict[str, int]`` are each one."""
    if text[0] in "\"'":
        word, rest = first_word(text)
        if rest.startswith("|"):
            raise OptionError(f"%%codex: {rest[:80]!r} follows the type of --schema.", hint=_QUOTE_ALL)
        return word, rest
    depth, quote = 0, ""
    for place, char in enumerate(text):
        if quote or char in "\"'":
            quote = char if not quote else quote if char != quote else ""
        elif char in "[]":
            depth += 1 if char == "[" else -1
        elif char.isspace() and depth <= 0:
            before, after = text[:place].rstrip(), text[place:].lstrip()
            if not before.endswith("|") and not after.startswith(("|", "[")):
                return before, after
    return text, ""


Completion = Literal[
    "model",
    "effort",
    "thread",
    "profile",
    "login_method",
    "question",
    "profile_or_delete",
    "thread_or_all",
    "file",
    "clear",
    "tool",
    "below",
    "switch",
    "switchable",
]
DELETE, ALL, CLEAR, OVERWRITE, BELOW = "--delete", "--all", "--clear", "--overwrite", "--below"
SWITCH = ("on", "off")


class Subcommand(NamedTuple):
    """A subcommand as it is listed, completed and run.

    ``complete`` names what each of its arguments is completed from; "question" stands for the options of a question.
    ``asks`` is whether it asks the model.
    """

    name: str
    arguments: str
    help: str
    complete: tuple[Completion, ...]
    run: Handler
    asks: bool = False

    @property
    def usage(self) -> str:
        """The name with the arguments that it takes."""
        return f"{self.name} {self.arguments}".strip()


SUBCOMMANDS: dict[str, Subcommand] = {}


def subcommand(
    arguments: str = "", *, complete: tuple[Completion, ...] = (), asks: bool = False
) -> Callable[[Handler], Handler]:
    """Register a function under its name; the first line of its docstring is the help.

    It is called with the session and the rest of the line.
    """

    def register(run: Handler) -> Handler:
        text = (run.__doc__ or "").partition("\n")[0].removesuffix(".")
        help_text = text[:1].lower() + text[1:]
        SUBCOMMANDS[run.__name__] = Subcommand(run.__name__, arguments, help_text, complete, run, asks)
        return run

    return register


_LONGEST_TYPE = 2_000


_TYPING_MODULES = frozenset({"typing", "typing_extensions", "types"})  # whose objects take types in brackets


_SCHEMA_HINT = (
    "Write a type such as City, list[City], City | None or Literal['a', 'b'], or the name of a JSON schema."
)


def held_by(owner: Any, name: str) -> Any:
    """Return what a module, a class or an object holds under a name without running its code; None without it."""
    kind = type(owner)
    if issubclass(kind, types.ModuleType):
        return find(vars_of(owner), name)
    if issubclass(kind, enum.EnumMeta):
        return find(find(class_vars(owner), "_member_map_"), name)
    return class_attribute(owner, name) if issubclass(kind, type) else find(instance_vars(owner), name)


class Annotation:
    """The type, or the JSON schema, that an option names.

    Names are looked up in the namespace, among Python's own types and in ``typing``. Nothing is called.
    """

    def __init__(self, written: str, namespace: Mapping[str, Any]) -> None:
        self._written = written
        self._namespace = namespace

    def value(self) -> Any:
        """Return what is written; raises OptionError."""
        if len(self._written) > _LONGEST_TYPE:
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
        found = held_by(owner, node.attr)
        if found is None:
            inner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            raise OptionError(f"--schema {self._written[:200]}: {inner!r} has no {node.attr!r}.")
        return found

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
        if not (issubclass(kind, type) or module_of(kind) in _TYPING_MODULES):
            raise self._refused(f"{qualified_name(kind)} is not a type with parameters")
        try:
            return generic[arguments]
        except TypeError as error:
            raise self._refused(str(error)) from None

    def _refused(self, reason: str) -> OptionError:
        return OptionError(f"--schema {self._written[:200]}: {reason}.", hint=_SCHEMA_HINT)
