"""The cell that failed last, for ``%codex fix``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from codex_nb.session.repair import Failure, error_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codex_nb.host.recorder import OutputRecorder


def last_failure(recorder: OutputRecorder | None) -> Failure | None:
    """Find the newest recorded cell that ended with an error, and what it raised."""
    cells = recorder.cells() if recorder is not None else ()
    for cell in reversed(cells):
        failed = next((each for each in cell.outputs if each.get("output_type") == "error"), None)
        if failed is not None:
            return Failure(cell.source, _words(failed))
    return None


def _words(failed: Mapping[str, Any]) -> str:
    """Prefer the exception itself, which IPython keeps for the newest error, to its printed traceback."""
    error: BaseException | None = getattr(sys, "last_value", None)
    if error is not None and type(error).__name__ == failed.get("ename"):
        return error_words(error, getattr(sys, "last_traceback", None))
    return "\n".join(failed.get("traceback", ())) or f"{failed.get('ename')}: {failed.get('evalue')}"
