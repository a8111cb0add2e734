"""One line that tells how far many questions are, replaced in place; in a notebook its end stays."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TextIO

from codex_nb.ui.channel import NotebookDisplays
from codex_nb.ui.output_widget import is_catching
from codex_nb.words import batch as words

if TYPE_CHECKING:
    from collections.abc import Callable

    from codex_nb.ui.channel import Displays, Handle

WIDTH = 24  # characters of the bar
PAUSE_S = 0.2


class Progress(Protocol):
    """How far a batch is."""

    @property
    def done(self) -> int:
        """How many questions have their outcome."""

    @property
    def total(self) -> int:
        """How many questions there are."""

    @property
    def failed(self) -> int:
        """How many of the outcomes are errors."""

    @property
    def waiting_s(self) -> float:
        """How long a rate limit still holds the rest up."""


class ProgressLine:
    """Shows progress; ``in_notebook`` chooses an output of the cell, otherwise a line on a terminal's stream.

    In an Output widget, where nothing shown can be replaced, the last state alone is shown.
    """

    def __init__(
        self, *, in_notebook: bool, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stderr
        self._displays = NotebookDisplays() if in_notebook else None
        self._shows_end_alone = in_notebook and is_catching()
        self._handle: Handle | None = None
        self._clock = clock
        self._next = 0.0
        self._last = ""
        self._is_shown = False

    def tell(self, progress: Progress) -> None:
        """Show the newest state, at most five times a second; the last one always."""
        if self._clock() < self._next and progress.done < progress.total:
            return
        self._next = self._clock() + PAUSE_S
        self._last = line_of(progress)
        with suppress(Exception):  # answers that are there must not be lost to a line about them
            if self._displays is None:
                self._write(self._last)
            elif not self._shows_end_alone:
                self._show(self._displays, self._last)

    def close(self) -> None:
        """Leave the last state, and end the terminal's line."""
        with suppress(Exception):  # as above
            if self._displays is not None:
                if self._shows_end_alone and self._last:
                    self._show(self._displays, self._last)
            elif self._is_shown:
                self._stream.write("\n")
                self._stream.flush()

    def _write(self, line: str) -> None:
        if self._stream.isatty():
            self._stream.write(f"\r\x1b[K{line}")
            self._stream.flush()
            self._is_shown = True

    def _show(self, displays: Displays, line: str) -> None:
        bundle = {"text/plain": line}
        if self._handle is None:
            self._handle = displays.show(bundle)
        else:
            self._handle.update(bundle)


def line_of(progress: Progress) -> str:
    """Return the state as one line."""
    full = WIDTH * progress.done // progress.total if progress.total else WIDTH
    parts = [f"{'█' * full}{'░' * (WIDTH - full)} {words.done(str(progress.done), str(progress.total))}"]
    if progress.failed:
        parts.append(words.failed(str(progress.failed)))
    if progress.waiting_s >= 1:
        parts.append(words.waiting(f"{progress.waiting_s:.0f}"))
    return ", ".join(parts)
