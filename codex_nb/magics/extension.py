"""``%codex`` and ``%%codex``: the magics, their tab completion, and what loading puts into a shell.

An error becomes one line here.
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, suppress
from copy import copy
from functools import partial, reduce
from itertools import islice
from pathlib import Path
from traceback import walk_tb
from types import FunctionType, GenericAlias, ModuleType, UnionType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher
from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class

from codex_nb.errors import CodexError
from codex_nb.host.interrupts import deferring_interrupts
from codex_nb.labels import APPROVAL_HELP, LOGIN_METHODS, SIMILAR
from codex_nb.magics.options import (
    ALL,
    APPROVALS,
    BELOW,
    CLEAR,
    DELETE,
    SUBCOMMANDS,
    SWITCH,
    OptionError,
    SessionConfig,
    flags_with_value,
    held_by,
    options_and_help,
    parse_options,
)
from codex_nb.tools.introspection import class_vars, defines, module_of, snapshot, vars_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from IPython.core.interactiveshell import InteractiveShell

    from codex_nb.host.notebook import OutputRecorder
    from codex_nb.magics.session import ShellSession


MAX_FILES = 200
MAX_DESCRIBED = 50
MOST_ENTRIES = 20_000
ABOUT_LENGTH = 40
LONGEST_REASON = 300
_FIGURE_METHODS = ("savefig", "figure", "save")  # of figures, axes and images
_KINDS = ((type, "class"), (ModuleType, "module"), (FunctionType, "function"))


class Candidate(NamedTuple):
    """What a word can be completed to, the kind of thing that it is, and a few words about it."""

    text: str
    kind: str
    about: str = ""

    @property
    def type(self) -> str:
        """What front ends show beside it: they know a type and nothing else."""
        from textwrap import shorten

        from codex_nb.rendering.sanitize import visible_line

        about = visible_line(self.about)
        text = f"{self.kind}: {shorten(about, ABOUT_LENGTH, placeholder=' …')}" if about else self.kind
        # JupyterLab would write the lines of a long one over each other.
        return text.replace(" ", "\N{NO-BREAK SPACE}")


class NotebookNames:
    """Looks names up in the user's namespace and in what the session knows, without a request."""

    def __init__(self, shell: InteractiveShell, open_session: Callable[[], ShellSession]) -> None:
        self._shell = shell
        self._session = open_session
        self._sources: Mapping[str, Callable[[str], Iterable[Candidate]]] = {
            "model": lambda _: self._models(),
            "thread": lambda _: self._threads(),
            "thread_or_all": lambda _: (*self._threads(), Candidate(ALL, "option", "every saved thread")),
            "clear": lambda _: (Candidate(CLEAR, "option", "ask again for everything"),),
            "tool": lambda _: self._tools(),
            "below": lambda _: (Candidate(BELOW, "option", "leave the failed cell as it is"),),
            "switch": lambda _: _plain("option", SWITCH),
            "switchable": lambda _: self._switchable(),
            "profile": self._profiles,
            "profile_or_delete": lambda start: (
                *self._profiles(start),
                Candidate(DELETE, "option", "delete a thread with its saved answers"),
            ),
            "output": self._variables,
            "schema": self._schemas,
            "images": self._images,
            "variable": self._variables,
            "cell": lambda _: self._cells(),
            "file": self._files,
            "effort": lambda _: self._efforts(),
            "approval": lambda _: (Candidate(each, "policy", APPROVAL_HELP[each]) for each in APPROVALS),
            "prompt": lambda _: self._prompts(),
            "skill": lambda _: self._skills(),
            "login_method": lambda _: (
                Candidate(method, "login method", labels.help) for method, labels in LOGIN_METHODS.items()
            ),
        }

    def known(self, kind: str, start: str) -> Iterable[Candidate]:
        """Name what is known of a kind and could begin with ``start``; an unknown kind has no names."""
        return self._sources[kind](start) if kind in self._sources else ()

    def _models(self) -> Iterable[Candidate]:
        found = self._session().profile().backend.cached_models()
        return sorted(Candidate(model.slug, "model", model.display_name) for model in found)

    def _efforts(self) -> Iterable[Candidate]:
        session = self._session()
        return [Candidate(each, "effort") for each in session.profile().backend.efforts(session.config.model)]

    def _threads(self) -> list[Candidate]:
        found = self._session().profile().assistant.threads.questions()
        return [Candidate(name, "thread", question) for name, question in sorted(found.items())]

    def _tools(self) -> Iterable[Candidate]:
        from codex_nb.magics.session import known_tools

        return [Candidate(tool.name, "tool", tool.summary) for tool in known_tools(self._session())]

    def _switchable(self) -> Iterable[Candidate]:
        from codex_nb.magics.session import switchable

        return _plain("tool", switchable(self._session()))

    def _prompts(self) -> Iterable[Candidate]:
        from codex_nb.tools.skills import saved_prompts

        names = saved_prompts(self._session().profile().settings.codex_home)
        return _plain("prompt", (f"/{name}" for name in names))

    def _skills(self) -> Iterable[Candidate]:
        from codex_nb.tools.file_access import read_apart
        from codex_nb.tools.skills import skills_of

        session = self._session()
        settings = session.profile().settings
        found = read_apart(lambda: skills_of(settings, session.folder, session.environ))
        return [Candidate(f"${skill.name}", "skill", skill.description) for skill in found]

    def _profiles(self, _: str) -> Iterable[Candidate]:
        from codex_nb.config.settings import profile_names

        return _plain("profile", profile_names(self._session().environ))

    def _held(self) -> dict[str, Any]:
        hidden, own = self._shell.user_ns_hidden, snapshot(self._shell.user_ns)
        return {name: own[name] for name in own if not name.startswith("_") and name not in hidden}

    def _variables(self, start: str) -> Iterable[Candidate]:
        fitting = {name: value for name, value in sorted(self._held().items()) if name.startswith(start)}
        for place, (name, value) in enumerate(fitting.items()):
            yield Candidate(name, *_kind_of(name, value, is_described=place < MAX_DESCRIBED))

    def _cells(self) -> Iterable[Candidate]:
        """Name the cells that ran, in their order, each with its first line."""
        history = getattr(self._shell.history_manager, "input_hist_raw", ())
        for number in range(1, self._shell.execution_count):
            source = history[number] if number < len(history) else ""
            yield Candidate(str(number), "cell", next(iter(source.strip().splitlines()), ""))

    def _schemas(self, start: str) -> Iterable[Candidate]:
        """Name what an answer can be made to fit, and the modules and classes where more of it may be."""
        path, dot, _ = start.rpartition(".")
        held = self._held()
        if dot:
            first, *others = path.split(".")
            owner = reduce(held_by, others, held.get(first))
            held = {name: value for name, value in _names_in(owner).items() if type(name) is str}
        return [
            Candidate(f"{path}{dot}{name}", *_kind_of(name, value, is_described=False))
            for name, value in sorted(held.items())
            if not name.startswith("_") and _may_be_schema(value)
        ]

    def _images(self, start: str) -> Iterable[Candidate]:
        from codex_nb.tools.file_access import is_image

        for name, value in sorted(self._held().items()):
            if any(defines(type(value), each) for each in _FIGURE_METHODS):
                yield Candidate(name, *_kind_of(name, value))
        for path in self._files(start):
            if path.kind == "folder" or is_image(path.text):
                yield path

    def _files(self, start: str) -> Iterable[Candidate]:
        """List the files and folders, as seen from the notebook, that a path could go on to."""
        lead = start[: start.rindex("/") + 1] if "/" in start else ""
        begin = start.removeprefix(lead)
        try:
            folder = (self._session().folder or Path()) / Path(lead).expanduser()
            with os.scandir(folder) as entries:
                fitting = (each for each in islice(entries, MOST_ENTRIES) if each.name.startswith(begin))
                shown = sorted(
                    (each for each in fitting if begin.startswith(".") or not each.name.startswith(".")),
                    key=lambda entry: entry.name,
                )
        except (OSError, RuntimeError, ValueError):  # no folder, no such home, no file name
            return
        for entry in shown[:MAX_FILES]:
            is_folder = entry.is_dir()
            yield Candidate(f"{lead}{entry.name}{'/' * is_folder}", "folder" if is_folder else "file")


