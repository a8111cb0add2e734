"""Gathering a notebook's context: what is near and what is mentioned comes first, what does not fit is cut, and said.

The budget is in estimated tokens. Cut first is what lies farthest: outputs of far cells, then their sources, then far
cells altogether; of the variables, first their details, then the ones that no cell above speaks of. What the question
mentions with ``@`` is cut last.
"""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from codex_nb.session.cells import (
    BARE,
    FAR,
    MIDDLE,
    NEAR,
    Level,
    cell_images,
    cell_text,
    is_question,
    is_skipped,
    question_of,
)
from codex_nb.session.mentions import Mentioned, bring
from codex_nb.session.names import Names, names_in
from codex_nb.session.redaction import known_values
from codex_nb.session.sections import NotebookContext, Section, SectionKind, tokens_of
from codex_nb.tools.outputs import shorten
from codex_nb.tools.secret_values import secrets_of_namespace
from codex_nb.tools.variables import Detail, describe, imported_modules, is_worth_knowing
from codex_nb.words import context as words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from codex_nb.notebook import Cell, NotebookSnapshot
    from codex_nb.session.redaction import Finding, Redactor

__all__ = ["BUDGET", "NotebookContext", "build_context"]

BUDGET = 24_000
_SHARES: Mapping[SectionKind, float] = {"mention": 0.6, "variable": 0.3, "question": 0.2}
_NEAR_CELLS = 6
_MIDDLE_CELLS = 25
_DETAILED_VARIABLES = 12
_LISTED_VARIABLES = 60
_QUESTION_LIMIT = 2_000
_IMAGES = 2
_MOST_READ_OF_A_CELL = 100_000  # characters in which secrets are looked for that other texts may hold
_IMAGE_WORDS = re.compile(
    r"\b(?:plots?|figures?|charts?|graphs?|images?|pictures?|diagrams?|histograms?|heat ?maps?|axis|axes|legends?)\b",
    re.IGNORECASE,
)
_IMAGE_REACH = 8
_OVERHEAD = 300  # headings, fences and the line about what was left out


def build_context(
    snapshot: NotebookSnapshot | None,
    namespace: Mapping[str, Any],
    prompt: str,
    *,
    redactor: Redactor,
    folder: Path | None = None,
    budget: int = BUDGET,
    ran: Iterable[str] = (),
) -> NotebookContext:
    """Return what is sent of the notebook with a question.

    ``ran`` is the code that the model itself ran in this kernel: what it defined does not make the question another one
    when the notebook is run again. Runs on the main thread, for it reads the live namespace; no code of the user's
    objects runs.
    """
    above = _above(snapshot)
    mentioned = bring(prompt, snapshot, namespace, folder)
    gathering = _Gathering(_knowing(redactor, snapshot, namespace, prompt, mentioned), budget)
    gathering.place(snapshot, namespace)
    gathering.mentions(mentioned)
    gathering.questions(above)
    gathering.variables(namespace, names_in(snapshot, prompt, ran))
    gathering.cells(above)
    return gathering.context(mentioned.images or _asked_images(prompt, above)[:_IMAGES])


def _knowing(
    redactor: Redactor,
    snapshot: NotebookSnapshot | None,
    namespace: Mapping[str, Any],
    prompt: str,
    mentioned: Mentioned,
) -> Redactor:
    """Return the redactor with what variables and cells, left out ones too, tell to be secret."""
    texts = [prompt, *(section.text for section in mentioned.sections)]
    if snapshot is not None:
        texts += (shorten(cell.source, _MOST_READ_OF_A_CELL) for cell in snapshot.cells)
    return redactor.knowing(secrets_of_namespace(namespace)).knowing(known_values(texts))


def _above(snapshot: NotebookSnapshot | None) -> list[tuple[int, Cell]]:
    """Return the cells above the asking one with their numbers from 1; all cells where that one is not known."""
    if snapshot is None:
        return []
    end = len(snapshot.cells) if snapshot.current is None else snapshot.current
    return list(enumerate(snapshot.cells[:end], 1))


