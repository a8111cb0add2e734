"""A one-line question may end in a question mark: IPython would take it for a request for help."""

from __future__ import annotations

import re

_QUESTION = re.compile(r"(?P<indent>\s*)%codex[ \t]+(?P<line>\S.*\?)\s*")


def keep_question_marks(lines: list[str]) -> list[str]:
    """Rewrite ``%codex … ?`` into the call that it means; all other lines stay (``%codex?`` still asks for help)."""
    if not lines or lines[0].lstrip().startswith("%%"):
        return lines
    return [_rewritten(line) for line in lines]


def _rewritten(line: str) -> str:
    match = _QUESTION.fullmatch(line)
    if match is None:
        return line
    return f"{match['indent']}get_ipython().run_line_magic('codex', {match['line']!r})\n"
