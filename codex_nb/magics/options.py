"""The options and subcommands of the magics: their names, their parser, their help."""

from __future__ import annotations

import argparse
import builtins
import keyword
import re
import unicodedata
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from codex_nb.config.settings import EFFORTS
from codex_nb.errors import CodexError
from codex_nb.labels import OPTION_HELP, SUBCOMMAND_HELP
from codex_nb.words import question
from codex_nb.words import reference as words

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence


NAMES = (
    "status",
    "login",
    "logout",
    "models",
    "model",
    "effort",
    "usage",
    "context",
    "thread",
    "threads",
    "new",
    "last",
    "fix",
    "explain",
    "config",
    "help",
)
COMMANDS: Mapping[str, str] = MappingProxyType({name: SUBCOMMAND_HELP[name] for name in NAMES})

LOGIN_WAYS = ("device", "browser", "api_key", "access_token")


if TYPE_CHECKING:
    # what a subcommand asks about, found in the NotebookReading of the question
    Subject = Callable[..., tuple[tuple[str, str], ...]]

_QUOTE_ALL = "Quote all of the value, or none of it."
_OF_IPYTHON = re.compile(r"__|_i*\d*$")  # special names, and the outputs and inputs of cells
_TAKEN = frozenset({"In", "Out", "exit", "quit", "get_ipython", "display", "codex_nb"})
APPROVALS = ("ask", "auto", "all", "never")


class OptionError(CodexError):
    """A magic's line that cannot be understood."""

    default_hint = question.SEE_HELP


@dataclass(frozen=True)
class CellOptions:
    """What one cell asks for; None means that the setting decides.

    ``subject`` gives the texts that the question is about, once the notebook was read.
    """

    model: str | None = None
    effort: str | None = None
    thread: str | None = None
    output: str | None = None
    schema: str | None = None
    images: tuple[str, ...] = ()
    context: bool = True
    tools: bool = True
    approval: str | None = None
    profile: str | None = None
    fresh: bool = False
    background: bool = False
    prompt: str = ""
    subject: Subject | None = None


class _Parser(argparse.ArgumentParser):
    """An argparse parser that raises instead of leaving the process; a help text stands as it is written."""

    def add_argument(self, *names: Any, **settings: Any) -> argparse.Action:
        settings["help"] = settings["help"].replace("%", "%%")  # argparse would format it
        return super().add_argument(*names, **settings)

    def error(self, message: str) -> NoReturn:
        raise OptionError(question.bad_options(message))

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        del status
        raise OptionError(message or question.OPTIONS_THEN_PROMPT)


def _identifier(text: str) -> str:
    """Return the name as Python reads it; refuse what is none, and what Python and IPython need themselves."""
    if not text.isidentifier():
        raise OptionError(question.not_a_name(text))
    name = unicodedata.normalize("NFKC", text)
    if keyword.iskeyword(name):
        raise OptionError(f"%%codex: {text!r} is a keyword of Python.", hint=question.ANOTHER_NAME)
    if name in _TAKEN or _OF_IPYTHON.match(name) or hasattr(builtins, name):
        raise OptionError(f"%%codex: {text!r} is a name of Python or IPython.", hint=question.ANOTHER_NAME)
    return name


def _one_of(flag: str, values: Sequence[str]) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in values:
            raise OptionError(question.no_such_value(flag, text, ", ".join(values)))
        return text

    return check


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="%%codex", add_help=False, allow_abbrev=False, exit_on_error=True)
    add = parser.add_argument
    add("-m", "--model", help=OPTION_HELP["--model"])
    add("-e", "--effort", type=_one_of("--effort", EFFORTS), help=OPTION_HELP["--effort"])
    add("-t", "--thread", help=OPTION_HELP["--thread"])
    add("-o", "--output", type=_identifier, help=OPTION_HELP["--output"])
    add("--schema", help=OPTION_HELP["--schema"])
    add("--image", dest="images", action="append", default=[], help=OPTION_HELP["--image"])
    add("--no-context", dest="context", action="store_false", help=OPTION_HELP["--no-context"])
    add("--no-tools", dest="tools", action="store_false", help=OPTION_HELP["--no-tools"])
    add("--approval", type=_one_of("--approval", APPROVALS), help=OPTION_HELP["--approval"])
    add("--profile", help=OPTION_HELP["--profile"])
    add("--fresh", action="store_true", help=OPTION_HELP["--fresh"])
    add("--background", action="store_true", help=OPTION_HELP["--background"])
    return parser


PARSER = _parser()
FLAGS = tuple(sorted(flag for action in PARSER._actions for flag in action.option_strings))  # noqa: SLF001  argparse has no public list
TAKES_VALUE = {
    flag: action.dest
    for action in PARSER._actions  # noqa: SLF001  as above
    if action.nargs is None
    for flag in action.option_strings
}


def parse_options(line: str, cell: str = "") -> CellOptions:
    """Parse a magic's line, options first; the words after them and the cell's body are the prompt, as they stand."""
    words, rest = [], line.strip()
    while rest.startswith("-"):
        flag, separator, rest = _flag(rest)
        if flag not in TAKES_VALUE:
            words.append(flag)
            continue
        if not rest or (rest.startswith("-") and separator != "="):
            raise OptionError(question.no_value(flag))
        value, rest = _type(rest) if flag == "--schema" else _first_word(rest)
        words.append(f"{flag}={value}")
    known, unknown = PARSER.parse_known_args(words)
    if unknown:
        raise OptionError(question.no_such_option(unknown[0]))
    prompt = "\n".join(part for part in (rest, cell.strip("\n")) if part.strip())
    return CellOptions(**vars(known) | {"images": tuple(known.images), "prompt": prompt.strip()})


def _flag(text: str) -> tuple[str, str, str]:
    """Split an option off the front: its name, what separates it from what follows, and that."""
    word, session, rest = text.partition(" ")
    name, assigned, value = word.partition("=")
    if assigned and name in TAKES_VALUE:
        return name, assigned, f"{value}{session}{rest}"
    return word, session, rest.lstrip()


def _first_word(text: str) -> tuple[str, str]:
    """Split a word, quoted or not, off the front."""
    quote = text[0] if text[0] in "\"'" else None
    word, closed, rest = text[1:].partition(quote) if quote else text.partition(" ")
    if quote and not closed:
        raise OptionError(question.NO_CLOSING_QUOTATION)
    if quote and rest[:1].strip():
        raise OptionError(
            f"%%codex: {rest.split()[0][:80]!r} follows a closing quotation mark.", hint=_QUOTE_ALL
        )
    return word, rest.lstrip()


def _type(text: str) -> tuple[str, str]:
    """Split a type off the front, quoted as a whole or not: ``City | None`` and ``dict[str, int]`` are each one."""
    if text[0] in "\"'":
        word, rest = _first_word(text)
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


def reference_text() -> str:
    """Return the text, made from the very tables that parse and dispatch."""
    options = [(", ".join(names), text) for names, text in options_and_help()]
    first = [words.HEAD, "", words.OPTIONS_HEADING, *_listed(options)]
    return "\n".join([*first, "", words.SUBCOMMANDS_HEADING, *_listed(COMMANDS.items())])


def options_and_help() -> Iterator[tuple[list[str], str]]:
    """Yield each option's spellings and what it does."""
    for action in PARSER._actions:  # noqa: SLF001  argparse has no public list
        yield list(action.option_strings), str(action.help).replace("%%", "%")


def _listed(pairs: Collection[tuple[str, str]]) -> Iterator[str]:
    width = max(len(name) for name, _ in pairs)
    return (f"    {name:<{width}}  {text}" for name, text in pairs)
