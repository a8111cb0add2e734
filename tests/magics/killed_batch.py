"""A batch that a test kills: a module of its own, so that its process imports the client and nothing else."""

from __future__ import annotations

import codex_nb.api
import codex_nb.host.engine
import codex_nb.profile

PROMPTS = [f"prompt {number}" for number in range(150)]
CONCURRENCY = 4


def run(file: str) -> None:
    """Ask all the prompts, with a journal."""
    codex_nb.map(PROMPTS, journal=file, concurrency=CONCURRENCY)