def _plain(kind: str, names: Iterable[str]) -> list[Candidate]:
    return [Candidate(name, kind) for name in sorted(names)]


def _kind_of(name: str, value: object, *, is_described: bool = True) -> tuple[str, str]:
    """Return what kind of thing a variable holds, and a line about it; no code of the user's runs."""
    kind = next((name for each, name in _KINDS if issubclass(type(value), each)), "variable")
    if not is_described:
        return kind, ""
    from codex_nb.tools.describe import Detail, describe

    line = describe(name, value, Detail.LINE).text.partition("\n")[0]
    return kind, line.removeprefix(f"{name}: ")


def _names_in(owner: object) -> Mapping[str, Any]:
    is_class = issubclass(type(owner), type)
    return class_vars(owner) if is_class else vars_of(owner)  # type: ignore[arg-type]  # a class, as just checked


def _may_be_schema(value: object) -> bool:
    # isinstance would ask an object for its __class__, and so run code of whatever lies in the namespace
    kind = type(value)
    return issubclass(kind, (type, dict, ModuleType, GenericAlias, UnionType)) or module_of(kind) == "typing"


Found = tuple[str, "Iterable[Candidate]"]

NOTHING: Found = ("", ())

_LINE_MAGIC = re.compile(r"\s*(?:[A-Za-z_]\w*\s*=\s*)?%codex\s")
_CELL_MAGIC = re.compile(r"\s*%%codex(?:\s|$)")
_MENTION = re.compile(r"(?<![A-Za-z0-9_@.])@(?:file:\"[^\"]*|[^\s@]*)$")
_PLAIN_PATH = re.compile(r"(?<![\w~/.-])[\w~-]*+[./][\w~/.-]*+")  # can be mentioned as @path
_SKILL = re.compile(r"(?<![\w$])\$[A-Za-z0-9_:-]*$")
_SETTING = re.compile(r"\s*%config\s+CodexMagics\.(\w+)\s*=\s*([\"']?[^\s\"']*)$")


