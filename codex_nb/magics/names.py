"""The names that tab completion offers, from memory and caches only."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from IPython.core.interactiveshell import InteractiveShell

    from codex_nb.magics.codex_magics import CodexMagics


class NotebookNames:
    """Looks names up in the user's namespace and in what the workspace knows."""

    def __init__(self, shell: InteractiveShell, magics: CodexMagics) -> None:
        self._shell = shell
        self._magics = magics

    def models(self) -> Iterable[str]:
        """Name the models of the last list that was fetched."""
        return self._magics.workspace.home().cached_models()

    def threads(self) -> Iterable[str]:
        """Name the kept threads."""
        return [info.name for info in self._magics.workspace.home().assistant.threads.threads()]

    def profiles(self) -> Iterable[str]:
        """Name the profiles of config.toml and the homes below CODEX_HOME."""
        from codex_nb.settings import profile_names

        return profile_names(self._magics.workspace.environ)

    def variables(self) -> Iterable[str]:
        """Name the user's own variables."""
        hidden = self._shell.user_ns_hidden
        return [name for name in list(self._shell.user_ns) if not name.startswith("_") and name not in hidden]

    def cells(self) -> Iterable[str]:
        """Number the cells that ran."""
        return [str(number) for number in range(1, self._shell.execution_count)]
