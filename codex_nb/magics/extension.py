"""``%codex`` and ``%%codex``: the magics, their tab completion, and what loading puts into a shell.

An error becomes one line here.
"""

from __future__ import annotations

import os
import re
from itertools import islice
from pathlib import Path
from types import GenericAlias, ModuleType, UnionType
from typing import TYPE_CHECKING, Any, cast

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher
from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class

from codex_nb.errors import CodexError
from codex_nb.host.interrupts import deferring_interrupts
from codex_nb.labels import LOGIN_METHODS, SIMILAR
from codex_nb.magics.options import (
    ALL,
    APPROVALS,
    BELOW,
    CLEAR,
    DELETE,
    SUBCOMMANDS,
    OptionError,
    SessionConfig,
    flags,
    flags_with_value,
    parse_options,
)
from codex_nb.tools.introspection import class_vars, defines, find, module_of, snapshot, vars_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from IPython.core.interactiveshell import InteractiveShell

    from codex_nb.host.notebook import OutputRecorder
    from codex_nb.magics.session import ShellSession


MAX_FILES = 200
MOST_ENTRIES = 20_000
_FIGURE_METHODS = ("savefig", "figure", "save")  # of figures, axes and images


class NotebookNames:
    """Looks names up in the user's namespace and in what the session knows, without a request."""

    def __init__(self, shell: InteractiveShell, open_session: Callable[[], ShellSession]) -> None:
        self._shell = shell
        self._open_session = open_session
        self._sources: Mapping[str, Callable[[str], Iterable[str]]] = {
            "model": lambda _: self._session.profile().backend.cached_models(),
            "thread": lambda _: self._threads(),
            "thread_or_all": lambda _: (*self._threads(), ALL),
            "clear": lambda _: (CLEAR,),
            "tool": lambda _: self._tools(),
            "below": lambda _: (BELOW,),
            "profile": self._profiles,
            "profile_or_delete": lambda start: (*self._profiles(start), DELETE),
            "output": lambda _: self._variables(),
            "schema": self._schemas,
            "images": self._images,
            "variable": lambda _: self._variables(),
            "cell": lambda _: [str(number) for number in range(1, shell.execution_count)],
            "file": self._files,
            "effort": lambda _: self._session.profile().backend.efforts(self._session.config.model),
            "approval": lambda _: APPROVALS,
            "prompt": lambda _: self._prompts(),
            "skill": lambda _: self._skills(),
            "login_method": lambda _: tuple(LOGIN_METHODS),
        }

    def known(self, kind: str, start: str) -> Iterable[str]:
        """Name what is known of a kind and could begin with ``start``; an unknown kind has no names."""
        return self._sources[kind](start) if kind in self._sources else ()

    @property
    def _session(self) -> ShellSession:
        return self._open_session()

    def _threads(self) -> tuple[str, ...]:
        return self._session.profile().assistant.threads.names()

    def _tools(self) -> Iterable[str]:
        from codex_nb.magics.session import offered_tools

        return [tool.name for tool in offered_tools(self._session.namespace)]

    def _prompts(self) -> Iterable[str]:
        from codex_nb.tools.skills import saved_prompts

        return [f"/{name}" for name in saved_prompts(self._session.profile().settings.codex_home)]

    def _skills(self) -> Iterable[str]:
        from codex_nb.tools.file_access import read_apart
        from codex_nb.tools.skills import find_skills

        session = self._session
        home = session.profile().settings.codex_home
        found = read_apart(lambda: find_skills(home, session.folder, session.environ))
        return [f"${skill.name}" for skill in found]

    def _profiles(self, _: str) -> Iterable[str]:
        from codex_nb.config.settings import profile_names

        return profile_names(self._session.environ)

    def _variables(self) -> dict[str, Any]:
        hidden, own = self._shell.user_ns_hidden, snapshot(self._shell.user_ns)
        return {name: own[name] for name in own if not name.startswith("_") and name not in hidden}

    def _schemas(self, start: str) -> Iterable[str]:
        """Name what an answer can be made to fit, and the modules and classes where more of it may be."""
        path, dot, _ = start.rpartition(".")
        if not dot:
            return [name for name, value in self._variables().items() if _may_be_schema(value)]
        owner: Any = self._variables().get(path.split(".")[0])
        for name in path.split(".")[1:]:
            owner = find(_names_in(owner), name)
        return [
            f"{path}.{name}"
            for name, value in list(_names_in(owner).items())
            if type(name) is str and not name.startswith("_") and _may_be_schema(value)
        ]

    def _images(self, start: str) -> Iterable[str]:
        from codex_nb.tools.file_access import is_image

        for name, value in self._variables().items():
            if any(defines(type(value), each) for each in _FIGURE_METHODS):
                yield name
        for path in self._files(start):
            if path.endswith("/") or is_image(path):
                yield path

    def _files(self, start: str) -> Iterable[str]:
        """List the files and folders, as seen from the notebook, that a path could go on to."""
        lead = start[: start.rindex("/") + 1] if "/" in start else ""
        begin = start.removeprefix(lead)
        try:
            folder = (self._session.folder or Path()) / Path(lead).expanduser()
            with os.scandir(folder) as entries:
                fitting = (each for each in islice(entries, MOST_ENTRIES) if each.name.startswith(begin))
                shown = sorted(
                    (each for each in fitting if _is_shown(each, begin)), key=lambda entry: entry.name
                )
        except (OSError, RuntimeError, ValueError):  # no folder, no such home, no file name
            return
        for entry in shown[:MAX_FILES]:
            yield f"{lead}{entry.name}{'/' if entry.is_dir() else ''}"


