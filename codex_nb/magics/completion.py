"""Tab completion of the magics: subcommands, options, their values, and ``@`` mentions in the prompt."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

from codex_nb.magics.commands import COMMANDS
from codex_nb.magics.options import APPROVALS, EFFORTS, FLAGS, TAKES_VALUE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class KnownNames(Protocol):
    """What can be completed without a request: names from caches and from the namespace."""

    def models(self) -> Iterable[str]:
        """Name the models of the last list that was fetched."""

    def threads(self) -> Iterable[str]:
        """Name the threads of this notebook and the named ones."""

    def profiles(self) -> Iterable[str]:
        """Name the profiles."""

    def variables(self) -> Iterable[str]:
        """Name the user's variables."""

    def cells(self) -> Iterable[str]:
        """Number the executed cells."""


class CodexMatcher:
    """Completes lines that begin with ``%codex`` or ``%%codex`` and prompts below ``%%codex``."""

    def __init__(self, names: KnownNames) -> None:
        self._names = names
        self._values: Mapping[str, Callable[[str], Iterable[str]]] = {
            "model": lambda _: names.models(),
            "effort": lambda _: EFFORTS,
            "approval": lambda _: APPROVALS,
            "thread": lambda _: names.threads(),
            "profile": lambda _: names.profiles(),
            "schema": lambda _: names.variables(),
            "output": lambda _: names.variables(),
            "images": lambda start: [*names.variables(), *_files(start)],
        }

    def matcher(self) -> Callable[[CompletionContext], SimpleMatcherResult]:
        """Return the function that IPython's completer calls."""

        @context_matcher(identifier="codex_nb", priority=100)  # type: ignore[untyped-decorator]  # IPython leaves it untyped
        def codex_matcher(context: CompletionContext) -> SimpleMatcherResult:
            fragment, candidates = self.complete(
                context.full_text, context.cursor_line, context.line_with_cursor
            )
            found = sorted({name for name in candidates if name.startswith(fragment)})
            return SimpleMatcherResult(
                completions=[SimpleCompletion(text=name) for name in found],
                suppress=bool(found),
                matched_fragment=fragment,
            )

        return codex_matcher  # type: ignore[no-any-return]  # as above

    def complete(self, text: str, line_number: int, line: str) -> tuple[str, Iterable[str]]:
        """Return the word under the cursor and what it could become; ``line`` is cut at the cursor."""
        first = text.lstrip().partition("\n")[0]
        if not first.startswith(("%codex", "%%codex")):
            return "", ()
        fragment = "" if line.endswith((" ", "\t")) else line.rsplit(" ", maxsplit=1)[-1]
        if "@" in fragment:
            return self._mention(fragment[fragment.rindex("@") :])
        if line_number > 0 or not line.lstrip().startswith(("%codex ", "%%codex ")):
            return fragment, ()
        return fragment, self._words(line[: len(line) - len(fragment)].split(), fragment)

    def _words(self, before: list[str], fragment: str) -> Iterable[str]:
        if len(before) > 1 and before[-1] in TAKES_VALUE:
            return self._values[TAKES_VALUE[before[-1]]](fragment)
        if before[0] == "%codex" and len(before) == 2:  # noqa: PLR2004  the magic and its subcommand
            return self._arguments(before[1])
        if fragment.startswith("-"):
            return FLAGS
        return COMMANDS if before == ["%codex"] else ()

    def _arguments(self, command: str) -> Iterable[str]:
        if command == "model":
            return self._names.models()
        if command == "effort":
            return EFFORTS
        return self._names.threads() if command == "thread" else ()

    def _mention(self, fragment: str) -> tuple[str, Iterable[str]]:
        if fragment.startswith("@file:"):
            return fragment, [f"@file:{name}" for name in _files(fragment.removeprefix("@file:"))]
        names = [f"@{name}" for name in self._names.variables()]
        return fragment, [*names, *(f"@cell:{number}" for number in self._names.cells()), "@file:"]


def _files(start: str) -> Iterable[str]:
    """List the files and folders that a path could go on to."""
    folder = Path(start).expanduser() if start.endswith("/") else Path(start).expanduser().parent
    lead = start[: start.rindex("/") + 1] if "/" in start else ""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries[:200]:
        if not entry.name.startswith("."):
            yield f"{lead}{entry.name}{'/' if entry.is_dir() else ''}"
