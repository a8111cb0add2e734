"""One page of a transcript: the sections that stand in one output of the cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codex_nb.session.state import NoticePart, Part, ToolPart
from codex_nb.ui.sections import CallSection, Operation, Section, section_for

if TYPE_CHECKING:
    from collections.abc import Iterable


class Page:
    """Keeps the sections in step with the parts that belong to this page."""

    def __init__(self) -> None:
        self._sections: dict[str, Section[Any]] = {}
        self._keys: dict[str, int] = {}
        self._made = 0
        self.shown_below: set[str] = set()  # ids of the calls whose outputs the notebook shows itself

    def update(self, parts: Iterable[Part]) -> list[Operation]:
        """Take the page's parts as they are now, return what shows the difference."""
        operations: list[Operation] = []
        present: set[str] = set()
        for name, part in named(parts):
            present.add(name)
            if name not in self._sections:
                self._sections[name] = section_for(part, self._new_key(name))
            section = self._sections[name]
            if isinstance(section, CallSection) and isinstance(part, ToolPart):
                section.shown_below = part.call_id in self.shown_below
            operations += section.update(part)
        for name in [name for name in self._sections if name not in present]:
            del self._sections[name]
            operations.append({"op": "remove", "key": self._keys.pop(name)})
        return operations

    def whole(self) -> list[Operation]:
        """Return what shows the page from nothing."""
        return [operation for section in self._sections.values() for operation in section.whole()]

    def _new_key(self, name: str) -> int:
        self._made += 1
        self._keys[name] = self._made
        return self._made


def named(parts: Iterable[Part]) -> list[tuple[str, Part]]:
    """Return the parts with a name that stays theirs while they grow."""
    seen: dict[str, int] = {}
    names = []
    for part in parts:
        name = f"{type(part).__name__} {_identity(part)}"
        seen[name] = seen.get(name, 0) + 1
        names.append((name if seen[name] == 1 else f"{name} {seen[name]}", part))
    return names


def _identity(part: Part) -> str:
    if isinstance(part, ToolPart):
        return part.call_id
    if isinstance(part, NoticePart):
        return f"{part.notice.kind} {part.notice.text}"
    return part.item_id
