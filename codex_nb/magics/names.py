"""The names that tab completion offers, from memory, caches and folders only: no request, no code of the user's."""

from __future__ import annotations

import os
from pathlib import Path
from types import GenericAlias, ModuleType, UnionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from IPython.core.interactiveshell import InteractiveShell

    from codex_nb.magics.codex_magics import CodexMagics
    from codex_nb.magics.workspace import Workspace

MOST_FILES = 200
_PICTURES = ("savefig", "figure", "save")  # what figures, axes and pictures can do


class NotebookNames:
    """Looks names up in the user's namespace and in what the workspace knows."""

    def __init__(self, shell: InteractiveShell, magics: CodexMagics) -> None:
        self._shell = shell
        self._magics = magics
        self._kinds: Mapping[str, Callable[[str], Iterable[str]]] = {
            "model": lambda _: self._workspace.home().cached_models(),
            "thread": lambda _: [info.name for info in self._workspace.home().assistant.threads.threads()],
            "profile": self._profiles,
            "output": lambda _: self._variables(),
            "schema": self._schemas,
            "images": self._images,
            "variable": lambda _: self._variables(),
            "cell": lambda _: [str(number) for number in range(1, shell.execution_count)],
            "file": self._files,
        }

    def known(self, kind: str, start: str) -> Iterable[str]:
        """Name what is known of a kind and could begin with ``start``; a kind that nobody knows has no names."""
        return self._kinds[kind](start) if kind in self._kinds else ()

    @property
    def _workspace(self) -> Workspace:
        return self._magics.workspace

    def _profiles(self, _: str) -> Iterable[str]:
        from codex_nb.settings import profile_names

        return profile_names(self._workspace.environ)

    def _variables(self) -> dict[str, Any]:
        hidden, own = self._shell.user_ns_hidden, dict(self._shell.user_ns)
        return {name: own[name] for name in own if not name.startswith("_") and name not in hidden}

    def _schemas(self, start: str) -> Iterable[str]:
        """Name what an answer can be made to fit, and the modules and classes where more of it may be."""
        path, dot, _ = start.rpartition(".")
        if not dot:
            return [name for name, value in self._variables().items() if _may_be_schema(value)]
        owner: Any = self._variables().get(path.split(".")[0])
        for name in path.split(".")[1:]:
            owner = vars(owner).get(name) if _has_names(owner) else None
        inside = vars(owner) if _has_names(owner) else {}
        return [
            f"{path}.{name}"
            for name, value in list(inside.items())
            if not name.startswith("_") and _may_be_schema(value)
        ]

    def _images(self, start: str) -> Iterable[str]:
        from codex_nb.magics.question import IMAGE_TYPES

        for name, value in self._variables().items():
            if any(hasattr(type(value), each) for each in _PICTURES):
                yield name
        for path in self._files(start):
            if path.endswith("/") or Path(path).suffix.lower() in IMAGE_TYPES:
                yield path

    def _files(self, start: str) -> Iterable[str]:
        """List the files and folders, as seen from the notebook, that a path could go on to."""
        lead = start[: start.rindex("/") + 1] if "/" in start else ""
        folder = (self._workspace.folder or Path()) / Path(lead).expanduser()
        begin = start.removeprefix(lead)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            return
        shown = [entry for entry in entries if entry.name.startswith(begin or "") and _is_shown(entry, begin)]
        for entry in shown[:MOST_FILES]:
            yield f"{lead}{entry.name}{'/' if entry.is_dir() else ''}"


def _is_shown(entry: os.DirEntry[str], begin: str) -> bool:
    return begin.startswith(".") or not entry.name.startswith(".")


def _has_names(value: object) -> bool:
    return issubclass(type(value), (ModuleType, type))


def _may_be_schema(value: object) -> bool:
    # isinstance would ask an object for its __class__, and so run code of whatever lies in the namespace
    kind = type(value)
    return issubclass(kind, (type, dict, ModuleType, GenericAlias, UnionType)) or kind.__module__ == "typing"
