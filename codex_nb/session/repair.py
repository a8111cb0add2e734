"""``%codex fix`` and ``%codex explain``: the questions that are asked when a cell has failed, or is not understood."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from codex_nb.errors import CodexError
from codex_nb.tools.outputs import plain, shorten
from codex_nb.words import conversation as words

if TYPE_CHECKING:
    from types import TracebackType

    from codex_nb.notebook import Cell, Run
    from codex_nb.tools.hiding import Hidden

SOURCE_LIMIT = 8_000
TRACEBACK_LIMIT = 6_000
_OUTER_FRAMES = 3
_INNER_FRAMES = 2
_LIBRARY_PLACES = ("site-packages", "dist-packages", "/lib/python", "\\lib\\")

_FIX = """\
A cell failed: it stands, with what it raised, in the data before this question. Find the cause, look at the variables \
if you need to, and propose a corrected cell: insert it below with insert_cells where that is offered (one code cell \
that takes the place of the failed one), otherwise give it as a code block. Say in one or two sentences what was \
wrong. Change nothing else."""

_FAILED = """\
The failed cell:
```python
{source}
```

What it raised:
```
{error}
```"""

_EXPLAIN = """\
Explain what the cell above does (the one in the data before this question, where it is given), step by step, for \
someone who knows Python but not this notebook; point out what is surprising or wrong in it, and name the values that \
matter."""


_CELL = """\
The cell to explain:
```python
{source}
```"""


class NothingFailed(CodexError):
    """There is no error to mend."""

    default_hint = words.NOTHING_TO_MEND


class CellSkipped(CodexError):
    """What is asked about is a cell that the user keeps out."""

    default_hint = "Remove the marker and run the cell again."


def fix_prompt(wish: str = "") -> str:
    """Return the question that asks for a corrected cell; ``wish`` is what the user adds."""
    return f"{_FIX}\n\n{wish.strip()}" if wish.strip() else _FIX


def failure_data(run: Run, hidden: Hidden) -> str:
    """Return the cell of a failed run and its error in words, for the data of the question.

    Raises CellSkipped.
    """
    _check(run.cell, hidden, "%codex fix: the cell that failed", "%codex fix")
    return _FAILED.format(
        source=shorten(run.cell.source.strip("\n"), SOURCE_LIMIT),
        error=shorten(hidden.text(plain(run.error)), TRACEBACK_LIMIT),
    )


def explained_data(run: Run, hidden: Hidden) -> str:
    """Return the cell to explain, with its error where it raised one; raises CellSkipped."""
    _check(run.cell, hidden, "%codex explain: the cell to explain", "%codex explain")
    if run.error:
        return failure_data(run, hidden)
    return _CELL.format(source=shorten(run.cell.source.strip("\n"), SOURCE_LIMIT))


def _check(cell: Cell, hidden: Hidden, subject: str, command: str) -> None:
    if hidden.skips(cell):
        raise CellSkipped(
            f"{subject} is marked codex-skip, so nothing of it is sent.",
            hint=f"Remove the marker and run the cell again, then use {command}.",
        )


def explain_prompt(wish: str = "") -> str:
    """Return the question that asks for an explanation of the cell above, or of what ``wish`` says."""
    return f"{_EXPLAIN}\n\nThe question is about: {wish.strip()}" if wish.strip() else _EXPLAIN


def error_words(error: BaseException, frames: TracebackType | None = None) -> str:
    """Return an exception as a short traceback: the user's own frames, and the innermost ones of libraries.

    ``frames`` takes the place of the exception's own traceback, for one that was already stripped.
    """
    stack = traceback.extract_tb(frames if frames is not None else error.__traceback__)
    own = [frame for frame in stack if not any(place in frame.filename for place in _LIBRARY_PLACES)]
    kept = [frame for frame in stack if frame in own[-_OUTER_FRAMES:] or frame in stack[-_INNER_FRAMES:]]
    lines = [f"… {len(stack) - len(kept)} frames left out …\n"] if len(kept) < len(stack) else []
    lines += traceback.format_list(kept)
    return "".join([*lines, *_summary(error)]).strip()


def _summary(error: BaseException) -> list[str]:
    try:
        lines = traceback.format_exception_only(type(error), error)
        if (cause := error.__cause__) is not None:
            lines.append(f"caused by {type(cause).__name__}: {cause}\n")
    except Exception:  # noqa: BLE001 -- an exception's own __str__ may fail
        return [f"{type(error).__name__} (its message cannot be read)\n"]
    return lines
