"""Loading into IPython: registers the magics and the completion, and removes them again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from codex_nb.magics.completion import CodexMatcher, NotebookNames, keep_question_marks
from codex_nb.magics.magics import CodexMagics

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from codex_nb.magics.session import ShellSession


_LOADED = "_codex_nb_loaded"


class _Loaded:
    """What one load put into a shell."""

    def __init__(self, shell: InteractiveShell) -> None:
        from codex_nb.host.recorder import OutputRecorder

        self._shell = shell
        self.recorder = OutputRecorder(shell)
        self.magics = CodexMagics(shell, self._open_session)
        self._matcher = CodexMatcher(NotebookNames(shell, self.magics), self.magics.values_of).matcher()

    def enter(self) -> None:
        """Put everything in place."""
        self._shell.register_magics(self.magics)
        self._shell.Completer.custom_matchers.append(self._matcher)
        self._shell.input_transformers_cleanup.append(keep_question_marks)
        self.recorder.start()

    def leave(self) -> None:
        """Take everything back."""
        self.recorder.stop()
        self._shell.Completer.custom_matchers.remove(self._matcher)
        self._shell.input_transformers_cleanup.remove(keep_question_marks)
        cast("list[Any]", self._shell.configurables).remove(self.magics)
        for kind in ("line", "cell"):
            self._shell.magics_manager.magics[kind].pop("codex", None)
        self._shell.magics_manager.registry.pop(type(self.magics).__name__, None)
        self.magics.close()

    def _open_session(self, magics: CodexMagics) -> ShellSession:
        from codex_nb.config.settings import Environment
        from codex_nb.host.engine import engine
        from codex_nb.magics.session import ShellSession
        from codex_nb.profile import open_profile

        return ShellSession(self._shell, magics, engine(), open_profile, self.recorder, Environment())


def load(shell: InteractiveShell) -> None:
    """Register the magics with a shell; loading twice changes nothing."""
    if getattr(shell, _LOADED, None) is None:
        loaded = _Loaded(shell)
        loaded.enter()
        setattr(shell, _LOADED, loaded)


def unload(shell: InteractiveShell) -> None:
    """Take everything back that :func:`load` put into the shell."""
    loaded: _Loaded | None = getattr(shell, _LOADED, None)
    if loaded is not None:
        delattr(shell, _LOADED)
        loaded.leave()


def loaded_session(shell: InteractiveShell) -> ShellSession | None:
    """Return the session of the shell's extension, None where it is not loaded."""
    loaded: _Loaded | None = getattr(shell, _LOADED, None)
    return loaded.magics.session if loaded is not None else None
