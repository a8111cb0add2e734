"""What the model is told before anything else: our own instructions, then the user's ``AGENTS.md`` files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codex_nb.session.fence import RULE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


def agents_files(codex_home: Path, folder: Path | None) -> Iterator[Path]:
    """Yield the ``AGENTS.md`` files that apply, from the most general to the nearest.

    They are CODEX_HOME's, then those of every folder from the repository's root (the nearest ancestor with ``.git``)
    down to ``folder``; outside a repository that of ``folder`` alone. In each place ``AGENTS.override.md`` wins.
    """
    for place in (codex_home, *_chain(folder)):
        for name in (OVERRIDE_FILE, AGENTS_FILE):
            if (file := place / name).is_file():
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


def project_instructions(codex_home: Path, folder: Path | None, max_bytes: int) -> str:
    """Return the text of all ``AGENTS.md`` files that apply, at most ``max_bytes`` of them; empty without any."""
    texts = []
    left = max_bytes
    for file in agents_files(codex_home, folder):
        try:
            content = file.read_bytes()
        except OSError:
            continue
        text = content[:left].decode("utf-8", "ignore").strip()
        left -= len(content[:left])
        if text:
            texts.append(f"# Instructions from {file.name} in {file.parent}\n\n{text}")
        if left <= 0:
            break
    return "\n\n".join(texts)
