"""What stays of a turn in the notebook, as plain data: parts in order and a footer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from codex_nb.words import transcript


@dataclass(frozen=True, slots=True)
class Prose:
    """A message of the model, in Markdown."""

    markdown: str


@dataclass(frozen=True, slots=True)
class Thinking:
    """A reasoning summary, in Markdown, folded under ``title``."""

    markdown: str
    title: str = transcript.REASONING


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call under ``title``; ``output`` is empty where the notebook shows it as a cell's own output.

    ``is_open`` is for code that runs in the user's kernel: it is shown, and printed, as the user's own is. Every other
    call is folded.
    """

    title: str
    code: str
    language: str = ""
    output: str = ""
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a checklist, as plain text: its ``mark`` in a page and in text, and ``state`` in words."""

    text: str
    state: str
    mark: tuple[str, str] = ("○", "[ ]")


@dataclass(frozen=True, slots=True)
class Checklist:
    """Steps and how far they have come, under ``title``; ``remark`` says why they are as they are."""

    title: str
    items: tuple[Item, ...]
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Remark:
    """One quiet line, or an error's line."""

    text: str
    kind: Literal["notice", "error"] = "notice"


Part = Prose | Thinking | Call | Checklist | Remark


@dataclass(frozen=True, slots=True)
class Document:
    """A turn, or the part of it that stands in one output; ``footer`` is shown with dots between its entries."""

    parts: tuple[Part, ...] = ()
    footer: tuple[str, ...] = ()
