"""``%codex`` and ``%%codex``: the magics, where errors become one line, and what loading puts into a shell."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class

import codex_nb.magics.threads  # noqa: F401 -- registers its subcommands
from codex_nb.errors import CodexError
from codex_nb.host.engine import deferring_interrupts
from codex_nb.labels import SIMILAR
from codex_nb.magics.completion import CodexMatcher
from codex_nb.magics.options import SUBCOMMANDS, OptionError, SessionConfig, parse_options
from codex_nb.magics.subcommands import reference_text
from codex_nb.rendering.visible import visible_text

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from codex_nb.host.notebook import OutputRecorder
    from codex_nb.magics.session import ShellSession


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

            self._session = ShellSession(
                self.shell, self, engine(), open_profile, self._recorder, Environment()
            )
        return self._session

    @line_cell_magic
    def codex(self, line: str, cell: str | None = None) -> Any:
        """Ask Codex about this notebook, or manage it; ``%codex?`` shows the reference in this place."""
        from codex_nb.host.shell import in_forked_child

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


CodexMagics.codex.__doc__ = reference_text()


def dispatch(session: ShellSession, line: str, cell: str | None) -> Any:
    """Run the subcommand on the line, or ask what the line and the cell below it ask."""
    name, _, rest = line.strip().partition(" ")
    if cell is None and (name or "help") in SUBCOMMANDS:
        return SUBCOMMANDS[name or "help"].run(session, rest.strip())
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