def _is_shown(entry: os.DirEntry[str], begin: str) -> bool:
    return begin.startswith(".") or not entry.name.startswith(".")


def _names_in(owner: object) -> Mapping[str, Any]:
    """Return what a module or a class holds."""
    is_class = issubclass(type(owner), type)
    return class_vars(owner) if is_class else vars_of(owner)  # type: ignore[arg-type]  # a class, as just checked


def _may_be_schema(value: object) -> bool:
    # isinstance would ask an object for its __class__, and so run code of whatever lies in the namespace
    kind = type(value)
    return issubclass(kind, (type, dict, ModuleType, GenericAlias, UnionType)) or module_of(kind) == "typing"


Found = tuple[str, "Iterable[str]"]

NOTHING: Found = ("", ())

_LINE_MAGIC = re.compile(r"\s*(?:[A-Za-z_]\w*\s*=\s*)?%codex\s")
_CELL_MAGIC = re.compile(r"\s*%%codex(?:\s|$)")
_MENTION = re.compile(r"(?<![\w@.])@(?:file:\"[^\"]*|[^\s@]*)$")
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
                found = sorted({name for name in candidates if name.startswith(fragment)})
            except CodexError:  # the next question tells of a config.toml that cannot be read, not Tab
                fragment, found = NOTHING[0], []
            return SimpleMatcherResult(
                completions=[SimpleCompletion(text=name) for name in found],
                suppress=bool(found),
                matched_fragment=fragment,
            )

        return codex_matcher  # type: ignore[no-any-return]  # as above

    def complete(self, text: str, line_number: int, line: str) -> Found:
        """Return the word under the cursor and what it could become; ``line`` is cut at the cursor."""
        register_subcommands()
        is_cell = _CELL_MAGIC.match(text) is not None
        is_first = is_cell and not "".join(text.split("\n")[:line_number]).strip()
        if not is_cell and _LINE_MAGIC.match(line) is None:
            return self._setting(line)
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

    def _after(self, words: Sequence[str], fragment: str, *, has_commands: bool) -> Iterable[str]:
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
        return SUBCOMMANDS if has_commands and not words else ()

    def _flags(self, fragment: str) -> Iterable[str]:
        flag, is_assigned, start = fragment.partition("=")
        if not is_assigned:
            return flags()
        return [f"{flag}={name}" for name in self._names.known(flags_with_value().get(flag, ""), start)]

    def _arguments(self, name: str, words: Sequence[str], fragment: str) -> Iterable[str]:
        complete = SUBCOMMANDS[name].complete if name in SUBCOMMANDS else ()
        if complete[-1:] == ("question",):
            own = [flag for kind in complete[:-1] if fragment for flag in self._names.known(kind, fragment)]
            return [*own, *self._after(words, fragment, has_commands=False)]
        return self._names.known(complete[len(words)], fragment) if len(words) < len(complete) else ()

    def _mention(self, fragment: str) -> Found:
        if fragment.startswith("@file:"):
            start = fragment.removeprefix("@file:").removeprefix('"')
            is_quoted = fragment.startswith('@file:"')
            return fragment, [_file(name, is_quoted=is_quoted) for name in self._names.known("file", start)]
        names = [f"@{name}" for name in self._names.known("variable", fragment[1:])]
        cells = [f"@cell:{number}" for number in self._names.known("cell", "")]
        return fragment, [*names, *cells, "@file:"]

    def _setting(self, line: str) -> Found:
        match = _SETTING.match(line)
        if match is None:
            return NOTHING
        name, start = match.groups()
        own = getattr(SessionConfig.class_traits().get(name), "values", None) or ()
        values = [*filter(None, own), *self._names.known(name, "")]
        quote = start[:1] if start[:1] in {'"', "'"} else ""
        return start, [f"{quote}{value}" if quote else f'"{value}"' for value in values]


