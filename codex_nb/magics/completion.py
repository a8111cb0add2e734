"""Tab completion of the magics: subcommands, options, their values, and ``@`` mentions in the prompt."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

from codex_nb.errors import CodexError
from codex_nb.magics.commands import COMMANDS, LOGIN_WAYS
from codex_nb.magics.options import APPROVALS, FLAGS, TAKES_VALUE
from codex_nb.settings import EFFORTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Found = tuple[str, "Iterable[str]"]

NOTHING: Found = ("", ())
# What follows these subcommands: a kind of name, or fixed words.
ARGUMENTS: Mapping[str, str] = {
    "model": "model",
    "effort": "effort",
    "thread": "thread",
    "login": "way",
    **dict.fromkeys(("status", "logout", "usage", "models", "threads"), "profile"),
}
ASK = frozenset({"context", "fix", "explain"})  # these take the options of a question
FIXED: Mapping[str, Sequence[str]] = {"effort": EFFORTS, "approval": APPROVALS, "way": LOGIN_WAYS}

_LINE_MAGIC = re.compile(r"\s*(?:[A-Za-z_]\w*\s*=\s*)?%codex\s")
_CELL_MAGIC = re.compile(r"\s*%%codex(?:\s|$)")
_MENTION = re.compile(r"(?<![\w@.])@(?:file:\"[^\"]*|[^\s@]*)$")
_SETTING = re.compile(r"\s*%config\s+CodexMagics\.(\w+)\s*=\s*([\"']?[^\s\"']*)$")


class Names(Protocol):
    """What can be completed without a request."""

    def known(self, kind: str, start: str) -> Iterable[str]:
        """Name what is known of a kind (an option's, ``variable``, ``cell``, ``file``) and may begin like this."""


class CodexMatcher:
    """Completes ``%codex`` lines wherever they stand, ``%%codex`` and the prompt below it.

    ``settings`` tells the values that a setting of ``%config CodexMagics`` can have.
    """

    def __init__(self, names: Names, settings: Callable[[str], Iterable[str]] = lambda _: ()) -> None:
        self._names = names
        self._settings = settings

    def matcher(self) -> Callable[[CompletionContext], SimpleMatcherResult]:
        """Return the function that IPython's completer calls."""

        @context_matcher(identifier="codex_nb", priority=100)  # type: ignore[untyped-decorator]  # IPython leaves it untyped
        def codex_matcher(context: CompletionContext) -> SimpleMatcherResult:
            try:
                fragment, candidates = self.complete(
                    context.full_text, context.cursor_line, context.text_until_cursor
                )
                found = sorted({name for name in candidates if name.startswith(fragment)})
            except CodexError:  # a config.toml that cannot be read is told by the next question, not by Tab
                fragment, found = NOTHING[0], []
            return SimpleMatcherResult(
                completions=[SimpleCompletion(text=name) for name in found],
                suppress=bool(found),
                matched_fragment=fragment,
            )

        return codex_matcher  # type: ignore[no-any-return]  # as above

    def complete(self, text: str, line_number: int, line: str) -> Found:
        """Return the word under the cursor and what it could become; ``line`` is cut at the cursor."""
        is_cell = _CELL_MAGIC.match(text) is not None
        is_first = is_cell and not "".join(text.split("\n")[:line_number]).strip()
        if not is_cell and _LINE_MAGIC.match(line) is None:
            return self._setting(line)
        if mention := _MENTION.search(line):
            return self._mention(mention[0])
        if is_cell and not (is_first and _CELL_MAGIC.match(line)):
            return NOTHING
        _, *words = line[line.index("codex") :].split()
        fragment = words.pop() if words and not line[-1].isspace() else ""
        return fragment, self._after(words, fragment, has_commands=not is_cell)

    def _after(self, words: Sequence[str], fragment: str, *, has_commands: bool) -> Iterable[str]:
        """Name what can follow these words: a value, an option, a subcommand; nothing within a question."""
        place = 0
        while place < len(words) and words[place].startswith("-"):
            takes = TAKES_VALUE.get(words[place])
            place += 1 if takes is None else 2
            if takes is not None and place > len(words):
                return self._known(takes, fragment)
        if place < len(words):
            is_command = has_commands and place == 0
            return self._arguments(words[0], words[1:], fragment) if is_command else ()
        if fragment.startswith("-"):
            return self._flags(fragment)
        return COMMANDS if has_commands and not words else ()

    def _flags(self, fragment: str) -> Iterable[str]:
        flag, is_assigned, start = fragment.partition("=")
        if not is_assigned:
            return FLAGS
        return [f"{flag}={name}" for name in self._known(TAKES_VALUE.get(flag, ""), start)]

    def _arguments(self, command: str, words: Sequence[str], fragment: str) -> Iterable[str]:
        if command in ASK:
            return self._after(words, fragment, has_commands=False)
        if command == "login" and len(words) == 1:
            return self._known("profile", fragment)
        return self._known(ARGUMENTS.get(command, ""), fragment) if not words else ()

    def _known(self, kind: str, start: str) -> Iterable[str]:
        return FIXED[kind] if kind in FIXED else self._names.known(kind, start)

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
        values = [*self._settings(name), *self._known(name, "")]
        quote = start[:1] if start[:1] in {'"', "'"} else ""
        return start, [f"{quote}{value}" if quote else f'"{value}"' for value in values]


def _file(name: str, *, is_quoted: bool) -> str:
    needs_quotes = is_quoted or re.search(r"[\s,;]", name) is not None
    return f'@file:"{name}' if needs_quotes else f"@file:{name}"
