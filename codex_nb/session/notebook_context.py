"""The notebook context of a request as sections, how a cell is serialised, and the ``TurnRequest`` that carries it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from codex_nb.config.settings import ApprovalPolicy
from codex_nb.tools.base import ToolSet
from codex_nb.tools.nbmodel import (
    TRUNCATION_MARK_END,
    join_multiline,
    other_forms_digest,
    output_images,
    output_text,
    shows_everything,
    truncate,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from codex_nb.responses.throttle import Throttle
    from codex_nb.session.outbound import Redaction, Redactor
    from codex_nb.tools.nbmodel import Cell


_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]{6,}")
_ANSWER_TYPES = ("text/markdown", "text/plain")


@dataclass(frozen=True)
class DetailLevel:
    """How much of a cell is sent, in characters: of its source, and of each output."""

    source: int
    output: int
    outputs: int = 8


NEAR = DetailLevel(8_000, 3_000)
MIDDLE = DetailLevel(4_000, 1_000)
FAR = DetailLevel(1_500, 300, 3)
BARE = DetailLevel(600, 0, 0)
FULL = DetailLevel(40_000, 20_000, 50)


def is_question(cell: Cell) -> bool:
    """Whether a cell is a question to Codex."""
    return cell.kind == "code" and cell.source.lstrip().startswith(("%%codex", "%codex "))


@dataclass(frozen=True)
class CellText:
    """A cell as text.

    ``fits`` tells whether nothing was truncated at this detail level; ``complete`` whether the text and ``content``, a
    hash of the other forms of its outputs, are all that the cell shows: no table was truncated when it was printed.
    """

    text: str
    fits: bool = True
    complete: bool = True
    content: str = ""


def cell_text(cell: Cell, level: DetailLevel) -> CellText:
    """Return a cell's source and outputs at a detail level, without object addresses, which change with every run."""
    source = truncate(cell.source.strip("\n"), level.source)
    fits = len(source) == len(cell.source.strip("\n"))
    if cell.kind != "code":
        return CellText(source, fits, fits)
    lines = [source] if source.strip() else []
    shown = cell.outputs[: level.outputs] if level.output else ()
    outputs = [output_text(output, level.output) for output in shown]
    if texts := list(filter(None, outputs)):
        lines.append("Output:\n" + _ADDRESS.sub("", "\n".join(texts)))
    if level.output and (images := _image_count(cell)):
        lines.append(f"[{images} image{'s' * (images > 1)} shown]")
    if len(cell.outputs) > len(shown):
        lines.append(f"[{len(cell.outputs) - len(shown)} outputs not sent]")
    fits = fits and len(cell.outputs) == len(shown) and not any(TRUNCATION_MARK_END in text for text in texts)
    complete = fits and all(map(shows_everything, shown, outputs))
    return CellText("\n".join(lines), fits, complete, other_forms_digest(shown) if complete else "")


def question_of(cell: Cell, limit: int, subcommands: Collection[str] = ()) -> tuple[str, str] | None:
    """Return an earlier question, options included, and its answer; None for a cell that asked the model nothing.

    ``subcommands`` are those of ``%codex`` that ask nothing.
    """
    source = cell.source.lstrip()
    asked = source.removeprefix("%%codex") if source.startswith("%%codex") else source.removeprefix("%codex ")
    if not source.startswith("%%codex") and asked.split()[:1] and asked.split()[0] in subcommands:
        return None
    answer = ""
    for output in cell.outputs:
        data = output.get("data") or {}
        kind = next((kind for kind in _ANSWER_TYPES if kind in data), None)
        if kind is not None:
            answer = join_multiline(data[kind], limit)
    if not answer and not source.startswith("%%codex"):
        return None
    return truncate(asked.strip(), limit), answer.strip()


def cell_images(cell: Cell) -> tuple[str, ...]:
    """Return the images that a cell shows, as data URLs."""
    return output_images(cell.outputs)


def _image_count(cell: Cell) -> int:
    return sum(
        1
        for output in cell.outputs
        if any(str(kind).startswith("image/") for kind in output.get("data") or ())
    )


SectionKind = Literal["place", "cell", "question", "variable", "mention"]

_HEADINGS: Mapping[SectionKind, str] = {
    "place": "Where this is asked",
    "question": "Earlier questions in this notebook, with their answers",
    "cell": "Cells above the asking one, in their order",
    "variable": "Variables in the kernel",
    "mention": "What the question mentions with @",
}


def tokens_of(text: str) -> int:
    """Estimate how many tokens a text is: four bytes of UTF-8 make one."""
    return len(text.encode("utf-8", "replace")) // 4 + 1


