"""What the model is told before anything else: our own instructions, then the user's ``AGENTS.md`` files.

A repository may be a stranger's, so a file that leads out of it, or is no text, is not sent.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codex_nb.session.fence import RULE
from codex_nb.tools.files import FileContent, FileRefused, may_hold_credentials, read_bounded, real_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LARGEST_FILE = 1_000_000
_MARKDOWN = frozenset({".md", ".mdc", ".markdown"})
AGENTS_FILE = "AGENTS.md"
OVERRIDE_FILE = "AGENTS.override.md"

BASE = f"""\
You are Codex, working inside a Jupyter notebook (or an IPython session) through the codex_nb extension. The person \
asks in a cell; your answer appears in that cell's output as Markdown.

You see what the person sees: the cells above the asking one with their outputs, and the variables of the live kernel. \
What was left out to save room is named. {RULE}

- Answer what was asked, briefly, for someone who reads it inside a notebook. Use code blocks for code; do not repeat \
long outputs that are already there.
- Where a fact can be had from the live kernel, look before you claim: use the tools that you are offered. The person \
may be asked to approve a call and may decline it; then go on without it.
- Code that you run stays in the person's namespace. Do not overwrite their variables, write files or fetch from the \
network unless they asked for it.
- Offer code to keep as cells with insert_cells where that tool is offered, otherwise as code blocks.
- Where a question needs several steps, and only there, show them with update_plan if that tool is offered, and keep \
it up to date as you go.
- Secrets were replaced by marks such as [redacted: NAME]; do not try to recover them.
"""


@dataclass(frozen=True)
class ProjectInstructions:
    """The text of all ``AGENTS.md`` files that apply, and a sentence on each that is not sent whole."""

    text: str = ""
    problems: tuple[str, ...] = ()


def agents_files(codex_home: Path, folder: Path | None) -> Iterator[Path]:
    """Yield the ``AGENTS.md`` files that apply, from the most general to the nearest.

    They are CODEX_HOME's, then those of every folder from the repository's root (the nearest ancestor with ``.git``)
    down to ``folder``; outside a repository that of ``folder`` alone. In each place ``AGENTS.override.md`` wins.
    """
    for place in (codex_home, *_chain(folder)):
        for name in (OVERRIDE_FILE, AGENTS_FILE):
            if os.path.lexists(file := place / name) and not file.is_dir():
                yield file
                break


def _chain(folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    ancestors = [folder, *folder.parents]
    for depth, place in enumerate(ancestors):
        if (place / ".git").exists():
            return list(reversed(ancestors[: depth + 1]))
    return [folder]


def project_instructions(codex_home: Path, folder: Path | None, max_bytes: int) -> ProjectInstructions:
    """Read all ``AGENTS.md`` files that apply, at most ``max_bytes`` of them; blocks while it reads.

    The user's own one, in CODEX_HOME, may be a link to anywhere; the others stay within the repository.
    """
    if not max_bytes:
        return ProjectInstructions()
    texts, problems = [], []
    root = next(iter(_chain(folder)), None)
    left = max_bytes
    for file in agents_files(codex_home, folder):
        name = f"{file.name} in {file.parent}"
        try:
            content = _read(file, left, None if file.parent == codex_home else root)
        except FileRefused as refusal:
            problems.append(f"{name} is not sent: it {refusal}.")
            continue
        except OSError as error:
            reason = error.strerror or type(error).__name__
            problems.append(f"{name} is not sent: it cannot be read ({reason}).")
            continue
        if content.size > left:
            problems.append(
                f"{name} is truncated to {left:,} of {content.size:,} bytes (project_doc_max_bytes)."
            )
        left -= len(content.data)
        if text := content.data.decode("utf-8-sig", "ignore").strip():
            texts.append(f"# Instructions from {name}\n\n{text}")
    return ProjectInstructions("\n\n".join(texts), tuple(problems))


def _read(file: Path, max_bytes: int, root: Path | None) -> FileContent:
    path = real_path(file)
    if root is not None:
        root = real_path(root)
        _refuse_foreign(path, root)
    content = read_bounded(path, max_bytes, within=root)
    if content.size > LARGEST_FILE:
        raise FileRefused(f"is larger than {LARGEST_FILE:,} bytes")
    if not content.is_text:
        raise FileRefused("is not a text file")
    return content


def _refuse_foreign(path: Path, root: Path) -> None:
    """Refuse what is not the repository's to tell: files elsewhere, and those in which it keeps secrets."""
    if root not in path.parents:
        raise FileRefused("links to a file outside the repository")
    is_hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    if is_hidden and path.suffix.lower() not in _MARKDOWN:
        raise FileRefused("links to a hidden file")
    if may_hold_credentials(path.name):
        raise FileRefused("links to a file that may hold credentials")
