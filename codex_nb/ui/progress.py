"""The progress of a batch: one line that is updated in place, in the notebook or on a terminal."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from codex_nb.rendering.visible import NO_TEXT, visible_text
from codex_nb.ui.widgets import OutputArea, OutputHandle, in_output_widget

if TYPE_CHECKING:
    from collections.abc import Callable

    from codex_nb.rendering.answer_output import MimeBundle
    from codex_nb.rendering.visible import VisibleText
    from codex_nb.session.batch import Progress

WIDTH = 24  # characters of the bar
PAUSE_S = 0.2


class ProgressBar:
    """Shows progress; ``in_notebook`` chooses an output of the cell, otherwise a line on a terminal's stream.

    In an Output widget, whose outputs cannot be updated, only the last state is shown.
    """

    def __init__(
        self, *, in_notebook: bool, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stderr
        self._area = OutputArea() if in_notebook else None
        self._shows_end_only = in_notebook and in_output_widget()
        self._handle: OutputHandle | None = None
        self._clock = clock
        self._next = 0.0
        self._last = NO_TEXT
        self._is_shown = False

    def update(self, progress: Progress) -> None:
        """Show the newest state, at most five times a second; the last one always."""
        if self._clock() < self._next and progress.done < progress.total:
            return
        self._next = self._clock() + PAUSE_S
        self._last = progress_line(progress)
        with suppress(Exception):  # a line about answers must not lose them
            if self._area is None:
                self._write(self._last)
            elif not self._shows_end_only:
                self._show(self._area, self._last)

    def close(self) -> None:
        """Leave the last state, and end the terminal's line."""
        with suppress(Exception):  # as above
            if self._area is not None:
                if self._shows_end_only and self._last:
                    self._show(self._area, self._last)
            elif self._is_shown:
                self._stream.write("\n")
                self._stream.flush()

    def _write(self, line: VisibleText) -> None:
        if self._stream.isatty():
            self._stream.write(f"\r\x1b[K{line}")
            self._stream.flush()
            self._is_shown = True

    def _show(self, area: OutputArea, line: VisibleText) -> None:
        bundle: MimeBundle = {"text/plain": line}
        if self._handle is None:
            self._handle = area.show(bundle)
        else:
            self._handle.update(bundle)


def progress_line(progress: Progress) -> VisibleText:
    """Return the state as one line."""
    full = WIDTH * progress.done // progress.total if progress.total else WIDTH
    parts = [f"{'█' * full}{'░' * (WIDTH - full)} {progress.done} of {progress.total}"]
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    if progress.waiting_s >= 1:
        parts.append(f"waiting {progress.waiting_s:.0f} s for a rate limit")
    return visible_text(", ".join(parts))
