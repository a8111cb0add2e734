"""One line that tells how far many questions are, replaced in place; in a notebook its end stays."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TextIO

from IPython.display import DisplayHandle

from codex_nb.words import batch as words

if TYPE_CHECKING:
    from collections.abc import Callable

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
    """Shows progress; ``in_notebook`` chooses an output of the cell, otherwise a line on a terminal's stream."""

    def __init__(
        self, *, in_notebook: bool, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stderr
        self._handle = DisplayHandle() if in_notebook else None
        self._clock = clock
        self._next = 0.0
        self._is_shown = False

    def tell(self, progress: Progress) -> None:
        """Show the newest state, at most five times a second; the last one always."""
        if self._clock() < self._next and progress.done < progress.total:
            return
        self._next = self._clock() + PAUSE_S
        with suppress(Exception):  # answers that are there must not be lost to a line about them
            self._show(line_of(progress))

    def close(self) -> None:
        """End the terminal's line."""
        if self._is_shown and self._handle is None:
            with suppress(Exception):  # as above
                self._stream.write("\n")
                self._stream.flush()

    def _show(self, line: str) -> None:
        if self._handle is None:
            if self._stream.isatty():
                self._stream.write(f"\r\x1b[K{line}")
                self._stream.flush()
                self._is_shown = True
            return
        bundle = {"text/plain": line}
        if self._is_shown:
            self._handle.update(bundle, raw=True)
        else:
            self._handle.display(bundle, raw=True)
        self._is_shown = True


def line_of(progress: Progress) -> str:
    """Return the state as one line."""
    full = WIDTH * progress.done // progress.total if progress.total else WIDTH
    parts = [f"{'█' * full}{'░' * (WIDTH - full)} {words.done(str(progress.done), str(progress.total))}"]
    if progress.failed:
        parts.append(words.failed(str(progress.failed)))
    if progress.waiting_s >= 1:
        parts.append(words.waiting(f"{progress.waiting_s:.0f}"))
    return ", ".join(parts)