class CodexMatcher:
    """Completes ``%codex`` lines wherever they stand, ``%%codex`` and the prompt below it, and the settings."""

    def __init__(self, shell: InteractiveShell, open_session: Callable[[], ShellSession]) -> None:
        self._names = NotebookNames(shell, open_session)

    def matcher(self) -> Callable[[CompletionContext], SimpleMatcherResult]:
        """Return the function that IPython's completer calls."""

        @context_matcher(identifier="codex_nb", priority=100)  # type: ignore[untyped-decorator]  # IPython leaves it untyped
        def codex_matcher(context: CompletionContext) -> SimpleMatcherResult:
            try:
                fragment, candidates = self.complete(
                    context.full_text, context.cursor_line, context.text_until_cursor
                )
                fitting = [each for each in candidates if each.text.startswith(fragment)]
                line = context.text_until_cursor
                if _LINE_MAGIC.match(line) or _CELL_MAGIC.match(line):
                    # IPython runs what stands in braces before the line is ours.
                    fitting = [each for each in fitting if "{" not in each.text]
                found = {each.text: each for each in fitting if _is_visible(each.text)}
            except CodexError:  # the next question tells of a config.toml that cannot be read, not Tab
                fragment, found = "", {}
            return SimpleMatcherResult(
                completions=[SimpleCompletion(text=each.text, type=each.type) for each in found.values()],
                suppress=bool(found),
                matched_fragment=fragment,
                ordered=True,
            )

        return codex_matcher  # type: ignore[no-any-return]  # as above

    def complete(self, text: str, line_number: int, line: str) -> Found:
        """Return the word under the cursor and what it could become; ``line`` is cut at the cursor."""
        is_cell = _CELL_MAGIC.match(text) is not None
        if not is_cell and _LINE_MAGIC.match(line) is None:
            return self._setting(line)
        register_subcommands()
        is_first = is_cell and not "".join(text.split("\n")[:line_number]).strip()
        if mention := _MENTION.search(line):
            return self._mention(mention[0])
        if skill := _SKILL.search(line):
            return skill[0], self._names.known("skill", "")
        if is_cell and not (is_first and _CELL_MAGIC.match(line)):
            is_prompt = line.startswith("/") and " " not in line
            return (line, self._names.known("prompt", line)) if is_prompt else NOTHING
        _, *words = line[line.index("codex") :].split()
        fragment = words.pop() if words and not line[-1].isspace() else ""
        return fragment, self._after(words, fragment, has_commands=not is_cell)

    def _after(self, words: Sequence[str], fragment: str, *, has_commands: bool) -> Iterable[Candidate]:
        """Name what can follow these words: a value, an option, a subcommand; nothing within a question."""
        place = 0
        while place < len(words) and words[place].startswith("-"):
            takes = flags_with_value().get(words[place])
            place += 1 if takes is None else 2
            if takes is not None and place > len(words):
                return self._names.known(takes, fragment)
        if place < len(words):
            is_command = has_commands and place == 0
            return self._arguments(words[0], words[1:], fragment) if is_command else ()
        if fragment.startswith("-"):
            return self._flags(fragment)
        if fragment.startswith("/"):
            return self._names.known("prompt", fragment)
        commands = sorted(SUBCOMMANDS.values(), key=lambda each: each.name) if has_commands else ()
        return () if words else [Candidate(each.name, "command", each.help) for each in commands]

    def _flags(self, fragment: str) -> Iterable[Candidate]:
        flag, is_assigned, start = fragment.partition("=")
        if not is_assigned:
            return [
                Candidate(each, "option", text)
                for each, text in sorted((each, text) for flags, text in options_and_help() for each in flags)
            ]
        values = self._names.known(flags_with_value().get(flag, ""), start)
        return [each._replace(text=f"{flag}={each.text}") for each in values]

    def _arguments(self, name: str, words: Sequence[str], fragment: str) -> Iterable[Candidate]:
        complete = SUBCOMMANDS[name].complete if name in SUBCOMMANDS else ()
        if complete[-1:] == ("question",):
            own = [flag for kind in complete[:-1] if fragment for flag in self._names.known(kind, fragment)]
            return [*own, *self._after(words, fragment, has_commands=False)]
        return self._names.known(complete[len(words)], fragment) if len(words) < len(complete) else ()

    def _mention(self, fragment: str) -> Found:
        if fragment.startswith("@file:"):
            start = fragment.removeprefix("@file:").removeprefix('"')
            is_quoted = fragment.startswith('@file:"')
            return fragment, [_file(each, is_quoted=is_quoted) for each in self._names.known("file", start)]
        if fragment.startswith("@image:"):
            found = self._names.known("images", fragment.removeprefix("@image:"))
            return fragment, [each._replace(text=f"@image:{each.text}") for each in found]
        start = fragment[1:]
        files = self._names.known("file", start) if start else ()
        return fragment, [
            *(each._replace(text=f"@{each.text}") for each in self._names.known("variable", start)),
            *(each._replace(text=f"@cell:{each.text}") for each in self._names.known("cell", "")),
            *(each._replace(text=f"@{each.text}") for each in files if _PLAIN_PATH.fullmatch(each.text)),
            Candidate("@file:", "file", "a file of the notebook's folder"),
            Candidate("@image:", "image", "a figure or an image file"),
        ]

    def _setting(self, line: str) -> Found:
        match = _SETTING.match(line)
        if match is None:
            return NOTHING
        name, start = match.groups()
        own = getattr(SessionConfig.class_traits().get(name), "values", None) or ()
        values = [*(Candidate(each, "value") for each in own if each), *self._names.known(name, "")]
        quote = start[:1] if start[:1] in {'"', "'"} else ""
        return start, [
            each._replace(text=f"{quote}{each.text}" if quote else f'"{each.text}"') for each in values
        ]