def _file(name: str, *, is_quoted: bool) -> str:
    needs_quotes = is_quoted or re.search(r"[\s,;]", name) is not None
    return f'@file:"{name}' if needs_quotes else f"@file:{name}"


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
        from codex_nb.rendering.visible import visible_text

        try:
            if self.session.engine.is_inherited or in_forked_child(self.shell):
                raise UsageError("%codex does not run in a forked process. Call codex_nb.ask there.")
            with deferring_interrupts():
                return dispatch(self.session, line, cell)
        except CodexError as error:
            raise UsageError(visible_text(error.line)) from None

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

    return answer_cell(session, parse_options(line, cell or ""))


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


class _Loaded:
    """What one load put into a shell."""

    def __init__(self, shell: InteractiveShell) -> None:
        from codex_nb.host.notebook import OutputRecorder

        self._shell = shell
        self.recorder = OutputRecorder(shell)
        self.magics = CodexMagics(shell, self.recorder)
        self._matcher = CodexMatcher(shell, lambda: self.magics.session).matcher()

    def enter(self) -> None:
        """Put everything in place."""
        self._shell.register_magics(self.magics)
        self._shell.Completer.custom_matchers.append(self._matcher)
        self._shell.input_transformers_cleanup.append(keep_question_marks)
        self.recorder.start()
        self._shell.events.register("post_run_cell", self.magics.after_cell)

    def leave(self) -> None:
        """Remove everything."""
        self._shell.events.unregister("post_run_cell", self.magics.after_cell)
        self.recorder.stop()
        self._shell.Completer.custom_matchers.remove(self._matcher)
        self._shell.input_transformers_cleanup.remove(keep_question_marks)
        cast("list[Any]", self._shell.configurables).remove(self.magics)
        for kind in ("line", "cell"):
            self._shell.magics_manager.magics[kind].pop("codex", None)
        self._shell.magics_manager.registry.pop(type(self.magics).__name__, None)
        self.magics.close()


def load(shell: InteractiveShell) -> None:
    """Register the magics with a shell; loading twice changes nothing."""
    if getattr(shell, _LOADED, None) is None:
        loaded = _Loaded(shell)
        loaded.enter()
        setattr(shell, _LOADED, loaded)


def unload(shell: InteractiveShell) -> None:
    """Remove what :func:`load` put into the shell."""
    loaded: _Loaded | None = getattr(shell, _LOADED, None)
    if loaded is not None:
        delattr(shell, _LOADED)
        loaded.leave()


def loaded_session(shell: InteractiveShell) -> ShellSession | None:
    """Return the session of the shell's extension, None where it is not loaded."""
    loaded: _Loaded | None = getattr(shell, _LOADED, None)
    return loaded.magics.session if loaded is not None else None
