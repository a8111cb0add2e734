"""One page of a transcript: the sections that stand in one output of the cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codex_nb.session.state import Part, ToolPart
from codex_nb.ui.placing import named
from codex_nb.ui.sections import CallSection, Operation, ProseSection, Section, section_for

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


class Page:
    """Keeps the sections in step with the parts that belong to this page."""

    def __init__(self) -> None:
        self._sections: dict[str, Section[Any]] = {}
        self._keys: dict[str, int] = {}
        self._made = 0

    def update(self, parts: Iterable[Part], shown_below: Collection[int] = ()) -> list[Operation]:
        """Take the page's parts as they are now, return what shows the difference.

        ``shown_below`` names the calls whose outputs the notebook shows itself.
        """
        operations: list[Operation] = []
        present: set[str] = set()
        for name, part in named(parts):
            present.add(name)
            if name not in self._sections:
                self._sections[name] = section_for(part, self._new_key(name))
            section = self._sections[name]
            if isinstance(section, CallSection) and isinstance(part, ToolPart):
                section.shown_below = part.call_number in shown_below
            operations += section.update(part)
        for name in [name for name in self._sections if name not in present]:
            del self._sections[name]
            operations.append({"op": "remove", "key": self._keys.pop(name)})
        return operations

    def whole(self) -> list[Operation]:
        """Return what shows the page from nothing."""
        return [operation for section in self._sections.values() for operation in section.whole()]

    def rendered(self) -> dict[str, str]:
        """Return the Markdown texts that are final on this page, each with its HTML."""
        found: dict[str, str] = {}
        for section in self._sections.values():
            if isinstance(section, ProseSection):
                found |= section.rendered
        return found

    def _new_key(self, name: str) -> int:
        self._made += 1
        self._keys[name] = self._made
        return self._made