def _is_visible(text: str) -> bool:
    """Whether a name can be offered: a front end shows it as it is, and it must be what it looks like."""
    from codex_nb.rendering.sanitize import visible_text

    return visible_text(text) == text and not {"\n", "\t"} & set(text)


def _file(found: Candidate, *, is_quoted: bool) -> Candidate:
    needs_quotes = is_quoted or re.search(r"[\s,;]", found.text) is not None
    return found._replace(text=f'@file:"{found.text}' if needs_quotes else f"@file:{found.text}")


@magics_class
class CodexMagics(Magics, SessionConfig):
    """Codex in this notebook; configure it with ``%config CodexMagics.NAME = VALUE`` or in ipython_config.py."""

    def __init__(self, shell: InteractiveShell, recorder: OutputRecorder) -> None:
        super().__init__(shell)
        self._recorder = recorder
        self._session: ShellSession | None = None

    @property
    def session(self) -> ShellSession:
        """The shell's session, opened by the first magic that needs it."""
        if self._session is None:
            from codex_nb.config.settings import Environment
            from codex_nb.host.engine import engine
            from codex_nb.magics.session import ShellSession
            from codex_nb.profile import open_profile

            register_subcommands()
            self._session = ShellSession(
                self.shell, self, engine(), open_profile, self._recorder, Environment()
            )
        return self._session

    @line_cell_magic
    def codex(self, line: str, cell: str | None = None) -> Any:
        """Ask Codex about this notebook, or manage it; ``%codex?`` shows the reference in this place."""
        from codex_nb.host.shell import in_forked_child
        from codex_nb.rendering.sanitize import visible_text

        try:
            if self.session.engine.is_inherited or in_forked_child(self.shell):
                raise UsageError("%codex does not run in a forked process. Call codex_nb.ask there.")
            with deferring_interrupts():
                return dispatch(self.session, line, cell)
        except OptionError as error:
            raise UsageError(visible_text(error.line)) from None
        except CodexError as error:
            raise one_line_error(error) from None
        except UsageError:
            raise
        except Exception as error:  # noqa: BLE001 -- its traceback would quote what was sent and received
            raise one_line_error(unexpected_error(error)) from None

    def after_cell(self, result: Any) -> None:
        """Offer help below a cell that failed, where that is wished."""
        if self.error_buttons and result is not None and not result.success:
            from codex_nb.magics.cell import offer_help

            offer_help(self.session, result)

    def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            self._session.close()
            self._session = None