@dataclass
class _Gathering:
    """The sections that have found room so far."""

    redactor: Redactor
    budget: int
    sections: dict[SectionKind, list[Section]] = field(default_factory=dict)
    cuts: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    used: int = _OVERHEAD

    def place(self, snapshot: NotebookSnapshot | None, namespace: Mapping[str, Any]) -> None:
        """Tell where the question is asked."""
        lines = []
        if snapshot is not None and snapshot.path:
            lines.append(f"Notebook: {snapshot.path.replace(chr(92), '/').rsplit('/', 1)[-1]}")
        if snapshot is not None and snapshot.current is not None:
            lines.append(f"Asked in cell {snapshot.current + 1} of {len(snapshot.cells)}")
        modules = imported_modules(namespace)
        lines.append(f"Python {platform.python_version()}" + (f"; imported: {modules}" if modules else ""))
        self._add(self._clean("place", "", "\n".join(lines), words.THE_NOTEBOOK, key=False))

    def mentions(self, mentioned: Mentioned) -> None:
        """Tell what the question points at."""
        self.cuts += mentioned.problems
        room = self._room("mention")
        for section in mentioned.sections:
            fitting = shorten(section.text, max(400, 4 * room))
            if len(fitting) < len(section.text):
                self.cuts.append(words.part_of(section.title))
            title = self.redactor(section.title)
            cleaned = self._clean("mention", title, fitting, title)
            self._add(cleaned)
            room -= cleaned.tokens

    def questions(self, above: list[tuple[int, Cell]]) -> None:
        """Tell earlier questions and their answers, the newest ones if not all fit."""
        asked = [(n, cell) for n, cell in above if is_question(cell) and not is_skipped(cell)]
        room, left_out = self._room("question"), 0
        for number, cell in reversed(asked):
            said = question_of(cell, _QUESTION_LIMIT)
            if said is None:
                continue
            text = f"Question: {said[0]}\nAnswer: {said[1] or '(none)'}"
            section = self._clean("question", f"Cell {number}", text, words.cell(str(number)))
            section = replace(section, basis=self.redactor(said[0]))
            if left_out or section.tokens > room:
                left_out += 1
                continue
            room -= section.tokens
            self._add(section)
        self.sections.get("question", []).reverse()
        if left_out:
            self.cuts.append(words.earlier_questions(str(left_out)))

    def variables(self, namespace: Mapping[str, Any], names: Names) -> None:
        """Tell the variables, first those that the question and the cells above speak of, the newest first."""
        known = [
            name
            for name, value in reversed(list(namespace.items()))
            if is_worth_knowing(name, value) and name not in names.hidden and name not in names.mentioned
        ]
        known.sort(key=lambda name: (name not in names.asked, name not in names.told))
        room, told = self._room("variable"), 0
        for number, name in enumerate(known[:_LISTED_VARIABLES]):
            detail = Detail.NORMAL if number < _DETAILED_VARIABLES else Detail.LINE
            for level in (detail, Detail.LINE):
                text = describe(name, namespace[name], level)
                section = self._clean("variable", "", text, words.variable(name), key=names.counts(name))
                if section.tokens <= room:
                    self._add(section)
                    room -= section.tokens
                    told += 1
                    break
        if told < len(known):
            self.cuts.append(words.some_variables(str(len(known) - told), str(len(known))))

    def cells(self, above: list[tuple[int, Cell]]) -> None:
        """Tell the cells above, the nearest in full, until the room is used."""
        cells = [(number, cell) for number, cell in above if not is_question(cell)]
        skipped = sum(1 for _, cell in cells if is_skipped(cell))
        shown = [(n, c) for n, c in reversed(cells) if not is_skipped(c) and (c.source.strip() or c.outputs)]
        told = shortened = 0
        for distance, (number, cell) in enumerate(shown):
            section, whole = self._fitting(number, cell, distance)
            if section is None:
                break
            self._add(section)
            told += 1
            shortened += not whole
        self.sections.get("cell", []).reverse()
        if skipped:
            self.cuts.append(words.marked_cells(str(skipped)))
        if told < len(shown):
            self.cuts.append(words.farthest_cells(str(len(shown) - told)))
        if shortened:
            self.cuts.append(words.parts_of_cells(str(shortened)))

    def _fitting(self, number: int, cell: Cell, distance: int) -> tuple[Section | None, bool]:
        """Return the cell at the first level that fits the room, and whether that is all of the cell."""
        room = self.budget - self.used
        for level in _levels(distance):
            text = cell_text(cell, level)
            if tokens_of(text) > room:
                continue
            title = f"Cell {number}" + (f" ({cell.kind})" if cell.kind != "code" else "")
            mark = f" [{cell.execution_count}]" if cell.execution_count else ""
            section = self._clean("cell", title, text, words.cell(str(number)), mark=mark)
            if section.tokens <= room:
                return section, " left out] …" not in text and " not told]" not in text
        return None, False

    def context(self, images: tuple[str, ...]) -> NotebookContext:
        """Return what was gathered; what an output or a variable tells to be secret is so in the others as well."""
        sections = [section for kind in self.sections.values() for section in kind]
        redactor = self.redactor.knowing(finding.value for finding in self.findings)
        if redactor is not self.redactor:
            sections = [replace(each, title=redactor(each.title), text=redactor(each.text),
                                basis=each.basis and redactor(each.basis)) for each in sections]  # fmt: skip
        cuts, findings = tuple(map(redactor, self.cuts)), tuple(self.findings)
        return NotebookContext(tuple(sections), images, cuts, findings, self.budget, redactor)

    def _room(self, kind: SectionKind) -> int:
        return min(int(self.budget * _SHARES[kind]), self.budget - self.used)

    def _add(self, section: Section) -> None:
        self.sections.setdefault(section.kind, []).append(section)
        self.used += section.tokens

    def _clean(
        self, kind: SectionKind, title: str, text: str, place: str, *, key: bool = True, mark: str = ""
    ) -> Section:
        cleaned, found = self.redactor.redact(text, place)
        self.findings += found
        return Section(kind, title, cleaned, key=key, mark=mark)


def _levels(distance: int) -> Iterator[Level]:
    if distance < _NEAR_CELLS:
        yield NEAR
    if distance < _MIDDLE_CELLS:
        yield MIDDLE
    yield FAR
    yield BARE


def _asked_images(prompt: str, above: list[tuple[int, Cell]]) -> tuple[str, ...]:
    """Return the newest images above when the question speaks of pictures."""
    if not _IMAGE_WORDS.search(prompt):
        return ()
    for _, cell in reversed(above[-_IMAGE_REACH:]):
        if not is_skipped(cell) and (images := cell_images(cell)):
            return images
    return ()
