"""What is sent of the notebook with a question: :class:`NotebookContext`, in sections that can be told apart.

The sections are plain text, free of secrets, not yet fenced. A section that the thread was already told, word for
word, is not told again.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from codex_nb.words import context as words

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from codex_nb.session.redaction import Finding, Redactor

SectionKind = Literal["place", "cell", "question", "variable", "mention"]

_HEADINGS: Mapping[SectionKind, str] = {
    "place": "Where this is asked",
    "question": "Earlier questions in this notebook, with their answers",
    "cell": "Cells above the asking one, in their order",
    "variable": "Variables in the kernel",
    "mention": "What the question mentions with @",
}

_VOLATILE = re.compile(r"(?:CPU times|Wall time):[^\n]*|(?<!\d)\d++(?:\.\d++)?+ [mµn]?s ± [^\n]*")


def tokens_of(text: str) -> int:
    """Estimate how many tokens a text is: four bytes of UTF-8 make one."""
    return len(text.encode("utf-8", "replace")) // 4 + 1


@dataclass(frozen=True)
class Section:
    """One thing that is told: a cell, a variable, an earlier question.

    ``key`` tells whether the section counts when two questions are compared, and ``basis`` what of it does where not
    all: of an earlier question, what was asked. ``mark`` is shown beside the title but does not count: the number of a
    cell's last run changes without the cell changing.
    """

    kind: SectionKind
    title: str
    text: str
    key: bool = True
    mark: str = ""
    basis: str | None = None

    @cached_property
    def digest(self) -> str:
        """A short hash of what the section says, whenever it was run and however long that took."""
        text = _VOLATILE.sub("", self.text if self.basis is None else self.basis)
        return hashlib.sha256(f"{self.kind}\0{self.title}\0{text}".encode("utf-8", "replace")).hexdigest()[
            :16
        ]

    @property
    def tokens(self) -> int:
        """The section's estimated size, its title and the space around it included."""
        return tokens_of(f"{self.title}{self.mark}\n{self.text}\n\n")


@dataclass(frozen=True)
class NotebookContext:
    """Everything of the notebook that a question carries.

    ``cuts`` says, in sentences, what was left out to stay within ``budget`` (tokens); ``redactions`` where secrets were
    taken out, and ``redactor`` is what took them out. ``images`` are data URLs of the outputs that the question
    mentions.
    """

    sections: tuple[Section, ...] = ()
    images: tuple[str, ...] = ()
    cuts: tuple[str, ...] = ()
    redactions: tuple[Finding, ...] = ()
    budget: int = 0
    redactor: Redactor | None = field(default=None, repr=False, compare=False)

    @property
    def text(self) -> str:
        """The whole context as it is sent to a thread that knows nothing yet, without fences."""
        return self.told((), lambda _label, text: text)

    @property
    def tokens(self) -> int:
        """The estimated size of the whole context."""
        return tokens_of(self.text)

    @property
    def sizes(self) -> Mapping[str, int]:
        """Estimated tokens by kind of section."""
        sizes: dict[str, int] = {}
        for section in self.sections:
            sizes[section.kind] = sizes.get(section.kind, 0) + section.tokens
        return sizes

    @cached_property
    def digests(self) -> frozenset[str]:
        """The digests of all sections."""
        return frozenset(section.digest for section in self.sections)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of what the question's answer depends on: the same for the same notebook, run again."""
        parts = "\0".join(section.digest for section in self.sections if section.key)
        return hashlib.sha256(f"{parts}\0{' '.join(self.images)}".encode()).hexdigest()

    def told(
        self, known: Collection[str], fence: Callable[[str, str], str], asked: Collection[str] = ()
    ) -> str:
        """Return the text for a thread that knows the sections of these digests; empty when nothing is new.

        ``asked`` are the questions that the thread itself holds, with their answers: they are not told.
        """
        blocks = []
        for kind, heading in _HEADINGS.items():
            sections = [each for each in self.sections if each.kind == kind and not _is_asked(each, asked)]
            fresh = [section for section in sections if section.digest not in known]
            if not fresh:
                continue
            unchanged = len(sections) - len(fresh)
            note = f" ({unchanged} more are as they were told before)" if unchanged else ""
            body = "\n\n".join(_entry(section) for section in fresh)
            blocks.append(f"{heading}{note}:\n{fence(kind, body)}")
        if blocks and self.cuts:
            blocks.append("Left out: " + "; ".join(self.cuts) + ".")
        return "\n\n".join(blocks)


def _is_asked(section: Section, asked: Collection[str]) -> bool:
    # What the cell says begins with its options; the thread holds the question alone.
    return section.kind == "question" and any(
        section.basis and section.basis.endswith(words) for words in asked
    )


def _entry(section: Section) -> str:
    return f"{section.title}{section.mark}\n{section.text}" if section.title else section.text


def join_findings(findings: Iterable[Finding]) -> str:
    """Say in one sentence what was taken out, and where."""
    told = dict.fromkeys(words.found_in(finding.name, finding.place) for finding in findings)
    return words.looks_secret(", ".join(told)) if told else ""