def one_line_error(error: CodexError) -> CodexError:
    """Return the error, its hint in its text, as IPython shows it in one line; of one that is shown, only the class."""
    from codex_nb.rendering.sanitize import visible_text

    shown, text = copy(error), visible_text(error.line)
    shown.args, shown.hint = (text,), ""
    name = type(error).__name__
    line = name if error.is_shown else f"{name}: {text}"
    shown._render_traceback_ = partial(list, (line,))  # type: ignore[attr-defined]  # IPython asks for it
    return shown


def unexpected_error(error: Exception) -> CodexError:
    """Return an error that is none of ours as one that names its place.

    It may come from what the notebook has put in the place of a part of Python.
    """
    text = type(error).__name__
    with suppress(Exception):  # what is missing may be needed for this, too
        from codex_nb.host.shell import error_line
        from codex_nb.session.outbound import Redactor

        text = Redactor({})(error_line(error)[:LONGEST_REASON])
    places = [
        f"{name} (line {line})"
        for frame, line in walk_tb(error.__traceback__)
        if (name := str(frame.f_globals.get("__name__"))).startswith("codex_nb.")
    ]
    return CodexError(
        f"codex_nb failed in {places[-1] if places else __name__}: {text.rstrip('.')}.",
        hint="Something in this notebook may stand in its way: restart the kernel and ask again.",
    )


def _reference() -> str:
    from codex_nb.magics.subcommands import reference_text

    register_subcommands()
    return reference_text()


cast(
    "Any", CodexMagics.codex
).getdoc = _reference  # what IPython's `?` shows; the reference is not made at each load


def register_subcommands() -> None:
    """Import the modules whose functions are subcommands: loading the extension does not need them."""
    import codex_nb.magics.threads  # noqa: F401 -- it imports the other one