@dataclass(frozen=True)
class ContextSection:
    """One part of the context: a cell, a variable, an earlier question.

    ``complete`` tells whether the text describes all of it; where it does not, two different things may have the same
    text. ``digest_text`` stands for the text in the digest: of an earlier question, what was asked. ``content`` is a
    hash of what the text only summarizes. ``run_label`` is shown beside the title but is no part of the digest: a
    cell's execution count changes without the cell changing.
    """

    kind: SectionKind
    title: str
    text: str
    run_label: str = ""
    digest_text: str | None = None
    complete: bool = True
    content: str = ""

    @cached_property
    def digest(self) -> str:
        """A short hash of the section's content."""
        content = f"{self.kind}\0{self.title}\0{self.text if self.digest_text is None else self.digest_text}"
        content += f"\0{self.content}" if self.content else ""
        return hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()[:16]

    @property
    def tokens(self) -> int:
        """The section's estimated size, its title and the space around it included."""
        return tokens_of(f"{self.title}{self.run_label}\n{self.text}\n\n")


@dataclass(frozen=True)
class NotebookContext:
    """Everything of the notebook that a question carries.

    ``not_sent`` names what was truncated to stay within ``budget`` (tokens); ``redactions`` are the secrets that
    ``redactor`` removed. ``images`` are data URLs of the outputs that the question mentions. ``is_partial`` tells
    whether anything was left out altogether, ``over_budget`` whether data was too large to be hashed.
    """

    sections: tuple[ContextSection, ...] = ()
    images: tuple[str, ...] = ()
    not_sent: tuple[str, ...] = ()
    redactions: tuple[Redaction, ...] = ()
    budget: int = 0
    redactor: Redactor | None = field(default=None, repr=False, compare=False)
    is_partial: bool = False
    over_budget: bool = False

    @property
    def text(self) -> str:
        """The whole context as it is sent to a new thread, without untrusted blocks."""
        return self.render((), lambda _label, text: text)

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
        """A hash of the content: the same for the same notebook, run again."""
        parts = [*(section.digest for section in self.sections), *self.images, *self.not_sent]
        return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()

    def is_complete(self, asked: Collection[str]) -> bool:
        """Whether the context is complete, so that the same text means the same notebook.

        ``asked`` are the questions whose answers are compared elsewhere; another question's answer may be any.
        """
        return not self.is_partial and all(
            _is_asked(section, asked) if section.kind == "question" else section.complete
            for section in self.sections
        )

    def render(
        self, known: Collection[str], untrusted: Callable[[str, str], str], asked: Collection[str] = ()
    ) -> str:
        """Return the text for a thread that holds the sections of these digests; empty when nothing is new.

        ``asked`` are the questions in the thread itself, which are left out with their answers.
        """
        blocks = []
        for kind, heading in _HEADINGS.items():
            sections = [each for each in self.sections if each.kind == kind and not _is_asked(each, asked)]
            fresh = [section for section in sections if section.digest not in known]
            if not fresh:
                continue
            unchanged = len(sections) - len(fresh)
            note = f" ({unchanged} more are unchanged)" if unchanged else ""
            body = "\n\n".join(_entry(section) for section in fresh)
            blocks.append(f"{heading}{note}:\n{untrusted(kind, body)}")
        if blocks and self.not_sent:
            blocks.append("Not sent: " + "; ".join(self.not_sent) + ".")
        return "\n\n".join(blocks)


def _is_asked(section: ContextSection, asked: Collection[str]) -> bool:
    # The cell's text begins with its options; the thread holds the question alone.
    return section.kind == "question" and any(
        section.digest_text and section.digest_text.endswith(question) for question in asked
    )


def _entry(section: ContextSection) -> str:
    return f"{section.title}{section.run_label}\n{section.text}" if section.title else section.text


def describe_redactions(redactions: Iterable[Redaction]) -> str:
    """Return a sentence on what was redacted, and where; an empty text for nothing."""
    found = dict.fromkeys(f"{redaction.name} in {redaction.place}" for redaction in redactions)
    return f"Redacted, because it looks secret: {', '.join(found)}." if found else ""


@dataclass(frozen=True)
class TurnRequest:
    """One question, with everything that the user chose for it.

    ``model`` and ``effort`` None leave the choice to the settings. ``thread`` names the thread to continue;
    None begins one that is not saved. ``context`` is what is sent of the notebook. ``images`` are data URLs.
    ``schema`` is a pydantic model, a dataclass, a TypedDict, any other annotation, or a JSON schema as a dict.
    ``data`` holds texts that the question is about, each with a label: sent as untrusted blocks.
    ``folder`` is the notebook's folder. ``use_cache`` allows a cached answer to the same question, and ``fresh`` asks
    again all the same. ``earlier`` are the other questions of this session, each with a hash of its answer: the answer
    may build on them. ``throttle`` is shared by the questions of a batch.
    """

    prompt: str
    model: str | None = None
    effort: str | None = None
    thread: str | None = None
    context: NotebookContext | None = None
    tools: ToolSet = field(default_factory=ToolSet)
    images: tuple[str, ...] = ()
    data: tuple[tuple[str, str], ...] = ()
    schema: Any = None
    approval: ApprovalPolicy = ApprovalPolicy.ASK
    folder: Path | None = None
    use_cache: bool = False
    fresh: bool = False
    throttle: Throttle | None = None
    earlier: tuple[tuple[str, str], ...] = ()