def dispatch(session: ShellSession, line: str, cell: str | None) -> Any:
    """Run the subcommand on the line, or ask what the line and the cell below it ask."""
    name, _, rest = line.strip().partition(" ")
    if cell is None and (name or "help") in SUBCOMMANDS:
        return SUBCOMMANDS[name or "help"].run(session, rest.strip())
    from difflib import get_close_matches

    if cell is None and not rest and (near := get_close_matches(name, SUBCOMMANDS, n=1, cutoff=SIMILAR)):
        # A typo is not a question to spend tokens on.
        raise OptionError(
            f"%codex: unknown command {name!r}.",
            hint=f"Run %codex {near[0]}, or ask a question of one word with %%codex.",
        )
    from codex_nb.magics.cell import answer_cell

    return answer_cell(session, parse_options(line), cell or "")


_QUESTION = re.compile(r"(?P<indent>\s*)%codex[ \t]+(?P<line>\S.*\?)\s*")


_LONG_STRING = re.compile(
    r"#[^\n]*|(?P<quote>\"{3}|'{3})(?:\\.|(?!(?P=quote)).)*+(?:(?P=quote)|\Z)|\"(?:\\.|[^\"\\\n])*+|'(?:\\.|[^'\\\n])*+",
    re.DOTALL,
)


def keep_question_marks(lines: list[str]) -> list[str]:
    """Rewrite ``%codex … ?`` into the call that it means; all other lines stay (``%codex?`` still asks for help)."""
    if not lines or lines[0].lstrip().startswith("%%") or not any(map(_QUESTION.fullmatch, lines)):
        return lines
    source = "".join(" " * len(line) if _QUESTION.fullmatch(line) else line for line in lines)
    strings = [found.span() for found in _LONG_STRING.finditer(source) if found["quote"]]
    kept, end = [], 0
    for line in lines:
        start, end = end, end + len(line)
        is_text = any(first < start < last for first, last in strings)
        kept.append(line if is_text else _QUESTION.sub(_as_call, line) if _QUESTION.fullmatch(line) else line)
    return kept


def _as_call(match: re.Match[str]) -> str:
    return f"{match['indent']}get_ipython().run_line_magic('codex', {match['line']!r})\n"


_LOADED = "_codex_nb_loaded"


def load(shell: InteractiveShell) -> None:
    """Register the magics with a shell; loading twice changes nothing."""
    if getattr(shell, _LOADED, None) is not None:
        return
    from codex_nb.host.notebook import OutputRecorder

    recorder = OutputRecorder(shell)
    magics = CodexMagics(shell, recorder)
    matcher = CodexMatcher(shell, lambda: magics.session).matcher()
    with ExitStack() as leaving:
        leaving.callback(magics.close)
        shell.register_magics(magics)
        leaving.callback(_unregister, shell, magics)
        shell.Completer.custom_matchers.append(matcher)
        leaving.callback(shell.Completer.custom_matchers.remove, matcher)
        shell.input_transformers_cleanup.append(keep_question_marks)
        leaving.callback(shell.input_transformers_cleanup.remove, keep_question_marks)
        recorder.start()
        leaving.callback(recorder.stop)
        shell.events.register("post_run_cell", magics.after_cell)
        leaving.callback(shell.events.unregister, "post_run_cell", magics.after_cell)
        setattr(shell, _LOADED, (magics, leaving.pop_all()))


def _unregister(shell: InteractiveShell, magics: CodexMagics) -> None:
    """Remove what ``register_magics`` has put in place: IPython has no function for it."""
    cast("list[Any]", shell.configurables).remove(magics)
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("codex", None)
    shell.magics_manager.registry.pop(type(magics).__name__, None)


def unload(shell: InteractiveShell) -> None:
    """Remove what :func:`load` put into the shell."""
    loaded: tuple[CodexMagics, ExitStack] | None = getattr(shell, _LOADED, None)
    if loaded is not None:
        delattr(shell, _LOADED)
        loaded[1].close()


def loaded_session(shell: InteractiveShell) -> ShellSession | None:
    """Return the session of the shell's extension, None where it is not loaded."""
    loaded: tuple[CodexMagics, ExitStack] | None = getattr(shell, _LOADED, None)
    return loaded[0].session if loaded is not None else None
